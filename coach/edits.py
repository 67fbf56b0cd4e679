"""Edits on bytes: apply them, and show them as one unified diff that ``git apply`` takes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from itertools import groupby

from coach.errors import EditError
from coach.model import Edit


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
        f"\\{named[byte]}" if byte in named else chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
        for byte in raw
    )
    return f'"{body}"'


def diff_file(path: str, before: bytes | None, after: bytes) -> bytes:
    """Unified diff of one file with ``a/`` and ``b/`` prefixes; ``before=None`` makes a new file; b"" when equal."""
    if before == after:
        return b""
    old_name, new_name = _quoted("a/", path), _quoted("b/", path)
    head = [f"diff --git {old_name} {new_name}\n"]
    if before is None:
        head += ["new file mode 100644\n", "--- /dev/null\n", f"+++ {new_name}\n"]
        if not after:
            return "".join(head[:2]).encode()
    else:
        # git ends a name with a tab in these two lines when it holds a blank
        tab = "\t" if " " in path else ""
        head += [f"--- {old_name}{tab}\n", f"+++ {new_name}{tab}\n"]
    old, new = split_lines(before or b""), split_lines(after)
    out = ["".join(head).encode()]
    # latin-1 maps every byte to one character and back, so difflib works on bytes unharmed
    text = [[line.decode("latin-1") for line in lines] for lines in (old, new)]
    hunks = list(difflib.unified_diff(text[0], text[1], n=3, lineterm="\n"))
    for line in hunks[2:]:
        raw = line.encode("latin-1")
        out.append(raw if raw.endswith(b"\n") else raw + b"\n\\ No newline at end of file\n")
    return b"".join(out)


def diff(before: Mapping[str, bytes | None], after: Mapping[str, bytes]) -> bytes:
    """One patch over several files, in path order; takes what ``apply_all`` returns."""
    return b"".join(diff_file(path, before.get(path), after[path]) for path in sorted(after))
