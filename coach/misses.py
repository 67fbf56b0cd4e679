"""Where a build left its cache, what that cost, and which FIX it points to: a build log held against the Dockerfile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coach import order, redact
from coach.buildlog import Build, Log, State, Step
from coach.dockerfile import Dockerfile, Graph, Instruction, Stage
from coach.model import Answer, Certainty, Evidence
from coach.order import Verdict
from coach.site import Run, Site
from coach.steps import Action

BIG_CONTEXT = 100_000_000  # bytes; well above what sources alone come to
SLOW = 5.0  # seconds below which a step is not worth a word
_EMULATED = 3.0  # how many times slower than natively
_VERTICES = frozenset({"COPY", "ADD", "RUN", "WORKDIR"})
_CUT = 12  # characters that a cut text has to have left to be recognised


@dataclass(frozen=True, slots=True)
class Placed:
    """A step of a log and the instruction it comes from (``None``: not in this Dockerfile)."""

    step: Step
    instruction: Instruction | None

    @property
    def line(self) -> int | None:
        return self.instruction.line if self.instruction is not None else None


@dataclass(frozen=True, slots=True)
class Pointer:
    """A FIX that a log points to: why, at which line, and the seconds it would save at most (``None``: unknown)."""

    fix: str
    why: str
    line: int
    saves: float | None = None


@dataclass(frozen=True)
class Judgement:
    """One build of a log, judged. ``miss`` is the first step that left the cache, ``why`` the reason in words."""

    build: Build
    placed: tuple[Placed, ...]
    miss: Placed | None
    why: str
    pointers: tuple[Pointer, ...]

    @property
    def seconds(self) -> float:
        """Seconds spent in all steps of the Dockerfile together."""
        return sum(placed.step.seconds or 0.0 for placed in self.placed)


def ran(step: Step) -> bool:
    """Whether work was done for the step."""
    return step.state in (State.DONE, State.ERROR)


# -- which instruction


def place(build: Build, dockerfile: Dockerfile, graph: Graph) -> tuple[Placed, ...]:
    """Every instruction step of a build with its line: by stage and text, else by its number in the stage."""
    return tuple(Placed(step, _instruction(step, dockerfile, graph)) for step in build.instructions)


def _instruction(step: Step, dockerfile: Dockerfile, graph: Graph) -> Instruction | None:
    stages = [stage for stage in dockerfile.stages if _is_called(stage, step.stage, dockerfile)]
    found = [
        (abs(number - step.index), stage.index, instruction)
        for stage in stages
        for number, instruction in _numbered(stage, graph)
        if _same_text(step.text, instruction, graph, stage)
    ]
    if found:
        return min(found, key=lambda one: one[:2])[2]
    word = step.text.split(" ", 1)[0].upper()
    numbered = [
        instruction
        for stage in stages
        for number, instruction in _numbered(stage, graph)
        if number == step.index and instruction.name == word
    ]
    # an index alone tells no stages apart
    return numbered[0] if len(numbered) == 1 and step.text.endswith(("...", "…")) else None


def _is_called(stage: Stage, label: str, dockerfile: Dockerfile) -> bool:
    if not label:
        return len(dockerfile.stages) == 1 or stage.name is None
    return stage.name == label.lower() or (stage.name is None and label == f"stage-{stage.index}")


def _numbered(stage: Stage, graph: Graph) -> Iterable[tuple[int, Instruction]]:
    """The instructions that make vertices, with the number that the log gives them."""
    number = 0 if graph.image(stage) == "scratch" or graph.parent(stage) is not None else 1
    for instruction in stage.body:
        if instruction.name in _VERTICES:
            number += 1
            yield number, instruction


def _same_text(text: str, instruction: Instruction, graph: Graph, stage: Stage) -> bool:
    cut = text.endswith(("...", "…"))
    shown = text.removesuffix("...").removesuffix("…").strip()
    for wanted in _texts(instruction, graph, stage):
        if shown == wanted or (instruction.heredocs and shown.startswith(wanted)):
            return True
        if cut and len(shown) >= _CUT and wanted.startswith(shown):
            return True
    return False


def _texts(instruction: Instruction, graph: Graph, stage: Stage) -> list[str]:
    """How the log may write an instruction: as it stands, and with its variables put in."""
    flags = [f"--{flag.name}" + ("" if flag.value is None else f"={flag.value}") for flag in instruction.flags]
    made = [_flat(" ".join([instruction.name, *flags, instruction.value]))]
    if "$" in made[0] and instruction.name != "RUN":
        state = graph.state(instruction, stage)
        words = [state.expand(word).text for word in (*flags, *instruction.words)]
        if all(word is not None for word in words):
            made.append(_flat(" ".join([instruction.name, *(word or "" for word in words)])))
    return made


def _flat(text: str) -> str:
    return " ".join(text.split())


# -- judging


def judge(build: Build, site: Site | None) -> Judgement:
    """What one build's log says. Without a site, only what the log alone proves."""
    placed = (
        place(build, site.dockerfile, site.graph)
        if site is not None
        else tuple(Placed(step, None) for step in build.instructions)
    )
    miss = _first_miss(placed)
    why = _why(placed, miss, build)
    return Judgement(build, placed, miss, why, tuple(_pointers(build, placed, miss, site)))


def _first_miss(placed: Sequence[Placed]) -> Placed | None:
    """The first step that ran, in the order of the file where its lines are known."""
    running = [one for one in placed if ran(one.step)]
    known = [one for one in running if one.line is not None]
    return min(known, key=lambda one: one.line or 0) if known else next(iter(running), None)


def cold(placed: Sequence[Placed]) -> bool:
    """Whether nothing of the Dockerfile came from a cache, and there was something that could have."""
    ended = [one.step for one in placed if one.step.state is not State.RUNNING]
    return len([step for step in ended if ran(step)]) >= 3 and not any(step.state is State.CACHED for step in ended)


def _why(placed: Sequence[Placed], miss: Placed | None, build: Build) -> str:
    if miss is None:
        return "every step came from the cache" if placed else "the log holds no step of a Dockerfile"
    if cold(placed):
        failed = next((cache for cache in build.caches if cache.kind == "import" and cache.error), None)
        if failed is not None:
            return f"nothing came from a cache: the import failed ({redact.shown(failed.error)})"
        if not any(cache.kind == "import" for cache in build.caches):
            return "nothing came from a cache: none was imported, and the machine had none"
        return "nothing came from a cache: the one that was imported fits no step, or --no-cache was given"
    word = miss.step.text.split(" ", 1)[0].upper()
    if word in ("COPY", "ADD") and "--from=" in miss.step.text:
        return "what it copies from the other stage is not what it was"
    if word in ("COPY", "ADD"):
        return "a file that it copies has changed, or one was added or taken away"
    if word == "RUN":
        return "nothing above it changed: its own text, an ARG or ENV in force, or a file it mounts did"
    return "its text or the user in force changed"


def _pointers(build: Build, placed: Sequence[Placed], miss: Placed | None, site: Site | None) -> Iterable[Pointer]:
    spent = sum(one.step.seconds or 0.0 for one in placed if ran(one.step))
    if miss is not None and cold(placed):
        yield Pointer("F5", "no step came from a cache, so every one of them ran", miss.step.line, spent)
    for cache in build.caches:
        if cache.error:
            yield Pointer("F5", f"the cache {cache.kind} failed: {redact.shown(cache.error)}", cache.line)
    if site is not None and miss is not None and not cold(placed):
        yield from _order(placed, miss, site)
    if site is not None:
        yield from _mounts(placed, site)
    if build.context_bytes is not None and build.context_bytes >= BIG_CONTEXT:
        says = f"{build.context_bytes / 1e6:.0f} MB of build context were sent"
        yield Pointer("F8", says, build.context_line, build.context_seconds)
    yield from _emulation(placed)


def _order(placed: Sequence[Placed], miss: Placed, site: Site) -> Iterable[Pointer]:
    """Installs that ran because something above them changed that they do not need."""
    for verdict in order.verdicts(site):
        if not verdict.wrong:
            continue
        one = _of_run(placed, verdict.run)
        if one is None or not ran(one.step) or one is miss:
            continue
        culprits = [culprit for culprit in verdict.culprits if culprit.instruction is miss.instruction]
        if culprits:
            where = f"{site.path}:{culprits[0].instruction.line}"
            says = f"`{verdict.says}` ran again because {where} brings files it does not need"
            yield Pointer("F2", says, one.step.line, one.step.seconds)


def _mounts(placed: Sequence[Placed], site: Site) -> Iterable[Pointer]:
    for run in site.runs:
        one = _of_run(placed, run)
        if one is None or one.step.state is not State.DONE or (one.step.seconds or 0.0) < SLOW:
            continue
        kept = any(mount.type == "cache" for mount in run.mounts)
        wanted = [
            step for step in run.steps if step.action in (Action.INSTALL, Action.FETCH, Action.BUILD) and step.caches
        ]
        if wanted and not kept:
            says = (
                f"`{wanted[0].manager}` downloaded everything anew in {one.step.seconds:.0f} s, without a cache mount"
            )
            yield Pointer("F3", says, one.step.line)


def _emulation(placed: Sequence[Placed]) -> Iterable[Pointer]:
    """The same step on two platforms, one many times slower than the other."""
    times: dict[tuple[str, str], dict[str, Step]] = {}
    for one in placed:
        if one.step.platform and one.step.state is State.DONE and one.step.text.startswith("RUN"):
            times.setdefault((one.step.stage, one.step.text), {})[one.step.platform] = one.step
    slow = []
    for by_platform in times.values():
        ordered = sorted(by_platform.values(), key=lambda step: step.seconds or 0.0)
        first, last = (ordered[0].seconds or 0.0), (ordered[-1].seconds or 0.0)
        if len(ordered) > 1 and last >= SLOW and last >= _EMULATED * max(first, 0.1):
            slow.append((last - first, ordered[0], ordered[-1]))
    if slow:
        _, fast, step = max(slow, key=lambda one: one[0])
        says = f"`{redact.shown(step.text[:60])}` took {step.seconds:.0f} s on {step.platform}"
        says += f", {fast.seconds:.0f} s on {fast.platform}"
        yield Pointer("F7", says, step.line, sum(one[0] for one in slow))


def _of_run(placed: Sequence[Placed], run: Run) -> Placed | None:
    return next((one for one in placed if one.instruction is run.instruction), None)


def seconds(logs: Iterable[Log], site: Site) -> dict[int, float]:
    """Seconds of each line of the Dockerfile, the mean over all builds in which it ran."""
    found: dict[int, list[float]] = {}
    for log in logs:
        for build in log.builds:
            for one in place(build, site.dockerfile, site.graph):
                if one.line is not None and one.step.state is State.DONE and one.step.seconds is not None:
                    found.setdefault(one.line, []).append(one.step.seconds)
    return {line: sum(times) / len(times) for line, times in sorted(found.items())}


# -- as evidence in a walk


def observed(log: Log, content: bytes, path: str, site: Site) -> Mapping[str, Answer]:
    """What a log says about decisions of the chart, by node. ``path`` is how the log is cited.

    An answer without a choice only brings evidence.
    """
    found: dict[str, Answer] = {}
    rows = content.split(b"\n")

    def cite(line: int, says: str) -> Evidence:
        text = rows[line - 1].decode("utf-8", "replace") if 0 < line <= len(rows) else ""
        return Evidence(path, line, line, redact.shown(text.strip()[:200]), redact.visible(says))

    judged = [judge(build, site) for build in log.builds]
    judged = [one for one in judged if any(placed.instruction is not None for placed in one.placed)]
    if not judged:
        return found
    last = judged[-1]
    if last.miss is not None and cold(last.placed) and log.from_job:
        number = len([one for one in last.placed if ran(one.step)])
        says = f"the first of {number} steps, none of which came from a cache ({last.seconds:.0f} s)"
        found["cold_ci"] = _likely("yes", f"in this job's log, {last.why}", cite(last.miss.step.line, says))
    elif any(cache.error for cache in last.build.caches):
        failed = next(cache for cache in last.build.caches if cache.error)
        found["cold_ci"] = Answer(None, None, (cite(failed.line, f"the cache {failed.kind} failed in this build"),))
    if last.build.context_bytes is not None and last.build.context_bytes >= BIG_CONTEXT:
        amount = f"{last.build.context_bytes / 1e6:.0f} MB"
        found["context"] = _likely(
            "no", f"{amount} of context were sent to the builder", cite(last.build.context_line, f"{amount} sent")
        )
    for node, installs in (("layer_order", _installs(site, wrong=True)), ("cache_mount", _installs(site, wrong=False))):
        slow = [
            cite(one.step.line, f"`{verdict.says}` took {one.step.seconds:.0f} s in this build")
            for verdict in installs
            if (one := _of_run(last.placed, verdict.run)) is not None
            and ran(one.step)
            and (one.step.seconds or 0) >= SLOW
        ]
        if slow:
            found[node] = Answer(None, None, tuple(slow))
    return found


def _likely(choice: str, reason: str, *evidence: Evidence) -> Answer:
    return Answer(choice, Certainty.LIKELY, evidence, reason)


def _installs(site: Site, *, wrong: bool) -> list[Verdict]:
    return [verdict for verdict in order.verdicts(site) if verdict.wrong or not wrong]
