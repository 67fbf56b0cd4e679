"""The replay of a history, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from coach.redact import visible
from coach.replay import Outcome, Policy, Replay, StepReplay, sentence
from coach.replay.report import Average, Count

if TYPE_CHECKING:
    from coach.render.text import Page, Style

SCHEMA_VERSION = "1"

_POLICIES = {
    Policy.LOCAL: "a builder that keeps its cache",
    Policy.MAX: "CI with the cache of the commit before, mode=max",
    Policy.MIN: "CI with the cache of the commit before, mode=min or inline",
    Policy.NONE: "CI without a cache",
}
_LETTERS = {
    Outcome.RAN: "R",
    Outcome.MAYBE: "M",
    Outcome.CACHED: "-",
    Outcome.FAILED: "F",
    Outcome.ABSENT: " ",
}
_BLOCKS, _ASCII = "·░▒▓█", ".-+*#"
_STEP_COLUMNS = 44


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters of a strip, from "never ran" to "ran at every commit"."""

    levels: str = _BLOCKS

    @staticmethod
    def for_encoding(encoding: str | None) -> Marks:
        """Blocks where the output can show them."""
        return Marks(_BLOCKS if (encoding or "").lower().replace("-", "").startswith("utf") else _ASCII)


def strip(outcomes: Sequence[Outcome], columns: int, marks: Marks = Marks()) -> str:
    """One row: commits from left to right, several to a column when there are more than ``columns``.

    A darker mark is a larger part of its commits; "x" could not be built, a blank has no such step.
    """
    count = len(outcomes)
    columns = min(max(columns, 1), count)
    out = []
    for column in range(columns):
        part = outcomes[column * count // columns : (column + 1) * count // columns]
        there = [one for one in part if one not in (Outcome.ABSENT, Outcome.FAILED)]
        if not there:
            out.append("x" if Outcome.FAILED in part else " ")
            continue
        ran = sum(1.0 if one is Outcome.RAN else 0.5 if one is Outcome.MAYBE else 0.0 for one in there) / len(there)
        out.append(marks.levels[0] if not ran else marks.levels[min(1 + int(ran * 3), 4)])
    return "".join(out)


def document(replays: Sequence[Replay]) -> dict[str, Any]:
    """All replays as plain values."""
    return {"schema_version": SCHEMA_VERSION, "targets": [_target(one) for one in replays]}


def _target(one: Replay) -> dict[str, Any]:
    return {
        "dockerfile": one.dockerfile,
        "context": one.context or ".",
        "target": one.target,
        "policy": one.policy.value,
        "commits": [commit.id for commit in one.commits],
        "patch": list(one.fixes),
        "steps": [_step(step) for step in one.steps],
        "new_steps": [_step(step) for step in one.new_steps],
        "per_commit": [_average(average) for average in one.averages],
        "notes": list(one.notes),
    }


def _step(step: StepReplay) -> dict[str, Any]:
    return {
        "line": step.line,
        "line_after": step.line_after,
        "stage": step.stage,
        "text": step.text,
        "install": step.install or None,
        "counted": step.counted,
        "now": _count(step.now),
        "as_it_was": _count(step.as_was),
        "with_patch": _count(step.after),
        "floor": step.floor,
        "causes": [{"what": one.what, "commits": one.commits, "needed": one.needed} for one in step.causes],
        "seconds": round(step.seconds, 3) if step.seconds is not None else None,
        "strip": "".join(_LETTERS[one] for one in step.strip),
        "strip_with_patch": "".join(_LETTERS[one] for one in step.strip_after),
        "strip_as_it_was": "".join(_LETTERS[one] for one in step.strip_as_was),
        "uncertain": list(step.uncertain),
    }


def brief(step: StepReplay) -> dict[str, Any]:
    """One install in a finding: the counts and the sentence."""
    return {
        "line": step.line,
        "install": step.install,
        "counted": step.counted,
        "now": _count(step.now),
        "with_patch": _count(step.after),
        "floor": step.floor,
        "says": sentence(step),
    }


def _count(count: Count | None) -> dict[str, int] | None:
    return None if count is None else {"ran": count.ran, "at_most": count.at_most}


def _pair(pair: tuple[float, float] | None) -> dict[str, float] | None:
    return None if pair is None else {"ran": round(pair[0], 3), "at_most": round(pair[1], 3)}


def _average(one: Average) -> dict[str, Any]:
    return {
        "policy": one.policy.value,
        "steps": _pair(one.now),
        "steps_with_patch": _pair(one.after),
        "seconds": _pair(one.seconds_now),
        "seconds_with_patch": _pair(one.seconds_after),
    }


def render(replays: Sequence[Replay], style: Style, marks: Marks = Marks()) -> str:
    """The replays as pages; the most important line comes last."""
    from coach.render.text import made

    def write(page: Page) -> None:
        for one in replays:
            _page(page, one, style.width or 120, marks)
            page.gap()

    return made(style, write)


def _page(page: Page, one: Replay, width: int, marks: Marks) -> None:
    where = f" from {one.context}" if one.context else ""
    stage = f" (target {one.target})" if one.target else ""
    page.line(0, (f"{one.dockerfile}{stage}{where}", "bold underline"))
    if not one.commits:
        page.line(2, "the history holds one commit: there is nothing to compare it with")
        return
    first, last = one.commits[0], one.commits[-1]
    page.line(2, f"{len(one.commits)} commits, {first.id[:8]} to {last.id[:8]}; {_POLICIES[one.policy]}")
    if one.patched:
        page.line(2, f"the patch holds {', '.join(one.fixes)}")
    page.gap()
    _table(page, one)
    page.gap()
    _strips(page, one, width, marks)
    _averages(page, one)
    for note in one.notes:
        page.line(2, (f"note: {note}", "dim"))
    for step in sorted((step for step in one.steps if step.install and step.now.at_most), key=lambda s: s.now.at_most):
        page.line(0, (sentence(step), "bold"))


def _table(page: Page, one: Replay) -> None:
    heads = ["as it was", "today", *(["patched"] if one.patched else []), "floor"]
    page.raw(2, f"{'line':>5}  {'step':{_STEP_COLUMNS}}" + "".join(f"{head:>11}" for head in heads), "bold")
    for step in (*one.steps, *one.new_steps):
        new = step.now.at_most == 0 and not step.strip
        cells = [str(step.as_was or ""), "new" if new else str(step.now)]
        if one.patched:
            cells.append(str(step.after) if step.after is not None else "gone")
        cells.append("" if step.floor is None else str(step.floor))
        text = visible(step.text)
        text = text if len(text) <= _STEP_COLUMNS else text[: _STEP_COLUMNS - 1] + "…"
        page.raw(2, f"{step.line:>5}  {text:{_STEP_COLUMNS}}" + "".join(f"{cell:>11}" for cell in cells))
        if step.install and step.causes:
            spare = [cause for cause in step.causes if cause.needed is False] or list(step.causes)
            named = ", ".join(f"{_short(cause.what)} ({cause.commits})" for cause in spare[:3])
            page.line(9, (f"{'not needed, but changed' if spare[0].needed is False else 'changed'}: {named}", "dim"))


def _short(path: str, most: int = 48) -> str:
    return path if len(path) <= most else "…" + path[1 - most :]


def _strips(page: Page, one: Replay, width: int, marks: Marks) -> None:
    """Commits from left to right, steps from top to bottom; neighbours that went alike share a row."""
    columns = max(width - 20, 20)
    steps = [
        step
        for step in (*one.steps, *one.new_steps)
        if step.now.at_most or (step.after is not None and step.after.at_most)
    ]
    for _, group in groupby(steps, key=lambda step: (step.strip, step.strip_after, bool(step.now.at_most))):
        alike = list(group)
        step = alike[0]
        label = str(step.line) if len(alike) == 1 else f"{step.line}–{alike[-1].line}"
        if step.now.at_most:
            page.raw(2, f"{label:>7} today    {strip(step.strip, columns, marks)}")
            label = ""
        if step.after is not None:
            page.raw(2, f"{label:>7} patched  {strip(step.strip_after, columns, marks)}", "green")
    page.gap()


def _averages(page: Page, one: Replay) -> None:
    page.line(2, ("steps rerun per commit", "bold"))
    for average in one.averages:
        says = _range(average.now)
        if average.after is not None:
            says += f" → {_range(average.after)} with the patch"
        if average.seconds_now is not None:
            says += f"; {_range(average.seconds_now)} s"
            if average.seconds_after is not None:
                says += f" → {_range(average.seconds_after)} s"
        page.line(4, f"{_POLICIES[average.policy]}: {says}")
    page.gap()


def _range(pair: tuple[float, float]) -> str:
    low, high = f"{pair[0]:.1f}", f"{pair[1]:.1f}"
    return low if low == high else f"{low}–{high}"
