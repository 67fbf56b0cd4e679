"""What a build log says, as values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

_NAME = re.compile(r"\[(?P<label>[^\]]*?)\s*(?P<index>\d+)/(?P<total>\d+)\]\s+(?P<text>.*)", re.DOTALL)
_INTERNAL = re.compile(r"\[(?:\S+ )*(?:internal|context \S+|auth|output)\]|\[auth\]")
_PLATFORM = re.compile(r"(?:linux|windows|darwin|freebsd)/[a-z0-9]+(?:/v\d+)?(?:->[a-z0-9]+(?:/v\d+)?)?$")


class State(StrEnum):
    """How a vertex ended. ``RUNNING``: the log ends before it does."""

    CACHED = "cached"
    DONE = "done"
    ERROR = "error"
    CANCELED = "canceled"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Step:
    """One vertex. ``seconds`` is ``None`` where the log does not tell; ``line`` is where its name stands in the log.

    Of a Dockerfile's instruction, ``stage`` is the label ("" in a single-stage file), ``index`` and ``total`` its
    place among the vertices of the stage, ``text`` the instruction (perhaps cut), ``platform`` what it was built for.
    """

    name: str
    state: State
    seconds: float | None
    line: int
    stage: str = ""
    index: int = 0
    total: int = 0
    text: str = ""
    platform: str = ""
    error: str = ""

    @property
    def is_instruction(self) -> bool:
        return self.index > 0

    @property
    def is_base(self) -> bool:
        """Whether it only fetches the base image."""
        return self.text.startswith("FROM ")


@dataclass(frozen=True, slots=True)
class CacheUse:
    """An import or export of a cache: where, how long, and the failure in the log's words ("" when it went well)."""

    kind: str
    where: str
    seconds: float | None
    error: str
    line: int


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read, and why."""

    line: int
    why: str


@dataclass(frozen=True)
class Build:
    """One build in a log: its vertices in order of appearance.

    ``context_bytes`` is what the client sent of the build context, a lower bound where something was sent before;
    ``None`` when the log does not say.
    """

    steps: tuple[Step, ...]
    caches: tuple[CacheUse, ...] = ()
    context_bytes: int | None = None
    context_seconds: float | None = None
    context_line: int = 0
    driver: str = ""

    @property
    def instructions(self) -> tuple[Step, ...]:
        """The steps of the Dockerfile, without base images."""
        return tuple(step for step in self.steps if step.is_instruction and not step.is_base)


@dataclass(frozen=True)
class Log:
    """A whole file: its builds, in what format, how many of its lines were something else, what could not be read.

    ``from_job`` says that the lines bear the time stamps of a CI job.
    """

    builds: tuple[Build, ...]
    format: str
    foreign: int = 0
    unread: tuple[Unread, ...] = field(default=())
    from_job: bool = False


def step(name: str, state: State, seconds: float | None, line: int, error: str = "") -> Step:
    """A step with its name taken apart."""
    text = name.removeprefix("CACHED ").strip()
    found = _NAME.match(text)
    if found is None or _INTERNAL.match(text):
        return Step(name, state, seconds, line, error=error)
    words = found["label"].split()
    platform = next((word for word in words if _PLATFORM.match(word)), "")
    rest = [word for word in words if not _PLATFORM.match(word)]
    return Step(
        name,
        state,
        seconds,
        line,
        rest[-1] if rest else "",
        int(found["index"]),
        int(found["total"]),
        " ".join(found["text"].split()),
        platform,
        error,
    )
