"""One Dockerfile with its context, build sites and manifests: all that a lesson may see."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from coach import dockerignore, edits, images, redact
from coach.dockerfile import BaseConfig, Dockerfile, Graph, Instruction, Mount, Stage, State, mounts
from coach.dockerfile import parse as parse_dockerfile
from coach.dockerignore import IgnoreFile
from coach.errors import InputError
from coach.layers import Layers, Placed
from coach.model import Answer, BuildSite, Edit, Evidence, Skipped, Tree, is_file
from coach.shell import Script, parse, parse_argv
from coach.steps import Hidden, PackageStep, hidden, settings, steps
from coach.tree import Overlay


@dataclass(frozen=True)
class Run:
    """One RUN of a stage that the target needs.

    ``script`` is its parsed shell text (a heredoc's body, an exec form's words), ``steps`` what it installs or
    compiles, ``files`` the context files it sees: container path → repository path, bind mounts included.
    """

    stage: Stage
    instruction: Instruction
    state: State
    mounts: tuple[Mount, ...]
    script: Script
    steps: tuple[PackageStep, ...]
    home: str | None
    _layers: Layers
    _body_at: tuple[int, bytes] | None

    @property
    def line(self) -> int:
        return self.instruction.line

    @cached_property
    def above(self) -> tuple[Placed, ...]:
        """Context files in the layers above this RUN."""
        return self._layers.before(self.stage, self.instruction)

    @cached_property
    def bound(self) -> tuple[Placed, ...]:
        """Context files that its bind mounts show."""
        return tuple(
            placed
            for mount in self.mounts
            for placed in self._layers.mounted(mount, self.instruction, self.stage).placed
        )

    @cached_property
    def files(self) -> Mapping[str, str]:
        return {placed.target: placed.source for placed in (*self.above, *self.bound)}

    def offset(self, at: int) -> int:
        """Byte offset in the Dockerfile of character ``at`` of ``script.source``."""
        if self._body_at is None:
            return self.instruction.offset(at)
        start, body = self._body_at
        return start + len(body.decode("utf-8", "surrogateescape")[:at].encode("utf-8", "surrogateescape"))


class Site:
    """A Dockerfile as it is built: ``context`` is a repository path ("" the root), ``target`` a stage or ``None``.

    ``builds`` are the sites that build it. ``observed`` is what was seen of real builds, by decision: an answer
    without a choice only brings evidence. ``passed`` are the build arguments that are known to be passed. Everything
    derived is computed once, on first use. Raises ``InputError`` where BuildKit refuses the file or the target.
    """

    def __init__(
        self,
        tree: Tree,
        dockerfile: Dockerfile,
        context: str,
        *,
        target: str | None = None,
        builds: tuple[BuildSite, ...] = (),
        ignore: IgnoreFile | None = None,
        context_says: Evidence | None = None,
        skipped: tuple[Skipped, ...] = (),
        observed: Mapping[str, Answer] | None = None,
    ) -> None:
        self.tree = tree
        self.dockerfile = dockerfile
        self.context = context
        self.target = target
        self.builds = builds
        self.ignore = ignore
        self.context_says = context_says
        self.skipped = skipped
        self.observed: Mapping[str, Answer] = observed or {}
        self.passed = build_args(builds, _defaults(dockerfile))
        self.graph = Graph(dockerfile, target, self.passed, _base_config)

    @property
    def path(self) -> str:
        """Repository path of the Dockerfile."""
        return self.dockerfile.path

    @property
    def final(self) -> Stage:
        """The stage that is shipped."""
        return self.graph.final

    @property
    def ci_builds(self) -> tuple[BuildSite, ...]:
        """The build sites on machines that are thrown away after the job."""
        return tuple(build for build in self.builds if build.ci)

    @cached_property
    def layers(self) -> Layers:
        return Layers(self.tree, self.graph, self.context, self.ignore)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Every RUN of every stage the target needs, in file order."""
        found: list[Run] = []
        stored: dict[int, dict[str, str | None]] = {}  # what `npm config set` and its like left behind, per stage
        for stage in self.graph.reachable:
            parent = self.graph.parent(stage)
            kept = dict(stored.get(parent.index, {})) if parent is not None else {}
            for instruction in stage.body:
                if instruction.name == "RUN":
                    found.append(self._run(stage, instruction, kept))
                    kept |= settings(found[-1].script)
            stored[stage.index] = kept
        return tuple(sorted(found, key=lambda run: run.instruction.span.start))

    def runs_of(self, stage: Stage) -> tuple[Run, ...]:
        """The RUNs of one stage, without those of the stages it is built from."""
        return tuple(run for run in self.runs if run.stage.index == stage.index)

    def _run(self, stage: Stage, instruction: Instruction, stored: Mapping[str, str | None]) -> Run:
        state = self.graph.state(instruction)
        mounted = mounts(instruction)
        env, cwd = dict(state.names()), state.workdir
        body = _heredoc_body(self.dockerfile, instruction)
        home = self.home(state, stage)
        env.setdefault("HOME", home)
        if body is not None:
            script = parse(body[1].decode("utf-8", "surrogateescape"), env, cwd)
        elif instruction.json:
            script = parse_argv(instruction.words, env, cwd)
        else:
            script = parse(instruction.value, env, cwd)
        bare = Run(stage, instruction, state, mounted, script, (), home, self.layers, body)
        found = steps(script, _with_home(state, home), lambda path: self._look(bare, path), stored)
        return Run(stage, instruction, state, mounted, script, found, home, self.layers, body)

    def hidden(self, run: Run) -> tuple[Hidden, ...]:
        """Commands of ``run`` that could not be followed although they may install packages."""
        return hidden(run.script, run.state, lambda path: self._look(run, path))

    def _look(self, run: Run, path: str) -> tuple[str, bytes] | None:
        source = run.files.get(posixpath.normpath(path))
        if source is None:
            return None
        try:
            return source, self.tree.read(source)
        except InputError:
            return None

    def home(self, state: State, stage: Stage) -> str | None:
        """HOME of the user in force; ``None`` when it cannot be told."""
        if "HOME" in state.env:
            return state.env["HOME"]
        image = self.graph.root_image(stage) or ""
        if state.user is None and images.lookup(image) is not None:
            return None  # a USER that nobody can tell; whom an image of unknown make runs as is taken for root
        user = (state.user or "root").split(":")[0]
        if user in ("root", "0", ""):
            return "/root"
        accounts = images.users(image)
        # a number is looked up in /etc/passwd like a name
        return next((home for name, (uid, home) in accounts.items() if user in (name, str(uid))), None)

    def after(self, changes: Iterable[Edit]) -> Site:
        """This site with edits laid over its tree; nothing is written. Raises ``InputError`` if they break it."""
        listed = tuple(changes)
        before = {edit.path: self.tree.read(edit.path) if is_file(self.tree, edit.path) else None for edit in listed}
        tree = Overlay(self.tree, edits.apply_all(before, listed))
        return Site(
            tree,
            parse_dockerfile(tree.read(self.path), self.path),
            self.context,
            target=self.target,
            builds=self.builds,
            ignore=dockerignore.find(tree, self.path, self.context),
            context_says=self.context_says,
            skipped=self.skipped,
        )

    def has(self, path: str) -> bool:
        """Whether the repository holds the file ``path``."""
        return is_file(self.tree, path)

    def read(self, path: str) -> bytes:
        """Content of a repository file. Raises ``InputError``."""
        return self.tree.read(path)

    def context_files(self) -> tuple[str, ...]:
        """Repository paths of all files that reach the build context, past the ignore file."""
        return self.layers.context_files

    def cite(self, line: int, says: str, end_line: int | None = None, path: str | None = None) -> Evidence:
        """Evidence at ``line`` of the Dockerfile, or of ``path``; secrets and control characters are masked."""
        path = self.path if path is None else path
        return cite(self.tree, path, line, says, end_line, self.dockerfile if path == self.path else None)


def cite(
    tree: Tree, path: str, line: int, says: str, end_line: int | None = None, dockerfile: Dockerfile | None = None
) -> Evidence:
    """Evidence at ``line`` of any file of the tree. A line past the end is moved to the last one."""
    try:
        content = dockerfile.content if dockerfile is not None else tree.read(path)
    except InputError:
        content = b""
    lines = content.decode("utf-8", "replace").split("\n")
    line = min(max(line, 1), len(lines))
    last = min(max(end_line or line, line), len(lines))
    return Evidence(path, line, last, redact.shown(lines[line - 1].lstrip("\ufeff").strip()), redact.said(says))


def _with_home(state: State, home: str | None) -> State:
    if "HOME" in state.env:
        return state
    return State({**state.env, "HOME": home}, state.args, state.workdir, state.user, state.shell)


def _heredoc_body(dockerfile: Dockerfile, instruction: Instruction) -> tuple[int, bytes] | None:
    """Where the body of ``RUN <<EOF`` starts and its bytes, when the heredoc *is* the script."""
    if not instruction.heredocs or not instruction.value.lstrip().startswith("<<"):
        return None
    first = instruction.heredocs[0]
    if first.end_line <= first.line:
        return None
    span = dockerfile.line_span(first.line, first.end_line - 1)
    return span.start, dockerfile.content[span.start : span.end]


def build_args(
    builds: tuple[BuildSite, ...], defaults: Mapping[str, str | None] | None = None
) -> dict[str, str | None]:
    """Build arguments that every build site passes, and what is known of their values.

    A site that leaves an argument out builds with its default, so the default stands unless all sites pass one. Where
    they pass different ones, the image meant is the plain one: that of the default, else of the first site.
    """
    found: dict[str, dict[str | None, None]] = {}
    for build in builds:
        for arg in build.build_args:
            found.setdefault(arg.name, {})[None if arg.secret or arg.per_commit else arg.value] = None
    everywhere = {name for name in found if all(any(arg.name == name for arg in build.build_args) for build in builds)}
    agreed: dict[str, str | None] = {}
    for name in sorted(everywhere):
        values = tuple(found[name])
        if len(values) > 1 and None not in values and (defaults or {}).get(name) in values:
            continue
        agreed[name] = values[0] if None not in values else None
    return agreed


# An image that nobody knows and that brings Go along is most likely made of one of golang's, which set this.
_UNKNOWN_BASE = BaseConfig(env={"GOPATH": "/go"})


def _base_config(ref: str) -> BaseConfig:
    return images.base_config(ref) or _UNKNOWN_BASE


def _defaults(dockerfile: Dockerfile) -> dict[str, str | None]:
    return {name: raw for item in dockerfile.preamble if item.name == "ARG" for name, raw in item.pairs}
