"""Which installs stand below files they do not need: the question behind layer order, answered per install.

An install is *early enough* when the files in the layers above it (and in its bind mounts) are only its manifest
closure, plus files that ordinary commits leave alone.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coach import manifests
from coach.dockerfile import Instruction, Stage
from coach.layers import SOMEWHERE, Placed
from coach.manifests import Closure
from coach.model import BuildSite
from coach.site import Run, Site
from coach.steps import Action, PackageStep

# Files that ordinary commits leave alone, and folders of such files. What is not listed counts as source.
_STEADY_NAME = re.compile(
    r"""(?:readme|license|licence|copying|notice|authors|changelog|contributing|code_of_conduct|security|version)[^/]*
    |[^/]*\.(?:md|rst|adoc|conf|cfg|ini|cnf|pem|crt|cer|gpg|asc|key|list|sources|repo|patch|diff|tgz|tar|gz|xz|zip|whl
        |jar|deb|rpm|apk|prisma|sql|graphql|proto|env|example|sample|template|service|rules|properties|ttf|woff2?)
    |tsconfig[^/]*\.json|jsconfig\.json|babel\.config\.[^/]+|[^/]*\.config\.(?:[cm]?[jt]s|json|babel)|\.[^/]+
    |(?:makefile|justfile|dockerfile|containerfile|procfile|vagrantfile)[^/]*|[^/]*entrypoint[^/]*|[^/]*\.(?:sh|bash|ps1|bat)
    |(?:webpack|rollup|vite|postcss|tailwind|jest|vitest|svelte|nuxt|next|astro|gulpfile|gruntfile)[^/]*\.[cm]?[jt]s
    |package(?:-lock)?\.json|[^/]*\.lock|lerna\.json|nx\.json|turbo\.json|rush\.json|[^/]*requirements[^/]*\.(?:txt|in)
    |setup\.(?:py|cfg)|pyproject\.toml|go\.(?:mod|sum|work)|cargo\.toml|pom\.xml|[^/]*\.(?:csproj|fsproj|vbproj|sln|slnx|props|targets)
    |(?:build|settings|init)\.gradle(?:\.kts)?|gradlew?|mvnw|build\.sbt|mix\.exs|rebar\.config|caddyfile|crontab[^/]*|[^/]*\.vcl|package\.swift|deno\.jsonc?
    |gemfile[^/]*|composer\.json|manifest\.in|py\.typed|bower\.json|project\.json|global\.json|nuget\.config""",
    re.I | re.X,
)
_STEADY_FOLDER = frozenset(
    {"vendor", "third_party", "patches", ".yarn", ".mvn", "gradle", "certs", "certificates", "docker", ".docker"}
    | {"requirements", "licenses", "prisma", "migrations", ".cargo", "wheels", "wheelhouse", "typings"}
)
_TOOL_FOLDER = frozenset({"bin", "scripts", "script", "hack", "ci", ".ci", "tools"})
_PER_COMMIT_NAME = re.compile(
    r"(?:.*_)?(?:GIT_?(?:SHA|COMMIT|REV|HASH|REF)|COMMIT(?:_?(?:SHA|HASH|ID|REF))?|VCS_REF|REVISION|BUILD_?(?:DATE|TIME|"
    r"TIMESTAMP|NUMBER|NUM|ID)|CACHE_?BUST(?:ER)?|SOURCE_COMMIT)(?:_.*)?",
    re.I,
)
_BUILD_OUTPUT = frozenset({"dist", "build", "out", "output", ".output", ".next", "target"})
_EXAMPLES = 3
_STUB = re.compile(r"\bcargo\s+(?:init|new)\b|\b(?:main|lib)\.rs\b|dummy|\bstub|skeleton", re.I)
# Tools whose projects keep their own source in src/ beside the manifest.
_SRC_LAYOUT = frozenset({"cargo", "maven", "gradle", "sbt"})


@dataclass(frozen=True)
class Culprit:
    """An instruction above an install that brings ``files`` (repository paths) the install does not need."""

    instruction: Instruction
    stage: Stage
    files: tuple[str, ...]

    def examples(self) -> str:
        """The first few paths, and how many more there are."""
        shown = ", ".join(self.files[:_EXAMPLES])
        more = len(self.files) - _EXAMPLES
        return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True)
class Passed:
    """An ARG or ENV above an install whose value changes on every commit, and the build that passes it."""

    instruction: Instruction
    stage: Stage
    name: str
    build: BuildSite | None
    line: int


@dataclass(frozen=True)
class Verdict:
    """One install with what stands above it. ``doubt`` is set when its needs cannot be told."""

    run: Run
    step: PackageStep
    directory: str
    words: tuple[str | None, ...]
    closure: Closure | None
    culprits: tuple[Culprit, ...] = ()
    steady: tuple[str, ...] = ()
    passed: tuple[Passed, ...] = ()
    doubt: str = ""
    kept: bool = False  # a compile step whose downloads sit in a cache mount: wrong order, less pain

    @property
    def wrong(self) -> bool:
        return bool(self.culprits or self.passed)

    @property
    def says(self) -> str:
        """The command as the user wrote it, cut to a readable length."""
        text = " ".join(word or "…" for word in self.step.command.words)
        return text if len(text) <= 60 else text[:59] + "…"


def steady(path: str, context: str = "") -> bool:
    """Whether ordinary commits leave ``path`` alone: documentation, configuration, vendored or binary files."""
    if path.endswith(".exs") and posixpath.basename(posixpath.dirname(path)) == "config":
        return True
    relative = path[len(context) :].lstrip("/") if context and path.startswith(context + "/") else path
    folders, name = posixpath.split(relative)
    parts = set(folders.split("/"))
    tool = "." not in name and bool(_TOOL_FOLDER & parts)  # a script without an ending, as `bin/setup`
    return tool or bool(_STEADY_NAME.fullmatch(name)) or bool(_STEADY_FOLDER & parts)


def verdicts(site: Site) -> tuple[Verdict, ...]:
    """Every step that installs third-party packages from a manifest, in file order, each judged."""
    found: list[Verdict] = []
    for run in site.runs:
        for step in run.steps:
            if step.action not in (Action.INSTALL, Action.FETCH, Action.BUILD) or step.offline:
                continue
            if (step.nothing and step.manager == "go") or step.manager == "ccache":
                continue
            if _fetched_before(site, run, step, found) or _of_output(run, step, found):
                continue
            found.append(_judge(site, run, step))
    return tuple(found)


def _fetched_before(site: Site, run: Run, step: PackageStep, earlier: Sequence[Verdict]) -> bool:
    """Whether the layers below already hold what ``step`` would download: only its own part is left to do."""
    chain = {stage.index for stage in site.graph.chain(run.stage)}
    for verdict in earlier:
        if verdict.run.stage.index not in chain or verdict.step.ecosystem != step.ecosystem:
            continue
        if verdict.run.instruction.span.start > run.instruction.span.start:
            continue
        everywhere = step.action is Action.BUILD or verdict.step.action is Action.FETCH
        same_place = everywhere or verdict.step.directory == step.directory
        if same_place and (verdict.step.action is not Action.BUILD or not verdict.wrong):
            return True
    return False


def _of_output(run: Run, step: PackageStep, earlier: Sequence[Verdict]) -> bool:
    """Whether ``step`` installs a manifest that the build itself wrote, as bundlers do beside their output."""
    here = step.directory
    if here is None or step.ecosystem != "node" or not _BUILD_OUTPUT & set(here.split("/")):
        return False
    above = [posixpath.join(folder, "package.json") for folder in _up_to_output(here)]
    return not any(path in run.files for path in above) and any(
        verdict.step.ecosystem == "node" and verdict.run.stage.index == run.stage.index for verdict in earlier
    )


def _up_to_output(folder: str) -> Iterator[str]:
    """``folder`` and those above it, up to the one that builds write to."""
    while _BUILD_OUTPUT & set(folder.split("/")):
        yield folder
        folder = posixpath.dirname(folder)


def _judge(site: Site, run: Run, step: PackageStep) -> Verdict:
    directory, words = place(site, run, step)
    closure = manifests.closure(site.tree, step.manager, words, directory or "", site.context)
    needed = set(closure.files) if closure else set()
    folders = tuple(f"{folder}/" for folder in closure.directories) if closure else ()

    def spare(placed: Placed) -> bool:
        return (
            placed.source not in needed and not placed.source.startswith(folders)
            if folders
            else (placed.source not in needed)
        )

    compiles = step.action is Action.BUILD
    mounted = any(mount.type == "cache" for mount in run.mounts)
    # what only downloads into a cache mount reruns in no time: source that is bound to it costs nothing
    cheap = compiles or (step.action is Action.FETCH and mounted)
    brought = [placed for placed in (*run.above, *(() if cheap else run.bound)) if spare(placed)]
    steady_files = tuple(dict.fromkeys(p.source for p in brought if steady(p.source, site.context)))
    moving = [p for p in brought if not steady(p.source, site.context)]
    by: dict[int, list[Placed]] = {}
    for placed in moving:
        by.setdefault(placed.by.span.start, []).append(placed)
    if compiles and closure is not None and _compiled_ahead(site, run, step, brought, directory or "", closure):
        # dependencies compiled ahead against a stub: what else stands there is what they are built from
        steady_files, by = (*steady_files, *dict.fromkeys(p.source for p in moving)), {}
    culprits = tuple(
        Culprit(items[0].by, _stage_of(site, items[0].by), tuple(dict.fromkeys(p.source for p in items)))
        for _, items in sorted(by.items())
    )
    doubt = ""
    if closure is None and culprits and step.manager == "go" and _only_standard_library(run, words):
        culprits = ()
    if closure is None and culprits and _of_a_download(site, run, step):
        culprits = ()
    if closure is None and culprits and not _names_a_known_place(site, run, step):
        doubt = f"its manifest is not in the repository, so what `{step.manager}` needs cannot be told"
        culprits = ()
    return Verdict(
        run,
        step,
        directory or "",
        words,
        closure,
        culprits,
        steady_files,
        _per_commit(site, run),
        doubt,
        kept=compiles and mounted,
    )


def _compiled_ahead(
    site: Site, run: Run, step: PackageStep, brought: Sequence[Placed], directory: str, closure: Closure
) -> bool:
    """Whether ``step`` compiles dependencies before the project's own source is there, against a stub of it."""
    if step.manager not in _SRC_LAYOUT:
        return False
    lead = f"{directory}/src/" if directory else "src/"
    if any(placed.source.startswith(lead) for placed in brought):
        return False
    chain = {stage.index for stage in site.graph.chain(run.stage)}
    before = [other for other in site.runs if other.stage.index in chain and other.line <= run.line]
    if any(_STUB.search(other.script.source) for other in before):
        return True
    # a workspace: its members' own source, in the `src` folders beside their manifests
    folders = {posixpath.dirname(path) for path in closure.files if is_manifest(posixpath.basename(path))}
    leads = tuple(f"{folder}/src/" for folder in folders if folder)
    return not any(placed.source.startswith(leads) for placed in brought)


def _of_a_download(site: Site, run: Run, step: PackageStep) -> bool:
    """Whether ``step`` works in a directory that a download filled: somebody else's manifest, pinned or not."""
    here = step.directory
    if here is None or any(path.startswith(f"{here.rstrip('/')}/") for path in run.files):
        return False
    chain = {stage.index for stage in site.graph.chain(run.stage)}
    return any(
        command.name in ("curl", "wget") or (command.name == "git" and "clone" in command.words)
        for other in site.runs
        if other.stage.index in chain and other.line <= run.line
        for command in other.script.commands
    )


def _only_standard_library(run: Run, words: Sequence[str | None]) -> bool:
    """Whether Go files are built by name with no module around them: then nothing else can be imported."""
    named = [word for word in words[2:] if word is not None and word.endswith(".go")]
    return bool(named) and not any(posixpath.basename(path) in ("go.mod", "go.work") for path in run.files)


def _names_a_known_place(site: Site, run: Run, step: PackageStep) -> bool:
    """Whether the whole context stands above: then the manifest, wherever it is made, is not alone there."""
    total = len(site.context_files())
    return total > 0 and len({placed.source for placed in run.above}) > total // 2 and step.via == ""


def _stage_of(site: Site, instruction: Instruction) -> Stage:
    return site.dockerfile.stages[instruction.stage or 0]


def place(site: Site, run: Run, step: PackageStep) -> tuple[str | None, tuple[str | None, ...]]:
    """The repository folder that the step's working directory stands for, and its words with paths as seen there."""
    here: str | None = step.command.cwd or step.directory or run.state.workdir or SOMEWHERE
    directory = None
    while here is not None and directory is None:
        directory = _maps_to(run, here)
        here = posixpath.dirname(here) if here != "/" else None
    where = directory if directory is not None else site.context
    return directory, tuple(_as_seen(run, step, word, where) for word in step.command.words)


def _maps_to(run: Run, here: str) -> str | None:
    lead = here.rstrip("/") + "/"
    best: str | None = None
    for target, source in run.files.items():
        if not target.startswith(lead):
            continue
        inner = target[len(lead) :]
        if source != inner and not source.endswith("/" + inner):
            if "/" not in inner and is_manifest(inner):
                best = best if best is not None else posixpath.dirname(source)
            continue
        folder = source[: -len(inner)].rstrip("/")
        if "/" not in inner and is_manifest(inner):
            return folder
        best = best if best is not None else folder
    return best


_MANIFEST = re.compile(
    r"package\.json|pyproject\.toml|setup\.py|[^/]*requirements[^/]*\.txt|pipfile|go\.mod|go\.work|cargo\.toml|pom\.xml|"
    r"build\.gradle(?:\.kts)?|settings\.gradle(?:\.kts)?|gemfile|composer\.json|[^/]*\.(?:csproj|fsproj|sln|slnx)|mix\.exs|"
    r"build\.sbt|package\.swift|deno\.jsonc?|environment\.ya?ml|pnpm-lock\.yaml|[^/]*\.cabal|cabal\.project|stack\.yaml",
    re.I,
)


def is_manifest(name: str) -> bool:
    """Whether a file of this name declares dependencies."""
    return bool(_MANIFEST.fullmatch(name))


def _as_seen(run: Run, step: PackageStep, word: str | None, directory: str) -> str | None:
    """``word`` with a container path replaced by the repository path it stands for, relative to ``directory``."""
    if word is None or not word or word.startswith("--"):
        return word
    glued = re.match(r"-[rce](?=[^\s-])", word)
    lead, path = (glued[0], word[2:]) if glued else ("", word)
    cwd = step.command.cwd or step.directory or run.state.workdir
    if not path.startswith("/") and cwd is None:
        return word
    full = posixpath.normpath(posixpath.join(cwd or "/", path))
    source = run.files.get(full)
    return word if source is None else lead + posixpath.relpath(source, directory or ".")


def _per_commit(site: Site, run: Run) -> tuple[Passed, ...]:
    """ARGs and ENVs in scope of ``run`` that the builds fill with another value on every commit."""
    found: list[Passed] = []
    for stage in site.graph.chain(run.stage):
        for instruction in stage.body:
            if instruction.span.start >= run.instruction.span.start or instruction.name != "ARG":
                continue
            for name, _ in instruction.pairs:
                for build in site.builds:
                    arg = next((arg for arg in build.build_args if arg.name == name), None)
                    if arg is not None and (arg.per_commit or (arg.value is None and _PER_COMMIT_NAME.fullmatch(name))):
                        found.append(Passed(instruction, stage, name, build, arg.line))
                        break
    own = {item.name: item for item in found}
    return tuple(own[name] for name in own if stage_scope(own[name], run))


def stage_scope(passed: Passed, run: Run) -> bool:
    """An ARG reaches only the RUNs of its own stage (an ENV made of it would reach further)."""
    return passed.stage.index == run.stage.index
