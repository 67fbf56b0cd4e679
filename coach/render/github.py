"""A report as GitHub workflow commands, which Actions shows as annotations at the cited lines.

Escaping: docs.github.com, "Workflow commands for GitHub Actions", and actions/toolkit ``command.ts`` (read 2026-11).
"""

from __future__ import annotations

from coach.model import Certainty, Diagnosis, Finding, Report
from coach.redact import visible


def render(report: Report) -> str:
    """One command per finding, open first question and skipped file."""
    lines = []
    for diagnosis in report.targets:
        if diagnosis.pending is not None:
            asked = diagnosis.pending
            says = f"{asked.question} {asked.reason}\n{asked.how_to_find_out}"
            lines.append(_command("notice", diagnosis.dockerfile, 1, 1, f"undecided: {asked.node}", says))
        if diagnosis.fix is not None:
            lines.append(_finding(diagnosis, diagnosis.fix, first=True))
        lines += [_finding(diagnosis, found, first=False) for found in diagnosis.further]
    for skipped in report.skipped:
        lines.append(_command("notice", skipped.path, max(skipped.line, 1), 0, "passed over", skipped.reason))
    return "".join(f"{line}\n" for line in lines)


def _finding(diagnosis: Diagnosis, found: Finding, first: bool) -> str:
    level = "error" if first and found.certainty is Certainty.CERTAIN else "warning"
    cited = found.evidence[0] if found.evidence else None
    path, line, end = (cited.path, cited.line, cited.end_line) if cited is not None else (diagnosis.dockerfile, 1, 1)
    facts = [f"{one.path}:{one.line} {one.says}" for one in found.evidence]
    says = "\n".join([found.reason or found.title, *facts, f"coach explain {found.id}"])
    return _command(level, path, line, end, f"{found.id}: {found.title}", says)


def _command(level: str, path: str, line: int, end: int, title: str, says: str) -> str:
    fields = [f"file={_property(path)}", f"line={line}", *([f"endLine={end}"] if end else [])]
    return f"::{level} {','.join([*fields, f'title={_property(title)}'])}::{_data(says)}"


def _data(text: str) -> str:
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
