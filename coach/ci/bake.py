"""Bake files: each target is a build site. Rules: docs.docker.com/build/bake/reference (read 2026-11)."""

from __future__ import annotations

import itertools
import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from coach.ci import compose, docker_cli, paths
from coach.ci.docker_cli import (
    Invocation,
    Place,
    build_arg,
    cache_ref,
    find_dockerfile,
    inline_cache,
    output_pushes,
    place_context,
)
from coach.ci.docker_cli import platforms as read_platforms
from coach.ci.expressions import Hole, as_text
from coach.ci.hcl import Block, Evaluator, parse
from coach.ci.nouns import Discovery, Value, differs_per_commit, static
from coach.errors import InputError
from coach.model import BuildArg, BuildSite, CacheRef, Skipped, Tree, Unresolved, is_file
from coach.redact import credential_name, mask

DEFAULT_FILES = (
    *compose.DEFAULT_NAMES,
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
)
MAX_TARGETS = 400
_NAME = re.compile(r"(^|[._-])bake([._-].*)?\.(hcl|json)$", re.I)
_BUILT = frozenset({"context", "dockerfile", "dockerfile-inline", "target", "output", "tags", "platforms"})


@dataclass(slots=True)
class Target:
    """One target after inheritance: evaluated attributes, and the file and line each was written at."""

    name: str
    path: str
    line: int
    end_line: int
    values: dict[str, object] = field(default_factory=dict)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    own: frozenset[str] = frozenset()


def read(tree: Tree) -> Discovery:
    """Every bake file by itself, its contexts relative to the folder it stands in."""
    builds: list[BuildSite] = []
    skipped: list[Skipped] = []
    for path in list(tree.entries()):
        if not _NAME.search(posixpath.basename(path)) or not is_file(tree, path):
            continue
        try:
            project = Project(tree, (path,), {})
        except InputError as error:
            if path.endswith(".hcl"):
                skipped.append(Skipped(path, error.line, error.says))
            continue
        cwd = posixpath.dirname(path)
        for target in project.shown():
            # the file is nearly always used from the root, whatever folder it lies in
            for directory in dict.fromkeys((cwd, "")):
                made = project.site(
                    target,
                    Place(tree, "bake", target.path, target.line, target.end_line, target.name, False, directory),
                )
                if made.dockerfile is None or is_file(tree, made.dockerfile) or directory == "":
                    builds.append(made)
                    break
    return Discovery(tuple(builds), tuple(skipped))


class Project:
    """The bake files of one command. Raises ``InputError`` for a file that cannot be read."""

    def __init__(
        self, tree: Tree, files: Sequence[str], env: Mapping[str, Value], overrides: Sequence[tuple[str, Value]] = ()
    ) -> None:
        self.tree = tree
        self.files = tuple(files)
        self.env = env
        self.overrides = overrides
        self.blocks: dict[str, list[tuple[Block, str]]] = {}
        self.groups: dict[str, list[str]] = {}
        self.variables: dict[str, tuple[Block | None, object]] = {}
        self.globals: dict[str, tuple[object, ...]] = {}
        self.functions: dict[str, Block] = {}
        self.resolving: set[str] = set()
        self.known: dict[str, object] = {}
        self.json: dict[str, tuple[dict[str, object], str, int]] = {}
        self.inherited: set[str] = set()
        group_blocks: list[Block] = []
        for path in files:
            content = tree.read(path)
            if path.endswith(".json"):
                self._load_json(content, path)
                continue
            root = parse(content, path)
            self.globals |= {name: attribute.expr for name, attribute in root.attributes.items()}
            for block in root.blocks:
                name = block.labels[0] if block.labels else ""
                if block.type == "target":
                    self.blocks.setdefault(name, []).append((block, path))
                elif block.type == "group":
                    group_blocks.append(block)
                elif block.type == "variable":
                    self.variables[name] = (block, None)
                elif block.type == "function":
                    self.functions[name] = block
        self.evaluator = Evaluator(self._name, self.functions)
        for block in group_blocks:
            targets = block.attributes.get("targets")
            self.groups[block.labels[0] if block.labels else ""] = _texts(self._eval(targets.expr) if targets else [])
        self.targets: dict[str, Target] = {}
        for name in dict.fromkeys([*self.blocks, *self.json]):
            for target in self._expand(name):
                if len(self.targets) < MAX_TARGETS:
                    self.targets[target.name] = target

    def _load_json(self, content: bytes, path: str) -> None:
        try:
            loaded = json.loads(content)
        except (ValueError, RecursionError):
            raise InputError("not JSON", path) from None
        if not isinstance(loaded, dict):
            raise InputError("a JSON object was expected", path)
        for name, value in _dict(loaded.get("variable")).items():
            self.variables[name] = (None, _dict(value).get("default"))
        for name, value in _dict(loaded.get("group")).items():
            self.groups[name] = _texts(_dict(value).get("targets"))
        for name, value in _dict(loaded.get("target")).items():
            match = re.search(rb'"%s"\s*:\s*\{' % re.escape(name.encode()), content)
            self.json[name] = (_dict(value), path, content.count(b"\n", 0, match.start()) + 1 if match else 1)

    def _eval(self, expr: tuple[object, ...], local: Mapping[str, object] | None = None) -> object:
        self.evaluator.steps = 0
        return self.evaluator.value(expr, local)

    def _name(self, name: str) -> object:
        if name in self.known:
            return self.known[name]
        if name in self.resolving:
            return Hole("it is defined by itself")
        given = self.env.get(name)
        value: object
        if name in self.variables and given is not None:
            value = given.text if given.text is not None else Hole(given.why, given.secret, given.per_commit)
        elif name in self.variables:
            block, default = self.variables[name]
            value = default
            if block is not None:
                attribute = block.attributes.get("default")
                self.resolving.add(name)
                value = self._eval(attribute.expr) if attribute is not None else None
                self.resolving.discard(name)
            # what has no default is handed in by whoever calls bake
            if value in (None, "") and (differs_per_commit(name) or credential_name(name)):
                value = Hole(f"{name} comes from the environment", credential_name(name), differs_per_commit(name))
        elif name in self.globals:
            self.resolving.add(name)
            value = self._eval(self.globals[name])
            self.resolving.discard(name)
        elif name in ("BAKE_LOCAL_PLATFORM",):
            value = "local"
        elif name == "BAKE_CMD_CONTEXT":
            value = "."
        else:
            value = Hole(f"{name} is not defined here")
        self.known[name] = value
        return value

    def _expand(self, name: str) -> list[Target]:
        """The target, or the targets its matrix makes of it."""
        matrix: object = None
        for block, _ in self.blocks.get(name, []):
            if "matrix" in block.attributes:
                matrix = self._eval(block.attributes["matrix"].expr)
        if not isinstance(matrix, dict) or not matrix:
            return [self._merged(name, name, {}, 0)]
        axes = [(key, value if isinstance(value, list) else []) for key, value in matrix.items()]
        made: list[Target] = []
        for combination in itertools.islice(itertools.product(*(values for _, values in axes)), 256):
            local = {key: value for (key, _), value in zip(axes, combination, strict=True)}
            label = f"{name}-{'-'.join(as_text(value) for value in combination)}"
            for block, _ in self.blocks.get(name, []):
                if "name" in block.attributes:
                    label = as_text(self._eval(block.attributes["name"].expr, local))
            made.append(self._merged(name, label, local, 0))
        self.groups.setdefault(name, [target.name for target in made])
        return made

    def _merged(self, name: str, label: str, local: Mapping[str, object], depth: int) -> Target:
        parts: list[tuple[dict[str, object], str, dict[str, int], int, int]] = []
        for block, path in self.blocks.get(name, []):
            values = {
                key: self._eval(attribute.expr, local) for key, attribute in block.attributes.items() if key != "matrix"
            }
            lines = {key: attribute.line for key, attribute in block.attributes.items()}
            parts.append((values, path, lines, block.line, block.end_line))
        if name in self.json:
            raw, path, line = self.json[name]
            parts.append((dict(raw), path, dict.fromkeys(raw, line), line, line))
        if not parts:
            return Target(label, "", 1, 1)
        _, path, _, line, end = next((part for part in parts), parts[0])
        target = Target(label, path, line, end)
        bases: list[str] = []
        for values, *_ in parts:
            bases += _texts(values.get("inherits"))
        if depth < 12:
            for base in bases:
                self.inherited.add(base)
                if base == name:
                    continue
                inherited = self._merged(base, base, local, depth + 1)
                _lay(target, inherited.values, inherited.places)
        own: set[str] = set()
        for values, path, lines, _, _ in parts:
            own |= {key for key in values if key not in ("inherits", "name")}
            _lay(target, values, {key: (path, lines[key]) for key in values})
        target.own = frozenset(own)
        return target

    def shown(self) -> list[Target]:
        """Targets that are meant to be built, not only to be inherited from."""
        grouped = {name for names in self.groups.values() for name in names}
        found = [
            target
            for target in self.targets.values()
            if not target.name.startswith("_") and (target.name in grouped or _BUILT - {"tags"} & target.own)
        ]
        return found or [target for target in self.targets.values() if len(self.targets) == 1]

    def pick(self, names: Sequence[str]) -> list[Target]:
        """Targets that ``bake names`` builds, groups followed, each once."""
        found: dict[str, Target] = {}
        todo = list(names) or ["default"]
        seen: set[str] = set()
        while todo:
            name = todo.pop(0)
            if name in seen:
                continue
            seen.add(name)
            if name in self.groups:
                todo = [*self.groups[name], *todo]
            if name in self.targets and name not in found and not (name in self.groups and name not in self.blocks):
                found[name] = self.targets[name]
        return list(found.values())

    def site(self, target: Target, place: Place) -> BuildSite:
        """The build site of one target, lines counted in ``place.path``."""
        values = dict(target.values)
        notes: list[Unresolved] = list(place.unresolved)
        extra: dict[str, list[str]] = {}
        for key, value in self._set_for(target.name):
            if key.startswith("args."):
                values["args"] = {
                    **_dict(values.get("args")),
                    key[5:]: value.text if value.text is not None else Hole(value.why, value.secret, value.per_commit),
                }
            elif key in ("cache-from", "cache-to", "platform", "platforms", "tags", "output", "secret", "secrets"):
                extra.setdefault({"platform": "platforms", "secret": "secret"}.get(key, key), []).append(value.shown)
            else:
                values[key] = value.text if value.text is not None else Hole(value.why)
        values |= extra

        def line(key: str) -> int:
            path, at = target.places.get(key, ("", 0))
            return at if path == place.path and key not in extra else 0

        def one(key: str) -> Value | None:
            value = values.get(key)
            if isinstance(value, Hole):
                return Value(None, "", value.why)
            return static(as_text(value)) if value not in (None, "") else None

        context_value = one("context") or static(".")
        if context_value.text is not None and context_value.text.startswith("cwd://"):
            context_value = static(context_value.text[6:] or ".")
        if context_value.text is not None and context_value.text.startswith("target:"):
            context, why = None, "the context is another target's result"
        else:
            context, why, _ = place_context(place, context_value)
        if context is None:
            notes.append(Unresolved("context", why, line("context") or place.line))
        dockerfile: str | None
        if values.get("dockerfile-inline") not in (None, ""):
            dockerfile = None
            notes.append(
                Unresolved("dockerfile", "the Dockerfile is written inline in the bake file", line("dockerfile-inline"))
            )
        else:
            file = one("dockerfile")
            if file is not None and file.text is not None and file.text.startswith("cwd://"):
                dockerfile, file_why = place.locate(file.text[6:])
            else:
                dockerfile, file_why = find_dockerfile(place, file, context, why, True)
            if dockerfile is None:
                notes.append(Unresolved("dockerfile", file_why, line("dockerfile") or place.line))
        stage = one("target")
        if stage is not None and stage.text is None:
            notes.append(Unresolved("target", stage.why, line("target")))
        wide: dict[str, None] = {}
        for given in _pieces(values.get("platforms")):
            known, open_why = read_platforms(given)
            wide.update(dict.fromkeys(known))
            if open_why:
                notes.append(Unresolved("platforms", open_why, line("platforms")))
        args: list[BuildArg] = []
        for name, item in _dict(values.get("args")).items():
            at = line("args")
            if isinstance(item, Hole):
                args.append(BuildArg(name, None, at, item.secret, item.per_commit))
            elif item is not None:
                made = build_arg(static(f"{name}={as_text(item)}"), at)
                if made is not None:
                    args.append(made)
        cache_from = self._caches(values.get("cache-from"), "cache_from", line("cache-from"), notes)
        cache_to = [*self._caches(values.get("cache-to"), "cache_to", line("cache-to"), notes), *inline_cache(args)]
        no_cache = values.get("no-cache") in (True, "true")
        outputs = [piece.shown for piece in _pieces(values.get("output"))]
        keeps, keeps_line = place.keeps_cache, place.keeps_cache_line
        if place.driver in docker_cli.DRIVERS_THAT_KEEP and not keeps:
            keeps, keeps_line = docker_cli.DRIVERS_THAT_KEEP[place.driver], place.line
        return BuildSite(
            system=place.system,
            path=place.path,
            line=place.line,
            end_line=place.end_line,
            job=place.job,
            tool="bake",
            ci=place.ci,
            dockerfile=dockerfile,
            context=context,
            target=stage.text if stage is not None else None,
            platforms=tuple(platform for platform in wide if platform != "local"),
            platforms_line=line("platforms"),
            build_args=tuple(args),
            secrets=tuple(
                item.partition("=")[2]
                for piece in _pieces(values.get("secret"))
                for item in docker_cli.split_csv(piece.shown)
                if item.startswith("id=")
            ),
            cache_from=tuple(cache_from),
            cache_to=tuple(cache_to),
            keeps_cache=keeps,
            keeps_cache_line=keeps_line,
            no_cache=no_cache,
            no_cache_line=line("no-cache") if no_cache else 0,
            buildkit=True,
            buildkit_line=place.line,
            buildkit_why="bake always builds with BuildKit",
            driver=place.driver,
            runner=place.runner,
            runner_line=place.runner_line,
            emulation_line=place.emulation_line,
            push=any(output_pushes(text) for text in outputs),
            push_line=line("output") if any(output_pushes(text) for text in outputs) else 0,
            tags=tuple(mask(piece.shown) for piece in _pieces(values.get("tags")) if piece.shown),
            unresolved=tuple(dict.fromkeys(notes)),
        )

    def _set_for(self, name: str) -> Iterable[tuple[str, Value]]:
        for left, value in self.overrides:
            pattern, _, key = left.partition(".")
            if re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name):
                yield key.rstrip("+"), value

    def _caches(self, value: object, what: str, line: int, notes: list[Unresolved]) -> list[CacheRef]:
        refs: list[CacheRef] = []
        if isinstance(value, Hole):
            chosen = [option for option in value.options if option]
            if not chosen:
                notes.append(Unresolved(what, value.why, line))
                return []
            value = chosen[0]
        for item in value if isinstance(value, list) else [value] if value else []:
            if isinstance(item, Hole):
                kept = [option for option in item.options if option]
                if not kept:
                    notes.append(Unresolved(what, item.why, line))
                    continue
                item = kept[0]
            if isinstance(item, dict):
                attrs = {key: as_text(part) for key, part in item.items() if not isinstance(part, Hole)}
                refs.append(CacheRef(attrs.pop("type", "registry"), attrs, line))
                continue
            made = cache_ref(as_text(item), line)
            if made is not None:
                refs.append(made)
        return refs


def target_of(tree: Tree, build: BuildSite) -> Target | None:
    """The target that a build site stands for, when it is the only one written at its line."""
    path, line = (build.defined_in, build.defined_line) if build.defined_in else (build.path, build.line)
    try:
        project = Project(tree, (path,), {})
    except InputError:
        return None
    found = [target for target in project.targets.values() if (target.path, target.line) == (path, line)]
    return found[0] if len(found) == 1 else None


def written(tree: Tree, build: BuildSite, key: str) -> tuple[str, int] | None:
    """File and line of the attribute that decides ``key`` for a build, an inherited one too."""
    target = target_of(tree, build)
    return target.places.get(key) if target is not None else None


def _lay(target: Target, values: Mapping[str, object], places: Mapping[str, tuple[str, int]]) -> None:
    """Lay values over a target as bake does: maps are merged, everything else is replaced."""
    for key, value in values.items():
        if value is None and key not in ("args",):
            continue
        old = target.values.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = {**old, **{name: item for name, item in value.items() if item is not None or name not in old}}
        target.values[key] = value
        target.places[key] = places.get(key, ("", 0))


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [as_text(item) for item in value if not isinstance(item, Hole)] if isinstance(value, list) else []


def _pieces(value: object) -> list[Value]:
    found = []
    for item in value if isinstance(value, list) else [] if value in (None, "") else [value]:
        if isinstance(item, Hole):
            options = tuple(
                ",".join(as_text(part) for part in option) if isinstance(option, list) else as_text(option)
                for option in item.options
            )
            found.append(Value(None, "", item.why, options=options))
        elif isinstance(item, dict):
            found.append(
                static(",".join(f"{key}={as_text(part)}" for key, part in item.items() if not isinstance(part, Hole)))
            )
        else:
            found.append(static(as_text(item)))
    return found


def called(
    place: Place,
    names: Sequence[Value],
    files: Sequence[Value],
    overrides: Sequence[tuple[str, Value, int]],
    env: Mapping[str, Value],
    switches: BuildSite | None = None,
) -> list[BuildSite]:
    """The sites one ``bake`` run builds, seen from where it is called; ``overrides`` are its ``set`` lines."""
    tree = place.tree
    found: list[str] = []
    why = ""
    for value in files:
        if value.text is None:
            why = value.why or "the bake file is known only when the job runs"
            continue
        path, reason = place.locate(value.text.removeprefix("cwd://"))
        if path is not None and is_file(tree, path):
            found.append(path)
        elif not value.text.startswith(("/", "cwd:///")):  # a file that another step made is not looked for
            why = reason or f"{mask(value.text)} is not in the repository"
    if not files and place.cwd is not None:
        found = [
            posixpath.join(place.cwd, name) for name in DEFAULT_FILES if is_file(tree, posixpath.join(place.cwd, name))
        ]
        why = why or "no bake file stands where the command runs"
    outer = compose.replace_place(place, Invocation("bake", "bake"), True, "bake always builds with BuildKit")

    def lost(reason: str) -> list[BuildSite]:
        return [replace(outer, unresolved=(*outer.unresolved, Unresolved("dockerfile", reason, place.line)))]

    if not found:
        return lost(why or "the bake file is not in the repository")
    wanted = [name.text for name in names if name.text is not None]
    if any(name.text is None for name in names):
        return lost("the targets are known only when the job runs")
    compose_files = [path for path in found if path.endswith((".yml", ".yaml"))]
    made: list[BuildSite] = []
    try:
        bake_files = [path for path in found if path not in compose_files]
        if bake_files:
            project = Project(tree, bake_files, env, [(left, value) for left, value, _ in overrides])
            for target in project.pick([name for name in wanted if name is not None]):
                one = project.site(target, place)
                lines = _lines_of(overrides, target.name)
                made.append(
                    replace(
                        one,
                        cache_from=tuple(
                            replace(ref, line=lines.get("cache-from", ref.line)) for ref in one.cache_from
                        ),
                        cache_to=tuple(replace(ref, line=lines.get("cache-to", ref.line)) for ref in one.cache_to),
                        no_cache_line=lines.get("no-cache", one.no_cache_line) if one.no_cache else 0,
                        platforms_line=lines.get("platform", lines.get("platforms", one.platforms_line)),
                        defined_in=target.path,
                        defined_line=target.line,
                    )
                )
        if compose_files and not made:
            directory = posixpath.dirname(compose_files[0])
            project_sites = compose.sites(
                tree, compose.Project(tuple(compose_files), directory, env), [name for name in wanted if name]
            )
            made += [compose.seen_from(outer, one) for one in project_sites]
    except InputError as error:
        return lost(str(error))
    if not made:
        return lost(f"no target {', '.join(name for name in wanted if name)} is defined in {', '.join(found)}")
    if switches is not None:
        made = [
            replace(
                one,
                no_cache=one.no_cache or switches.no_cache,
                no_cache_line=switches.no_cache_line or one.no_cache_line,
                push=True if switches.push else one.push,
                push_line=switches.push_line or one.push_line,
                keeps_cache=one.keeps_cache or switches.keeps_cache,
                keeps_cache_line=one.keeps_cache_line or switches.keeps_cache_line,
            )
            for one in made
        ]
    return made


def _lines_of(overrides: Sequence[tuple[str, Value, int]], name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for left, _, line in overrides:
        pattern, _, key = left.partition(".")
        if re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name):
            found.setdefault(key.rstrip("+"), line)
    return found


def from_command(place: Place, call: Invocation, env: Mapping[str, Value], lines: Mapping[int, int]) -> list[BuildSite]:
    """The sites of ``docker buildx bake`` on a command line."""

    def line(flag: docker_cli.Flag | None) -> int:
        return lines.get(flag.start, place.line) if flag is not None else 0

    files = [flag.value.value for flag in call.all("file") if flag.value is not None]
    overrides: list[tuple[str, Value, int]] = []
    for flag in call.all("set"):
        if flag.value is not None:
            override = parse_set(flag.value.value, line(flag))
            if override is not None:
                overrides.append(override)
    push, no_cache = call.on("push"), call.on("no-cache")
    keeps = "Depot's builders keep the cache" if call.tool == "depot" else ""
    switches = BuildSite(
        system=place.system, path=place.path, line=place.line, end_line=place.end_line, job="", tool="bake",
        ci=place.ci, dockerfile=None, context=None, push=push is not None,
        push_line=line(push), no_cache=no_cache is not None,
        no_cache_line=line(no_cache), keeps_cache=keeps, keeps_cache_line=place.line if keeps else 0,
    )  # fmt: skip
    names = [arg.value for arg in call.positionals if not paths.is_remote(arg.value.shown)]
    return called(place, names, files, overrides, env, switches)


def parse_set(value: Value, line: int) -> tuple[str, Value, int] | None:
    """``target.key=value`` of ``--set``."""
    shown = value.text if value.text is not None else value.shown
    left, eq, right = shown.partition("=")
    if not eq or "." not in left:
        return None
    text = right if value.text is not None else None
    return left.strip(), replace(value, text=text, shown=right, options=()), line
