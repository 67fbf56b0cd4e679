"""The examples end where their README says: the clean ones at nothing, the others at the first thing to mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from coach.model import Diagnosis, Safety, Status
from coach.project import open_project

EXAMPLES = Path(__file__).parents[1] / "examples"

# What an expert finds in each, in the order of the chart.
FOUND = {
    "go-service": ["F2", "F3", "F4", "F6", "F8", "F12"],
    "node-monorepo": ["F2", "F3", "F4", "F5", "F6", "F7", "F8", "F12", "F13"],
    "node-web": ["F2", "F3", "F4", "F5", "F6", "F8", "F12", "F13"],
    "python-api": ["F2", "F3", "F4", "F5", "F6", "F8", "F10", "F12", "F13"],
}


def _diagnosis(name: str) -> Diagnosis:
    (found,) = open_project(EXAMPLES / name).report().targets
    return found


def _fixes(diagnosis: Diagnosis) -> list[str]:
    first = [diagnosis.fix] if diagnosis.fix is not None else []
    return [finding.id for finding in (*first, *diagnosis.further)]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("clean-*")), ids=lambda path: str(path.name))
def test_a_clean_example_has_no_finding(path: Path) -> None:
    diagnosis = _diagnosis(path.name)

    assert _fixes(diagnosis) == []
    assert diagnosis.open_questions == ()
    assert diagnosis.status is Status.DONE


@pytest.mark.parametrize("name", FOUND)
def test_an_example_to_mend_shows_what_an_expert_sees(name: str) -> None:
    diagnosis = _diagnosis(name)

    assert _fixes(diagnosis) == FOUND[name]
    assert diagnosis.open_questions == ()


@pytest.mark.parametrize("name", FOUND)
def test_every_fix_that_can_be_written_is_taken_together(name: str) -> None:
    done = open_project(EXAMPLES / name).fix(Safety.REVIEW)

    assert done.notes == ()
    assert done.held == ()
    assert done.applied[0].finding.id == "F2"


def test_every_example_is_held_to_something() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}

    assert folders == set(FOUND) | {"clean-go", "clean-node", "clean-python"}
