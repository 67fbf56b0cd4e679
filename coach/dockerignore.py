"""Ignore files: which paths reach the build context.

The pattern language is that of moby/patternmatcher, which turns a pattern into a *Go* regular expression; odd
patterns get their meaning from that, so the same expression is built here and then translated. The walk is the
one of BuildKit's file sync: a directory is judged before what lies in it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from coach.errors import InputError
from coach.expansion import SPACES
from coach.goregex import BadExpressionError, matcher
from coach.model import Tree, is_file

MAX_LINE = 65_535  # Go's bufio.Scanner refuses longer lines
MAX_WILDCARDS = 5_000  # patterns that are more than a name; keeps the time for a path bounded

_BOM = b"\xef\xbb\xbf"
# moby means to escape `{`, `|` and `}` too, but its bit table is too narrow for them: they reach the expression bare
_ESCAPED_BY_MOBY = frozenset(".+()$")

# what may make a pattern match a path with another number of slashes
_SPANNING = re.compile(r"\*\*|[\[\\|{]")


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
        self.wildcards = 0

    def add(self, text: str, negated: bool) -> None:
        """Append a pattern. Raises ``BadExpressionError``."""
        index = len(self.texts)
        self.texts.append(text)
        self.negated.append(negated)
        if negated:
            self.last_negation = index
        kind, regex = _go_regex(text)
        if kind == "exact":
            self.exact.setdefault(text, []).append(index)
            return
        self.wildcards += 1
        if kind == "prefix":
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
            matches = matcher(regex)
            if _SPANNING.search(text):
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
        if _SPANNING.search(part):
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


def _clean(path: str) -> str:
    """Go's ``filepath.Clean``."""
    cleaned = posixpath.normpath(path) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def _check(text: str) -> None:
    """Refuse what Go's ``filepath.Match`` refuses."""

    def class_char(at: int) -> int:
        if at >= len(text) or text[at] in "-]":
            raise BadExpressionError
        at += text[at] == "\\"
        if at + 1 >= len(text):
            raise BadExpressionError
        return at + 1

    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\":
            if at == len(text):
                raise BadExpressionError
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
            raise BadExpressionError
    _check(text)
    return text, negated


def parse(content: bytes, path: str) -> IgnoreFile:
    """The file as BuildKit reads it. Raises ``InputError`` with the line of a pattern that Go refuses.

    More than ``MAX_WILDCARDS`` patterns with wildcards are refused too.

    Sources: ignorefile/ignorefile.go and patternmatcher.go of moby/patternmatcher, filter.go of tonistiigi/fsutil.
    """
    patterns: list[Pattern] = []
    judge = _Matcher()
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
            judge.add(pattern, negated)
        except BadExpressionError:
            raise InputError("the pattern is invalid", path, line) from None
        if judge.wildcards > MAX_WILDCARDS:
            raise InputError(f"the file has more than {MAX_WILDCARDS} patterns with wildcards", path, line)
        shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        patterns.append(Pattern(shown, line, negated))
    return IgnoreFile(path, content, tuple(patterns), judge)


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
