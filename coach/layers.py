"""What COPY, ADD and bind mounts bring along: which files of the build context stand where in a stage.

Only files of the context are followed. What a RUN writes is not known here, and a path copied out of another
stage counts only as far as it holds context files (BuildKit matches the rest by content).
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from coach.dockerfile import Graph, Instruction, Mount, Stage, State, expand
from coach.dockerignore import IgnoreFile
from coach.model import Entry, Kind, Tree

# Directories that exist in every userland: copying one file there puts it *into* the directory.
_STANDARD_DIRS = frozenset(
    {"/", "/bin", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/root", "/run", "/sbin", "/srv", "/tmp", "/usr"}  # noqa: S108 - paths in a container
    | {"/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/sbin", "/usr/share", "/usr/src"}
    | {"/var", "/var/lib", "/var/log"}
)


# Stands for the working directory of a base image that nobody knows: what is copied to it still stands in one place.
SOMEWHERE = "/\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True, slots=True)
class Placed:
    """A context file (``source``, a repository path) at ``target`` (absolute) in the container, by ``instruction``.

    ``by`` is the COPY, ADD or RUN (bind mount) of the stage that looks at it; ``through_stage`` says that it came
    out of another stage, so that only its content counts for the cache.
    """

    source: str
    target: str
    by: Instruction
    through_stage: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """What one COPY, ADD or bind mount brings. ``unclear`` says why it cannot be told, "" when it can."""

    placed: tuple[Placed, ...]
    unclear: str = ""


def context_entries(tree: Tree, context: str, ignore: IgnoreFile | None) -> Iterator[tuple[str, Entry]]:
    """``(path relative to the context, entry)`` of all that reaches the context: files, symlinks, opaque folders."""
    lead = f"{context}/" if context else ""
    dropped: str | None = None
    for path, entry in tree.entries().items():
        if not path.startswith(lead) or (dropped is not None and path.startswith(dropped)):
            continue
        relative = path[len(lead) :]
        if entry.kind is Kind.DIR:
            if ignore is not None and ignore.ignores_dir_wholly(relative):
                dropped = f"{path}/"
                continue
            if not entry.opaque:
                continue
        if entry.kind is Kind.OTHER or (ignore is not None and ignore.ignores(relative)):
            continue
        yield relative, entry


def clean(path: str) -> str:
    """``path`` without ``.``, ``..`` and a leading slash, as BuildKit clips it to the root of the context."""
    return posixpath.normpath("/" + path).lstrip("/")


@lru_cache(maxsize=512)
def _glob(pattern: str) -> re.Pattern[str]:
    """Go's ``filepath.Match`` (plus ``**``) as a regular expression over a whole path."""
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**/", at):
            out.append("(?:[^/]+/)*")
            at += 2
        elif pattern.startswith("**", at):
            out.append(".*")
            at += 1
        elif char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and "]" in pattern[at + 2 :]:
            end = pattern.index("]", at + 2)
            body = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[{body}]")
            at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            out.append(re.escape(pattern[at]))
        else:
            out.append(re.escape(char))
        at += 1
    try:
        return re.compile("".join(out), re.S)
    except re.error:
        return re.compile(re.escape(pattern))


def _wild(word: str) -> bool:
    return any(char in word for char in "*?[")


class _Paths:
    """A sorted set of relative file paths with directory look-up."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = sorted(paths)
        self._known = set(self._paths)

    def below(self, folder: str) -> list[str]:
        """Files below ``folder`` ("" is everything)."""
        if not folder:
            return self._paths
        first, last = bisect_left(self._paths, folder + "/"), bisect_left(self._paths, folder + "0")  # "0" follows "/"
        return self._paths[first:last]

    def __contains__(self, path: str) -> bool:
        return path in self._known

    def matches(self, word: str) -> list[tuple[str, bool]]:
        """``(path, is directory)`` for all that a source word names: files, directories, wildcard matches."""
        word = clean(word)
        if not word:
            return [("", True)]
        if not _wild(word):
            if word in self._known:
                return [(word, False)]
            return [(word, True)] if self.below(word) else []
        pattern, depth = _glob(word), word.count("/") + 1
        fixed = posixpath.dirname(word.split("*")[0].split("?")[0].split("[")[0])
        deep = "**" in word
        found: dict[str, bool] = {}
        for path in self.below(fixed):
            parts = path.split("/")
            for size in range(1, len(parts) + 1) if deep else (depth,):
                if size <= len(parts):
                    head = "/".join(parts[:size])
                    if head not in found and pattern.fullmatch(head):
                        found[head] = size < len(parts)
        return sorted(found.items())


class Layers:
    """Follows context files through the stages of one graph."""

    def __init__(self, tree: Tree, graph: Graph, context: str, ignore: IgnoreFile | None) -> None:
        self._graph = graph
        self._lead = f"{context}/" if context else ""
        self.entries = tuple(context_entries(tree, context, ignore))
        files = [relative for relative, entry in self.entries if not entry.opaque]
        self._context = _Paths(files)
        self.context_files = tuple(self._lead + relative for relative in files)
        self._ends: dict[int, tuple[Placed, ...]] = {}
        self._brought: dict[int, Brought] = {}
        self._open: set[int] = set()
        self._copies: dict[int, tuple[Instruction, ...]] = {}

    def reaches_context(self, path: str) -> bool:
        """Whether the repository file ``path`` is in the build context, past the ignore file."""
        return path.startswith(self._lead) and path[len(self._lead) :] in self._context

    def brought(self, instruction: Instruction, stage: Stage) -> Brought:
        """What a COPY or ADD of ``stage`` puts into the container; empty for any other instruction."""
        key = instruction.span.start
        if key not in self._brought:
            self._brought[key] = self._bring(instruction, stage)
        return self._brought[key]

    def end(self, stage: Stage) -> tuple[Placed, ...]:
        """Every context file that stands in ``stage`` when it is done, in the order it came, parents first."""
        if stage.index not in self._ends:
            if stage.index in self._open:
                return ()  # a cycle of stages: the graph refuses it, this is only a guard
            self._open.add(stage.index)
            self._ends[stage.index] = tuple(self._until(stage, None))
            self._open.discard(stage.index)
        return self._ends[stage.index]

    def before(self, stage: Stage, instruction: Instruction) -> tuple[Placed, ...]:
        """Every context file in the layer chain above ``instruction``."""
        return tuple(self._until(stage, instruction))

    def _until(self, stage: Stage, stop: Instruction | None) -> Iterator[Placed]:
        parent = self._graph.parent(stage)
        if parent is not None:
            yield from self.end(parent)
        for instruction in self._copies_of(stage):
            if stop is not None and instruction.span.start >= stop.span.start:
                return
            yield from self.brought(instruction, stage).placed

    def _copies_of(self, stage: Stage) -> tuple[Instruction, ...]:
        if stage.index not in self._copies:
            found = tuple(made for made in stage.body if made.name in ("COPY", "ADD"))
            self._copies[stage.index] = found
        return self._copies[stage.index]

    def view(self, stage: Stage, instruction: Instruction | None = None) -> Mapping[str, str]:
        """Container path → repository path of what stands there, before ``instruction`` (``None``: at the end)."""
        placed = self.end(stage) if instruction is None else self.before(stage, instruction)
        return {item.target: item.source for item in placed}

    def _bring(self, instruction: Instruction, stage: Stage) -> Brought:
        state = self._graph.state(instruction)
        words = [expand(word, state.names()).text for word in instruction.words]
        if len(words) < 2 or words[-1] is None:
            return Brought((), "its destination cannot be told")
        sources = [word for word in words[:-1] if not (word or "").startswith("<<")]
        if any(word is None for word in sources):
            return Brought((), "a source holds a variable with no known value")
        known = [word for word in sources if word is not None]
        if instruction.name == "ADD":
            known = [word for word in known if not re.match(r"[a-z][a-z0-9+.-]*://|git@", word)]
        origin = instruction.flag("from")
        paths, lead, through = self._context, "", False
        if origin is not None:
            source = self._graph.source(expand(origin.value or "", state.names()).text or "", stage)
            if not isinstance(source, Stage):
                return Brought(())  # another image: nothing of the context
            standing = {item.target.lstrip("/"): item.source for item in self.end(source)}
            paths, through = _Paths(list(standing)), True
        else:
            lead = self._lead
            standing = {}
        pairs = self._pairs(paths, known, words[-1], state, instruction)
        placed = [
            Placed(standing[source] if through else lead + source, target, instruction, through)
            for source, target in pairs
        ]
        return Brought(tuple(placed))

    def _pairs(
        self, paths: _Paths, sources: list[str], target: str, state: State, instruction: Instruction
    ) -> list[tuple[str, str]]:
        """``(source file, container path)`` for every file the source words name."""
        workdir = state.workdir if state.workdir is not None else SOMEWHERE
        if not target.startswith("/"):
            target = posixpath.join(workdir, target) + ("/" if target in (".", "./", "") else "")
        folder = posixpath.normpath(target)
        excluded = [_glob(clean(word)) for word in instruction.flag_values("exclude")]
        keep_parents = instruction.flag("parents") is not None
        named = [(word, match) for word in sources for match in paths.matches(word)]
        into = (
            target.endswith("/") or len(named) > 1 or folder in _STANDARD_DIRS or folder == posixpath.normpath(workdir)
        )
        pairs: list[tuple[str, str]] = []
        for word, (match, is_dir) in named:
            pivot = clean(word.split("/./", 1)[0]) if "/./" in word else ""
            for path in paths.below(match) if is_dir else [match]:
                inner = path[len(match) :].lstrip("/") if is_dir else posixpath.basename(path)
                if any(pattern.fullmatch(inner) or pattern.fullmatch(path) for pattern in excluded):
                    continue
                if keep_parents:
                    inner = path[len(pivot) :].lstrip("/")
                    pairs.append((path, posixpath.join(folder, inner)))
                elif is_dir or into:
                    pairs.append((path, posixpath.join(folder, inner)))
                else:
                    pairs.append((path, folder))
        return pairs

    def mounted(self, mount: Mount, instruction: Instruction, stage: Stage) -> Brought:
        """What a bind mount of a RUN shows while it runs."""
        if mount.type != "bind":
            return Brought(())
        state = self._graph.state(instruction)
        names = state.names()
        source = expand(mount.options.get("source", ""), names).text
        target = expand(mount.options.get("target", ""), names).text
        if source is None or target is None:
            return Brought((), "a bind mount names a variable with no known value")
        if not target.startswith("/"):
            target = posixpath.join(state.workdir if state.workdir is not None else SOMEWHERE, target)
        folder = posixpath.normpath(target)
        paths, standing, through = self._context, {}, False
        if mount.options.get("from"):
            origin = self._graph.source(expand(mount.options["from"], names).text or "", stage)
            if not isinstance(origin, Stage):
                return Brought(())
            standing = {item.target.lstrip("/"): item.source for item in self.end(origin)}
            paths, through = _Paths(list(standing)), True
        source = clean(source)
        if source in paths:
            pairs = [(source, folder)]
        else:
            pairs = [(path, posixpath.join(folder, path[len(source) :].lstrip("/"))) for path in paths.below(source)]
        return Brought(
            tuple(
                Placed(standing[path] if through else self._lead + path, place, instruction, through)
                for path, place in pairs
            )
        )
