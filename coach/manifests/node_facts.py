"""What a package.json and its lockfile say about a Node project."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from coach.knowledge import native
from coach.manifests.files import Files, at, line_of, strings, table
from coach.manifests.gather import Gather, Request
from coach.manifests.node import LOCKFILES, flavour, members
from coach.model import Tree


@dataclass(frozen=True, slots=True)
class Addon:
    """A dependency that brings compiled code, named at ``path:line``. ``builds``: it has an install script of its own.

    ``direct`` is true for a dependency of the package itself, false for one that only the lockfile names.
    """

    name: str
    path: str
    line: int
    builds: bool
    direct: bool


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A package as its package.json describes it; ``path`` is "" when there is none.

    ``start`` is the text of the ``start`` script. ``manager`` is who installs it (``npm``, ``yarn``, ``berry``,
    ``pnpm``, ``bun``), told by ``packageManager`` or by the lockfile, "" when neither says. ``module`` is ``commonjs``
    or ``module``. ``framework`` is ``next``, ``nuxt``, ``nest``, ``remix``, ``astro``, ``sveltekit``, ``gatsby``,
    ``angular``, ``react-scripts``, ``vue-cli``, ``vite``, ``express``, ``fastify``, ``koa``, ``hono``, ``hapi`` or "".
    ``output`` is Next's output mode (``standalone``, ``export``) if it is written as a literal, ``static`` for a
    bundler that leaves plain files, else "". ``addons`` are compiled dependencies; ``scripted`` every locked package
    that runs an install script; ``lines`` says where each script stands.
    """

    directory: str
    path: str = ""
    name: str = ""
    version: str = ""
    scripts: Mapping[str, str] = field(default_factory=dict)
    start: str = ""
    main: str = ""
    module: str = "commonjs"
    engines: Mapping[str, str] = field(default_factory=dict)
    dependencies: Mapping[str, str] = field(default_factory=dict)
    dev_dependencies: Mapping[str, str] = field(default_factory=dict)
    package_manager: str = ""
    manager: str = ""
    lockfile: str = ""
    workspaces: tuple[str, ...] = ()
    addons: tuple[Addon, ...] = ()
    scripted: tuple[str, ...] = ()
    framework: str = ""
    output: str = ""
    output_line: int = 0
    config: str = ""
    prisma: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        return bool(self.path)


_FRAMEWORKS = (
    *(("next", "next"), ("nuxt", "nuxt"), ("@nestjs/core", "nest"), ("@remix-run/node", "remix"), ("astro", "astro")),
    *(
        ("@react-router/node", "remix"),
        ("@sveltejs/kit", "sveltekit"),
        ("gatsby", "gatsby"),
        ("@angular/core", "angular"),
    ),
    *(
        ("react-scripts", "react-scripts"),
        ("@vue/cli-service", "vue-cli"),
        ("express", "express"),
        ("fastify", "fastify"),
    ),
    *(("koa", "koa"), ("hono", "hono"), ("@hapi/hapi", "hapi"), ("vite", "vite")),
)
_STATIC = frozenset(("gatsby", "angular", "react-scripts", "vue-cli", "vite"))
_CONFIGS = {
    "next": tuple(f"next.config.{ending}" for ending in ("js", "mjs", "ts", "cjs")),
    "nuxt": ("nuxt.config.ts", "nuxt.config.js"),
    "astro": ("astro.config.mjs", "astro.config.ts", "astro.config.js"),
    "sveltekit": ("svelte.config.js", "svelte.config.ts"),
    "vite": ("vite.config.ts", "vite.config.js", "vite.config.mjs"),
    "angular": ("angular.json",),
}
_OUTPUT = re.compile(r"""^[^/\n]{0,200}?\boutput\s{0,4}:\s{0,4}['"](standalone|export)['"]""", re.M)
_PNPM_ENTRY = re.compile(r"^ {2}['\"]?/?(@?[^@'\"\s(]{1,200})@[^\n]{0,200}:[ \t]*$")
_BUILDS = re.compile(r"^ {4}requiresBuild: true[ \t]*$")
_LARGEST_LOCK = 20 * 1024 * 1024


def node_facts(tree: Tree, directory: str) -> NodeFacts:
    """Facts of the package in ``directory``; unknown fields stay empty, nothing is raised."""
    files = Files(tree)
    path = at(directory, "package.json")
    manifest = files.json(path) if files.is_file(path) else None
    if manifest is None:
        return NodeFacts(directory)
    text = files.text(path) or ""
    dependencies = {**_texts(manifest, "dependencies"), **_texts(manifest, "optionalDependencies")}
    development = _texts(manifest, "devDependencies")
    scripts = _texts(manifest, "scripts")
    manager, lockfile = _manager(tree, files, directory, manifest)
    everything = {**development, **dependencies}
    framework = next((name for package, name in _FRAMEWORKS if package in everything), "")
    config = next((found for name in _CONFIGS.get(framework, ()) if files.is_file(found := at(directory, name))), "")
    output, output_line = _output(files, framework, config, scripts)
    addons, scripted = _addons(files, path, text, everything, lockfile)
    main = manifest.get("main")
    pinned = manifest.get("packageManager")
    section = max(text.find('"scripts"'), 0)
    return NodeFacts(
        directory,
        path,
        _text(manifest.get("name")),
        _text(manifest.get("version")),
        scripts,
        scripts.get("start", ""),
        main if isinstance(main, str) else "",
        "module" if manifest.get("type") == "module" else "commonjs",
        _texts(manifest, "engines"),
        dependencies,
        development,
        pinned if isinstance(pinned, str) else "",
        manager,
        lockfile,
        _workspaces(tree, directory, manager or "npm"),
        addons,
        scripted,
        framework,
        output,
        output_line,
        config,
        _schema(files, directory, manifest),
        {name: line_of(text, f'"{name}"', section) for name in scripts},
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(manifest: Mapping[str, object], key: str) -> dict[str, str]:
    return {name: value for name, value in table(manifest, key).items() if isinstance(value, str)}


def _manager(tree: Tree, files: Files, directory: str, manifest: Mapping[str, object]) -> tuple[str, str]:
    found = [
        (family, at(directory, name))
        for family, names in LOCKFILES.items()
        if family != "berry"
        for name in names
        if files.is_file(at(directory, name))
    ]
    pinned = _text(manifest.get("packageManager")).partition("@")[0]
    chosen = [pair for pair in found if pair[0] == pinned] or found
    manager = pinned or (chosen[0][0] if len({family for family, _ in chosen}) == 1 else "")
    if manager == "yarn":
        manager = flavour(Gather(Request(tree, "yarn", ("yarn",), directory, "")), directory)
    lockfile = next((path for family, path in chosen if not manager or family == manager.replace("berry", "yarn")), "")
    return manager, lockfile


def _workspaces(tree: Tree, directory: str, manager: str) -> tuple[str, ...]:
    return tuple(sorted(members(Gather(Request(tree, manager, (manager,), directory, "")), directory, manager)))


def _output(files: Files, framework: str, config: str, scripts: Mapping[str, str]) -> tuple[str, int]:
    if framework == "next":
        text = files.text(config) if config else None
        found = _OUTPUT.search(text) if text else None
        if text and found:
            return found[1], text.count("\n", 0, found.start(1)) + 1
        return "", 0
    if framework in _STATIC and not re.search(r"\b(?:node|tsx|ts-node|nodemon)\b", scripts.get("start", "")):
        return "static", 0
    return "", 0


def _schema(files: Files, directory: str, manifest: Mapping[str, object]) -> str:
    named = [*strings(table(manifest, "prisma").get("schema")), "prisma/schema.prisma", "schema.prisma"]
    found = next((path for name in named if files.is_file(path := at(directory, name.removeprefix("./")))), "")
    if not found and files.is_dir(at(directory, "prisma/schema")):
        return at(directory, "prisma/schema")
    return found


def _addons(
    files: Files, path: str, text: str, everything: Mapping[str, str], lockfile: str
) -> tuple[tuple[Addon, ...], tuple[str, ...]]:
    known = native.names("node")
    locked = _locked(files, lockfile)
    found: dict[str, Addon] = {}
    for name in everything:
        if name in known:
            found[name] = Addon(name, path, line_of(text, f'"{name}"'), locked.get(name, (0, False))[1], True)
    for name, (line, builds) in locked.items():
        if name in known and name not in found:
            found[name] = Addon(name, lockfile, line, builds, False)
    return tuple(found[name] for name in sorted(found)), tuple(sorted(name for name, (_, b) in locked.items() if b))


def _locked(files: Files, lockfile: str) -> dict[str, tuple[int, bool]]:
    """Locked package names with the line they stand at and whether they run a script when installed."""
    text = files.text(lockfile) if lockfile else None
    if text is None or len(text) > _LARGEST_LOCK:
        return {}
    name = lockfile.rpartition("/")[2]
    if name in ("package-lock.json", "npm-shrinkwrap.json"):
        return _npm_locked(text)
    if name == "pnpm-lock.yaml":
        return _pnpm_locked(text)
    if name == "bun.lock":
        return _matched(text, r'^ {4}"((?:@[^/"]+/)?[^/"@]+)": \[')
    return _matched(text, r'^"?(@?[^@"\s]{1,200})@[^\n]{0,2000}:[ \t]*$')


def _npm_locked(text: str) -> dict[str, tuple[int, bool]]:
    try:
        packages = table(json.loads(text), "packages")
    except (ValueError, RecursionError):
        return {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key = re.match(r'\s{1,8}"((?:[^"]{0,400}/)?node_modules/[^"]{1,300})": \{', line)
        if key:
            lines.setdefault(key[1], number)
    found: dict[str, tuple[int, bool]] = {}
    for place, entry in packages.items():
        name = place.rpartition("node_modules/")[2]
        if name and "node_modules/" in place:
            builds = table(entry).get("hasInstallScript") is True or found.get(name, (0, False))[1]
            found[name] = (found.get(name, (lines.get(place, 0), False))[0], builds)
    return found


def _pnpm_locked(text: str) -> dict[str, tuple[int, bool]]:
    found: dict[str, tuple[int, bool]] = {}
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        entry = _PNPM_ENTRY.match(line)
        if entry:
            name = entry[1]
            found.setdefault(name, (number, False))
        elif name and _BUILDS.match(line):
            found[name] = (found[name][0], True)
    return found


def _matched(text: str, pattern: str) -> dict[str, tuple[int, bool]]:
    compiled = re.compile(pattern)
    found: dict[str, tuple[int, bool]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        entry = compiled.match(line)
        if entry:
            found.setdefault(entry[1], (number, False))
    return found
