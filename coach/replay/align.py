"""Which step of one Dockerfile is which of another: before and after a patch, today and some commits ago."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Mapping

from coach.dockerfile import Instruction
from coach.replay.plan import Plan

Kind = tuple[str, str, str]
"""What tells one install from another: package manager, action, directory."""

_ALIKE = 0.6  # how similar two instructions have to be to count as one that was edited
_COMPARED = 400  # characters


def align(one: Plan, other: Plan, installs: Mapping[int, Kind], other_installs: Mapping[int, Kind]) -> dict[int, int]:
    """Steps of ``one`` to the same steps of ``other``: same install, same text, then what was merely edited.

    ``installs`` are by the offset of their RUN.
    """
    pairs: dict[int, int] = {}

    def left() -> list[int]:
        taken = set(pairs.values())
        return [index for index in other.steps if index not in taken]

    def match(key: Callable[[Plan, int, Mapping[int, Kind]], Hashable]) -> None:
        """Pair what has the same key, in order; a key of ``None`` never matches."""
        free: dict[Hashable, list[int]] = {}
        for index in left():
            free.setdefault(key(other, index, other_installs), []).append(index)
        for index in one.steps:
            mine = key(one, index, installs)
            if index not in pairs and mine is not None and free.get(mine):
                pairs[index] = free[mine].pop(0)

    def kind(plan: Plan, index: int, kinds: Mapping[int, Kind]) -> Kind | None:
        return kinds.get(_made(plan, index).span.start)

    # an install that a patch splits keeps its text in the part that builds: what downloads is looked for first
    match(lambda plan, index, kinds: (found := kind(plan, index, kinds)) and (found, stage_name(plan, index)))
    match(lambda plan, index, _: (text(plan, index), stage_name(plan, index)))
    match(kind)
    match(lambda plan, index, _: text(plan, index))
    for index in one.steps:
        if index in pairs:
            continue
        mine = text(one, index)
        word = mine.split(" ", 1)[0]
        close = [(_ratio(mine, text(other, there)), -there) for there in left() if text(other, there).startswith(word)]
        best, there = max(close, default=(0.0, 0))
        if best >= _ALIKE:
            pairs[index] = -there
    return pairs


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one[:_COMPARED], other[:_COMPARED]).ratio()


def _made(plan: Plan, index: int) -> Instruction:
    made = plan.vertices[index].instruction
    assert made is not None
    return made


def stage_name(plan: Plan, index: int) -> str:
    """Name of the stage a step is in, its number where it has none."""
    stage = plan.vertices[index].stage
    return stage.name or str(stage.index)


def text(plan: Plan, index: int) -> str:
    """A step's text on one line, without flags that only say how it runs."""
    made = _made(plan, index)
    origin = made.flag("from")
    return " ".join(f"{made.name} {origin.value if origin else ''} {made.value}".split())
