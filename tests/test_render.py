from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from coach.flowchart import follow, load_chart
from coach.model import (
    BuildSite,
    Certainty,
    Diagnosis,
    Evidence,
    Finding,
    Question,
    Remedy,
    Report,
    Safety,
    Skipped,
    Source,
    Status,
    Step,
)
from coach.render import chart, github, markdown, sarif, text
from coach.render import json as wire
from coach.render.words import named, place

HOSTILE = "[red]x[/red] \x1b[31mred\x1b[0m \x07 \u202eevil ``` `tick` | <script> @all %0A::error::boo"
SCHEMA = json.loads(wire.schema())


def finding(words: str = "COPY . .", safety: Safety = Safety.SAFE, patch: str = "", **more: str) -> Finding:
    return Finding(
        id=more.get("id", "F2"),
        node="layer_order",
        title=more.get("title", "copy manifests first"),
        section="Layer ordering for cache",
        anti_pattern="`COPY . .` before `npm install`",
        certainty=Certainty.CERTAIN,
        evidence=(Evidence("Dockerfile", 3, 3, words, words),),
        reason=words,
        remedy=Remedy(
            safety, reasons=("look at it",) if safety is not Safety.SAFE else (), guidance=more.get("md", "")
        ),
        patch=patch,
        files=("Dockerfile",) if patch else (),
    )


def question(words: str = "why not") -> Question:
    return Question("cold_ci", "Do CI builds start cold?", ("yes", "no"), words, words)


def step(words: str = "a reason", **more: object) -> Step:
    base = Step("buildkit", "Is it?", "yes", Source.PROBE, Certainty.LIKELY, (Evidence("ci.yml", 1, 2, words, words),))
    return Step(**{**{name: getattr(base, name) for name in base.__slots__}, **more})


def built() -> BuildSite:
    return BuildSite("github", ".github/workflows/ci.yml", 8, 12, "build", "buildx", True, "Dockerfile", "")


def report(words: str = "COPY . .", patch: str = "") -> Report:
    fixed = Diagnosis(
        "Dockerfile",
        "",
        None,
        (built(),),
        Status.FIX,
        (step(words),),
        None,
        (question(words),),
        finding(words, patch=patch),
        (finding(words, Safety.REVIEW, patch, id="F4"), finding(words, Safety.SHOW, id="F13", md=words)),
    )
    asked = Diagnosis(
        "api/Dockerfile", "api", "run", (), Status.UNDECIDED, (), question(words), (question(words),), None, ()
    )
    clean = Diagnosis("ok/Dockerfile", "ok", None, (), Status.DONE, (step(words),), None, (), None, ())
    return Report((fixed, asked, clean), (Skipped("bad.yml", 3, words),), (words,))


PATCH = "diff --git a/Dockerfile b/Dockerfile\n--- a/Dockerfile\n+++ b/Dockerfile\n@@ -1 +1 @@\n-COPY . .\n+COPY a b\n"
RENDERERS: dict[str, Callable[[Report], str]] = {
    "text": lambda found: text.render(found, text.Style(width=80, color=False)),
    "pipe": text.render,
    "narrow": lambda found: text.render(found, text.Style(width=40, color=False)),
    "json": wire.render,
    "markdown": markdown.render,
    "github": github.render,
    "sarif": sarif.render,
}
every_renderer = pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS.keys())


@every_renderer
def test_no_control_character_passes(render: Callable[[Report], str]) -> None:
    out = render(report(HOSTILE, PATCH + "+" + HOSTILE + "\n"))

    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out) is None


@every_renderer
def test_output_is_the_same_every_time(render: Callable[[Report], str]) -> None:
    assert render(report(HOSTILE, PATCH)) == render(report(HOSTILE, PATCH))


@every_renderer
def test_bytes_that_are_not_utf8_can_be_printed(render: Callable[[Report], str]) -> None:
    out = render(report("caf\udce9", PATCH.replace("a b", "caf\udce9")))

    assert out.encode("utf-8")


@every_renderer
def test_an_empty_report_renders(render: Callable[[Report], str]) -> None:
    assert isinstance(render(Report(())), str)


@every_renderer
def test_every_fix_and_open_question_is_named(render: Callable[[Report], str]) -> None:
    out = render(report())

    assert all(code in out for code in ("F2", "F4", "F13"))
    if render is not RENDERERS["sarif"]:
        assert "cold_ci" in out


# -- text


def test_markup_stays_as_typed() -> None:
    out = text.render(report("[bold]not bold[/bold] :smile:"))

    assert "[bold]not bold[/bold] :smile:" in out


def test_colours_only_when_asked_for() -> None:
    assert "\x1b[" in text.render(report(), text.Style(80, color=True))
    assert "\x1b" not in text.render(report(), text.Style(80, color=False))


def test_colour_changes_no_word() -> None:
    coloured = text.render(report("words", PATCH), text.Style(80, color=True))

    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text.render(report("words", PATCH), text.Style(80, color=False))


def test_a_narrow_terminal_is_respected() -> None:
    out = text.render(report("several words that have to be wrapped somewhere"), text.Style(40, color=False))

    assert max(map(len, out.split("\n"))) <= 46  # an unbreakable path may stick out, prose may not
    assert len(out.split("\n")) > len(text.render(report()).split("\n"))


def test_a_pipe_is_never_wrapped() -> None:
    long = "word " * 200 + "end"

    assert any(row.endswith(f"why: {long}") for row in text.render(report(long)).split("\n"))


def test_a_patch_is_never_wrapped_or_cut() -> None:
    row = "+" + "x" * 500

    assert row in text.render(report(patch=PATCH + row + "\n"), text.Style(40, color=False))


def test_no_line_ends_in_blanks() -> None:
    out = text.render(report("words", PATCH), text.Style(60, color=False))

    assert [row for row in out.split("\n") if row != row.rstrip()] == []


@pytest.mark.parametrize(
    ("found", "closing"),
    [
        (finding(patch=PATCH), "next: coach fix --diff"),
        (finding(safety=Safety.REVIEW, patch=PATCH), "next: coach fix --diff --safety review"),
        (finding(safety=Safety.SHOW), "next: coach explain F2"),
    ],
)
def test_the_last_line_says_what_to_do(found: Finding, closing: str) -> None:
    target = Diagnosis("Dockerfile", "", None, (), Status.FIX, (), None, (), found, ())

    assert text.render(Report((target,))).rstrip().split("\n")[-1] == closing


def test_an_override_and_an_assumption_are_marked() -> None:
    steps = (step(overridden="no", source=Source.USER), step(assumed=True, source=Source.USER))
    target = Diagnosis("Dockerfile", "", None, (), Status.DONE, steps, None, (), None, ())

    out = text.render(Report((target,)))

    assert "overrides the probe's no" in out
    assert "assumed" in out


def test_places_and_targets() -> None:
    assert place(Evidence("a", 3, 3, "", "")) == "a:3"
    assert place(Evidence("a", 3, 5, "", "")) == "a:3-5"
    assert named("Dockerfile", "", None) == "Dockerfile (context .)"
    assert named("a/Dockerfile", "a", "run") == "a/Dockerfile (context a, target run)"


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=80), st.integers(20, 120))
def test_any_words_can_be_shown_at_any_width(words: str, width: int) -> None:
    out = text.made(text.Style(width, color=False), lambda page: page.line(4, (words, "bold")))

    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", out) is None


# -- json


def test_json_is_what_the_schema_says() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    assert [
        error.message for error in Draft202012Validator(SCHEMA).iter_errors(json.loads(wire.render(report())))
    ] == []


def _undeclared(value: object, schema: dict[str, object], at: str = "") -> list[str]:
    """Fields that the schema does not name."""
    reference = str(schema.get("$ref", ""))
    if reference:
        schema = SCHEMA["$defs"][reference.rsplit("/", 1)[-1]]
    for option in schema.get("oneOf", ()):  # type: ignore[attr-defined]
        if value is not None and "$ref" in option:
            return _undeclared(value, option, at)
    if isinstance(value, list):
        return [found for item in value for found in _undeclared(item, schema.get("items", {}), at)]  # type: ignore[arg-type]
    if not isinstance(value, dict):
        return []
    known: dict[str, dict[str, object]] = schema.get("properties", {})  # type: ignore[assignment]
    missing = [f"{at}.{name}" for name in value if name not in known]
    return missing + [
        found for name, item in value.items() for found in _undeclared(item, known.get(name, {}), f"{at}.{name}")
    ]


def test_every_field_is_in_the_schema() -> None:
    assert _undeclared(json.loads(wire.render(report("x", PATCH))), SCHEMA) == []


def test_the_schema_refuses_what_cannot_be() -> None:
    document = json.loads(wire.render(report()))
    document["targets"][0]["fix"] = None

    assert list(Draft202012Validator(SCHEMA).iter_errors(document))


def test_json_is_ascii() -> None:
    assert wire.render(report("größe \u202e")).isascii()


def test_paths_are_relative_and_the_root_is_a_dot() -> None:
    document = json.loads(wire.render(report()))

    assert document["root"] == "."
    assert [target["context"] for target in document["targets"]] == [".", "api", "ok"]


# -- markdown


def test_a_fence_in_a_patch_does_not_close_the_block() -> None:
    out = markdown.render(report(patch=PATCH + "+```\n+````\n"))

    assert out.count("`````diff") == 2


def test_prose_cannot_mention_or_open_a_tag() -> None:
    out = markdown.words("@all <b> [x](y) |")

    assert out == r"\@all \<b\> \[x\](y) \|"


def test_code_spans_hold_backquotes() -> None:
    assert markdown.code("a `b` ``c``") == "``` a `b` ``c`` ```"


# -- annotations


def test_a_newline_cannot_begin_a_new_command() -> None:
    out = github.render(report("first\n::error::second"))

    assert [
        row for row in out.split("\n") if row and not row.startswith(("::error file=", "::warning ", "::notice "))
    ] == []
    assert "first%0A::error::second" in out


def test_properties_escape_what_separates_them() -> None:
    target = Diagnosis("a,b:c.Dockerfile", "", None, (), Status.UNDECIDED, (), question(), (question(),), None, ())

    assert "file=a%2Cb%3Ac.Dockerfile,line=1" in github.render(Report((target,)))


# -- sarif


def test_sarif_points_at_the_cited_line() -> None:
    run = json.loads(sarif.render(report()))["runs"][0]

    assert [result["ruleId"] for result in run["results"]] == ["F2", "F4", "F13"]
    assert [run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] for result in run["results"]] == [
        "F2",
        "F4",
        "F13",
    ]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["region"]["startLine"] == 3
    assert place["artifactLocation"] == {"uri": "Dockerfile", "uriBaseId": "ROOT"}


# -- chart


DRAWN = """\
flowchart TD
  a{"Say #quot;yes#quot;<br/>or no?"} -->|yes| done(["Done"])
  a -->|no| F1["FIX F1: be #35;1"]
  F1 -. fixed .-> done
"""


def test_mermaid_comes_back_as_the_same_chart() -> None:
    graph = load_chart(DRAWN)

    again = load_chart(chart.render(graph, (("a", "no"), ("F1", "")), "mermaid"))

    assert {node: data["text"] for node, data in again.nodes(data=True)} == {
        node: data["text"] for node, data in graph.nodes(data=True)
    }
    assert follow(again, "a", "no") == "F1"
    assert sorted((start, end) for start, end in again.edges()) == sorted((start, end) for start, end in graph.edges())


def test_mermaid_marks_the_walked_path() -> None:
    out = chart.render(load_chart(DRAWN), (("a", "no"), ("F1", "")), "mermaid")

    assert "class a walked" in out
    assert "class F1 reached" in out
    assert "linkStyle 1 " in out
    assert "classDef" not in chart.render(load_chart(DRAWN), (), "mermaid")


def test_odd_ids_are_renamed_for_mermaid() -> None:
    graph = load_chart("flowchart TD\n a.b/c{x} -->|y| ünï\n a.b/c -->|n| z\n")

    again = load_chart(chart.render(graph, (), "mermaid"))

    assert sorted(data["text"] for _, data in again.nodes(data=True)) == ["x", "z", "ünï"]


def test_dot_quotes_everything() -> None:
    out = chart.render(load_chart(DRAWN), (("a", "no"), ("F1", "")), "dot")

    assert '"a" [label="Say \\"yes\\"\\nor no?", shape=diamond' in out
    assert out.count("{") == out.count("}") == 1


def test_the_list_marks_what_was_taken() -> None:
    out = chart.render(load_chart(DRAWN), (("a", "no"), ("F1", "")), "text")

    assert "* a: " in out
    assert re.search(r"-> no\s+F1: be #1", out)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="svg"):
        chart.render(load_chart(DRAWN), (), "svg")
