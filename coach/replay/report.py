"""What a history says about a Dockerfile, per step: how often it reran, why, how often it had to, and patched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from coach import images, order, redact
from coach.dockerfile import Instruction
from coach.manifests import Closure
from coach.model import Reruns
from coach.order import Verdict
from coach.replay.align import Kind, align, stage_name
from coach.replay.cache import Outcome, Policy
from coach.replay.commits import Commit, History, Node
from coach.replay.context import Context, digest
from coach.replay.simulate import Arguments, AsItWas, Fixed, Run, simulate
from coach.site import Site
from coach.steps import Action

TOP_CAUSES = 5


@dataclass(frozen=True, slots=True)
class Count:
    """At how many commits a step ran: for certain, and at most (the rest hangs on the bytes of another stage)."""

    ran: int
    at_most: int

    def __str__(self) -> str:
        return str(self.ran) if self.ran == self.at_most else f"{self.ran}–{self.at_most}"


@dataclass(frozen=True, slots=True)
class Cause:
    """A file (or ``--build-arg NAME``) that changed in ``commits`` of the commits at which a step reran.

    ``needed`` says whether an install needs it; ``None`` for steps of which that is not known.
    """

    what: str
    commits: int
    needed: bool | None


@dataclass(frozen=True)
class StepReplay:
    """One step of today's Dockerfile.

    ``counted`` is the number of commits it was judged at: those that today's file and the patched one can build.
    ``floor`` is at how many of them something changed that the install truly needs (``None``: not an install).
    ``now`` and ``after`` are today's file and the patched one at all of them, ``as_was`` each commit's own file.
    ``strip`` and ``strip_after`` are the outcomes commit by commit. ``seconds`` come from a log.
    """

    line: int
    stage: str
    text: str
    install: str
    counted: int
    now: Count
    as_was: Count | None
    after: Count | None
    floor: int | None
    causes: tuple[Cause, ...]
    strip: tuple[Outcome, ...]
    strip_after: tuple[Outcome, ...]
    strip_as_was: tuple[Outcome, ...]
    seconds: float | None = None
    line_after: int | None = None
    uncertain: tuple[str, ...] = ()


@dataclass(frozen=True)
class Average:
    """Steps rerun per commit under one policy, for certain and at most, now and with the patch; seconds with a log."""

    policy: Policy
    now: tuple[float, float]
    after: tuple[float, float] | None
    seconds_now: tuple[float, float] | None = None
    seconds_after: tuple[float, float] | None = None


@dataclass(frozen=True)
class Replay:
    """The replay of one target over ``commits`` (oldest first; the one before them only warmed the cache)."""

    dockerfile: str
    context: str
    target: str | None
    policy: Policy
    commits: tuple[Commit, ...]
    steps: tuple[StepReplay, ...]
    new_steps: tuple[StepReplay, ...]
    averages: tuple[Average, ...]
    fixes: tuple[str, ...]
    notes: tuple[str, ...]
    patched: bool = False


@dataclass(frozen=True)
class Patched:
    """The target with coach's patch laid over it: which FIX codes are in it, and the content of files it adds."""

    site: Site
    fixes: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def arguments(site: Site) -> Arguments:
    """How the repository builds the target, as far as it tells."""
    moving = frozenset(arg.name for build in site.builds for arg in build.build_args if arg.per_commit)
    return Arguments(site.context, site.target, site.passed, moving, images.base_config)


def fixed(site: Site, files: Mapping[str, bytes] | None = None) -> Fixed:
    """Today's Dockerfile and ignore file, held constant."""
    ignore = (site.ignore.path, site.ignore.content) if site.ignore is not None else None
    return Fixed(arguments(site), site.dockerfile.content, site.path, ignore, files or {})


def replay(
    history: History,
    site: Site,
    patched: Patched | None = None,
    *,
    policy: Policy = Policy.LOCAL,
    policies: Sequence[Policy] = tuple(Policy),
    seconds: Mapping[int, float] | None = None,
    as_it_was: bool = True,
    progress: Callable[[str, int, int], None] = lambda _, __, ___: None,
) -> Replay:
    """Simulate the target over the history. ``seconds`` are by line of today's Dockerfile.

    Raises ``InputError`` where today's Dockerfile cannot be built.
    """
    wanted = list(dict.fromkeys((policy, *policies)))
    total = len(history.commits)
    now = simulate(history, fixed(site), wanted, lambda n: progress("today's Dockerfile", n, total))
    after = None
    if patched is not None:
        scenario = fixed(patched.site, patched.files)
        after = simulate(history, scenario, wanted, lambda n: progress("the patched Dockerfile", n, total))
    was = None
    if as_it_was:
        scenario_was = AsItWas(arguments(site), site.path)
        was = simulate(history, scenario_was, [policy], lambda n: progress("every commit's own", n, total))[policy]
    return _Judge(history, site, patched, policy, now, after, was, seconds or {}).report()


class _Judge:
    def __init__(
        self,
        history: History,
        site: Site,
        patched: Patched | None,
        policy: Policy,
        now: Mapping[Policy, Run],
        after: Mapping[Policy, Run] | None,
        was: Run | None,
        seconds: Mapping[int, float],
    ) -> None:
        self.history = history
        self.site = site
        self.patched = patched
        self.policy = policy
        self.now, self.after, self.was = now, after, was
        self.seconds = seconds
        plan = now[policy].plans[-1]
        assert plan is not None
        self.plan = plan
        self.after_plan = after[policy].plans[-1] if after is not None else None
        self.installs = _installs(site)
        self.aligned: dict[int, dict[int, int]] = {}
        self.after_installs: dict[int, Verdict] = {}
        self.pairs: dict[int, int] = {}
        if self.after_plan is not None and patched is not None:
            self.after_installs = _installs(patched.site)
            self.pairs = align(plan, self.after_plan, _kinds(self.installs), _kinds(self.after_installs))

    def report(self) -> Replay:
        steps = tuple(self._step(index) for index in self.plan.steps)
        new: tuple[StepReplay, ...] = ()
        if self.after_plan is not None:
            known = set(self.pairs.values())
            new = tuple(self._new_step(index) for index in self.after_plan.steps if index not in known)
        return Replay(
            self.site.path,
            self.site.context,
            self.site.target,
            self.policy,
            tuple(self.history.commits[1:]),
            steps,
            new,
            tuple(self._average(policy) for policy in self.now),
            self.patched.fixes if self.patched is not None else (),
            tuple(dict.fromkeys(self._notes())),
            self.patched is not None,
        )

    # -- one step

    def _step(self, index: int) -> StepReplay:
        vertex = self.plan.vertices[index]
        made = vertex.instruction
        assert made is not None
        strip = tuple(outcomes[index] for outcomes in self.now[self.policy].outcomes[1:])
        other = self.pairs.get(index)
        strip_after: tuple[Outcome, ...] = ()
        if other is not None and self.after is not None:
            strip_after = tuple(outcomes[other] for outcomes in self.after[self.policy].outcomes[1:])
        strip_was = self._as_was(index)
        beside = strip_after or (Outcome.CACHED,) * len(strip)
        usable = [Outcome.FAILED not in pair for pair in zip(strip, beside, strict=True)]
        verdict = self.installs.get(made.span.start)
        closure = verdict.closure if verdict is not None else None
        return StepReplay(
            made.line,
            stage_name(self.plan, index),
            shown(made),
            verdict.says if verdict is not None else "",
            sum(usable),
            _count(strip, usable),
            _count(strip_was, [True] * len(strip_was)) if strip_was else None,
            _count(strip_after, usable) if strip_after else None,
            self._floor(verdict, usable, strip, strip_after),
            self._causes(index, strip, usable, closure),
            strip,
            strip_after,
            strip_was,
            self.seconds.get(made.line),
            self._line_after(other),
            closure.uncertain if closure is not None else (),
        )

    def _line_after(self, index: int | None) -> int | None:
        if index is None or self.after_plan is None:
            return None
        made = self.after_plan.vertices[index].instruction
        return made.line if made is not None else None

    def _new_step(self, index: int) -> StepReplay:
        """A step that only the patched Dockerfile has."""
        assert self.after is not None
        assert self.after_plan is not None
        made = self.after_plan.vertices[index].instruction
        assert made is not None
        strip = tuple(outcomes[index] for outcomes in self.after[self.policy].outcomes[1:])
        usable = [outcome is not Outcome.FAILED for outcome in strip]
        count = _count(strip, usable)
        name = stage_name(self.after_plan, index)
        verdict = self.after_installs.get(made.span.start)
        floor = self._floor(verdict, usable, strip)
        says = verdict.says if verdict is not None else ""
        return StepReplay(
            made.line, name, shown(made), says, sum(usable), Count(0, 0), None, count, floor, (), (), strip, (),
            line_after=made.line,
        )  # fmt: skip

    def _as_was(self, index: int) -> tuple[Outcome, ...]:
        if self.was is None:
            return ()
        found: list[Outcome] = []
        for plan, outcomes in zip(self.was.plans[1:], self.was.outcomes[1:], strict=True):
            if plan is None:
                found.append(Outcome.ABSENT)
                continue
            if id(plan) not in self.aligned:
                self.aligned[id(plan)] = align(self.plan, plan, {}, {})
            other = self.aligned[id(plan)].get(index)
            found.append(Outcome.ABSENT if other is None else outcomes[other])
        return tuple(found)

    def _floor(self, verdict: Verdict | None, usable: Sequence[bool], *strips: Sequence[Outcome]) -> int | None:
        """At how many commits a file changed that the install needs; ``None`` where that cannot be told.

        Never more than what a simulation came to: an install that ran less often needs less than its manifests. One
        that compiles, or reads the project's source, has a floor only where a Dockerfile reached it.
        """
        if verdict is None or verdict.closure is None:
            return None
        reached = min((_count(strip, usable).at_most for strip in strips if strip), default=0)
        changed = self._changed(verdict.closure, usable)
        if (verdict.closure.reads_source or verdict.step.action is Action.BUILD) and reached > changed:
            return None
        return min(changed, reached)

    def _changed(self, closure: Closure, usable: Sequence[bool]) -> int:
        context = Context("", None, self.history.blob)
        tree: dict[str, Node] = {}
        wanted = closure.files
        seen: set[str] = set()
        found = 0
        changed = True
        state = ""
        folders = tuple(f"{folder}/" for folder in closure.directories)
        for number, commit in enumerate(self.history.commits):
            touched = (
                [path for path in commit.changes if path in wanted or path.startswith(folders)]
                if folders
                else [path for path in wanted if path in commit.changes]
            )
            for path in touched:
                node = commit.changes[path]
                context.update({path: node})
                if node is not None:
                    tree[path] = node
                else:
                    tree.pop(path, None)
            changed = bool(touched) or number == 0
            if changed:
                parts = [f"{path} {tree.get(path)}" for path in wanted]
                parts += [f"{folder} {context.node(folder)}" for folder in closure.directories]
                state = digest(*parts)
            if number and not usable[number - 1]:
                continue
            if state not in seen:
                found += bool(number)
                if self.policy is not Policy.LOCAL:
                    seen.clear()
                seen.add(state)
        return found

    def _causes(
        self, index: int, strip: Sequence[Outcome], usable: Sequence[bool], closure: Closure | None
    ) -> tuple[Cause, ...]:
        counts: Counter[str] = Counter()
        for causes, outcome, counts_in in zip(self.now[self.policy].causes[1:], strip, usable, strict=True):
            if counts_in and outcome in (Outcome.RAN, Outcome.MAYBE):
                counts.update(causes.get(index, ()))
        top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP_CAUSES]
        return tuple(Cause(what, number, _needed(what, closure)) for what, number in top)

    # -- the whole

    def _average(self, policy: Policy) -> Average:
        usable = self._buildable()
        now = self._rate(self.now[policy], self.plan.steps, usable, {})
        after = seconds_now = seconds_after = None
        cost = {index: spent for index in self.plan.steps if (spent := self._cost(index)) is not None}
        if cost:
            seconds_now = self._rate(self.now[policy], self.plan.steps, usable, cost)
        if self.after is not None and self.after_plan is not None:
            after = self._rate(self.after[policy], self.after_plan.steps, usable, {})
            moved = {self.pairs[index]: spent for index, spent in cost.items() if index in self.pairs}
            if moved:
                seconds_after = self._rate(self.after[policy], self.after_plan.steps, usable, moved)
        return Average(policy, now, after, seconds_now, seconds_after)

    def _cost(self, index: int) -> float | None:
        made = self.plan.vertices[index].instruction
        return self.seconds.get(made.line) if made is not None else None

    def _buildable(self) -> list[bool]:
        runs = [self.now[self.policy], *([self.after[self.policy]] if self.after is not None else [])]
        return [
            all(Outcome.FAILED not in run.outcomes[number] for run in runs)
            for number in range(1, len(self.history.commits))
        ]

    def _rate(
        self, run: Run, steps: Sequence[int], usable: Sequence[bool], cost: Mapping[int, float]
    ) -> tuple[float, float]:
        """Steps (or, with ``cost``, seconds) per commit: for certain, and at most."""
        sure = most = 0.0
        for outcomes, counts_in in zip(run.outcomes[1:], usable, strict=True):
            if not counts_in:
                continue
            for index in steps:
                weight = cost.get(index, 0.0) if cost else 1.0
                sure += weight * (outcomes[index] is Outcome.RAN)
                most += weight * (outcomes[index] in (Outcome.RAN, Outcome.MAYBE))
        number = sum(usable) or 1
        return sure / number, most / number

    def _notes(self) -> list[str]:
        notes = list(self.history.notes)
        usable = self._buildable()
        left_out = usable.count(False)
        if left_out:
            runs = [self.now[self.policy], *([self.after[self.policy]] if self.after is not None else [])]
            files = Counter(path for run in runs for missing in run.missing[1:] for path in dict.fromkeys(missing))
            named = ", ".join(path or "the context" for path, _ in files.most_common(3))
            notes.append(
                f"{left_out} commits cannot be built this way (they have no {named}): left out of the averages"
            )
        notes += [
            f"{self.site.path}:{vertex.instruction.line}: {vertex.unsure}"
            for vertex in self.plan.vertices
            if vertex.unsure and vertex.instruction is not None
        ]
        if self.was is not None:
            why = Counter(words for words in self.was.why[1:] if words)
            notes += [f"{number} commits were not built as they were: {words}" for words, number in why.most_common(3)]
        moving = sorted({name for vertex in self.plan.vertices for name in vertex.per_commit})
        if moving:
            notes.append(f"the builds pass another {', '.join(moving)} at every commit")
        if any(outcome is Outcome.MAYBE for row in self.now[self.policy].outcomes for outcome in row):
            notes.append(
                "a–b: what other stages write is not in git; a if it was the same bytes every time, b if never"
            )
        return notes


def _needed(what: str, closure: Closure | None) -> bool | None:
    if closure is None:
        return None
    return what in closure.files or what.startswith(tuple(f"{folder}/" for folder in closure.directories))


def _count(strip: Sequence[Outcome], usable: Sequence[bool]) -> Count:
    counted = [outcome for outcome, counts_in in zip(strip, usable, strict=True) if counts_in]
    sure = counted.count(Outcome.RAN)
    return Count(sure, sure + counted.count(Outcome.MAYBE))


def shown(instruction: Instruction) -> str:
    """An instruction on one line, flags of mounts left out, secrets masked."""
    flags = [f"--{flag.name}={flag.value}" for flag in instruction.flags if flag.name in ("from",)]
    return redact.shown(" ".join(" ".join([instruction.name, *flags, instruction.value]).split()))


def _installs(site: Site) -> dict[int, Verdict]:
    """Installs by the offset of their RUN; the first of several in one."""
    found: dict[int, Verdict] = {}
    for verdict in order.verdicts(site):
        found.setdefault(verdict.run.instruction.span.start, verdict)
    return found


def _kinds(installs: Mapping[int, Verdict]) -> dict[int, Kind]:
    """What tells one install from another, by the offset of its RUN."""
    return {at: (found.step.manager, found.step.action.value, found.directory) for at, found in installs.items()}


def summary(
    history: History,
    site: Site,
    patched: Patched | None = None,
    progress: Callable[[str, int, int], None] = lambda _, __, ___: None,
) -> tuple[StepReplay, ...]:
    """The installs of the target that reran, the most often first, then those that only the patch has.

    What a finding on layer order may cite.
    """
    found = replay(history, site, patched, policies=(), as_it_was=False, progress=progress)
    ran = [step for step in found.steps if step.install and step.now.at_most]
    new = [step for step in found.new_steps if step.install]
    return (*sorted(ran, key=lambda step: -step.now.at_most), *new)


def reruns(
    history: History,
    site: Site,
    patched: Patched | None = None,
    progress: Callable[[str, int, int], None] = lambda _, __, ___: None,
) -> tuple[Reruns, ...]:
    """``summary`` as a finding carries it."""
    found = summary(history, site, patched, progress)
    return tuple(
        Reruns(
            step.line_after or step.line if new else step.line,
            redact.visible(step.install),
            step.counted,
            None if new else (step.now.ran, step.now.at_most),
            (step.after.ran, step.after.at_most) if step.after is not None else None,
            step.floor,
            sentence(step),
        )
        for step in found
        for new in [not step.strip]
    )


def sentence(step: StepReplay) -> str:
    """One install's count in words."""
    if not step.strip:
        return f"`{redact.visible(step.install)}` is new in this patch: it would have run on {step.after} of them"
    commits = f"your last {step.counted} commits"
    if step.counted < len(step.strip):
        commits = f"the {step.counted} of your last {len(step.strip)} commits that have the files it is given"
    says = f"`{redact.visible(step.install)}` reran on {step.now} of {commits}"
    return says + (f"; with this patch, {step.after}" if step.after is not None else "")
