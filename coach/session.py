"""The walk over a chart: probe, else take an answer given, else stop; and the fixes it finds, put one upon another.

Pure: it sees a repository only through the sites handed to it, and knows nothing of terminals.
"""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coach import edits, flowchart, redact
from coach.errors import CoachError, UsageError
from coach.model import (
    Answer,
    Certainty,
    Diagnosis,
    Finding,
    Question,
    Remedy,
    Safety,
    Source,
    Status,
    Step,
    Tree,
    unknown,
)
from coach.tree import Overlay

if TYPE_CHECKING:
    from coach.flowchart import Chart
    from coach.lessons import Lesson
    from coach.site import Site
    from coach.skill import Skill

log = logging.getLogger("coach")

ASK_AROUND = "look in the repository, or ask somebody who knows how this is built"

UNSHOWN = "the patch is not printed because it would show a secret; `coach fix --apply` writes it"

_ROUNDS_PER_FIX = 2
"""How often one FIX may be applied to one target: a later fix may open the ground of an earlier one once."""


NOT_SURE = "not_sure"
"""The symptom of a chart's entry that stands for "no idea"; a chart that has it starts there unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that does not come from a probe. ``choice`` is an edge label of the chart."""

    choice: str
    source: Source
    assumed: bool = False


Key = tuple[str, str, str | None]
"""What tells one target from another: Dockerfile, context, target stage."""


def key(site: Site) -> Key:
    """The identity of a target; it stays the same while its files are being fixed."""
    return (site.dockerfile.path, site.context, site.target)


def bind(chart: Chart, lessons: Iterable[Lesson]) -> dict[str, Lesson]:
    """Lessons by node, those only whose node leads to their FIX in this chart.

    A foreign chart that happens to use one of our node names for something else is thereby left alone.
    """
    return {
        lesson.NODE: lesson
        for lesson in lessons
        if lesson.NODE in chart and lesson.FIX in chart.successors(lesson.NODE)
    }


def match(wanted: str, choices: Sequence[str]) -> str | None:
    """The choice meant by ``wanted``: exact, else regardless of case, else the only one that begins with it."""
    if wanted in choices:
        return wanted
    folded = wanted.strip().casefold()
    same = [choice for choice in choices if choice.casefold() == folded]
    begun = [choice for choice in choices if folded and choice.casefold().startswith(folded)]
    found = same or begun
    return found[0] if len(found) == 1 else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"`` for the closest known word, or ``""``."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def decisions(chart: Chart) -> tuple[str, ...]:
    """Every node that has something to decide, in the order a walk meets them (first ways first)."""
    first = flowchart.entry(chart)
    met: dict[str, None] = {}
    ahead = [first]
    if NOT_SURE in flowchart.choices(chart, first):
        met[first] = None
        ahead = [flowchart.follow(chart, first, NOT_SURE)]
    while ahead:
        node = ahead.pop()
        if node in met:
            continue
        met[node] = None
        ahead += [flowchart.follow(chart, node, choice) for choice in reversed(flowchart.choices(chart, node))]
        beyond = flowchart.after_fix(chart, node)
        ahead += [beyond] if beyond is not None else []
    return tuple(node for node in [*met, *(node for node in chart if node not in met)] if _decides(chart, node))


def _decides(chart: Chart, node: str) -> bool:
    return not flowchart.is_fix(chart, node) and len(flowchart.choices(chart, node)) > 1


def check_answer(chart: Chart, node: str, choice: str) -> str:
    """The chart's own spelling of ``choice`` at ``node``. Raises ``UsageError`` naming what would be possible."""
    asked = decisions(chart)
    if node not in asked:
        raise UsageError(f"the chart has no question {node!r}{did_you_mean(node, asked)}")
    choices = flowchart.choices(chart, node)
    found = match(choice, choices)
    if found is None:
        raise UsageError(f"{node} has no answer {choice!r}; it takes {', '.join(choices)}")
    return found


def check_symptom(chart: Chart, symptom: str) -> str:
    """The node at which ``symptom`` (an edge label of the entry, or a question's own id) starts the walk."""
    first = flowchart.entry(chart)
    symptoms = flowchart.choices(chart, first) if NOT_SURE in flowchart.choices(chart, first) else ()
    asked = [node for node in decisions(chart) if node != first or not symptoms]
    found = match(symptom, symptoms)
    if found is not None:
        return flowchart.follow(chart, first, found)
    if symptom in asked:
        return symptom
    offered = ", ".join(symptoms or asked)
    raise UsageError(f"no symptom {symptom!r}{did_you_mean(symptom, [*symptoms, *asked])} (known: {offered})")


class Walk:
    """One walk over one target, step by step; ``here`` is always a decision, a FIX or an end of the chart.

    ``passed`` are the FIXes that the walk has left behind, now or in the session it goes on with.
    Answers come in this order: given ones (flag, configuration, user), then the probe bound to the node.
    A walk never asks anything by itself: whoever drives it calls ``advance``, then looks at ``here``.
    """

    def __init__(
        self,
        site: Site,
        chart: Chart,
        lessons: Iterable[Lesson],
        skill: Skill,
        answers: Mapping[str, Given] | None = None,
        start: str | None = None,
        *,
        ask_symptom: bool = False,
        passed: Iterable[str] = (),
    ) -> None:
        self.site = site
        self.chart = chart
        self.skill = skill
        self.lessons = bind(chart, lessons)
        self.answers = dict(answers or {})
        self.passed = set(passed)
        self.count: Callable[[Site, Finding], Finding] = lambda _, found: found
        self._probed: dict[str, Answer] = {}
        self._path: list[tuple[str, Step | None]] = []
        self.here = self._settle(start or flowchart.entry(chart))
        if start is None and not ask_symptom and self.here not in self.answers and NOT_SURE in self.choices():
            self.here = self._settle(flowchart.follow(chart, self.here, NOT_SURE))

    # -- where the walk stands

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every decision taken so far, in order."""
        return tuple(step for _, step in self._path if step is not None)

    @property
    def at_fix(self) -> bool:
        return flowchart.is_fix(self.chart, self.here)

    @property
    def at_question(self) -> bool:
        return _decides(self.chart, self.here)

    @property
    def came_back(self) -> bool:
        """Whether the chart has led back to a decision that this walk already took."""
        return any(node == self.here for node, _ in self._path)

    def choices(self) -> tuple[str, ...]:
        """The answers that ``here`` takes, as the chart spells them."""
        return tuple(flowchart.choices(self.chart, self.here))

    def text(self, node: str | None = None) -> str:
        """The chart's wording of a node, on one line."""
        return flowchart.text_of(self.chart, node or self.here) or node or self.here

    def _settle(self, node: str) -> str:
        """``node``, or the first decision, FIX or end after it when it only passes on."""
        for _ in range(len(self.chart)):
            ways = flowchart.choices(self.chart, node)
            if flowchart.is_fix(self.chart, node) or len(ways) != 1:
                break
            node = flowchart.follow(self.chart, node, ways[0])
        return node

    # -- what is known about a decision

    def probe(self, node: str) -> Answer | None:
        """What the probe bound to ``node`` says, computed once; ``None`` when no probe is bound to it."""
        lesson = self.lessons.get(node)
        if lesson is None:
            return None
        if node not in self._probed:
            self._probed[node] = self._with_observed(node, self._ask_probe(lesson))
        return self._probed[node]

    def _with_observed(self, node: str, answer: Answer) -> Answer:
        """The probe's answer together with what was seen of real builds, which only outdoes a guess."""
        seen = self.site.observed.get(node)
        if seen is None or (seen.choice is not None and seen.choice not in flowchart.choices(self.chart, node)):
            return answer
        if seen.choice is None or seen.choice == answer.choice:
            return replace(answer, evidence=(*answer.evidence, *seen.evidence))
        if answer.certainty is Certainty.CERTAIN:
            return answer
        return replace(seen, evidence=(*seen.evidence, *answer.evidence))

    def _ask_probe(self, lesson: Lesson) -> Answer:
        try:
            answer = lesson.probe(self.site)
        except CoachError as error:
            return unknown(str(error), ASK_AROUND)
        except Exception as defect:  # one probe's defect must not take the other decisions down with it
            log.debug("probe %s failed", lesson.NODE, exc_info=True)
            return unknown(f"the probe failed ({type(defect).__name__}), which is a defect of coach", ASK_AROUND)
        answer = _fit_to_show(answer)
        if answer.choice is not None and answer.choice not in flowchart.choices(self.chart, lesson.NODE):
            return unknown(
                f"the probe says {answer.choice!r}, which this chart does not offer", ASK_AROUND, *answer.evidence
            )
        return answer

    def question(self) -> Question:
        """``here`` as a question, with why the repository does not answer it."""
        answer = self.probe(self.here)
        choices = self.choices()
        if self.came_back:
            reason = "the chart leads back to this question, and the same answer would go round for ever"
        elif answer is None:
            reason = "no probe is bound to this question"
        else:
            reason = answer.reason
        how = answer.how_to_find_out if answer is not None else ""
        return Question(self.here, self.text(), choices, reason, how or ASK_AROUND)

    def verdict(self) -> Step | None:
        """The step that a given answer or the probe would take from ``here``; ``None`` when nobody knows."""
        given = self.answers.get(self.here)
        if given is not None:
            return self._assumed(given.choice) if given.assumed else self._said(given.choice, given.source)
        answer = self.probe(self.here)
        if answer is None or answer.choice is None or answer.certainty is None:
            return None
        return Step(
            self.here, self.text(), answer.choice, Source.PROBE, answer.certainty, answer.evidence, answer.reason
        )

    def _said(self, choice: str, source: Source) -> Step:
        """A step that somebody decided; the probe's evidence stays unless it proves something else."""
        answer = self.probe(self.here)
        step = Step(self.here, self.text(), choice, source, Certainty.CERTAIN)
        if answer is None:
            return step
        if answer.choice is not None and answer.choice != choice:
            return replace(step, overridden=answer.choice, reason=f"overrides the probe, which says {answer.choice}")
        return replace(step, evidence=answer.evidence, reason=answer.reason if answer.choice else "")

    def _assumed(self, choice: str) -> Step:
        answer = self.probe(self.here)
        evidence = answer.evidence if answer is not None else ()
        reason = "nobody knew; assumed so that the walk could go on"
        return Step(self.here, self.text(), choice, Source.USER, Certainty.LIKELY, evidence, reason, assumed=True)

    def quiet_choice(self) -> str | None:
        """The choice a "don't know" walks on by: the probe's, else the first that reaches no FIX."""
        answer = self.probe(self.here)
        if answer is not None and answer.choice is not None:
            return answer.choice
        for choice in self.choices():
            if not flowchart.is_fix(self.chart, self.ahead(choice)):
                return choice
        return None

    def ahead(self, choice: str) -> str:
        """Where ``choice`` leads from ``here``."""
        return self._settle(flowchart.follow(self.chart, self.here, choice))

    # -- moving

    def take(self, step: Step) -> None:
        """Go from ``here`` along ``step.choice``."""
        node = self.ahead(step.choice)
        self._path.append((self.here, step))
        self.here = node

    def answer(self, choice: str, source: Source = Source.USER) -> Step:
        """Decide ``here`` and remember it. Raises ``UsageError`` for a choice the chart does not have."""
        spelled = check_answer(self.chart, self.here, choice)
        self.answers[self.here] = Given(spelled, source)
        step = self._said(spelled, source)
        self.take(step)
        return step

    def assume(self) -> Step | None:
        """Walk on past a question nobody can answer; ``None`` when every way out of it is a FIX."""
        choice = self.quiet_choice()
        if choice is None:
            return None
        self.answers[self.here] = Given(choice, Source.USER, assumed=True)
        step = self._assumed(choice)
        self.take(step)
        return step

    def renew(self, site: Site) -> None:
        """Look at the target again after its files were changed; the answer that led here is no longer held to."""
        self.site = site
        self._probed.clear()
        if self._path:
            self.answers.pop(self._path[-1][0], None)

    def back(self) -> bool:
        """Return to the last decision and forget its answer; false at the beginning."""
        while self._path:
            node, step = self._path.pop()
            self.passed.discard(node)
            if step is not None:
                self.answers.pop(node, None)
                self.here = node
                return True
        return False

    def go_on(self) -> bool:
        """Leave a FIX by its ``fixed`` edge; false when the chart ends there."""
        node = flowchart.after_fix(self.chart, self.here)
        if node is None:
            return False
        self._path.append((self.here, None))
        self.passed.add(self.here)
        self.here = self._settle(node)
        return True

    def advance(self) -> None:
        """Take every step that is known, up to a FIX, an end, a question nobody answered, or a circle."""
        while self.at_question and not self.came_back:
            step = self.verdict()
            if step is None:
                return
            self.take(step)

    def _skip(self) -> bool:
        """Go past an unanswered question without taking a step; false when there is no way past it."""
        choice = self.quiet_choice()
        if choice is None:
            fixes = [flowchart.follow(self.chart, self.here, choice) for choice in self.choices()]
            beyond = [node for fix in fixes if (node := flowchart.after_fix(self.chart, self._settle(fix))) is not None]
            node = beyond[0] if beyond else None
        else:
            node = flowchart.follow(self.chart, self.here, choice)
        if node is None:
            return False
        self._path.append((self.here, None))
        self.here = self._settle(node)
        return True

    # -- what a FIX says

    def finding(self) -> Finding:
        """The FIX the walk stands at, with its patch against the site's tree, and what ``count`` adds to it."""
        return self.count(self.site, self._finding())

    def _finding(self) -> Finding:
        taken = self._path[-1][1] if self._path else None
        node = taken.node if taken is not None else self.here
        lesson = self.lessons.get(node)
        if taken is None or lesson is None or self.here != lesson.FIX:
            return self._foreign_finding(node, taken)
        answer = Answer(taken.choice, taken.certainty, taken.evidence, taken.reason)
        remedy, patch, files = _made(self.site.tree, self._ask_remedy(lesson, answer))
        return Finding(
            self.here,
            node,
            title(self.chart, self.here),
            lesson.SECTION,
            lesson.ANTI_PATTERN,
            taken.certainty,
            taken.evidence,
            taken.reason,
            remedy,
            patch,
            files,
            _opening(self.skill, lesson.SECTION),
        )

    def _ask_remedy(self, lesson: Lesson, answer: Answer) -> Remedy:
        try:
            remedy = lesson.remedy(self.site, answer)
        except CoachError as error:
            return Remedy(Safety.SHOW, reasons=(str(error),))
        except Exception as defect:  # a missing patch must not hide the finding
            log.debug("remedy %s failed", lesson.FIX, exc_info=True)
            says = f"the patch could not be made ({type(defect).__name__}), which is a defect of coach"
            return Remedy(Safety.SHOW, reasons=(says,))
        if remedy is None:
            says = "nothing in the repository was found that a patch could change; the section says what to do"
            return Remedy(Safety.SHOW, reasons=(says,))
        reasons = tuple(redact.said(reason) for reason in remedy.reasons)
        return replace(remedy, reasons=reasons, guidance=redact.said(remedy.guidance))

    def _foreign_finding(self, node: str, taken: Step | None) -> Finding:
        """A FIX of a chart that no lesson is bound to: its section is the advice."""
        section = self.skill.section_for(self.here, self.text(self.here))
        remedy = Remedy(
            Safety.SHOW,
            reasons=("no patch is written for this FIX",),
            guidance=section.markdown if section is not None else "",
        )
        return Finding(
            self.here,
            node,
            title(self.chart, self.here),
            section.title if section is not None else "",
            "",
            taken.certainty if taken is not None else Certainty.CERTAIN,
            taken.evidence if taken is not None else (),
            taken.reason if taken is not None else "",
            remedy,
            "",
            (),
        )


def _fit_to_show(answer: Answer) -> Answer:
    """The answer with whatever a lesson quoted in it masked: no lesson has to remember that."""
    evidence = tuple(replace(one, text=redact.mask(one.text), says=redact.said(one.says)) for one in answer.evidence)
    reason, how = redact.said(answer.reason), redact.said(answer.how_to_find_out)
    return replace(answer, evidence=evidence, reason=reason, how_to_find_out=how)


def _opening(skill: Skill, heading: str) -> str:
    """The paragraphs a section begins with, up to its first example, list or table."""
    section = skill.sections.get(heading)
    if section is None:
        return ""
    kept: list[str] = []
    for line in section.markdown.strip().splitlines():
        if line.startswith(("```", "~~~", "- ", "* ", "|", "#", "1. ")):
            break
        kept.append(line)
    return "\n".join(kept).strip()


def title(chart: Chart, fix: str) -> str:
    """A FIX's own words, without the code and the word FIX in front, on one line."""
    words = flowchart.text_of(chart, fix) or fix
    for prefix in (f"FIX {fix}", "FIX", fix):
        if words.casefold().startswith(prefix.casefold()):
            rest = words[len(prefix) :].lstrip(" :–—-·.")
            if rest and rest != words:
                words = rest
    return words


def _made(tree: Tree, remedy: Remedy) -> tuple[Remedy, str, tuple[str, ...]]:
    """The remedy with its unified diff and the files it touches; guidance only when no patch can be made."""
    if remedy.safety is Safety.SHOW or not remedy.edits:
        return replace(remedy, safety=Safety.SHOW, edits=()), "", ()
    try:
        before = originals(tree, remedy)
        after = edits.apply_all(before, remedy.edits)
    except CoachError as error:
        return replace(remedy, safety=Safety.SHOW, edits=(), reasons=(*remedy.reasons, str(error))), "", ()
    patch = edits.diff(before, after, redact.holds_secret)
    if patch is None:
        return replace(remedy, reasons=(*remedy.reasons, UNSHOWN)), "", tuple(sorted(after))
    return remedy, patch.decode("utf-8", "surrogateescape"), tuple(sorted(after))


def originals(tree: Tree, remedy: Remedy) -> dict[str, bytes | None]:
    """Content of every file the remedy edits; ``None`` for one that it makes."""
    listed = tree.entries()
    return {edit.path: tree.read(edit.path) if edit.path in listed else None for edit in remedy.edits}


def diagnose(
    site: Site,
    chart: Chart,
    lessons: Iterable[Lesson],
    skill: Skill,
    answers: Mapping[str, Given] | None = None,
    start: str | None = None,
) -> Diagnosis:
    """Walk to the first FIX, unanswered question or end; then on along ``fixed`` for everything further.

    Ends on every chart: a decision is never taken twice.
    """
    walk = Walk(site, chart, lessons, skill, answers, start)
    walk.advance()
    trail = walk.steps
    status = Status.FIX if walk.at_fix else Status.UNDECIDED if walk.at_question else Status.DONE
    pending = walk.question() if status is Status.UNDECIDED else None
    open_questions = [pending] if pending is not None else []
    found: list[Finding] = []
    for _ in range(2 * len(chart)):  # a chart may send a FIX round to itself
        if walk.at_fix:
            finding = walk.finding()
            if all((finding.id, finding.node) != (other.id, other.node) for other in found):
                found.append(finding)
            moved = walk.go_on()
        elif walk.at_question and not walk.came_back:
            question = walk.question()
            if question != pending:
                open_questions.append(question)
            moved = walk._skip()
        else:
            break
        if not moved:
            break
        walk.advance()
    first = found.pop(0) if status is Status.FIX else None
    builds = tuple(site.builds)
    return Diagnosis(
        site.dockerfile.path,
        site.context,
        site.target,
        builds,
        status,
        trail,
        pending,
        tuple(open_questions),
        first,
        tuple(found),
    )


@dataclass(frozen=True, slots=True)
class Applied:
    """A fix taken into the cumulative patch; ``patch`` is the part it added to what came before."""

    target: Key
    finding: Finding
    patch: str


@dataclass(frozen=True, slots=True)
class Cumulative:
    """Fixes put one upon another. ``files`` maps each path to its content before (``None``: new) and after.

    ``held`` are findings that have a patch which ``safety`` or ``only`` left out, ``shown`` those that have
    none, ``open_questions`` what nobody answered. ``notes`` say what was dropped, and why.
    """

    files: Mapping[str, tuple[bytes | None, bytes]]
    applied: tuple[Applied, ...]
    held: tuple[Finding, ...]
    shown: tuple[Finding, ...]
    notes: tuple[str, ...]
    open_questions: tuple[Question, ...] = ()

    @property
    def patch(self) -> bytes | None:
        """All of it as one unified diff; ``None`` when it cannot be written without showing a secret."""
        before = {path: pair[0] for path, pair in self.files.items()}
        return edits.diff(before, {path: pair[1] for path, pair in self.files.items()}, redact.holds_secret)


Choose = Callable[[Key, Finding, Mapping[str, bytes | None], Mapping[str, bytes]], Mapping[str, bytes] | None]
"""``(target, finding, before, after)`` → what to take of ``after``: all, a part, or ``None`` for nothing."""


class StopFixing(Exception):  # noqa: N818 - a signal, not an error
    """Raised by a ``Choose`` to end the piling; what was taken so far stands."""


class _Pile:
    """The files changed so far over one tree, and the books that keep the piling finite."""

    def __init__(self, tree: Tree, discover: Callable[[Tree], Sequence[Site]]) -> None:
        self.tree = tree
        self.discover = discover
        self.changed: dict[str, bytes] = {}
        self.applied: list[Applied] = []
        self.notes: list[str] = []
        self.dropped: set[tuple[Key, str]] = set()
        self.counts: Counter[tuple[Key, str]] = Counter()
        self.sites = self._found({})

    def _found(self, changed: Mapping[str, bytes]) -> dict[Key, Site]:
        over = Overlay(self.tree, changed) if changed else self.tree
        return {key(site): site for site in self.discover(over)}

    def drop(self, target: Key, finding: Finding, why: str) -> None:
        self.dropped.add((target, finding.id))
        self.notes.append(f"{named(target)}: {finding.id} left out: {why}")

    def lay(self, target: Key, finding: Finding, after: Mapping[str, bytes]) -> dict[Key, Site] | None:
        """The sites with ``after`` laid over, or ``None`` and a note when one could no longer be read."""
        try:
            sites = self._found({**self.changed, **after})
        except CoachError as error:
            self.drop(target, finding, f"the result could not be read: {error}")
            return None
        lost = [other for other in self.sites if other not in sites]
        if lost:
            self.drop(target, finding, f"{named(lost[0])} could not be read any more")
            return None
        return sites

    def keep(self, target: Key, finding: Finding, after: Mapping[str, bytes], sites: dict[Key, Site]) -> None:
        self.changed |= after
        self.applied.append(Applied(target, finding, finding.patch))
        self.counts[target, finding.id] += 1
        self.sites = sites

    def files(self) -> dict[str, tuple[bytes | None, bytes]]:
        listed = self.tree.entries()
        pairs = {
            path: (self.tree.read(path) if path in listed else None, after)
            for path, after in sorted(self.changed.items())
        }
        return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def named(target: Key) -> str:
    """A target in a few words."""
    dockerfile, context, stage = target
    return dockerfile + (f" (target {stage})" if stage else "") + (f" from {context}" if context else "")


def take_all(_: Key, __: Finding, ___: Mapping[str, bytes | None], after: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The ``Choose`` that takes every fix as it is."""
    return after


def cumulative_fix(
    tree: Tree,
    discover: Callable[[Tree], Sequence[Site]],
    chart: Chart,
    lessons: Iterable[Lesson],
    skill: Skill,
    answers: Callable[[Site], Mapping[str, Given]],
    *,
    safety: Safety = Safety.SAFE,
    only: Collection[str] = (),
    start: str | None = None,
    printable: bool = False,
    choose: Choose = take_all,
) -> Cumulative:
    """Apply the first fix in memory, look again, apply the next, until no allowed fix is left.

    ``discover`` gives the sites of a tree, in a stable order; it is called again on every changed tree, so
    targets that share a Dockerfile see each other's changes. ``answers`` gives the answers for one site.
    A fix is dropped, with a note, when its probe does not answer another way afterwards (unless it says what it
    leaves as it is) or when a target could no longer be read. ``printable`` leaves out what could not be printed
    without a secret; ``choose`` may take a fix in part, which is then no longer held to change its probe's answer.
    Nothing is written.
    """
    course = tuple(lessons)
    pile = _Pile(tree, discover)
    fixed_nodes: set[tuple[Key, str]] = set()

    looked: dict[Key, tuple[Site, Diagnosis]] = {}

    def look(target: Key) -> Diagnosis:
        site = pile.sites[target]
        if target not in looked or looked[target][0] is not site:
            looked[target] = (site, walk_over(target, site))
        return looked[target][1]

    def walk_over(target: Key, site: Site) -> Diagnosis:
        # an answer given for a decision speaks of the files as they were before its fix
        given = {node: how for node, how in answers(site).items() if (target, node) not in fixed_nodes}
        return diagnose(site, chart, course, skill, given, start)

    def allowed(target: Key, finding: Finding) -> bool:
        fits = finding.remedy.safety is Safety.SAFE or finding.remedy.safety is safety
        writable = bool(finding.patch if printable else finding.remedy.edits)
        return writable and fits and (not only or finding.id in only) and (target, finding.id) not in pile.dropped

    def take(target: Key, finding: Finding) -> bool:
        """Lay one allowed finding onto the pile; false when it had to be dropped."""
        if pile.counts[target, finding.id] >= _ROUNDS_PER_FIX:
            pile.drop(target, finding, "another fix keeps undoing it")
            return False
        site = pile.sites[target]
        before = originals(site.tree, finding.remedy)
        whole = edits.apply_all(before, finding.remedy.edits)
        sites = pile.lay(target, finding, whole)
        if sites is None:
            return False
        if not finding.remedy.rest and not _answers_otherwise(site, sites[target], chart, course, skill, finding):
            pile.drop(target, finding, f"{finding.node} would answer the same after it")
            return False
        part = choose(target, finding, before, whole)
        if part is None:
            pile.dropped.add((target, finding.id))
            return False
        if part != whole:
            pile.dropped.add((target, finding.id))
            sites = pile.lay(target, finding, part)
            if sites is None:
                return False
        pile.keep(target, finding, part, sites)
        fixed_nodes.add((target, finding.node))
        return True

    def one_more(target: Key) -> bool:
        return any(allowed(target, finding) and take(target, finding) for finding in look(target).findings)

    try:
        moved = True
        while moved:
            moved = False
            for target in list(pile.sites):
                while one_more(target):
                    moved = True
    except StopFixing:
        pass
    last = {target: look(target) for target in pile.sites}
    left = [(target, finding) for target, report in last.items() for finding in report.findings]
    held = tuple(found for target, found in left if found.remedy.edits and (target, found.id) not in pile.dropped)
    shown = tuple(finding for _, finding in left if not finding.remedy.edits)
    asked = dict.fromkeys(question for report in last.values() for question in report.open_questions)
    return Cumulative(pile.files(), tuple(pile.applied), held, shown, tuple(pile.notes), tuple(asked))


def _answers_otherwise(
    before: Site, after: Site, chart: Chart, lessons: Iterable[Lesson], skill: Skill, finding: Finding
) -> bool:
    """Whether the probe behind ``finding`` no longer leads to it.

    Unknown counts only where it was unknown before, that is, where a person answered in the probe's place.
    """
    was, now = (Walk(site, chart, lessons, skill).probe(finding.node) for site in (before, after))
    if now is None:
        return False
    if now.choice is None:
        return was is not None and was.choice is None
    return flowchart.follow(chart, finding.node, now.choice) != finding.id
