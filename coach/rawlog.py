"""BuildKit's ``--progress=rawjson``: one JSON object per line with vertexes, statuses and logs, put back together.

Shape as ``client.SolveStatus`` of moby/buildkit is written out: ``vertexes[{digest,name,started,completed,cached,
error}]``, ``statuses[{id,vertex,current}]``, ``logs[{data}]`` in base64. A vertex is reported more than once; what was
said last holds.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from datetime import datetime

from coach import redact
from coach.measured import BuildStep

_STEP = re.compile(r"\[(?:[^\]]*\s)?\s*\d+/\d+\]\s")
_TAIL = 20_000
_SHOWN = 15
_FRONTEND = re.compile(
    r"(?:failed to (?:resolve source metadata|do request|authorize|fetch)|pull access denied|no such host"
    r"|frontend grpc server|connection refused|i/o timeout|not found).*",
    re.I,
)


class RawLog:
    """A log being read. ``started`` holds the name of the step that began last."""

    def __init__(self) -> None:
        self.started = ""
        self._names: dict[str, str] = {}
        self._cached: dict[str, bool] = {}
        self._spent: dict[str, float] = {}
        self._sent: dict[str, int] = {}
        self._errors: dict[str, str] = {}
        self._output = ""
        self._stray: list[str] = []

    def read(self, lines: Iterable[str]) -> RawLog:
        """Take in every line of ``lines``; returns itself."""
        for line in lines:
            self.line(line)
        return self

    def line(self, line: str) -> None:
        """Take in one line; whatever is not JSON is kept as a message of the client."""
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            if line.strip():
                self._stray = [*self._stray[-_SHOWN:], line.strip()]
            return
        for vertex in _dicts(entry.get("vertexes")):
            self._vertex(vertex)
        for status in _dicts(entry.get("statuses")):
            sent = status.get("current")
            if str(status.get("id", "")).startswith("transferring") and isinstance(sent, int):
                self._sent[str(status.get("vertex"))] = sent
        for log in _dicts(entry.get("logs")):
            try:
                said = base64.b64decode(str(log.get("data", ""))).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                continue
            self._output = (self._output + said)[-_TAIL:]

    def _vertex(self, vertex: dict[str, object]) -> None:
        digest = str(vertex.get("digest", ""))
        name = self._names[digest] = str(vertex.get("name", ""))
        if vertex.get("cached"):
            self._cached[digest] = True
        started, completed = _stamp(vertex.get("started")), _stamp(vertex.get("completed"))
        if started is not None and completed is None:
            self.started = name
        if started is not None and completed is not None:
            # what was learnt later replaces, but keeps, the place in the order
            self._spent[digest] = max(completed - started, 0.0)
        if vertex.get("error"):
            self._errors[digest] = str(vertex["error"])

    @property
    def steps(self) -> tuple[BuildStep, ...]:
        """The Dockerfile's instructions that were gone over, in the order they ended. A base image counts as one."""
        return tuple(
            BuildStep(redact.shown(self._names[digest]), self._cached.get(digest, False), spent)
            for digest, spent in self._spent.items()
            if _STEP.match(self._names[digest]) and digest not in self._errors and not _base(self._names[digest])
        )

    @property
    def context_bytes(self) -> int | None:
        """Bytes of the build context that were sent; ``None`` when no step read any."""
        sent = [
            size for digest, size in self._sent.items() if self._names.get(digest) == "[internal] load build context"
        ]
        return sum(sent) if sent else None

    @property
    def failed_at(self) -> str:
        """The step that failed, "" when none did."""
        return next((self._names[digest] for digest in self._errors if _STEP.match(self._names[digest])), "")

    @property
    def no_frontend(self) -> bool:
        """Whether the build failed because the image named by ``# syntax=`` could not be fetched."""
        return any(
            "resolve image config for docker-image://" in self._names[digest] and _FRONTEND.search(error)
            for digest, error in self._errors.items()
        )

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of output and errors, fit to be shown."""
        said = [*self._output.splitlines(), *dict.fromkeys(self._errors.values())] or self._stray
        return tuple(redact.shown(line) for text in said[-_SHOWN:] for line in text.splitlines() if line.strip())[
            -_SHOWN:
        ]


def _base(name: str) -> bool:
    return bool(re.match(r"\[[^\]]*\]\s+FROM\s", name))


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _stamp(value: object) -> float | None:
    """Seconds of an RFC 3339 time with up to nine digits of a second."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?", str(value or ""))
    if match is None:
        return None
    zone = "+00:00" if match[3] in (None, "Z") else match[3]
    return datetime.fromisoformat(match[1] + zone).timestamp() + float(match[2] or 0)
