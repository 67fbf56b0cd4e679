"""Packages of interpreted languages that bring compiled code, and those that have to be compiled when installed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Compiled:
    """A package without ready-made binaries for Linux: what compiling it wants, what running it wants.

    ``build`` and ``run`` are Debian package names besides the compiler itself; ``source`` says where that was read.
    """

    name: str
    build: tuple[str, ...]
    run: tuple[str, ...]
    source: str


@cache
def names(kind: str) -> frozenset[str]:
    """Names of packages that bring compiled code: ``node`` or ``python``."""
    return frozenset(_table("native.toml").get(kind, {}).get("names", ()))


@cache
def compiled(kind: str) -> Mapping[str, Compiled]:
    """Packages that need a compiler when they are installed: ``python``, ``go`` or ``ruby``."""
    return {
        name: Compiled(name, tuple(entry.get("build", ())), tuple(entry.get("run", ())), entry["source"])
        for name, entry in _table("compiled.toml").get(kind, {}).items()
    }


@cache
def _table(name: str) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    return tomllib.loads(resources.files(__package__).joinpath(name).read_text("utf-8"))
