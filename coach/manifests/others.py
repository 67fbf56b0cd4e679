"""Ecosystems whose install needs fixed files, plus the local paths that their manifests name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from coach.manifests.files import at, join, parent, strings, table, upwards
from coach.manifests.gather import Closure, Gather, Request, flag, shown


@dataclass(frozen=True, slots=True)
class _Tool:
    """``manifests``: one of them has to be there; ``more``: taken in where present; ``lock``: the lockfile, if any.

    ``downloads`` are the subcommands that fetch dependencies alone; ``None`` when every use of the tool does.
    ``local`` finds a dependency on a local path. ``trees`` are directories that belong to the manifests.
    """

    manifests: tuple[str, ...]
    lock: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    downloads: tuple[str, ...] | None = None
    local: re.Pattern[str] | None = None
    trees: tuple[str, ...] = ()
    source: str = ""


_QUOTED = r"""['"]([^'"\n$#]{1,200})['"]"""
_TOOLS = {
    "mix": _Tool(
        ("mix.exs",),
        ("mix.lock",),
        (".formatter.exs", ".tool-versions"),
        ("deps.get", "deps.compile", "local.hex", "local.rebar", "deps.loadpaths"),
        re.compile(rf"\bpath:\s{{0,4}}{_QUOTED}"),
        source="https://hexdocs.pm/mix/Mix.Tasks.Deps.html",
    ),
    "rebar": _Tool(("rebar.config",), ("rebar.lock",), ("rebar.config.script",), ("get-deps", "compile --deps_only")),
    "swift": _Tool(
        ("Package.swift",),
        ("Package.resolved",),
        (".swift-version",),
        ("resolve", "update"),
        re.compile(rf"\.package\s{{0,4}}\([^()\n]{{0,100}}\bpath:\s{{0,4}}{_QUOTED}"),
        source="https://docs.swift.org/package-manager/PackageDescription/PackageDescription.html",
    ),
    "pub": _Tool(
        ("pubspec.yaml",),
        ("pubspec.lock",),
        ("pubspec_overrides.yaml",),
        ("get", "upgrade"),
        re.compile(r"^\s{2,12}path:\s{0,4}['\"]?(\.[^\s'\"#]{1,200})", re.M),
        source="https://dart.dev/tools/pub/dependencies",
    ),
    "conan": _Tool(("conanfile.txt", "conanfile.py"), ("conan.lock",), ("conandata.yml",), ("install",)),
    "vcpkg": _Tool(("vcpkg.json",), (), ("vcpkg-configuration.json",), ("install",)),
    "cabal": _Tool(
        (), ("cabal.project.freeze",), ("cabal.project", "package.yaml"), ("update", "build --only-dependencies")
    ),
    "stack": _Tool(("stack.yaml",), ("stack.yaml.lock",), ("package.yaml",), ("setup", "update")),
    "shards": _Tool(("shard.yml",), ("shard.lock",), ("shard.override.yml",), None),
    "lein": _Tool(("project.clj",), (), ("profiles.clj",), ("deps",)),
    "clojure": _Tool(("deps.edn",), (), ("build.edn",), ("-P",)),
    "cpanm": _Tool(("cpanfile", "Makefile.PL", "Build.PL"), ("cpanfile.snapshot",), (), ("--installdeps",)),
    "carton": _Tool(("cpanfile",), ("cpanfile.snapshot",), (), None),
    "renv": _Tool(("renv.lock",), ("renv.lock",), (".Rprofile", "renv/activate.R", "renv/settings.json"), None),
    "opam": _Tool((), (), ("dune-project",), ("--deps-only",)),
    "luarocks": _Tool((), ("luarocks.lock",), (), ("--only-deps",)),
    "gleam": _Tool(("gleam.toml",), ("manifest.toml",), (), ("deps", "download")),
    "zig": _Tool(("build.zig.zon",), (), ("build.zig",), ("--fetch",)),
}
_BY_ENDING = {"cabal": ".cabal", "stack": ".cabal", "opam": ".opam", "luarocks": ".rockspec"}

MANAGERS = frozenset((*_TOOLS, "deno", "helm"))


def closure(request: Request) -> Closure | None:
    """The closure of an install by one of the smaller package managers; raises nothing."""
    gather = Gather(request)
    if request.manager == "deno":
        return _deno(gather, request.directory)
    if request.manager == "helm":
        found = gather.add_all(request.directory, ("Chart.yaml", "Chart.lock"))
        return gather.closure() if found else None
    return _fixed(gather, request.directory, _TOOLS[request.manager])


def _fixed(gather: Gather, directory: str, tool: _Tool) -> Closure | None:
    manager = gather.manager
    found = gather.add_all(directory, tool.manifests)
    ending = _BY_ENDING.get(manager)
    found += gather.add_all(directory, [n for n in gather.children(directory) if ending and n.endswith(ending)])
    if not found:
        return None
    lock = gather.add_all(directory, tool.lock)
    gather.add_all(directory, tool.more)
    for tree in tool.trees:
        gather.add_dir(at(directory, tree))
    if manager == "mix":
        _mix(gather, directory)
    if manager == "zig":
        gather.reads("zig builds the project; its fetch runs build.zig", at(directory, "build.zig"), 1)
    for path in [path for path in sorted(gather.files) if tool.local is not None]:
        text = gather.text(path) or ""
        for match in tool.local.finditer(text) if tool.local is not None else ():
            relative, line = match[1], text.count("\n", 0, match.start(1)) + 1
            if join(parent(path), relative) != parent(path) and not relative.startswith(("lib", "test", "priv")):
                gather.need(parent(path), relative, path, line)
    words = [word for word in gather.words if word is not None]
    if tool.downloads is not None and not any(_said(words, verb) for verb in tool.downloads):
        gather.reads(f"`{manager} {shown(words[1] if len(words) > 1 else '')}` builds the project".replace(" `", "`"))
    if None in gather.words:
        gather.doubt("a word of the command is not known before it runs")
    return gather.closure(lock[0] if lock else None)


def _said(words: list[str], verb: str) -> bool:
    return all(part in words for part in verb.split())


def _mix(gather: Gather, directory: str) -> None:
    # Configuration is compiled into dependencies, so compiling them needs it while fetching them does not.
    if "deps.compile" in gather.words:
        for name in gather.children(at(directory, "config")):
            if name.endswith(".exs") and name != "runtime.exs":
                gather.add(at(directory, f"config/{name}"))
    for path in gather.below(at(directory, "apps")):
        if path.endswith("/mix.exs") and path.count("/") == at(directory, "apps").count("/") + 2:
            gather.add(path)
            gather.members.add(parent(path))


def _deno(gather: Gather, directory: str) -> Closure | None:
    names = ("deno.json", "deno.jsonc", "package.json")
    start = next((p for p in upwards(directory, gather.context) if any(gather.has(at(p, n)) for n in names)), None)
    if start is None:
        return None
    configured = gather.add_all(start, names)
    lock = gather.add_all(start, ("deno.lock",))
    gather.add_all(start, (".npmrc",))
    for path in configured:
        config = gather.json(path) or {}
        imported = config.get("importMap")
        if isinstance(imported, str) and "://" not in imported:
            gather.need(start, imported, path, gather.line(path, "importMap"))
        listed = config.get("workspace") or config.get("workspaces")
        patterns = strings(table(listed).get("members") if isinstance(listed, dict) else listed)
        for name in names:
            for member in gather.projects(start, name, patterns):
                gather.add(at(member, name))
                gather.members.add(member)
    words = [word for word in gather.words if word is not None]
    entries = [word for word in words if word.endswith((".ts", ".tsx", ".js", ".mjs", ".jsx"))]
    if entries or flag(words, "--entrypoint", "-e"):
        gather.reads(
            f"deno reads the imports of `{shown(entries[0])}`" if entries else "deno reads the entry point's imports"
        )
    elif not {"install", "i", "ci"} & set(words):
        gather.reads(f"`deno {shown(words[1] if len(words) > 1 else '')}` reads the project's source")
    if None in gather.words:
        gather.doubt("a word of the command is not known before it runs")
    return gather.closure(lock[0] if lock else None)
