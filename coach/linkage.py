"""Which C library the files that travel between stages are linked against."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
_COMPILERS = frozenset({"gcc", "g++", "cc", "c++", "clang", "clang++", "gfortran", "cmake", "ninja", "meson"})
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


def natives(site: Site, copy: Copy) -> tuple[Native, ...]:
    """Compiled code that ``copy`` carries, as far as the commands of its source tell."""
    if isinstance(copy.source, str):
        return tuple(_from_image(copy, copy.source))
    if copy.source is None:
        return ()
    chain = {stage.index for stage in site.graph.chain(copy.source)}
    runs = [run for run in site.runs if run.stage.index in chain]
    paths = [path for path in copy.paths if path is not None]
    facts = facts_of(site, copy.source)
    return tuple(found for run in runs for found in _of_run(site, copy.source, run, runs, paths, facts))


def _from_image(copy: Copy, ref: str) -> Iterator[Native]:
    facts = images.lookup(ref)
    if facts is None or facts.libc in (None, Libc.NONE):
        return
    for path in copy.paths:
        if path is None:
            continue
        name = posixpath.basename(path)
        if name in _INTERPRETERS or path in (
            "/",
            "/usr",
            "/usr/local",
            "/usr/local/bin",
            "/usr/local/lib",
            "/usr/lib",
            "/lib",
        ):
            yield Native(
                "image", facts.libc, f"{path} of {ref} is linked against {facts.libc}", copy.instruction.line, True
            )


def _of_run(
    site: Site, stage: Stage, run: Run, runs: Sequence[Run], paths: Sequence[str], facts: ImageFacts | None
) -> Iterator[Native]:
    libc = facts.libc if facts is not None else None
    line = run.line
    handled: set[int] = set()
    for step in run.steps:
        handled.add(step.command.start)
        if step.action in (Action.INSTALL, Action.NAMED):
            if not any(covers(path, where) for path in paths for where in environments(run, step)):
                continue
            found = _dependencies(site, run, step)
            if found is not None:
                kind, says, sure = found
                yield Native(kind, libc, says, line, sure, run=run, command=step.command)
        elif step.action is Action.BUILD:
            made = _compiled(run, runs, step.command, facts)
            if made is not None and _carries(site, stage, step.command, paths):
                yield made
    for command in run.script.commands:
        if command.start in handled:
            continue
        made = _compiled(run, runs, command, facts)
        if made is not None and _carries(site, stage, command, paths):
            yield made


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
            return "node", f"installs {', '.join(known[:3])}, which {_are(known)} compiled for one C library", True
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
            found |= locked(name, content.decode("utf-8", "replace"))
    return found


def locked(name: str, text: str) -> set[str]:
    """Names of the packages that a lockfile (or requirements file) lists. Never raises; broken files list nothing."""
    if name in ("package-lock.json", "npm-shrinkwrap.json"):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return set()
        if not isinstance(data, dict):
            return set()
        packages = data.get("packages")
        if isinstance(packages, dict):
            return {key.rpartition("node_modules/")[2] for key in packages if key}
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


def _compiled(run: Run, runs: Sequence[Run], command: Command, facts: ImageFacts | None) -> Native | None:
    words = [word or "" for word in command.words]
    if not words:
        return None
    name, rest = posixpath.basename(words[0]), words[1:]
    libc = facts.libc if facts is not None else None
    joined = " ".join(rest)
    if name in ("go", "xx-go") and rest[:1] in (["build"], ["install"]):
        return _go(run, runs, command, facts, joined)
    if name in ("cargo", "xx-cargo", "cross") and {"build", "install", "rustc", "zigbuild"} & set(rest[:3]):
        if "musl" in joined or "crt-static" in (command.env.get("RUSTFLAGS") or "") or libc is Libc.MUSL:
            return None  # Rust's musl targets are linked statically
        if facts is not None and facts.family == "rust-musl":
            return None
        return Native(
            "rust",
            libc,
            "builds for the gnu target, which needs glibc",
            run.line,
            libc is Libc.GLIBC,
            run=run,
            command=command,
        )
    if name in _COMPILERS and "-static" not in rest and not {"-c", "-E", "--version"} & set(rest):
        if name == "cmake" and "--build" not in rest:
            return None
        return Native(
            "c",
            libc,
            f"`{name}` links against {libc or 'the C library of its image'}",
            run.line,
            name in ("gcc", "g++", "clang"),
            run=run,
            command=command,
        )
    if name == "dotnet" and rest[:1] == ["publish"]:
        return _dotnet(run, command, words)
    if name in ("native-image", "jlink") and "--static" not in rest:
        return Native(
            "java",
            libc,
            f"`{name}` makes a program for {libc or 'the C library of its image'}",
            run.line,
            name == "jlink",
            run=run,
            command=command,
        )
    if name == "mix" and rest[:1] == ["release"]:
        return Native(
            "elixir",
            libc,
            "the release brings the Erlang runtime of this image",
            run.line,
            True,
            run=run,
            command=command,
        )
    if name == "swift" and rest[:1] == ["build"]:
        return Native("swift", libc, "`swift build` links against glibc", run.line, True, run=run, command=command)
    if name in ("make", "gmake"):
        return Native(
            "make", libc, f"`{' '.join(words[:2])}` may compile", run.line, False, True, run=run, command=command
        )
    return None


def _go(run: Run, runs: Sequence[Run], command: Command, facts: ImageFacts | None, joined: str) -> Native | None:
    cgo = command.env.get("CGO_ENABLED", "")
    if cgo == "0" or "-static" in joined or ("netgo" in joined and "osusergo" in joined):
        return None
    libc = facts.libc if facts is not None else None
    if cgo is None:
        return Native(
            "go", libc, "CGO_ENABLED has no value that is known", run.line, False, True, run=run, command=command
        )
    compiler = any(is_compiler(name) for other in runs for install in os_packages(other) for name in install.names)
    if cgo != "1" and facts is not None and facts.cgo is False and not compiler:
        return None  # without gcc Go builds without cgo
    if cgo == "1":
        return Native("go", libc, "builds with cgo", run.line, True, run=run, command=command)
    if facts is None or facts.cgo is None:
        return Native(
            "go", libc, "whether Go uses cgo here cannot be told", run.line, False, True, run=run, command=command
        )
    says = f"cgo is on by default in {facts.reference.written}, so the program needs {libc} as soon as it imports net"
    return Native("go", libc, says, run.line, False, run=run, command=command)


def _dotnet(run: Run, command: Command, words: Sequence[str]) -> Native | None:
    rid = ""
    for at, word in enumerate(words):
        if word in ("-r", "--runtime", "--use-current-runtime", "--ucr") and at + 1 < len(words):
            rid = words[at + 1]
        elif word.startswith(("-r=", "--runtime=")):
            rid = word.partition("=")[2]
    own = " ".join(words)
    if not rid.startswith("linux") or "--self-contained false" in own or "--no-self-contained" in own:
        return None
    libc = Libc.MUSL if "musl" in rid else Libc.GLIBC
    return Native("dotnet", libc, f"publishes for {rid}", run.line, "self-contained" in own, run=run, command=command)


def _carries(site: Site, stage: Stage, command: Command, paths: Sequence[str]) -> bool:
    """Whether one of ``paths`` may hold what ``command`` makes: its output, or a file that no COPY brought."""
    output = output_of(command)
    view = site.layers.view(stage)
    for path in paths:
        if output is not None and (covers(path, output) or covers(output, path)):
            return True
        if path in view or _DATA.search(path) or path.startswith(_DATA_DIRS):
            continue
        if posixpath.basename(path) in ("dist", "static", "public", "node_modules", ".venv", "templates"):
            continue
        if output is None or not output.startswith(path.rstrip("/") + "/"):
            return True
    return False


def output_of(command: Command) -> str | None:
    """Absolute path that a compile command writes to, when its words tell."""
    words = [word or "" for word in command.words]
    name = posixpath.basename(words[0]) if words else ""
    for at, word in enumerate(words):
        if word == "-o" and at + 1 < len(words) and words[at + 1]:
            return _absolute(command, words[at + 1])
        if word.startswith("-o=") or (word.startswith("-o") and name in _COMPILERS and len(word) > 2):
            return _absolute(command, word[2:].lstrip("="))
        if word in ("--output",) and at + 1 < len(words) and words[at + 1]:
            return _absolute(command, words[at + 1])
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
