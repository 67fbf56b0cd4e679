"""The JSON wire format. Its shape is a public contract of its own, whatever the types inside look like.

``schema.json`` beside this file describes it; fields are only ever added.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from coach import __version__
from coach.model import Diagnosis, Evidence, Finding, Question, Report, Reruns, Skipped, Step

SCHEMA_VERSION = "1"


def render(report: Report) -> str:
    """The report as one JSON document, pure ASCII, ending in a newline."""
    return dump(document(report))


def dump(value: object) -> str:
    """Any of coach's JSON documents as text: stable order, ASCII, so that no terminal can be tricked by it."""
    return json.dumps(_clean(value), indent=2, ensure_ascii=True) + "\n"


def schema() -> str:
    """The JSON Schema of ``render``'s output, as shipped."""
    return resources.files(__package__).joinpath("schema.json").read_text("utf-8")


def document(report: Report) -> dict[str, Any]:
    """The report as plain dicts and lists."""
    return {
        "schema_version": SCHEMA_VERSION,
        "coach_version": __version__,
        "root": ".",
        "targets": [target(diagnosis) for diagnosis in report.targets],
        "skipped": [_skipped(skipped) for skipped in report.skipped],
        "notes": list(report.notes),
    }


def target(diagnosis: Diagnosis) -> dict[str, Any]:
    """One target's part of the document."""
    return {
        "dockerfile": diagnosis.dockerfile,
        "context": diagnosis.context or ".",
        "target": diagnosis.target,
        "built_by": [
            {"system": site.system, "path": site.path, "line": site.line, "job": site.job}
            for site in diagnosis.built_by
        ],
        "status": diagnosis.status.value,
        "trail": [_step(step) for step in diagnosis.trail],
        "pending": question(diagnosis.pending) if diagnosis.pending is not None else None,
        "open_questions": [question(asked) for asked in diagnosis.open_questions],
        "fix": finding(diagnosis.fix) if diagnosis.fix is not None else None,
        "further": [finding(found) for found in diagnosis.further],
    }


def finding(found: Finding) -> dict[str, Any]:
    """A FIX. ``patch`` is "" when nothing can be written, or nothing can be shown without a secret.

    ``replay`` is there only when the history was asked.
    """
    made = {
        "id": found.id,
        "node": found.node,
        "title": found.title,
        "section": found.section,
        "anti_pattern": found.anti_pattern,
        "certainty": found.certainty.value,
        "safety": found.remedy.safety.value,
        "reasons": list(found.remedy.reasons),
        "evidence": [_evidence(cited) for cited in found.evidence],
        "patch": found.patch,
        "files": list(found.files),
        "reason": found.reason,
        "guidance": found.remedy.guidance,
        "explanation": found.explanation,
    }
    if found.replay:
        made["replay"] = [_reruns(one) for one in found.replay]
    return made


def _reruns(one: Reruns) -> dict[str, Any]:
    return {
        "line": one.line,
        "step": one.step,
        "commits": one.commits,
        "now": _bounds(one.now),
        "with_patch": _bounds(one.patched),
        "floor": one.floor,
        "says": one.says,
    }


def _bounds(pair: tuple[int, int] | None) -> dict[str, int] | None:
    return None if pair is None else {"ran": pair[0], "at_most": pair[1]}


def question(asked: Question) -> dict[str, Any]:
    """A question, ready to be answered with ``--answer node=choice``."""
    return {
        "node": asked.node,
        "question": asked.question,
        "choices": list(asked.choices),
        "reason": asked.reason,
        "how_to_find_out": asked.how_to_find_out,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "node": step.node,
        "question": step.question,
        "choice": step.choice,
        "source": step.source.value,
        "certainty": step.certainty.value,
        "evidence": [_evidence(cited) for cited in step.evidence],
        "reason": step.reason,
        "overridden": step.overridden or None,
        "assumed": step.assumed,
    }


def _evidence(cited: Evidence) -> dict[str, Any]:
    return {
        "path": cited.path,
        "line": cited.line,
        "end_line": cited.end_line,
        "text": cited.text,
        "says": cited.says,
    }


def _skipped(skipped: Skipped) -> dict[str, Any]:
    return {"path": skipped.path, "line": skipped.line, "reason": skipped.reason}


def _clean(value: object) -> object:
    """``value`` without lone surrogates (bytes that are not UTF-8), which many JSON readers refuse."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_clean(name): _clean(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value
