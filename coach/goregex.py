"""The part of Go's regular expressions that ignore patterns turn into, matched in bounded time.

Follows regexp/syntax/parse.go of Go with its Perl flags. Groups other than ``(.*/)?`` do not occur.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_FEW = 2  # repetitions up to which a backtracking matcher stays quick on any path
_DFA_LIMIT = 20_000
_MANY = 10_000  # parts of one expression, its counts written out
_TEXT_START, _TEXT_END, _ANY = "\\A", "\\Z", "(?s:.)"
_COUNT = re.compile(r"\{(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}")
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


class BadExpressionError(Exception):
    """An expression, or a pattern, that Go refuses."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of an expression, in Python's notation.

    ``kind`` is "one", "star", "count" (``low`` to ``high`` times, -1 for no limit), "dirs" for ``(.*/)?``,
    "assert" or "or".
    """

    kind: str
    atom: str
    low: int = 1
    high: int = 1

    def python(self) -> str:
        if self.kind == "star":
            return self.atom + "*"
        if self.kind == "count":
            return f"{self.atom}{{{self.low},{'' if self.high < 0 else self.high}}}"
        return self.atom


class _Translator:
    """Reads an expression and yields its parts."""

    def __init__(self, go: str) -> None:
        self.go = go
        self.at = 0

    def parts(self) -> Iterator[_Part]:
        go = self.go
        while self.at < len(go):
            char, two = go[self.at], go[self.at : self.at + 2]
            if char == "|":
                self.at += 1
                yield _Part("or", "")
            elif two == "\\Q":
                end = go.find("\\E", self.at + 2)
                quoted = go[self.at + 2 : len(go) if end < 0 else end]
                self.at = len(go) if end < 0 else end + 2
                yield from (_Part("one", re.escape(literal)) for literal in quoted[:-1])
                if quoted:
                    yield self.counted(re.escape(quoted[-1]))
            elif go.startswith("(.*/)?", self.at):
                self.at += 6
                if self.count() is not None:
                    raise BadExpressionError
                yield _Part("dirs", "(?:.*/)?")
            elif char in "^$" or two in ("\\A", "\\b", "\\B", "\\z"):
                taken = char if char in "^$" else two
                self.at += len(taken)
                known = {"^": _TEXT_START, "\\A": _TEXT_START, "$": _TEXT_END, "\\z": _TEXT_END}
                count = self.count()
                if count is None or count[0]:
                    yield _Part("assert", known.get(taken, f"(?a:{taken})"))
            else:
                if char == "{" and self.count() is not None:
                    raise BadExpressionError  # there is nothing before it, or it is repeated already
                yield self.counted(self.atom())

    def atom(self) -> str:
        char = self.go[self.at]
        if char == "[":
            return self.char_class()
        if char == "\\":
            return self.escape(in_class=False)
        self.at += 1
        return "." if char == "." else re.escape(char)

    def counted(self, atom: str) -> _Part:
        """``atom`` with the repetition that follows it."""
        if self.go[self.at : self.at + 1] == "*":
            self.at += 1
            if self.count() is not None:
                raise BadExpressionError  # Go takes no repetition of a repetition
            return _Part("star", atom)
        count = self.count()
        if count is None:
            return _Part("one", atom)
        if self.count() is not None or self.go[self.at : self.at + 1] == "*":
            raise BadExpressionError
        return _Part("count", atom, *count)

    def count(self) -> tuple[int, int] | None:
        """The ``{n}``, ``{n,}`` or ``{n,m}`` that stands here; anything else in braces is plain text."""
        found = _COUNT.match(self.go, self.at)
        if found is None:
            return None
        low = int(found[1][:5])
        high = low if found[2] is None else int(found[3][:5]) if found[3] else -1
        if low > 1000 or high > 1000 or 0 <= high < low:
            raise BadExpressionError
        self.at = found.end()
        return low, high

    def char_class(self) -> str:
        go = self.go
        self.at += 1
        negated = go[self.at : self.at + 1] == "^"
        self.at += negated
        out: list[str] = []
        first = True
        while first or go[self.at : self.at + 1] != "]":
            if self.at >= len(go):
                raise BadExpressionError
            first = False
            if go.startswith("[:", self.at):
                end = go.find(":]", self.at + 2)
                if end >= 0:
                    name = go[self.at + 2 : end]
                    inverse = name.startswith("^")
                    if name.removeprefix("^") not in _POSIX:
                        raise BadExpressionError
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
                    raise BadExpressionError
            out.append(f"{_member(low)}-{_member(high)}")
        self.at += 1
        return f"[{'^' if negated else ''}{''.join(out)}]"

    def class_char(self) -> int:
        if self.at >= len(self.go):
            raise BadExpressionError
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
                raise BadExpressionError
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
            raise BadExpressionError
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
        raise BadExpressionError


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


def matcher(go: str) -> Callable[[str], bool]:
    """Whether ``go`` is found in a text, which must not be empty.

    The time is bounded by the text's length, whatever the expression.
    Raises ``BadExpressionError`` for what Go refuses, and for counts that add up to more than any real pattern has.
    """
    found = [_branch(parts) for parts in _branches(list(_Translator(go).parts()))]
    if len(found) == 1:
        return found[0]
    return lambda text: any(matches(text) for matches in found)


def _branches(parts: list[_Part]) -> Iterator[list[_Part]]:
    branch: list[_Part] = []
    for part in parts:
        if part.kind == "or":
            yield branch
            branch = []
        else:
            branch.append(part)
    yield branch


def _branch(parts: list[_Part]) -> Callable[[str], bool]:
    # an expression may be found anywhere, unless it is tied to the start or the end
    anything = _Part("star", _ANY)
    parts = parts[1:] if parts and parts[0].atom == _TEXT_START else [anything, *parts]
    parts = parts[:-1] if parts and parts[-1].atom == _TEXT_END else [*parts, anything]
    if sum(part.kind in ("star", "dirs") or part.low != part.high for part in parts) > _FEW:
        return _Automaton(parts).matches
    regex = re.compile("".join(part.python() for part in parts))
    return lambda text: regex.fullmatch(text) is not None


class _Automaton:
    """The parts as an automaton, made deterministic as far as the texts seen need it.

    State 2n stands before part n, 2n+1 inside it; only ``dirs`` has an inside.
    """

    def __init__(self, parts: list[_Part]) -> None:
        self.parts: list[_Part] = []
        for part in parts:
            if part.kind != "count":
                self.parts.append(part)
                continue
            self.parts += [_Part("one", part.atom)] * part.low
            rest = _Part("star" if part.high < 0 else "maybe", part.atom)
            self.parts += [rest] * (1 if part.high < 0 else part.high - part.low)
            if len(self.parts) > _MANY:
                raise BadExpressionError
        self.atoms = [re.compile("." if part.kind == "dirs" else part.atom) for part in self.parts]
        self.step: dict[tuple[frozenset[int], bool | None, str], frozenset[int]] = {}

    def _closed(self, states: frozenset[int], before: bool | None, after: bool | None) -> set[int]:
        """``states`` with all that can be reached without reading.

        ``before`` and ``after`` say whether the neighbouring character is part of a word; ``None`` at the edge.
        """
        found = set(states)
        todo = list(states)
        while todo:
            state = todo.pop()
            part = state // 2
            if state % 2 or part >= len(self.parts):
                continue
            kind, atom = self.parts[part].kind, self.parts[part].atom
            if kind == "assert":
                passes = (
                    before is None
                    if atom == _TEXT_START
                    else after is None
                    if atom == _TEXT_END
                    else (bool(before) != bool(after)) == atom.endswith("b)")
                )
            else:
                passes = kind in ("star", "dirs", "maybe")
            for following in ((state + 1, state + 2) if kind == "dirs" else (state + 2,)) if passes else ():
                if following not in found:
                    found.add(following)
                    todo.append(following)
        return found

    def _next(self, states: frozenset[int], before: bool | None, char: str) -> frozenset[int]:
        found: set[int] = set()
        for state in self._closed(states, before, _in_word(char)):
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
        return frozenset(found)

    def matches(self, text: str) -> bool:
        states = frozenset({0})
        before: bool | None = None
        for char in text:
            key = (states, before, char)
            following = self.step.get(key)
            if following is None:
                if len(self.step) >= _DFA_LIMIT:
                    self.step.clear()
                following = self.step[key] = self._next(states, before, char)
            if not following:
                return False
            states, before = following, _in_word(char)
        return 2 * len(self.parts) in self._closed(states, before, None)


def _in_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")
