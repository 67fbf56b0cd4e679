"""Which repository files a dependency install really needs, so that copying those alone gives the same result.

Every module of this package that has ``MANAGERS`` and ``closure`` is an ecosystem; it is found, not registered.
``*_facts`` are what a project's manifests say besides, one module for each language.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol, cast

from coach.manifests.gather import Closure, Request
from coach.model import Tree

__all__ = ["HOMES", "Closure", "closure", "managers"]

# The module that knows a manager, for those met most: one ecosystem is imported then, not all of them.
HOMES = {
    **dict.fromkeys(("npm", "yarn", "yarn-berry", "pnpm", "bun"), "node"),
    **dict.fromkeys(("pip", "poetry", "uv", "pdm", "pipenv"), "python"),
    "go": "golang",
    "cargo": "rust",
    "maven": "jvm",
    "gradle": "jvm",
    "bundler": "ruby",
    "composer": "php",
    "dotnet": "dotnet",
}


class Ecosystem(Protocol):
    """What a module of this package offers: the managers it knows, and their closures."""

    MANAGERS: frozenset[str]

    def closure(self, request: Request) -> Closure | None: ...


@cache
def managers() -> dict[str, Ecosystem]:
    """Every package manager whose closure can be told, with the module that tells it."""
    found: dict[str, Ecosystem] = {}
    for module in pkgutil.iter_modules(__path__):
        ecosystem = importlib.import_module(f"{__name__}.{module.name}")
        for manager in getattr(ecosystem, "MANAGERS", ()):
            assert manager not in found, f"{manager} is claimed twice"
            found[manager] = ecosystem
    return found


def _ecosystem(manager: str) -> Ecosystem | None:
    if manager not in HOMES:
        return managers().get(manager)
    return cast(Ecosystem, importlib.import_module(f"{__name__}.{HOMES[manager]}"))


def closure(
    tree: Tree,
    manager: str,
    words: Sequence[str | None],
    directory: str,
    context: str,
    look: Callable[[str], str | None] = lambda _: None,
) -> Closure | None:
    """What ``words`` (the command, program name first, ``None`` for a word that is not static) needs of ``tree``.

    ``directory`` is the repository path that the command's working directory stands for, ``context`` that of the
    build context; nothing above the context is ever part of a closure. ``look`` turns an absolute container path among
    the words into the repository path that stands there. ``None`` when ``directory`` has no manifest
    of that manager, or the manager is not known. Broken and hostile manifests become ``uncertain``; nothing is raised.
    """
    ecosystem = _ecosystem(manager)
    if ecosystem is None:
        return None
    clean = [path.strip("/").removeprefix("./") for path in (directory, context)]
    where, ceiling = ("" if path == "." else path for path in clean)
    return ecosystem.closure(Request(tree, manager, tuple(words), where, ceiling, look))
