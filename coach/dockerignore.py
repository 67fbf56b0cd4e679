"""Ignore files: which paths reach the build context.

The pattern language is that of moby/patternmatcher, which turns a pattern into a *Go* regular expression; odd
patterns get their meaning from that, so the same expression is built here and then translated. The walk is the
one of BuildKit's file sync: a directory is judged before what lies in it.
"""

from __future__ import annotations

import posixpath
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from coach.errors import InputError
from coach.expansion import SPACES
from coach.model import Tree, is_file

MAX_LINE = 65_535  # Go's bufio.Scanner refuses longer lines

_BOM = b"\xef\xbb\xbf"
_ESCAPED_BY_MOBY = frozenset(".+()|{}$")
_FEW = 2  # repetitions up to which a backtracking matcher stays quick on any path
_DFA_LIMIT = 20_000
_TEXT_START, _TEXT_END = "\\A", "\\Z"
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_PERL = {"d": "0-9", "s": "\\t\\n\\f\\r ", "w": "0-9A-Za-z_"}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x00-\\x7f",
    "blank": "\\t ",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}


class _BadPatternError(Exception):
    """A pattern Go refuses."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of an ignore file: ``text`` as it stands there without blanks around it."""

    text: str
    line: int
    negated: bool


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Judgement of one path: which patterns hit it or a parent, the last of which decided."""

    hits: tuple[int, ...]
    ignored: bool


@dataclass(frozen=True)
class IgnoreFile:
    """A parsed ignore file. Paths are relative to the context, with ``/``."""

    path: str
    content: bytes
    patterns: tuple[Pattern, ...]
    _matcher: _Matcher = field(repr=False, compare=False)

    def match(self, path: str) -> Pattern | None:
        """The pattern that decides about the path: a negated one re-includes it. ``None`` when none touches it."""
        hits = self._matcher.judge(_relative(path)).hits
        return self.patterns[hits[-1]] if hits else None

    def ignores(self, path: str) -> bool:
        """Whether the path is left out of the context."""
        return self._matcher.judge(_relative(path)).ignored

    def ignores_dir_wholly(self, path: str) -> bool:
        """Whether the directory is left out with everything that could ever lie in it.

        False where a ``!`` pattern may re-include something below, even if nothing there matches it.
        """
        return self._matcher.wholly(_relative(path))


def _relative(path: str) -> str:
    return posixpath.normpath(path.lstrip("/")) if path.strip("/") else "."


class _Matcher:
    """All patterns of a file, compiled, with the verdicts on directories remembered."""

    def __init__(self) -> None:
        self.negated: list[bool] = []
        self.texts: list[str] = []
        self.exact: dict[str, list[int]] = {}
        self.under: dict[str, list[int]] = {}  # `dir/**`, by dir
        self.named: dict[str, list[int]] = {}  # `**/name`, by name
        self.flat: dict[int, list[tuple[int, Callable[[str], bool]]]] = {}  # by the number of slashes
        self.other: list[tuple[int, Callable[[str], bool]]] = []
        self.verdicts: dict[str, _Verdict] = {".": _Verdict((), False)}
        self.last_negation = -1

    def add(self, text: str, negated: bool) -> None:
        """Append a pattern. Raises ``_BadPatternError``."""
        index = len(self.texts)
        self.texts.append(text)
        self.negated.append(negated)
        if negated:
            self.last_negation = index
        kind, regex = _go_regex(text)
        if kind == "exact":
            self.exact.setdefault(text, []).append(index)
        elif kind == "prefix":
            prefix = text[:-2]
            if prefix.endswith("/"):
                self.under.setdefault(prefix[:-1], []).append(index)
            else:
                self.other.append((index, lambda path: path.startswith(prefix)))
        elif kind == "suffix":
            suffix = text[2:]
            if suffix.startswith("/") and "/" not in suffix[1:]:
                self.named.setdefault(suffix[1:], []).append(index)
            elif suffix.startswith("/"):
                self.other.append((index, lambda path: path.endswith(suffix) or path == suffix[1:]))
            else:
                self.other.append((index, lambda path: path.endswith(suffix)))
        else:
            matches = _compile(regex)
            if "**" in text or "[" in text or "\\" in text:
                self.other.append((index, matches))
            else:
                self.flat.setdefault(text.count("/"), []).append((index, matches))

    def _hits(self, path: str) -> list[int]:
        found = list(self.exact.get(path, ()))
        above, _, name = path.rpartition("/")
        if self.named:
            found += self.named.get(name, ())
        if self.under:
            while above:
                found += self.under.get(above, ())
                above = above.rpartition("/")[0]
        found += [index for index, matches in self.flat.get(path.count("/"), ()) if matches(path)]
        found += [index for index, matches in self.other if matches(path)]
        return found

    def judge(self, path: str) -> _Verdict:
        known = self.verdicts.get(path)
        if known is not None:
            return known
        todo = [path]
        while (above := todo[-1].rpartition("/")[0]) and above not in self.verdicts:
            todo.append(above)
        verdict = self.verdicts.get(above or ".", _Verdict((), False))
        for name in reversed(todo):
            verdict = self.verdicts[name] = self._below(name, verdict)
        return verdict

    def _below(self, path: str, above: _Verdict) -> _Verdict:
        if above.ignored and self.last_negation < above.hits[-1]:
            return above
        new = self._hits(path)
        if not new:
            return above
        inherited = set(above.hits)
        ignored = False
        hits: list[int] = []
        # a pattern is only tried where it can change the answer, unless it already held for the parent
        for index in sorted(inherited.union(new)):
            if index in inherited or self.negated[index] == ignored:
                hits.append(index)
                ignored = not self.negated[index]
        return _Verdict(tuple(hits), ignored)

    def wholly(self, path: str) -> bool:
        if path == ".":
            return False
        verdict = self.judge(path)
        if not verdict.ignored:
            return False
        later = range(verdict.hits[-1] + 1, len(self.texts))
        return not any(self.negated[index] and _may_match_below(self.texts[index], path) for index in later)


def _may_match_below(text: str, path: str) -> bool:
    parts, above = text.split("/"), path.split("/")
    for index, part in enumerate(parts):
        # a class or an escape may span slashes, `**` surely does
        if "**" in part or "[" in part or "\\" in part:
            return True
        if index >= len(above):
            return True
        if part != above[index] and not re.search(r"[*?]", part):
            return False
    return False


def _go_regex(text: str) -> tuple[str, str]:
    """Kind of the pattern ("exact", "prefix", "suffix", "regex") and the Go expression moby makes of it."""
    out = ["^"]
    kind = "exact"
    at = steps = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*" and text[at : at + 1] == "*":
            at += 1
            at += text[at : at + 1] == "/"
            if at == len(text):
                out.append(".*")
                kind = "prefix" if kind == "exact" else "regex"
            else:
                out.append("(.*/)?")
                kind = "regex"
            if steps == 0:
                kind = "suffix"
        elif char in "*?":
            out.append("[^/]*" if char == "*" else "[^/]")
            kind = "regex"
        elif char in _ESCAPED_BY_MOBY:
            out.append("\\" + char)
        elif char == "\\":
            out.append(text[at - 1 : at + 1])
            kind = "regex" if at < len(text) else kind
            at += 1
        else:
            out.append(char)
            kind = "regex" if char in "[]" else kind
        steps += 1
    return kind, "".join(out) + "$"


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of an expression, in Python's notation: an atom, a starred atom, ``(.*/)?`` or an assertion."""

    kind: str
    atom: str


class _Translator:
    """Reads the Go expression moby makes and yields its parts."""

    def __init__(self, go: str) -> None:
        self.go = go
        self.at = 0

    def parts(self) -> Iterator[_Part]:
        go = self.go
        while self.at < len(go):
            char = go[self.at]
            if go.startswith("(.*/)?", self.at):
                self.at += 6
                yield _Part("dirs", "(?:.*/)?")
                continue
            if go.startswith("\\Q", self.at):
                end = go.find("\\E", self.at + 2)
                quoted = go[self.at + 2 : len(go) if end < 0 else end]
                self.at = len(go) if end < 0 else end + 2
                yield from (_Part("one", re.escape(literal)) for literal in quoted)
                continue
            if char in "^$" or go[self.at : self.at + 2] in ("\\A", "\\b", "\\B", "\\z"):
                taken = char if char in "^$" else go[self.at : self.at + 2]
                self.at += len(taken)
                known = {"^": _TEXT_START, "\\A": _TEXT_START, "$": _TEXT_END, "\\z": _TEXT_END}
                yield _Part("assert", known.get(taken, f"(?a:{taken})"))
                continue
            if char == "[":
                atom = self.char_class()
            elif char == "\\":
                atom = self.escape(in_class=False)
            elif char == ".":
                atom, self.at = ".", self.at + 1
            else:
                atom, self.at = re.escape(char), self.at + 1
            starred = go[self.at : self.at + 1] == "*"
            self.at += starred
            yield _Part("star" if starred else "one", atom)

    def char_class(self) -> str:
        go = self.go
        self.at += 1
        negated = go[self.at : self.at + 1] == "^"
        self.at += negated
        out: list[str] = []
        first = True
        while first or go[self.at : self.at + 1] != "]":
            if self.at >= len(go):
                raise _BadPatternError
            first = False
            if go.startswith("[:", self.at):
                end = go.find(":]", self.at + 2)
                if end >= 0:
                    name = go[self.at + 2 : end]
                    inverse = name.startswith("^")
                    if name.removeprefix("^") not in _POSIX:
                        raise _BadPatternError
                    members = _POSIX[name.removeprefix("^")]
                    out.append(_inverse(members) if inverse else members)
                    self.at = end + 2
                    continue
            if go[self.at] == "\\" and go[self.at + 1 : self.at + 2] in tuple("dDsSwWpP"):
                out.append(self.escape(in_class=True))
                continue
            low = high = self.class_char()
            if go[self.at : self.at + 1] == "-" and go[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.class_char()
                if high < low:
                    raise _BadPatternError
            out.append(f"{_member(low)}-{_member(high)}")
        self.at += 1
        return f"[{'^' if negated else ''}{''.join(out)}]"

    def class_char(self) -> int:
        if self.at >= len(self.go):
            raise _BadPatternError
        if self.go[self.at] == "\\":
            return self.escaped_char()
        self.at += 1
        return ord(self.go[self.at - 1])

    def escape(self, *, in_class: bool) -> str:
        kind = self.go[self.at + 1 : self.at + 2]
        if kind and kind in "dDsSwW":
            self.at += 2
            members = _PERL[kind.lower()]
            if in_class:
                return members if kind.islower() else _inverse(members)
            return f"[{'' if kind.islower() else '^'}{members}]"
        if kind and kind in "pP":
            category = self.go[self.at + 2 : self.at + 3]
            self.at += 3
            if not category or category not in "CLMNPSZ":
                raise _BadPatternError
            members = _category(category)
            if in_class:
                return members if kind == "p" else _inverse(members)
            return f"[{'' if kind == 'p' else '^'}{members}]"
        char = _member(self.escaped_char())
        return char if in_class else f"[{char}]"

    def escaped_char(self) -> int:
        go = self.go
        char = go[self.at + 1 : self.at + 2]
        self.at += 2
        if not char:
            raise _BadPatternError
        if char.isascii() and not char.isalnum():
            return ord(char)
        if char in _CONTROL:
            return ord(_CONTROL[char])
        if char in "01234567":
            octal = re.compile("[0-7]{0,2}").match(go, self.at)
            assert octal is not None
            if char == "0" or octal[0]:
                self.at = octal.end()
                return int(char + octal[0], 8)
        if char == "x":
            digits = re.compile("[0-9A-Fa-f]{2}").match(go, self.at)
            if digits is not None:
                self.at = digits.end()
                return int(digits[0], 16)
        raise _BadPatternError


def _member(code: int) -> str:
    return f"\\U{code:08x}"


@lru_cache(maxsize=64)
def _inverse(members: str) -> str:
    """The members of the class that holds everything else."""
    chosen = re.compile(f"[{members}]")
    return _ranges(lambda char: chosen.match(char) is None)


@lru_cache(maxsize=16)
def _category(letter: str) -> str:
    return _ranges(lambda char: unicodedata.category(char)[0] == letter)


def _ranges(holds: Callable[[str], object]) -> str:
    out: list[str] = []
    start: int | None = None
    for code in range(sys.maxunicode + 2):
        if code <= sys.maxunicode and holds(chr(code)):
            start = code if start is None else start
        elif start is not None:
            out.append(f"{_member(start)}-{_member(code - 1)}")
            start = None
    return "".join(out)


def _compile(go: str) -> Callable[[str], bool]:
    """A matcher for a whole path. Its time is bounded by the path's length, whatever the pattern."""
    parts = list(_Translator(go).parts())
    repeated = sum(part.kind in ("star", "dirs") for part in parts)
    if repeated > _FEW:
        # a word boundary or a lost end among many repetitions is refused rather than matched in unbounded time
        odd = any(part.kind == "assert" and part.atom != _TEXT_START for part in parts[1:-1])
        if odd or parts[-1].atom != _TEXT_END:
            raise _BadPatternError
        return _Automaton(parts[1:-1]).matches
    regex = re.compile("".join(part.atom + "*" * (part.kind == "star") for part in parts))
    return lambda path: regex.match(path) is not None


class _Automaton:
    """The parts as an automaton, made deterministic as far as the paths seen need it."""

    def __init__(self, parts: list[_Part]) -> None:
        self.parts = parts
        self.atoms = [re.compile("." if part.kind == "dirs" else part.atom) for part in parts]
        self.step: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self.start = self._closed({0}, at_start=True)

    def _closed(self, states: set[int], *, at_start: bool = False) -> frozenset[int]:
        """States with all that can be reached without reading. State 2n stands before part n, 2n+1 inside it."""
        todo = list(states)
        while todo:
            state = todo.pop()
            part = state // 2
            if state % 2 or part >= len(self.parts):
                continue
            kind = self.parts[part].kind
            if kind in ("star", "dirs") or (kind == "assert" and at_start):
                for following in (state + 1, state + 2) if kind == "dirs" else (state + 2,):
                    if following not in states:
                        states.add(following)
                        todo.append(following)
        return frozenset(states)

    def _next(self, states: frozenset[int], char: str) -> frozenset[int]:
        found: set[int] = set()
        for state in states:
            part = state // 2
            if part >= len(self.parts) or self.parts[part].kind == "assert":
                continue
            if self.atoms[part].fullmatch(char) is None:
                continue
            kind = self.parts[part].kind
            if kind == "dirs":
                if state % 2:
                    found.add(state)
                    if char == "/":
                        found.add(state + 1)
            else:
                found.add(state if kind == "star" else state + 2)
        return self._closed(found)

    def matches(self, path: str) -> bool:
        states = self.start
        for char in path:
            key = (states, char)
            following = self.step.get(key)
            if following is None:
                if len(self.step) >= _DFA_LIMIT:
                    self.step.clear()
                following = self.step[key] = self._next(states, char)
            if not following:
                return False
            states = following
        return 2 * len(self.parts) in states


def _clean(path: str) -> str:
    """Go's ``filepath.Clean``."""
    cleaned = posixpath.normpath(path) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def _check(text: str) -> None:
    """Refuse what Go's ``filepath.Match`` refuses."""

    def class_char(at: int) -> int:
        if at >= len(text) or text[at] in "-]":
            raise _BadPatternError
        at += text[at] == "\\"
        if at + 1 >= len(text):
            raise _BadPatternError
        return at + 1

    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\":
            if at == len(text):
                raise _BadPatternError
            at += 1
        elif char == "[":
            at += text[at : at + 1] == "^"
            ranges = 0
            while not (ranges and text[at] == "]"):
                at = class_char(at)
                if text[at] == "-":
                    at = class_char(at + 1)
                ranges += 1
            at += 1


def _cleaned(text: str) -> tuple[str, bool]:
    """Pattern and whether it is negated, out of a trimmed line: BuildKit's reader, then moby's matcher."""
    negated = text.startswith("!")
    if negated:
        text = text[1:].strip(SPACES)
    if text:
        text = _clean(text)
        if len(text) > 1:
            text = text.removeprefix("/")
    # the matcher trims and cleans once more, the mark included, and only then looks for the mark
    text = _clean((("!" if negated else "") + text).strip(SPACES))
    negated = text.startswith("!")
    if negated:
        text = text[1:]
        if not text:
            raise _BadPatternError
    _check(text)
    return text, negated


def parse(content: bytes, path: str) -> IgnoreFile:
    """The file as BuildKit reads it. Raises ``InputError`` with the line of a pattern that Go refuses.

    Sources: ignorefile/ignorefile.go and patternmatcher.go of moby/patternmatcher, filter.go of tonistiigi/fsutil.
    """
    patterns: list[Pattern] = []
    matcher = _Matcher()
    for line, raw in enumerate(content.removeprefix(_BOM).split(b"\n"), 1):
        if len(raw) > MAX_LINE:
            raise InputError("the line is too long to be read", path, line)
        # undecodable bytes stay what they are, so that they equal those of a path
        text = raw.decode("utf-8", "surrogateescape").removesuffix("\r")
        if text.startswith("#"):
            continue
        text = text.strip(SPACES)
        if not text:
            continue
        try:
            pattern, negated = _cleaned(text)
            matcher.add(pattern, negated)
        except _BadPatternError:
            raise InputError("the pattern is invalid", path, line) from None
        shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        patterns.append(Pattern(shown, line, negated))
    return IgnoreFile(path, content, tuple(patterns), matcher)


def find(tree: Tree, dockerfile: str, context: str) -> IgnoreFile | None:
    """The ignore file in force: ``<dockerfile>.dockerignore`` wholly replaces ``<context>/.dockerignore``.

    ``context`` is a repository directory, "" or "." for the root. Source:
    https://docs.docker.com/build/concepts/context/#filename-and-location
    """
    beside = f"{dockerfile}.dockerignore"
    at_root = posixpath.join("" if context in ("", ".") else context.rstrip("/"), ".dockerignore")
    for path in (beside, at_root):
        if is_file(tree, path):
            return parse(tree.read(path), path)
    return None
