"""What was measured and what it proves: a table for people, one JSON document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from statistics import median
from typing import Any

from coach import __version__
from coach.redact import visible
from coach.render.json import dump
from coach.render.words import named
from coach.site import Site
from coach.verify import VOLATILE_WORDS, Judgement, Proof, Scenario, Touches, mb

SCHEMA_VERSION = "1"
_MOST = 20


def text(
    site: Site, proofs: Sequence[Proof], judged: Sequence[Judgement], touches: Touches, notes: Sequence[str]
) -> str:
    """Before and after side by side, then each verdict; the most important line comes last."""
    lines = [named(site.path, site.context, site.target), ""]
    lines += [*_table(proofs, touches), ""] if proofs else []
    for one in judged:
        lines.append(f"{one.fix:<4} {one.verdict}: {one.says}")
        for path in one.differences[:_MOST]:
            change = f"  {path.before or '-'} → {path.after or '-'}"
            lines.append(f"       {path.what:<8} /{path.path}{change}")
        if len(one.differences) > _MOST:
            lines.append(f"       … {len(one.differences) - _MOST} more: --json lists all")
        if one.noise:
            lines.append(f"       {one.noise} more differ between two builds without the fix as well")
        lines += [f"       | {line}" for line in one.tail]
    lines += [f"note: {note}" for note in notes]
    lines += [f"not compared: {VOLATILE_WORDS}"] if proofs else []
    good = sum(one.verdict == "confirmed" for one in judged)
    lines.append(f"{good} of {len(judged)} confirmed")
    return "".join(f"{visible(line)}\n" for line in lines)


def _table(proofs: Sequence[Proof], touches: Touches) -> list[str]:
    heads = ["", *(proof.label if proof.label == "before" else f"after {proof.label}" for proof in proofs)]
    rows = [heads]
    measured = [scenario for scenario in Scenario if any(proof.builds.get(scenario) for proof in proofs)]
    rows += [[scenario.value, *(_cell(proof, scenario) for proof in proofs)] for scenario in measured]
    rows.append(["image", *(mb(proof.image.size) if proof.image else "-" for proof in proofs)])
    rows.append(["context sent", *(_context(proof) for proof in proofs)])
    rows.append(["container", *(proof.start.words if proof.start else "-" for proof in proofs)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    out = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for what, path, why in (
        ("source change", touches.source, touches.no_source),
        ("lockfile change", touches.lockfile, touches.no_lockfile),
    ):
        out.append(f"{what}: {path or f'not measured, {why}'}")
    return out


def _cell(proof: Proof, scenario: Scenario) -> str:
    builds = proof.builds.get(scenario)
    if not builds:
        return "-"
    spread = f" ±{proof.spread(scenario) / 2:.1f}" if len(builds) > 1 else ""
    middle = median(build.seconds for build in builds)
    return f"{middle:.1f}{spread} s  {builds[-1].cached}/{len(builds[-1].steps)} cached"


def _context(proof: Proof) -> str:
    cold = proof.builds.get(Scenario.COLD, ())
    return mb(cold[0].context_bytes) if cold and cold[0].context_bytes is not None else "-"


def schema() -> str:
    """The JSON Schema of ``json_text``'s output, as shipped."""
    return resources.files(__package__).joinpath("verify.schema.json").read_text("utf-8")


def json_text(
    site: Site, proofs: Sequence[Proof], judged: Sequence[Judgement], touches: Touches, notes: Sequence[str]
) -> str:
    """The same as one JSON document; ``verify.schema.json`` beside this file describes it."""
    return dump(
        {
            "schema_version": SCHEMA_VERSION,
            "coach_version": __version__,
            "dockerfile": site.path,
            "context": site.context or ".",
            "target": site.target,
            "touched": {
                "source": touches.source,
                "lockfile": touches.lockfile,
                "no_source": touches.no_source,
                "no_lockfile": touches.no_lockfile,
            },
            "states": [_state(proof) for proof in proofs],
            "verdicts": [_verdict(one) for one in judged],
            "notes": list(notes),
        }
    )


def _state(proof: Proof) -> dict[str, Any]:
    return {
        "label": proof.label,
        "failed": proof.failed or None,
        "builds": [
            {
                "scenario": scenario.value,
                "seconds": [round(build.seconds, 3) for build in builds],
                "median": round(proof.seconds(scenario) or 0.0, 3),
                "spread": round(proof.spread(scenario), 3),
                "cached": builds[-1].cached,
                "context_bytes": builds[-1].context_bytes,
                "steps": [
                    {"name": step.name, "cached": step.cached, "seconds": round(step.seconds, 3)}
                    for step in builds[-1].steps
                ],
            }
            for scenario, builds in proof.builds.items()
        ],
        "image": {"size": proof.image.size, "user": proof.image.user, "files": len(proof.image.files)}
        if proof.image
        else None,
        "start": {"state": proof.start.state, "code": proof.start.code, "http": proof.start.http}
        if proof.start
        else None,
    }


def _verdict(one: Judgement) -> dict[str, Any]:
    return {
        "fix": one.fix,
        "title": one.title,
        "verdict": one.verdict.value,
        "says": one.says,
        "differences": [
            {"path": path.path, "what": path.what, "before": path.before, "after": path.after}
            for path in one.differences
        ],
        "noise": one.noise,
        "log": list(one.tail),
    }
