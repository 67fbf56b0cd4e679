"""A report as SARIF 2.1.0 (docs.oasis-open.org/sarif, read 2026-11), for code scanning and editors."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from coach import __version__
from coach.model import Certainty, Diagnosis, Evidence, Finding, Report
from coach.redact import visible
from coach.render.json import dump

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(report: Report) -> str:
    """One run; a rule per FIX code, a result per finding, at its first cited place."""
    found = [(target, finding) for target in report.targets for finding in target.findings]
    rules: dict[str, dict[str, Any]] = {}
    for _, finding in found:
        rules.setdefault(finding.id, _rule(finding))
    order = list(rules)
    notes = [
        {"level": "note", "message": {"text": visible(f"{skipped.path}: {skipped.reason}")}}
        for skipped in report.skipped
    ]
    driver = {"name": "coach", "version": __version__, "semanticVersion": __version__, "rules": list(rules.values())}
    run = {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "originalUriBaseIds": {"ROOT": {"description": {"text": "The repository that was looked at."}}},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "results": [_result(target, finding, order.index(finding.id)) for target, finding in found],
    }
    return dump({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(found: Finding) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.node,
        "shortDescription": {"text": found.title},
        "fullDescription": {"text": found.section or found.title},
        "help": {"text": f"coach explain {found.id}"},
        "defaultConfiguration": {"level": "warning"},
    }


def _location(cited: Evidence) -> dict[str, Any]:
    region = {"startLine": cited.line, "endLine": cited.end_line, "snippet": {"text": visible(cited.text)}}
    uri = quote(cited.path.encode("utf-8", "surrogateescape"))
    place = {"artifactLocation": {"uri": uri, "uriBaseId": "ROOT"}, "region": region}
    return {"physicalLocation": place, "message": {"text": visible(cited.says or cited.text)}}


def _result(target: Diagnosis, found: Finding, rule: int) -> dict[str, Any]:
    first, *others = found.evidence or (Evidence(target.dockerfile, 1, 1, "", found.title),)
    seen = "\0".join((target.dockerfile, target.context, target.target or "", found.id))
    return {
        "ruleId": found.id,
        "ruleIndex": rule,
        "level": "warning" if found.certainty is Certainty.CERTAIN else "note",
        "message": {"text": visible(f"{found.title}. {found.reason}".strip())},
        "locations": [_location(first)],
        "relatedLocations": [{**_location(cited), "id": number} for number, cited in enumerate(others, 1)],
        "partialFingerprints": {"coach/v1": hashlib.sha256(seen.encode("utf-8", "replace")).hexdigest()},
        "properties": {"safety": found.remedy.safety.value, "certainty": found.certainty.value},
    }
