"""Flowcharts as Mermaid reads them (golden answers of Mermaid itself), then checking and walking them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from coach.errors import ChartError, UsageError
from coach.flowchart import after_fix, choices, entry, follow, is_fix, is_question, lint, load_chart, text_of

CORPUS = Path(__file__).parent / "mermaid"
GOLDEN: dict[str, dict[str, Any]] = json.loads((CORPUS / "golden.json").read_text("utf-8"))


def charts(path: Path) -> dict[str, str]:
    """The charts of one corpus file by name, each without its final newline."""
    parts = re.split(r"^=== (.*)\n", path.read_bytes().decode(), flags=re.MULTILINE)
    return {name: text.removesuffix("\n") for name, text in zip(parts[1::2], parts[2::2], strict=True)}


TEXTS = {path.name: charts(path) for path in sorted(CORPUS.glob("*.mmd"))}
CASES = [(file, name) for file, found in TEXTS.items() for name in found]

HEADS = {"arrow_open": ("none", "none"), "INVALID": ("none", "point")}
for kind in ("point", "circle", "cross"):
    HEADS[f"arrow_{kind}"] = ("none", kind)
    HEADS[f"double_arrow_{kind}"] = (kind, kind)

# Mermaid's name of a shape asked for by `@{ shape: … }` → the name of the same shape drawn by brackets.
SAME_SHAPE = {
    **dict.fromkeys(("rect", "process", None), "square"),
    **dict.fromkeys(("rounded", "event"), "round"),
    **dict.fromkeys(("diam", "decision", "question"), "diamond"),
    **dict.fromkeys(("fr-rect", "subprocess"), "subroutine"),
    **dict.fromkeys(("cyl", "db"), "cylinder"),
    **dict.fromkeys(("dbl-circ", "double-circle"), "doublecircle"),
    "hex": "hexagon",
    "lean-r": "lean_right",
    "lean-l": "lean_left",
    **dict.fromkeys(("trap-b", "priority"), "trapezoid"),
    **dict.fromkeys(("trap-t", "manual", "inv-trapezoid"), "inv_trapezoid"),
    "terminal": "stadium",
    # Names of one shape that no bracket draws.
    "join": "fork",
    "card": "notch-rect",
    "start": "sm-circ",
    "stop": "fr-circ",
}


def blanks(text: str) -> str:
    """The one normalisation of texts: a run of blanks is a space (the golden text went through a page)."""
    return " ".join(text.split())


def expected(golden: dict[str, Any]) -> dict[str, Any]:
    known = {item["id"] for item in golden["vertices"] + golden["subgraphs"]}
    return {
        "direction": {"BR": "TB"}.get(golden["direction"], golden["direction"]),
        "nodes": [(v["id"], blanks(v["text"]), SAME_SHAPE.get(v["type"], v["type"])) for v in golden["vertices"]],
        "edges": [
            (
                edge["start"],
                edge["end"],
                blanks(edge["label"]),
                {"normal": "solid", "INVALID": "solid"}.get(edge["stroke"], edge["stroke"]),
                *HEADS[edge["type"]],
                edge["length"] or 1,
            )
            for edge in golden["edges"]
        ],
        "subgraphs": [
            (
                group["id"],
                blanks(group["title"]),
                [node for node in group["nodes"] if node in known],
                {"TD": "TB", None: ""}.get(group["dir"], group["dir"]),
            )
            for group in golden["subgraphs"]
        ],
    }


def seen(text: str) -> dict[str, Any]:
    graph = load_chart(text)
    drawn = sorted(graph.edges(keys=True, data=True), key=lambda edge: int(edge[2]))
    return {
        "direction": graph.graph["direction"],
        "nodes": [(node, blanks(graph.nodes[node]["text"]), graph.nodes[node]["shape"]) for node in graph],
        "edges": [
            (start, end, blanks(data["label"]), data["style"], data["tail"], data["head"], data["length"])
            for start, end, _, data in drawn
        ],
        "subgraphs": [(g.id, blanks(g.title), list(g.nodes), g.direction) for g in graph.graph["subgraphs"]],
    }


def test_every_chart_has_a_golden_answer_and_every_answer_a_chart() -> None:
    assert {(file, name) for file, found in GOLDEN.items() for name in found} == set(CASES)


@pytest.mark.parametrize(("file", "name"), CASES, ids=[f"{file}: {name}" for file, name in CASES])
def test_agrees_with_mermaid(file: str, name: str) -> None:
    text, golden = TEXTS[file][name], GOLDEN[file][name]
    if "error" in golden:
        with pytest.raises(ChartError) as caught:
            load_chart(text)
        assert 1 <= caught.value.line <= text.count("\n") + 1
        return
    want = expected(golden)
    found = seen(text)
    # Mermaid makes no vertex of an edge's id, though an edge may lead to it; a graph cannot do without.
    loose = [node for node in found["nodes"] if node[0] not in {vertex["id"] for vertex in golden["vertices"]}]
    assert all(any(node[0] in edge[:2] for edge in want["edges"]) for node in loose)
    found["nodes"] = [node for node in found["nodes"] if node not in loose]

    assert found == want


def test_line_ends_do_not_matter() -> None:
    for file, name in CASES:
        text, golden = TEXTS[file][name], GOLDEN[file][name]
        if "error" not in golden:
            assert seen(text.replace("\n", "\r\n")) == seen(text) == seen(text.replace("\n", "\r")), (file, name)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("flowchart TD\nA --> B\nA[call(foo)]\n", 3),
        ("%% c\n\n---\nflowchart TD\nA", 3),
        ("---\ntitle: x\n---\n%%{init: {}}%%\n%% c\n\nflowchart TD\n\nA -->\n%% c\n\n--> B", 12),
        ("flowchart TD\r\nA\r\nB C\r\n", 3),
        ("flowchart TD\nA --> B\nA@{ shape: nope }", 3),
        ("flowchart TD\nA\nsubgraph\nB\nend", 3),
        ("flowchart TD\nsubgraph a\nsubgraph b\nA\nend\n", 2),
        ("flowchart TD\nA --> B\nlinkStyle 1 stroke:red", 3),
        ("flowchart TD\nA\nend\n", 3),
        ("flowchart TD\nA[x", 2),
    ],
)
def test_error_names_the_line(text: str, line: int) -> None:
    with pytest.raises(ChartError) as caught:
        load_chart(text)

    assert caught.value.line == line


def test_texts_are_as_read() -> None:
    graph = load_chart('flowchart TD\nA["a<br/>b #quot;c#quot; #9829; &amp; d"] --> B["`**x**`"]\nC[x <name> <b>y</b>]')

    assert graph.nodes["A"]["text"] == 'a\nb "c" ♥ & d'
    assert text_of(graph, "A") == 'a b "c" ♥ & d'
    assert graph.nodes["B"]["text"] == "**x**"
    assert graph.nodes["C"]["text"] == "x <name> y"


def test_order_is_source_order() -> None:
    graph = load_chart("flowchart TD\nB -->|1| A\nB -->|2| C\nB -->|3| A")

    assert list(graph) == ["B", "A", "C"]
    assert choices(graph, "B") == ("1", "2", "3")


HOSTILE = {
    "blanks": "A" + " " * 49_000 + "B",
    "newlines": "\n" * 49_000,
    "tags": "<a" * 24_000,
    "comment signs": "%%" * 24_000,
    "directives": "%%{init" * 7_000,
    "subgraphs": "subgraph a\n" * 3_000 + "end\n" * 3_000,
    "group": "A & " * 12_000 + "A",
    "links between groups": " & ".join("A" * 6_000) + "-->" + " & ".join("A" * 6_000),
    "dashes": "-" * 49_000,
    "dots": "." * 49_000,
    "at signs": "a@" * 24_000,
    "directions": "direction " * 4_900,
    "styles": "style A:" + ":" * 49_000 + ";",
    "nodes": "\n".join(f"a{i}" for i in range(7_000)),
    "edges across subgraphs": "subgraph a\n" * 20
    + "".join(f"subgraph b{i}\n" for i in range(2_500))
    + "A --> B\n" * 400
    + "end\n" * 2_520
    + "b0 --> b1",
    "members": "subgraph s\n" + "\n".join(f"a{i}" for i in range(7_000)) + "\nend\ns --> x --> s",
    "yaml": "A@{" + "[" * 48_000 + "}",
    "number": "A@{ label: 0x" + "f" * 40_000 + " }",
    "frontmatter": "\n---" * 12_000,
    "label": "A-- " + "x <" * 16_000,
    "strings": "A[" + '"`' * 24_000,
    "breaks": "A[" + "<br " * 12_000 + "]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_or_read_in_no_time(name: str) -> None:
    started = time.process_time()
    with suppress(ChartError):
        lint(load_chart("flowchart TD\n" + HOSTILE[name]))
    assert time.process_time() - started < 5


def test_what_mermaid_does_not_draw_is_refused() -> None:
    with pytest.raises(ChartError, match="longer than"):
        load_chart("flowchart TD\nA[" + "x" * 5_000_000)
    # Counted as Mermaid counts: a character beyond the basic plane is two.
    assert load_chart("flowchart TD\nA[" + "😀" * 24_900 + "]")
    with pytest.raises(ChartError, match="longer than"):
        load_chart("flowchart TD\nA[" + "😀" * 25_000 + "]")


def test_refused_text_does_not_load_networkx() -> None:
    code = (
        "import sys, coach.flowchart as f\n"
        "try: f.load_chart('x')\n"
        "except Exception as e: print(type(e).__name__, 'networkx' in sys.modules, 'yaml' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["ChartError", "False", "False"]


SOUND = """flowchart TD
  start([Start]) -->|slow| a{Is it on?}
  start -->|not sure| a
  a -->|no| F1[FIX: switch it on]
  F1 -. fixed .-> b
  a -->|yes| b{Is it cold?}
  b -->|yes| F2[FIX: warm it]
  b -->|no| done
  F2 -. fixed .-> done([Done])
"""


def test_walk() -> None:
    graph = load_chart(SOUND)

    assert lint(graph) == ()
    assert entry(graph) == "start"
    assert choices(graph, "start") == ("slow", "not sure")
    assert follow(graph, "start", "Not  Sure") == "a"
    assert follow(graph, "a", "no") == "F1"
    assert is_fix(graph, "F1")
    assert choices(graph, "F1") == ()
    assert after_fix(graph, "F1") == "b"
    assert choices(graph, "done") == ()
    assert [node for node in graph if is_question(graph, node)] == ["start", "a", "b"]


def test_choice_that_does_not_exist() -> None:
    graph = load_chart(SOUND)

    with pytest.raises(UsageError, match="'no', 'yes'"):
        follow(graph, "a", "maybe")
    with pytest.raises(UsageError, match="no node"):
        choices(graph, "nowhere")
    with pytest.raises(UsageError):
        follow(graph, "F1", "fixed")


def test_choice_that_leads_to_two_nodes() -> None:
    graph = load_chart("flowchart TD\nA -->|x| B\nA -->|X| C")

    with pytest.raises(ChartError) as caught:
        follow(graph, "A", "x")
    assert caught.value.line == 3


def test_boxes_can_ask() -> None:
    graph = load_chart("flowchart LR\nA[Start] --> B[Is it on?]\nB -- yes --> C[Use it]\nB -- no --> D[FIX: on]")

    assert follow(graph, entry(graph), "") == "B"
    assert is_question(graph, "B")
    assert not is_question(graph, "A")
    assert is_fix(graph, "D")
    assert {(problem.kind, problem.node) for problem in lint(graph)} == {("dangling-fix", "D")}


@pytest.mark.parametrize(
    ("chart", "fixes"),
    [
        ("F1[Do it]", ["F1"]),
        ("X[FIX: do it]", ["X"]),
        ("X[FIXTURE ready]", []),
        ("Fa[x]", []),
        ("F1{Sure?} -->|a| B\nF1 -->|b| C", []),
        ("F1[Sure?] -->|a| B\nF1 -->|b| C", []),
        ("F1[x] -.->|fixed| B\nF1 --> C", ["F1"]),
    ],
)
def test_what_is_a_fix(chart: str, fixes: list[str]) -> None:
    graph = load_chart(f"flowchart TD\n{chart}")

    assert [node for node in graph if is_fix(graph, node)] == fixes


@pytest.mark.parametrize(
    ("chart", "node"),
    [
        ("A --> B", "A"),
        ("B --> A\nC --> B", "C"),
        ("N[a note]\nA --> B", "A"),
        ("X --> B\nstart --> B", "start"),
        ("A --> B --> A", "A"),
        ("A --> Start --> A", "Start"),
        ("A --> A\nA --> B", "A"),
        ("A", "A"),
        ("N ~~~ A\nA --> B", "A"),
        ("style s fill:red\nsubgraph s\nA --> B\nend", "A"),
        ("B --> s\nsubgraph s\nA\nend", "B"),
    ],
)
def test_entry(chart: str, node: str) -> None:
    assert entry(load_chart(f"flowchart TD\n{chart}")) == node


def test_chart_without_a_node() -> None:
    graph = load_chart("flowchart TD")

    assert [problem.kind for problem in lint(graph)] == ["empty"]
    with pytest.raises(ChartError):
        entry(graph)


def test_walk_enters_and_leaves_subgraphs() -> None:
    graph = load_chart(
        "flowchart TD\nA --> s\nsubgraph s\nsubgraph t\nB --> C\nend\nC --> D\nend\n"
        "subgraph u\nE\nend\nD --> u\nu --> F"
    )

    assert follow(graph, "A", "") == "B"
    assert follow(graph, "D", "") == "u"
    assert follow(graph, "u", "") == "F"
    assert follow(graph, "E", "") == "F"
    assert lint(graph) == ()


@pytest.mark.parametrize(
    ("chart", "problems"),
    [
        ("A{x} -->|a| F1[FIX: y]\nA -->|b| B", [("dangling-fix", "F1", 2)]),
        ("A --> B\nC --> D", [("unreachable", "C", 3), ("unreachable", "D", 3)]),
        ("A --> B\nB ~~~ C", [("unreachable", "C", 3)]),
        ("A{x} -->|a| B\nA -->|A| C", [("ambiguous", "A", 3)]),
        ("A --> B\nA --> C", [("ambiguous", "A", 3)]),
        ("A{x} -->|a| B\nA -->|a| B", [("ambiguous", "A", 3)]),
        ("A --> B{x}\nB --> C", [("one-way", "B", 2)]),
        ("A --> B{x}", [("dead-end", "B", 2)]),
        ("A --> B@{ shape: decision }", [("dead-end", "B", 2)]),
        ("A --> B --> C --> B", [("endless", "B", 2)]),
        ("A --> B\nB --> B", [("endless", "B", 2)]),
        ("A --> B -->|again| A\nB -->|on| C", []),
        ("A --> B --> F1[FIX: x]\nF1 -. fixed .-> B", [("endless", "B", 2)]),
        ("A --> B\nlegend", [("unreachable", "legend", 3)]),
    ],
)
def test_lint(chart: str, problems: list[tuple[str, str, int]]) -> None:
    found = lint(load_chart(f"flowchart TD\n{chart}"))

    assert [(problem.kind, problem.node, problem.line) for problem in found] == problems
    assert all(problem.node in problem.says for problem in found)
