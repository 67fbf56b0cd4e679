"""A change of one file as separate hunks that can be taken one by one."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass

from coach import edits


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines ``[first, last)`` of the original (0-based) become ``new``.

    ``patch`` shows this hunk alone, ``None`` when it cannot be shown without a hidden line.
    """

    first: int
    last: int
    new: tuple[bytes, ...]
    patch: bytes | None


def split(path: str, before: bytes | None, after: bytes, hidden: edits.Hidden = lambda _: False) -> tuple[Hunk, ...]:
    """The hunks that turn ``before`` into ``after``, top to bottom. A file that is new is one hunk."""
    if before is None:
        return (Hunk(0, 0, tuple(edits.split_lines(after)), edits.diff_file(path, None, after, hidden)),)
    old, new = edits.split_lines(before), edits.split_lines(after)
    # latin-1 maps every byte to one character and back
    matcher = difflib.SequenceMatcher(
        None, [line.decode("latin-1") for line in old], [line.decode("latin-1") for line in new], autojunk=False
    )
    found = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal":
            alone = Hunk(i1, i2, tuple(new[j1:j2]), b"")
            shown = edits.diff_file(path, before, _joined(old, [alone]), hidden)
            found.append(Hunk(i1, i2, alone.new, shown))
    return tuple(found)


def join(before: bytes | None, hunks: tuple[Hunk, ...], taken: Collection[int]) -> bytes | None:
    """``before`` with the hunks whose numbers are in ``taken``; ``None`` stays when nothing of a new file is."""
    chosen = [hunk for number, hunk in enumerate(hunks) if number in taken]
    if not chosen:
        return before
    return _joined(edits.split_lines(before or b""), chosen)


def _joined(old: list[bytes], chosen: list[Hunk]) -> bytes:
    out: list[bytes] = []
    at = 0
    for hunk in chosen:
        out += [*old[at : hunk.first], *hunk.new]
        at = hunk.last
    return b"".join([*out, *old[at:]])
