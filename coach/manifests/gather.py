"""A closure while it is being gathered."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coach import redact
from coach.manifests.files import Files, join, line_of, within
from coach.manifests.globs import matching
from coach.model import Tree

_MOST_LOOKUPS = 500
_MOST_DOUBTS = 1_000


@dataclass(frozen=True, slots=True)
class Closure:
    """What a dependency install needs of the repository, and how sure that is.

    ``files`` are existing repository paths, ``directories`` are needed whole (patches, local path dependencies),
    neither holding anything above the build context; both are sorted. ``uncertain`` says why something may be
    missing. ``reads_source`` says why this command reads the project's own source, so that it cannot run before
    the source is there (an editable install, ``.``, a ``postinstall`` that builds). Each reason is one phrase that
    starts with ``file:line`` where there is one. ``members`` are the directories of the workspace's other packages.
    """

    files: tuple[str, ...]
    directories: tuple[str, ...] = ()
    lockfile: str | None = None
    uncertain: tuple[str, ...] = ()
    reads_source: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One question: these words, run in this directory of this tree, in a build with this context.

    ``look`` turns an absolute path of the container into the repository path that stands there, or ``None``.
    ``trail`` holds the directories whose installs led here (a ``postinstall`` that installs elsewhere).
    """

    tree: Tree
    manager: str
    words: tuple[str | None, ...]
    directory: str
    context: str
    look: Callable[[str], str | None] = lambda _: None
    trail: tuple[str, ...] = ()


class Gather(Files):
    """Collects the parts of one closure; never takes in anything outside the context."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.tree)
        self.request = request
        self.words = request.words
        self.context = request.context
        self.manager = request.manager
        self.files: set[str] = set()
        self.directories: set[str] = set()
        self.members: set[str] = set()
        self.visited: set[str] = set()
        self._asked: dict[str, int] = {}
        self._uncertain: dict[str, None] = {}
        self._reads: dict[str, None] = {}

    def has(self, path: str | None) -> bool:
        """Whether ``path`` is a file inside the context."""
        return path is not None and within(path, self.context) and self.is_file(path)

    def has_dir(self, path: str | None) -> bool:
        """Whether ``path`` is a directory inside the context."""
        return path is not None and within(path, self.context) and self.is_dir(path)

    def add(self, path: str | None) -> bool:
        """Take in ``path`` if it is a file inside the context; says whether it is."""
        if path is None or not self.has(path):
            return False
        self.files.add(path)
        return True

    def add_all(self, directory: str, names: Iterable[str]) -> list[str]:
        """Take in every one of ``names`` that exists in ``directory``; returns their paths."""
        paths = [path for name in names if (path := join(directory, name)) is not None]
        return [path for path in paths if self.add(path)]

    def add_dir(self, path: str | None) -> bool:
        """Take in the whole directory ``path`` if it exists inside the context and is not the whole context."""
        if path is None or path == self.context or not self.has_dir(path):
            return False
        self.directories.add(path)
        return True

    def locate(self, word: str | None, directory: str | None = None) -> str | None:
        """The repository path that a word of the command names, absolute or seen from where the command runs."""
        if word is None:
            return None
        if word.startswith("/"):
            return self.request.look(word)
        return join(self.request.directory if directory is None else directory, word)

    def need(self, directory: str, relative: str, path: str = "", line: int = 0) -> str | None:
        """Take in the file or directory that ``path:line`` names; in doubt when it is not there."""
        if len(self._uncertain) >= _MOST_DOUBTS:
            return None
        target = self.request.look(relative) if relative.startswith("/") and not path else join(directory, relative)
        if self.add(target) or self.add_dir(target):
            return target
        if target == self.context:
            self.reads("the whole build context is named as a dependency", path, line)
        elif target is None or not within(target, self.context):
            says = (
                "is no path that a COPY is known to fill" if relative[:1] == "/" else "lies outside the build context"
            )
            self.doubt(f"`{shown(relative)}` {says}", path, line)
        else:
            self.doubt(f"`{shown(relative)}` is not in the repository", path, line)
        return None

    def doubt(self, says: str, path: str = "", line: int = 0) -> None:
        """Something may be missing from this closure."""
        if len(self._uncertain) < _MOST_DOUBTS:
            self._uncertain[_placed(says, path, line)] = None

    def reads(self, says: str, path: str = "", line: int = 0) -> None:
        """The command reads the project's own source."""
        self._reads[_placed(says, path, line)] = None

    @property
    def reading(self) -> bool:
        return bool(self._reads)

    def line(self, path: str, needle: str) -> int:
        """The line of ``path`` where ``needle`` first stands, or 0; also 0 once a file was asked about too often."""
        self._asked[path] = self._asked.get(path, 0) + 1
        if self._asked[path] > _MOST_LOOKUPS:
            return 0
        return line_of(self.text(path), needle)

    def projects(self, root: str, manifest: str, patterns: Iterable[str], ordered: bool = True) -> list[str]:
        """Directories below ``root`` that hold ``manifest`` and match workspace ``patterns``.

        A pattern that starts with ``!`` takes directories out: of what came before it if ``ordered``, else of all.
        """
        found: set[str] = set()
        skip = len(root) + 1 if root else 0
        candidates = {
            path[skip : -len(manifest) - 1]
            for path in self.below(root)
            if path.endswith(f"/{manifest}") and "/" in path[skip:] and self.has(path)
        }
        given = [pattern for pattern in patterns if pattern.strip()]
        if not ordered:
            given.sort(key=lambda pattern: pattern.startswith("!"))
        for pattern in given:
            negated = pattern.startswith("!")
            hits = matching(pattern.lstrip("!"), candidates)
            found = found - hits if negated else found | hits
        found = {name for name in found if "node_modules" not in name.split("/")}
        return sorted(f"{root}/{name}" if root else name for name in found)

    def closure(self, lockfile: str | None = None) -> Closure:
        """What has been gathered. Files that lie in a directory needed whole are not repeated."""
        for problem in self.problems:
            if within(problem.path, self.context):
                self._uncertain[str(problem)] = None
        whole = sorted(path for path in self.directories if not _inside_another(path, self.directories))
        files = sorted(path for path in self.files if not any(within(path, directory) for directory in whole))
        return Closure(
            tuple(files),
            tuple(whole),
            lockfile,
            tuple(self._uncertain),
            tuple(self._reads),
            tuple(sorted(self.members)),
        )


def _inside_another(path: str, directories: set[str]) -> bool:
    return any(other != path and within(path, other) for other in directories)


def _placed(says: str, path: str, line: int) -> str:
    return f"{path}:{line}: {says}" if path and line else f"{path}: {says}" if path else says


def shown(word: str) -> str:
    """A name out of a file, on one short line that holds no secret and no control character."""
    return redact.shown(" ".join(word.split()), 80)


def flag(words: Iterable[str | None], *names: str) -> bool:
    """Whether one of the switches ``names`` is given (``--x``, ``--x=true``; not ``--x=false``)."""
    given = {word for word in words if word is not None}
    return any(name in given or f"{name}=true" in given for name in names)


def values(words: tuple[str | None, ...], *names: str) -> list[str | None]:
    """What the options ``names`` are given: ``--x v``, ``--x=v``, ``-xv``; ``None`` for one not static."""
    found: list[str | None] = []
    for at, word in enumerate(words):
        if word is None:
            continue
        for name in names:
            if word == name and at + 1 < len(words):
                found.append(words[at + 1])
            elif word.startswith(f"{name}="):
                found.append(word[len(name) + 1 :])
            elif len(name) == 2 and name[0] == "-" and word.startswith(name) and len(word) > 2 and word[1] != "-":
                found.append(word[2:])
    return found


def split(line: str) -> list[str]:
    """Shell-like words of one line; plain splitting where quotes do not close."""
    try:
        return shlex.split(line, comments=False)
    except ValueError:
        return line.split()
