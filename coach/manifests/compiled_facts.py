"""What go.mod and Cargo.toml say about a compiled project."""

from __future__ import annotations

import re
from dataclasses import dataclass

from coach.knowledge import native
from coach.manifests.files import Files, at, line_of, parent, table
from coach.manifests.gather import Gather, Request
from coach.manifests.golang import directives
from coach.manifests.rust import workspace
from coach.model import Tree


@dataclass(frozen=True, slots=True)
class Cgo:
    """A module, or a file of the project, that cannot be compiled without a C compiler, and where it stands."""

    name: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class GoFacts:
    """A Go module; ``path`` is that of its go.mod, "" when there is none.

    ``main_packages`` are directories that hold a ``package main`` with a ``main`` function, tests and ignored files
    left out. ``cgo`` is what wants a C compiler: modules known for it, and files of the project that import "C".
    """

    directory: str
    path: str = ""
    module: str = ""
    version: str = ""
    toolchain: str = ""
    requires: tuple[str, ...] = ()
    cgo: tuple[Cgo, ...] = ()
    main_packages: tuple[str, ...] = ()
    vendored: bool = False
    work: str = ""

    @property
    def known(self) -> bool:
        return bool(self.path)


@dataclass(frozen=True, slots=True)
class RustFacts:
    """A Cargo package or workspace; ``path`` is that of its Cargo.toml, "" when there is none.

    ``binaries`` are the names of executables, ``members`` the directories of workspace packages, ``native`` the
    ``-sys`` crates of the lockfile, which link against C libraries.
    """

    directory: str
    path: str = ""
    name: str = ""
    edition: str = ""
    rust_version: str = ""
    binaries: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    lockfile: str = ""
    toolchain: str = ""
    build_script: str = ""
    native: tuple[Cgo, ...] = ()

    @property
    def known(self) -> bool:
        return bool(self.path)


_MOST_SOURCES = 5_000
_MAIN = re.compile(r"^package main\b", re.M)
_MAIN_FUNCTION = re.compile(r"^func main\s{0,4}\(\s{0,4}\)", re.M)
_IMPORTS_C = re.compile(r'^\s*import\s+"C"', re.M)
_IGNORED = re.compile(r"^//\s?(?:go:build|\+build)\s+ignore\b", re.M)
_MAJOR = re.compile(r"/v\d+$")


def go_facts(tree: Tree, directory: str) -> GoFacts:
    """Facts of the module in ``directory``; nothing is raised."""
    files = Files(tree)
    path = at(directory, "go.mod")
    text = files.text(path)
    if text is None:
        return GoFacts(directory)
    said: dict[str, list[tuple[int, str]]] = {}
    for line, verb, rest in directives(text):
        said.setdefault(verb, []).append((line, rest))
    requires = [(line, rest.split()[0].strip('"')) for line, rest in said.get("require", []) if rest.split()]
    known = native.compiled("go")
    cgo = [Cgo(name, path, line) for line, name in requires if _MAJOR.sub("", name) in known]
    mains: set[str] = set()
    inner = {parent(found) for found in files.below(directory) if found.endswith("/go.mod") and found != path}
    sources = [found for found in files.below(directory) if found.endswith(".go") and not found.endswith("_test.go")]
    for source in [found for found in sources if not _elsewhere(found, directory, inner)][:_MOST_SOURCES]:
        code = files.text(source) or ""
        if _IGNORED.search(code[:2_000]):
            continue
        if _MAIN.search(code) and _MAIN_FUNCTION.search(code):
            mains.add(parent(source))
        imported = _IMPORTS_C.search(code)
        if imported:
            cgo.append(Cgo('import "C"', source, code.count("\n", 0, imported.end()) + 1))
    return GoFacts(
        directory,
        path,
        _first(said, "module").strip('"'),
        _first(said, "go"),
        _first(said, "toolchain"),
        tuple(name for _, name in requires),
        tuple(cgo),
        tuple(sorted(mains)),
        files.is_file(at(directory, "vendor/modules.txt")),
        next((work for work in (at(directory, "go.work"), "go.work") if files.is_file(work)), ""),
    )


def _first(said: dict[str, list[tuple[int, str]]], verb: str) -> str:
    return said[verb][0][1] if verb in said else ""


def _elsewhere(path: str, directory: str, inner: set[str]) -> bool:
    parts = parent(path)[len(directory) :].split("/")
    if any(part in ("vendor", "testdata", "node_modules") or part.startswith(("_", ".")) for part in parts if part):
        return True
    return any(path.startswith(f"{other}/") for other in inner)


def rust_facts(tree: Tree, directory: str) -> RustFacts:
    """Facts of the Cargo package or workspace in ``directory``; nothing is raised."""
    files = Files(tree)
    path = at(directory, "Cargo.toml")
    manifest = files.toml(path)
    if not files.is_file(path):
        return RustFacts(directory)
    package = table(manifest, "package")
    gather = Gather(Request(tree, "cargo", ("cargo",), directory, ""))
    root, members = workspace(gather, directory)
    lock = next((found for found in (at(directory, "Cargo.lock"), at(root, "Cargo.lock")) if files.is_file(found)), "")
    toolchains = [at(place, name) for place in (directory, root) for name in ("rust-toolchain.toml", "rust-toolchain")]
    own = members if root == directory else []
    binaries = {name for place in (directory, *own) for name in _binaries(files, place)}
    return RustFacts(
        directory,
        path,
        _text(package.get("name")),
        _text(package.get("edition")),
        _text(package.get("rust-version")),
        tuple(sorted(binaries)),
        tuple(sorted(place for place in own if place != directory)),
        lock,
        next((found for found in toolchains if files.is_file(found)), ""),
        at(directory, "build.rs") if files.is_file(at(directory, "build.rs")) else "",
        _sys_crates(files, lock),
    )


def _binaries(files: Files, directory: str) -> set[str]:
    manifest = files.toml(at(directory, "Cargo.toml"))
    name = table(manifest, "package").get("name")
    found: set[str] = set()
    if isinstance(name, str) and files.is_file(at(directory, "src/main.rs")):
        found.add(name)
    stated = manifest.get("bin") if manifest else None
    for entry in stated if isinstance(stated, list) else []:
        found.add(_text(table(entry).get("name")))
    for child in files.children(at(directory, "src/bin")):
        if child.endswith(".rs"):
            found.add(child.removesuffix(".rs"))
        elif files.is_file(at(directory, f"src/bin/{child}/main.rs")):
            found.add(child)
    return found - {""}


def _sys_crates(files: Files, lock: str) -> tuple[Cgo, ...]:
    text = files.text(lock) if lock else None
    names = re.findall(r'^name = "([\w-]+-sys)"$', text or "", re.M)
    harmless = ("windows-sys", "linux-raw-sys", "js-sys", "web-sys", "core-foundation-sys", "security-framework-sys")
    return tuple(Cgo(n, lock, line_of(text, f'name = "{n}"')) for n in dict.fromkeys(names) if n not in harmless)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
