"""The build context of one commit as BuildKit hashes it: names, modes and content; never times or owners.

A tree of digests that is brought forward from commit to commit: only what changed is hashed again.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from coach import dockerignore
from coach.dockerignore import IgnoreFile
from coach.errors import InputError
from coach.replay.commits import EXECUTABLE, PLAIN, SUBMODULE, SYMLINK, MissingError, Node

_MOST_LINKS = 40
_WILD = re.compile(r"[*?\[\\]")


def digest(*parts: str) -> str:
    """A name for a sequence of texts that differs whenever one of them does."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogateescape")
        found.update(b"%d:" % len(raw))
        found.update(raw)
    return found.hexdigest()


def clean(path: str) -> str:
    """``path`` clipped to the root of the context, without a leading slash."""
    return posixpath.normpath("/" + path).lstrip("/")


def wild(word: str) -> bool:
    """Whether a source word holds wildcards."""
    return _WILD.search(word) is not None


@lru_cache(maxsize=2048)
def name_pattern(pattern: str) -> re.Pattern[str]:
    """Go's ``filepath.Match`` for one path component."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if out[-1:] != ["[^/]*"]:
                out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\" and at < len(pattern):
            out.append(re.escape(pattern[at]))
            at += 1
        elif char == "[":
            end = at + (pattern[at : at + 1] == "^")
            while end < len(pattern) and (pattern[end] != "]" or end == at):
                end += 2 if pattern[end] == "\\" else 1
            inner = pattern[at:end].removeprefix("^").replace("[", "\\[").replace("&", "\\&").replace("~", "\\~")
            out.append(f"[{'^' if pattern[at : at + 1] == '^' else ''}{inner.replace('|', chr(92) + '|')}]")
            at = end + 1
        else:
            out.append(re.escape(char))
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error:
        return re.compile(re.escape(pattern))


@dataclass(frozen=True, slots=True)
class Selection:
    """What one COPY, ADD or bind mount reads: cleaned source words and patterns of what it leaves out.

    ``parents`` is ``COPY --parents``: whole paths count, and ``**`` spans directories. ``whole`` stands for sources
    that cannot be told: everything counts.
    """

    words: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    parents: bool = False
    whole: bool = False

    def touches(self, path: str) -> bool:
        """Whether the context file ``path`` may be among what is read. Symlinks are not followed."""
        if self.whole:
            return True
        return any(_covers(word, path, self.parents) for word in self.words) and not (
            self.exclude and _excluded(self.exclude, path, self.words)
        )


def _covers(word: str, path: str, deep: bool) -> bool:
    if not word:
        return True
    if not wild(word):
        return path == word or path.startswith(f"{word}/")
    wanted, parts = word.split("/"), path.split("/")
    if deep and "**" in wanted:
        return True
    return len(parts) >= len(wanted) and all(
        name_pattern(pattern).fullmatch(part) for pattern, part in zip(wanted, parts, strict=False)
    )


@lru_cache(maxsize=256)
def _patterns(texts: tuple[str, ...]) -> IgnoreFile | None:
    try:
        return dockerignore.parse("\n".join(texts).encode("utf-8", "surrogateescape"), "--exclude")
    except InputError:
        return None


def _excluded(texts: tuple[str, ...], path: str, words: tuple[str, ...]) -> bool:
    found = _patterns(texts)
    if found is None:
        return False
    inner = [path[len(word) :].lstrip("/") for word in words if not word or path.startswith(f"{word}/")]
    return bool(inner) and all(found.ignores(one) for one in inner)


class _Folder:
    """A directory: its files (``None`` for an ignored one), its folders, and whether it is itself in the context."""

    __slots__ = ("files", "folders", "kept", "known")

    def __init__(self, kept: bool) -> None:
        self.files: dict[str, str | None] = {}
        self.folders: dict[str, _Folder] = {}
        self.kept = kept
        self.known: str | None = None

    def visible(self) -> bool:
        return (
            self.kept
            or any(token is not None for token in self.files.values())
            or any(folder.visible() for folder in self.folders.values())
        )

    def digest(self) -> str:
        if self.known is None:
            parts = [(name, token) for name, token in self.files.items() if token is not None]
            parts += [(name, folder.digest()) for name, folder in self.folders.items() if folder.visible()]
            self.known = digest("folder", *(text for pair in sorted(parts) for text in pair))
        return self.known


def token(node: Node) -> str:
    """What of a path enters a key: whether it is executable, a link or a submodule, and its content."""
    mode = node.mode if node.mode in (SYMLINK, SUBMODULE) else EXECUTABLE if node.mode == EXECUTABLE else PLAIN
    return f"{mode} {node.id}"


class Context:
    """The context at one commit. ``lead`` is the repository folder it is ("" is the root)."""

    def __init__(self, lead: str, ignore: IgnoreFile | None, blob: Callable[[str], bytes]) -> None:
        self._lead = f"{lead}/" if lead else ""
        self._ignore = ignore
        self._blob = blob
        self._root = _Folder(True)

    def update(self, changes: Mapping[str, Node | None]) -> None:
        """Go on to the next commit."""
        lead = self._lead
        for path, node in changes.items():
            if path.startswith(lead):
                self._put(path[len(lead) :], node)

    def inside(self, path: str) -> str | None:
        """A repository path as a path of the context, ``None`` when it is not in it (or ignored)."""
        if not path.startswith(self._lead):
            return None
        inner = path[len(self._lead) :]
        return None if self._ignore is not None and self._ignore.ignores(inner) else inner

    def _put(self, path: str, node: Node | None) -> None:
        *above, name = path.split("/")
        folder, way = self._root, [self._root]
        at = ""
        for part in above:
            at = f"{at}/{part}" if at else part
            inner = folder.folders.get(part)
            if inner is None:
                if node is None:
                    return
                inner = folder.folders[part] = _Folder(self._ignore is None or not self._ignore.ignores(at))
            folder = inner
            way.append(folder)
        for one in way:
            one.known = None
        if node is None:
            folder.files.pop(name, None)
            for part, outer, inner in reversed(list(zip(above, way, way[1:], strict=False))):
                if inner.files or inner.folders:
                    break
                del outer.folders[part]
            return
        ignored = self._ignore is not None and self._ignore.ignores(path)
        folder.files[name] = None if ignored else token(node)

    # -- looking things up

    def _find(self, path: str) -> str | _Folder | None:
        """The file's token or the folder at ``path``, symlinks followed to the end."""
        todo = [part for part in reversed(clean(path).split("/")) if part]
        way: list[tuple[str, _Folder]] = [("", self._root)]
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if len(way) > 1:
                    way.pop()
                continue
            if part == ".":
                continue
            folder = way[-1][1]
            inner = folder.folders.get(part)
            if inner is not None and inner.visible():
                way.append((part, inner))
                continue
            found = folder.files.get(part)
            if found is None:
                return None
            if found.startswith(SYMLINK):
                links += 1
                try:
                    target = self._blob(found.split(" ")[1]).decode("utf-8", "surrogateescape")
                except MissingError:
                    return found
                if links > _MOST_LINKS:
                    return None
                if target.startswith("/"):
                    del way[1:]
                todo += [piece for piece in reversed(target.split("/")) if piece]
                continue
            return found if not todo else None
        return way[-1][1]

    def _matches(self, word: str, deep: bool) -> Iterator[tuple[str, str | _Folder]]:
        """``(path, what is there)`` for all that a source word names; a link that is matched is followed."""
        if not wild(word):
            found = self._find(word)
            if found is not None:
                yield word, found
            return
        parts = word.split("/")
        if deep and "**" in parts:
            yield from self._deep(parts)
            return
        reached: list[tuple[str, _Folder]] = [("", self._root)]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            pattern = name_pattern(part)
            following: list[tuple[str, _Folder]] = []
            for path, folder in reached:
                names = sorted({*folder.files, *folder.folders}) if wild(part) else [part]
                for name in names:
                    if wild(part) and not pattern.fullmatch(name):
                        continue
                    full = f"{path}/{name}" if path else name
                    found = self._find(full)
                    if found is None:
                        continue
                    if last:
                        yield full, found
                    elif isinstance(found, _Folder):
                        following.append((full, found))
            reached = following

    def _deep(self, parts: Sequence[str]) -> Iterator[tuple[str, str | _Folder]]:
        regex = "".join("(?:[^/]+/)*" if part == "**" else name_pattern(part).pattern + "/" for part in parts[:-1]) + (
            ".*" if parts[-1] == "**" else name_pattern(parts[-1]).pattern
        )
        pattern = re.compile(regex, re.DOTALL)
        for path, found in self._walk("", self._root):
            if pattern.fullmatch(path):
                yield path, found

    def _walk(self, path: str, folder: _Folder) -> Iterator[tuple[str, str | _Folder]]:
        todo = [(path, folder)]
        while todo:
            at, here = todo.pop()
            for name, found in here.files.items():
                if found is not None:
                    yield (f"{at}/{name}" if at else name), found
            for name, inner in here.folders.items():
                if inner.visible():
                    full = f"{at}/{name}" if at else name
                    yield full, inner
                    todo.append((full, inner))

    def content(self, selection: Selection) -> str | None:
        """The content key of a selection; ``None`` when a source without wildcards is not there."""
        if selection.whole:
            return self._root.digest()
        parts: list[str] = []
        for word in sorted(selection.words):
            matches = list(self._matches(word, selection.parents))
            if not matches and not wild(word):
                return None
            for path, found in sorted(matches, key=lambda pair: pair[0]):
                if wild(word) or selection.parents:
                    parts.append(path if selection.parents else posixpath.basename(path))
                if isinstance(found, _Folder):
                    parts.append(self._thinned(found, selection) if selection.exclude else found.digest())
                else:
                    parts.append(digest("file", found))
        return digest("content", *parts)

    def _thinned(self, folder: _Folder, selection: Selection) -> str:
        """Digest of a folder without what the selection leaves out."""
        ignore = _patterns(selection.exclude)
        if ignore is None:
            return folder.digest()
        left = sorted(
            (path, found if isinstance(found, str) else "folder")
            for path, found in self._walk("", folder)
            if not ignore.ignores(path)
        )
        return digest("thinned", *(text for pair in left for text in pair))

    def node(self, path: str) -> str | None:
        """What stands at a repository path, as text for a key: a file's token, a folder's digest, ``None``."""
        if not path.startswith(self._lead):
            return None
        found = self._find(path[len(self._lead) :])
        return found.digest() if isinstance(found, _Folder) else found
