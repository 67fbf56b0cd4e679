"""Dockerfile bytes → instructions, stages and spans, as BuildKit reads them.

dockerfile-parse splits the file into instructions; it never sees the file itself but a masked copy of the same
number of lines, in which whatever it reads differently (continuations, heredocs, directives) is already settled.
Flags, JSON forms, heredocs, ``ONBUILD`` and byte offsets are added above it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dockerfile_parse import DockerfileParser
from dockerfile_parse.constants import COMMENT_INSTRUCTION

from coach.errors import InputError
from coach.expansion import SPACES, Expansion, ExpansionError, Scope, expand, shell_words
from coach.instructions import (
    Dockerfile,
    Flag,
    Heredoc,
    Instruction,
    Joined,
    Mount,
    Piece,
    Stage,
    decode,
    mounts,
)
from coach.model import Span
from coach.stages import BaseConfig, Graph, State

__all__ = [
    "MAX_INSTRUCTIONS",
    "MAX_LINE",
    "MAX_SIZE",
    "MAX_STAGES",
    "BaseConfig",
    "Dockerfile",
    "Expansion",
    "Flag",
    "Graph",
    "Heredoc",
    "Instruction",
    "Mount",
    "Scope",
    "Stage",
    "State",
    "expand",
    "mounts",
    "parse",
]

MAX_SIZE = 4 * 1024 * 1024  # larger files are refused here; BuildKit has no limit of its own
MAX_LINE = 65_535  # bytes without the newline: Go's bufio.MaxScanTokenSize, above which BuildKit refuses the file
MAX_STAGES = 1_000  # far above any real file; keeps work on the stage graph bounded
MAX_INSTRUCTIONS = 2_500  # likewise

_BLANKS = "\t\v\f\r "
_BLANK_RUN = re.compile(f"[{_BLANKS}]+")
_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=(.*)", re.DOTALL)
_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*\Z")
_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)\Z")
_TAIL = "\ue000"  # closes a masked line, so that the base parser sees no continuation and strips nothing

_HEREDOC_BEARERS = frozenset({"ADD", "COPY", "RUN"})
_NAMES = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER "
    "VOLUME WORKDIR".split()
)


@dataclass(slots=True)
class _Logical:
    line: int
    end_line: int
    joined: Joined
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(slots=True)
class _Head:
    """A logical line taken apart: name, flags, and where in the joined text the value stands."""

    name: str
    flags: tuple[Flag, ...]
    start: int
    end: int


class _Reader:
    """Walks the physical lines once and yields logical ones."""

    def __init__(self, content: bytes, path: str) -> None:
        self.path = path
        self.escape = "\\"
        self.syntax: str | None = None
        self.lines = content.split(b"\n")
        self.ends = len(self.lines)  # how many lines there are; a final newline starts none
        if self.lines[-1] == b"":
            self.lines.pop()
            self.ends -= 1
        self.starts: list[int] = []
        at = 0
        for line in self.lines:
            self.starts.append(at)
            at += len(line) + 1
        self.bom = 3 if content.startswith(b"\xef\xbb\xbf") else 0

    def fail(self, says: str, line: int) -> InputError:
        return InputError(says, self.path, line)

    def check_lengths(self) -> None:
        for number, line in enumerate(self.lines, 1):
            if len(line) > MAX_LINE:
                raise self.fail(f"the line is longer than the {MAX_LINE} bytes BuildKit reads", number)

    def physical(self, index: int) -> tuple[str, str, int]:
        """Text without its line end, codec, offset of the first byte."""
        raw = self.lines[index]
        begin = self.starts[index]
        if index == 0 and self.bom:
            raw = raw[self.bom :]
            begin += self.bom
        text, codec = decode(raw.rstrip(b"\r"))
        return text, codec, begin

    def directives(self) -> None:
        seen: set[str] = set()
        # the frontend is looked up below a shebang too, the other directives are not
        index = first = 1 if self.lines and self.lines[0][self.bom :].startswith(b"#!") else 0
        while index < self.ends:
            text, _, _ = self.physical(index)
            text = text.lstrip(SPACES)
            found = _DIRECTIVE.match(text[1:].lstrip(SPACES)) if text.startswith("#") else None
            key = found[1].lower() if found else ""
            if found is None or not found[2] or key not in ("syntax", "escape", "check"):
                return
            value = found[2].strip("\t\n\f\r ")
            if key in seen:
                raise self.fail(f"the {key} directive stands twice", index + 1)
            seen.add(key)
            if key == "syntax":
                self.syntax = value.split(" ")[0] or None
            elif key == "escape" and first == 0:
                if value not in ("\\", "`"):
                    raise self.fail("the escape directive takes a backslash or a backtick", index + 1)
                self.escape = value
            index += 1

    def _continued(self, text: str) -> str | None:
        """The text before a continuation mark, ``None`` without one. A doubled mark is an escaped one."""
        stripped = text.rstrip("\t ")
        if not stripped.endswith(self.escape) or stripped[-2:-1] == self.escape:
            return None
        return stripped[:-1]

    def logical(self) -> Iterator[_Logical]:
        index = 0
        while index < self.ends:
            first = index
            text, codec, begin = self.physical(index)
            index += 1
            stripped = text.lstrip(SPACES)
            if not stripped or stripped[0] == "#":
                continue
            begin += len(text[: len(text) - len(stripped)].encode(codec))
            pieces: list[tuple[str, str, int]] = []
            more = self._continued(stripped)
            pieces.append((stripped if more is None else more, codec, begin))
            while more is not None and index < self.ends:
                text, codec, begin = self.physical(index)
                index += 1
                bare = text.lstrip(SPACES)
                if not bare or bare[0] == "#":
                    continue
                more = self._continued(text)
                pieces.append((text if more is None else more, codec, begin))
            joined = _join(pieces)
            logical = _Logical(first + 1, index, joined)
            index = self._heredocs(logical, index)
            yield logical

    def _heredocs(self, logical: _Logical, index: int) -> int:
        text = logical.joined.text
        if "<<" not in text or not self._bears_heredocs(logical.joined):
            return index
        found: list[Heredoc] = []
        for name, expands, strip in _heredoc_words(text, lambda says: self.fail(says, logical.line)):
            body: list[str] = []
            first = index + 1
            while index < self.ends:
                line, _, _ = self.physical(index)
                # a terminator may stand on the last line without a newline
                raw_end = "\r" * (len(self.lines[index]) - len(self.lines[index].rstrip(b"\r")))
                index += 1
                if (line.lstrip("\t") if strip else line) == name:
                    break
                body.append(line + raw_end + "\n")
            else:
                raise self.fail(f"the heredoc {name} has no end", logical.line)
            found.append(Heredoc(name, "".join(body), expands, strip, first, index))
        logical.heredocs = tuple(found)
        logical.end_line = index
        return index

    def _bears_heredocs(self, joined: Joined) -> bool:
        text = joined.text
        start, end = 0, len(text)
        for _ in range(2):
            head = _split(joined, start, end, self.escape)
            if head.name == "ONBUILD" and start == 0:
                start, end = head.start, head.end
                continue
            if head.name not in _HEREDOC_BEARERS:
                return False
            try:
                return _json_items(text[head.start : head.end]) is None
            except _NotStringsError:
                return False
        return False


def _join(pieces: list[tuple[str, str, int]]) -> Joined:
    at = 0
    kept: list[Piece] = []
    for text, codec, begin in pieces:
        if text:
            kept.append(Piece(at, begin, codec))
            at += len(text)
    return Joined("".join(text for text, _, _ in pieces), tuple(kept))


def _heredoc_words(text: str, fail: Callable[[str], InputError]) -> Iterator[tuple[str, bool, bool]]:
    """Name, whether the body is expanded, whether tabs are stripped, of each heredoc a line opens."""
    try:
        words = shell_words(text, raw=True)
    except ExpansionError:
        return  # BuildKit sees no heredoc in a line it cannot split
    for word in words:
        try:
            found = _heredoc(word)
        except ExpansionError as refused:
            raise fail(f"a heredoc's name cannot be read: {refused}") from None
        if found is not None:
            yield found


def _heredoc(word: str) -> tuple[str, bool, bool] | None:
    match = _HEREDOC.match(word)
    if match is None or not match[3]:
        return None
    plain = shell_words(match[3], raw=False)
    if len(plain) != 1:
        return None
    quoted = _raw_quoted(match[3])
    quotes = [sum(map(text.count, "'\"")) for text in (plain[0], quoted)]
    return plain[0], quotes[0] == quotes[1], match[2] == "-"


def _raw_quoted(text: str) -> str:
    words = shell_words(text, raw=True)
    if len(words) != 1:
        raise ExpansionError("quotes split it")
    return words[0]


def _split(joined: Joined, start: int, end: int, escape: str) -> _Head:
    """Name, flags and value of ``joined.text[start:end]``."""
    text = joined.text
    start, end = _trimmed(text, start, end)
    gap = _BLANK_RUN.search(text, start, end)
    if gap is None:
        return _Head(text[start:end].upper(), (), end, end)
    return _head(joined, text[start : gap.start()].upper(), gap.end(), end, escape)


def _head(joined: Joined, name: str, at: int, end: int, escape: str) -> _Head:
    _, end = _trimmed(joined.text, at, end)
    flags, at = _flags(joined, at, end, escape)
    return _Head(name, flags, *_trimmed(joined.text, at, end))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start] in SPACES:
        start += 1
    while end > start and text[end - 1] in SPACES:
        end -= 1
    return start, end


def _flags(joined: Joined, at: int, end: int, escape: str) -> tuple[tuple[Flag, ...], int]:
    """Leading ``--x`` words and where they end. Quotes and escapes are removed as BuildKit's flag reader does."""
    text = joined.text
    flags: list[Flag] = []
    while True:
        while at < end and text[at] in SPACES:
            at += 1
        if text[at : min(at + 2, end)] != "--":
            return tuple(flags), at
        begin, quote = at, ""
        out: list[str] = []
        while at < end:
            char = text[at]
            if not quote and char in SPACES:
                break
            if char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            elif char == escape:
                at += 1
                if at < end:
                    out.append(text[at])
            else:
                out.append(char)
            at += 1
        at = min(at, end)
        word = "".join(out)
        if word == "--":
            return tuple(flags), at
        name, equals, value = word[2:].partition("=")
        span = Span(joined.offset(begin), joined.after(at - 1))
        flags.append(Flag(name, value if equals else None, span))


class _NotStringsError(Exception):
    """A JSON array that holds something else than strings."""


def _json_items(text: str) -> tuple[str, ...] | None:
    """Items of an exec form, ``None`` when the text is none."""
    text = text.lstrip(SPACES)
    if not text.startswith("["):
        return None

    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        items = json.loads(text, parse_constant=refuse, parse_int=lambda _: 0)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in items):
        raise _NotStringsError
    return tuple(item.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for item in items)


def _quoted_words(text: str, escape: str) -> list[str]:
    """Words split at blanks outside quotes; quotes and escapes are kept."""
    words: list[str] = []
    out: list[str] = []
    quote, blank_ok, at = "", False, 0
    plain = re.compile(f"[^{re.escape(SPACES)}'\"{re.escape(escape)}]+")
    while at < len(text):
        found = plain.match(text, at)
        if found is not None:
            out.append(found[0])
            at = found.end()
            continue
        char = text[at]
        at += 1
        if not quote and char in SPACES:
            if blank_ok or out:
                words.append("".join(out))
            out, blank_ok = [], False
            continue
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote, blank_ok = char, True
        elif char == escape and quote != "'":
            if at == len(text):
                break
            out.append(char)
            char = text[at]
            at += 1
        out.append(char)
    if blank_ok or out:
        words.append("".join(out))
    return words


_Pairs = tuple[tuple[str, str | None], ...]


class _Builder:
    """Makes an ``Instruction`` of a logical line, refusing what BuildKit refuses."""

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader
        self.escape = reader.escape
        self.stage: int | None = None

    def fail(self, says: str, logical: _Logical) -> InputError:
        return self.reader.fail(says, logical.line)

    def build(self, logical: _Logical, head: _Head, *, inside: bool = False) -> Instruction:
        joined = logical.joined
        value = joined.text[head.start : head.end]
        name = head.name
        words: tuple[str, ...] = ()
        pairs: _Pairs = ()
        child: Instruction | None = None
        items: tuple[str, ...] | None = None
        try:
            if name in ("RUN", "CMD", "ENTRYPOINT", "SHELL", "COPY", "ADD", "VOLUME"):
                items = _json_items(value)
            elif name == "HEALTHCHECK":
                kind, _, rest = _cut(value)
                items = _json_items(rest)
                words = (kind, *(items if items is not None else (rest,) if rest else ())) if kind else ()
        except _NotStringsError:
            raise self.fail(f"{name} has a JSON array that holds more than strings", logical) from None
        if name in ("ENV", "LABEL"):
            pairs = self._name_values(value, logical, name)
        elif name == "ARG":
            pairs = tuple(
                (key, raw if equals else None)
                for key, equals, raw in (word.partition("=") for word in _quoted_words(value, self.escape))
            )
        elif name == "ONBUILD" and value and not inside:
            child = self.build(logical, _split(joined, head.start, head.end, self.escape), inside=True)
        if items is not None and name != "HEALTHCHECK":
            words = items
        elif pairs:
            words = tuple(key if raw is None else f"{key}={raw}" for key, raw in pairs)
        elif name in ("COPY", "ADD", "VOLUME", "FROM", "EXPOSE") and value:
            words = tuple(_BLANK_RUN.split(value))
        elif name in ("USER", "WORKDIR", "STOPSIGNAL", "MAINTAINER") and value:
            words = (value,)
        end = self.reader.starts[logical.end_line - 1] + len(self.reader.lines[logical.end_line - 1].rstrip(b"\r"))
        begin = self.reader.starts[logical.line - 1]
        made = Instruction(
            name=name,
            line=logical.line,
            end_line=logical.end_line,
            span=Span(begin + (self.reader.bom if logical.line == 1 else 0), end),
            flags=head.flags,
            value=value,
            words=words,
            json=items is not None,
            heredocs=logical.heredocs,
            child=child,
            stage=self.stage,
            pairs=pairs,
            _joined=joined,
            _start=head.start,
        )
        if not inside:
            says = _refusal(made)
            if says:
                raise self.fail(says, logical)
        return made

    def _name_values(self, value: str, logical: _Logical, name: str) -> _Pairs:
        words = _quoted_words(value, self.escape)
        if not words:
            return ()
        if "=" not in words[0]:
            parts = _BLANK_RUN.split(value, maxsplit=1)
            if len(parts) < 2:
                raise self.fail(f"{name} needs a name and a value", logical)
            return ((parts[0], parts[1]),)
        pairs = [(key, equals, raw) for key, equals, raw in (word.partition("=") for word in words)]
        if not all(equals for _, equals, _ in pairs):
            raise self.fail(f"{name} has a word without =", logical)
        return tuple((key, raw) for key, _, raw in pairs)


def _cut(text: str) -> tuple[str, int, str]:
    """First word, where the rest starts, the rest."""
    at = 0
    while at < len(text) and text[at] not in SPACES:
        at += 1
    after = at
    while after < len(text) and text[after] in SPACES:
        after += 1
    return text[:at], after, text[after:]


def _refusal(made: Instruction) -> str:
    """Why BuildKit refuses the instruction, "" when it does not."""
    name, words = made.name, made.words
    if name in ("ENV", "LABEL", "ARG"):
        if not made.pairs:
            return f"{name} needs at least one argument"
        if any(not key for key, _ in made.pairs):
            return f"{name} has a blank name"
    elif name in ("EXPOSE", "VOLUME", "ONBUILD", "HEALTHCHECK") and not made.value:
        return f"{name} needs at least one argument"
    elif name in ("USER", "WORKDIR", "STOPSIGNAL", "MAINTAINER") and not words:
        return f"{name} needs exactly one argument"
    if name in ("COPY", "ADD"):
        if len(words) < 2:
            return f"{name} needs a source and a destination"
        with_heredoc = _safe_heredoc(words[-1])
        if with_heredoc:
            return f"{name} cannot have a heredoc as its destination"
    elif name == "VOLUME" and not all(word.strip(SPACES) for word in words):
        return "VOLUME has an empty path"
    elif name == "SHELL" and not (made.json and words):
        return "SHELL needs a JSON array"
    elif name == "HEALTHCHECK":
        kind = words[0].upper()
        if kind not in ("NONE", "CMD"):
            return "HEALTHCHECK takes NONE or CMD"
        if (kind == "NONE") != (len(words) == 1):
            return "HEALTHCHECK NONE takes no command, CMD needs one"
    elif name == "ONBUILD" and made.child is not None:
        if made.child.name in ("ONBUILD", "MAINTAINER", "FROM"):
            return f"ONBUILD cannot carry {made.child.name}"
    elif name == "FROM":
        named = len(words) == 3 and words[1].upper() == "AS"
        if len(words) != 1 and not named:
            return "FROM takes one image and, after AS, one name"
        if named and not _STAGE_NAME.match(words[2].lower()):
            return "the stage's name has to start with a letter and hold letters, digits, - _ . only"
    return ""


def _safe_heredoc(word: str) -> bool:
    try:
        return _heredoc(word) is not None
    except ExpansionError:
        return False


def parse(content: bytes, path: str = "Dockerfile") -> Dockerfile:
    """The file as BuildKit reads it.

    Raises ``InputError`` with the line for what BuildKit refuses, and for files that hold NUL bytes, more than
    ``MAX_SIZE`` bytes, ``MAX_STAGES`` stages or ``MAX_INSTRUCTIONS`` instructions. Unknown flags are kept: newer
    frontends have more.
    Source: frontend/dockerfile/parser and frontend/dockerfile/instructions of moby/buildkit.
    """
    nul = content.find(b"\0")
    if nul >= 0:
        raise InputError("the file is binary", path, content.count(b"\n", 0, nul) + 1)
    reader = _Reader(content, path)
    reader.check_lengths()
    if len(content) > MAX_SIZE:
        raise InputError(f"the file is larger than {MAX_SIZE} bytes", path)
    reader.directives()
    logical = list(islice(reader.logical(), MAX_INSTRUCTIONS + 1))
    if not logical:
        raise InputError("the file holds no instructions", path, 1)
    if len(logical) > MAX_INSTRUCTIONS:
        raise InputError(f"the file has more than {MAX_INSTRUCTIONS} instructions", path, logical[-1].line)

    builder = _Builder(reader)
    preamble: list[Instruction] = []
    instructions: list[Instruction] = []
    heads: list[Instruction] = []
    bodies: list[list[Instruction]] = []
    for line, name, at in _base_parse(logical, reader):
        # the base parser also takes blanks that BuildKit does not for the end of the name
        if name not in _NAMES or line.joined.text.strip(SPACES)[len(name) : len(name) + 1] not in _BLANKS:
            named = f" {name}" if name.isalpha() and len(name) < 20 else ""
            raise reader.fail(f"unknown instruction{named}", line.line)
        head = _head(line.joined, name, at, len(line.joined.text), builder.escape)
        if head.name == "FROM":
            builder.stage = len(heads)
        elif builder.stage is None and head.name != "ARG":
            raise reader.fail(f"{head.name} stands before the first FROM", line.line)
        made = builder.build(line, head)
        instructions.append(made)
        if made.name == "FROM":
            heads.append(made)
            bodies.append([])
            if len(heads) > MAX_STAGES:
                raise reader.fail(f"the file has more than {MAX_STAGES} stages", made.line)
        elif not heads:
            preamble.append(made)
        else:
            bodies[-1].append(made)
    if not heads:
        raise reader.fail("the file has no FROM", instructions[-1].line)
    stages = tuple(
        _stage(index, head, tuple(body)) for index, (head, body) in enumerate(zip(heads, bodies, strict=True))
    )
    crlf = content.count(b"\r\n")
    return Dockerfile(
        path=path,
        content=content,
        syntax=reader.syntax,
        escape=reader.escape,
        eol=b"\r\n" if crlf * 2 > content.count(b"\n") else b"\n",
        preamble=tuple(preamble),
        stages=stages,
        instructions=tuple(instructions),
        _starts=tuple(reader.starts),
    )


def _base_parse(logical: list[_Logical], reader: _Reader) -> Iterator[tuple[_Logical, str, int]]:
    """Each logical line with the instruction's name and where the text after it starts.

    The masked copy has every logical line joined on its first line, and a comment on all others.
    """
    masked = ["#\n"] * reader.ends
    by_line: dict[int, _Logical] = {}
    for line in logical:
        masked[line.line - 1] = f"{line.joined.text} {_TAIL}\n"
        by_line[line.line - 1] = line
    parser = DockerfileParser(fileobj=io.StringIO("".join(masked), newline="\n"), env_replace=False)
    for entry in parser.structure:
        found = by_line.pop(entry["startline"], None)
        if found is not None and entry["instruction"] != COMMENT_INSTRUCTION:
            yield found, entry["instruction"], len(found.joined.text) + 2 - len(entry["value"])
    for line in by_line.values():
        raise reader.fail("unknown instruction", line.line)


def _stage(index: int, head: Instruction, body: tuple[Instruction, ...]) -> Stage:
    flag = head.flag("platform")
    name = head.words[2].lower() if len(head.words) == 3 else None
    return Stage(index, name, head.words[0], flag.value if flag else None, head, body)
