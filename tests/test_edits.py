"""Edits touch their spans only, and their diff is one that git takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach.edits import apply, apply_all, diff, diff_file
from coach.errors import EditError
from coach.model import Edit, Span


def edit(start: int, end: int, new: bytes) -> Edit:
    return Edit("f", Span(start, end), new)


def git_apply(folder: Path, patch: bytes) -> None:
    subprocess.run(["git", "apply", "-"], input=patch, cwd=folder, check=True, capture_output=True)


def test_edits_apply_in_any_order_and_insertions_keep_theirs() -> None:
    assert apply(b"abcdef", [edit(4, 5, b"X"), edit(0, 1, b""), edit(2, 2, b"1"), edit(2, 2, b"2")]) == b"b12cdXf"


@pytest.mark.parametrize("edits", [[edit(0, 3, b""), edit(2, 4, b"")], [edit(5, 9, b"")], [edit(3, 2, b"")]])
def test_edits_that_do_not_fit_are_refused(edits: list[Edit]) -> None:
    with pytest.raises(EditError):
        apply(b"abcdef", edits)


LINES = st.lists(st.sampled_from([b"a", b"b", b"c\r", b"", b"\xff", b"-- x", b"\x0c", b"dd"]), max_size=14)


@settings(max_examples=60, deadline=None)
@given(LINES, LINES, st.booleans(), st.booleans())
def test_git_takes_every_diff(
    tmp_path_factory: pytest.TempPathFactory, old: list[bytes], new: list[bytes], a: bool, b: bool
) -> None:
    folder = tmp_path_factory.mktemp("repo")
    before, after = b"\n".join(old) + b"\n" * a, b"\n".join(new) + b"\n" * b
    (folder / "f").write_bytes(before)
    patch = diff_file("f", before, after)
    assert patch is not None
    if before != after and after:
        git_apply(folder, patch)

        assert (folder / "f").read_bytes() == after


@pytest.mark.parametrize("name", ["plain", "with blank", 'quo"te', "tab\there", "ünï/cödé"])
def test_names_are_quoted_as_git_does(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"one\n")
    patch = diff({name: b"one\n", f"{name}.new": None}, {name: b"two\n", f"{name}.new": b"fresh"})
    assert patch is not None

    git_apply(tmp_path, patch)

    assert (tmp_path / name).read_bytes() == b"two\n"
    assert (tmp_path / f"{name}.new").read_bytes() == b"fresh"


SECRETS = st.lists(st.sampled_from([b"a", b"b", b"SECRET 1", b"c", b"d", b"SECRET 2", b"e"]), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(SECRETS, st.data())
def test_a_hidden_line_is_never_shown_and_the_diff_still_applies(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], data: st.DataObject
) -> None:
    before = b"".join(line + b"\n" for line in lines)
    at = data.draw(st.integers(0, len(lines)))
    after = b"".join(line + b"\n" for line in [*lines[:at], b"added", *lines[at:]])
    patch = diff_file("f", before, after, lambda line: line.startswith(b"SECRET"))
    if patch is None:
        beside = lines[max(0, at - 1) : at + 1]
        assert any(line.startswith(b"SECRET") for line in beside)
        return
    assert b"SECRET" not in patch
    folder = tmp_path_factory.mktemp("repo")
    (folder / "f").write_bytes(before)
    git_apply(folder, patch)

    assert (folder / "f").read_bytes() == after


def test_a_removed_secret_cannot_be_shown() -> None:
    assert diff_file("f", b"a\nSECRET\nb\n", b"a\nb\n", lambda line: line.startswith(b"SECRET")) is None


def test_apply_all_makes_new_files() -> None:
    edits = [Edit("new", Span(0, 0), b"x\n"), Edit("old", Span(0, 1), b"B")]

    assert apply_all({"old": b"abc", "new": None}, edits) == {"new": b"x\n", "old": b"Bbc"}
