"""``--progress=rawjson``: one JSON object per line, the vertices with their digests and inputs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from coach.buildlog.lines import Line
from coach.buildlog.plain import caches
from coach.buildlog.values import Build, State, Step, Unread, step

_FRACTION = re.compile(r"\.(\d{1,6})\d*")


@dataclass
class _Vertex:
    name: str
    line: int
    cached: bool = False
    error: str = ""
    spans: set[tuple[str, str]] = field(default_factory=set)
    started: str = ""

    def done(self) -> Step:
        seconds = sum(max(_seconds(end) - _seconds(start), 0.0) for start, end in self.spans) if self.spans else None
        if self.cached:
            state = State.CACHED
        elif self.error:
            state = State.CANCELED if "context canceled" in self.error else State.ERROR
        elif self.spans:
            state = State.DONE
        else:
            state = State.RUNNING
        return step(self.name, state, 0.0 if self.cached else seconds, self.line, self.error[:300])


def _seconds(stamp: str) -> float:
    try:
        return datetime.fromisoformat(_FRACTION.sub(r".\1", stamp.replace("Z", "+00:00"))).timestamp()
    except ValueError:
        return 0.0


class Reader:
    """Takes the lines that are JSON."""

    def __init__(self) -> None:
        self._vertices: dict[str, _Vertex] = {}
        self._sent: dict[str, tuple[int, float | None, int]] = {}
        self.unread: list[Unread] = []
        self.seen = 0

    def take(self, line: Line) -> bool:
        """Whether the line is one of BuildKit's; a damaged one is, and is noted."""
        text = line.text.strip()
        if not text.startswith(('{"vertexes"', '{"statuses"', '{"logs"', '{"warnings"')):
            return False
        self.seen += 1
        try:
            found = json.loads(text)
            for vertex in found.get("vertexes") or ():
                self._vertex(line, vertex)
            for status in found.get("statuses") or ():
                self._status(line, status)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            self.unread.append(Unread(line.number, "a JSON line that was cut or is damaged"))
        return True

    def _vertex(self, line: Line, said: dict[str, Any]) -> None:
        vertex = self._vertices.setdefault(str(said["digest"]), _Vertex(str(said.get("name", "")), line.number))
        vertex.name = str(said.get("name") or vertex.name)
        vertex.cached = vertex.cached or bool(said.get("cached"))
        vertex.error = str(said.get("error") or vertex.error)
        if said.get("started") and said.get("completed"):
            vertex.spans.add((str(said["started"]), str(said["completed"])))

    def _status(self, line: Line, said: dict[str, Any]) -> None:
        if str(said.get("id", "")).startswith("transferring context"):
            spent = None
            if said.get("started") and said.get("completed"):
                spent = _seconds(str(said["completed"])) - _seconds(str(said["started"]))
            self._sent[str(said["vertex"])] = (int(said.get("current", 0)), spent, line.number)

    def builds(self) -> tuple[Build, ...]:
        """The build, none when no vertex was read."""
        if not self._vertices:
            return ()
        made = [vertex.done() for vertex in self._vertices.values()]
        # a linked copy is drawn twice: once as the group, once as the work in it
        steps = tuple(one for one in made if not one.text.startswith("LINK "))
        for one in steps:
            if one.state is State.RUNNING and one.is_instruction and not one.is_base:
                self.unread.append(Unread(one.line, f"never finished in this log: {one.name[:80]}"))
        sent = [
            amount
            for digest, amount in self._sent.items()
            if digest in self._vertices and "load build context" in self._vertices[digest].name
        ]
        context = max(sent, default=(None, None, 0), key=lambda one: one[0])
        return (Build(steps, tuple(caches(steps)), *context),)
