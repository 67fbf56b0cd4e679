"""What the target's image consists of: its base, what its own layers install and build, and what it copies in."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from importlib.resources import files

from coach import images
from coach.dockerfile import Instruction, Stage
from coach.errors import InputError
from coach.images import ImageFacts
from coach.model import Answer, likely, unknown
from coach.shell import Command, Script, parse, parse_argv
from coach.site import Run, Site
from coach.steps import Action, PackageStep

PACKAGE_TOOLS = frozenset({"apt-get", "apt", "aptitude", "apk", "dnf", "yum", "microdnf", "tdnf", "zypper"})
_ADD = frozenset({"install", "add", "in"})
_REMOVE = frozenset({"remove", "purge", "autoremove", "del", "erase"})
_WITH_VALUE = frozenset(
    {"-t", "--target-release", "-o", "--option", "-X", "--repository", "--virtual", "-c", "--root", "-p"}
)
_RUNNERS = frozenset({"npx", "pnpx", "bunx"})
_NODE_FLAGS_WITH_VALUE = frozenset(
    {"--filter", "-F", "-C", "--dir", "--prefix", "-w", "--workspace", "--cwd", "--scope"}
)
_MAX_VARIANTS = 12
_ONE_VARIABLE = re.compile(r"\$\{?\w+\}?")
_NODE_MANAGERS = frozenset({"npm", "pnpm", "yarn", "bun"})
# Where development dependencies are declared, and how.
_DEV_GROUPS = {
    "bundler": ("Gemfile", re.compile(r"\bgroups?\b.{0,200}\b(?:development|test)\b")),
    "composer": ("composer.json", re.compile(r'"require-dev"\s*:\s*\{\s*"')),
    "pipenv": ("Pipfile", re.compile(r"(?m)^\[dev-packages\]\s*\n\s*[\w\x22]")),
}


@lru_cache(maxsize=1)
def _knowledge() -> Mapping[str, Mapping[str, list[str]]]:
    text = (files("coach") / "knowledge" / "build_tools.toml").read_text("utf-8")
    return tomllib.loads(text)


def _listed(kind: str, name: str) -> bool:
    table = _knowledge()[kind]
    if any(fnmatchcase(name, pattern) for pattern in table.get("except", [])):
        return False
    return any(fnmatchcase(name, pattern) for pattern in table["names"])


def is_compiler(package: str) -> bool:
    """Whether an operating system package is a compiler or part of a toolchain."""
    return _listed("compilers", package)


def is_header(package: str) -> bool:
    """Whether an operating system package only matters for compiling (``libpq-dev``, ``openssl-devel`` …)."""
    return _listed("headers", package)


def is_fetcher(package: str) -> bool:
    """Whether an operating system package fetches sources (``git``)."""
    return _listed("fetchers", package)


def runtime_library(package: str, tool: str) -> str | None:
    """The package that holds the library whose headers are ``package``; ``None`` when it is not known."""
    kind = "apk" if tool == "apk" else "apt"
    table: Mapping[str, Mapping[str, Mapping[str, str]]] = _knowledge()["runtime_of"]  # type: ignore[assignment]
    return table[kind]["packages"].get(package)


@dataclass(frozen=True)
class OsPackages:
    """Packages that one command of a RUN installs, without those the same RUN removes again."""

    run: Run
    command: Command
    tool: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Build:
    """One command that turns sources into what runs. ``sure`` is false where only its name says so."""

    run: Run
    words: tuple[str | None, ...]
    sure: bool
    via: str = ""

    @property
    def shown(self) -> str:
        return " ".join(word or "…" for word in self.words[:4])


@dataclass(frozen=True)
class Copy:
    """``COPY --from``: ``source`` is a stage, an image reference, or ``None`` when it cannot be told.

    ``paths`` are absolute paths in the source (``None``: not static), ``target`` the absolute destination.
    """

    instruction: Instruction
    stage: Stage
    source: Stage | str | None
    paths: tuple[str | None, ...]
    target: str | None


@dataclass(frozen=True)
class Start:
    """What the container runs: the last ENTRYPOINT and CMD in force.

    ``words`` is the command line in exec form (a shell form's text is not in it), ``shell`` whether a shell is needed
    to start it, ``script`` its parsed commands. Either instruction is ``None`` when it comes from the base image.
    """

    entrypoint: Instruction | None
    command: Instruction | None
    words: tuple[str, ...]
    shell: bool
    script: Script


class Shipped:
    """Everything the lessons on the final image ask, computed once per site."""

    def __init__(self, site: Site, lineage: tuple[Stage, ...] | None = None) -> None:
        self.site = site
        self.lineage = site.graph.chain(site.final) if lineage is None else lineage
        self.stage = self.lineage[-1]

    @property
    def base_line(self) -> int:
        """Line of the FROM that names the external base image."""
        return self.lineage[0].head.line

    @cached_property
    def base_ref(self) -> str | None:
        """Reference of the base image, ``None`` when it cannot be told."""
        return self.site.graph.image(self.lineage[0])

    @cached_property
    def base(self) -> ImageFacts | None:
        return images.lookup(self.base_ref) if self.base_ref else None

    @property
    def base_named(self) -> str:
        """The base image as a reader should see it."""
        return self.base_ref or self.lineage[0].base

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """RUNs whose layers are in the image."""
        inside = {stage.index for stage in self.lineage}
        return tuple(run for run in self.site.runs if run.stage.index in inside)

    @cached_property
    def packages(self) -> tuple[OsPackages, ...]:
        """What the operating system's package manager adds to the image."""
        return tuple(found for run in self.runs for found in os_packages(run))

    def packages_like(self, *kinds: str) -> list[tuple[OsPackages, tuple[str, ...]]]:
        """Installs with a package of one of ``kinds`` ("compilers", "headers", "fetchers"), and which these are.

        An install behind a condition does not count: it is there for a build that asks for it.
        """
        found = []
        for install in self.packages:
            if install.command.guarded:
                continue
            names = tuple(name for name in install.names if any(_listed(kind, name) for kind in kinds))
            if names:
                found.append((install, names))
        return found

    @cached_property
    def builds(self) -> tuple[Build, ...]:
        """Commands in the image's own layers that turn sources into what runs."""
        return tuple(found for run in self.runs for found in builds_of(run))

    @cached_property
    def copies(self) -> tuple[Copy, ...]:
        """Every ``COPY --from`` of the lineage."""
        return tuple(found for stage in self.lineage for found in copies_of(self.site, stage))

    @cached_property
    def artefacts(self) -> tuple[Copy, ...]:
        """Copies out of a stage that is not part of the image itself."""
        inside = {stage.index for stage in self.lineage}
        return tuple(copy for copy in self.copies if isinstance(copy.source, Stage) and copy.source.index not in inside)

    @cached_property
    def installs(self) -> tuple[tuple[Run, PackageStep], ...]:
        """Language-level dependency installs in the image's own layers."""
        wanted = (Action.INSTALL, Action.NAMED)
        return tuple((run, step) for run in self.runs for step in run.steps if step.action in wanted)

    @cached_property
    def start(self) -> Start:
        return start_of(self.site, self.lineage)

    def instructions(self, name: str) -> list[Instruction]:
        """Instructions of one kind in the lineage, oldest first."""
        return [found for stage in self.lineage for found in stage.body if found.name == name]


def variants(site: Site) -> tuple[Shipped, ...]:
    """What may be shipped: more than one where an unknown variable picks the stage in FROM."""
    todo = [site.graph.chain(site.final)]
    found: list[tuple[Stage, ...]] = []
    while todo and len(found) + len(todo) <= _MAX_VARIANTS:
        lineage = todo.pop(0)
        choices = [stage for stage in site.graph.candidates(lineage[0]) if stage.base != lineage[0].base]
        if not choices or _ONE_VARIABLE.fullmatch(lineage[0].base):
            found.append(lineage)  # a variable alone names an image as well as a stage
        if choices:
            todo += [(*site.graph.chain(choice), *lineage) for choice in choices if choice not in lineage]
    return tuple(Shipped(site, lineage) for lineage in found or [site.graph.chain(site.final)])


def agreed(answers: Sequence[Answer]) -> Answer:
    """One answer for all variants of an image: theirs when they agree, else unknown."""
    first = answers[0]
    if len(answers) == 1:
        return first
    if any(answer.choice != first.choice for answer in answers) or first.choice is None:
        return unknown(
            "the base is picked by a variable without a known value, and the stages it may pick differ",
            "name the value that is built for the image you ship",
            *(answer.evidence[0] for answer in answers if answer.evidence),
        )
    evidence = tuple(dict.fromkeys(item for answer in answers for item in answer.evidence))
    return likely(first.choice, first.reason, *evidence)


def os_packages(run: Run) -> Iterator[OsPackages]:
    """Packages installed by ``run`` that are still there when it is done."""
    added: list[tuple[Command, str, tuple[str, ...], str]] = []
    removed: set[str] = set()
    forgotten: dict[int, set[str]] = {}  # apt installs marked automatic, with what was marked manual again
    for command in run.script.commands:
        if command.name == "apt-mark" and command.words[1:2] == ("auto",):
            forgotten |= {command.start: set() for command, tool, _, _ in added if tool != "apk"}
        elif command.name == "apt-mark" and command.words[1:2] == ("manual",):
            for kept_by_hand in forgotten.values():
                kept_by_hand.update(word for word in command.words[2:] if word)
        if command.name not in PACKAGE_TOOLS:
            continue
        verb, names, group = _package_words(command)
        if verb in _ADD:
            added.append((command, command.name, names, group))
        elif verb in _REMOVE:
            removed.update(names)
            if verb == "autoremove" or {"--auto-remove", "--autoremove"} & set(command.words):
                removed.update(
                    name
                    for install, _, found, _ in added
                    for name in found
                    if name not in forgotten.get(install.start, {name})
                )
    for command, tool, names, group in added:
        if group and group in removed:
            continue
        kept = tuple(name for name in names if name not in removed)
        if kept:
            yield OsPackages(run, command, tool, kept)


def removes_tools(run: Run) -> bool:
    """Whether ``run`` takes away again, in the same layer, packages that it installed for its own work."""
    verbs = {_package_words(command)[0] for command in run.script.commands if command.name in PACKAGE_TOOLS}
    return bool(verbs & _ADD) and bool(verbs & _REMOVE)


def _package_words(command: Command) -> tuple[str, tuple[str, ...], str]:
    """``(verb, package names, apk's virtual group)`` of a package manager command."""
    verb, group, names = "", "", []
    words = iter(command.words[1:])
    for word in words:
        if word is None:
            continue
        if word in ("--virtual", "-t") and command.name == "apk":
            group = next(words, None) or ""
        elif word.startswith("--virtual="):
            group = word.partition("=")[2]
        elif word in _WITH_VALUE:
            next(words, None)
        elif word.startswith("-"):
            continue
        elif not verb:
            verb = word
        else:
            names.append(_bare(word))
    return verb, tuple(names), group


def _bare(package: str) -> str:
    for sign in "=<>~/:":
        package = package.split(sign, 1)[0]
    return package


def builds_of(run: Run) -> Iterator[Build]:
    """Commands of ``run`` that compile or bundle, found by the package knowledge or by name."""
    seen: set[tuple[int, int]] = set()
    for step in run.steps:
        if step.action is Action.BUILD:
            seen.add((step.command.start, step.command.end))
            yield Build(run, step.command.words, True, step.via)
    for command in run.script.commands:
        if (command.start, command.end) in seen or command.name is None:
            continue
        if is_build(command.words):
            yield Build(run, command.words, command.name not in ("make", "gmake"))


def is_build(words: Sequence[str | None]) -> bool:
    """Whether a command line turns sources into what runs."""
    table = _knowledge()["builds"]
    texts = [word or "" for word in words]
    if not texts:
        return False
    name, rest = posixpath.basename(texts[0]), texts[1:]
    if name in _RUNNERS and rest:
        return is_build([word for word in rest if not word.startswith("-")])
    if name in _NODE_MANAGERS:
        return _node_build(name, rest, table["scripts"])
    if name.startswith("python") and rest[:2] == ["-m", "build"]:
        return True
    if name in table["programs"]:
        return not any(word in ("--version", "-v", "-version") for word in rest)
    if name == "nx" and any("build" in re.split(r"[=:,]", word) for word in rest):
        return True  # nx run PROJECT:build, nx run-many --target=build
    plain = [word for word in rest if not word.startswith("-") or word == "--build"]
    return any(
        name == entry.split()[0] and all(word in plain for word in entry.split()[1:]) for entry in table["subcommands"]
    )


def _node_build(manager: str, rest: Sequence[str], scripts: Sequence[str]) -> bool:
    """Whether ``npm run build`` and its many spellings name a script that builds."""
    plain: list[str] = []
    words = iter(rest)
    for word in words:
        if word in _NODE_FLAGS_WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            plain.append(word)
    if plain[:1] in (["exec"], ["dlx"], ["x"]):
        return is_build(plain[1:])
    if plain[:1] == ["workspace"]:
        plain = plain[2:]
    running = next((at for at, word in enumerate(plain) if word in ("run", "run-script")), None)
    if running is not None:
        plain = plain[running + 1 :]
    elif manager == "npm":
        return False
    return bool(plain) and any(fnmatchcase(plain[0], pattern) for pattern in scripts)


def copies_of(site: Site, stage: Stage) -> Iterator[Copy]:
    """Every ``COPY --from`` of one stage."""
    for instruction in stage.body:
        origin = instruction.flag("from") if instruction.name == "COPY" else None
        if origin is None:
            continue
        state = site.graph.state(instruction)
        source = site.graph.source(instruction, stage)
        words = [state.expand(word).text for word in instruction.words]
        paths = tuple(posixpath.normpath("/" + word.lstrip("/")) if word is not None else None for word in words[:-1])
        target = words[-1] if words else None
        if target is not None and not target.startswith("/"):
            target = posixpath.join(state.workdir, target) if state.workdir is not None else None
        if target is not None:
            target = posixpath.normpath(target) + ("/" if words[-1] and words[-1].endswith("/") else "")
        yield Copy(instruction, stage, source, paths, target)


def start_of(site: Site, lineage: Sequence[Stage]) -> Start:
    """The command that a container of the last stage of ``lineage`` runs."""
    entrypoint: Instruction | None = None
    command: Instruction | None = None
    for stage in lineage:
        fresh_entrypoint = False
        for found in stage.body:
            if found.name == "ENTRYPOINT":
                entrypoint, fresh_entrypoint = found, True
            elif found.name == "CMD":
                command = found
        if fresh_entrypoint and command is not None and all(command is not found for found in stage.body):
            command = None  # a new ENTRYPOINT drops the CMD that came with the parent
    words: list[str] = []
    shell = False
    texts = []
    for said in (entrypoint, command):
        if said is None:
            continue
        if said.json:
            words += said.words
        else:
            shell = True
            texts.append(said.value)
            if said is entrypoint:
                break  # a shell-form ENTRYPOINT ignores CMD
    last = command or entrypoint
    state = site.graph.state(last) if last is not None else site.graph.state_at_end(lineage[-1])
    if words and not shell:
        return Start(
            entrypoint, command, tuple(words), _is_shell(words[0]), parse_argv(words, dict(state.env), state.workdir)
        )
    script = parse(" ".join([*words, *texts]), dict(state.env), state.workdir)
    return Start(entrypoint, command, tuple(words), shell, script)


def _is_shell(word: str) -> bool:
    return posixpath.basename(word) in ("sh", "bash", "ash", "dash", "zsh") or word.endswith(".sh")


def covers(path: str, inner: str | None) -> bool:
    """Whether the directory or file ``path`` holds ``inner``; a wildcard in ``path`` counts for its directory."""
    if inner is None:
        return False
    if any(char in path for char in "*?["):
        path = posixpath.dirname(path.split("*")[0].split("?")[0].split("[")[0] + "x")
    path = posixpath.normpath(path)
    return path == "/" or inner == path or inner.startswith(path + "/")


@dataclass(frozen=True)
class DevInstall:
    """An install that brings development dependencies into the image. ``through`` is the copy that carries them."""

    run: Run
    step: PackageStep
    through: Copy | None


def dev_installs(shipped: Shipped) -> Iterator[DevInstall]:
    """Development dependencies in the image: installed in its own layers, or copied out of another stage."""
    site = shipped.site
    for run, step in shipped.installs:
        if step.dev and step.action is Action.INSTALL and has_dev(site, run, step) and not _pruned([run], run, step):
            yield DevInstall(run, step, None)
    for copy in shipped.artefacts:
        assert isinstance(copy.source, Stage)
        inside = {stage.index for stage in site.graph.chain(copy.source)}
        runs = [run for run in site.runs if run.stage.index in inside]
        for run in runs:
            for step in run.steps:
                if not step.dev or step.action is not Action.INSTALL or not has_dev(site, run, step):
                    continue
                carried = any(covers(path, where) for path in copy.paths if path for where in environments(run, step))
                if carried and not _pruned(runs, run, step):
                    yield DevInstall(run, step, copy)


def environments(run: Run, step: PackageStep) -> tuple[str, ...]:
    """Directories that an install fills, where that can be told."""
    if step.directory is None:
        return ()
    if step.manager in _NODE_MANAGERS or step.manager.startswith("yarn"):
        return (posixpath.join(step.directory, "node_modules"),)
    if step.ecosystem == "python":
        virtual = run.state.names().get("VIRTUAL_ENV") or run.state.names().get("UV_PROJECT_ENVIRONMENT")
        if virtual:
            return (posixpath.join(step.directory, virtual),)
        if step.manager in ("uv", "poetry", "pdm", "pipenv"):
            return (posixpath.join(step.directory, ".venv"),)
        return ("/usr/local/lib",)
    if step.ecosystem == "ruby":
        names = run.state.names()
        bundle = names.get("BUNDLE_PATH") or names.get("GEM_HOME") or "/usr/local/bundle"
        return (posixpath.join(step.directory, bundle), posixpath.join(step.directory, "vendor/bundle"))
    return ()


def _pruned(runs: Sequence[Run], run: Run, step: PackageStep) -> bool:
    """Whether a later command takes the development dependencies of ``step`` away again."""
    later = False
    for other in runs:
        later = later or other is run
        if not later:
            continue
        for command in other.script.commands:
            words = [word or "" for word in command.words]
            if other is run and command.start <= step.command.start:
                continue
            if command.name in ("npm", "pnpm", "bun") and "prune" in words:
                return True
            if command.name == "pnpm" and "deploy" in words and {"--prod", "-P"} & set(words):
                return True
            if command.name == "rm" and any(_removes(command, word, run, step) for word in words[1:]):
                return True
        for again in other.steps:
            same = again.manager == step.manager and again.directory == step.directory
            if same and again.action is Action.INSTALL and again.dev is False and again.command != step.command:
                return True
    return False


def _removes(command: Command, word: str, run: Run, step: PackageStep) -> bool:
    """Whether ``rm`` takes the environment that ``step`` filled away as a whole."""
    place = posixpath.normpath(posixpath.join(command.cwd or "/", word))
    return word not in ("", "-rf", "-r", "-f") and place in environments(run, step)


def has_dev(site: Site, run: Run, step: PackageStep) -> bool:
    """Whether the project of ``step`` declares development dependencies; true where its manifest cannot be read."""
    if step.directory is None:
        return True
    name = {"node": "package.json", "javascript": "package.json"}.get(step.ecosystem)
    if name is None and (step.manager in _NODE_MANAGERS or step.manager.startswith("yarn")):
        name = "package.json"
    if name is None and step.ecosystem == "python":
        name = "pyproject.toml"
    if step.manager in _DEV_GROUPS:
        name = _DEV_GROUPS[step.manager][0]
    if name is None:
        return True
    path = run.files.get(posixpath.normpath(posixpath.join(step.directory, name)))
    if path is None:
        return True
    try:
        content = site.read(path).decode("utf-8", "replace")
        if name == "package.json":
            data = json.loads(content)
            return not isinstance(data, dict) or bool(data.get("devDependencies")) or "workspaces" in data
        if step.manager in _DEV_GROUPS:
            return _DEV_GROUPS[step.manager][1].search(content) is not None
        data = tomllib.loads(content)
    except (InputError, ValueError, RecursionError):
        return True
    tool = data.get("tool") if isinstance(data.get("tool"), dict) else {}
    assert isinstance(tool, dict)
    poetry = tool.get("poetry", {})
    if step.manager == "poetry":
        return isinstance(poetry, dict) and bool(poetry.get("group") or poetry.get("dev-dependencies"))
    uv = tool.get("uv", {})
    groups = data.get("dependency-groups", {})
    return bool(groups) or (isinstance(uv, dict) and bool(uv.get("dev-dependencies") or uv.get("workspace")))


def later_runtime(site: Site) -> tuple[Stage, Copy] | None:
    """The slim stage that exists behind a target which stops early, with what it copies from the build.

    Only a stage that compiles nothing itself counts, does not stand on the target, and takes its files from a stage
    that shares its beginnings with the target.
    """
    target = site.final
    mine = {one.index for one in site.graph.chain(target)}
    for stage in list(reversed(site.dockerfile.stages[target.index + 1 :]))[:_MAX_VARIANTS]:
        try:
            other = Site(site.tree, site.dockerfile, site.context, target=stage.name or None, ignore=site.ignore)
        except InputError:
            return None
        if other.final.index != stage.index:
            continue
        shipped = Shipped(other)
        taken = [
            copy
            for copy in shipped.artefacts
            if isinstance(copy.source, Stage) and mine & {one.index for one in other.graph.chain(copy.source)}
        ]
        if taken and not shipped.builds and target.index not in {one.index for one in shipped.lineage}:
            return stage, taken[0]
    return None
