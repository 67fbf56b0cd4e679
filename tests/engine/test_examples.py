"""Every example builds and answers on a real engine: as it stands, and with all that coach writes into it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coach.model import Safety
from coach.project import open_project
from tests.engine.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "examples"
PORTS = {
    "clean-go": 8080,
    "clean-node": 3000,
    "clean-python": 8000,
    "go-service": 8080,
    "node-monorepo": 3000,
    "node-web": 3000,
    "python-api": 8000,
}
TO_MEND = [name for name in PORTS if not name.startswith("clean-")]

# The install of node-web takes minutes, and what a review takes in holds every safe fix.
MENDED = [(name, Safety.REVIEW) for name in TO_MEND] + [(name, Safety.SAFE) for name in TO_MEND if name != "node-web"]


def _answers(engine: Engine, folder: Path, example: str) -> bool:
    image = engine.tag(folder.name)
    engine.build(folder, image, contexts=engine.siblings((folder / "Dockerfile").read_text()))
    return '"status":"ok"' in engine.answer(image, PORTS[example], "/healthz")


def test_all_examples_are_known() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == sorted(PORTS)


@pytest.mark.parametrize("name", PORTS)
def test_the_example_builds_and_answers(engine: Engine, name: str) -> None:
    assert _answers(engine, EXAMPLES / name, name)


@pytest.mark.parametrize(("name", "safety"), MENDED)
def test_the_mended_example_builds_and_answers(engine: Engine, tmp_path: Path, name: str, safety: Safety) -> None:
    folder = tmp_path / f"{name}-{safety}"
    shutil.copytree(EXAMPLES / name, folder)
    done = open_project(folder).fix(safety)
    assert done.applied
    for path, (_, after) in done.files.items():
        (folder / path).write_bytes(after)

    assert _answers(engine, folder, name)
