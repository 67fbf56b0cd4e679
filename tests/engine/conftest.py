"""The engine that these tests ask, or one visible word on why none of them ran."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.engine import NOT_RUN, Engine, why_not


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    reason = why_not()
    if reason:
        pytest.skip(f"{NOT_RUN}, so no patch was built: {reason}")
    made = Engine()
    try:
        yield made
    finally:
        made.close()
