"""The stage graph of a Dockerfile and the state each instruction runs in.

Follows ``frontend/dockerfile/dockerfile2llb/convert.go`` of moby/buildkit.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from coach.errors import InputError
from coach.expansion import Expansion, Scope, expand
from coach.instructions import Dockerfile, Instruction, Mount, Stage, mounts

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope
PLATFORM_ARGS = (
    "BUILDPLATFORM BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT "
    "TARGETPLATFORM TARGETOS TARGETOSVERSION TARGETARCH TARGETVARIANT"
).split()

_ANYTHING = "\ue001"
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]")
_NUMBER = re.compile(r"[+-]?[0-9]+\Z")
_END = 1 << 60
_LONGEST_PATH = 4096  # PATH_MAX of Linux


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """What an image brings along: its environment, working directory ("" is ``/``) and user ("" is root).

    ``None`` is unknown. ``complete`` says that ``env`` is all of it, so that any other name is empty.
    """

    env: Mapping[str, str | None] = field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """What is in force just before an instruction.

    ``env`` is what the image carries so far (base image and ENV), ``args`` the ARGs declared so far that have a
    value; a value of ``None`` exists but is unknown. ``workdir`` is absolute and ``user`` is "root" where nobody
    set one; both are ``None`` when unknown. ``scope`` is what words expand with and commands see.
    """

    env: Mapping[str, str | None]
    args: Mapping[str, str | None]
    workdir: str | None
    user: str | None
    shell: tuple[str, ...]
    scope: Scope = field(default_factory=lambda: Scope({}))
    escape: str = "\\"

    def names(self) -> Scope:
        """Environment and arguments together, the later one winning, as a command sees them."""
        return self.scope

    def expand(self, word: str) -> Expansion:
        """``word`` as BuildKit would expand it here; unknown where it hangs on a name the base image may set."""
        return expand(word, self.scope, self.escape)


class _History:
    """Names whose values change along a stage, readable as of any position; falls back to the parent's end."""

    def __init__(self, parent: _History | None = None) -> None:
        self.parent = parent
        self.values: dict[str, tuple[list[int], list[str | None]]] = {}

    def set(self, at: int, name: str, value: str | None) -> None:
        positions, values = self.values.setdefault(name, ([], []))
        positions.append(at)
        values.append(value)

    def before(self, at: int) -> _View:
        return _View(self, at)


class _View(Mapping[str, "str | None"]):
    """A ``_History`` just before a position."""

    def __init__(self, history: _History, at: int) -> None:
        self._history = history
        self._at = at

    def __getitem__(self, name: str) -> str | None:
        history: _History | None = self._history
        at = self._at
        while history is not None:
            found = history.values.get(name)
            if found is not None:
                index = bisect_left(found[0], at)
                if index:
                    return found[1][index - 1]
            history, at = history.parent, _END
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        seen: dict[str, None] = {}
        history: _History | None = self._history
        at = self._at
        while history is not None:
            seen.update((name, None) for name, (positions, _) in history.values.items() if positions[0] < at)
            history, at = history.parent, _END
        return iter(sorted(seen))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class _Place:
    """The part of a state that is not a mapping."""

    workdir: str | None
    user: str | None
    shell: tuple[str, ...]
    complete: bool


class _Track:
    """All states along one stage (or along the ARGs before the first one)."""

    def __init__(self, parent: _Track | None, place: _Place, escape: str) -> None:
        self.env: _History = _History(parent.env if parent else None)
        self.args: _History = _History(parent.args if parent else None)
        self.scope: _History = _History(parent.scope if parent else None)
        self.unset: _History = _History(parent.unset if parent else None)
        self.shadowed: dict[str, str | None] = dict(parent.shadowed) if parent else {}
        self.places: list[tuple[int, _Place]] = [(-1, place)]
        self.position: dict[int, int] = {}
        self.escape = escape
        self.length = 0
        # ENV wins again at the start of a child stage: its values are laid over the inherited state
        for name, value in self.shadowed.items():
            self.scope.set(-1, name, value)
        self.shadowed.clear()

    @property
    def place(self) -> _Place:
        return self.places[-1][1]

    def move(self, at: int, place: _Place) -> None:
        self.places.append((at, place))

    def state(self, at: int) -> State:
        index = bisect_left(self.places, at, key=lambda item: item[0])
        place = self.places[max(index - 1, 0)][1]
        scope = Scope(self.scope.before(at), _Names(self.unset.before(at)), place.complete)
        return State(
            self.env.before(at), self.args.before(at), place.workdir, place.user, place.shell, scope, self.escape
        )


class _Names(Collection[str]):
    """Keys of a view."""

    def __init__(self, view: _View) -> None:
        self._view = view

    def __contains__(self, name: object) -> bool:
        return name in self._view

    def __iter__(self) -> Iterator[str]:
        return iter(self._view)

    def __len__(self) -> int:
        return len(self._view)


def clean_path(path: str) -> str:
    """``path`` without ``.``, ``..`` and doubled slashes, as Go's ``path.Clean``."""
    cleaned = posixpath.normpath(path) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


class Graph:
    """The stages of one build: which target, which build arguments.

    ``build_args`` are what is passed (``None`` for a value nobody knows); everything else keeps its default.
    ``base_config`` describes an image by its reference ("": one that cannot be told). Raises ``InputError`` with the
    line for an unknown target, for stages that copy from each other in a circle, for a ``--from`` number without a
    stage, and for a stage of this build that copies from a later one.
    """

    def __init__(
        self,
        dockerfile: Dockerfile,
        target: str | None = None,
        build_args: Mapping[str, str | None] | None = None,
        base_config: Callable[[str], BaseConfig | None] = lambda _: None,
    ) -> None:
        self.dockerfile = dockerfile
        self._build_args = dict(build_args or {})
        self._base_config = base_config
        stages = dockerfile.stages
        self._last_by_name = {stage.name: stage for stage in stages if stage.name}
        self.final = self._target(target)
        self._global = self._read_preamble(target or stages[-1].name or "default")
        self._parents: list[Stage | None] = []
        self._images: list[str | None] = []
        self._candidates: list[tuple[Stage, ...]] = []
        self._resolve_bases()
        self._sources = [self._read_sources(stage) for stage in stages]
        self._refuse_circles()
        self._tracks: dict[int, _Track] = {}
        self.reachable = self._reach()
        self._reachable = frozenset(stage.index for stage in self.reachable)

    def _fail(self, says: str, line: int) -> InputError:
        return InputError(says, self.dockerfile.path, line)

    def _target(self, target: str | None) -> Stage:
        stages = self.dockerfile.stages
        if not target:
            return stages[-1]
        stage = self._last_by_name.get(target.lower())
        if stage is None:
            raise self._fail("no stage has the name that is asked for as target", stages[-1].head.line)
        return stage

    def _read_preamble(self, target_stage: str) -> _Track:
        track = _Track(None, _Place(None, None, DEFAULT_SHELL, True), self.dockerfile.escape)
        for name in PLATFORM_ARGS:
            track.scope.set(-1, name, self._build_args.get(name))
            track.args.set(-1, name, self._build_args.get(name))
        track.scope.set(-1, "TARGETSTAGE", target_stage)
        track.args.set(-1, "TARGETSTAGE", target_stage)
        for at, instruction in enumerate(self.dockerfile.preamble):
            track.position[instruction.line] = at
            self._declare(track, at, instruction, None)
        track.length = len(self.dockerfile.preamble)
        return track

    def _declare(self, track: _Track, at: int, instruction: Instruction, outside: _Track | None) -> None:
        """ARG: each of its names sees the ones before it."""
        for name, raw in instruction.pairs:
            # position at + 1/2 would be exact; reading just after `at` and writing at `at` amounts to the same
            now = track.state(at + 1).scope
            if name in self._build_args:
                value = self._build_args[name]
            elif raw is not None:
                value = expand(raw, now, track.escape).text
            elif outside is None:
                if name not in now:
                    track.unset.set(at, name, None)
                continue
            else:
                above = outside.state(_END).scope
                if name not in above or above.lacks(name):
                    track.unset.set(at, name, None)
                    continue
                value = above[name]
            before = track.env.before(at + 1)
            if name in before:
                track.shadowed[name] = before[name]
            track.args.set(at, name, value)
            track.scope.set(at, name, value)

    def _resolve_bases(self) -> None:
        scope = self._global.state(_END).scope
        escape = self.dockerfile.escape
        earlier: dict[str, Stage] = {}
        for stage in self.dockerfile.stages:
            result = expand(stage.base, scope, escape)
            text = None if result.missing else result.text
            if text == "":
                text = None
            parent = earlier.get(text) if text is not None else None
            picked = self._guess(stage.base, earlier) if result.text is None else set()
            candidates = tuple(other for name, other in earlier.items() if name in picked)
            self._parents.append(parent)
            self._images.append(text if parent is None else None)
            self._candidates.append(candidates)
            if stage.name:
                earlier[stage.name] = stage

    def _guess(self, base: str, names: Collection[str]) -> set[str]:
        """Those of ``names`` that ``base`` may expand to, given what is unknown."""
        scope = self._global.state(_END).scope
        passed = {name: _ANYTHING if value is None else value for name, value in scope.items()}
        default = {name: value for name, value in passed.items() if not scope.lacks(name)}
        found: set[str] = set()
        for values in (passed, default):
            text = expand(base, values, self.dockerfile.escape).text
            if text is not None and _ANYTHING in text:
                shape = re.compile(".*".join(map(re.escape, re.split(f"{_ANYTHING}+", text))), re.DOTALL)
                found.update(filter(shape.fullmatch, names))
        return found

    def _commands(self, stage: Stage) -> tuple[Instruction, ...]:
        return (*self.inherited(stage), *stage.body)

    def _read_sources(self, stage: Stage) -> tuple[tuple[Stage, Instruction], ...]:
        found: list[tuple[Stage, Instruction]] = []
        for instruction in self._commands(stage):
            if instruction.name == "COPY" and instruction.flag("from") is not None:
                source = self.source(instruction, stage)
                if not isinstance(source, str) and source is not None:
                    found.append((source, instruction))
            elif instruction.name == "RUN":
                for mount in mounts(instruction):
                    source = self.source(mount, stage)
                    if not isinstance(source, str) and source is not None:
                        found.append((source, instruction))
        return tuple(found)

    def _refuse_circles(self) -> None:
        done: set[int] = set()
        for start in range(len(self._sources)):
            if start in done:
                continue
            path = {start}
            stack = [(start, iter(self._sources[start]))]
            while stack:
                index, edges = stack[-1]
                edge = next(edges, None)
                if edge is None:
                    stack.pop()
                    path.discard(index)
                    done.add(index)
                    continue
                source, instruction = edge
                if source.index in path:
                    raise self._fail("stages copy from each other in a circle", instruction.line)
                if source.index not in done:
                    path.add(source.index)
                    stack.append((source.index, iter(self._sources[source.index])))

    def _reach(self) -> tuple[Stage, ...]:
        found = {self.final.index}
        todo = [self.final]
        while todo:
            stage = todo.pop()
            for source, instruction in self._sources[stage.index]:
                if source.index >= stage.index:
                    raise self._fail("a stage copies from one that is defined after it", instruction.line)
            for other in self.needs(stage):
                if other.index not in found:
                    found.add(other.index)
                    todo.append(other)
        return tuple(stage for stage in self.dockerfile.stages if stage.index in found)

    def is_reachable(self, stage: Stage) -> bool:
        """Whether the target needs the stage, directly or not."""
        return stage.index in self._reachable

    def needs(self, stage: Stage) -> tuple[Stage, ...]:
        """Stages it builds on or copies or mounts from, each once, in file order.

        Where an unknown variable picks the base among the stages, all it may pick are in.
        """
        found = {source.index: source for source, _ in self._sources[stage.index]}
        found |= {other.index: other for other in self._candidates[stage.index]}
        parent = self._parents[stage.index]
        if parent is not None:
            found[parent.index] = parent
        return tuple(found[index] for index in sorted(found))

    def parent(self, stage: Stage) -> Stage | None:
        """The stage it is built ``FROM``; ``None`` for an image, and where that cannot be told."""
        return self._parents[stage.index]

    def candidates(self, stage: Stage) -> tuple[Stage, ...]:
        """Earlier stages that an unknown variable in ``FROM`` may pick (``FROM build-${TARGETARCH}``)."""
        return self._candidates[stage.index]

    def image(self, stage: Stage) -> str | None:
        """The image its ``FROM`` names, variables expanded; ``None`` for a stage and where it cannot be told."""
        return self._images[stage.index]

    def chain(self, stage: Stage) -> tuple[Stage, ...]:
        """``FROM`` ancestry, oldest first, ending with the stage itself."""
        found = [stage]
        while (parent := self._parents[found[-1].index]) is not None:
            found.append(parent)
        return tuple(reversed(found))

    def root_image(self, stage: Stage) -> str | None:
        """The image at the start of its chain."""
        return self._images[self.chain(stage)[0].index]

    def inherited(self, stage: Stage) -> tuple[Instruction, ...]:
        """What the ``ONBUILD`` instructions of its parent stage run at its start."""
        parent = self._parents[stage.index]
        if parent is None:
            return ()
        return tuple(made.child for made in parent.body if made.child is not None)

    def source(self, named: str | Instruction | Mount, stage: Stage) -> Stage | str | None:
        """What a ``--from`` names: a stage, an image, or ``None`` when it cannot be told (or there is none).

        A stage's number counts for ``COPY`` and for plain text; a mount's ``from`` is a name. A name means the
        last stage that bears it. Raises ``InputError`` for a number without a stage.
        """
        line, numbered = stage.head.line, True
        if isinstance(named, str):
            name = named
        elif isinstance(named, Mount):
            name, numbered = named.options.get("from", ""), False
        else:
            flag = named.flag("from")
            name, line = (flag.value or "" if flag else ""), named.line
        if not name or "$" in name:
            return None
        if numbered and _NUMBER.match(name):
            number = int(name) if len(name) < 9 else -1
            if not 0 <= number < len(self.dockerfile.stages):
                raise self._fail("--from names a stage by a number that none has", line)
            return self.dockerfile.stages[number]
        return self._last_by_name.get(name.lower(), name)

    def platform(self, stage: Stage) -> str | None:
        """``--platform`` of its ``FROM``, expanded where possible, as written otherwise."""
        if stage.platform is None:
            return None
        result = expand(stage.platform, self._global.state(_END).scope, self.dockerfile.escape)
        return stage.platform if result.text is None or result.missing else result.text

    def state(self, instruction: Instruction, stage: Stage | None = None) -> State:
        """The state just before an instruction.

        For a ``FROM`` and what precedes it, that is the global scope. ``stage`` is only needed for an
        ``inherited`` instruction, which stands in another stage than it runs in.
        """
        if stage is None and instruction.stage is not None and instruction.name != "FROM":
            stage = self.dockerfile.stages[instruction.stage]
        if stage is None or instruction.name == "FROM":
            return self._global.state(self._global.position.get(instruction.line, _END))
        track = self._track(stage)
        return track.state(track.position[instruction.line])

    def state_at_end(self, stage: Stage) -> State:
        """The state after the last instruction: what the stage's image carries."""
        return self._track(stage).state(_END)

    def _track(self, stage: Stage) -> _Track:
        chain = self.chain(stage)
        for link in chain:
            if link.index not in self._tracks:
                self._tracks[link.index] = self._follow(link)
        return self._tracks[stage.index]

    def _follow(self, stage: Stage) -> _Track:
        escape = self.dockerfile.escape
        parent = self._parents[stage.index]
        if parent is not None:
            above = self._tracks[parent.index]
            track = _Track(above, above.place, escape)
        else:
            image = self._images[stage.index]
            config = BaseConfig({"PATH": DEFAULT_PATH}, "/", "", True) if image == "scratch" else None
            if config is None:
                config = self._base_config(image or "")
            if config is None:
                config = BaseConfig()
            workdir = config.workdir if config.workdir is None else clean_path("/" + config.workdir)
            user = config.user if config.user is None else config.user or "root"
            track = _Track(None, _Place(workdir, user, DEFAULT_SHELL, config.complete), escape)
            for name, value in config.env.items():
                track.env.set(-1, name, value)
                track.scope.set(-1, name, value)
        commands = self._commands(stage)
        for at, instruction in enumerate(commands):
            track.position[instruction.line] = at
            self._step(track, at, instruction)
        track.length = len(commands)
        return track

    def _step(self, track: _Track, at: int, instruction: Instruction) -> None:
        name, place = instruction.name, track.place
        if name == "ARG":
            self._declare(track, at, instruction, self._global)
        elif name == "ENV":
            # every value of one ENV is expanded before the first one is set
            scope = track.state(at).scope
            made = [
                (expand(key, scope, track.escape).text, expand(raw or "", scope, track.escape).text)
                for key, raw in instruction.pairs
            ]
            for key, value in made:
                if key is None:
                    track.move(at, _Place(place.workdir, place.user, place.shell, False))
                else:
                    track.env.set(at, key, value)
                    track.scope.set(at, key, value)
                    track.shadowed.pop(key, None)
        elif name == "WORKDIR":
            wanted = self._text(track, at, instruction)
            track.move(at, _Place(_workdir(place.workdir, wanted), place.user, place.shell, place.complete))
        elif name == "USER":
            user = self._text(track, at, instruction)
            user = "root" if user == "" else user
            track.move(at, _Place(place.workdir, user, place.shell, place.complete))
        elif name == "SHELL":
            track.move(at, _Place(place.workdir, place.user, instruction.words, place.complete))

    def _text(self, track: _Track, at: int, instruction: Instruction) -> str | None:
        return expand(instruction.value, track.state(at).scope, track.escape).text


def _workdir(current: str | None, wanted: str | None) -> str | None:
    if wanted is None:
        return None
    if _WINDOWS_PATH.match(wanted):
        return wanted
    if wanted.startswith("/"):
        return clean_path(wanted)
    if current is None or _WINDOWS_PATH.match(current):
        return current if wanted == "" else None
    if len(current) + len(wanted) > _LONGEST_PATH:
        return None
    return clean_path(posixpath.join(current, wanted))
