"""Word expansion and word splitting of Dockerfiles, with values that nobody knows as a third state.

Follows ``frontend/dockerfile/shell/lex.go`` of moby/buildkit, quirks included.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

# unicode.IsSpace of Go; str.isspace() also holds for U+001C to U+001F, which Go takes as text
SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

_DEEPEST = 50
_LONGEST_PATTERN_WORK = 1_000_000
_LONGEST_RESULT = 64 * 1024  # values that grow out of one another double with each; nobody writes such a long one
_SPECIAL = "@*#?-$!0"


class ExpansionError(Exception):
    """A word that BuildKit refuses: an open quote, a bad substitution, ``${x?}`` of an unset name."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What became of a word.

    ``text`` is ``None`` when the result hangs on a value nobody knows, grows out of all bounds, or when BuildKit would
    refuse the word (then ``error`` says why). ``missing`` names, sorted, what was looked up in vain where no
    alternative was given: each counted as empty.
    """

    text: str | None
    missing: tuple[str, ...] = ()
    error: str = ""


class Scope(Mapping[str, str | None]):
    """Names and values that a word expands with, plus what is known about the names that are not there.

    A value of ``None`` exists but is unknown. ``unset`` are names declared without a value (``ARG X``): they are
    listed with ``None``, ``${X:-d}`` takes its default, and plain ``$X`` is unknown rather than empty, because
    such an argument is there to be passed. With ``complete`` false, names that are not listed may still exist
    (the environment of a base image nobody described) and expand to unknown.
    """

    __slots__ = ("_values", "complete", "unset")

    def __init__(
        self, values: Mapping[str, str | None], unset: Collection[str] = frozenset(), complete: bool = True
    ) -> None:
        self._values = values
        self.unset = unset
        self.complete = complete

    def __getitem__(self, name: str) -> str | None:
        try:
            return self._values[name]
        except KeyError:
            if name in self.unset:
                return None
            raise

    def lacks(self, name: str) -> bool:
        """Whether the name is declared but has no value at all."""
        return name in self.unset and name not in self._values

    def __iter__(self) -> Iterator[str]:
        yield from self._values
        yield from sorted(name for name in self.unset if name not in self._values)

    def __len__(self) -> int:
        return len(self._values) + sum(name not in self._values for name in self.unset)

    def __repr__(self) -> str:
        return f"Scope({dict(self)!r}, complete={self.complete})"


class _Lexer:
    """One pass over one text. Sub-results are ``None`` when unknown."""

    def __init__(
        self,
        text: str,
        env: Mapping[str, str | None],
        escape: str,
        *,
        raw_quotes: bool = False,
        raw_escapes: bool = False,
        keep_unset: bool = False,
        quotes: bool = True,
    ) -> None:
        self.text = text
        self.at = 0
        self.env = env
        self.lacks = env.lacks if isinstance(env, Scope) else lambda _: False
        self.complete = env.complete if isinstance(env, Scope) else True
        self.escape = escape
        self.raw_quotes = raw_quotes
        self.raw_escapes = raw_escapes
        self.keep_unset = keep_unset
        self.quotes = quotes
        self.missing: set[str] = set()
        self.buffer: list[str] = []
        self.depth = 0
        self.filled = 0
        self.plain = re.compile(f"[^{re.escape(SPACES)}'\"$<}}/{re.escape(escape)}]+")

    def lookup(self, name: str) -> tuple[str | None, bool | None]:
        """Value and whether it is set; ``None`` for what is unknown."""
        if self.lacks(name):
            return "", False
        if name in self.env:
            return self.env[name], True
        return ("", False) if self.complete else (None, None)

    def run(self, stop: str, raw_escapes: bool) -> tuple[str | None, list[str]]:
        """Text and words up to ``stop`` ("" for the end)."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ExpansionError("substitutions are nested too deeply")
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        # BuildKit shares one word buffer between nesting levels, so an inner level loses the outer one's start
        self.buffer.clear()
        out: list[str | None] = []
        words: list[str] = []
        in_word = False
        text, escape = self.text, self.escape
        while self.at < len(text):
            char = text[self.at]
            if stop and char == stop:
                self.at += 1
                break
            found = self.plain.match(text, self.at)
            if found is not None:
                self.at = found.end()
                out.append(found[0])
                self.buffer.append(found[0])
                in_word = True
            elif char == "$":
                value = self.dollar()
                self.filled += len(value or "")
                if self.filled > _LONGEST_RESULT:
                    raise ExpansionError(f"it grows beyond {_LONGEST_RESULT} characters")
                out.append(value)
                for piece in re.split(f"([{re.escape(SPACES)}])", value or ""):
                    if piece and piece in SPACES:
                        in_word = self._end_word(words, in_word)
                    elif piece:
                        self.buffer.append(piece)
                        in_word = True
            elif char == "<":
                value = self.possible_heredoc()
                out.append(value)
                self.buffer.append(value)
                in_word = True
            elif char in "'\"" and self.quotes:
                value = self.single() if char == "'" else self.double()
                out.append(value)
                self.buffer.append(value or "")
                in_word = True
            elif char == escape:
                self.at += 1
                if self.raw_escapes:
                    out.append(char)
                    self.buffer.append(char)
                    in_word = True
                if self.at >= len(text):
                    continue
                out.append(text[self.at])
                self.buffer.append(text[self.at])
                in_word = True
                self.at += 1
            else:
                self.at += 1
                out.append(char)
                if char in SPACES:
                    in_word = self._end_word(words, in_word)
                else:
                    self.buffer.append(char)
                    in_word = True
        else:
            if stop:
                raise ExpansionError(f"the matching {stop} is missing")
        self._end_word(words, True)
        self.raw_escapes = before
        self.depth -= 1
        return _joined(out), words

    def _end_word(self, words: list[str], in_word: bool) -> bool:
        if in_word:
            word = "".join(self.buffer)
            if not word:
                return in_word
            words.append(word)
            self.buffer.clear()
        return False

    def possible_heredoc(self) -> str:
        self.at += 1
        if self.text[self.at : self.at + 1] != "<":
            return "<"
        start = self.at = self.at + 1
        while self.text[self.at : self.at + 1] in ("\t", "\r", " "):
            self.at += 1
        return "<<" + self.text[start : self.at]

    def single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise ExpansionError("a single quote is not closed")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return f"'{inner}'" if self.raw_quotes else inner

    def double(self) -> str | None:
        out: list[str | None] = ['"'] if self.raw_quotes else []
        self.at += 1
        text, escape = self.text, self.escape
        plain = re.compile(f'[^"${re.escape(escape)}]+')
        while self.at < len(text):
            char = text[self.at]
            if char == '"':
                self.at += 1
                if self.raw_quotes:
                    out.append('"')
                return _joined(out)
            if char == "$":
                value = self.dollar()
                self.filled += len(value or "")
                if self.filled > _LONGEST_RESULT:
                    raise ExpansionError(f"it grows beyond {_LONGEST_RESULT} characters")
                out.append(value)
            elif char == escape:
                self.at += 1
                if self.raw_escapes:
                    out.append(char)
                if self.at >= len(text):
                    break
                if text[self.at] in ('"', "$", escape):
                    char = text[self.at]
                    self.at += 1
                out.append(char)
            else:
                found = plain.match(text, self.at)
                assert found is not None
                out.append(found[0])
                self.at = found.end()
        raise ExpansionError("a double quote is not closed")

    def name(self) -> str:
        start, text = self.at, self.text
        if self.at < len(text):
            if text[self.at].isdecimal():
                while self.at < len(text) and text[self.at].isdecimal():
                    self.at += 1
                return text[start : self.at]
            if text[self.at] in _SPECIAL:
                self.at += 1
                return text[start : self.at]
        while self.at < len(text) and (text[self.at].isalpha() or text[self.at].isdecimal() or text[self.at] == "_"):
            self.at += 1
        return text[start : self.at]

    def plain_value(self, name: str, as_written: str) -> str | None:
        value, is_set = self.lookup(name)
        if is_set:
            return value
        if is_set is False and self.keep_unset:
            return as_written
        self.missing.add(name)
        return None if self.lacks(name) else value

    def dollar(self) -> str | None:
        self.at += 1
        text = self.text
        if text[self.at : self.at + 1] != "{":
            name = self.name()
            return self.plain_value(name, f"${name}") if name else "$"
        self.at += 1
        if self.at >= len(text):
            raise ExpansionError("the closing } is missing")
        if text[self.at] in "{}:":
            raise ExpansionError("bad substitution")
        name = self.name()
        mark = text[self.at : self.at + 1]
        self.at += 1
        if mark == "}":
            return self.plain_value(name, f"${{{name}}}")
        if mark == "/":
            return self.replacement(name)
        null_is_unset = mark == ":"
        if null_is_unset:
            mark = text[self.at : self.at + 1]
            self.at += 1
        if not mark or mark not in "+-?#%" or (null_is_unset and mark in "#%"):
            raise ExpansionError("unsupported modifier in a substitution")
        outside, self.missing = self.missing, set()
        word, _ = self.run("}", mark in "#%")
        inside, self.missing = self.missing, outside
        value, is_set = self.lookup(name)
        if self.keep_unset and is_set is False:
            return f"${{{name}{':' if null_is_unset else ''}{mark}{word}}}"
        if mark in "#%":
            self.missing |= inside
            if not is_set:
                self.missing.add(name)
                if self.lacks(name):
                    return None
            if word is None or value is None:
                return None
            greedy = word.startswith(mark)
            return _trim(word[1:] if greedy else word, value, greedy, suffix=mark == "%")
        if is_set is None or (is_set and null_is_unset and value is None):
            if is_set is None:
                self.missing.add(name)
            return None
        filled = is_set and not (null_is_unset and value == "")
        if mark == "-":
            if filled:
                return value
            self.missing |= inside
            return word
        if mark == "+":
            if not filled:
                return ""
            self.missing |= inside
            return word
        if not filled:
            self.missing.add(name)
            raise ExpansionError(f"{name} has to be set")
        return value

    def replacement(self, name: str) -> str | None:
        every = self.text[self.at : self.at + 1] == "/"
        self.at += every
        pattern, _ = self.run("/", True)
        new, _ = self.run("}", True)
        value, is_set = self.lookup(name)
        if is_set is False and self.keep_unset:
            return f"${{{name}/{pattern}/{new}}}"
        if not is_set:
            self.missing.add(name)
            if self.lacks(name):
                return None
        if pattern is None or new is None or value is None:
            return None
        # in the all-matches form, Go reads `$` in the new text as a reference to a group
        if every and "$" in new:
            return None
        return _replace(pattern, value, new, every)


def _joined(pieces: list[str | None]) -> str | None:
    out = [piece for piece in pieces if piece is not None]
    return "".join(out) if len(out) == len(pieces) else None


_Glob = list[list[str | None]]  # runs between stars; None stands for any one character


def _glob(pattern: str) -> _Glob:
    runs: _Glob = [[]]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            runs.append([])
        elif char == "?":
            runs[-1].append(None)
        elif char == "\\":
            at += 1
            following = pattern[at : at + 1]
            if following in ("}", "/"):
                continue
            if following not in ("*", "?", "\\"):
                raise ExpansionError("invalid escape in a pattern")
            runs[-1].append(following)
        else:
            runs[-1].append(char)
        at += 1
    return runs


def _regex(run: list[str | None]) -> re.Pattern[str]:
    return re.compile("".join("." if char is None else re.escape(char) for char in run))


def _end(regexes: list[re.Pattern[str]], value: str, start: int, greedy: bool) -> int | None:
    """Where the pattern's longest or shortest match from ``start`` ends. ``value`` holds no newline."""
    first = regexes[0].match(value, start)
    if first is None:
        return None
    at = first.end()
    for regex in regexes[1:-1]:
        found = regex.search(value, at)
        if found is None:
            return None
        at = found.end()
    if len(regexes) == 1:
        return at
    last = regexes[-1]
    if not greedy:
        found = last.search(value, at)
        return found.end() if found else None
    for begin in range(len(value), at - 1, -1):
        found = last.match(value, begin)
        if found is not None:
            return found.end()
    return None


def _too_much(pattern: str, value: str) -> bool:
    return "\n" in value or "\n" in pattern or (len(pattern) + 1) * len(value) > _LONGEST_PATTERN_WORK


def _trim(pattern: str, value: str, greedy: bool, *, suffix: bool) -> str | None:
    runs = _glob(pattern)
    if _too_much(pattern, value):
        return None
    if suffix:
        runs = [run[::-1] for run in runs[::-1]]
        value = value[::-1]
    end = _end([_regex(run) for run in runs], value, 0, greedy)
    rest = value if end is None else value[end:]
    return rest[::-1] if suffix else rest


def _replace(pattern: str, value: str, new: str, every: bool) -> str | None:
    regexes = [_regex(run) for run in _glob(pattern)]
    if _too_much(pattern, value) or len(value) * len(value) * len(regexes) > _LONGEST_PATTERN_WORK:
        return None
    out: list[str] = []
    at = last = 0
    while at <= len(value):
        begin, end = at, None
        while begin <= len(value) and end is None:
            end = _end(regexes, value, begin, greedy=True)
            begin += end is None
        if end is None:
            break
        out.append(value[last:begin])
        if end > last or begin == 0:
            out.append(new)
        last = end
        if not every:
            break
        at = max(at + 1, end)
    return "".join([*out, value[last:]])


def expand(word: str, env: Mapping[str, str | None], escape: str = "\\", *, quotes: bool = True) -> Expansion:
    """Expand ``word`` as BuildKit does: quotes and escapes go, ``$x`` and ``${x…}`` are replaced.

    A value of ``None`` in ``env`` exists but is unknown; a name that is not in ``env`` is empty (see ``Scope`` for
    the finer distinctions). With ``quotes`` false, quotes are plain text, as in the body of a heredoc that
    ``COPY`` writes. Never raises. Source: https://docs.docker.com/reference/dockerfile/#environment-replacement
    """
    lexer = _Lexer(word, env, escape, quotes=quotes)
    try:
        text, _ = lexer.run("", False)
    except ExpansionError as refused:
        return Expansion(None, tuple(sorted(lexer.missing)), str(refused))
    return Expansion(text, tuple(sorted(lexer.missing)))


def shell_words(text: str, *, raw: bool) -> list[str]:
    """Words of ``text``, variables left as they stand; with ``raw``, quotes and escapes too.

    Raises ``ExpansionError`` where BuildKit cannot split.
    """
    lexer = _Lexer(text, {}, "\\", raw_quotes=raw, raw_escapes=raw, keep_unset=True)
    return lexer.run("", raw)[1]
