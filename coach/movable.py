"""Which of the installs that stand too low a patch can move: all of them, or as many as it can move correctly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from coach.errors import CoachError
from coach.order import Verdict, verdicts
from coach.reorder import CannotReorderError, Plan, plan
from coach.site import Site

_MOST_RUNS = 12  # RUNs that are tried one by one; a file with more is not taken apart


@dataclass(frozen=True)
class Left:
    """An install that stays where it is, and why, as one phrase."""

    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Movable:
    """Edits for the installs that can be moved (``None`` when none can), and those that stay."""

    made: Plan | None
    left: tuple[Left, ...]


def movable(site: Site, wrong: Sequence[Verdict]) -> Movable:
    """The edits that move all of ``wrong``, or else one RUN after the other as long as the result is right.

    After the edits nothing stands too low but what is ``left``.
    """
    try:
        return Movable(_proved(site, wrong, wrong), ())
    except CannotReorderError as error:
        why = str(error)
    runs: dict[int, list[Verdict]] = {}
    for verdict in wrong:
        runs.setdefault(verdict.run.instruction.span.start, []).append(verdict)
    made: Plan | None = None
    kept: list[Verdict] = []
    left: list[Left] = []
    if not 1 < len(runs) <= _MOST_RUNS:
        return Movable(None, tuple(Left(verdict, why) for verdict in wrong))
    for _, here in sorted(runs.items()):
        try:
            made = _proved(site, [*kept, *here], wrong)
        except CannotReorderError as error:
            left += [Left(verdict, str(error)) for verdict in here]
        else:
            kept += here
    return Movable(made, tuple(left))


def _proved(site: Site, chosen: Sequence[Verdict], wrong: Sequence[Verdict]) -> Plan:
    """Edits after which nothing of ``chosen`` stands too low, and nothing that was right before.

    Raises ``CannotReorderError``.
    """
    try:
        made = plan(site, chosen)
        after = Counter(_known_by(verdict) for verdict in verdicts(site.after(made.edits)) if verdict.wrong)
    except CoachError as error:
        raise CannotReorderError(error.says) from error
    if after - (Counter(map(_known_by, wrong)) - Counter(map(_known_by, chosen))):
        raise CannotReorderError("the order would still be wrong after the change")
    return made


def _known_by(verdict: Verdict) -> tuple[str, ...]:
    """What tells an install from the others, whatever line it comes to stand on."""
    return (verdict.step.manager, verdict.directory, verdict.step.via, *(word or "" for word in verdict.words))
