"""What a step is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from coach.shell import Command

Look = Callable[[str], "tuple[str, bytes] | None"]


class Action(StrEnum):
    """What a step does.

    ``FETCH`` downloads declared dependencies only; ``INSTALL`` installs what a manifest or lockfile declares; ``NAMED``
    installs packages named on the command line; ``TOOL`` is ``NAMED`` for nothing but package managers and build
    front-ends; ``BUILD`` compiles, and downloads dependencies that are not there; ``OS`` installs system packages.
    """

    FETCH = "fetch"
    INSTALL = "install"
    NAMED = "named"
    TOOL = "tool"
    BUILD = "build"
    OS = "os"


@dataclass(frozen=True, slots=True)
class CacheDir:
    """A directory where a tool keeps what it downloads; an absolute container path, ``None`` when it cannot be told.

    ``why`` says where the path comes from, or why it is unknown; ``moved_by`` names what moved it from its default. The
    ``role`` is that of the knowledge table. ``mounts`` are the paths a cache mount should have, ``enough`` patterns of
    further mount targets that serve as well.
    """

    path: str | None
    why: str
    moved_by: str = ""
    role: str = "download"
    mounts: tuple[str, ...] = ()
    enough: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fight:
    """A piece of the shell text that defeats a cache mount; deleting ``[start, end)`` leaves a valid script.

    With ``start == end`` it cannot be cut out here: ``env`` then names the variable that does it, or it stands in a
    followed file. ``wide`` says that it also removes things that are no cache.
    """

    start: int
    end: int
    text: str
    why: str
    env: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class PackageStep:
    """One command that installs, fetches or compiles.

    ``directory`` is the project directory in the container (``None`` when unknown). ``via`` tells where the command
    stands when it was found by following a file (``Makefile:12``), and ``command`` then has the offsets of the RUN's
    own command. ``dev`` says whether development dependencies come along. ``nothing`` says why there is nothing to
    download, ``partial`` that the project itself is left out. ``label`` is the command as people call it: ``npm ci``.
    """

    manager: str
    ecosystem: str
    action: Action
    command: Command
    directory: str | None
    offline: bool
    caches: tuple[CacheDir, ...]
    fights: tuple[Fight, ...]
    via: str
    via_path: str
    via_line: int
    dev: bool | None
    nothing: str = ""
    partial: bool = False
    vendored: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A command that may install something out of sight, and why it could not be followed."""

    command: Command
    reason: str
