"""``--progress=plain``, of today and of 2019, and the pasted screen of ``--progress=tty``.

Follows util/progress/progressui/printer.go of moby/buildkit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from coach.buildlog.lines import Line
from coach.buildlog.measures import duration, size
from coach.buildlog.values import Build, CacheUse, State, Step, Unread, step

_NUMBERED = re.compile(r"#(\d+) ?(.*)", re.DOTALL)
_DONE = re.compile(r"DONE(?: (\d+(?:\.\d+)?)s)?$")
_ERROR = re.compile(r"ERROR(?: (\d+(?:\.\d+)?)s)?: ?(.*)")
_OUTPUT = re.compile(r"\d+\.\d{1,3}(?: |$)")
_CONTEXT = re.compile(r"transferring context: (\S+)(?: (\d+(?:\.\d+)?)s)?( done)?")
_OLD_FIELD = re.compile(r"\s+(digest|name|started|completed|duration|cached|error): (.*)")
_STATUS = re.compile(
    r"(?:transferring |resolve (?!image config)|sha256:|extracting |preparing build cache|writing |sending |pushing |"
    r"naming to |unpacking |merging |copying |loading |WARN: |pulling |reading |rewriting |compressing |tagging )"
)
_CACHE_NAME = re.compile(r"(importing cache manifest from|inferring cache|exporting cache)(?: to)?\s*(.*)")
_DRIVER = re.compile(r'building with "[^"]*" instance using (\S+) driver')
_SCREEN = re.compile(r"\s*=> (=> )?(?:(CACHED|ERROR|CANCELED) )?(.*?)(?:\s+(\d+(?:\.\d+)?)s)?\s*$")
_TALK = re.compile(
    r"(?:time=\"[^\"]*\" level=(?:warning|error) msg=\"([^\"]*)|(?:ERROR|WARNING|WARN|error): (.*))", re.I
)
_ABOUT_CACHE = re.compile(
    r"cache[- ](?:import|export)|(?:import|export)\w* cache|cache (?:manifest|exporter|importer)", re.I
)
_WENT_WRONG = re.compile(r"fail|skipp|not supported|error|not found|unknown|denied|unauthorized|could not|unable", re.I)


@dataclass
class _Open:
    """A vertex while it is being read."""

    number: int
    name: str
    line: int
    state: State = State.RUNNING
    seconds: float | None = None
    error: str = ""
    first: float | None = None
    last: float | None = None
    spent: float = 0.0
    old: bool = False

    def done(self) -> Step:
        seconds = self.seconds
        if seconds is None and self.old:
            seconds = self.spent
        ended = self.state not in (State.CACHED, State.RUNNING)
        if seconds is None and ended and self.first is not None and self.last is not None:
            seconds = self.last - self.first
        return step(self.name, self.state, seconds, self.line, self.error)


@dataclass
class _Reading:
    """One build while it is being read."""

    vertices: dict[int, _Open] = field(default_factory=dict)
    failures: list[CacheUse] = field(default_factory=list)
    context: dict[int, tuple[int, float | None, int]] = field(default_factory=dict)
    screen: dict[str, tuple[Step, float]] = field(default_factory=dict)
    screen_context: tuple[int, float | None, int] | None = None
    driver: str = ""

    def any(self) -> bool:
        return bool(self.vertices or self.screen)


class Reader:
    """Takes a log's lines one after another."""

    def __init__(self) -> None:
        self._builds: list[_Reading] = [_Reading()]
        self.unread: list[Unread] = []
        self.foreign = 0
        self.old = False
        self.screens = 0
        self.numbered = 0
        self._parent = ""

    @property
    def _now(self) -> _Reading:
        return self._builds[-1]

    def take(self, line: Line) -> None:
        """Read one line; what belongs to no build is counted."""
        text = line.text.rstrip()
        found = _NUMBERED.match(text)
        if found is not None:
            self.numbered += 1
            self._numbered(line, int(found[1]), found[2])
        elif text.lstrip().startswith("=> ") or text.startswith("[+] Building"):
            self.screens += 1
            self._screen(line, text)
        elif text.strip():
            self._talk(line, text)
            self.foreign += 1

    # -- plain

    def _numbered(self, line: Line, number: int, rest: str) -> None:
        driver = _DRIVER.match(rest)
        if driver is not None:
            self._fresh()
            self._now.driver = driver[1]
            return
        vertex = self._now.vertices.get(number)
        if vertex is None:
            self._new(line, number, rest)
            return
        if rest != vertex.name and self._is_header(rest) and vertex.state is not State.RUNNING:
            # numbers begin anew: the next build in the same job
            self._builds.append(_Reading())
            self._new(line, number, rest)
            return
        vertex.last = line.when if line.when is not None else vertex.last
        self._about(line, vertex, rest)

    def _is_header(self, rest: str) -> bool:
        return rest.startswith("[") and not rest.startswith("[auth]") and _OLD_FIELD.match(rest) is None

    def _fresh(self) -> None:
        if self._now.any():
            self._builds.append(_Reading())

    def _new(self, line: Line, number: int, rest: str) -> None:
        ends = rest in ("CACHED", "CANCELED", "...") or _DONE.match(rest) or _ERROR.match(rest) or _OUTPUT.match(rest)
        if (
            ends
            or not rest
            or (_STATUS.match(rest) and not _CACHE_NAME.match(rest) and not rest.startswith("exporting"))
        ):
            nameless = _Open(number, "", line.number, first=line.when, last=line.when)
            self.unread.append(Unread(line.number, f"#{number} is named in a part of the log that is not here"))
            self._now.vertices[number] = nameless
            self._about(line, nameless, rest)
            return
        self._now.vertices[number] = _Open(number, rest, line.number, first=line.when, last=line.when)

    def _about(self, line: Line, vertex: _Open, rest: str) -> None:
        old = _OLD_FIELD.match(rest)
        if old is not None:
            self._old(vertex, old[1], old[2])
            return
        done, error = _DONE.match(rest), _ERROR.match(rest)
        if done is not None:
            vertex.state = State.DONE if vertex.state is not State.ERROR else vertex.state
            vertex.seconds = float(done[1]) if done[1] else vertex.seconds
        elif rest == "CACHED":
            vertex.state = State.CACHED
        elif rest == "CANCELED":
            vertex.state = State.CANCELED
        elif error is not None:
            vertex.state, vertex.error = State.ERROR, error[2] or "failed"
            vertex.seconds = float(error[1]) if error[1] else vertex.seconds
        else:
            sent = _CONTEXT.match(rest)
            if sent is not None and "dockerignore" not in vertex.name and vertex.name:
                amount = size(sent[1])
                if amount is not None:
                    spent = float(sent[2]) if sent[2] else None
                    self._now.context[vertex.number] = (amount, spent, line.number)
            elif rest.startswith("WARN") and _ABOUT_CACHE.search(rest) and _WENT_WRONG.search(rest):
                self._failure(line, rest)

    def _old(self, vertex: _Open, name: str, value: str) -> None:
        self.old = vertex.old = True
        if name == "duration":
            vertex.spent += duration(value) or 0.0
            vertex.state = State.DONE if vertex.state is State.RUNNING else vertex.state
        elif name == "cached" and value.strip() == "true":
            vertex.state = State.CACHED
        elif name == "error":
            vertex.state, vertex.error = State.ERROR, value.strip().strip('"')
        elif name == "name" and not vertex.name:
            vertex.name = value.strip().strip('"')

    # -- screen

    def _screen(self, line: Line, text: str) -> None:
        if text.startswith("[+] Building"):
            return
        found = _SCREEN.match(text)
        if found is None or not found[3]:
            self.unread.append(Unread(line.number, "a line of a screen that was cut"))
            return
        inner, state, name = found[1], found[2], found[3]
        seconds = float(found[4]) if found[4] else None
        if inner:
            sent = _CONTEXT.match(name)
            if sent is not None and "dockerignore" not in self._parent:
                amount = size(sent[1])
                if amount is not None and "load build context" in self._parent:
                    self._now.screen_context = (amount, seconds, line.number)
            return
        self._parent = name
        ended = State(state.lower()) if state else State.DONE
        made = step(
            name, ended, 0.0 if ended is State.CACHED else seconds, line.number, "failed" if state == "ERROR" else ""
        )
        self._now.screen[name] = (made, seconds or 0.0)

    # -- around it

    def _talk(self, line: Line, text: str) -> None:
        found = _TALK.search(text)
        if found is None:
            return
        says = found[1] or found[2] or ""
        if _ABOUT_CACHE.search(says) and _WENT_WRONG.search(says):
            self._failure(line, says)

    def _failure(self, line: Line, says: str) -> None:
        kind = "export" if re.search(r"export", says, re.I) else "import"
        self._now.failures.append(CacheUse(kind, "", None, says.strip()[:300], line.number))

    def builds(self) -> tuple[Build, ...]:
        """All builds with at least one vertex, or with a cache that failed before any."""
        return tuple(self._build(one) for one in self._builds if one.any() or one.failures)

    def _build(self, reading: _Reading) -> Build:
        steps = [vertex.done() for vertex in reading.vertices.values() if vertex.name]
        steps += [made for made, _ in reading.screen.values()]
        for found in steps:
            if found.state is State.RUNNING and not _passes(found.name):
                self.unread.append(Unread(found.line, f"the log ends before this does: {found.name[:80]}"))
        context = max(reading.context.values(), default=reading.screen_context, key=lambda sent: sent[0])
        amount, spent, at = context if context is not None else (None, None, 0)
        return Build(tuple(steps), (*caches(steps), *reading.failures), amount, spent, at, reading.driver)


def _passes(name: str) -> bool:
    return name.startswith("[auth]")


def caches(steps: Iterable[Step]) -> list[CacheUse]:
    """The vertices that bring a cache in or take it out."""
    found = []
    for one in steps:
        match = _CACHE_NAME.match(one.name)
        if match is not None:
            kind = "export" if match[1].startswith("export") else "import"
            found.append(CacheUse(kind, match[2].strip(), one.seconds, one.error, one.line))
    return found
