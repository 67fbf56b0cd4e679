"""Edits on bytes: apply them, and show them as one unified diff that ``git apply`` takes."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

from coach.errors import EditError
from coach.model import Edit

CONTEXT = 3  # lines of context, as git shows them
_MOST_PAIRS = 50_000  # of equal lines that difflib has to weigh against each other
NO_NEWLINE = b"\n\\ No newline at end of file\n"
Hidden = Callable[[bytes], bool]


def apply(original: bytes, edits: Iterable[Edit]) -> bytes:
    """``original`` with every edit carried out; bytes outside the spans are kept as they are.

    Edits may come in any order; insertions at one offset keep the order given. Raises ``EditError`` when
    two edits overlap or one reaches past the end.
    """
    ordered = sorted(edits, key=lambda edit: (edit.span.start, edit.span.end))
    out: list[bytes] = []
    at = 0
    for edit in ordered:
        if edit.span.start < at or edit.span.end < edit.span.start or edit.span.end > len(original):
            raise EditError("two edits overlap or reach past the end of the file", edit.path)
        out += [original[at : edit.span.start], edit.new]
        at = edit.span.end
    return b"".join([*out, original[at:]])


def apply_all(originals: Mapping[str, bytes | None], edits: Iterable[Edit]) -> dict[str, bytes]:
    """New content of every edited path. ``originals[path]`` is ``None`` for a file that does not exist yet."""
    ordered = sorted(edits, key=lambda edit: edit.path)
    return {
        path: apply(originals.get(path) or b"", list(group))
        for path, group in groupby(ordered, key=lambda edit: edit.path)
    }


def split_lines(content: bytes) -> list[bytes]:
    """Lines with their ends, as git sees them: only ``\\n`` ends a line."""
    lines = content.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _quoted(prefix: str, path: str) -> str:
    """``path`` as git writes it in a header: quoted, with octal escapes, when a byte is unusual."""
    raw = f"{prefix}{path}".encode("utf-8", "surrogateescape")
    if all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in raw):
        return raw.decode("ascii")
    named = {
        0x07: "a",
        0x08: "b",
        0x09: "t",
        0x0A: "n",
        0x0B: "v",
        0x0C: "f",
        0x0D: "r",
        0x22: '"',
        0x5C: "\\",
    }
    body = "".join(
        f"\\{named[byte]}" if byte in named else chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}" for byte in raw
    )
    return f'"{body}"'


def _hunks(old: list[bytes], new: list[bytes], hidden: Hidden) -> list[list[tuple[str, int, int, int, int]]] | None:
    """Groups of opcodes with up to three lines of context that ``hidden`` allows to show; ``None`` if it cannot be.

    git wants a line of context below a change unless the change ends the file; above it needs none.
    """
    changes = _changes(old, new)
    groups: list[list[tuple[str, int, int, int, int]]] = []
    for number, (tag, i1, i2, j1, j2) in enumerate(changes):
        if any(map(hidden, old[i1:i2])) or any(map(hidden, new[j1:j2])):
            return None
        floor = changes[number - 1][2] if number else 0
        ceiling = changes[number + 1][1] if number + 1 < len(changes) else len(old)
        above = below = 0
        while above < CONTEXT and i1 - above > floor and not hidden(old[i1 - above - 1]):
            above += 1
        while below < CONTEXT and i2 + below < ceiling and not hidden(old[i2 + below]):
            below += 1
        if below == 0 and i2 < len(old) and i2 < ceiling:
            return None
        if above == below == 0 and i1 == i2 == 1:
            return None  # git takes an insertion "after line 1" without context for one at the top
        lead = ("equal", i1 - above, i1, j1 - above, j1)
        trail = ("equal", i2, i2 + below, j2, j2 + below)
        if groups and groups[-1][-1][2] >= lead[1]:
            # the contexts touch or overlap: one hunk, with the lines between the two changes once
            before = groups[-1].pop()
            groups[-1].append(("equal", before[1], i1, before[3], j1))
        else:
            groups.append([lead])
        groups[-1] += [(tag, i1, i2, j1, j2), trail]
    return groups


def _changes(old: list[bytes], new: list[bytes]) -> list[tuple[str, int, int, int, int]]:
    """What differs, as ``SequenceMatcher`` opcodes. Lines that repeat too often to be told apart are one change."""
    first, shorter = 0, min(len(old), len(new))
    while first < shorter and old[first] == new[first]:
        first += 1
    last = 0
    while last < shorter - first and old[-1 - last] == new[-1 - last]:
        last += 1
    ours, theirs = old[first : len(old) - last], new[first : len(new) - last]
    if not ours and not theirs:
        return []
    often = Counter(theirs)
    if not ours or not theirs or sum(often[line] for line in ours) > _MOST_PAIRS:
        kind = "insert" if not ours else "delete" if not theirs else "replace"
        return [(kind, first, len(old) - last, first, len(new) - last)]
    # latin-1 maps every byte to one character and back, so difflib compares bytes unharmed
    matcher = difflib.SequenceMatcher(
        None, [line.decode("latin-1") for line in ours], [line.decode("latin-1") for line in theirs], autojunk=False
    )
    return [
        (tag, first + i1, first + i2, first + j1, first + j2)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]


def _range(start: int, stop: int) -> str:
    """``@@`` range of lines ``start`` to ``stop`` (0-based, half-open), as the unified format counts them."""
    count = stop - start
    return f"{start + 1 if count else start}" + ("" if count == 1 else f",{count}")


def diff_file(path: str, before: bytes | None, after: bytes, hidden: Hidden = lambda _: False) -> bytes | None:
    """Unified diff of one file with ``a/`` and ``b/`` prefixes; ``before=None`` makes a new file; b"" when equal.

    Lines for which ``hidden`` is true (they hold a secret) are kept out of the context; ``None`` when the diff
    cannot be written without one.
    """
    if before == after:
        return b""
    old_name, new_name = _quoted("a/", path), _quoted("b/", path)
    out = [f"diff --git {old_name} {new_name}\n".encode()]
    if before is None:
        out.append(b"new file mode 100644\n")
        if not after:
            return b"".join(out)
    # git ends a name with a tab in these two lines when it holds a blank
    tab = "\t" if " " in path and not old_name.startswith('"') else ""
    out.append(("--- /dev/null\n" if before is None else f"--- {old_name}{tab}\n").encode())
    out.append(f"+++ {new_name}{tab}\n".encode())
    old, new = split_lines(before or b""), split_lines(after)
    groups = _hunks(old, new, hidden)
    if groups is None:
        return None
    for group in groups:
        first, last = group[0], group[-1]
        out.append(f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n".encode())
        for tag, i1, i2, j1, j2 in group:
            shown = [(b" ", old[i1:i2])] if tag == "equal" else [(b"-", old[i1:i2]), (b"+", new[j1:j2])]
            for sign, lines in shown:
                out += [sign + (line if line.endswith(b"\n") else line + NO_NEWLINE) for line in lines]
    return b"".join(out)


def diff(
    before: Mapping[str, bytes | None], after: Mapping[str, bytes], hidden: Hidden = lambda _: False
) -> bytes | None:
    """One patch over several files, in path order; takes what ``apply_all`` returns. ``None`` as ``diff_file``."""
    parts = [diff_file(path, before.get(path), after[path], hidden) for path in sorted(after)]
    return None if any(part is None for part in parts) else b"".join(part for part in parts if part is not None)
