"""Which C library the files that travel between stages are linked against."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

from coach import images
from coach.dockerfile import Stage
from coach.errors import InputError
from coach.images import ImageFacts, Libc
from coach.shell import Command
from coach.shipped import Copy, covers, environments, is_compiler, os_packages
from coach.site import Run, Site
from coach.steps import Action, PackageStep

_INTERPRETERS = frozenset({"node", "python", "python3", "ruby", "php", "deno", "bun", "perl", "redis-server", "nginx"})
_DATA = re.compile(
    r"\.(?:js|mjs|cjs|ts|css|html?|json|ya?ml|toml|ini|conf|cfg|sh|txt|md|pem|crt|sql|svg|png|jar|war|dll|phar|py|rb|xml)$"
)
_DATA_DIRS = ("/etc", "/usr/share", "/usr/local/share", "/var/www")
_SYSTEM_DIRS = frozenset({"/", "/usr", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/lib", "/lib"})
_NO_PROGRAMS = frozenset({"dist", "static", "public", "node_modules", ".venv", "templates"})
_COMPILERS = frozenset({"gcc", "g++", "cc", "c++", "clang", "clang++", "gfortran", "cmake", "ninja", "meson"})
_ENOUGH = 8  # pieces of compiled code in one copy; more would not change an answer
_MAX_LOCK = 20 * 1024 * 1024


@dataclass(frozen=True)
class Native:
    """Compiled code below a copied path. ``libc`` is what it needs; ``sure`` whether that is beyond doubt.

    ``guess`` says that only a name (``make``) speaks for compiled code at all. ``kind`` is the language.
    """

    kind: str
    libc: Libc | None
    says: str
    line: int
    sure: bool
    guess: bool = False
    run: Run | None = None
    command: Command | None = None


@lru_cache(maxsize=1)
def _names() -> Mapping[str, frozenset[str]]:
    data = tomllib.loads((files("coach") / "knowledge" / "native.toml").read_text("utf-8"))
    return {kind: frozenset(table["names"]) for kind, table in data.items()}


def facts_of(site: Site, stage: Stage) -> ImageFacts | None:
    """What is known of the image at the root of a stage."""
    ref = site.graph.root_image(stage)
    return images.lookup(ref) if ref else None


@dataclass(frozen=True)
class _Made:
    """Compiled code that a stage holds: in ``folders`` (an environment), at ``output``, or wherever it was put."""

    native: Native
    folders: tuple[str, ...] = ()
    output: str | None = None


class Linker:
    """Tells what compiled code travels in the copies of one site. Each stage is looked at once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made: dict[int, tuple[_Made, ...]] = {}
        self._views: dict[int, Mapping[str, str]] = {}

    def natives(self, copy: Copy) -> tuple[Native, ...]:
        """Compiled code that ``copy`` carries, as far as the commands of its source tell."""
        if isinstance(copy.source, str):
            return tuple(_from_image(copy, copy.source))
        if copy.source is None:
            return ()
        stage, paths = copy.source, [path for path in copy.paths if path is not None]
        maybe = self._maybe(stage, paths)
        found: list[Native] = []
        for made in self._of(stage):
            if made.folders:
                if any(covers(path, folder) for path in paths for folder in made.folders):
                    found.append(made.native)
            elif made.output is not None and any(covers(p, made.output) or covers(made.output, p) for p in paths):
                found.append(made.native)
            elif maybe:
                found.append(replace(made.native, sure=False))
            if len(found) == _ENOUGH:
                break
        return tuple(found)

    def _maybe(self, stage: Stage, paths: Sequence[str]) -> bool:
        """Whether one of ``paths`` is neither a file that a COPY brought nor data by its name."""
        if stage.index not in self._views:
            self._views[stage.index] = self._site.layers.view(stage)
        view = self._views[stage.index]
        return any(
            path not in view
            and not _DATA.search(path)
            and not path.startswith(_DATA_DIRS)
            and posixpath.basename(path) not in _NO_PROGRAMS
            for path in paths
        )

    def _of(self, stage: Stage) -> tuple[_Made, ...]:
        if stage.index not in self._made:
            chain = {link.index for link in self._site.graph.chain(stage)}
            runs = [run for run in self._site.runs if run.stage.index in chain]
            facts = facts_of(self._site, stage)
            compiler = any(is_compiler(name) for run in runs for install in os_packages(run) for name in install.names)
            builder = _Builder(facts, compiler, self._configured())
            self._made[stage.index] = tuple(found for run in runs for found in _of_run(self._site, run, builder))
        return self._made[stage.index]

    def _configured(self) -> bool:
        return any(path.endswith((".cargo/config.toml", ".cargo/config")) for path in self._site.context_files())


@dataclass(frozen=True)
class _Builder:
    """What a stage compiles with: its base, whether a C compiler was added, whether cargo has a configuration."""

    facts: ImageFacts | None
    compiler: bool
    configured: bool

    @property
    def libc(self) -> Libc | None:
        return self.facts.libc if self.facts is not None else None


def natives(site: Site, copy: Copy) -> tuple[Native, ...]:
    """Compiled code that one copy carries; for many copies of a site use one ``Linker``."""
    return Linker(site).natives(copy)


def _from_image(copy: Copy, ref: str) -> Iterator[Native]:
    facts = images.lookup(ref)
    if facts is None or facts.libc in (None, Libc.NONE):
        return
    for path in copy.paths:
        if path is not None and (posixpath.basename(path) in _INTERPRETERS or path in _SYSTEM_DIRS):
            says = f"{path} of {ref} is linked against {facts.libc}"
            yield Native("image", facts.libc, says, copy.instruction.line, True)


def _of_run(site: Site, run: Run, builder: _Builder) -> Iterator[_Made]:
    handled: set[int] = set()
    for step in run.steps:
        handled.add(step.command.start)
        if step.action in (Action.INSTALL, Action.NAMED):
            folders = environments(run, step)
            found = _dependencies(site, run, step) if folders else None
            if found is not None:
                kind, says, sure = found
                native = Native(kind, builder.libc, says, run.line, sure, run=run, command=step.command)
                yield _Made(native, folders)
        elif step.action is Action.BUILD:
            made = _compiled(run, step.command, builder)
            if made is not None:
                yield _Made(made, (), output_of(step.command))
    for command in run.script.commands:
        if command.start not in handled:
            made = _compiled(run, command, builder)
            if made is not None:
                yield _Made(made, (), output_of(command))


def _dependencies(site: Site, run: Run, step: PackageStep) -> tuple[str, str, bool] | None:
    """``(kind, what, certain)`` when an install brings compiled code."""
    if step.ecosystem == "python" or step.manager in ("pip", "uv", "poetry", "pdm", "pipenv"):
        names = sorted(
            _declared(site, run, step, ("requirements.txt", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"))
        )
        known = [name for name in names if name in _names()["python"]]
        if known:
            return "python", f"installs {', '.join(known[:3])}, which {_are(known)} compiled", True
        return "python", "fills a Python environment, whose wheels may be compiled", False
    if "node_modules" in "".join(environments(run, step)):
        names = sorted(
            _declared(
                site, run, step, ("package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock")
            )
        )
        known = [name for name in names if name in _names()["node"]]
        if known:
            return "node", f"installs {', '.join(known[:3])}, which {_are(known)} compiled for one C library", False
        return None
    if step.manager in ("bundler", "bundle"):
        return "ruby", "installs gems, many of which compile", False
    return None


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _declared(site: Site, run: Run, step: PackageStep, names: Sequence[str]) -> set[str]:
    """Package names in the lockfiles that the install sees."""
    if step.directory is None:
        return set()
    found: set[str] = set()
    for name in names:
        path = run.files.get(posixpath.normpath(posixpath.join(step.directory, name)))
        if path is None:
            continue
        try:
            content = site.read(path)
        except InputError:
            continue
        if len(content) <= _MAX_LOCK:
            found |= locked(name, content.decode("utf-8", "replace"), production=step.dev is False)
    return found


def locked(name: str, text: str, *, production: bool = False) -> set[str]:
    """Names of the packages that a lockfile (or requirements file) lists. Never raises; broken files list nothing.

    ``production`` leaves out development dependencies where the file tells them apart.
    """
    if name in ("package-lock.json", "npm-shrinkwrap.json"):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return set()
        if not isinstance(data, dict):
            return set()
        packages = data.get("packages")
        if isinstance(packages, dict):
            return {
                key.rpartition("node_modules/")[2]
                for key, entry in packages.items()
                if key and not (production and isinstance(entry, dict) and entry.get("dev") is True)
            }
        dependencies = data.get("dependencies")
        return set(dependencies) if isinstance(dependencies, dict) else set()
    if name == "pnpm-lock.yaml":
        return {match[1] for match in re.finditer(r"^ +['\"]?/?((?:@[\w.-]+/)?[\w.-]+)[@/]\d", text, re.M)}
    if name in ("yarn.lock", "bun.lock"):
        return {match[1] for match in re.finditer(r"^ *[\"']?((?:@[\w.-]+/)?[\w.-]+)(?:@|[\"']: \[)", text, re.M)}
    if name == "requirements.txt":
        return {match[1].lower() for match in re.finditer(r"^ *([A-Za-z0-9][\w.-]*)", text, re.M)}
    if name == "Pipfile.lock":
        return {match[1].lower() for match in re.finditer(r"^ +\"([\w.-]+)\": \{", text, re.M)}
    return {match[1].lower() for match in re.finditer(r"^name = \"([\w.-]+)\"", text, re.M)}


def _compiled(run: Run, command: Command, builder: _Builder) -> Native | None:
    """What a command that may compile makes; ``None`` when it makes no program that needs a C library."""
    words = [word or "" for word in command.words]
    if not words:
        return None
    name, rest = posixpath.basename(words[0]), words[1:]
    libc = builder.libc
    if name in ("go", "xx-go") and rest[:1] in (["build"], ["install"]):
        return _go(run, command, builder, " ".join(rest))
    if name in ("cargo", "xx-cargo", "cross") and {"build", "install", "rustc", "zigbuild"} & set(rest[:3]):
        return _rust(run, command, builder)
    if name == "dotnet" and rest[:1] == ["publish"]:
        return _dotnet(run, command, words)
    where = libc or "the C library of its image"
    if name in _COMPILERS:
        if "-static" in rest or {"-c", "-E", "--version"} & set(rest) or (name == "cmake" and "--build" not in rest):
            return None
        sure = name in ("gcc", "g++", "clang")
        return _native(run, command, "c", libc, f"`{name}` links against {where}", sure=sure)
    if name in ("native-image", "jlink") and "--static" not in rest:
        return _native(run, command, "java", libc, f"`{name}` makes a program for {where}", sure=name == "jlink")
    if name == "mix" and rest[:1] == ["release"]:
        return _native(run, command, "elixir", libc, "the release brings the Erlang runtime of this image")
    if name == "swift" and rest[:1] == ["build"]:
        return _native(run, command, "swift", libc, f"`swift build` links against {where}")
    if (name, *rest[:1]) in (("bun", "build"), ("deno", "compile")):
        return _standalone(run, command, libc, name)
    if name in ("make", "gmake"):
        return _native(run, command, "make", libc, f"`{' '.join(words[:2])}` may compile", sure=False, guess=True)
    return None


def _native(
    run: Run, command: Command, kind: str, libc: Libc | None, says: str, *, sure: bool = True, guess: bool = False
) -> Native:
    return Native(kind, libc, says, run.line, sure, guess, run, command)


def _standalone(run: Run, command: Command, libc: Libc | None, name: str) -> Native | None:
    """A JavaScript program that holds its runtime.

    Source: https://bun.sh/docs/bundler/executables and https://docs.deno.com/runtime/reference/cli/compile/
    """
    words = [word or "" for word in command.words]
    if name == "bun" and "--compile" not in words:
        return None
    target = next((word for word in words if re.search(r"(?:^|=)(?:bun-|(?:x86_64|aarch64)-)", word)), "")
    if re.search(r"windows|darwin", target):
        return None
    if name == "deno" or ("linux" in target and "musl" not in target):
        libc = Libc.GLIBC
    elif "musl" in target:
        libc = Libc.MUSL
    return _native(run, command, name, libc, f"`{name} {words[1]}` puts the runtime into the program")


def _rust(run: Run, command: Command, builder: _Builder) -> Native | None:
    libc = builder.libc
    target = command.env.get("CARGO_BUILD_TARGET", "")
    for at, word in enumerate(command.words):
        if word == "--target" and at + 1 < len(command.words):
            target = command.words[at + 1]
        elif word is not None and word.startswith("--target="):
            target = word.partition("=")[2]
    if target is None or (not target and (libc is None or builder.configured)):
        says = "which target Rust builds for cannot be told"
        return _native(run, command, "rust", libc, says, sure=False, guess=True)
    static = "crt-static" in (command.env.get("RUSTFLAGS") or "")
    if static or (target and "-linux-gnu" not in target) or (not target and libc is Libc.MUSL):
        return None  # Rust's musl targets are linked statically, and other systems' have no libc of ours
    return _native(run, command, "rust", Libc.GLIBC, "builds for the gnu target, which needs glibc")


def _go(run: Run, command: Command, builder: _Builder, joined: str) -> Native | None:
    cgo = command.env.get("CGO_ENABLED", "")
    facts, libc = builder.facts, builder.libc
    if command.env.get("GOOS", "linux") not in (None, "linux", ""):
        return None
    if cgo == "0" or "-static" in joined or ("netgo" in joined and "osusergo" in joined):
        return None
    if cgo == "1":
        return _native(run, command, "go", libc, "builds with cgo")
    if cgo is None:
        says = "CGO_ENABLED has no value that is known"
        return _native(run, command, "go", libc, says, sure=False, guess=True)
    if facts is not None and facts.cgo is False and not builder.compiler:
        return None  # without gcc Go builds without cgo
    if facts is None or facts.cgo is None:
        says = "whether Go uses cgo here cannot be told"
        return _native(run, command, "go", libc, says, sure=False, guess=True)
    says = f"cgo is on by default in {facts.reference.written}, so the program needs {libc} as soon as it imports net"
    return _native(run, command, "go", libc, says, sure=False)


def _dotnet(run: Run, command: Command, words: Sequence[str]) -> Native | None:
    rid = ""
    for at, word in enumerate(words):
        if word in ("-r", "--runtime") and at + 1 < len(words):
            rid = words[at + 1]
        elif word.startswith(("-r=", "--runtime=")):
            rid = word.partition("=")[2]
    own = " ".join(words)
    if not rid.startswith("linux") or "--self-contained false" in own or "--no-self-contained" in own:
        return None
    libc = Libc.MUSL if "musl" in rid else Libc.GLIBC
    return _native(run, command, "dotnet", libc, f"publishes for {rid}", sure="self-contained" in own)


def output_of(command: Command) -> str | None:
    """Absolute path that a compile command writes to, when its words tell."""
    words = [word or "" for word in command.words]
    name = posixpath.basename(words[0]) if words else ""
    for at, word in enumerate(words):
        if word == "-o" and at + 1 < len(words) and words[at + 1]:
            return _absolute(command, words[at + 1])
        if word.startswith("-o=") or (word.startswith("-o") and name in _COMPILERS and len(word) > 2):
            return _absolute(command, word[2:].lstrip("="))
        if word in ("--output", "--outfile") and at + 1 < len(words) and words[at + 1]:
            return _absolute(command, words[at + 1])
        if word.startswith(("--output=", "--outfile=")):
            return _absolute(command, word.partition("=")[2])
    if name in ("go", "xx-go") and words[1:2] == ["install"]:
        return command.env.get("GOBIN") or posixpath.join(command.env.get("GOPATH") or "/go", "bin")
    if name in ("cargo", "xx-cargo") and "build" in words:
        target = command.env.get("CARGO_TARGET_DIR") or "target"
        return _absolute(command, target)
    return None


def _absolute(command: Command, path: str) -> str | None:
    if path.startswith("/"):
        return posixpath.normpath(path)
    return posixpath.normpath(posixpath.join(command.cwd, path)) if command.cwd is not None else None
