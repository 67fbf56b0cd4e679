"""All of coach's patches at once, held to a real engine: the image builds, answers, is smaller, and rebuilds quickly.

Every project goes through ``git apply``, and is then changed in its source: what was installed for building and for
running must come out of the cache.
"""

from __future__ import annotations

import pytest

from tests.engine import proof
from tests.engine.engine import Engine
from tests.engine.proof import Project, Trial

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture(
    scope="module",
    params=[pytest.param(project, marks=pytest.mark.xdist_group(project.name)) for project in proof.projects()],
    ids=lambda project: project.name,
)
def trial(request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    project: Project = request.param
    return Trial(engine, project, tmp_path_factory.mktemp(project.name))


def test_both_images_answer(trial: Trial) -> None:
    for folder in (trial.original, trial.patched):
        assert trial.project.says in trial.answer(folder), folder.name


def test_the_patched_image_is_smaller(trial: Trial) -> None:
    before, after = trial.size(trial.original), trial.size(trial.patched)

    assert after < before if trial.project.smaller else after <= before * 1.01


def test_the_patched_image_holds_what_runs_and_nothing_that_only_builds(trial: Trial) -> None:
    held = trial.files(trial.patched)

    for path in trial.project.stays:
        assert path in held
    for path in trial.project.gone:
        assert not [found for found in held if found == path or found.startswith(f"{path}/")][:3]
    if trial.project.same:
        assert not proof.differing(trial.files(trial.original), held, trial.project.same)


def test_a_change_of_the_source_reruns_no_install(trial: Trial) -> None:
    build = trial.rebuilt(trial.patched, "changed")

    for words in trial.project.installs:
        assert proof.kept(build, words), words
    assert not all(step.cached for step in build.steps)
