"""tree-sitter-bash, and what its tree leaves to be put right: byte offsets, nested lists, redirected lists."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from coach.shell.nouns import Item

if TYPE_CHECKING:
    import tree_sitter


@lru_cache(maxsize=1)
def parser() -> tree_sitter.Parser:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


class Text:
    """A piece of source and how its bytes map to characters of the outermost source."""

    def __init__(
        self, source: str, shift: int = 0, exact: bool = True, clamp: tuple[int, int] | None = None, depth: int = 0
    ) -> None:
        self.source = source
        self.shift = shift
        self.exact = exact
        self.clamp = clamp
        self.depth = depth
        self.bytes = source.encode("utf-8", "replace")
        self._ends: list[int] = []
        self._extra: list[int] = []
        if len(self.bytes) != len(source):
            more = 0
            for match in re.finditer(r"[^\x00-\x7f]", source):
                width = len(match.group().encode("utf-8", "replace"))
                more += width - 1
                self._ends.append(match.start() + more + 1)
                self._extra.append(more)

    def root(self) -> tree_sitter.Node:
        tree = parser().parse(self.bytes)
        assert tree is not None
        return tree.root_node

    def char(self, byte: int) -> int:
        """Character of this piece of source at which ``byte`` stands."""
        at = bisect_right(self._ends, byte)
        return byte - (self._extra[at - 1] if at else 0)

    def at(self, node: tree_sitter.Node) -> tuple[int, int]:
        """Where ``node`` stands in the outermost source."""
        if self.clamp is not None:
            return self.clamp
        return self.char(node.start_byte) + self.shift, self.char(node.end_byte) + self.shift

    def span(self, leaf: Leaf) -> tuple[int, int]:
        return self.at(leaf.node)[0], self.clamp[1] if self.clamp is not None else self.char(leaf.end) + self.shift

    def of(self, node: tree_sitter.Node) -> str:
        return self.bytes[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def between(self, start: int, end: int) -> str:
        return self.bytes[start:end].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One operand of a list. ``end`` is a byte; redirections that the grammar hangs on the whole list are its own."""

    operator: str
    node: tree_sitter.Node
    end: int
    redirects: tuple[tree_sitter.Node, ...] = ()


def leaves_of(node: tree_sitter.Node) -> list[Leaf]:
    """``a && b || c`` as its operands, each with the operator before it; the grammar nests lists to the left."""
    found: list[Leaf] = []
    end = node.end_byte
    redirects: tuple[tree_sitter.Node, ...] = ()
    while True:
        body = node.child_by_field_name("body") if node.type == "redirected_statement" else None
        if body is not None and body.type == "list":
            # `a && b >f` redirects b, whatever the tree says
            end, redirects, node = node.end_byte, tuple(node.children_by_field_name("redirect")), body
            continue
        children = [child for child in node.children if child.type != "comment"] if node.type == "list" else []
        if len(children) < 3:
            found.append(Leaf("", node, end, redirects))
            return found[::-1]
        for operator, operand in zip(children[-2:0:-2], children[:0:-2], strict=False):
            last = operand is children[-1]
            found.append(Leaf(operator.type, operand, end if last else operand.end_byte, redirects if last else ()))
        node = children[0]
        end, redirects = node.end_byte, ()


def statements_of(node: tree_sitter.Node) -> list[tree_sitter.Node]:
    children = list(node.children)
    if node.type == "case_item":
        opened = next((index for index, child in enumerate(children) if child.type == ")"), 0)
        children = children[opened + 1 :]
    return [child for child in children if child.is_named and child.type != "comment"]


def items_of(text: Text, root: tree_sitter.Node) -> Iterator[Item]:
    end = None
    for statement in statements_of(root):
        for leaf in leaves_of(statement):
            joiner = leaf.operator
            if not joiner and end is not None:
                gap = re.sub(r"#[^\n]*", "", text.between(end, leaf.node.start_byte))
                joiner = "&" if "&" in gap else ";" if ";" in gap else "\n"
            yield Item(*text.span(leaf), joiner)
            end = leaf.end
