"""Cargo: manifests of the package, its workspace and its path dependencies.

Which files cargo looks for: https://doc.rust-lang.org/cargo/reference/manifest.html and
https://doc.rust-lang.org/cargo/reference/workspaces.html. Cargo refuses a manifest whose targets do not exist unless
each is stated with a path, which was measured with cargo 1.95: even ``cargo fetch`` wants ``src/main.rs``.
"""

from __future__ import annotations

from collections.abc import Mapping

from coach.manifests.files import at, join, parent, strings, table, upwards, within
from coach.manifests.gather import Closure, Gather, Request, shown, values
from coach.model import Tree

MANAGERS = frozenset(("cargo", "cargo-chef"))

_MOST_PACKAGES = 2_000
_SECTIONS = ("dependencies", "dev-dependencies", "build-dependencies")


def closure(request: Request) -> Closure | None:
    """The closure of a cargo command; raises nothing."""
    gather = Gather(request)
    named = values(request.words, "--manifest-path")
    directory = request.directory
    if named:
        manifest = gather.locate(named[0])
        if manifest is None:
            gather.doubt("the manifest the command works on cannot be told")
        else:
            directory = manifest.rpartition("/")[0]
    above = upwards(directory, gather.context)
    start = next((path for path in above if gather.has(at(path, "Cargo.toml"))), None)
    verbs = [word for word in request.words[1:] if word is not None and not word.startswith(("-", "+"))]
    cooks = "cook" in verbs and (request.manager == "cargo-chef" or "chef" in verbs)
    if cooks:
        # The recipe that an earlier stage wrote stands for every manifest.
        _toolchain(gather, directory)
        gather.add_all(directory, ("recipe.json",))
        return gather.closure(None)
    if start is None:
        return None
    root, members = workspace(gather, start)
    gather.members.update(path for path in members if path != root)
    _packages(gather, root, [root, start, *members])
    _toolchain(gather, start)
    if verbs[:1] not in (["fetch"], ["vendor"]):
        _build_scripts(gather)
    lock = at(root, "Cargo.lock")
    if not gather.add(lock) and any(word in ("--locked", "--frozen") for word in request.words):
        gather.doubt("no Cargo.lock for a build that insists on one", root or ".")
    if verbs[:1] != ["fetch"] and verbs[:1] != ["vendor"] and "prepare" not in verbs:
        gather.reads(f"`cargo {shown(verbs[0] if verbs else '')}` compiles the project's source")
    elif "prepare" in verbs:
        gather.reads("`cargo chef prepare` looks for the targets of every package")
    if None in request.words:
        gather.doubt("a word of the command is not known before it runs")
    return gather.closure(lock if gather.has(lock) else None)


def workspace(gather: Gather, start: str) -> tuple[str, list[str]]:
    """The root of the workspace that the package in ``start`` belongs to, and the directories of its members."""
    own = table(gather.toml(at(start, "Cargo.toml")))
    stated = strings(table(own, "package").get("workspace"))
    above = [path for word in stated if (path := join(start, word)) is not None] or upwards(start, gather.context)
    for root in above:
        stated_here = table(
            gather.toml(at(root, "Cargo.toml")) if gather.has(at(root, "Cargo.toml")) else None, "workspace"
        )
        if not stated_here and "workspace" not in table(gather.toml(at(root, "Cargo.toml"))):
            continue
        patterns = strings(stated_here.get("members"))
        excluded = [join(root, path) for path in strings(stated_here.get("exclude"))]
        found = gather.projects(root, "Cargo.toml", patterns)
        found += [
            path for word in patterns if (path := join(root, word)) is not None and gather.has(at(path, "Cargo.toml"))
        ]
        inside = [path for path in dict.fromkeys(found) if path not in excluded]
        if root == start or start in inside or (start not in excluded and "package" in own):
            return root, inside
    return start, []


def _packages(gather: Gather, root: str, todo: list[str]) -> None:
    """Every manifest that cargo reads, through path dependencies, with a target file so that cargo accepts it."""
    seen: set[str] = set()
    while todo and len(seen) < _MOST_PACKAGES:
        directory = todo.pop()
        if directory in seen:
            continue
        seen.add(directory)
        path = at(directory, "Cargo.toml")
        if not gather.add(path):
            gather.doubt("no Cargo.toml inside the build context", directory or ".")
            continue
        manifest = table(gather.toml(path))
        if "package" in manifest:
            _target(gather, directory, path, manifest)
        for dependencies in _tables(manifest, directory == root):
            for name, entry in dependencies.items():
                relative = table(entry).get("path")
                if isinstance(relative, str):
                    target = join(directory, relative)
                    if target is None or not gather.has(at(target, "Cargo.toml")):
                        gather.doubt(
                            f"`{shown(relative)}` has no Cargo.toml in the build context", path, gather.line(path, name)
                        )
                    else:
                        todo.append(target)


def _tables(manifest: Mapping[str, object], root: bool) -> list[Mapping[str, object]]:
    tables: list[Mapping[str, object]] = [table(manifest, section) for section in _SECTIONS]
    for target in table(manifest, "target").values():
        tables += [table(target, section) for section in _SECTIONS]
    if root:
        tables += [table(manifest, "workspace", "dependencies"), *(table(p) for p in table(manifest, "patch").values())]
        tables.append(table(manifest, "replace"))
    return tables


def _target(gather: Gather, directory: str, path: str, manifest: Mapping[str, object]) -> None:
    wanted = _wanted(gather, directory, manifest)
    if wanted:
        says = f"cargo refuses this manifest while its targets are not there, such as `{shown(wanted[0])}`"
        gather.reads(says, path, gather.line(path, "[package]"))


def _build_scripts(gather: Gather) -> None:
    for path in sorted(gather.files):
        script = at(parent(path), "build.rs")
        if path.endswith("Cargo.toml") and gather.has(script):
            gather.doubt("a build script runs when the package is compiled, and reads what it likes", script, 1)


def _wanted(gather: Gather, directory: str, manifest: Mapping[str, object]) -> list[str]:
    """Files of this package that have to exist before cargo accepts its manifest."""
    wanted: list[str] = []
    pathless = "lib" in manifest and "path" not in table(manifest, "lib")
    stated = "lib" in manifest
    for section, folder in (("bin", "src/bin"), ("example", "examples"), ("test", "tests"), ("bench", "benches")):
        entries = manifest.get(section)
        for entry in entries if isinstance(entries, list) else []:
            stated = stated or section == "bin"
            name = table(entry).get("name")
            if "path" not in table(entry) and isinstance(name, str):
                places = (
                    f"{folder}/{name}.rs",
                    f"{folder}/{name}/main.rs",
                    *(("src/main.rs",) if section == "bin" else ()),
                )
                wanted += [at(directory, place) for place in places if gather.has(join(directory, place))][:1]
    if not stated or pathless or wanted:
        roots = [at(directory, name) for name in ("src/main.rs", "src/lib.rs")]
        found = [path for path in roots if gather.has(path)]
        first = [at(directory, f"src/bin/{name}") for name in gather.children(at(directory, "src/bin"))]
        wanted = [*found, *wanted] or [path for path in first if gather.has(path)][:1] or roots[:1]
    return list(dict.fromkeys(wanted))


def stubs(tree: Tree, directory: str, context: str) -> tuple[str | None, ...]:
    """Files, seen from ``directory``, that have to exist (empty will do) before ``cargo fetch`` accepts the manifests.

    ``None`` stands for one that lies outside ``directory``.
    """
    gather = Gather(Request(tree, "cargo", ("cargo", "fetch"), directory, context))
    start = next((path for path in upwards(directory, context) if gather.has(at(path, "Cargo.toml"))), None)
    if start is None:
        return ()
    root, members = workspace(gather, start)
    _packages(gather, root, [root, start, *members])
    found: list[str | None] = []
    for path in sorted(gather.files):
        if path.endswith("Cargo.toml"):
            manifest = table(gather.toml(path))
            wanted = _wanted(gather, parent(path), manifest) if "package" in manifest else []
            found += [stub[len(directory) :].lstrip("/") if within(stub, directory) else None for stub in wanted]
    return tuple(found)


def targets(tree: Tree, directory: str, context: str) -> tuple[tuple[str | None, bool], ...]:
    """Files, seen from ``directory``, that ``cargo build`` compiles first in every package of the workspace.

    Each with whether it has to have a ``main``: programs, examples and build scripts do, libraries do not. ``None``
    stands for a file that lies outside ``directory``.
    """
    gather = Gather(Request(tree, "cargo", ("cargo", "fetch"), directory, context))
    start = next((path for path in upwards(directory, context) if gather.has(at(path, "Cargo.toml"))), None)
    if start is None:
        return ()
    root, members = workspace(gather, start)
    _packages(gather, root, [root, start, *members])
    found: dict[str, bool] = {}
    for path in sorted(gather.files):
        manifest = table(gather.toml(path)) if path.endswith("Cargo.toml") else {}
        if "package" in manifest:
            found |= _compiled_first(gather, parent(path), manifest)
    return tuple(
        (path[len(directory) :].lstrip("/") if within(path, directory) else None, main) for path, main in found.items()
    )


def _compiled_first(gather: Gather, home: str, manifest: Mapping[str, object]) -> dict[str, bool]:
    package = table(manifest, "package")
    library = table(manifest, "lib").get("path", "src/lib.rs")
    programs: list[object] = ["src/main.rs", package.get("build", "build.rs")]
    for name in gather.children(at(home, "src/bin")):
        programs += [f"src/bin/{name}" if name.endswith(".rs") else f"src/bin/{name}/main.rs"]
    entries = manifest.get("bin")
    programs += [table(entry).get("path") for entry in entries] if isinstance(entries, list) else []
    places = [join(home, place) for place in programs if isinstance(place, str)]
    found = {
        path: True for path in (*places, *_wanted(gather, home, manifest)) if path is not None and gather.has(path)
    }
    shared = join(home, library) if isinstance(library, str) else None
    if shared is not None and gather.has(shared):
        found[shared] = False
    return found


def _toolchain(gather: Gather, directory: str) -> None:
    for above in upwards(directory, gather.context):
        gather.add_all(above, ("rust-toolchain.toml", "rust-toolchain"))
        configured = gather.add_all(above, (".cargo/config.toml", ".cargo/config"))
        for path in configured:
            for source in table(gather.toml(path), "source").values():
                for relative in strings(table(source).get("directory")):
                    gather.need(above, relative, path, gather.line(path, relative))
