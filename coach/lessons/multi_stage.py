"""Do build tools stay out of the final image by a separate stage?"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from coach.errors import CoachError, InputError
from coach.images import Role
from coach.model import Answer, Evidence, Remedy, Safety, certain, likely, unknown
from coach.shipped import (
    Build,
    DevInstall,
    Shipped,
    agreed,
    dev_installs,
    is_build,
    later_runtime,
    removes_tools,
    variants,
)
from coach.site import Run, Site
from coach.split import CannotSplitError, plan, sketch
from coach.steps import hidden

NODE = "multi_stage"
FIX = "F4"
SECTION = "Multi-stage builds"
ANTI_PATTERN = "Single-stage with build tools"

_ENOUGH = 12  # places of one kind that are cited; more would not change the answer
_JDK = re.compile(r"(?:openjdk|java-|temurin|zulu|amazon-corretto|jdk)")
_RUN_FROM_SOURCE = (
    "go run",
    "cargo run",
    "mvn spring-boot:run",
    "mvnw spring-boot:run",
    "gradle bootRun",
    "gradlew bootRun",
    "dotnet run",
    "dotnet watch",
    "swift run",
    "sbt run",
)


def probe(site: Site) -> Answer:
    """``no`` when the layers of the image itself compile, or hold what only compiling needs."""
    return agreed([_judge(site, shipped) for shipped in variants(site)])


def _judge(site: Site, shipped: Shipped) -> Answer:
    base = site.cite(shipped.base_line, f"the image is built on {shipped.base_named}")
    behind = later_runtime(site) if site.target else None
    if behind is not None:
        stage, copy = behind
        small = site.cite(stage.head.line, "a separate stage for running", stage.head.end_line)
        takes = site.cite(copy.instruction.line, "takes what was built", copy.instruction.end_line)
        return certain(
            "yes", f"the file splits build and run; this build stops at {site.final.name} all the same", small, takes
        )
    if ".devcontainer" in site.path.split("/"):
        return likely("yes", "a development container is meant to hold its tools", base)
    found, sure = _inside(shipped)
    if found:
        says = found[0].says
        own = len(shipped.lineage) == 1
        where = "the only stage" if own and len(site.dockerfile.stages) == 1 else "a stage whose layers ship"
        nominal = "" if own else "; COPY --from cannot take away what FROM brings along"
        answer = certain if sure else likely
        return answer("no", f"{says} in {where}{nominal}", *dict.fromkeys([*found, base]))
    if shipped.artefacts:
        taken = [
            site.cite(copy.instruction.line, "takes what another stage built", copy.instruction.end_line)
            for copy in shipped.artefacts[:_ENOUGH]
        ]
        return certain("yes", "what runs is copied out of a stage that is not shipped", *taken, base)
    return _nothing_built(shipped, base)


def _inside(shipped: Shipped) -> tuple[list[Evidence], bool]:
    """What speaks for building in the image's own layers, and whether it is beyond doubt."""
    site = shipped.site
    found: list[Evidence] = []
    sure = False
    for build in [build for build in shipped.builds if not _cleans_up(build)][:_ENOUGH]:
        via = f" (in {build.via})" if build.via else ""
        instruction = build.run.instruction
        found.append(site.cite(instruction.line, f"`{build.shown}`{via} builds", instruction.end_line))
        sure = sure or build.sure
    own_dev = [dev for dev in dev_installs(shipped) if dev.through is None]
    for dev in own_dev[:_ENOUGH]:
        instruction = dev.run.instruction
        says = f"`{dev.step.label}` brings development dependencies"
        found.append(site.cite(instruction.line, says, instruction.end_line))
        sure = sure or _certainly_dev(dev)
    for install, names in shipped.packages_like("compilers")[:_ENOUGH]:
        if not shipped.installs and not shipped.builds and all(_JDK.match(name) for name in names):
            continue  # nothing is built here: a JDK runs what was built elsewhere
        if shipped.artefacts and not shipped.installs:
            continue  # whatever is compiled is compiled elsewhere: too much in the image, but split
        instruction = install.run.instruction
        found.append(site.cite(instruction.line, f"{', '.join(names)} installed", instruction.end_line))
        sure = True
    headers = [] if shipped.artefacts else shipped.packages_like("headers")
    for install, names in headers[:_ENOUGH]:
        if any(shipped.installs):
            instruction = install.run.instruction
            found.append(site.cite(instruction.line, f"{', '.join(names)} installed", instruction.end_line))
            sure = True
    start = _compiles_at_start(shipped)
    if start is not None:
        found.append(start)
    return found, sure


def _cleans_up(build: Build) -> bool:
    """Whether the layer that compiles (a server from its sources, say) also drops what it compiled with."""
    return not build.sure and removes_tools(build.run)


def _certainly_dev(dev: DevInstall) -> bool:
    if dev.step.directory is None or dev.step.ecosystem != "node":
        return False
    return posixpath.normpath(posixpath.join(dev.step.directory, "package.json")) in dev.run.files


def _compiles_at_start(shipped: Shipped) -> Evidence | None:
    """The command that builds from source each time a container starts."""
    start = shipped.start
    said = start.command or start.entrypoint
    if said is None or shipped.base is None or shipped.base.role is not Role.SDK:
        return None
    for command in start.script.commands:
        words = [posixpath.basename(word) if at == 0 else word for at, word in enumerate(command.words) if word]
        plain = " ".join(word for word in words if not word.startswith("-"))
        if plain.startswith(_RUN_FROM_SOURCE) or is_build(command.words):
            return shipped.site.cite(said.line, f"`{plain[:40]}` compiles when the container starts", said.end_line)
    return None


def _nothing_built(shipped: Shipped, base: Evidence) -> Answer:
    site = shipped.site
    if not shipped.runs:
        return certain("yes", "nothing is built here: files are only added to a base that runs them", base)
    clean = [build.run for build in shipped.builds if _cleans_up(build)]
    unseen = [(run, reason) for run in shipped.runs if run not in clean for reason in _unseen(site, run)]
    if clean and not unseen:
        says = "the tools it compiles with are removed in the same layer"
        cited = dict.fromkeys(site.cite(run.line, says, run.instruction.end_line) for run in clean)
        return likely("yes", says, *cited, base)
    if unseen:
        run, reason = unseen[0]
        where = site.cite(run.line, "runs something that cannot be followed", run.instruction.end_line)
        return unknown(
            f"a command of the image may build or install: {reason}",
            f"look at what line {run.line} of {site.path} does, and whether it leaves a compiler behind",
            where,
        )
    if any(run.script.broken for run in shipped.runs):
        run = next(run for run in shipped.runs if run.script.broken)
        where = site.cite(run.line, "shell text that cannot be read", run.instruction.end_line)
        return unknown("a RUN holds shell text that cannot be read", f"look at line {run.line} of {site.path}", where)
    if shipped.installs:
        says = "interpreted code with its dependencies: nothing is compiled here"
        return likely(
            "yes", says, *(site.cite(run.line, f"`{step.label}`") for run, step in shipped.installs[:_ENOUGH]), base
        )
    return likely("yes", "no step of the image builds anything", base)


def _unseen(site: Site, run: Run) -> Iterator[str]:
    """Why a command of ``run`` cannot be followed, for each that may build something out of sight."""

    def look(path: str) -> tuple[str, bytes] | None:
        source = run.files.get(posixpath.normpath(path))
        if source is None:
            return None
        try:
            return source, site.read(source)
        except InputError:
            return None

    for item in hidden(run.script, run.state, look):
        yield item.reason
    for command in run.script.commands:
        words = [word for word in command.words if word is None or not word.startswith("-")]
        if words[:1] in (["sh"], ["bash"], ["."], ["source"]):
            words = words[1:]
        if not words:
            continue
        if words[0] is None:
            yield "its name is a variable without a known value"
        elif words[0].startswith("./") or words[0].endswith(".sh"):
            path = posixpath.normpath(posixpath.join(command.cwd or "/", words[0]))
            if path not in run.files:
                yield f"{words[0]} is not one of the files that were copied in"


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """The user's own stage as build stage, and a runtime stage behind it; a sketch where what runs cannot be told."""
    if answer.choice != "no":
        return None
    shipped = Shipped(site)
    try:
        made = plan(shipped)
        after = probe(site.after(made.edits))
        if after.choice != "yes":
            raise CannotSplitError("the image would still hold build tools after the change")
    except CannotSplitError as error:
        return Remedy(Safety.SHOW, reasons=(str(error),), guidance=sketch(shipped))
    except CoachError as error:
        return Remedy(Safety.SHOW, reasons=(error.says,), guidance=sketch(shipped))
    return Remedy(Safety.REVIEW, tuple(made.edits), tuple(made.reasons), made.says)
