"""Gates for people, for programs, for pull requests and for the test reports that CI systems read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from coach import __version__
from coach.gates import Result, Status
from coach.redact import visible
from coach.render.json import dump
from coach.render.markdown import MARK, code, words
from coach.render.words import named, place
from coach.site import Site

if TYPE_CHECKING:
    from coach.render.text import Page, Style

SCHEMA_VERSION = "1"
Checked = Sequence[tuple[Site | None, Sequence[Result]]]
"""Each target (``None`` for an image alone) with its gates."""

_COLOURS = {
    Status.PASS: "green",
    Status.FAIL: "bold red",
    Status.UNKNOWN: "yellow",
    Status.NOT_APPLICABLE: "dim",
}
_SIGNS = {Status.PASS: "✅", Status.FAIL: "❌", Status.UNKNOWN: "❔", Status.NOT_APPLICABLE: "➖"}
_MOST = 3


def plain(checked: Checked, image: str, style: Style) -> str:
    """Every gate on a line, with what shows it; the sum comes last."""
    from coach.render import text

    def write(page: Page) -> None:
        for site, results in checked:
            page.line(0, (_title(site, image), "bold underline"))
            for one in results:
                sure = " (likely)" if one.likely and one.status is not Status.NOT_APPLICABLE else ""
                status = (f"{one.status:<14} ", _COLOURS[one.status])
                page.line(2, status, (f"{one.id:<17}", "bold"), f"{one.says}{sure}")
                if one.status in (Status.FAIL, Status.UNKNOWN):
                    text.evidence(page, 6, one.evidence[:_MOST])
                if one.status is Status.FAIL:
                    page.line(6, (f"mended by {one.fix}: coach explain {one.fix}", "dim"))
                if one.status is Status.UNKNOWN and one.how:
                    page.line(6, f"find out: {one.how}")
            page.gap()
        page.line(0, summary(checked))

    return text.made(style, write)


def summary(checked: Checked) -> str:
    """``9 pass, 2 fail, 1 unknown, 2 not applicable``."""
    found = [one.status for _, results in checked for one in results]
    return ", ".join(f"{found.count(status)} {status}" for status in Status)


def _title(site: Site | None, image: str) -> str:
    there = named(site.path, site.context, site.target) if site is not None else ""
    return f"{there}, image {image}" if there and image else there or f"image {image}"


def schema() -> str:
    """The JSON Schema of ``json_text``'s output, as shipped."""
    return resources.files(__package__).joinpath("gates.schema.json").read_text("utf-8")


def json_text(checked: Checked, image: str) -> str:
    """One JSON document; ``gates.schema.json`` beside this file describes it."""
    return dump(
        {
            "schema_version": SCHEMA_VERSION,
            "coach_version": __version__,
            "image": image or None,
            "targets": [
                {
                    "dockerfile": site.path if site is not None else None,
                    "context": (site.context or ".") if site is not None else None,
                    "target": site.target if site is not None else None,
                    "gates": [_result(one) for one in results],
                }
                for site, results in checked
            ],
        }
    )


def _result(one: Result) -> dict[str, Any]:
    return {
        "id": one.id,
        "statement": one.statement,
        "status": one.status.value,
        "certainty": "likely" if one.likely else "certain",
        "says": one.says,
        "fix": one.fix,
        "how_to_find_out": one.how,
        "evidence": [
            {"path": it.path, "line": it.line, "end_line": it.end_line, "text": it.text, "says": it.says}
            for it in one.evidence
        ],
    }


def markdown(checked: Checked, image: str) -> str:
    """One table for each target, as GitHub shows it."""
    parts = [MARK, "## coach: quality gates"]
    for site, results in checked:
        rows = ["| | gate | why | where | FIX |", "|---|---|---|---|---|"]
        for one in results:
            where = "<br>".join(code(place(it)) for it in one.evidence[:_MOST])
            fix = one.fix if one.status is Status.FAIL else ""
            rows.append(f"| {_SIGNS[one.status]} {one.status} | {code(one.id)} | {words(one.says)} | {where} | {fix} |")
        parts += [f"### {code(_title(site, image))}", "\n".join(rows)]
    return "\n\n".join([*parts, summary(checked)]) + "\n"


def junit(checked: Checked, image: str) -> str:
    """JUnit XML: a suite for each target, a case for each gate; what is unknown or does not apply counts as skipped."""
    root = ElementTree.Element("testsuites", name="coach gates")
    totals = {"tests": 0, "failures": 0, "skipped": 0}
    for site, results in checked:
        found = [one.status for one in results]
        counts: dict[str, int] = {
            "tests": len(found),
            "failures": found.count(Status.FAIL),
            "skipped": found.count(Status.UNKNOWN) + found.count(Status.NOT_APPLICABLE),
        }
        totals = {name: totals[name] + counts[name] for name in totals}
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": _xml(_title(site, image)), "errors": "0", **_texts(counts)}
        )
        for one in results:
            case = ElementTree.SubElement(suite, "testcase", classname="coach.gates", name=one.id, time="0")
            if one.status is Status.FAIL:
                failure = ElementTree.SubElement(case, "failure", message=_xml(one.says), type=one.fix)
                shown = [f"{place(it)}  {it.text}  {it.says}" for it in one.evidence]
                failure.text = _xml("\n".join([*shown, f"mended by {one.fix}: coach explain {one.fix}"]))
            elif one.status is not Status.PASS:
                ElementTree.SubElement(case, "skipped", message=_xml(f"{one.status}: {one.says}"))
    for name, value in totals.items():
        root.set(name, str(value))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _texts(counts: Mapping[str, int]) -> dict[str, str]:
    return {name: str(count) for name, count in counts.items()}


def _xml(said: str) -> str:
    """``said`` without what XML 1.0 cannot hold."""
    return "".join(char for char in visible(said) if char in "\t\n" or (char >= " " and char not in "\ufffe\uffff"))
