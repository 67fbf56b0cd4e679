"""What a simulation reads of a repository's past: commits as values, whoever fetched them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

EXECUTABLE, PLAIN, SYMLINK, SUBMODULE = "100755", "100644", "120000", "160000"
"""The modes git knows; any other mode of a file is one of the first two on disk."""


class Node(NamedTuple):
    """One path of a commit: git's mode and the id of its content (of the commit, for a submodule)."""

    mode: str
    id: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: what it changed against the one before it (``None``: deleted).

    The changes of the first commit of a history are its whole tree. ``when`` is seconds since 1970.
    """

    id: str
    changes: Mapping[str, Node | None]
    subject: str = ""
    when: int = 0


class MissingError(Exception):
    """Content that the clone does not hold."""


class History(Protocol):
    """A line of commits, oldest first, each following the one before. ``notes`` say what is not there, and why."""

    @property
    def commits(self) -> Sequence[Commit]: ...

    @property
    def notes(self) -> Sequence[str]: ...

    def blob(self, name: str) -> bytes:
        """Content by id. Raises ``MissingError``."""
        ...


@dataclass(frozen=True)
class MemoryHistory:
    """A history given as values."""

    commits: Sequence[Commit]
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def blob(self, name: str) -> bytes:
        try:
            return self.blobs[name]
        except KeyError:
            raise MissingError(name) from None


def changes(before: Mapping[str, Node], after: Mapping[str, Node]) -> dict[str, Node | None]:
    """What turns one tree into the other."""
    found: dict[str, Node | None] = {path: node for path, node in after.items() if before.get(path) != node}
    found.update((path, None) for path in before if path not in after)
    return found
