"""Manifests as plain values, read without running anything and without ever raising.

Every reader gives ``None`` and a reason for a file that is absent, too large, broken or hostile.
"""

from __future__ import annotations

import bisect
import json
import posixpath
import re
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from xml.parsers import expat

from coach import safe_yaml
from coach.errors import InputError
from coach.model import Kind, Tree, is_file

MAX_BYTES = 8 * 1024 * 1024
MAX_TOML_BYTES = 2 * 1024 * 1024
MAX_XML_NODES = 200_000
_LONGEST_TEXT = 10_000
# tomllib's time and memory grow with the square of the parts of a dotted key.
_MOST_DOTS = 20_000_000


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file could not be read, at which line (0 when no line is to blame)."""

    path: str
    line: int
    says: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.says}" if self.line else f"{self.path}: {self.says}"


@dataclass(slots=True)
class Element:
    """One XML element: local name, attributes, own text, children; ``line`` is 1-based."""

    name: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> list[Element]:
        """Every descendant called ``name`` (case ignored), in document order."""
        found, stack = [], [self]
        while stack:
            element = stack.pop()
            if element.name.lower() == name.lower():
                found.append(element)
            stack.extend(reversed(element.children))
        return found

    def child(self, name: str) -> Element | None:
        """The first child called ``name``."""
        return next((child for child in self.children if child.name == name), None)


class Files:
    """A tree with readers for the formats manifests come in."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.problems: list[Problem] = []
        self._paths: list[str] | None = None
        self._children: dict[str, list[str]] | None = None
        self._texts: dict[str, str | None] = {}
        self._json: dict[str, dict[str, object] | None] = {}
        self._yaml: dict[str, object] = {}

    @property
    def paths(self) -> list[str]:
        """Every listed path, sorted."""
        if self._paths is None:
            self._paths = sorted(self.tree.entries())
        return self._paths

    def below(self, directory: str) -> list[str]:
        """Every listed path under ``directory`` ("" is the root), which is not among them."""
        if not directory:
            return self.paths
        prefix = f"{directory}/"
        return self.paths[bisect.bisect_left(self.paths, prefix) : bisect.bisect_left(self.paths, f"{directory}0")]

    def children(self, directory: str) -> list[str]:
        """Base names directly in ``directory``, sorted."""
        if self._children is None:
            self._children = {}
            for path in self.paths:
                above, _, name = path.rpartition("/")
                self._children.setdefault(above, []).append(name)
        return sorted(self._children.get(directory, ()))

    def is_file(self, path: str) -> bool:
        return is_file(self.tree, path)

    def is_dir(self, path: str) -> bool:
        entry = self.tree.entries().get(path)
        if entry is not None and entry.kind is Kind.SYMLINK and entry.target is not None:
            entry = self.tree.entries().get(entry.target)
        return path == "" or (entry is not None and entry.kind is Kind.DIR)

    def text(self, path: str) -> str | None:
        """The file as text, a byte order mark dropped, odd bytes replaced; ``None`` when it cannot be read."""
        if path not in self._texts:
            self._texts[path] = self._read_text(path)
        return self._texts[path]

    def _read_text(self, path: str) -> str | None:
        if not self.is_file(path):
            return None
        try:
            content = self.tree.read(path)
        except InputError as error:
            self._fail(path, error.line, error.says)
            return None
        if len(content) > MAX_BYTES:
            self._fail(path, 0, f"more than {MAX_BYTES // 1024 // 1024} MB, not read")
            return None
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16", "replace")
        return content.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")

    def json(self, path: str) -> dict[str, object] | None:
        """A JSON object; comments and trailing commas are let through, as most tools do."""
        if path not in self._json:
            self._json[path] = self._read_json(path)
        return self._json[path]

    def toml(self, path: str) -> dict[str, object] | None:
        text = self.text(path)
        if text is None:
            return None
        if len(text) > MAX_TOML_BYTES:
            self._fail(path, 0, f"TOML of more than {MAX_TOML_BYTES // 1024 // 1024} MB, not read")
            return None
        if sum(line.count(".") ** 2 for line in text.splitlines()) > _MOST_DOTS:
            self._fail(path, 0, "TOML with keys of too many parts, not read")
            return None
        try:
            return _toml(text)
        except (tomllib.TOMLDecodeError, ValueError) as error:
            line = re.search(r"\bline (\d+)", str(error))
            self._fail(path, int(line[1]) if line else 0, "not valid TOML")
            return None
        except RecursionError:
            self._fail(path, 0, "nested too deeply")
            return None

    def yaml(self, path: str) -> object:
        """The only YAML document of a file as plain values; ``None`` also for an empty one."""
        if path not in self._yaml:
            self._yaml[path] = self._read_yaml(path)
        return self._yaml[path]

    def _read_yaml(self, path: str) -> object:
        if not self.is_file(path):
            return None
        try:
            return safe_yaml.load(self.tree.read(path), path)
        except InputError as error:
            self._fail(path, error.line, error.says)
            return None

    def xml(self, path: str) -> Element | None:
        text = self.text(path)
        if text is None:
            return None
        try:
            return _xml(text)
        except (expat.ExpatError, ValueError) as error:
            self._fail(path, getattr(error, "lineno", 0), "not valid XML, or XML with a document type")
            return None

    def _read_json(self, path: str) -> dict[str, object] | None:
        text = self.text(path)
        if text is None:
            return None
        try:
            try:
                loaded = json.loads(text)
            except ValueError:
                loaded = json.loads(without_comments(text))
        except ValueError as error:
            self._fail(path, getattr(error, "lineno", 0), "not valid JSON")
            return None
        except RecursionError:
            self._fail(path, 0, "nested too deeply")
            return None
        if isinstance(loaded, dict):
            return loaded
        self._fail(path, 1, "not a JSON object")
        return None

    def _fail(self, path: str, line: int, says: str) -> None:
        self.problems.append(Problem(path, line, says))


def join(directory: str, relative: str) -> str | None:
    """``relative`` as seen from ``directory``, as a repository path; ``None`` when absolute or above the root."""
    relative = relative.replace("\\", "/")
    if relative.startswith("/") or "\0" in relative:
        return None
    path = posixpath.normpath(posixpath.join(directory, relative)) if relative else directory
    if path == ".." or path.startswith("../"):
        return None
    return "" if path == "." else path


def at(directory: str, name: str) -> str:
    """The path of ``name``, a plain file name, in ``directory``."""
    return f"{directory}/{name}" if directory else name


def parent(path: str) -> str:
    """The directory of a path; of a file at the root, ""."""
    return path.rpartition("/")[0]


def upwards(directory: str, ceiling: str) -> list[str]:
    """``directory`` and everything above it, nearest first, not above ``ceiling``."""
    if not within(directory, ceiling):
        return [directory]
    found = [directory]
    while found[-1] != ceiling:
        found.append(parent(found[-1]))
    return found


def within(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or lies in it."""
    return not directory or path == directory or path.startswith(f"{directory}/")


def line_of(text: str | None, needle: str, start: int = 0) -> int:
    """The 1-based line of the first ``needle`` at or after character ``start``, or 0."""
    at = -1 if text is None else text.find(needle, start)
    return 0 if text is None or at < 0 else text.count("\n", 0, at) + 1


def table(value: object, *keys: str) -> dict[str, object]:
    """The mapping at ``keys``, or an empty one when something else stands on the way."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return {name: item for name, item in value.items() if isinstance(name, str)} if isinstance(value, dict) else {}


def strings(value: object) -> list[str]:
    """A string or a list as its strings; anything else as none."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]


_COMMENT = re.compile(r'"|//|/\*')
_STRING_END = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"?', re.S)
_COMMA = re.compile(r'("(?:[^"\\]|\\.)*+")|,(\s*[\]}])', re.S)


@lru_cache(maxsize=1024)
def _toml(text: str) -> dict[str, object]:
    # one manifest is asked about many times, over trees that differ in a Dockerfile only; nobody changes what is read
    return tomllib.loads(text)


def without_comments(text: str) -> str:
    """JSON with its comments and trailing commas taken out; line breaks stay where they are."""
    kept: list[str] = []
    at = 0
    while found := _COMMENT.search(text, at):
        kept.append(text[at : found.start()])
        if found[0] == '"':
            end = _STRING_END.match(text, found.end())
            at = end.end() if end else len(text)
            kept.append(text[found.start() : at])
        elif found[0] == "//":
            at = text.find("\n", found.end())
        else:
            at = text.find("*/", found.end())
            kept.append("\n" * text.count("\n", found.end(), at if at >= 0 else None))
            at = at + 2 if at >= 0 else -1
        if at < 0:
            at = len(text)
    kept.append(text[at:])
    return _COMMA.sub(lambda match: match[1] or match[2], "".join(kept))


def _xml(text: str) -> Element:
    # Document types are the way in for entity bombs and outside entities, and no manifest needs one.
    parser = expat.ParserCreate(encoding="utf-8")
    root = Element("", {}, 0)
    stack = [root]
    count = 0

    def refuse(*_: object) -> None:
        raise ValueError("document type")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > MAX_XML_NODES:
            raise ValueError("too many elements")
        element = Element(name.rpartition(":")[2], attributes, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def characters(data: str) -> None:
        if len(stack[-1].text) < _LONGEST_TEXT:
            stack[-1].text += data

    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.Parse(text.encode(errors="replace"), True)
    return root
