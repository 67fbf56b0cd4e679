"""What holds for every run: generated inputs are the same each time, and it says whether a real engine was asked."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.engine.engine import NOT_RUN

# A red run must be red again for whoever looks into it. COACH_EXPLORE=1 looks for inputs that nobody has tried yet.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("explore" if os.environ.get("COACH_EXPLORE") else "steady")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that nobody overlooks when the engine tests did not run."""
    reasons = [
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple) and NOT_RUN in report.longrepr[2]
    ]
    if reasons:
        terminalreporter.write_line(f"{len(reasons)} {reasons[0]}", yellow=True, bold=True)
