"""A report as Markdown for a pull-request comment: short on top, the patch folded away."""

from __future__ import annotations

import re

from coach.model import Certainty, Diagnosis, Evidence, Finding, Report, Status
from coach.redact import visible
from coach.render.words import place, target_name

MARK = "<!-- dockerfile-coach -->"
"""First line of every comment, by which a workflow finds the one to update."""

_STATUS = {Status.FIX: "FIX", Status.DONE: "done", Status.UNDECIDED: "undecided"}


def render(report: Report) -> str:
    """The report as GitHub Markdown. Nothing from a file can end a code span, open a tag or mention anybody."""
    parts = [MARK, "## coach: Docker build", _table(report)]
    parts += [_target(diagnosis) for diagnosis in report.targets if diagnosis.status is not Status.DONE]
    if report.skipped:
        rows = [f"- {code(skipped.path)}: {words(skipped.reason)}" for skipped in report.skipped]
        parts.append("<details><summary>Passed over</summary>\n\n" + "\n".join(rows) + "\n\n</details>")
    parts += [f"> {words(note)}" for note in report.notes]
    return "\n\n".join(parts) + "\n"


def words(text: str) -> str:
    """Prose: Markdown and HTML signs escaped, on one line."""
    flat = " ".join(visible(text).split())
    return re.sub(r"([\\`*_\[\]<>|#~@&!])", r"\\\1", flat)


def code(text: str) -> str:
    """A code span that holds any text, also within a table."""
    flat = " ".join(visible(text).split()).replace("|", "\u2502")
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", flat)), default=0) + 1)
    pad = " " if flat[:1] == "`" or flat[-1:] == "`" else ""
    return f"{ticks}{pad}{flat}{pad}{ticks}" if flat else ""


def block(text: str, language: str) -> str:
    """A fenced block that nothing inside can close."""
    fence = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return f"{fence}{language}\n{visible(text).rstrip()}\n{fence}"


def _table(report: Report) -> str:
    rows = ["| Dockerfile | result | first | further |", "|---|---|---|---|"]
    for target in report.targets:
        first = f"**{target.fix.id}** {words(target.fix.title)}" if target.fix is not None else ""
        further = ", ".join(found.id for found in target.further)
        rows.append(f"| {code(target_name(target))} | {_STATUS[target.status]} | {first} | {further} |")
    return "\n".join(rows)


def _target(diagnosis: Diagnosis) -> str:
    parts = [f"### {code(target_name(diagnosis))}"]
    if diagnosis.pending is not None:
        asked = diagnosis.pending
        answers = code(f"--answer {asked.node}={' or '.join(asked.choices)}")
        parts.append(f"**Undecided:** {words(asked.question)} {words(asked.reason)} Answer with {answers}.")
    if diagnosis.fix is not None:
        parts.append(_finding(diagnosis.fix))
    if diagnosis.further:
        inner = "\n\n".join(_finding(found) for found in diagnosis.further)
        parts.append(f"<details><summary>{len(diagnosis.further)} further</summary>\n\n{inner}\n\n</details>")
    return "\n\n".join(parts)


def _finding(found: Finding) -> str:
    sure = "" if found.certainty is Certainty.CERTAIN else "likely, "
    parts = [f"**{found.id}: {words(found.title)}** ({sure}{found.remedy.safety})"]
    if found.reason:
        parts.append(words(found.reason))
    if found.evidence:
        parts.append("\n".join(_evidence(cited) for cited in found.evidence))
    if found.remedy.reasons:
        parts.append("\n".join(f"- [ ] {words(reason)}" for reason in found.remedy.reasons))
    if found.patch:
        parts.append(f"<details><summary>Patch</summary>\n\n{block(found.patch, 'diff')}\n\n</details>")
    return "\n\n".join(parts)


def _evidence(cited: Evidence) -> str:
    return f"- {code(place(cited))} {code(cited.text)} {words(cited.says)}".rstrip()
