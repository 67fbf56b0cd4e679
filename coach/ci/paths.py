"""Repository paths as build commands spell them."""

from __future__ import annotations

import posixpath
import re

from coach.ci.nouns import WORKSPACE
from coach.model import Kind, Tree, is_file

_REMOTE = re.compile(
    r"^([a-z][a-z0-9+.-]*://|git@|github\.com/|gitlab\.com/|bitbucket\.org/|docker-image:|oci-layout:)", re.I
)


def join(base: str, path: str) -> str | None:
    """``path`` as seen from the repository directory ``base`` ("" is the root); ``None`` when it leads outside."""
    path = path.strip().replace("\\", "/")
    if path == WORKSPACE or path.startswith(WORKSPACE + "/"):
        base, path = "", path[len(WORKSPACE) + 1 :]
    if path.startswith(("/", "~")) or "\0" in path:
        return None
    joined = posixpath.normpath(posixpath.join(base, path))
    if joined == ".." or joined.startswith("../"):
        return None
    return "" if joined == "." else joined


def is_remote(context: str) -> bool:
    """Whether a build context is a URL or another thing that is not a directory."""
    return _REMOTE.match(context) is not None


def is_dir(tree: Tree, path: str) -> bool:
    """Whether ``path`` is a directory of the repository ("" always is)."""
    if path == "":
        return True
    entry = tree.entries().get(path)
    if entry is not None and entry.kind is Kind.SYMLINK and entry.target is not None:
        entry = tree.entries().get(entry.target)
    return entry is not None and entry.kind is Kind.DIR


def default_dockerfile(tree: Tree, context: str) -> str:
    """What a builder reads when no file is named: ``Dockerfile``, or ``dockerfile`` when only that one exists."""
    path = posixpath.join(context, "Dockerfile")
    lower = posixpath.join(context, "dockerfile")
    return lower if not is_file(tree, path) and is_file(tree, lower) else path
