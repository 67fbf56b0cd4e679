"""Pages of the skill by whatever name a reader has for them: FIX code, question, section, anti-pattern, gate."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from coach import flowchart
from coach.errors import UsageError
from coach.lessons import Lesson
from coach.skill import AntiPattern, Gate, Section, Skill

if TYPE_CHECKING:
    from coach.flowchart import Chart

MOST_SUGGESTIONS = 3
NONE: Mapping[str, str] = MappingProxyType({})


def fixes(chart: Chart) -> dict[str, str]:
    """Every FIX of a chart with its words."""
    return {node: flowchart.text_of(chart, node) for node in chart if flowchart.is_fix(chart, node)}


def topic(skill: Skill, lessons: Iterable[Lesson], words: str, fixes: Mapping[str, str] = NONE) -> str:
    """The Markdown page for ``words``. Raises ``UsageError`` that names the closest topics when there is none.

    ``fixes`` are FIXes that no lesson is bound to, with their words: each finds the section that speaks of it.
    Case, backquotes and punctuation of headings do not matter; a part of a heading will do when only one has it.
    """
    pages = _pages(skill, tuple(lessons), fixes)
    wanted = _plain(words)
    found = pages.get(wanted)
    if found is None:
        inside = {name for name in pages if wanted and wanted in name}
        results = {pages[name]() for name in inside}
        if len(results) == 1:
            return results.pop()
        close = sorted(inside)[:MOST_SUGGESTIONS] or difflib.get_close_matches(wanted, pages, MOST_SUGGESTIONS, 0.5)
        hint = f"did you mean {', '.join(close)}?" if close else f"topics: {', '.join(topics(skill, lessons))}"
        raise UsageError(f"nothing is called {words!r}; {hint}")
    return found()


def topics(skill: Skill, lessons: Iterable[Lesson]) -> tuple[str, ...]:
    """Every name to ask for, codes first."""
    return (*(lesson.FIX for lesson in lessons), *skill.sections, *skill.anti_patterns)


def _plain(words: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in " ._-+" else " " for letter in words.casefold())
    return " ".join(kept.split())


def _pages(skill: Skill, lessons: tuple[Lesson, ...], fixes: Mapping[str, str]) -> dict[str, Callable[[], str]]:
    """Plain name → page, made when asked for; where two things share a name, the more telling page wins."""
    pages: dict[str, Callable[[], str]] = {}

    def add(name: str, page: Callable[[], str]) -> None:
        if _plain(name):
            pages.setdefault(_plain(name), page)

    for lesson in lessons:
        add(lesson.FIX, lambda lesson=lesson: _fix_page(skill, lesson))  # type: ignore[misc]
        add(lesson.NODE, lambda lesson=lesson: _fix_page(skill, lesson))  # type: ignore[misc]
    for code, label in fixes.items():
        advice = skill.section_for(code, label)
        if advice is not None:
            add(code, lambda advice=advice: _section_page(advice))  # type: ignore[misc]
    for section in skill.sections.values():
        for name in (section.title, section.anchor):
            add(name, lambda section=section: _section_page(section))  # type: ignore[misc]
    for pattern in skill.anti_patterns.values():
        for name in (pattern.title, pattern.anchor):
            add(name, lambda pattern=pattern: _pattern_page(pattern, skill, lessons))  # type: ignore[misc]
    for number, gate in enumerate(skill.gates, 1):
        for name in (gate.id, f"gate {number}", f"gate {gate.id}" if gate.id else ""):
            add(name, lambda gate=gate: _gate_page(gate))  # type: ignore[misc]
    if skill.worked_example is not None:
        example = skill.worked_example
        add(example.title, lambda: _section_page(example))
    return pages


def _section_page(section: Section) -> str:
    return f"# {section.title}\n\n{section.markdown.strip()}\n"


def _pattern_parts(pattern: AntiPattern) -> str:
    parts = (("Symptom", pattern.symptom), ("Diagnosis", pattern.diagnosis), ("Fix", pattern.fix))
    return "\n".join(f"- **{name}:** {words}" for name, words in parts if words)


def _pattern_page(pattern: AntiPattern, skill: Skill, lessons: tuple[Lesson, ...]) -> str:
    page = f"# {pattern.title}\n\n{_pattern_parts(pattern)}\n"
    lesson = next((lesson for lesson in lessons if pattern.title == lesson.ANTI_PATTERN), None)
    section = skill.sections.get(lesson.SECTION) if lesson is not None else None
    return page if section is None else f"{page}\n## {section.title}\n\n{section.markdown.strip()}\n"


def _gate_page(gate: Gate) -> str:
    fixes = f"\n\nMended by: {', '.join(gate.fixes)}" if gate.fixes else ""
    return f"# Quality gate{f' {gate.id}' if gate.id else ''}\n\n{gate.text}{fixes}\n"


def _fix_page(skill: Skill, lesson: Lesson) -> str:
    parts = [f"# {lesson.FIX}: {lesson.SECTION}\n\nQuestion of the chart: `{lesson.NODE}`"]
    section = skill.sections.get(lesson.SECTION)
    if section is not None:
        parts.append(section.markdown.strip())
    pattern = skill.anti_patterns.get(lesson.ANTI_PATTERN)
    if pattern is not None:
        parts.append(f"## Anti-pattern: {pattern.title}\n\n{_pattern_parts(pattern)}")
    gates = [gate for gate in skill.gates if lesson.FIX in gate.fixes]
    if gates:
        parts.append("## Quality gates\n\n" + "\n".join(f"- {gate.text}" for gate in gates))
    return "\n\n".join(parts) + "\n"
