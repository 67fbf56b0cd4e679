"""The nouns of a Dockerfile: instructions with their flags, heredocs and byte spans, stages, mounts."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from coach.model import Span

_MOUNT_ALIASES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}


@dataclass(frozen=True, slots=True)
class Flag:
    """``--name=value`` of an instruction. ``value`` has quotes and escapes removed; ``None`` without ``=``.

    ``span`` covers the word in the file, from ``--`` to its last byte.
    """

    name: str
    value: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Heredoc:
    """One heredoc: ``line`` is its first body line, ``end_line`` the terminator's (equal when the body is empty).

    ``body`` is what stands in the file, line ends and leading tabs included; ``expand`` is false for a quoted
    name, ``strip_tabs`` true for ``<<-``.
    """

    name: str
    body: str
    expand: bool
    strip_tabs: bool
    line: int
    end_line: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of the joined text that stands in one physical line."""

    char: int  # where it starts in the joined text
    byte: int  # where it starts in the file
    codec: str


@dataclass(frozen=True, slots=True)
class Joined:
    """An instruction on one line, continuations joined as BuildKit does, and the way back to the file."""

    text: str
    pieces: tuple[Piece, ...]

    def _piece(self, at: int) -> Piece:
        return self.pieces[max(bisect_right(self.pieces, at, key=lambda piece: piece.char) - 1, 0)]

    def offset(self, at: int) -> int:
        """Byte offset of character ``at``; at the end of the text, the byte after its last character."""
        piece = self._piece(at)
        return piece.byte + len(self.text[piece.char : at].encode(piece.codec))

    def after(self, at: int) -> int:
        """Byte offset just after character ``at``."""
        return self.offset(at) + len(self.text[at].encode(self._piece(at).codec))


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    ``line`` to ``end_line`` are 1-based and inclusive, heredoc bodies and terminators included; ``span`` covers
    the same, without the last line end. ``name`` is upper case. ``value`` is the text after the flags with
    continuations joined, comment lines dropped. ``words`` are the items of a JSON form (``json``), or the words
    BuildKit splits (quotes kept, nothing expanded): ``k=v`` for ARG, ENV and LABEL; the whole text for USER,
    WORKDIR, STOPSIGNAL and MAINTAINER; type and command for HEALTHCHECK; none for shell-form RUN, CMD and
    ENTRYPOINT. ``pairs`` are name and raw value of ARG, ENV and LABEL. ``child`` is what ``ONBUILD`` carries.
    ``stage`` is the index of the stage it stands in, ``None`` before the first ``FROM``.
    """

    name: str
    line: int
    end_line: int
    span: Span
    flags: tuple[Flag, ...]
    value: str
    words: tuple[str, ...]
    json: bool
    heredocs: tuple[Heredoc, ...]
    child: Instruction | None
    stage: int | None
    pairs: tuple[tuple[str, str | None], ...] = ()
    _joined: Joined = field(repr=False, compare=False, default=Joined("", ()))
    _start: int = field(repr=False, compare=False, default=0)

    def flag(self, name: str) -> Flag | None:
        """The last flag of that name (without dashes)."""
        return next((flag for flag in reversed(self.flags) if flag.name == name), None)

    def flag_values(self, name: str) -> tuple[str, ...]:
        """Values of every flag of that name, in order; one without ``=`` counts as empty."""
        return tuple(flag.value or "" for flag in self.flags if flag.name == name)

    def offset(self, at: int) -> int:
        """Byte offset in the file of character ``at`` of ``value``, ``0 <= at <= len(value)``.

        At ``len(value)`` it is the byte after the last character. A character that follows a continuation stands
        on its own line, so the end of a piece of text is ``offset(end - 1)`` plus that character's length.
        """
        if not 0 <= at <= len(self.value):
            raise IndexError(at)
        if at and at == len(self.value):
            return self._joined.after(self._start + at - 1)
        return self._joined.offset(self._start + at)

    def span_of(self, start: int, end: int) -> Span:
        """Bytes of ``value[start:end]``, from its first byte to the one after its last character."""
        if start >= end:
            return Span(self.offset(start), self.offset(start))
        return Span(self.offset(start), self._joined.after(self._start + end - 1))


@dataclass(frozen=True, slots=True)
class Mount:
    """One ``RUN --mount``. ``options`` holds every option with its raw value, aliases normalised
    (``target``, ``source``, ``readonly``, ``readwrite``); one without a value is "true"."""

    type: str
    options: Mapping[str, str]
    flag: Flag

    @property
    def target(self) -> str | None:
        """Where it is mounted, as written: may be relative to the working directory, may hold variables."""
        return self.options.get("target")


@dataclass(frozen=True, slots=True)
class Stage:
    """``FROM`` and what follows it. ``base`` and ``platform`` are raw words; ``name`` is lower case, as BuildKit
    keeps it."""

    index: int
    name: str | None
    base: str
    platform: str | None
    head: Instruction
    body: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed file. ``syntax`` is the frontend image of the directive, ``eol`` the line end most lines have.

    ``preamble`` are the ARGs before the first ``FROM``; ``instructions`` is everything in file order.
    """

    path: str
    content: bytes
    syntax: str | None
    escape: str
    eol: bytes
    preamble: tuple[Instruction, ...]
    stages: tuple[Stage, ...]
    instructions: tuple[Instruction, ...]
    _starts: tuple[int, ...] = field(repr=False, compare=False, default=())

    def line_span(self, first: int, last: int) -> Span:
        """Bytes of whole lines, line ends included. Lines are 1-based, inclusive, and cut to the file."""
        starts = self._starts
        first, last = max(first, 1), min(last, len(starts))
        if first > last:
            return Span(len(self.content), len(self.content))
        return Span(starts[first - 1], starts[last] if last < len(starts) else len(self.content))

    def text(self, line: int, end_line: int | None = None) -> str:
        """Those lines as text, without the last line end."""
        span = self.line_span(line, line if end_line is None else end_line)
        raw = self.content[span.start : span.end]
        return "\n".join(decode(part)[0].removesuffix("\r") for part in raw.removesuffix(b"\n").split(b"\n"))


def decode(raw: bytes) -> tuple[str, str]:
    """Text and codec of one line. BuildKit takes any bytes; a line that is not UTF-8 is read as Latin-1."""
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "latin-1"


def mounts(instruction: Instruction) -> tuple[Mount, ...]:
    """The mounts of a ``RUN``, in order. Values are raw: they may hold variables."""
    made: list[Mount] = []
    for flag in instruction.flags:
        if flag.name != "mount" or not flag.value:
            continue
        try:
            fields = next(csv.reader([flag.value], strict=True)) if '"' in flag.value else flag.value.split(",")
        except (csv.Error, StopIteration):
            fields = flag.value.split(",")
        options: dict[str, str] = {}
        for text in fields:
            key, equals, value = text.partition("=")
            key = key.strip().lower()
            options[_MOUNT_ALIASES.get(key, key)] = value if equals else "true"
        made.append(Mount(options.get("type", "bind").lower(), options, flag))
    return tuple(made)
