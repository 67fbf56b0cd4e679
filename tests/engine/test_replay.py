"""The replay held against a real engine, vertex by vertex, over generated histories.

The worst bound may never say CACHED where the engine ran; what hangs on no other stage has to be exact.
"""

from __future__ import annotations

import random
import subprocess
import uuid
from pathlib import Path

import pytest

from coach.history import GitHistory
from coach.replay.cache import Policy
from coach.replay.simulate import Arguments, AsItWas, simulate
from tests.engine.generated import BASE, Author
from tests.engine.history_builds import Comparison, as_history, compare, write

pytestmark = pytest.mark.engine

COMMITS = 6


def held(found: Comparison, *, exact: bool) -> None:
    """No disagreement of any kind, and enough said to mean something."""
    assert found.under == []
    assert found.outside == []
    assert found.unmatched == []
    assert found.failed == []
    assert found.compared > 0
    assert 0 < found.ran < found.compared
    if exact:
        assert found.exact == found.compared


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("seed", range(4))
def test_histories_of_one_stage_are_exact(seed: int, tmp_path: Path) -> None:
    snapshots = list(Author(seed, uuid.uuid4().hex, stages=False).commits(COMMITS))

    held(compare(snapshots, tmp_path, seed), exact=True)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("seed", range(100, 106))
def test_histories_of_several_stages_stay_inside_the_interval(seed: int, tmp_path: Path) -> None:
    snapshots = list(Author(seed, uuid.uuid4().hex).commits(COMMITS))
    passed = {"G0": "7"}

    found = compare(
        snapshots,
        tmp_path,
        seed,
        build_args=lambda number: {**passed, "COMMIT": f"c{number}"},
        per_commit=frozenset({"COMMIT"}),
    )

    held(found, exact=False)


@pytest.mark.usefixtures("engine")
def test_a_stage_whose_output_stays_the_same_ends_the_cascade(tmp_path: Path) -> None:
    # what the stage writes is its own, too: an earlier run's copy of the same bytes would be found in the cache
    own = uuid.uuid4().hex
    text = f"FROM {BASE} AS made\nRUN : {own}\nCOPY a /a\nRUN echo same {own} >/out\n"
    text += f"FROM {BASE}\nCOPY --from=made /out /out\nRUN cat /out\n"
    snapshots = [
        {"Dockerfile": ("100644", text.encode()), "a": ("100644", content)} for content in (b"1", b"2", b"1", b"3")
    ]

    found = compare(snapshots, tmp_path, 1)

    held(found, exact=False)
    assert found.maybe == 4, "the copy and the command after it, at the two commits with new content"


@pytest.mark.usefixtures("engine")
def test_a_git_history_says_what_its_snapshots_say(tmp_path: Path) -> None:
    """The reading of git is part of what is compared: modes, links, deletions, a merge."""
    snapshots = list(Author(7, uuid.uuid4().hex).commits(COMMITS))
    folder = tmp_path / "repo"
    folder.mkdir()

    def git(*words: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *name, "-C", str(folder), *words], check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    before: dict[str, tuple[str, bytes]] = {}
    for number, snapshot in enumerate(snapshots):
        if number == 2:
            git("checkout", "-q", "-b", "side")
        write(folder, before, snapshot, random.Random(number))
        before = dict(snapshot)
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", f"c{number}")
        if number == 2:
            git("checkout", "-q", "main")
            git("merge", "-q", "--no-ff", "-m", "merged", "side")

    said = simulate(GitHistory(folder, 50), AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]
    known = simulate(as_history(snapshots), AsItWas(Arguments(), "Dockerfile"), [Policy.LOCAL])[Policy.LOCAL]

    assert said.outcomes == known.outcomes
    (tmp_path / "built").mkdir()
    held(compare(snapshots, tmp_path / "built", 7), exact=False)
