"""Which of the steps without their cache mount a patch can mend: all of them, or those of as many RUNs as it can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from coach.cache_edits import Plan, plan
from coach.cache_needs import WRONG, Need, survey
from coach.site import Site

_MOST_RUNS = 12  # RUNs that are tried one by one; a file with more is not taken apart


@dataclass(frozen=True)
class Left:
    """A RUN that stays as it is: its line, and why, as one phrase."""

    line: int
    why: str


@dataclass(frozen=True)
class Mountable:
    """The plan that can be carried out (``None`` when none can), the RUNs that stay, and what they would want."""

    made: Plan | None
    left: tuple[Left, ...] = ()
    by_hand: str = ""
    blockers: tuple[str, ...] = ()


def mountable(site: Site) -> Mountable:
    """A plan for every step that is wrong, or else for one RUN after the other as long as the result is right.

    After its edits no step is wrong but those of the RUNs in ``left``.
    """
    wrong = survey(site).standing(*WRONG)
    starts = sorted({_start(need) for need in wrong})
    whole = _proved(site, starts, wrong)
    if not whole.blockers:
        return Mountable(whole)
    best: Plan | None = None
    kept: list[int] = []
    why: dict[int, str] = {}
    grown = 1 < len(starts) <= _MOST_RUNS
    while grown:
        grown = False
        for start in starts:
            if start in kept:
                continue
            tried = _proved(site, [*kept, start], wrong)
            if tried.blockers:
                line = site.dockerfile.content.count(b"\n", 0, start) + 1
                phrases = (text.removeprefix(f"line {line}: ") for text in tried.blockers)
                why[start] = "; ".join(dict.fromkeys(phrases))
            else:
                best, grown = tried, True
                kept.append(start)
    if best is None:
        return Mountable(None, (), whole.guidance(shown=True), tuple(dict.fromkeys(whole.blockers)))
    still = _known(survey(site.after(best.edits)).standing(*WRONG))
    left = {_start(need): need for need in wrong if _start(need) not in kept and _key(need) in still}
    hand = plan(site, left)
    hand.notes = [note for note in hand.notes if note not in best.notes]
    stays = tuple(Left(left[start].run.line, why[start]) for start in sorted(left))
    return Mountable(best, stays, hand.guidance(shown=True))


def _proved(site: Site, chosen: Collection[int], wrong: Sequence[Need]) -> Plan:
    """The plan for the RUNs that start at ``chosen``; blocked unless they, and no fewer, are right then."""
    made = plan(site, chosen)
    if made.blockers:
        return made
    after = _known(survey(site.after(made.edits)).standing(*WRONG))
    if after - _known([need for need in wrong if _start(need) not in chosen]):
        made.blockers.append("the patch would not reach every step")
    return made


def _start(need: Need) -> int:
    return need.run.instruction.span.start


def _known(needs: Sequence[Need]) -> Counter[tuple[str | int | None, ...]]:
    return Counter(_key(need) for need in needs)


def _key(need: Need) -> tuple[str | int | None, ...]:
    """What tells a step from the others, whatever line it comes to stand on."""
    step = need.step
    return (need.run.stage.index, step.manager, step.label, step.via, step.directory)
