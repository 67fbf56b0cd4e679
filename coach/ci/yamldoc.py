"""A YAML file with its places: nodes that know their lines, and text that knows which bytes it was read from."""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from coach import safe_yaml
from coach.errors import InputError
from coach.model import Span

if TYPE_CHECKING:
    import yaml

_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"


class Doc:
    """One YAML file. ``roots`` are its documents."""

    def __init__(self, content: bytes, path: str) -> None:
        """Raises ``InputError`` for anything ``safe_yaml`` refuses."""
        self.path = path
        self.content = content
        self.bom = 3 if content.startswith(b"\xef\xbb\xbf") else 0
        self.roots = tuple(Node(self, node) for node in safe_yaml.compose_all(content, path))

    @property
    def root(self) -> Node:
        """The first document."""
        return self.roots[0]

    @functools.cached_property
    def text(self) -> str:
        return self.content[self.bom :].decode()

    @functools.cached_property
    def _char_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def line_of(self, index: int) -> int:
        """Line of the character that a mark counts."""
        return bisect_right(self._char_starts, index)

    @functools.cached_property
    def _ascii(self) -> bool:
        return self.content[self.bom :].isascii()

    def byte(self, index: int) -> int:
        """Byte offset of a character that a mark counts."""
        return self.bom + (index if self._ascii else len(self.text[:index].encode()))

    @functools.cached_property
    def line_starts(self) -> tuple[int, ...]:
        """Byte offset at which each line starts."""
        starts = [0]
        at = self.content.find(b"\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.content.find(b"\n", at + 1)
        return tuple(starts)

    @property
    def eol(self) -> bytes:
        first = self.content.find(b"\n")
        return b"\r\n" if first > 0 and self.content[first - 1 : first] == b"\r" else b"\n"

    def line_span(self, first: int, last: int) -> Span:
        """Bytes of the lines ``first`` to ``last`` (1-based, inclusive) with their line ends."""
        starts = self.line_starts
        end = starts[last] if last < len(starts) else len(self.content)
        return Span(starts[first - 1], end)

    def line_text(self, line: int) -> str:
        """One line without its end."""
        span = self.line_span(line, line)
        return self.content[span.start : span.end].decode("utf-8", "replace").rstrip("\r\n")


class Node:
    """A YAML node and the file it stands in; wrong shapes answer with ``None`` or nothing, never an error."""

    __slots__ = ("_items", "doc", "key", "node")

    def __init__(self, doc: Doc, node: yaml.Node, key: yaml.Node | None = None) -> None:
        self.doc = doc
        self.node = node
        self.key = key
        self._items: dict[str, Node] | None = None

    @property
    def is_map(self) -> bool:
        return str(getattr(self.node, "id", "")) == "mapping"

    @property
    def is_list(self) -> bool:
        return str(getattr(self.node, "id", "")) == "sequence"

    @property
    def is_null(self) -> bool:
        return self.node.tag == _NULL

    @property
    def tag(self) -> str:
        return str(self.node.tag)

    @property
    def flow(self) -> bool:
        """Written as ``{…}`` or ``[…]``."""
        return bool(getattr(self.node, "flow_style", False))

    @property
    def text(self) -> str | None:
        """What a scalar says, as written; ``None`` for a collection and for an empty value."""
        if self.is_map or self.is_list or self.is_null:
            return None
        return str(self.node.value)

    @property
    def style(self) -> str:
        """``"|"``, ``">"``, ``'"'``, ``"'"`` or ``""`` for a plain scalar."""
        return getattr(self.node, "style", "") or ""

    @property
    def start(self) -> int:
        """Character index of the first character."""
        mark = self.node.start_mark
        return int(mark.index) if mark is not None else 0

    @property
    def line(self) -> int:
        mark = self.node.start_mark
        return int(mark.line) + 1 if mark is not None else 1

    @property
    def key_line(self) -> int:
        """Line of the key this value stands under, or its own."""
        if self.key is None or self.key.start_mark is None:
            return self.line
        return int(self.key.start_mark.line) + 1

    @property
    def column(self) -> int:
        """Column (0-based) at which the node, or for a value its key, starts."""
        mark = self.node.start_mark
        return int(mark.column) if mark is not None else 0

    @property
    def key_column(self) -> int:
        return int(self.key.start_mark.column) if self.key is not None and self.key.start_mark is not None else 0

    @property
    def span(self) -> Span:
        """Bytes from the first to behind the last character (exact for flow and single-line scalars)."""
        return safe_yaml.span(self.doc.content, self.node)

    @property
    def end_line(self) -> int:
        """Last line that belongs to the node: no trailing blank lines or comments."""
        last = self.line
        stack = [self]
        seen: set[int] = set()
        while stack:
            node = stack.pop()
            if id(node.node) in seen:
                continue
            seen.add(id(node.node))
            last = max(last, node._own_end())
            if node.is_map:
                stack += [Node(self.doc, part) for pair in node.node.value for part in pair]
            elif node.is_list:
                stack += [Node(self.doc, part) for part in node.node.value]
        return last

    def _own_end(self) -> int:
        mark = self.node.end_mark
        if mark is None:
            return self.line
        if (self.is_map or self.is_list) and not self.flow:
            return self.line
        line = int(mark.line) + 1
        if self.style in ("|", ">"):
            if int(mark.column) == 0 or line > len(self.doc.line_starts):
                line -= 1
            while line > self.line and not self.doc.line_text(min(line, len(self.doc.line_starts))).strip():
                line -= 1
        return line

    def entries(self) -> dict[str, Node]:
        """Keys and values of a mapping in file order, merge keys followed, the own ones first in authority."""
        if self._items is not None:
            return self._items
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        self._items = {}
        if self.is_map:
            for key, item in self.node.value:
                if key.tag == _MERGE:
                    for source in item.value if item.id == "sequence" else [item]:
                        if source.id == "mapping" and source is not self.node:
                            for name, node in Node(self.doc, source).entries().items():
                                merged.setdefault(name, node)
                elif key.id == "scalar":
                    own[str(key.value)] = Node(self.doc, item, key)
            self._items = {**merged, **own}
        return self._items

    def get(self, *names: str) -> Node | None:
        """The value under a chain of keys; ``None`` where one is missing or empty."""
        node: Node | None = self
        for name in names:
            node = node.entries().get(name) if node is not None else None
        return None if node is None or node.is_null else node

    def items(self) -> Iterator[Node]:
        """Elements of a list; a scalar stands for a list of one."""
        if self.is_list:
            for item in self.node.value:
                yield Node(self.doc, item)
        elif not self.is_map and not self.is_null:
            yield self

    def texts(self) -> list[tuple[str, int]]:
        """Scalars of a list with their lines; a scalar stands for a list of one."""
        return [(item.text, item.line) for item in self.items() if item.text is not None]

    def source(self) -> Source:
        """The text of a scalar together with where each of its characters stands in the file."""
        return Source(self)


class Source:
    """The text of a scalar and its places. Folding and quoting are followed as far as they can be."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.text = node.text or ""
        self._map: list[int] | None = None

    def _places(self) -> list[int]:
        if self._map is not None:
            return self._map
        doc = self.node.doc
        source = doc.text
        at = self.node.start
        if self.node.style in ("|", ">"):
            newline = source.find("\n", at)
            at = newline + 1 if newline >= 0 else len(source)
        elif self.node.style:
            at += 1
        places: list[int] = []
        for char in self.text:
            if char in " \n\t":
                places.append(at)
                if at < len(source) and source[at] in " \t" and char != "\n":
                    at += 1
                continue
            while at < len(source) and (source[at].isspace() or (self.node.style == '"' and source[at] == "\\")):
                # an escape in a quoted scalar: the escaped character follows, or a line is continued
                if source[at] == "\\" and at + 1 < len(source) and source[at + 1] not in ' \n\\"/':
                    break
                at += 1
                if source[at - 1] == "\\":
                    break
            if at >= len(source) or source[at] != char:
                break
            places.append(at)
            at += 1
        self._map = places
        return places

    def byte(self, index: int) -> int | None:
        """Byte offset in the file of character ``index`` of the text, when it stands there as written."""
        places = self._places()
        if 0 <= index < len(places):
            return self.node.doc.byte(places[index])
        if index == len(self.text) and index == len(places) and places:
            return self.node.doc.byte(places[-1] + 1)
        return None

    def line(self, index: int) -> int:
        """Line of the file that holds character ``index`` of the text (the nearest known one)."""
        places = self._places()
        if not places:
            return self.node.line
        return self.node.doc.line_of(places[min(max(index, 0), len(places) - 1)])

    def place(self, index: int) -> tuple[str, int]:
        """File and line of character ``index`` of the text."""
        return self.node.doc.path, self.line(index)


class Joined:
    """Several scalars that one shell runs one after another, joined by line ends."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.sources = [node.source() for node in nodes]
        self.starts: list[int] = []
        at = 0
        for source in self.sources:
            self.starts.append(at)
            at += len(source.text) + 1
        self.text = "\n".join(source.text for source in self.sources)

    def find(self, index: int) -> tuple[Source, int]:
        """The scalar that holds character ``index``, and the index in it."""
        number = max(bisect_right(self.starts, index) - 1, 0)
        return self.sources[number], index - self.starts[number]

    def place(self, index: int) -> tuple[str, int]:
        """File and line of character ``index``."""
        source, inside = self.find(index)
        return source.place(inside)


def read(content: bytes, path: str) -> Doc:
    """``content`` as a ``Doc``. Raises ``InputError``, also when the first document is no mapping."""
    doc = Doc(content, path)
    if not doc.root.is_map:
        raise InputError("a mapping was expected at the top of this file", path, 1)
    return doc
