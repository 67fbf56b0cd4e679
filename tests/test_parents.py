"""``COPY --parents``: which frontends have it, and patterns that name no file too many."""

from __future__ import annotations

import pytest

from coach import parents


@pytest.mark.parametrize(
    ("syntax", "has"),
    [
        ("docker/dockerfile:1", True),
        ("docker.io/docker/dockerfile:1.20", True),
        ("docker/dockerfile-upstream:1.21.0", True),
        ("docker/dockerfile:1.7-labs", True),
        ("docker/dockerfile:1.8.1-labs", True),
        ("docker/dockerfile:labs", True),
        ("docker/dockerfile:latest", True),
        ("docker/dockerfile:1.19", False),
        ("docker/dockerfile:1.6-labs", False),
        ("docker/dockerfile:2", False),
        ("docker/dockerfile", False),
        ("example.com/own/frontend:1", False),
        ("", False),
        (None, False),
    ],
)
def test_only_frontends_that_have_the_flag_are_known(syntax: str | None, has: bool) -> None:
    assert parents.known(syntax) is has


@pytest.mark.parametrize(
    ("sources", "files", "expected"),
    [
        (["a/x/p.json", "a/y/p.json"], ["a/x/p.json", "a/y/p.json", "a/x/q.ts"], ["a/*/p.json"]),
        (["a/x/p.json", "a/y/p.json"], ["a/x/p.json", "a/y/p.json", "a/z/p.json"], ["a/x/p.json", "a/y/p.json"]),
        (["a/x/p.json", "b/p.json"], ["a/x/p.json", "b/p.json"], ["a/x/p.json", "b/p.json"]),
        (["p.json", "x/p.json", "y/p.json"], ["p.json", "x/p.json", "y/p.json"], ["p.json", "*/p.json"]),
    ],
)
def test_a_pattern_stands_for_files_that_are_all_wanted(
    sources: list[str], files: list[str], expected: list[str]
) -> None:
    assert parents.words(sources, files) == expected
