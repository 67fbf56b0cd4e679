"""The loader of SKILL.md files: ours, foreign ones, and hostile ones."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from coach.errors import ChartError, SkillError
from coach.skill import Section, Skill, anchors_of, links_of, load

ROOT = Path(__file__).parent.parent
CHART = "```mermaid\nflowchart TD\n  A{Is it on?} -->|no| F1[FIX F1: plug it in]\n  A -->|yes| Z[Done]\n```\n"

FOREIGN = """---
name: toaster
description: Use when toast is cold.
tags:
  - kitchen
---

# Toaster

## Decision diagram

```mermaid
flowchart TD
  S[Cold toast] -->|smells burnt| B{Is the dial high?}
  S -->|stays white| P
  B -->|yes| FA[FIX: turn the browning dial down]
  B -->|no| P{Is the plug in?}
  P -->|no| FB[FIX: use the wall socket]
  P -->|yes| Z[Done]
```

**Jump to your fire:**
- Smells burnt → [Browning](#browning)
- Lamp is dark -> [Power supply](#power-supply-1)
- No link here

## Power supply

Old text.

## Browning

Turn the dial.

### Crumbs

Empty the tray.

## Power supply

Use a socket near the wall.

## Anti-patterns

### Fork in the slot

**Symptom:** Sparks,
and a smell.
**Diagnosis**: metal.
- **Fix:** unplug it first.

### Nothing said

## Quality gates

- [ ] `warm`: warm in 2 minutes (F1, F2).
- [x] `COPY` order reviewed
- not a gate
"""


@pytest.fixture(scope="module")
def foreign() -> Skill:
    return load(FOREIGN, "toaster/SKILL.md")


def test_the_frontmatter_may_hold_fields_of_other_tools(foreign: Skill) -> None:
    assert foreign.name == "toaster"
    assert foreign.description == "Use when toast is cold."
    assert foreign.frontmatter["tags"] == ["kitchen"]


def test_the_chart_is_given_with_the_line_it_begins_on(foreign: Skill) -> None:
    lines = FOREIGN.split("\n")

    assert foreign.chart_text.split("\n")[0] == lines[foreign.chart_line - 1] == "flowchart TD"


def test_every_other_heading_is_a_section_and_the_first_of_two_equal_ones_counts(foreign: Skill) -> None:
    assert list(foreign.sections) == ["Power supply", "Browning", "Crumbs"]
    assert foreign.sections["Power supply"].markdown == "Old text."
    assert foreign.sections["Browning"].markdown == "Turn the dial.\n\n### Crumbs\n\nEmpty the tray."


def test_a_section_knows_its_line_and_anchor(foreign: Skill) -> None:
    for section in foreign.headings:
        assert section.title in FOREIGN.split("\n")[section.line - 1]
    assert foreign.anchors["power-supply-1"] == "Power supply"


def test_anti_patterns_are_read_in_parts(foreign: Skill) -> None:
    fork, nothing = foreign.anti_patterns.values()

    assert (fork.symptom, fork.diagnosis, fork.fix) == ("Sparks,\nand a smell.", "metal.", "unplug it first.")
    assert (nothing.title, nothing.symptom) == ("Nothing said", "")


def test_jumps_enter_the_chart_by_an_edge_of_the_start_or_by_the_fix_of_their_section(foreign: Skill) -> None:
    burnt, dark = foreign.jumps

    assert (burnt.symptom, burnt.node, burnt.section) == ("Smells burnt", "B", "Browning")
    assert (dark.symptom, dark.node, dark.section) == ("Lamp is dark", "", "Power supply")


def test_a_jump_entry_may_carry_the_id_that_the_start_edge_has() -> None:
    chart = "```mermaid\nflowchart TD\n S -->|white| P{Plug in?}\n S -->|burnt| Z\n P -->|no| Y\n P --> Z\n```\n"
    skill = load(f"{chart}\n## Jump to it\n\n- `white`: Toast stays white → [Power](#power)\n\n## Power\n\nx\n")

    assert [(jump.symptom, jump.node, jump.text) for jump in skill.jumps] == [("white", "P", "Toast stays white")]


def test_gates_have_an_id_only_where_a_colon_follows(foreign: Skill) -> None:
    assert [(gate.id, gate.fixes) for gate in foreign.gates] == [("warm", ("F1", "F2")), ("", ())]
    assert foreign.gates[0].text == "warm in 2 minutes (F1, F2)."
    assert "`warm`" in FOREIGN.split("\n")[foreign.gates[0].line - 1]


@pytest.mark.parametrize(
    ("fix", "label", "section"),
    [
        ("FA", "FIX: turn the browning dial down", "Browning"),
        ("FC", "FIX: empty the crumb tray", "Crumbs"),
        ("FD", "FIX: buy bread", None),
    ],
)
def test_a_fix_without_a_lesson_finds_its_section_by_words(
    foreign: Skill, fix: str, label: str, section: str | None
) -> None:
    found = foreign.section_for(fix, label)

    assert (found.title if found else None) == section


def test_a_heading_that_names_the_fix_wins() -> None:
    skill = load(f"{CHART}\n## Plugging it in\n\nplug\n\n## F1 in detail\n\nx\n")

    assert skill.section_for("F1", "FIX F1: plug it in") == Section("F1 in detail", "f1-in-detail", "x", 11)


def test_capabilities_alone_are_the_sections_where_a_document_has_them() -> None:
    skill = load(f"{CHART}\n## Intro\n\n## Core capabilities\n\n### One\n\n#### Deep\n\n### Two\n\n## After\n")

    assert list(skill.sections) == ["One", "Two"]


def test_no_frontmatter_is_no_error() -> None:
    skill = load(CHART)

    assert (skill.name, skill.description, skill.jumps) == ("", "", ())


@pytest.mark.parametrize("eol", ["\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark_change_nothing(foreign: Skill, eol: str) -> None:
    other = load("\ufeff" + FOREIGN.replace("\n", eol), "toaster/SKILL.md")

    assert other == foreign


def test_text_in_code_is_neither_heading_nor_link_nor_gate() -> None:
    skill = load(f"{CHART}\n```md\n## Quality gates\n- [ ] `a`: b\n[x](#y)\n```\n\nsee `[x](#z)` and [w](#v)\n")

    assert skill.headings == ()
    assert skill.gates == ()
    assert [(link.target, link.line) for link in skill.links] == [("#v", 13)]


@pytest.mark.parametrize(
    ("title", "anchor"),
    [
        ("Bread + butter", "bread--butter"),
        ("`.dockerignore`", "dockerignore"),
        ("COPY ordering — separate concerns", "copy-ordering--separate-concerns"),
        ("Größe: 300 MB?", "größe-300-mb"),
        ("A [link](https://example.com) here", "a-link-here"),
        ("snake_case & more", "snake_case--more"),
    ],
)
def test_anchors_are_those_of_github(title: str, anchor: str) -> None:
    assert anchors_of(f"## {title}\n") == {anchor}


def test_repeated_headings_get_numbered_anchors_that_do_not_collide() -> None:
    assert anchors_of("# a\n# a\n# a-1\n# a\n") == {"a", "a-1", "a-1-1", "a-2"}


def test_links_are_found_with_their_lines() -> None:
    assert [(link.text, link.target, link.line) for link in links_of("one\n[a](b.md)\n\n- x [c](d)\n")] == [
        ("a", "b.md", 2),
        ("c", "d", 4),
    ]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "no Mermaid flowchart"),
        ("# x\n\n```mermaid\nsequenceDiagram\n A->>B: x\n```\n", 3, "not a flowchart"),
        ("---\nname: x\n" + CHART, 1, "not closed"),
        ("---\nname: x\ndescription: a: b\n---\n" + CHART, 3, "broken frontmatter"),
        ("---\nname: x\nother: [a\n---\n" + CHART, 4, "broken frontmatter"),
        ("---\n- a\n---\n" + CHART, 2, "not a mapping"),
        ("---\nlicense: MIT\nname: [a]\n---\n" + CHART, 3, "name in the frontmatter is not text"),
        ("---\na: &a [x, x]\nb: &b [*a, *a]\nc: *nothing\n---\n" + CHART, 4, "names no anchor"),
    ],
)
def test_a_broken_document_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(SkillError, match=says) as caught:
        load(text, "SKILL.md")

    assert (caught.value.path, caught.value.line) == ("SKILL.md", line)


def test_a_chart_that_mermaid_refuses_is_no_reason_not_to_load_the_advice() -> None:
    skill = load("```mermaid\nflowchart TD\n A --> [\n```\n\nJump\n\n- x → [y](#y)\n\n## y\n\nz\n")

    assert skill.sections["y"].markdown == "z"
    with pytest.raises(ChartError):
        _ = skill.jumps


BOMB = "a: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("---\n" + "[" * 50_000 + "\n---\n" + CHART, id="nested"),
        pytest.param("---\n" + BOMB + "---\n" + CHART, id="bomb"),
        pytest.param("x" * 5_000_000, id="long"),
        pytest.param("---\nname: \ud800\n---\n" + CHART.replace("```", "", 1), id="surrogate"),
    ],
)
def test_hostile_documents_are_refused_at_once(text: str) -> None:
    begun = time.monotonic()
    with pytest.raises(SkillError):
        load(text)

    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "piece",
    [
        "[a](",
        "- ",
        ">",
        "| a | b |\n",
        "`",
        "**a ",
        "<!--",
        "# a\n",
        "Jump\n\n- x → [y](#z)\n",
        "- [ ] `a`: b\n\nc\n\n",
    ],
)
def test_repetition_costs_linear_time(piece: str) -> None:
    text = f"{CHART}\n## Quality gates\n\n{piece * (60_000 // len(piece))}"
    begun = time.monotonic()
    load(text)

    assert time.monotonic() - begun < 10


def test_loading_a_skill_leaves_networkx_and_rich_alone() -> None:
    code = (
        "import sys; from pathlib import Path; from coach.skill import load; load(Path('skill/SKILL.md').read_text());"
        "print([m for m in ('networkx', 'rich', 'prompt_toolkit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
