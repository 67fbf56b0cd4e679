"""Workspace globs: ``packages/*``, ``apps/**``, ``{a,b}/*``, ``@(a|b)``. Matching takes polynomial time, always."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Sequence
from functools import lru_cache

_MAX_ALTERNATIVES = 500
_GROUP = re.compile(r"([!@?*+])\(([^()/]*)\)")
_BRACES = re.compile(r"\{([^{}]*)\}")
_SPECIAL = re.compile(r"[*?\[{(]|//|(?:^|/)\.(?:/|$)")
_RANGE = re.compile(r"(\d{1,4})\.\.(\d{1,4})")


def matches(pattern: str, path: str) -> bool:
    """Whether ``path`` ("/"-separated, relative) matches; ``*`` stays in one segment and passes over dot names."""
    parts = path.split("/")
    return any(_segments(alternative, parts) for alternative in _alternatives(pattern))


def matching(pattern: str, paths: Collection[str]) -> set[str]:
    """The ``paths`` that match."""
    written = _tidy(pattern)
    if not _SPECIAL.search(written):
        return {written} if written in paths else set()
    return {path for path in paths if matches(pattern, path)}


@lru_cache(maxsize=1024)
def _alternatives(pattern: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(alternative.split("/")) for alternative in expand(_tidy(pattern)))


def expand(pattern: str) -> list[str]:
    """``pattern`` with its braces written out, at most ``_MAX_ALTERNATIVES`` of them."""
    done: list[str] = []
    todo = [pattern]
    while todo and len(done) + len(todo) <= _MAX_ALTERNATIVES:
        text = todo.pop()
        brace = next((found for found in _BRACES.finditer(text) if "," in found[1] or _RANGE.fullmatch(found[1])), None)
        if brace is None:
            done.append(text)
            continue
        numbers = _RANGE.fullmatch(brace[1])
        if numbers:
            first, last = sorted((int(numbers[1]), int(numbers[2])))
            choices = [str(number) for number in range(first, min(last, first + _MAX_ALTERNATIVES) + 1)]
        else:
            choices = brace[1].split(",")[:_MAX_ALTERNATIVES]
        todo.extend(text[: brace.start()] + choice + text[brace.end() :] for choice in choices)
    return done


def _tidy(pattern: str) -> str:
    pattern = pattern.strip().replace("\\", "/")
    while pattern.startswith("./"):
        pattern = pattern[2:]
    return pattern.rstrip("/")


def _segments(pattern: Sequence[str], parts: list[str]) -> bool:
    # One row per pattern segment: which numbers of leading path segments can be used up so far.
    reach = {0}
    for segment in pattern:
        if segment in ("", "."):
            continue
        following: set[int] = set()
        for at in reach:
            if segment == "**":
                following.add(at)
                while at < len(parts) and not parts[at].startswith("."):
                    at += 1
                    following.add(at)
            elif at < len(parts) and _segment(segment, parts[at]):
                following.add(at + 1)
        reach = following
        if not reach:
            return False
    return len(parts) in reach


def _segment(pattern: str, name: str) -> bool:
    if name.startswith(".") and not pattern.startswith("."):
        return False
    group = _GROUP.search(pattern)
    if group is None:
        return fnmatch.fnmatchcase(name, pattern)
    before, after = pattern[: group.start()], pattern[group.end() :]
    choices = group[2].split("|")[:_MAX_ALTERNATIVES]
    if group[1] == "!":
        others = fnmatch.fnmatchcase(name, f"{before}*{after}")
        return others and not any(fnmatch.fnmatchcase(name, before + choice + after) for choice in choices)
    empty = [""] if group[1] in "?*" else []
    return any(fnmatch.fnmatchcase(name, before + choice + after) for choice in choices + empty)
