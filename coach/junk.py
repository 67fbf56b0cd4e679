"""What a build context should not hold: what is there, and what this kind of project will put there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from coach.dockerignore import IgnoreFile
from coach.errors import InputError
from coach.layers import clean
from coach.leaks import holds_credentials
from coach.model import Entry, Kind
from coach.shell import Command
from coach.site import Run, Site

_ENV_FILE = re.compile(r"\.env(?:\..+)?")
_ENV_EXAMPLE = re.compile(
    r"\.env(?:\..*)?\.(?:example|sample|template|dist|defaults?|schema|test|ci)|\.envrc\.example", re.I
)
_KEY_FILE = re.compile(
    r"id_(?:rsa|dsa|ecdsa|ed25519)|[^/]*\.(?:pfx|p12|jks|keystore)|\.npmrc\.local|\.netrc|\.pgpass", re.I
)
_GIT_USE = re.compile(
    rb"\bgit\s+(?:-C\s+\S+\s+)?(?:describe|rev-parse|log|show|status|rev-list|symbolic-ref|branch|tag|diff|ls-files|submodule)\b"
    rb"|setuptools[_-]scm|hatch-vcs|versioningit|\bpbr\b|versioneer|poetry-dynamic-versioning|uv-dynamic-versioning"
    rb"|vergen|git-version|gitversion|git-commit-id|gradle-git-properties|nbgv|GitInfo|MinVer|git_describe|git2|sbt-git"
)
_GIT_ARGUMENT = re.compile(rb"""["']git["']\s*,""")  # a list of words handed to a process
_BIG_LOG = 1_000_000
_READS_GIT = re.compile(
    r"(?:Makefile|makefile|GNUmakefile|[^/]*\.mk|Taskfile\.ya?ml|justfile|package\.json|pyproject\.toml|setup\.(?:py|cfg)"
    r"|Cargo\.toml|build\.rs|build\.gradle(?:\.kts)?|pom\.xml|[^/]*\.csproj|Directory\.(?:Build|Packages)\.props|build\.sbt"
    r"|version\.(?:js|mjs|sh)|[^/]*\.(?:sh|bash))"
)


@dataclass(frozen=True)
class Junk:
    """One thing to keep out. ``pattern`` is the ignore line for it, ``there`` whether it is on disk now.

    ``kind``: ``git``, ``dependencies``, ``output``, ``secret``, ``log``, ``cache``. ``size`` in bytes, 0 when it is
    only expected. ``because`` says why it is expected.
    """

    path: str
    pattern: str
    kind: str
    there: bool
    size: int = 0
    because: str = ""

    @property
    def decides(self) -> bool:
        """Whether this alone makes the context a bad one; what does not, only rides along in a patch."""
        if self.there:
            return self.kind in ("git", "dependencies", "output", "secret")
        return self.kind == "output" or (self.kind == "dependencies" and self.path.count("/") <= 1)


@dataclass(frozen=True)
class Wide:
    """An instruction that takes a whole folder of the context (``folder``, relative to it; "" is all of it)."""

    line: int
    end_line: int
    folder: str


def wide_copies(site: Site) -> tuple[Wide, ...]:
    """COPYs, ADDs and bind mounts of reachable stages that take the whole context, in file order."""
    found: list[Wide] = []
    for stage in site.graph.reachable:
        for item in stage.body:
            if item.name in ("COPY", "ADD") and item.flag("from") is None:
                found += [Wide(item.line, item.end_line, "") for word in item.words[:-1] if not clean(word)][:1]
    for run in site.runs:
        for mount in run.mounts:
            whole = (
                mount.type == "bind" and not mount.options.get("from") and not clean(mount.options.get("source", ""))
            )
            if whole:
                found.append(Wide(run.line, run.instruction.end_line, ""))
    return tuple(sorted(found, key=lambda wide: wide.line))


def uses_git(site: Site) -> tuple[str, int] | None:
    """Where the build reads git's history (``git describe``, a version plug-in), if it does."""
    for run in site.runs:
        for command in run.script.commands:
            words = [word for word in command.words[1:] if word and not word.startswith("-")]
            if command.name == "git" and words and words[0] not in ("clone", "config", "init", "fetch", "lfs"):
                return site.path, run.line
            started = _script_with_git(site, run, command)
            if started is not None:
                return started
    listed = site.context_files()
    seen = 0
    for path in listed:
        relative = path[len(site.context) :].lstrip("/") if site.context else path
        if relative.count("/") > 2 or not _READS_GIT.fullmatch(posixpath.basename(path)):
            continue
        seen += 1
        if seen > 200:
            break
        try:
            content = site.read(path)
        except InputError:
            continue
        match = _GIT_USE.search(content[:200_000])
        if match is not None:
            return path, content[: match.start()].count(b"\n") + 1
    return None


def _script_with_git(site: Site, run: Run, command: Command) -> tuple[str, int] | None:
    """Where a script of the repository that ``command`` starts (``python version.py``) reads git's history."""
    for word in command.words[:3]:
        if word is None or word.startswith("-"):
            continue
        source = run.files.get(posixpath.normpath(posixpath.join(command.cwd or "/", word)))
        if source is None:
            continue
        try:
            content = site.read(source)[:200_000]
        except InputError:
            continue
        match = _GIT_USE.search(content) or _GIT_ARGUMENT.search(content)
        if match is not None:
            return source, content.count(b"\n", 0, match.start()) + 1
    return None


def junk(site: Site) -> tuple[Junk, ...]:
    """All that should stay out of this context and gets in, what is on disk first, then what is to be expected."""
    found: dict[str, Junk] = {}
    for item in (*_on_disk(site), *_expected(site)):
        if item.path not in found:
            found[item.path] = item
    return tuple(found.values())


def _relative(site: Site, path: str) -> str:
    return path[len(site.context) :].lstrip("/") if site.context else path


def _full(site: Site, relative: str) -> str:
    return posixpath.join(site.context, relative)


def _ignored(ignore: IgnoreFile | None, path: str) -> bool:
    return ignore is not None and (ignore.ignores(path) or ignore.ignores_dir_wholly(path))


def _on_disk(site: Site) -> Iterator[Junk]:
    for relative, entry in site.layers.entries:
        yield from _classified(site, relative, entry)


def _classified(site: Site, path: str, entry: Entry) -> Iterator[Junk]:
    name = posixpath.basename(path)
    if name == ".git" and path == ".git":
        if uses_git(site) is None:
            yield Junk(path, ".git", "git", True, entry.size)
    elif entry.opaque and name == "node_modules":
        yield Junk(path, _deep(path), "dependencies", True, entry.size)
    elif entry.opaque and name in ("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox"):
        yield Junk(path, f"**/{name}", "cache", True, entry.size)
    elif entry.opaque and entry.size and name != ".git":
        yield Junk(path, path, "dependencies", True, entry.size)
    elif entry.kind is Kind.FILE and _ENV_FILE.fullmatch(name) and not _ENV_EXAMPLE.fullmatch(name):
        if not named(site, path) and (name == ".env" or holds_credentials(site, _full(site, path))):
            yield Junk(path, "**/.env" if name == ".env" else path, "secret", True, entry.size)
    elif entry.kind is Kind.FILE and _KEY_FILE.fullmatch(name):
        if not named(site, path):
            yield Junk(path, path, "secret", True, entry.size)
    elif entry.kind is Kind.FILE and name.endswith(".log") and entry.size > _BIG_LOG:
        yield Junk(path, "**/*.log", "log", True, entry.size)


def _deep(path: str) -> str:
    return path if "/" not in path else f"**/{posixpath.basename(path)}"


def named(site: Site, path: str) -> bool:
    """Whether an instruction names this very file, or its kind (``.env*``): then it is wanted, however odd."""
    return any(
        word == path or (word.strip("*?") != "" and word.count("/") == path.count("/") and fnmatchcase(path, word))
        for item in site.dockerfile.instructions
        if item.name in ("COPY", "ADD") and item.flag("from") is None
        for word in map(clean, item.words[:-1])
    )


def _git_ignored(site: Site) -> frozenset[str]:
    """Plain names that .gitignore keeps out of the history, at the context or above it."""
    names: set[str] = set()
    for folder in {site.context, ""}:
        path = posixpath.join(folder, ".gitignore")
        if site.has(path):
            for line in site.read(path).decode("utf-8", "replace").splitlines():
                names.add(line.strip().strip("/").removeprefix("**/"))
    return frozenset(names)


_BESIDE = (
    # manifest, what the tool puts beside it, kind, why
    (re.compile(r"package\.json"), ("node_modules",), "dependencies", "a local install puts it there"),
    (re.compile(r"[^/]*\.(?:cs|fs|vb)proj"), ("bin", "obj"), "output", "a local .NET build puts it there"),
    (re.compile(r"Cargo\.toml"), ("target",), "output", "a local cargo build puts it there"),
    (re.compile(r"pom\.xml"), ("target",), "output", "a local Maven build puts it there"),
    (re.compile(r"uv\.lock|pdm\.lock"), (".venv",), "dependencies", "the package manager keeps its environment there"),
    (re.compile(r"build\.gradle(?:\.kts)?"), ("build", ".gradle"), "output", "a local Gradle build puts it there"),
    (re.compile(r"mix\.exs"), ("_build", "deps"), "output", "a local mix build puts it there"),
)  # fmt: skip
_OWN_PROJECT = ("package-lock.json", "yarn.lock", "pnpm-lock.yaml", "npm-shrinkwrap.json", "bun.lock", "bun.lockb")


def _expected(site: Site) -> Iterator[Junk]:
    present = {relative for relative, _ in site.layers.entries}
    folders = {folder for relative in present for folder in _above(relative)}
    rooted = any(posixpath.join(site.context, lock) in site.tree.entries() for lock in ("pnpm-lock.yaml", "yarn.lock"))
    for relative, entry in site.layers.entries:
        folder, name = posixpath.split(relative)
        if entry.opaque or relative.count("/") > 6:
            continue
        for manifest, results, kind, because in _BESIDE:
            if not manifest.fullmatch(name):
                continue
            if kind == "dependencies" and folder and name == "package.json" and not rooted:
                own = any(posixpath.join(folder, lock) in present for lock in _OWN_PROJECT)
                if not own:
                    continue
            if name == "Cargo.toml" and folder and "Cargo.toml" in present:
                continue  # a workspace has one target folder, at its root
            for result in results:
                path = posixpath.join(folder, result)
                if path in folders or path in present or _ignored(site.ignore, path):
                    continue  # committed on purpose, already counted, or kept out
                pattern = f"**/{result}" if folder else result
                yield Junk(path, pattern, kind, False, because=because)
    hidden = _git_ignored(site)
    if ".env" in hidden and not _ignored(site.ignore, ".env") and ".env" not in present:
        yield Junk(
            ".env", "**/.env", "secret", False, because=".gitignore keeps it out of the history, not out of the image"
        )


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:size]) for size in range(1, len(parts))]
