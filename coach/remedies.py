"""Several remedies as one: what a fix over several build sites comes to."""

from __future__ import annotations

from collections.abc import Iterable

from coach.model import Edit, Remedy, Safety

_ORDER = (Safety.SAFE, Safety.REVIEW, Safety.SHOW)


def joined(parts: Iterable[Remedy]) -> Remedy:
    """One remedy out of many: all edits once, the least of the safeties, every reason.

    A part that can only be shown makes the whole ``SHOW``: half a fix would leave the question answered as before. Its
    reasons are then those of such parts alone.
    """
    listed = list(parts)
    safety = max((part.safety for part in listed), key=_ORDER.index)
    edits: dict[Edit, None] = {edit: None for part in listed for edit in part.edits}
    shown = [part for part in listed if safety is not Safety.SHOW or part.safety is Safety.SHOW]
    reasons = tuple(dict.fromkeys(reason for part in shown for reason in part.reasons))
    guidance = "\n\n".join(dict.fromkeys(part.guidance for part in listed if part.guidance))
    return Remedy(safety, () if safety is Safety.SHOW else tuple(edits), reasons, guidance)
