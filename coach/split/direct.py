"""The program itself as the container's command, where the package manager that starts it stays behind."""

from __future__ import annotations

import json

from coach.model import Edit, Span
from coach.shipped import Shipped
from coach.split.draft import CannotSplitError, Draft, inserted, insertion
from coach.split.entry import Entry


def direct(shipped: Shipped, draft: Draft, start: Entry, place: str, manager: str) -> None:
    """Let ``draft`` start the program without a manager that the image lacks; ``place`` is where the program runs.

    Raises ``CannotSplitError`` where the command does more than that.
    """
    lacked, said = _lacked(shipped, start, manager), shipped.start.command
    if not lacked:
        return
    words = list(start.words)
    late = said is not None and shipped.start.entrypoint is None and said.span.start > draft.last.span.start
    if not late or not start.plain or start.name == "bun":
        raise CannotSplitError(
            f"the command starts {lacked[0]}, which the runtime image does not have: start the program itself"
        )
    assert said is not None
    if words[0] != "node":
        if "/" in words[0]:
            raise CannotSplitError(f"{words[0]} is no command of a package")
        words[0] = f"node_modules/.bin/{words[0]}"
    if place != shipped.site.graph.state(said).workdir:
        draft.edits.append(inserted(shipped, insertion(shipped, said), [f"WORKDIR {place}"]))
    span = Span(said.offset(0), said.offset(len(said.value) - 1) + 1)
    draft.edits.append(Edit(shipped.site.path, span, json.dumps(words).encode()))
    draft.command = words
    draft.reasons.append(f"the container starts {words[0]} itself: the runtime image has no {lacked[0]}")


def _lacked(shipped: Shipped, start: Entry, manager: str) -> list[str]:
    """Programs that start this one and that the runtime image does not bring."""
    assert shipped.base is not None
    brought = {"npm", "yarn"} if shipped.base.family == "node" else {"bun"}
    if manager == "yarn-berry":
        brought -= {"yarn"}
    return sorted((start.through | ({"bun"} if start.name == "bun" else set())) - brought)
