"""The repository on disk: the only room that reads and writes the user's files and asks git."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from coach.errors import InputError, UsageError
from coach.model import Entry, Kind

# Directories whose content nobody edits by hand. Their size is counted, their files are not listed.
OPAQUE = frozenset(
    {".git", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".tox", ".nox"}
)
MARKERS = frozenset({"pyvenv.cfg", "CACHEDIR.TAG"})  # files that make their directory opaque
MAX_ENTRIES = 300_000
MAX_COUNTED = 50_000  # files counted in one opaque directory
MAX_BYTES = 10_000_000  # of one file that is read


class DiskTree:
    """A folder on disk as a ``coach.model.Tree``. Listed once; symlinks are resolved, never walked.

    A path whose final target lies outside the folder is listed but cannot be read.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError("no such folder", str(root))
        self.root = Path(os.path.realpath(root))
        self._entries: dict[str, Entry] | None = None
        self._read: dict[str, bytes] = {}

    def entries(self) -> Mapping[str, Entry]:
        if self._entries is None:
            self._entries = {entry.path: entry for entry in sorted(self._walk(), key=lambda entry: entry.path)}
        return self._entries

    def _walk(self) -> Iterator[Entry]:
        folders, listed = [""], 0
        while folders:
            folder = folders.pop()
            for found in _scan(self.root / folder):
                listed += 1
                if listed > MAX_ENTRIES:
                    raise InputError(f"more than {MAX_ENTRIES} files: run coach on a smaller folder", folder)
                path = f"{folder}/{found.name}" if folder else found.name
                entry = self._entry(path, found)
                yield entry
                if entry.kind is Kind.DIR and not entry.opaque:
                    folders.append(path)

    def _entry(self, path: str, found: os.DirEntry[str]) -> Entry:
        try:
            status = found.stat(follow_symlinks=False)
        except OSError:
            return Entry(path, Kind.OTHER)
        if stat.S_ISLNK(status.st_mode):
            return Entry(path, Kind.SYMLINK, target=self._resolve(path))
        if stat.S_ISDIR(status.st_mode):
            if found.name in OPAQUE or any(Path(found.path, marker).is_file() for marker in MARKERS):
                size, truncated = _weigh(found.path)
                return Entry(path, Kind.DIR, size, opaque=True, truncated=truncated)
            return Entry(path, Kind.DIR)
        if stat.S_ISREG(status.st_mode):
            return Entry(path, Kind.FILE, status.st_size, executable=bool(status.st_mode & 0o111))
        return Entry(path, Kind.OTHER)

    def _resolve(self, path: str) -> str | None:
        """Repository path of a symlink's final target; ``None`` when it dangles, loops or leads outside."""
        try:
            real = (self.root / path).resolve(strict=True)
            relative = real.relative_to(self.root).as_posix()
        except (OSError, ValueError, RuntimeError):
            return None
        return "" if relative == "." else relative

    def read(self, path: str) -> bytes:
        if path in self._read:
            return self._read[path]
        entry = self.entries().get(path)
        if entry is not None and entry.kind is Kind.SYMLINK:
            if entry.target is None:
                raise InputError("a symlink that leads nowhere or out of the repository", path)
            entry = self.entries().get(entry.target)
        # a path that runs through a symlinked folder is not listed; it is read only if it ends inside
        real = entry.path if entry is not None else self._resolve(path)
        if real is None or not (self.root / real).is_file():
            raise InputError("no such file", path)
        try:
            if (self.root / real).stat().st_size > MAX_BYTES:
                raise InputError(f"larger than {MAX_BYTES // 1_000_000} MB: not read", path)
            content = (self.root / real).read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path) from None
        self._read[path] = content
        return content


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []  # a folder that may not be listed: BuildKit would fail on it, coach sees it as empty


def _weigh(folder: str) -> tuple[int, bool]:
    """Bytes below ``folder`` and whether counting stopped early."""
    size, counted, folders = 0, 0, [folder]
    while folders:
        for found in _scan(Path(folders.pop())):
            counted += 1
            if counted > MAX_COUNTED:
                return size, True
            try:
                if found.is_dir(follow_symlinks=False):
                    folders.append(found.path)
                else:
                    size += found.stat(follow_symlinks=False).st_size
            except OSError:
                continue
    return size, False


def git(root: Path, *words: str, stdin: bytes = b"") -> bytes | None:
    """Output of a git command that runs nothing of the repository's own (no hooks, no file-system monitor).

    Nothing is fetched either: objects that the clone does not hold stay missing. ``None`` when it fails.
    """
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-optional-locks")
    try:
        done = subprocess.run(  # noqa: S603 - fixed command, no shell
            ["git", *quiet, "-C", str(root), *words],  # noqa: S607
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "none", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def git_top(root: Path) -> Path | None:
    """Top folder of the git work tree that holds ``root``; ``None`` without git or outside a work tree."""
    out = git(root, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(out.rstrip(b"\n"))) if out else None


def dirty(root: Path) -> list[str] | None:
    """Paths with uncommitted changes below ``root``, relative to it; ``None`` when ``root`` is not under git."""
    out = git(root, "status", "--porcelain=v1", "-z", "--untracked-files=normal", "--", ".")
    prefix = git(root, "rev-parse", "--show-prefix")
    if out is None or prefix is None:
        return None
    lead = os.fsdecode(prefix.rstrip(b"\n"))
    records, found = iter(out.split(b"\0")), []
    for record in records:
        if not record:
            continue
        found.append(os.fsdecode(record[3:]).removeprefix(lead))
        if record[:1] in b"RC":
            next(records, None)  # the name before a rename follows as a record of its own
    return sorted(found)


def read_if_there(root: Path, path: str) -> bytes | None:
    """Content of ``path`` below ``root`` as it is on disk now, or ``None``. Raises ``InputError`` on a way out."""
    full = _inside(root, path)
    try:
        return full.read_bytes() if full.exists() else None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path) from None


def _inside(root: Path, path: str) -> Path:
    top = Path(os.path.realpath(root))
    full = Path(os.path.realpath(top / path))
    if full != top and top not in full.parents:
        raise InputError("leads out of the repository", path)
    return full


def write_files(root: Path, changes: Mapping[str, bytes | None], *, private: bool = False) -> None:
    """Write every file of ``changes`` (``None`` deletes it), each atomically: a temporary file, then a rename.

    Modes of existing files are kept; with ``private``, only the owner may read what is written. Nothing is written
    when a path leads out of ``root`` (``InputError``).
    """
    places = {path: _inside(root, path) for path in changes}
    for path, content in changes.items():
        full = places[path]
        try:
            if content is None:
                full.unlink(missing_ok=True)
                continue
            full.parent.mkdir(parents=True, exist_ok=True)
            mode = stat.S_IMODE(full.stat().st_mode) if full.exists() else 0o644
            mode = 0o600 if private else mode
            handle, name = tempfile.mkstemp(dir=full.parent, prefix=f".{full.name}.")
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(content)
                    out.flush()
                    os.fsync(out.fileno())
                Path(name).chmod(mode)
                Path(name).replace(full)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path) from None


def open_tree(path: Path) -> DiskTree:
    """The folder ``path`` as a tree. Raises ``UsageError`` when it is not a folder."""
    return DiskTree(path)
