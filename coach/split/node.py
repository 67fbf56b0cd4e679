"""Node: the install once for building and once for running, and of the build only what it made."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from coach import order
from coach.dockerfile import Instruction
from coach.manifests.node_facts import NodeFacts
from coach.model import Edit, Span
from coach.order import Verdict
from coach.shipped import Shipped, builds_of, dev_installs
from coach.site import Run
from coach.split import deploy, outputs, pnp, production
from coach.split.bare import settle
from coach.split.direct import direct
from coach.split.draft import (
    WORK,
    CannotSplitError,
    Draft,
    Take,
    below,
    build_name,
    free_name,
    inserted,
    insertion,
    kept_name,
    last_work,
    manifest_at,
    owner_of,
    refuse_downloads,
    smaller_base,
)
from coach.split.entry import Entry, entry
from coach.split.outputs import Builds
from coach.split.production import LifecycleError
from coach.split.workspace import UntoldError
from coach.steps import Action, PackageStep

_PRUNE = {"npm": "npm prune --omit=dev", "pnpm": "CI=true pnpm prune --prod"}


@dataclass(frozen=True)
class _Project:
    """The one install of the stage, the packages it serves, and the program that is started."""

    run: Run
    step: PackageStep
    verdict: Verdict
    packages: dict[str, NodeFacts]
    entry: Entry
    workdir: str
    plugged: bool

    @property
    def facts(self) -> NodeFacts:
        return self.packages[self.verdict.directory]

    def place(self, path: str) -> str:
        """Where a path of the repository stands in the container."""
        return posixpath.normpath(
            posixpath.join(self.workdir, posixpath.relpath(path or ".", self.verdict.directory or "."))
        )

    @property
    def environments(self) -> list[str]:
        """Every ``node_modules`` of the project, or what stands in its place, relative to the working directory."""
        if self.plugged:
            return [".pnp.cjs", ".pnp.loader.mjs", ".yarn"]
        lead = self.workdir.rstrip("/") + "/"
        return [f"{self.place(directory)}/node_modules"[len(lead) :] for directory in self.packages]


def node(shipped: Shipped, words: Sequence[str], workdir: str) -> Draft:
    """A runtime stage with production dependencies and what was built, or the sources that run as they are."""
    base = shipped.base
    assert base is not None
    if base.family not in ("node", "bun") or workdir == "/":
        raise CannotSplitError(
            f"{shipped.base_named} is not an image of Node.js or Bun with a working directory of its own"
        )
    refuse_downloads(shipped)
    made = deploy.deployment(shipped, workdir)
    if made is not None:
        return deploy.deployed(shipped, made, words, workdir)
    project = _project(shipped, words, workdir)
    dev = any(dev.through is None for dev in dev_installs(shipped))
    above = [found for found in shipped.stage.body if found.name in WORK]
    after = [found for found in above if found.span.start > project.run.instruction.span.start]
    copied = all(found.name in ("COPY", "ADD") and found.flag("from") is None for found in after)
    if project.plugged and not dev:
        raise CannotSplitError("yarn's Plug'n'Play keeps packages where no copy of node_modules would bring them")
    if copied and not any(builds_of(project.run)):
        draft = _sources(shipped, project, dev)
    else:
        draft = _built(shipped, project, dev)
    start = project.entry
    if project.plugged:
        pnp.archives(shipped, draft, project.run, project.facts)
        start = pnp.started(start, project.workdir, project.facts)
    direct(shipped, draft, start, project.place(start.directory), project.step.manager)
    settle(shipped, draft, workdir, project.packages, project.verdict.directory)
    return draft


def _home(shipped: Shipped) -> str:
    """The image to run on: Bun's own slim one, which holds the same program, as a smaller one of Node.js does."""
    base, written = shipped.base, shipped.lineage[0].base
    if base is not None and base.family == "bun" and base.runtime and not re.search(r"[$@]", written):
        return base.runtime[0]
    return smaller_base(shipped)


def _project(shipped: Shipped, words: Sequence[str], workdir: str) -> _Project:
    installs = [(r, step) for r, step in shipped.installs if step.action is Action.INSTALL and step.ecosystem == "node"]
    if len(installs) != 1 or installs[0][1].directory is None or not below(workdir, installs[0][1].directory):
        raise CannotSplitError("the dependencies are not installed once, in the working directory")
    run, step = installs[0]
    root = step.directory or "/"
    if root == "/":
        raise CannotSplitError("the dependencies are installed in the root of the file system")
    manifest_at(shipped, posixpath.join(root, "package.json"))
    verdict = next((one for one in order.verdicts(shipped.site) if one.step.command is step.command), None)
    if verdict is None or verdict.closure is None:
        raise CannotSplitError("the manifests of the install were not found in the repository")
    packages = production.packages_of(shipped.site.tree, verdict)
    here = posixpath.normpath(posixpath.join(verdict.directory or ".", posixpath.relpath(workdir, root)))
    start = entry(words, shipped.site, packages, "" if here == "." else here)
    start.check(packages)
    plugged = production.plugged(shipped, run, step, packages[verdict.directory])
    return _Project(run, step, verdict, packages, start, root, plugged)


# ---- the program runs from its sources


def _sources(shipped: Shipped, project: _Project, dev: bool) -> Draft:
    """Nothing is built: the install stays behind with the compiler, the sources go to the runtime stage at once."""
    name = kept_name(shipped) or free_name(shipped, "deps", "prod-deps", "dependencies")
    draft = Draft(_home(shipped), project.run.instruction, name, name)
    if dev:
        changed = production.edited(shipped, project.run, project.step, project.facts)
        extra = ""
        try:
            production.check_scripts(shipped, project.step, project.packages)
        except LifecycleError as error:
            if error.made or not production.scriptless(shipped, project.step, project.facts):
                return _pruned(shipped, project, draft.base, last_work(shipped.stage), str(error))
            extra = " --ignore-scripts"
            draft.reasons.append(f"{error}; no production dependency has an install script, so none is run")
        draft.edits.append(_flagged(shipped, project.run, changed, extra))
        draft.reasons.append("every devDependency is left out: the program must not need one to run")
    draft.take(project.workdir, owner=owner_of(shipped, project.workdir, project.run))
    draft.says = f"The dependencies are installed as before; {draft.base} gets them and the sources."
    if not draft.reasons:
        draft.reasons.append(f"{draft.base} holds no compiler: what compiles at run time does not work any more")
    return draft


def _flagged(shipped: Shipped, run: Run, changed: production.Edited, extra: str) -> Edit:
    start = run.offset(changed.start - 1) + 1 if changed.start == changed.end else run.offset(changed.start)
    end = run.offset(changed.end - 1) + 1
    return Edit(shipped.site.path, Span(start, end), (changed.text + extra).encode())


# ---- something is built


def _built(shipped: Shipped, project: _Project, dev: bool) -> Draft:
    base = _home(shipped)
    last = last_work(shipped.stage)
    if not dev:
        name = build_name(shipped)
        draft = Draft(base, last, name, name)
        draft.says = f"The build stays as it is; {base} runs its result."
        _take(shipped, project, draft, "")
        return draft
    extra, doubt = "", ""
    try:
        production.check_scripts(shipped, project.step, project.packages)
    except LifecycleError as error:
        doubt = str(error)
        if not error.made and production.scriptless(shipped, project.step, project.facts):
            extra = " --ignore-scripts"
    early = not project.verdict.wrong and not project.verdict.doubt
    if early and production.repeatable(project.run, project.step) and (not doubt or extra):
        try:
            draft = _twice(shipped, project, base, last, extra)
        except CannotSplitError as error:
            return _pruned(shipped, project, base, last, str(error))
        if doubt:
            draft.reasons.append(f"{doubt}; no production dependency has an install script, so none is run")
        return draft
    return _pruned(shipped, project, base, last, doubt)


def _twice(shipped: Shipped, project: _Project, base: str, last: Instruction, extra: str) -> Draft:
    """The stage cut at its install: manifests, then one install for running and one for building."""
    site, run = shipped.site, project.run
    deps = free_name(shipped, "deps", "dependencies", "manifests")
    prod = free_name(shipped, "prod-deps", "production")
    name = kept_name(shipped) or free_name(shipped, "build", "builder", "compile")
    draft = Draft(base, last, deps, name)
    changed = production.edited(shipped, run, project.step, project.facts)
    edit = _flagged(shipped, run, changed, extra)
    span = run.instruction.span
    content = site.dockerfile.content
    again = content[span.start : edit.span.start] + edit.new + content[edit.span.end : span.end]
    at = insertion(shipped, run.instruction)
    blank = [] if content[:at].replace(b"\r", b"").endswith((b"\n\n", b"\\\n\n")) else [""]
    lines = [f"FROM {deps} AS {prod}", again.decode("utf-8", "surrogateescape"), "", f"FROM {deps} AS {name}"]
    draft.edits.append(inserted(shipped, at, [*blank, *lines]))
    owner = owner_of(shipped, project.workdir, run)
    draft.takes.append(Take(prod, project.workdir, project.workdir, owner))
    _take(shipped, project, draft, prod)
    shown = " ".join(word or "…" for word in project.step.command.words)[:60]
    draft.says = f"`{shown}` runs once for building and once, without devDependencies, for {base}."
    draft.reasons.append("every devDependency is left out: the program must not need one to run")
    return draft


def _pruned(shipped: Shipped, project: _Project, base: str, last: Instruction, doubt: str) -> Draft:
    """Development dependencies taken away once everything is built."""
    prune = _PRUNE.get(project.step.manager)
    if prune is None or (project.step.manager == "pnpm" and (len(project.packages) > 1 or doubt)):
        why = doubt or "the install stands below the source: once it stands above (F2), it can run without them"
        raise CannotSplitError(f"how {project.step.manager} leaves out development dependencies is not certain: {why}")
    name = build_name(shipped)
    draft = Draft(base, last, name, name)
    draft.before.append(f"RUN {prune}")
    draft.reasons.append(f"`{prune}` drops every devDependency: the program must not need one to run")
    if doubt:
        draft.reasons.append(f"{doubt}, so development dependencies are pruned after the build instead of left out")
    _take(shipped, project, draft, "")
    draft.says = f"The build stays as it is; {base} runs its result with production dependencies only."
    return draft


def _take(shipped: Shipped, project: _Project, draft: Draft, prod: str) -> None:
    """Copies of what was built: folders that builds are known to fill, else everything."""
    last = shipped.runs[-1]
    owner = owner_of(shipped, project.workdir, last)
    whole = owner_of(shipped, project.workdir, last, copied=True)
    try:
        made = _made(shipped, project)
    except UntoldError as error:
        if prod:
            folders = " ".join(project.environments)
            draft.before.append(f"RUN rm -rf {folders}")
        draft.take(project.workdir, owner=whole)
        draft.reasons.append(f"all of {project.workdir} is copied: {error}")
        return
    kept: list[str] = []
    standing = {placed.target for placed in project.run.above}
    for directory in project.packages:
        manifest = posixpath.join(project.place(directory), "package.json")
        if not prod or manifest not in standing:
            kept.append(manifest)
        if not prod:
            kept.append(posixpath.join(project.place(directory), "node_modules"))
    if not prod and len(project.packages) > 1:
        # which packages of a workspace have a node_modules of their own is not known beforehand
        draft.take(project.workdir, owner=whole)
        draft.reasons.append(f"all of {project.workdir} is copied: its packages keep dependencies in several places")
        return
    made = [path for path in made if not prod or path not in standing]
    for path in [*kept, *made]:
        draft.take(path, owner=owner)
    listed = ", ".join(posixpath.relpath(path, project.workdir) for path in made)
    draft.reasons.append(f"only {listed} are copied from the build: whatever else is read at run time must be too")


def _made(shipped: Shipped, project: _Project) -> list[str]:
    """Container paths of what the builds fill and of what else may be read. Raises ``UntoldError``."""
    site = shipped.site
    builds = Builds(site, project.packages)
    for run in shipped.runs:
        if run.instruction.span.start < project.run.instruction.span.start:
            continue
        if any(step.via for step in run.steps):
            raise UntoldError(f"line {run.line} builds by a file of its own")
        for command in run.script.commands:
            if command.name is None or (run is project.run and command.start <= project.step.command.start):
                continue
            where = posixpath.relpath(command.cwd or project.workdir, project.workdir)
            directory = posixpath.normpath(posixpath.join(project.verdict.directory or ".", where))
            builds.command(command.words, "" if directory == "." else directory)
    sources = outputs.sources_run(project.packages, site, builds)
    if sources:
        raise UntoldError(f"{sources} is used as TypeScript sources")
    made = [project.place(posixpath.join(root, out)) for root, outs in builds.found.items() for out in sorted(outs)]
    made = sorted(path for path in dict.fromkeys(made) if not any(path != up and below(path, up) for up in made))
    if not made:
        raise UntoldError("nothing that is built leaves a folder that is known")
    if not _starts_in(project, made):
        raise UntoldError("it runs from its sources")
    files = [
        path for path in site.context_files() if below(path, project.verdict.directory) or not project.verdict.directory
    ]
    also = [project.place(path) for path in outputs.extras(builds, files)]
    view = site.layers.view(shipped.stage)
    also = [path for path in also if any(below(place, path) for place in view)]
    return [*made, *(path for path in also if path not in made)]


def _starts_in(project: _Project, made: Sequence[str]) -> bool:
    """Whether the file that is started lies in what was built."""
    start = project.entry
    where = project.place(start.directory)
    if start.name == "next" and "start" in start.words:
        return posixpath.join(where, ".next") in made
    path = posixpath.normpath(posixpath.join(where, start.file))
    return bool(start.file) and any(below(path, folder) for folder in made)
