"""Compose files: each service with a ``build`` is a build site.

Rules: github.com/compose-spec/compose-spec/blob/main/build.md, 12-interpolation.md, 14-include.md (read 2026-11).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from coach.ci import docker_cli, paths
from coach.ci.docker_cli import (
    Arg,
    Invocation,
    Place,
    build_arg,
    cache_value,
    find_dockerfile,
    inline_cache,
    place_context,
)
from coach.ci.docker_cli import platforms as read_platforms
from coach.ci.nouns import Discovery, Value, differs_per_commit, static
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamldoc import read as read_doc
from coach.errors import InputError
from coach.model import BuildArg, BuildSite, CacheRef, Skipped, Tree, Unresolved, is_file
from coach.redact import credential_name, mask

MAX_EXTENDS = 10
DEFAULT_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
OVERRIDES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
)
_NAME = re.compile(r"^(.*[._-])?(docker-?compose|compose)([._-].*)?\.ya?ml$", re.I)
_DEVCONTAINER = re.compile(r"(^|/)\.devcontainer/[^/]*\.ya?ml$")
_INTERPOLATION = re.compile(r"\$\$|\$\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}|\$([A-Za-z_]\w*)")
_EXPANSION = re.compile(r"([A-Za-z_]\w*)(?:(:?[-?+])(.*))?$", re.S)
_NOT_OURS = frozenset({"node_modules", "vendor", "testdata", "third_party", "site-packages"})


@dataclass(frozen=True, slots=True)
class Project:
    """The files one compose command reads, and the directory relative paths start from."""

    files: tuple[str, ...]
    directory: str
    env: Mapping[str, Value]


def is_compose_name(path: str) -> bool:
    """Whether a file's name is one that people give to compose files."""
    return _NAME.match(posixpath.basename(path)) is not None or _DEVCONTAINER.search(path) is not None


def read(tree: Tree) -> Discovery:
    """Every compose file of the repository by itself; an override file together with what it overrides."""
    builds: list[BuildSite] = []
    skipped: list[Skipped] = []
    for path in list(tree.entries()):
        if not is_compose_name(path) or not is_file(tree, path) or _NOT_OURS & set(path.split("/")[:-1]):
            continue
        try:
            content = tree.read(path)
            if b"build" not in content and b"extends" not in content:
                continue
            builds += sites(tree, Project((path,), posixpath.dirname(path), dotenv(tree, posixpath.dirname(path))))
        except InputError as error:
            skipped.append(Skipped(path, error.line, error.says))
    return Discovery(tuple(builds), tuple(skipped))


def dotenv(tree: Tree, directory: str) -> dict[str, Value]:
    """Plain values of the ``.env`` file beside a compose file; what could be a credential stays unknown."""
    path = posixpath.join(directory, ".env")
    if not is_file(tree, path):
        return {}
    try:
        text = tree.read(path).decode("utf-8", "replace")[:100_000]
    except InputError:
        return {}
    found: dict[str, Value] = {}
    for line in text.splitlines():
        name, eq, value = line.strip().removeprefix("export ").partition("=")
        if not eq or not re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            continue
        name, value = name.strip(), value.strip().strip("\"'")
        if credential_name(name) or "$" in value or mask(f"{name}={value}") != f"{name}={value}":
            found[name] = Value(None, f"${{{name}}}", f"{path} holds it", secret=credential_name(name))
        else:
            found[name] = static(value)
    return found


def interpolate(text: str, env: Mapping[str, Value]) -> Value:
    """``text`` with ``$X``, ``${X:-default}`` and their like filled in from ``env``."""
    if "$" not in text:
        return static(text)
    why, secret, per_commit, exact = "", False, False, True
    pieces: list[str] = []
    at = 0
    for match in _INTERPOLATION.finditer(text):
        pieces.append(text[at : match.start()])
        at = match.end()
        if match[0] == "$$":
            pieces.append("$")
            continue
        inner = _EXPANSION.match(match[1] if match[1] is not None else match[2] or "")
        if inner is None:
            exact, why = False, why or "it cannot be read"
            pieces.append(match[0])
            continue
        name, sign, default = inner[1], inner[2] or "", inner[3] or ""
        known = env.get(name)
        if known is not None and known.text is not None and (known.text or ":" not in sign):
            nested = interpolate(default, env) if "+" in sign else known
        elif known is not None and known.text is None:
            nested = known
        elif "-" in sign:
            nested = interpolate(default, env) if len(default) < len(text) else static("")
        elif "+" in sign:
            nested = static("")
        else:
            nested = Value(
                None, match[0], f"${name} comes from the environment", credential_name(name), differs_per_commit(name)
            )
        if nested.text is None:
            exact, why = False, why or nested.why
            secret |= nested.secret
            per_commit |= nested.per_commit
            pieces.append(match[0])
        else:
            pieces.append(nested.text)
    pieces.append(text[at:])
    done = "".join(pieces)
    return static(done) if exact else Value(None, done, why or "it comes from the environment", secret, per_commit)


@dataclass(slots=True)
class Service:
    """One service as merged from its file(s): ``build`` nodes in rising authority, each with its base directory."""

    name: str
    path: str
    node: Node
    builds: list[tuple[Node, str]]
    image: Value | None = None
    platform: Value | None = None
    profiles: bool = False
    pull_policy: str = ""


class _Files:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.docs: dict[str, Doc] = {}

    def get(self, path: str) -> Doc:
        if path not in self.docs:
            self.docs[path] = read_doc(self.tree.read(path), path)
        return self.docs[path]


def services(tree: Tree, project: Project) -> list[Service]:
    """Services of a project that are built, in file order. Raises ``InputError`` for an unreadable file."""
    files = _Files(tree)
    found: dict[str, Service] = {}
    for path in _included(files, project):
        for name, node in (files.get(path).root.get("services") or files.get(path).root).entries().items():
            if not node.is_map:
                continue
            chain = list(_extends(files, path, name, project.directory, project.env, 0))
            service = found.get(name) or Service(name, path, node, [])
            for part, base in chain:
                build = part.get("build")
                if build is not None:
                    service.builds.append((build, base))
                    service.path, service.node = part.doc.path, part
                for key in ("image", "platform"):
                    text = part.get(key)
                    if text is not None and text.text is not None:
                        setattr(service, key, interpolate(text.text, project.env))
                policy = part.get("pull_policy")
                service.pull_policy = (policy.text or "") if policy is not None else service.pull_policy
                service.profiles = service.profiles or part.get("profiles") is not None
            found[name] = service
    return [service for service in found.values() if service.builds]


def _included(files: _Files, project: Project) -> Iterator[str]:
    seen: set[str] = set()
    todo = list(project.files)
    while todo and len(seen) < 50:
        path = todo.pop(0)
        if path in seen:
            continue
        seen.add(path)
        include = files.get(path).root.get("include")
        if include is not None:
            for item in include.items():
                entry = item.get("path") if item.is_map else item
                for text, _ in entry.texts() if entry is not None else []:
                    filled = interpolate(text, project.env)
                    found = paths.join(posixpath.dirname(path), filled.text) if filled.text is not None else None
                    if found is not None and is_file(files.tree, found):
                        todo.append(found)
        yield path


def _extends(
    files: _Files, path: str, name: str, base: str, env: Mapping[str, Value], depth: int
) -> Iterator[tuple[Node, str]]:
    """The service and what it extends, the extended one first."""
    root = files.get(path).root
    node = (root.get("services") or root).get(name)
    if node is None or not node.is_map:
        return
    extends = node.get("extends")
    if extends is not None and depth < MAX_EXTENDS:
        other = extends.text or (extends.get("service").text if extends.get("service") else None)  # type: ignore[union-attr]
        file_node = extends.get("file") if extends.is_map else None
        other_path: str | None = path
        other_base = base
        if file_node is not None and file_node.text is not None:
            filled = interpolate(file_node.text, env)
            other_path = paths.join(posixpath.dirname(path), filled.text) if filled.text is not None else None
            other_base = posixpath.dirname(other_path) if other_path else base
        if other and other_path is not None and is_file(files.tree, other_path) and (other_path, other) != (path, name):
            yield from _extends(files, other_path, other, other_base, env, depth + 1)
    yield node, base


def sites(tree: Tree, project: Project, only: Sequence[str] = ()) -> list[BuildSite]:
    """Build sites of a project's services (all, or ``only`` those and what they build upon), as compose sees them."""
    found = []
    for service in services(tree, project):
        if only and service.name not in only:
            continue
        made = _site(tree, project, service)
        if made is not None:
            found.append(made)
    return found


def _site(tree: Tree, project: Project, service: Service) -> BuildSite | None:
    env = project.env
    merged: dict[str, tuple[Node, str]] = {}
    args: dict[str, BuildArg] = {}
    short: tuple[Node, str] | None = None
    node = service.builds[-1][0]
    for build, base in service.builds:
        if build.text is not None:
            short = (build, base)
            merged["context"] = (build, base)
            continue
        for key, part in build.entries().items():
            if key == "args":
                args.update({arg.name: arg for arg in _args(part, env)})
            elif not part.is_null:
                merged[key] = (part, base)
    context_node = merged.get("context")
    if short is None and not merged and not any(build.is_map for build, _ in service.builds):
        return None
    line, end = node.key_line, node.end_line
    place = Place(tree, "compose", service.path, line, end, service.name, False, project.directory)
    notes: list[Unresolved] = []

    def value(key: str) -> Value | None:
        part = merged.get(key)
        return interpolate(part[0].text, env) if part is not None and part[0].text is not None else None

    def at(key: str) -> int:
        part = merged.get(key)
        return part[0].key_line if part is not None and part[0].doc.path == service.path else 0

    base = context_node[1] if context_node is not None else service.builds[-1][1]
    place.cwd = base
    context, why, _ = place_context(place, value("context") or static("."))
    if context is None:
        notes.append(Unresolved("context", why, at("context") or line))
    if "dockerfile_inline" in merged:
        dockerfile: str | None = None
        notes.append(
            Unresolved("dockerfile", "the Dockerfile is written inline in the compose file", at("dockerfile_inline"))
        )
    else:
        dockerfile, file_why = find_dockerfile(place, value("dockerfile"), context, why, True)
        if dockerfile is None:
            notes.append(Unresolved("dockerfile", file_why, at("dockerfile") or line))
    target = value("target")
    if target is not None and target.text is None:
        notes.append(Unresolved("target", target.why, at("target")))
    caches: dict[str, list[CacheRef]] = {"cache_from": [], "cache_to": []}
    for key, refs in caches.items():
        listed = merged.get(key)
        for text, where in listed[0].texts() if listed is not None else []:
            given, note = cache_value(
                interpolate(text, env), key, where if listed and listed[0].doc.path == service.path else 0
            )
            refs += given
            if note is not None:
                notes.append(note)
    caches["cache_to"] += inline_cache(list(args.values()))
    wide: dict[str, None] = {}
    if "platforms" in merged:
        for text, where in merged["platforms"][0].texts():
            given_platforms, open_why = read_platforms(interpolate(text, env))
            wide.update(dict.fromkeys(given_platforms))
            if open_why:
                notes.append(Unresolved("platforms", open_why, where))
    elif service.platform is not None and service.platform.text:
        wide[service.platform.text] = None
    no_cache = merged.get("no_cache")
    image = service.image
    return BuildSite(
        system="compose",
        path=service.path,
        line=line,
        end_line=end,
        job=service.name,
        tool="compose",
        ci=False,
        dockerfile=dockerfile,
        context=context,
        target=(target.text or None) if target is not None else None,
        platforms=tuple(wide),
        platforms_line=at("platforms"),
        build_args=tuple(args.values()),
        secrets=tuple(text for text, _ in merged["secrets"][0].texts()) if "secrets" in merged else (),
        cache_from=tuple(caches["cache_from"]),
        cache_to=tuple(caches["cache_to"]),
        no_cache=no_cache is not None and no_cache[0].text == "true",
        no_cache_line=at("no_cache") if no_cache is not None and no_cache[0].text == "true" else 0,
        tags=(mask(image.shown),) if image is not None and image.shown else (),
        unresolved=tuple(notes),
    )


def _args(node: Node, env: Mapping[str, Value]) -> Iterator[BuildArg]:
    if node.is_map:
        for name, item in node.entries().items():
            given = interpolate(item.text, env) if item.text is not None else None
            if given is None:
                known = env.get(name)
                yield BuildArg(
                    name, None, item.key_line, bool(known and known.secret), bool(known and known.per_commit)
                )
            else:
                made = build_arg(
                    replace(
                        given,
                        text=f"{name}={given.text}" if given.text is not None else None,
                        shown=f"{name}={given.shown}",
                    ),
                    item.key_line,
                )
                if made is not None:
                    yield made
    else:
        for text, line in node.texts():
            made = build_arg(interpolate(text, env), line)
            if made is not None:
                if made.value is None and "=" not in text and made.name in env:
                    known = env[made.name]
                    made = replace(made, secret=known.secret, per_commit=known.per_commit)
                yield made


def project_of(tree: Tree, call: Invocation, cwd: str | None, env: Mapping[str, Value]) -> tuple[Project | None, str]:
    """The files a compose command reads, or ``None`` with the reason why that is not known."""
    if cwd is None:
        return None, "the working directory is known only when the job runs"
    options = (*call.globals, *call.flags)
    directory = cwd
    given = [flag for flag in options if flag.name == "project-directory" and flag.value is not None]
    named: list[str] = []
    for flag in options:
        if flag.name != "file" or flag.value is None:
            continue
        text = flag.value.value.text
        if text is None:
            return None, flag.value.value.why or "the compose file is known only when the job runs"
        found = paths.join(cwd, text)
        if found is None or not is_file(tree, found):
            return None, f"the compose file {mask(text)} is not in the repository"
        named.append(found)
    if not named and (given_env := env.get("COMPOSE_FILE")) is not None:
        if given_env.text is None:
            return None, "COMPOSE_FILE is known only when the job runs"
        for text in given_env.text.split(":"):
            found = paths.join(cwd, text)
            if found is not None and is_file(tree, found):
                named.append(found)
    if named:
        directory = posixpath.dirname(named[0])
    else:
        here: str | None = cwd
        while here is not None:
            named = [posixpath.join(here, name) for name in DEFAULT_NAMES if is_file(tree, posixpath.join(here, name))][
                :1
            ]
            if named:
                named += [
                    posixpath.join(here, name) for name in OVERRIDES if is_file(tree, posixpath.join(here, name))
                ][:1]
                directory = here
                break
            here = posixpath.dirname(here) if here else None
        if not named:
            return None, "no compose file stands where the command runs"
    if given:
        inside = paths.join(cwd, given[-1].value.value.text or "") if given[-1].value else None
        if inside is None:
            return None, "the project directory is known only when the job runs"
        directory = inside
    return Project(tuple(named), directory, {**dotenv(tree, directory), **env}), ""


def called(place: Place, call: Invocation, env: Mapping[str, Value], lines: Mapping[int, int]) -> list[BuildSite]:
    """The sites a compose command in CI (or in a script) builds: the services of its files, from its own line."""
    project, why = project_of(place.tree, call, place.cwd, env)
    buildkit, buildkit_why = docker_cli.buildkit_of(call, env)
    outer = replace_place(place, call, buildkit, buildkit_why)
    if project is None:
        return [replace(outer, unresolved=(*outer.unresolved, Unresolved("dockerfile", why, place.line)))]
    if call.on("no-build") is not None:
        return []
    names: list[str] = []
    for arg in call.positionals:
        if arg.value.text is None:
            names = []
            break
        names.append(arg.value.text)
        if call.subcommand == "run":
            break
    try:
        found = sites(place.tree, project, names)
    except InputError as error:
        return [replace(outer, unresolved=(*outer.unresolved, Unresolved("dockerfile", str(error), place.line)))]
    no_cache = call.on("no-cache")
    push = call.on("push")
    extra = [
        made
        for flag in call.all("build-arg")
        if flag.value is not None
        and (made := build_arg(flag.value.value, lines.get(flag.start, place.line))) is not None
    ]
    made_sites = []
    for one in found:
        seen = seen_from(outer, one)
        made_sites.append(
            replace(
                seen,
                build_args=(*seen.build_args, *extra),
                no_cache=one.no_cache or no_cache is not None,
                no_cache_line=lines.get(no_cache.start, place.line) if no_cache is not None else 0,
                push=True if push is not None else outer.push,
                push_line=lines.get(push.start, place.line) if push is not None else outer.push_line,
            )
        )
    return made_sites


def seen_from(outer: BuildSite, one: BuildSite) -> BuildSite:
    """What ``one`` builds, as ``outer`` starts it: its lines stay behind in its own file."""
    return replace(
        outer,
        dockerfile=one.dockerfile,
        context=one.context,
        target=one.target,
        platforms=one.platforms,
        build_args=tuple(replace(arg, line=0) for arg in one.build_args),
        secrets=one.secrets,
        cache_from=tuple(replace(ref, line=0) for ref in one.cache_from),
        cache_to=tuple(replace(ref, line=0) for ref in one.cache_to),
        no_cache=one.no_cache,
        tags=one.tags,
        unresolved=tuple(dict.fromkeys((*outer.unresolved, *(replace(note, line=0) for note in one.unresolved)))),
        defined_in=one.path,
        defined_line=one.line,
    )


def replace_place(place: Place, call: Invocation, buildkit: bool | None, why: str) -> BuildSite:
    """A site that knows only where it is called."""
    keeps, keeps_line = place.keeps_cache, place.keeps_cache_line
    if place.driver in docker_cli.DRIVERS_THAT_KEEP and not keeps:
        keeps, keeps_line = docker_cli.DRIVERS_THAT_KEEP[place.driver], place.line
    return BuildSite(
        system=place.system,
        path=place.path,
        line=place.line,
        end_line=place.end_line,
        job=place.job,
        tool=call.tool,
        ci=place.ci,
        dockerfile=None,
        context=None,
        keeps_cache=keeps,
        keeps_cache_line=keeps_line,
        buildkit=buildkit,
        buildkit_line=place.line,
        buildkit_why=why,
        driver=place.driver or "docker",
        runner=place.runner,
        runner_line=place.runner_line,
        emulation_line=place.emulation_line,
        push=False,
        unresolved=place.unresolved,
    )


def words(*texts: str) -> tuple[Arg, ...]:
    """Static words, for those who call compose without a shell."""
    return tuple(Arg(static(text), text) for text in texts)
