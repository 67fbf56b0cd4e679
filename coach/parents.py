"""``COPY --parents``: the manifests of many packages in one line that keeps their folders.

The flag is stable since Dockerfile frontend 1.20, and there in ``-labs`` since 1.7.
Source: https://github.com/moby/buildkit/releases/tag/dockerfile%2F1.20.0
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable

MANY = 12
"""More COPY lines than this for the manifests of one install are too many to read."""

_FRONTEND = re.compile(
    r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?:(?:(\d+)(?:\.(\d+))?(?:\.\d+)?)?(-?labs|latest)?"
)
_STABLE = 20
_IN_LABS = 7


def known(syntax: str | None) -> bool:
    """Whether the frontend that a ``# syntax=`` line names has the flag; without the line nobody knows."""
    found = _FRONTEND.fullmatch(syntax or "")
    if found is None:
        return False
    major, minor, kind = found[1], found[2], found[3] or ""
    if major is None:
        return kind in ("labs", "latest")
    return int(major) == 1 and (minor is None or int(minor) >= (_IN_LABS if kind == "-labs" else _STABLE))


def words(sources: Collection[str], files: Iterable[str]) -> list[str]:
    """``sources`` as patterns that name them and no other of ``files``: ``apps/*/package.json``; else one by one."""
    wanted = set(sources)
    beside: dict[str, set[str]] = {}
    for path in files:
        folder, name = posixpath.split(path)
        if folder:
            beside.setdefault(posixpath.join(posixpath.dirname(folder), "*", name), set()).add(path)
    found: dict[str, None] = {}
    for path in sorted(wanted):
        folder, name = posixpath.split(path)
        pattern = posixpath.join(posixpath.dirname(folder), "*", name)
        inside = beside.get(pattern, set())
        found[pattern if folder and len(inside) > 1 and inside <= wanted else path] = None
    return list(found)
