"""The past of a repository as git holds it: read once, in a few calls, without a checkout.

A line of commits is followed along first parents: what a main branch was, one merged change at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from coach import repo
from coach.errors import UsageError
from coach.replay.commits import SUBMODULE, SYMLINK, Commit, MissingError, Node

_FORMAT = "%x01%H%x00%ct%x00%s"
_LFS = b"filter=lfs"
_BATCH = 1000  # contents read in one call

_Logged = tuple[str, int, str, dict[str, Node | None]]


class GitHistory:
    """Up to ``most`` commits of the work tree at ``root``, and one before them to start from.

    Paths are relative to ``root``, which may be a folder of a larger repository. Raises ``UsageError`` where there
    is no history to read.
    """

    def __init__(self, root: Path, most: int, since: str | None = None) -> None:
        self._root = root
        self._blobs: dict[str, bytes | None] = {}
        words = ["log", "--first-parent", "-m", "--raw", "-z", "--no-renames", "--no-abbrev", "--relative"]
        out = repo.git(root, *words, f"--format={_FORMAT}", f"--max-count={most + 1}", "HEAD")
        if out is None:
            raise UsageError("git has no history to tell here (a commit is needed)")
        listed = _until(_parse_log(out), _seconds(root, since) if since else None)
        if not listed:
            raise UsageError("git has no history to tell here")
        oldest = listed[-1][0]
        tree = repo.git(root, "ls-tree", "-r", "-z", oldest)
        if tree is None:
            raise UsageError(f"git cannot read the tree of {oldest[:12]}: objects are missing in this clone")
        first = _parse_tree(tree)
        self.commits: Sequence[Commit] = tuple(
            Commit(name, first if name == oldest else found, subject, when)
            for name, when, subject, found in reversed(listed)
        )
        nodes = [(path, node) for commit in self.commits for path, node in commit.changes.items() if node is not None]
        self.prefetch(node.id for path, node in nodes if node.mode == SYMLINK or _is_read(path))
        self.notes: Sequence[str] = tuple(self._notes(nodes, most))

    def _notes(self, nodes: Sequence[tuple[str, Node]], most: int) -> Iterable[str]:
        shallow = repo.git(self._root, "rev-parse", "--is-shallow-repository")
        if shallow is not None and shallow.strip() == b"true" and len(self.commits) <= most:
            yield (
                f"the clone is shallow: it holds {len(self.commits)} commits of this line; "
                "`git fetch --unshallow` brings the rest"
            )
        modules = sorted({path for path, node in nodes if node.mode == SUBMODULE})
        if modules:
            yield f"submodules count by the commit they are at: {', '.join(modules[:5])}"
        kept = {node.id for path, node in nodes if path.rpartition("/")[2] == ".gitattributes"}
        if any(_LFS in (self._blobs.get(name) or b"") for name in kept):
            yield "files kept in LFS count by their pointers, which change whenever the files do"

    def prefetch(self, names: Iterable[str]) -> None:
        """Read many contents in one call."""
        wanted = [name for name in dict.fromkeys(names) if name not in self._blobs]
        for start in range(0, len(wanted), _BATCH):
            self._fetch(wanted[start : start + _BATCH])

    def _fetch(self, wanted: Sequence[str]) -> None:
        out = repo.git(self._root, "cat-file", "--batch", stdin="".join(f"{name}\n" for name in wanted).encode())
        if out is None:
            return  # git gave up: asked again, one by one, by who needs it
        at = 0
        for name in wanted:
            end = out.find(b"\n", at)
            header = out[at:end].split()
            at = end + 1
            if end < 0 or len(header) != 3:
                self._blobs[name] = None  # "<id> missing": the clone does not hold it
                continue
            size = int(header[2])
            self._blobs[name] = out[at : at + size] if header[1] == b"blob" else None
            at += size + 1

    def blob(self, name: str) -> bytes:
        """Content by id. Raises ``MissingError``."""
        self.prefetch([name])
        found = self._blobs.get(name)
        if found is None:
            raise MissingError(name)
        return found


def _is_read(path: str) -> bool:
    """Whether content of the file is likely to be asked for."""
    name = path.rpartition("/")[2].lower()
    return "dockerfile" in name or "containerfile" in name or name.endswith((".dockerignore", ".gitattributes"))


def _seconds(root: Path, since: str) -> int:
    out = repo.git(root, "rev-parse", f"--since={since}")
    found = re.fullmatch(rb"--max-age=(\d+)", (out or b"").strip())
    if found is None:
        raise UsageError(f"git does not take {since!r} for a date")
    return int(found[1])


def _until(listed: list[_Logged], seconds: int | None) -> list[_Logged]:
    """The commits made since, and the one before them."""
    if seconds is None:
        return listed
    return listed[: next((n + 1 for n, (_, when, _, _) in enumerate(listed) if when < seconds), len(listed))]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _parse_log(out: bytes) -> list[_Logged]:
    """``(commit, seconds, subject, changes)``, newest first, of ``git log --raw -z`` with our format."""
    found: list[_Logged] = []
    fields = iter(out.split(b"\0"))
    for field in fields:
        field = field.lstrip(b"\n")
        if field.startswith(b"\x01"):
            when, subject = next(fields, b"0"), next(fields, b"")
            found.append((_text(field[1:]), int(when or 0), _text(subject), {}))
        elif field.startswith(b":") and found:
            _, mode, _, after, *_ = field.split(b" ")
            path = _text(next(fields, b""))
            name = _text(after)
            found[-1][3][path] = None if mode == b"000000" else Node(_text(mode), name)
    return found


def _parse_tree(out: bytes) -> dict[str, Node | None]:
    found: dict[str, Node | None] = {}
    for record in out.split(b"\0"):
        head, tab, path = record.partition(b"\t")
        if tab:
            mode, _, name = head.split(b" ")
            found[_text(path)] = Node(_text(mode), _text(name))
    return found
