"""What an engine was seen to do, as values: builds with their steps, images with their files, containers that start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from coach import redact

_MOUNT = re.compile(r"--(?:mount|network|security)=\S+\s+")
_NUMBERED = re.compile(r"^\[(?P<stage>(?:[^\]]*\s)?)\s*\d+/\d+\]\s+")


@dataclass(frozen=True, slots=True)
class BuildStep:
    """One Dockerfile instruction as the engine went over it. ``name`` is BuildKit's, ``[build 3/5] RUN npm ci``."""

    name: str
    cached: bool
    seconds: float

    @property
    def command(self) -> str:
        """The instruction without its place in the stage and without mounts, by which two builds are compared."""
        return " ".join(_MOUNT.sub("", _NUMBERED.sub("", self.name)).split())

    @property
    def stage(self) -> str:
        """The stage as the engine calls it, "" for the only one without a name."""
        match = _NUMBERED.match(self.name)
        return match["stage"].strip() if match else ""


@dataclass(frozen=True, slots=True)
class Build:
    """One build that went well: its steps in the order they ended, wall seconds, bytes of context sent (``None``: none
    was asked for)."""

    steps: tuple[BuildStep, ...]
    seconds: float
    context_bytes: int | None = None

    @property
    def cached(self) -> int:
        """How many steps came out of the cache."""
        return sum(step.cached for step in self.steps)

    @property
    def worked(self) -> float:
        """Seconds of work in the steps that ran."""
        return sum(step.seconds for step in self.steps if not step.cached)


@dataclass(frozen=True, slots=True)
class File:
    """One path of an image. ``holds``: SHA-256 of a file, ``-> target`` of a symlink, else the kind."""

    mode: int
    uid: int
    gid: int
    holds: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """A built image. ``size`` is the sum of its unpacked layers in bytes; ``history`` one text per layer, newest first.

    ``files`` maps every path (no leading slash) to what it is. ``platforms`` are those of its index, ``None`` where no
    index could be read.
    """

    name: str
    size: int
    user: str
    env: tuple[str, ...]
    history: tuple[str, ...]
    ports: tuple[int, ...]
    command: tuple[str, ...]
    workdir: str
    platform: str
    files: Mapping[str, File] = field(default_factory=dict)
    platforms: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """What became of a container started with the image's own command.

    ``state``: ``running``, ``exited`` (then ``code``) or ``refused``. ``http`` is the status that ``GET /`` gave on the
    first exposed port, ``None`` without an answer. ``says`` is the end of its output, fit to be shown.
    """

    state: str
    code: int | None = None
    http: int | None = None
    says: str = ""

    @property
    def well(self) -> bool:
        """Whether it stays up or ends by itself without an error."""
        return self.state == "running" or (self.state == "exited" and self.code == 0)

    @property
    def words(self) -> str:
        """In a few words."""
        if self.state == "running":
            return f"stays up, HTTP {self.http}" if self.http is not None else "stays up"
        return f"exits with {self.code}" if self.state == "exited" else "does not start"


def is_root(user: str) -> bool:
    """Whether an image's ``Config.User`` means uid 0."""
    name = user.split(":", 1)[0].strip()
    return name in ("", "root") or (name.isascii() and name.isdigit() and int(name) == 0)


_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,80})=(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&|]+)")


def secrets_in(image: Image) -> tuple[str, ...]:
    """Names under which a secret can be read from an image's environment or history; never a value.

    A value that is a secret by its form and has no name counts as "a token".
    """
    found: dict[str, None] = {}
    for text in (*image.env, *image.history):
        left = text
        for match in _ASSIGNED.finditer(text[:20_000]):
            value = match["value"].strip("'\"")
            named = redact.credential_name(match["name"]) and not redact.placeholder(value)
            if named or redact.secret_shaped(value):
                found[match["name"]] = None
                left = left.replace(match[0], "")
        if redact.mask(left) != left[:20_000]:
            found["a token"] = None
    return tuple(sorted(found))
