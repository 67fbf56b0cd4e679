"""The decision chart, with the path of a walk marked: as Mermaid, as Graphviz DOT, as a list for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from coach import flowchart
from coach.model import Diagnosis
from coach.render.words import target_name
from coach.session import decisions, title

if TYPE_CHECKING:
    from coach.flowchart import Chart

Path = Sequence[tuple[str, str]]
"""Nodes of a walk in order, each with the choice that left it; the last one with "" where the walk stands."""


class Asked(TypedDict):
    """A question of the chart: ``fixes`` maps a choice to the FIX it leads to."""

    node: str
    question: str
    choices: list[str]
    fixes: dict[str, str]


def walked(diagnosis: Diagnosis) -> Path:
    """The trail of a diagnosis with the node at which it ended."""
    steps = [(step.node, step.choice) for step in diagnosis.trail]
    if diagnosis.fix is not None:
        return [*steps, (diagnosis.fix.id, "")]
    return [*steps, (diagnosis.pending.node, "")] if diagnosis.pending is not None else steps


def questions(chart: Chart) -> list[Asked]:
    """Every question in the order of the walk."""
    found: list[Asked] = []
    for node in decisions(chart):
        choices = list(flowchart.choices(chart, node))
        ends = {choice: flowchart.follow(chart, node, choice) for choice in choices}
        fixes = {choice: end for choice, end in ends.items() if flowchart.is_fix(chart, end)}
        found.append({"node": node, "question": flowchart.text_of(chart, node), "choices": choices, "fixes": fixes})
    return found


def render(chart: Chart, path: Path = (), form: str = "mermaid", of: Diagnosis | None = None) -> str:
    """The chart in ``form``: "mermaid", "dot" or "text". ``of`` puts the target's name above the list."""
    match form:
        case "mermaid":
            return _mermaid(chart, path)
        case "dot":
            return _dot(chart, path)
        case "text":
            head = f"{target_name(of)}\n" if of is not None else ""
            return head + _text(chart, path)
    raise ValueError(form)


def _taken(chart: Chart, path: Path) -> set[tuple[str, str, str]]:
    """Edges of the path as ``(from, to, label)``."""
    return {(node, flowchart.follow(chart, node, choice), choice) for node, choice in path if choice}


def _mermaid_text(words: str) -> str:
    """Quoted label text: Mermaid reads ``#…;`` as an entity and ends at a quote."""
    escaped = words.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return escaped.replace("\n", "<br/>")


_SHAPES = {"diamond": ('{"', '"}'), "stadium": ('(["', '"])'), "round": ('("', '")')}


def _mermaid(chart: Chart, path: Path) -> str:
    ids = {node: node if node.isascii() and node.isidentifier() else f"n{n}" for n, node in enumerate(chart)}
    lines = [f"flowchart {chart.graph['direction'].replace('TB', 'TD')}"]
    for node, data in chart.nodes(data=True):
        before, after = _SHAPES.get(data["shape"], ('["', '"]'))
        lines.append(f"  {ids[node]}{before}{_mermaid_text(data['text'])}{after}")
    taken, marked = _taken(chart, path), []
    for rank, (start, end, data) in enumerate(_edges(chart)):
        arrow = "-.->" if data["style"] == "dotted" else "~~~" if data["style"] == "invisible" else "-->"
        label = f'|"{_mermaid_text(data["label"])}"|' if data["label"] and arrow != "~~~" else ""
        lines.append(f"  {ids[start]} {arrow}{label} {ids[end]}")
        if (start, end, " ".join(data["label"].split())) in taken:
            marked.append(str(rank))
    if path:
        lines += [
            "  classDef walked fill:#dff5e1,stroke:#1a7f37,stroke-width:2px,color:#000",
            "  classDef reached fill:#ffe7b3,stroke:#bf8700,stroke-width:3px,color:#000",
        ]
        passed = [ids[node] for node, choice in path if choice and node in ids]
        here = [ids[node] for node, choice in path if not choice and node in ids]
        lines += [f"  class {','.join(passed)} walked"] if passed else []
        lines += [f"  class {','.join(here)} reached"] if here else []
        lines += [f"  linkStyle {','.join(marked)} stroke:#1a7f37,stroke-width:3px"] if marked else []
    return "\n".join(lines) + "\n"


def _edges(chart: Chart) -> list[tuple[str, str, dict[str, str]]]:
    """Edges in the order of the source, which is what ``linkStyle`` counts."""
    ordered = sorted(chart.edges(keys=True, data=True), key=lambda edge: int(edge[2]))
    return [(start, end, data) for start, end, _, data in ordered]


def _dot_text(words: str) -> str:
    return '"' + words.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _dot(chart: Chart, path: Path) -> str:
    passed = {node: "#dff5e1" if choice else "#ffe7b3" for node, choice in path}
    taken = _taken(chart, path)
    lines = ["digraph chart {", f"  rankdir={chart.graph['direction']};", '  node [shape=box, fontname="sans-serif"];']
    for node, data in chart.nodes(data=True):
        attrs = [f"label={_dot_text(data['text'])}"]
        attrs += ["shape=diamond"] if data["shape"] == "diamond" else []
        attrs += ["style=filled", f'fillcolor="{passed[node]}"'] if node in passed else []
        lines.append(f"  {_dot_text(node)} [{', '.join(attrs)}];")
    for start, end, data in _edges(chart):
        attrs = [f"label={_dot_text(data['label'])}"] if data["label"] else []
        attrs += {"dotted": ["style=dotted"], "invisible": ["style=invis"]}.get(data["style"], [])
        attrs += ["penwidth=3", 'color="#1a7f37"'] if (start, end, " ".join(data["label"].split())) in taken else []
        tail = f" [{', '.join(attrs)}]" if attrs else ""
        lines.append(f"  {_dot_text(start)} -> {_dot_text(end)}{tail};")
    return "\n".join([*lines, "}"]) + "\n"


def _text(chart: Chart, path: Path) -> str:
    """One block per question: its choices, where each leads, and an arrow at what was taken."""
    chosen = dict(path)
    lines = []
    for asked in questions(chart):
        node = asked["node"]
        mark = "*" if chosen.get(node) else ">" if node in chosen else " "
        lines.append(f"{mark} {node}: {asked['question']}")
        widest = max(map(len, asked["choices"]))
        for choice in asked["choices"]:
            end = flowchart.follow(chart, node, choice)
            leads = f"{end}: {title(chart, end)}" if choice in asked["fixes"] else end
            lines.append(f"  {'->' if chosen.get(node) == choice else '  '} {choice:<{widest}}  {leads}")
    return "\n".join(lines) + "\n"
