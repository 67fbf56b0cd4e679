"""Mermaid flowcharts as graphs: load one, check it, walk it.

``load_chart`` takes any flowchart that Mermaid 11 takes, not only charts made for coach, and refuses what Mermaid
refuses; ``tests/mermaid`` holds Mermaid's own answers about a few hundred charts, and they agree. It departs from
Mermaid on purpose in these points only:

- more than 50,000 characters are refused when loading, as Mermaid does when drawing;
- an unknown or broken HTML tag in a label (``<name>``) is kept as typed, where Mermaid drops it and what it holds;
- ``swimlane-beta``, which shares the grammar, is not a flowchart here;
- an arrow whose halves do not fit (``A x-- no -->B``) is a plain arrow, as it is drawn; direction ``BR`` is ``TB``;
- what a directive (``%%{init: …}%%``) says is not looked at, though a few impossible ones make Mermaid fail;
- members of a subgraph are vertices and subgraphs only (Mermaid also lists stray ``;`` and accessible titles).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from coach.errors import ChartError, UsageError
from coach.mermaid_grammar import parse

if TYPE_CHECKING:
    import networkx as nx

    Chart: TypeAlias = nx.MultiDiGraph[str]

FIXED = "fixed"
"""Label of the edge that says where the walk goes on after a FIX."""

_FIX_TEXT = re.compile(r"FIX\b")
_FIX_ID = re.compile(r"F\d+")


class Problem(NamedTuple):
    """Something that makes a chart hard to walk. ``kind`` is a fixed word, ``says`` one sentence, ``line`` 1-based."""

    kind: str
    node: str
    line: int
    says: str


def load_chart(text: str) -> Chart:
    """The graph a flowchart draws.

    Nodes, in source order, have ``text`` (as read: breaks as newlines, entities decoded), ``shape`` (one name per
    shape: ``square``, ``diamond``, ``round`` …) and ``line``. Edges have ``label`` ("" when none), ``style``
    (``solid``, ``dotted``, ``thick``, ``invisible``), ``tail`` and ``head`` (``none``, ``point``, ``circle``,
    ``cross``), ``length`` and ``line``; the *key* of an edge is its rank in the source, from 0. The graph has
    ``direction`` (``TB``, ``BT``, ``LR``, ``RL``) and ``subgraphs`` (inner ones before outer ones); a subgraph that
    an edge or a ``style`` names is a node as well.

    Raises ``ChartError`` with the line for a text that Mermaid refuses.
    """
    drawing = parse(text)
    import networkx as nx

    graph: Chart = nx.MultiDiGraph(direction=drawing.direction, subgraphs=tuple(drawing.subgraphs))
    for vertex in drawing.vertices.values():
        graph.add_node(vertex.id, text=vertex.text, shape=vertex.shape, line=vertex.line)
    for rank, edge in enumerate(drawing.edges):
        for end in (edge.start, edge.end):
            # An edge may end at the id of another edge, which Mermaid does not make a vertex.
            if end not in graph:
                graph.add_node(end, text=end, shape="square", line=edge.line)
        graph.add_edge(
            edge.start,
            edge.end,
            key=rank,
            label=edge.label,
            style=edge.style,
            tail=edge.tail,
            head=edge.head,
            length=edge.length,
            line=edge.line,
        )
    return graph


class _Way(NamedTuple):
    """An edge as the walk sees it."""

    rank: int
    label: str
    target: str
    line: int

    @property
    def choice(self) -> str:
        return _plain(self.label)


def _plain(choice: str) -> str:
    return " ".join(choice.split()).casefold()


class _Walk:
    """A chart made ready for walking: visible edges in source order, subgraphs entered and left.

    An edge to a subgraph leads to its first member that nothing inside leads to (unless the subgraph has edges of
    its own to go on by); a member without a way out leaves by the edges of the subgraph around it.
    """

    def __init__(self, graph: Chart) -> None:
        self.graph = graph
        self.groups: dict[str, tuple[str, ...]] = {group.id: group.nodes for group in graph.graph["subgraphs"]}
        self.parents = {
            member: group for group, members in self.groups.items() for member in members if member != group
        }
        self.order = {node: rank for rank, node in enumerate(graph)}
        self.first_members: dict[str, str | None] = {}
        self.edges: dict[str, list[_Way]] = {node: [] for node in graph}
        for start, end, rank, data in graph.edges(keys=True, data=True):
            if data["style"] != "invisible":
                self.edges[start].append(_Way(int(rank), data["label"], end, data["line"]))
        for ways in self.edges.values():
            ways.sort(key=lambda way: way.rank)
        self.led_to_inside = self._led_to_inside() if self.groups else set()

    def ways(self, node: str) -> list[_Way]:
        if node not in self.graph:
            raise UsageError(f"the chart has no node {node!r}")
        at: str | None = node
        seen: set[str] = set()
        while at is not None and at not in seen:
            seen.add(at)
            if self.edges.get(at):
                return self.edges[at]
            at = self.parents.get(at)
        return []

    def inside(self, node: str) -> str:
        seen: set[str] = set()
        while node in self.groups and node not in seen and not self.edges.get(node):
            seen.add(node)
            first = self.first_member(node)
            if first is None:
                break
            node = first
        return node

    def first_member(self, group: str) -> str | None:
        if group not in self.first_members:
            members = [member for member in self.groups[group] if member in self.graph or member in self.groups]
            members.sort(key=lambda member: self.order.get(member, len(self.order)))
            first = next((member for member in members if member not in self.led_to_inside), None)
            self.first_members[group] = first if first is not None else next(iter(members), None)
        return self.first_members[group]

    def around(self, node: str) -> list[str]:
        """``node``, the subgraph it is a member of, the one around that …"""
        chain = {node: None}
        while (parent := self.parents.get(node)) is not None and parent not in chain:
            chain[parent] = None
            node = parent
        return list(chain)

    def _led_to_inside(self) -> set[str]:
        """Members of subgraphs to which an edge leads from another member, or from what lies in one."""
        found: set[str] = set()
        for start, ways in self.edges.items():
            outside = set(self.around(start)[1:]) if ways and start in self.parents else set()
            for way in ways if outside else ():
                chain = self.around(way.target)
                entered = next((m for m, parent in pairwise(chain) if parent in outside), None)
                if entered is not None and entered != start and entered not in outside:
                    found.add(entered)
        return found

    def is_fix(self, node: str) -> bool:
        data = self.graph.nodes[node]
        if _FIX_TEXT.match(data["text"].lstrip()):
            return True
        asks = data["shape"] == "diamond" or sum(way.choice != FIXED for way in self.edges[node]) > 1
        return _FIX_ID.fullmatch(node) is not None and not asks

    def after_fix(self, node: str) -> str | None:
        return next((self.inside(way.target) for way in self.edges[node] if way.choice == FIXED), None)

    def open_ways(self, node: str) -> list[_Way]:
        """The ways that are choices: all but the ``fixed`` edge of a FIX."""
        ways = self.ways(node)
        return [way for way in ways if way.choice != FIXED] if self.is_fix(node) else ways

    def choices(self, node: str) -> tuple[str, ...]:
        first: dict[str, str] = {}
        for way in self.open_ways(node):
            first.setdefault(way.choice, " ".join(way.label.split()))
        return tuple(first.values())

    def entry(self) -> str:
        nodes = [node for node in self.graph if node not in self.groups] or list(self.graph)
        if not nodes:
            raise ChartError("the chart has no node", line=1)
        led_to = {self.inside(way.target) for node in self.graph for way in self.edges[node] if way.target != node}
        roots = [node for node in nodes if node not in led_to]
        candidates = [node for node in roots if self.ways(node)] or roots or nodes
        return next((node for node in candidates if node.casefold() == "start"), candidates[0])

    def steps(self) -> dict[str, list[str]]:
        """Every step the walk can take."""
        return {node: [self.inside(way.target) for way in self.ways(node)] for node in self.graph}


_WALKS: WeakKeyDictionary[Chart, tuple[tuple[int, int], _Walk]] = WeakKeyDictionary()


def _walk(graph: Chart) -> _Walk:
    """The chart made ready, once: one diagnosis asks the same chart some hundred times."""
    size = (graph.number_of_nodes(), graph.number_of_edges())
    held = _WALKS.get(graph)
    if held is None or held[0] != size:
        held = _WALKS[graph] = (size, _Walk(graph))
    return held[1]


def text_of(graph: Chart, node: str) -> str:
    """The text of a node on one line."""
    return " ".join(str(graph.nodes[node]["text"]).split())


def is_fix(graph: Chart, node: str) -> bool:
    """Whether the walk ends here: the text begins with ``FIX``, or the id is ``F1``, ``F2`` … and it asks nothing."""
    return _walk(graph).is_fix(node)


def after_fix(graph: Chart, node: str) -> str | None:
    """Where the walk goes on once the FIX is made: the end of its ``fixed`` edge, None when it has none."""
    return _walk(graph).after_fix(node)


def choices(graph: Chart, node: str) -> tuple[str, ...]:
    """The labels to choose from at ``node``, in source order, each once; "" stands for an edge without a label.

    Empty where the walk ends. The ``fixed`` edge of a FIX is not a choice. Raises ``UsageError`` for no node.
    """
    return _walk(graph).choices(node)


def follow(graph: Chart, node: str, choice: str) -> str:
    """The node that ``choice`` leads to; letter case and blanks do not matter.

    Raises ``UsageError`` when there is no such choice, ``ChartError`` when it leads to two different nodes.
    """
    walk = _walk(graph)
    targets = {way.target: way.line for way in walk.open_ways(node) if way.choice == _plain(choice)}
    if not targets:
        offered = ", ".join(repr(label) for label in walk.choices(node)) or "nothing"
        raise UsageError(f"{node!r} offers {offered}, not {choice!r}")
    if len(targets) > 1:
        raise ChartError(f"the choice {choice!r} of {node!r} leads to two nodes", line=max(targets.values()))
    return walk.inside(next(iter(targets)))


def is_question(graph: Chart, node: str) -> bool:
    """Whether the walk has to decide here: drawn as a diamond, or more than one way to go."""
    walk = _walk(graph)
    return not walk.is_fix(node) and (graph.nodes[node]["shape"] == "diamond" or len(walk.choices(node)) > 1)


def entry(graph: Chart) -> str:
    """Where the walk begins.

    Of the nodes that lead somewhere and that nothing else leads to, the one called ``start``, else the first in
    the source; in a chart that is one cycle, ``start`` or the first node. Raises ``ChartError`` for an empty chart.
    """
    return _walk(graph).entry()


def lint(graph: Chart) -> tuple[Problem, ...]:
    """What makes the chart hard to walk, in source order: nothing for a sound one.

    Kinds: ``empty``, ``dangling-fix`` (a FIX without a ``fixed`` edge, so the walk cannot go on), ``unreachable``
    (no way from the entry), ``ambiguous`` (two edges out of a node with one choice), ``one-way`` (a question with
    one way out), ``dead-end`` (a question with none), ``endless`` (a cycle that nothing leaves).
    """
    if not graph:
        return (Problem("empty", "", 1, "the chart has no node"),)
    walk = _walk(graph)
    steps = walk.steps()
    problems = [*_question_problems(walk), *_unreachable(walk, steps), *_endless(walk, steps)]
    return tuple(sorted(problems, key=lambda problem: (problem.line, walk.order[problem.node], problem.kind)))


def _question_problems(walk: _Walk) -> Iterator[Problem]:
    for node, data in walk.graph.nodes(data=True):
        line = data["line"]
        if walk.is_fix(node):
            if walk.after_fix(node) is None:
                yield Problem("dangling-fix", node, line, f"the FIX {node} has no dotted edge labelled `{FIXED}`")
        elif data["shape"] == "diamond" and node not in walk.groups:
            ways = walk.open_ways(node)
            if not ways:
                yield Problem("dead-end", node, line, f"the question {node} has no way out")
            elif len(ways) == 1:
                yield Problem("one-way", node, line, f"the question {node} has one way out")
        lines: dict[str, list[int]] = {}
        for way in walk.edges[node]:
            lines.setdefault(way.choice, []).append(way.line)
        for choice, at in lines.items():
            if len(at) > 1:
                said = f"the choice {choice!r}" if choice else "no label"
                yield Problem("ambiguous", node, at[-1], f"{len(at)} edges out of {node} have {said}")


def _unreachable(walk: _Walk, steps: dict[str, list[str]]) -> Iterator[Problem]:
    start = walk.entry()
    reached = {start}
    todo = [start]
    while todo:
        new = set(steps[todo.pop()]) - reached
        # The first member of a subgraph that has edges of its own is reached, too: it is drawn inside.
        new |= {inner for node in new if (inner := _drawn_inside(walk, node)) is not None} - reached
        reached |= new
        todo += new
    for node, data in walk.graph.nodes(data=True):
        if node not in reached and node not in walk.groups:
            yield Problem("unreachable", node, data["line"], f"no way leads from {start} to {node}")


def _drawn_inside(walk: _Walk, node: str) -> str | None:
    first = walk.first_member(node) if node in walk.groups else None
    return first if first in walk.graph else None


def _endless(walk: _Walk, steps: dict[str, list[str]]) -> Iterator[Problem]:
    import networkx as nx

    flat: nx.DiGraph[str] = nx.DiGraph()
    flat.add_nodes_from(steps)
    flat.add_edges_from((node, target) for node, targets in steps.items() for target in targets)
    for component in nx.strongly_connected_components(flat):
        inner = sorted(component, key=walk.order.__getitem__)
        targets = [target for node in inner for target in steps[node]]
        if targets and all(target in component for target in targets):
            line = int(walk.graph.nodes[inner[0]]["line"])
            yield Problem("endless", inner[0], line, f"nothing leaves the cycle of {', '.join(inner[:5])}")
