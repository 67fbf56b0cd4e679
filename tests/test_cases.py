"""Laws that hold for every case folder of every lesson.

A case is ``tests/cases/<node>/<case>/``: ``repo/`` (real files), ``expect.toml`` and, where a patch is expected,
``expect.diff``. A file that git would not keep under its own name (``.git``) can be made by the case's ``files`` table.

expect.toml: ``choice`` ("unknown" for none), ``certainty``, ``evidence`` (places that must be cited), ``safety`` of the
remedy ("" for none), ``dockerfile``/``context``/``target`` to narrow, ``after`` (the choice after the patch, when it is
not simply another one), ``rest`` (for a patch that mends only a part: the lines, as they were, that it leaves),
``twins = false`` where CRLF would change what the files mean.
"""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coach import edits, lessons, redact, targets
from coach.model import Answer, Remedy, Safety, Tree
from coach.site import Site
from coach.tree import MemoryTree, Overlay

CASES = Path(__file__).parent / "cases"
LESSONS = {lesson.NODE: lesson for lesson in lessons.discover()}


@dataclass(frozen=True)
class Case:
    folder: Path
    expect: dict[str, Any]

    @property
    def node(self) -> str:
        return self.folder.parent.name

    def tree(self) -> MemoryTree:
        repo = self.folder / "repo"
        files = {path.relative_to(repo).as_posix(): path.read_bytes() for path in repo.rglob("*") if path.is_file()}
        files |= {name: text.encode() for name, text in self.expect.get("files", {}).items()}
        return MemoryTree(files)

    def site(self, tree: Tree) -> Site:
        found = targets.discover(
            tree, self.expect.get("dockerfile"), self.expect.get("context"), self.expect.get("target")
        )
        assert len(found.sites) == 1 or "dockerfile" in self.expect, [site.path for site in found.sites]
        return found.sites[0]

    def probe(self, tree: Tree) -> tuple[Site, Answer]:
        site = self.site(tree)
        return site, LESSONS[self.node].probe(site)

    def remedy(self, tree: Tree) -> tuple[Site, Answer, Remedy | None]:
        site, answer = self.probe(tree)
        return site, answer, LESSONS[self.node].remedy(site, answer) if answer.choice == self.fixed_choice() else None

    def fixed_choice(self) -> str:
        return FIX_CHOICE[self.node]


# The choice of each decision that leads to its FIX, as the chart has it (test_drift.py compares the two).
FIX_CHOICE = {
    "buildkit": "no",
    "layer_order": "no",
    "cache_mount": "no",
    "multi_stage": "no",
    "cold_ci": "yes",
    "runtime_image": "yes",
    "arm64": "qemu",
    "context": "no",
    "no_cache": "yes",
    "secrets": "yes",
    "libc": "yes",
    "nonroot": "yes",
    "signing": "yes",
}


def _load() -> list[Case]:
    return [
        Case(path.parent, tomllib.loads(path.read_text()))
        for path in sorted(CASES.glob("*/*/expect.toml"))
        if path.parent.parent.name in FIX_CHOICE
    ]


ALL = _load()
every_case = pytest.mark.parametrize("case", ALL, ids=[f"{case.node}/{case.folder.name}" for case in ALL])
WITH_PATCH = [case for case in ALL if (case.folder / "expect.diff").exists()]
every_patch = pytest.mark.parametrize(
    "case", WITH_PATCH, ids=[f"{case.node}/{case.folder.name}" for case in WITH_PATCH]
)


def originals(tree: Tree, remedy: Remedy) -> dict[str, bytes | None]:
    paths = {edit.path for edit in remedy.edits}
    return {path: tree.read(path) if path in tree.entries() else None for path in paths}


def patched(tree: Tree, remedy: Remedy) -> Overlay:
    return Overlay(tree, edits.apply_all(originals(tree, remedy), remedy.edits))


def test_every_decision_has_a_problem_a_fixed_and_an_unknown_case() -> None:
    for node, fix in FIX_CHOICE.items():
        choices = [case.expect["choice"] for case in ALL if case.node == node]

        assert fix in choices, node
        assert any(choice not in (fix, "unknown") for choice in choices), node
        assert "unknown" in choices, node


@every_case
def test_the_answer_is_the_expected_one(case: Case) -> None:
    _, answer = case.probe(case.tree())

    assert (answer.choice or "unknown") == case.expect["choice"], answer
    assert (answer.certainty or "") == case.expect.get("certainty", answer.certainty or ""), answer
    assert (answer.certainty is None) == (answer.choice is None)
    assert answer.reason
    assert answer.how_to_find_out or answer.choice is not None


@every_case
def test_evidence_cites_lines_that_exist_and_those_expected(case: Case) -> None:
    tree = case.tree()
    _, answer = case.probe(tree)

    cited = {f"{item.path}:{item.line}" for item in answer.evidence}
    assert set(case.expect.get("evidence", [])) <= cited
    for item in answer.evidence:
        lines = tree.read(item.path).decode("utf-8", "replace").split("\n")
        assert 1 <= item.line <= item.end_line <= len(lines)
        assert item.text == redact.shown(lines[item.line - 1].lstrip("\ufeff").strip())
        assert item.says
        assert "\n" not in item.says


@every_case
def test_the_remedy_is_the_expected_one(case: Case) -> None:
    tree = case.tree()
    _, answer, remedy = case.remedy(tree)
    if answer.choice != case.fixed_choice():
        assert "safety" not in case.expect
        return
    assert remedy is not None
    assert remedy.safety == case.expect["safety"], remedy.reasons
    assert bool(remedy.edits) == (remedy.safety is not Safety.SHOW)
    assert remedy.reasons or remedy.safety is Safety.SAFE
    assert remedy.guidance
    diff = edits.diff(originals(tree, remedy), edits.apply_all(originals(tree, remedy), remedy.edits))
    expected = case.folder / "expect.diff"
    if remedy.edits:
        assert diff == expected.read_bytes(), (diff or b"").decode("utf-8", "replace")
    else:
        assert not expected.exists()


@every_patch
def test_git_takes_the_patch_and_it_gives_the_same_files(case: Case, tmp_path: Path) -> None:
    tree = case.tree()
    _, _, remedy = case.remedy(tree)
    assert remedy is not None
    for path in tree.entries():
        if tree.entries()[path].kind == "file":
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(tree.read(path))
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)

    subprocess.run(["git", "apply", "--check", str(case.folder / "expect.diff")], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", str(case.folder / "expect.diff")], cwd=tmp_path, check=True)

    after = patched(tree, remedy)
    for path in {edit.path for edit in remedy.edits}:
        assert (tmp_path / path).read_bytes() == after.read(path)


@every_patch
def test_after_the_patch_the_probe_answers_the_other_way_and_nothing_more_is_offered(case: Case) -> None:
    tree = case.tree()
    _, _, remedy = case.remedy(tree)
    assert remedy is not None

    site, again, second = case.remedy(patched(tree, remedy))

    assert again.choice == case.expect.get("after", again.choice)
    if case.expect.get("rest"):
        _only_the_rest(case, remedy, site, again, second)
    else:
        assert not remedy.rest
        assert again.choice != case.fixed_choice(), again
        assert second is None


def _only_the_rest(case: Case, remedy: Remedy, after: Site, again: Answer, second: Remedy | None) -> None:
    """What a patch leaves is named, is all that is cited afterwards, and gets guidance alone."""
    rest = case.expect["rest"]
    assert [says.partition(":")[0] for says in remedy.rest] == [f"line {line}" for line in rest]
    assert all(says in remedy.guidance for says in remedy.rest)
    before, cited = case.site(case.tree()), case.probe(case.tree())[1].evidence
    kept = [before.dockerfile.text(line) for line in rest]
    assert again.choice == case.fixed_choice()
    assert {item.line for item in cited} > set(rest)
    found = [after.dockerfile.text(item.line) for item in again.evidence]
    assert set(kept) <= set(found)
    assert len(found) < len(cited)
    assert second is not None
    assert second.safety is Safety.SHOW
    assert not second.edits


@every_patch
def test_bytes_outside_the_spans_are_kept(case: Case) -> None:
    tree = case.tree()
    _, _, remedy = case.remedy(tree)
    assert remedy is not None
    for path, before in originals(tree, remedy).items():
        after = patched(tree, remedy).read(path)
        kept, at = [], 0
        for edit in sorted((edit for edit in remedy.edits if edit.path == path), key=lambda edit: edit.span):
            kept.append((before or b"")[at : edit.span.start])
            at = edit.span.end
        kept.append((before or b"")[at:])
        position = 0
        for piece in kept:
            position = after.find(piece, position)
            assert position >= 0
            position += len(piece)


def _twin(tree: MemoryTree, change: str) -> MemoryTree:
    files = {path: tree.read(path) for path, entry in tree.entries().items() if entry.kind == "file"}
    for path, content in files.items():
        if b"\0" in content:
            continue
        if change == "crlf":
            files[path] = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        elif not path.endswith((".yml", ".yaml")):
            files[path] = content.rstrip(b"\r\n")
    return MemoryTree(files)


@pytest.mark.parametrize("change", ["crlf", "no-final-newline"])
@every_case
def test_line_ends_do_not_change_the_answer(case: Case, change: str) -> None:
    if not case.expect.get("twins", True):
        assert "twins" in case.expect
        return
    tree = case.tree()
    twin = _twin(tree, change)
    _, plain = case.probe(tree)

    _, answer, remedy = case.remedy(twin)

    assert (answer.choice, answer.certainty) == (plain.choice, plain.certainty)
    assert [(item.path, item.line) for item in answer.evidence] == [(item.path, item.line) for item in plain.evidence]
    if remedy is not None and remedy.edits:
        after = patched(twin, remedy)
        _, again, second = case.remedy(after)
        if case.expect.get("rest"):
            assert second is not None
            assert not second.edits
        else:
            assert again.choice != case.fixed_choice()
        if change == "crlf":
            for path, before in originals(twin, remedy).items():
                if before is not None and b"\r\n" in before:
                    assert after.read(path).replace(b"\r\n", b"").count(b"\n") == 0, path
