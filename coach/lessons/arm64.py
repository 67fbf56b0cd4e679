"""How is arm64 built?"""

from __future__ import annotations

import re

from coach import ci
from coach.ci.nouns import NativeArm
from coach.ci.runners import is_self_hosted
from coach.errors import CoachError
from coach.model import Answer, BuildSite, Edit, Evidence, Remedy, Safety, Span, certain, likely, unknown
from coach.platforms import Heavy, builds_arm, heavy, light, names_target, native_builder, on_arm, pinned
from coach.remedies import joined
from coach.site import Site
from coach.steps import Action

NODE = "arm64"
FIX = "F7"
SECTION = "Multi-arch with buildx"
ANTI_PATTERN = "Compiling under QEMU"


def probe(site: Site) -> Answer:
    """``no``, ``native``, ``cross`` or ``qemu``; one emulated build is enough for ``qemu``."""
    builds = site.ci_builds or tuple(build for build in site.builds if build.system in ("bake", "compose"))
    arm = [build for build in builds if builds_arm(build)]
    if not arm:
        return _none(site, builds)
    foreign = [build for build in arm if not on_arm(build) and not native_builder(build)]
    if not foreign:
        evidence = [site.cite(_native_line(build), _native(build), path=build.path) for build in arm]
        if all(on_arm(build) for build in arm):
            return certain("native", "arm64 is built on an arm64 machine", *dict.fromkeys(evidence))
        return likely("native", "the builder has arm64 machines of its own", *dict.fromkeys(evidence))
    note = next((build.unsure("runner") for build in foreign if build.unsure("runner")), None)
    asked = [_asked(site, build) for build in foreign]
    work = heavy(site)
    slow = [item for item in work if not item.pinned]
    if slow:
        shown = [site.cite(i.run.line, f"{i.says} runs for each platform", i.run.instruction.end_line) for i in slow]
        evidence = list(dict.fromkeys([*asked, *_emulators(site, foreign), *shown]))
        reason = f"{slow[0].says} runs emulated for arm64"
        if note is not None:
            return unknown(note.reason, "look up on which machine that job runs", *evidence)
        if all(item.guarded for item in slow):
            return likely("qemu", f"{reason}, where its condition holds", *evidence)
        if all(build.emulation_line for build in foreign):
            return certain("qemu", reason, *evidence)
        return likely("qemu", f"{reason}: no arm64 machine was seen, and BuildKit brings emulators along", *evidence)
    rest = [run for run in site.runs if not pinned(site, run.stage)]
    small = [site.cite(run.line, "runs emulated, but is no compile step", run.instruction.end_line) for run in rest]
    evidence = list(dict.fromkeys([*asked, *_pins(site, work), *small]))
    if not work:
        return likely("cross", "nothing is installed or compiled per platform", *evidence)
    if not all(light(run) for run in rest):
        return likely("cross", "the work that was recognised is done on the builder's own platform", *evidence)
    blind = [item for item in work if not names_target(site, item.run.stage)]
    compiled = [item for item in blind if any(step.action is Action.BUILD for step in item.run.steps)]
    if compiled:
        return likely("cross", f"{compiled[0].says} runs on the builder's platform, but names no target", *evidence)
    return certain("cross", "the work is done on the builder's own platform", *evidence)


def _none(site: Site, builds: tuple[BuildSite, ...]) -> Answer:
    for build in builds:
        note = build.unsure("platforms") or (build.unsure("runner") if not build.platforms else None)
        if note is not None:
            work = heavy(site)
            if work and all(item.pinned and names_target(site, item.run.stage) for item in work):
                says = "the platforms are not spelled out, but the work is done on the builder's own"
                return likely("cross", says, *_pins(site, work))
            return unknown(
                note.reason,
                "run `docker buildx imagetools inspect` on a pushed image and look for linux/arm64",
                site.cite(note.line or build.line, "the platforms are not spelled out", path=build.path),
            )
    if builds:
        seen = (
            site.cite(build.platforms_line or build.line, "builds no arm64 image", path=build.path) for build in builds
        )
        sure = all(build.platforms or (build.ci and is_self_hosted(build.runner) is False) for build in builds)
        return (certain if sure else likely)("no", "no build asks for arm64", *dict.fromkeys(seen))
    return likely("no", "nothing here builds for arm64", site.cite(site.final.head.line, "no build names a platform"))


def _native(build: BuildSite) -> str:
    if on_arm(build):
        return f"runs on {build.runner}"
    return f"has a machine for each platform ({build.keeps_cache or build.driver})"


def _native_line(build: BuildSite) -> int:
    return (build.runner_line if on_arm(build) else build.keeps_cache_line) or build.line


def _asked(site: Site, build: BuildSite) -> Evidence:
    line = build.platforms_line or build.line
    return site.cite(
        line, f"job {build.job} asks for arm64 on {build.runner or 'a machine of another kind'}", path=build.path
    )


def _emulators(site: Site, builds: list[BuildSite]) -> list[Evidence]:
    return [
        site.cite(build.emulation_line, "registers QEMU", path=build.path) for build in builds if build.emulation_line
    ]


def _pins(site: Site, work: tuple[Heavy, ...]) -> list[Evidence]:
    stages = {site.graph.chain(item.run.stage)[0].index: site.graph.chain(item.run.stage)[0] for item in work}
    return [site.cite(stage.head.line, "runs on the builder's own platform") for _, stage in sorted(stages.items())]


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """Cross-compile where the language does it with an edit of the Dockerfile; else a native machine for arm64."""
    if answer.choice != "qemu":
        return None
    slow = [item for item in heavy(site) if not item.pinned]
    try:
        edits = _cross(site, slow)
        if probe(site.after(edits)).choice == "qemu":
            raise CoachError("other stages would still be emulated")
    except CoachError as error:
        builds = [build for build in site.ci_builds if builds_arm(build) and not on_arm(build)]
        if not builds:
            return Remedy(Safety.SHOW, reasons=(error.says,), guidance="Build arm64 on an arm64 machine.")
        made = joined(ci.change(site.tree, build, NativeArm()) for build in builds)
        return Remedy(made.safety, made.edits, (f"not cross-compiled: {error.says}", *made.reasons), made.guidance)
    reason = "the arm64 binary is cross-compiled now: start it once on an arm64 machine before it ships"
    return Remedy(
        Safety.REVIEW,
        tuple(edits),
        (reason,),
        "The compiler runs on the builder's own platform and is told what to build for, so that nothing is emulated.",
    )


def _cross(site: Site, slow: list[Heavy]) -> list[Edit]:
    """Edits that pin Go (CGO off) and .NET stages to the builder and name the target. Raises ``CoachError``."""
    doc = site.dockerfile
    edits: list[Edit] = []
    final = {stage.index for stage in site.graph.chain(site.final)}
    roots: dict[int, str] = {}
    needing: dict[int, Heavy] = {}
    for item in slow:
        root = site.graph.chain(item.run.stage)[0]
        if root.index in final:
            raise CoachError(f"line {item.run.line} works in the stage that ships")
        for step in item.run.steps:
            if step.action in (Action.OS, Action.TOOL):
                continue
            if step.via:
                raise CoachError(f"the compile step hides in {step.via}")
            if step.manager == "go":
                edits += _go(site, item, root.index, roots)
            elif step.manager == "dotnet":
                edits += _dotnet(site, item, root.index, roots)
            else:
                raise CoachError(f"{step.manager} has no cross build that an edit of this file could switch on")
        if not item.run.steps:
            raise CoachError(f"{item.says} has no cross build that an edit of this file could switch on")
        if roots.get(root.index):
            needing.setdefault(root.index, item)
    for index, arguments in roots.items():
        stage = doc.stages[index]
        if stage.platform is not None:
            raise CoachError(f"line {stage.head.line} asks for a platform already")
        at = stage.head.span.start + len("FROM")
        edits.append(Edit(doc.path, Span(at, at), b" --platform=$BUILDPLATFORM"))
        first = needing.get(index)
        if first is None:
            continue
        inside = first.run.stage
        declared = {
            name
            for part in site.graph.chain(inside)
            for item in part.body
            if item.name == "ARG"
            for name, _ in item.pairs
        }
        missing = [name for name in arguments.split() if name not in declared]
        if missing:
            # right above the first step that reads it: everything higher up stays one layer for all platforms
            at = doc.line_span(first.run.line, first.run.line).start
            edits.append(Edit(doc.path, Span(at, at), f"ARG {' '.join(missing)}".encode() + doc.eol))
    return list(dict.fromkeys(edits))


def _go(site: Site, item: Heavy, root: int, roots: dict[int, str]) -> list[Edit]:
    run = item.run
    made: list[Edit] = []
    for step in run.steps:
        if step.manager != "go" or step.action not in (Action.BUILD, Action.NAMED):
            roots.setdefault(root, "")
            continue
        if step.action is Action.NAMED:
            raise CoachError(f"line {run.line} installs a tool that would be built for the target as well")
        env = {**run.state.names(), **step.command.env}
        if env.get("CGO_ENABLED") != "0":
            raise CoachError(f"line {run.line} does not switch cgo off")
        named = dict(step.command.assignments)
        if "GOARCH" in env or not step.command.exact:
            raise CoachError(f"line {run.line} fixes GOARCH")
        words = "GOARCH=$TARGETARCH " if "GOOS" in env else "GOOS=$TARGETOS GOARCH=$TARGETARCH "
        roots[root] = (
            "TARGETARCH" if "GOOS" in env and roots.get(root, "") in ("", "TARGETARCH") else "TARGETOS TARGETARCH"
        )
        at = run.offset(step.command.peeled[0].start if not named else step.command.start)
        made.append(Edit(site.path, Span(at, at), words.encode()))
    return made


def _dotnet(site: Site, item: Heavy, root: int, roots: dict[int, str]) -> list[Edit]:
    run = item.run
    made: list[Edit] = []
    for step in run.steps:
        words = [word or "" for word in step.command.words]
        if step.manager != "dotnet" or len(words) < 2:
            continue
        roots[root] = "TARGETARCH"
        if words[1] not in ("restore", "publish", "build"):
            raise CoachError(f"line {run.line} runs `dotnet {words[1]}`, which would run for the wrong platform")
        if any(re.fullmatch(r"-a|--arch|-r|--runtime", word) for word in words):
            raise CoachError(f"line {run.line} fixes a runtime")
        at = run.offset(step.command.peeled[1].end)
        made.append(Edit(site.path, Span(at, at), b" -a $TARGETARCH"))
    return made
