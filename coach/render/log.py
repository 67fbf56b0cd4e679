"""What a build log says, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from coach.buildlog import Log, State
from coach.misses import Judgement, Placed, Pointer, ran
from coach.redact import shown

if TYPE_CHECKING:
    from coach.render.text import Page, Style

SCHEMA_VERSION = "1"


def document(log: Log, judged: Sequence[Judgement], dockerfile: str | None) -> dict[str, Any]:
    """A log as plain values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "format": log.format,
        "from_job": log.from_job,
        "dockerfile": dockerfile,
        "builds": [_build(one) for one in judged],
        "foreign_lines": log.foreign,
        "unread": [{"line": one.line, "why": shown(one.why)} for one in log.unread],
    }


def _build(one: Judgement) -> dict[str, Any]:
    build = one.build
    return {
        "steps": [_step(placed) for placed in one.placed],
        "seconds": round(one.seconds, 3),
        "context_bytes": build.context_bytes,
        "context_seconds": build.context_seconds,
        "caches": [
            {
                "kind": cache.kind,
                "where": cache.where,
                "seconds": cache.seconds,
                "error": shown(cache.error) or None,
                "log_line": cache.line,
            }
            for cache in build.caches
        ],
        "driver": build.driver or None,
        "first_miss": _step(one.miss) if one.miss is not None else None,
        "why": one.why,
        "points_to": [_pointer(pointer) for pointer in one.pointers],
    }


def _step(placed: Placed) -> dict[str, Any]:
    step = placed.step
    return {
        "log_line": step.line,
        "line": placed.line,
        "stage": step.stage,
        "text": shown(step.text),
        "platform": step.platform or None,
        "state": step.state.value,
        "seconds": round(step.seconds, 3) if step.seconds is not None else None,
        "error": shown(step.error) or None,
    }


def _pointer(pointer: Pointer) -> dict[str, Any]:
    saves = round(pointer.saves, 3) if pointer.saves is not None else None
    return {"fix": pointer.fix, "why": shown(pointer.why), "log_line": pointer.line, "saves_at_most": saves}


def render(log: Log, judged: Sequence[Judgement], dockerfile: str | None, style: Style) -> str:
    """The log as a page; what to do comes last."""
    from coach.render.text import made

    def write(page: Page) -> None:
        for number, one in enumerate(judged, 1):
            title = f"build {number} of {len(judged)}" if len(judged) > 1 else "the build"
            _page(page, one, f"{title} ({log.format})", dockerfile)
            page.gap()
        for unread in log.unread:
            page.line(0, (f"not read: line {unread.line}: {shown(unread.why)}", "dim"))
        if not judged:
            page.line(0, "no line of this is a BuildKit build's (docker build --progress=plain or rawjson)")

    return made(style, write)


def _page(page: Page, one: Judgement, title: str, dockerfile: str | None) -> None:
    page.line(0, (title, "bold underline"))
    for placed in one.placed:
        step = placed.step
        spent = "cached" if step.state is State.CACHED else "" if step.seconds is None else f"{step.seconds:.1f} s"
        spent = spent if step.state in (State.CACHED, State.DONE) else f"{step.state.value} {spent}".strip()
        stage = " ".join(filter(None, (step.platform, step.stage)))
        where = f"{dockerfile}:{placed.line}" if dockerfile and placed.line else ""
        page.line(
            2, f"{spent:>10}  ", (shown(step.text[:90]), "bold" if ran(step) else ""), f"  [{stage}]" if stage else "",
            (f"  {where}" if where else "", "cyan"),
        )  # fmt: skip
    build = one.build
    if build.context_bytes is not None:
        page.line(2, f"context sent: {_size(build.context_bytes)}")
    for cache in build.caches:
        spent = f" in {cache.seconds:.1f} s" if cache.seconds is not None else ""
        failed = f": FAILED, {shown(cache.error)}" if cache.error else ""
        page.line(2, f"cache {cache.kind} {shown(cache.where)}{spent}{failed}")
    page.gap()
    if one.miss is not None:
        line = f" (log line {one.miss.step.line})"
        page.line(0, ("first miss: ", "bold"), shown(one.miss.step.text[:90]), (line, "dim"))
    page.line(2, one.why)
    for pointer in one.pointers:
        saves = f"; saves up to {pointer.saves:.1f} s" if pointer.saves else ""
        page.line(0, (f"{pointer.fix} ", "bold"), f"{shown(pointer.why)}{saves}")
    if one.pointers:
        page.line(0, f"next: coach explain {one.pointers[0].fix}")


def _size(amount: int) -> str:
    return f"{amount / 1e6:.1f} MB" if amount >= 1_000_000 else f"{amount / 1e3:.1f} kB"
