"""Trees that live in memory: a repository given as a mapping, and one with changed files laid over it."""

from __future__ import annotations

from collections.abc import Mapping

from coach.errors import InputError
from coach.model import Entry, Kind, Tree


def parents(path: str) -> list[str]:
    """Every directory above ``path``, nearest last: ``a/b/c`` → ``["a", "a/b"]``."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


class MemoryTree:
    """A repository given as ``{path: content}``."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = dict(files)
        found = {path: Entry(path, Kind.FILE, len(content)) for path, content in files.items()}
        for path in files:
            for above in parents(path):
                found.setdefault(above, Entry(above, Kind.DIR))
        self._entries = dict(sorted(found.items()))

    def entries(self) -> Mapping[str, Entry]:
        return self._entries

    def read(self, path: str) -> bytes:
        try:
            return self._files[path]
        except KeyError:
            raise InputError("no such file", path) from None


class Overlay:
    """``under`` with some files replaced or added. Nothing is written anywhere."""

    def __init__(self, under: Tree, changed: Mapping[str, bytes]) -> None:
        self._under = under
        self._changed = dict(changed)
        found = dict(under.entries())
        for path, content in changed.items():
            old = found.get(path)
            if old is not None and old.kind is Kind.SYMLINK and old.target is not None:
                raise InputError("a change was laid over a symlink instead of its target", path)
            found[path] = Entry(path, Kind.FILE, len(content), executable=bool(old and old.executable))
            for above in parents(path):
                found.setdefault(above, Entry(above, Kind.DIR))
        self._entries = dict(sorted(found.items()))

    def entries(self) -> Mapping[str, Entry]:
        return self._entries

    def read(self, path: str) -> bytes:
        entry = self._entries.get(path)
        if entry is not None and entry.kind is Kind.SYMLINK and entry.target is not None:
            path = entry.target
        return self._changed[path] if path in self._changed else self._under.read(path)
