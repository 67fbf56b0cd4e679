"""A Dockerfile as the vertices BuildKit solves, each with what enters its cache key.

Follows ``frontend/dockerfile/dockerfile2llb/convert.go``, ``client/llb`` and ``solver/llbsolver/ops`` of moby/buildkit.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from coach.dockerfile import BaseConfig, Dockerfile, Graph, Instruction, Mount, Stage, State, mounts
from coach.replay.context import Selection, clean, digest

_REMOTE = re.compile(r"(?:[a-z][a-z0-9+.-]*://|git@)", re.I)
_WINDOWS = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Input:
    """Another stage (its last vertex, ``None`` for an empty one) whose content at some path is copied or mounted."""

    vertex: int | None
    path: str


@dataclass(frozen=True, slots=True)
class Vertex:
    """One operation. ``token`` stands for all of its definition but its inputs.

    ``parent`` is the vertex below it in the chain (``None``: nothing), ``reads`` what it takes of the context, by
    content, ``inputs`` what it takes of other stages. ``per_commit`` names the build arguments in its definition
    that differ on every commit. ``instruction`` is ``None`` for what no line of the file stands for.
    """

    kind: str
    stage: Stage
    instruction: Instruction | None
    token: str
    parent: int | None
    reads: tuple[Selection, ...] = ()
    inputs: tuple[Input, ...] = ()
    per_commit: tuple[str, ...] = ()
    unsure: str = ""


@dataclass(frozen=True)
class Plan:
    """All vertices of one build, inputs before what uses them.

    ``final`` is the last one (``None``: the image is empty), ``chain`` those whose results are layers of the image.
    """

    dockerfile: Dockerfile
    graph: Graph
    vertices: tuple[Vertex, ...]
    final: int | None
    chain: frozenset[int]
    steps: tuple[int, ...]

    @cached_property
    def definitions(self) -> tuple[str, ...]:
        """One name for each vertex, whatever the files hold. Two that share it are one and the same to BuildKit."""
        found: list[str] = []

        def of(index: int | None) -> str:
            return "" if index is None else found[index]

        for vertex in self.vertices:
            copied = [part for one in vertex.inputs for part in (of(one.vertex), one.path)]
            found.append(digest(vertex.token, of(vertex.parent), repr(vertex.reads), *copied))
        return tuple(found)

    def vertex_of(self, instruction: Instruction) -> int | None:
        """The vertex an instruction of the file makes."""
        return next((index for index in self.steps if self.vertices[index].instruction is instruction), None)


@dataclass
class _Place:
    """What is in force along a stage, as far as it enters keys. ``None`` is what the base image brings."""

    last: int | None = None
    env: tuple[str, ...] = ()
    image_env: tuple[str, ...] = ()
    user: str | None = None
    cwd: str | None = None
    chain: tuple[int, ...] = ()

    def copy(self) -> _Place:
        return _Place(self.last, self.env, self.image_env, self.user, self.cwd, self.chain)


def plan(
    dockerfile: Dockerfile,
    target: str | None = None,
    build_args: Mapping[str, str | None] | None = None,
    per_commit: Collection[str] = (),
    base_config: Callable[[str], BaseConfig | None] = lambda _: None,
) -> Plan:
    """The vertices that the target needs. Raises ``InputError`` where BuildKit refuses the file or the target.

    ``per_commit`` are build arguments that are passed another value on every commit.
    """
    return _Planner(dockerfile, target, dict(build_args or {}), frozenset(per_commit), base_config).run()


_MARK = "\ue010"  # stands around the name of an argument whose value differs on every commit
_MARKED = re.compile(f"{_MARK}([^{_MARK}]*){_MARK}")


class _Planner:
    def __init__(
        self,
        dockerfile: Dockerfile,
        target: str | None,
        build_args: dict[str, str | None],
        per_commit: frozenset[str],
        base_config: Callable[[str], BaseConfig | None],
    ) -> None:
        passed = {**build_args, **{name: f"{_MARK}{name}{_MARK}" for name in sorted(per_commit)}}
        self.dockerfile = dockerfile
        self.graph = Graph(dockerfile, target, passed, base_config)
        self.vertices: list[Vertex] = []
        self.ends: dict[int, _Place] = {}
        self.numbers: dict[int, int] = {}
        self.steps: list[int] = []

    def run(self) -> Plan:
        for stage in self.graph.reachable:
            self.ends[stage.index] = self.stage(stage)
        end = self.ends[self.graph.final.index]
        return Plan(
            self.dockerfile, self.graph, tuple(self.vertices), end.last, frozenset(end.chain), tuple(self.steps)
        )

    def add(
        self,
        kind: str,
        stage: Stage,
        instruction: Instruction | None,
        definition: tuple[str, ...],
        parent: int | None,
        reads: tuple[Selection, ...] = (),
        inputs: tuple[Input, ...] = (),
        unsure: str = "",
    ) -> int:
        named = tuple(dict.fromkeys(name for text in definition for name in _MARKED.findall(text)))
        self.vertices.append(
            Vertex(kind, stage, instruction, digest(kind, *definition), parent, reads, inputs, named, unsure)
        )
        index = len(self.vertices) - 1
        if instruction is not None:
            self.steps.append(index)
        return index

    # -- stages

    def stage(self, stage: Stage) -> _Place:
        graph = self.graph
        parent = graph.parent(stage)
        # an unknown variable in FROM may pick among stages: the last of them stands for all
        if parent is None and graph.candidates(stage):
            parent = graph.candidates(stage)[-1]
        if parent is not None and parent.index in self.ends:
            place = self.ends[parent.index].copy()
            # what the image carries is set once more at the start of a stage
            for name in place.image_env:
                place.env = (*(other for other in place.env if other != name), name)
        else:
            place = _Place()
            image = graph.image(stage)
            if image != "scratch":
                platform = graph.platform(stage) or ""
                place.last = self.add("from", stage, None, (image or stage.base, platform), None)
                place.chain = (place.last,)
        platform = graph.platform(stage) or ""
        for instruction in (*graph.inherited(stage), *stage.body):
            self.step(stage, instruction, place, platform)
        return place

    def step(self, stage: Stage, instruction: Instruction, place: _Place, platform: str) -> None:
        name = instruction.name
        if name not in ("ARG", "ENV", "USER", "WORKDIR", "COPY", "ADD", "RUN"):
            return
        state = self.graph.state(instruction, stage)
        if name in ("ARG", "ENV"):
            for key, raw in instruction.pairs:
                full = state.expand(key).text or key if name == "ENV" else key
                if name == "ARG" and raw is None and self._valueless(instruction, stage, full):
                    continue
                place.env = (*(other for other in place.env if other != full), full)
                if name == "ENV" and full not in place.image_env:
                    place.image_env = (*place.image_env, full)
        elif name == "USER":
            place.user = self.text(instruction.value, state)
        elif name == "WORKDIR":
            self.workdir(stage, instruction, place, state, platform)
        elif name == "RUN":
            self.command(stage, instruction, place, state, platform)
        else:
            self.copy(stage, instruction, place, state, platform)

    def _valueless(self, instruction: Instruction, stage: Stage, name: str) -> bool:
        """Whether an ARG has no value at all after it was declared: then it enters nothing."""
        commands = (*self.graph.inherited(stage), *stage.body)
        after = commands[commands.index(instruction) + 1 :]
        state = self.graph.state(after[0], stage) if after else self.graph.state_at_end(stage)
        return state.names().lacks(name) or name not in state.names()

    def text(self, word: str, state: State) -> str:
        """``word`` expanded; where that cannot be told, the word with all it may hang on."""
        found = state.expand(word).text
        if found is not None:
            return found
        scope = state.names()
        return digest("unknown", word, *(f"{name}={scope[name]}" for name in sorted(scope)))

    def environment(self, place: _Place, state: State) -> tuple[str, ...]:
        """The environment in the order in which it was set, which is part of the key."""
        scope = state.names()
        return tuple(f"{name}={scope.get(name)}" for name in place.env if not scope.lacks(name))

    # -- instructions

    def workdir(self, stage: Stage, instruction: Instruction, place: _Place, state: State, platform: str) -> None:
        wanted = self.text(instruction.value, state)
        absolute = wanted.startswith("/") or _WINDOWS.match(wanted)
        cwd = wanted if absolute else posixpath.join(_cwd(place, state), wanted)
        place.cwd = posixpath.normpath(cwd) if cwd.startswith("/") else cwd
        if place.cwd == "/":
            return
        place.last = self.add("workdir", stage, instruction, (place.cwd, place.user or "", platform), place.last)
        place.chain = (*place.chain, place.last)

    def copy(self, stage: Stage, instruction: Instruction, place: _Place, state: State, platform: str) -> None:
        words = [self.text(word, state) for word in instruction.words]
        known = all(state.expand(word).text is not None for word in instruction.words[:-1])
        target = words[-1]
        if not target.startswith("/") and not _WINDOWS.match(target):
            kept = "/" if target.endswith(("/", "/.")) or target in (".", "") else ""
            target = posixpath.normpath(posixpath.join(_cwd(place, state), target)) + kept
        settings = [
            f"{flag.name}={self.text(flag.value, state) if flag.value is not None else ''}"
            for flag in instruction.flags
            if flag.name not in ("from", "link") and flag.value != "false"
        ]
        bodies: list[str] = []
        sources: list[str] = []
        if instruction.heredocs:
            named = {heredoc.name: heredoc for heredoc in instruction.heredocs}
            for heredoc in named.values():
                body = heredoc.body
                if heredoc.expand:
                    # variables in a heredoc are expanded, quotes are not removed: the scope stands for the result
                    body += "\n".join(f"{name}={state.names().get(name)}" for name in _names(body))
                bodies += [heredoc.name, str(heredoc.strip_tabs), body]
        for word in words[:-1]:
            if word.startswith("<<"):
                continue
            if instruction.name == "ADD" and _REMOTE.match(word):
                bodies.append(word)
            else:
                sources.append(word)
        parents = any(flag.name == "parents" and flag.value != "false" for flag in instruction.flags)
        exclude = tuple(self.text(value, state) for value in instruction.flag_values("exclude"))
        paths = tuple(word if parents else clean(word) for word in sources)
        bases = tuple(path if parents else posixpath.basename(path) or "/" for path in paths)
        origin = instruction.flag("from")
        reads: tuple[Selection, ...] = ()
        inputs: tuple[Input, ...] = ()
        unsure = ""
        if origin is not None:
            source = self._stage(self.text(origin.value or "", state), stage)
            if isinstance(source, Stage):
                inputs = (Input(self.ends[source.index].last, "\n".join(paths)),)
            else:
                bodies += ["image", source or "", *paths]
        elif not known:
            reads = (Selection((), whole=True),)
            unsure = "a source holds a variable with no known value: the whole context is taken for it"
        elif paths:
            reads = (Selection(tuple(clean(path) for path in paths), exclude, parents),)
        link = any(flag.name == "link" and (flag.value or "true") == "true" for flag in instruction.flags)
        link = link and instruction.flag("chmod") is None  # the frontend copies in the ordinary way then
        definition = (instruction.name, target, platform, *settings, *bases, "", *bodies)
        made = self.add(
            instruction.name.lower(),
            stage,
            instruction,
            definition,
            None if link else place.last,
            reads,
            inputs,
            unsure,
        )
        place.chain = (*place.chain, made)
        if link and place.last is not None:
            made = self.add("merge", stage, None, (), place.last, (), (Input(made, ""),))
            place.chain = (*place.chain, made)
        place.last = made

    def _stage(self, name: str, stage: Stage) -> Stage | str | None:
        source = self.graph.source(name, stage)
        if isinstance(source, Stage) and source.index not in self.ends:
            return f"stage {source.index}"
        return source

    def command(self, stage: Stage, instruction: Instruction, place: _Place, state: State, platform: str) -> None:
        definition = [
            *_arguments(instruction, state.shell),
            "env",
            *self.environment(place, state),
            "meta",
            str(place.user),
            _cwd(place, state),
            platform,
        ]
        for name in ("network", "security", "device"):
            definition += [
                f"{name}={value}" for value in instruction.flag_values(name) if value not in ("default", "sandbox")
            ]
        whole: list[str] = []
        inputs: list[Input] = []
        mounted: list[tuple[str, tuple[str, ...]]] = []
        for mount in mounts(instruction):
            options = {name: self.text(value, state) for name, value in mount.options.items()}
            target = options.get("target", "")
            if target and not target.startswith("/"):
                target = posixpath.join(_cwd(place, state), target)
            target = posixpath.normpath(target) if target else ""
            if mount.type == "secret" and not target and "env" not in options:
                target = f"/run/secrets/{_secret(options)}"
            mounted.append((target, _mount_key(mount, options, target)))
            source = options.get("source", "")
            if options.get("from"):
                other = self._stage(options["from"], stage)
                # a mount names a stage, never its number
                if isinstance(other, Stage) and other.name == options["from"].lower():
                    inputs.append(Input(self.ends[other.index].last, source))
                else:
                    mounted.append((target, ("image", options["from"], source)))
            elif mount.type == "bind":
                whole.append(clean(source))
        for target, parts in sorted(mounted):
            definition += ["mount", target, *parts]
        # all mounts of the context are one input, and a path inside another one adds nothing
        kept = [path for path in dict.fromkeys(whole) if not _inside_another(path, whole)]
        reads = (Selection(tuple(kept)),) if kept else ()
        place.last = self.add("run", stage, instruction, tuple(definition), place.last, reads, tuple(inputs))
        place.chain = (*place.chain, place.last)


def _inside_another(path: str, paths: list[str]) -> bool:
    return any(other != path and (not other or path.startswith(f"{other}/")) for other in paths)


def _mount_key(mount: Mount, options: Mapping[str, str], target: str) -> tuple[str, ...]:
    """What of a mount enters the key, whatever order its options are written in."""
    kind = mount.type
    if kind == "cache":
        default = options.get("id", target) in (target, "") and options.get("sharing", "shared") == "shared"
        made = tuple(f"{name}={options[name]}" for name in ("gid", "mode", "uid") if name in options)
        return ("cache", "default" if default else "custom", _read_only(options, False), *made)
    if kind == "bind":
        return ("bind", _read_only(options, True))
    if kind in ("secret", "ssh"):
        rest = tuple(f"{key}={options[key]}" for key in ("env", "gid", "mode", "uid") if key in options)
        needed = "required" if options.get("required", "false") == "true" else ""
        return (kind, _secret(options), needed, *rest)
    return (kind, *(f"{name}={value}" for name, value in sorted(options.items()) if name not in ("type", "target")))


def _secret(options: Mapping[str, str]) -> str:
    return options.get("id") or posixpath.basename(options.get("source", "")) or "default"


def _cwd(place: _Place, state: State) -> str:
    """The working directory; "?" is whatever the base image brings."""
    return place.cwd or state.workdir or "?"


def _read_only(options: Mapping[str, str], default: bool) -> str:
    if "readwrite" in options:
        return "rw" if options["readwrite"] == "true" else "ro"
    if "readonly" in options:
        return "ro" if options["readonly"] == "true" else "rw"
    return "ro" if default else "rw"


def _arguments(instruction: Instruction, shell: tuple[str, ...]) -> tuple[str, ...]:
    """The command line of a RUN, heredocs put where BuildKit puts them."""
    if instruction.json:
        return ("exec", *instruction.words)
    if not instruction.heredocs:
        return ("shell", *shell, instruction.value)
    first = instruction.heredocs[0]
    alone = len(instruction.heredocs) == 1 and re.fullmatch(r"<<-?\s*\S+", instruction.value.strip())
    if alone:
        body = "\n".join(line.lstrip("\t") for line in first.body.split("\n")) if first.strip_tabs else first.body
        return ("file", first.name, body) if body.startswith("#!") else ("shell", *shell, body)
    bodies = [text for heredoc in instruction.heredocs for text in (heredoc.body, heredoc.name)]
    return ("shell", *shell, instruction.value, *bodies)


def _names(body: str) -> list[str]:
    return sorted(set(re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", body)))
