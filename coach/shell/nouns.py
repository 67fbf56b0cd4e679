"""What a parsed script is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

NOTHING: Mapping[str, str | None] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command. ``text`` is what the command receives, ``None`` when it is not static.

    ``start`` and ``end`` are character offsets into ``Script.source``. A leading ``~`` or ``$HOME`` stays ``~`` when
    the environment does not say where home is.
    """

    raw: str
    text: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Redirect:
    """``>``, ``>>``, ``<``, ``<<``, ``<<<`` … and what it points at (for ``<<`` the body of the heredoc)."""

    operator: str
    target: Word


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command, wherever it stands in the script.

    ``argv`` is as written; ``words`` (and ``name``, the basename of its first) is what is left after ``env``, ``sudo``,
    ``exec``, ``time`` and their like are peeled off. ``cwd`` is the directory it runs in, ``None`` when unknown;
    ``env`` the exported variables in force, its own assignments included. ``guarded`` says that it may not run: inside
    ``if``/``case``/loops/functions, right of ``||``, after a test. ``item`` indexes ``Script.items``. ``cut`` is the
    range whose removal drops just this command and leaves a valid script (``None`` when there is none). ``user`` is who
    ``sudo -u``, ``su``, ``gosu`` … switch to. ``exact`` is false when the offsets are only those of the enclosing word.
    """

    argv: tuple[Word, ...]
    assignments: tuple[tuple[str, Word], ...]
    start: int
    end: int
    redirects: tuple[Redirect, ...]
    cwd: str | None
    env: Mapping[str, str | None]
    guarded: bool
    item: int
    name: str | None
    words: tuple[str | None, ...]
    cut: tuple[int, int] | None = None
    user: str | None = None
    exact: bool = True

    @property
    def peeled(self) -> tuple[Word, ...]:
        """The words behind ``words``, with their offsets."""
        return self.argv[len(self.argv) - len(self.words) :]


@dataclass(frozen=True, slots=True)
class Item:
    """A top-level list item. ``joiner`` precedes it: ``&&``, ``||``, ``;``, ``&``, a newline; ``""`` for the first."""

    start: int
    end: int
    joiner: str


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed script. ``broken``: it has a syntax error or is too large to be read, and ``commands`` may lack some."""

    source: str
    commands: tuple[Command, ...]
    items: tuple[Item, ...]
    broken: bool


def without(source: str, cuts: Sequence[tuple[int, int]]) -> str:
    """``source`` with the given ranges removed; they must be sorted and must not overlap."""
    assert all(a[1] <= b[0] for a, b in pairwise(cuts))
    kept: list[str] = []
    at = 0
    for start, end in cuts:
        kept.append(source[at:start])
        at = end
    return "".join([*kept, source[at:]])
