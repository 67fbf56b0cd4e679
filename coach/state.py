"""What coach remembers between runs, as bytes: an unfinished session, and the journal that ``undo`` reads.

Pure: where these bytes lie is the command line's business. Neither holds more of the repository than is needed
to put a file back.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coach.errors import UsageError
from coach.model import Source
from coach.session import Given, Key

VERSION = 1
KEPT = 20


def digest(*parts: bytes) -> str:
    """A name for content that differs whenever one part does."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Saved:
    """An unfinished session: its target and chart, where it started, what was answered, which FIXes were passed."""

    chart: str
    target: Key
    start: str | None
    answers: tuple[tuple[str, Given], ...]
    passed: tuple[str, ...] = ()


def save_session(saved: Saved) -> bytes:
    """``saved`` as a small JSON document."""
    answers = [
        {"node": node, "choice": given.choice, "source": given.source.value, "assumed": given.assumed}
        for node, given in saved.answers
    ]
    document = {
        "version": VERSION,
        "chart": saved.chart,
        "target": list(saved.target),
        "start": saved.start,
        "answers": answers,
        "passed": list(saved.passed),
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def load_session(content: bytes, chart: str) -> Saved | None:
    """What ``save_session`` wrote; ``None`` when it is damaged or belongs to another chart or version."""
    try:
        found = json.loads(content)
        if found["version"] != VERSION or found["chart"] != chart:
            return None
        dockerfile, context, target = found["target"]
        answers = tuple(
            (str(one["node"]), Given(str(one["choice"]), Source(one["source"]), bool(one["assumed"])))
            for one in found["answers"]
        )
        start = found["start"]
        passed = tuple(str(node) for node in found["passed"])
        key = (str(dockerfile), str(context), target and str(target))
        return Saved(chart, key, start and str(start), answers, passed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class Change:
    """One file of an applied fix: its content before (``None``: there was none), the digest of what was written."""

    path: str
    before: bytes | None
    after: str


def record(files: Mapping[str, tuple[bytes | None, bytes]]) -> tuple[Change, ...]:
    """The journal entry for files about to be written, each as (before, after)."""
    return tuple(Change(path, before, digest(after)) for path, (before, after) in sorted(files.items()))


def save_journal(entries: Sequence[Sequence[Change]]) -> bytes:
    """Entries, oldest first, as JSON; only the last ``KEPT`` are kept."""
    document: dict[str, Any] = {
        "version": VERSION,
        "applied": [
            [
                {
                    "path": change.path,
                    "before": None if change.before is None else base64.b64encode(change.before).decode(),
                    "after": change.after,
                }
                for change in entry
            ]
            for entry in entries[-KEPT:]
        ],
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def load_journal(content: bytes | None) -> list[tuple[Change, ...]]:
    """Entries, oldest first; none when the journal is missing or damaged."""
    if content is None:
        return []
    try:
        found = json.loads(content)
        if found["version"] != VERSION:
            return []
        return [
            tuple(
                Change(
                    str(one["path"]),
                    None if one["before"] is None else base64.b64decode(one["before"]),
                    str(one["after"]),
                )
                for one in entry
            )
            for entry in found["applied"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def undo(entry: Sequence[Change], now: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    """What to write to take ``entry`` back. Raises ``UsageError`` when a file was changed since."""
    for change in entry:
        content = now.get(change.path)
        if content is None or digest(content) != change.after:
            gone = "is gone" if content is None else "was changed"
            raise UsageError(f"{gone} since the fix was applied; nothing was undone", change.path)
    return {change.path: change.before for change in entry}
