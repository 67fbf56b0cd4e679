"""Where and how a repository builds its images: one module per system that says so.

A system is a module of this package with ``read(tree) -> Discovery``; it may have ``change(tree, build, want)`` for
the builds that are written in its files. Modules are found, not registered.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

from coach.ci.nouns import (
    AddCache,
    BuildkitOn,
    Discovery,
    DropNoCache,
    NativeArm,
    SecretArgs,
    Sign,
    Want,
)
from coach.model import BuildSite, Remedy, Tree

__all__ = [
    "AddCache",
    "BuildkitOn",
    "Discovery",
    "DropNoCache",
    "NativeArm",
    "SecretArgs",
    "Sign",
    "Want",
    "build_sites",
    "change",
]


@functools.cache
def systems() -> tuple[ModuleType, ...]:
    """Every module that reads a system, by name."""
    found = (
        importlib.import_module(f"{__name__}.{info.name}")
        for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name)
    )
    return tuple(
        module for module in found if hasattr(module, "read") and module.__name__.rsplit(".", 1)[-1] not in _PARTS
    )


_PARTS = frozenset({"docker_cli", "yamldoc", "commands", "expressions", "hcl", "machine", "nouns", "paths", "runners"})


def build_sites(tree: Tree) -> Discovery:
    """Every place of the repository that builds an image, ordered by path and line. Never raises ``InputError``."""
    found = [module.read(tree) for module in systems()]
    builds = [build for discovery in found for build in discovery.builds]
    skipped = {(item.path, item.line): item for discovery in found for item in discovery.skipped}
    return Discovery(
        tuple(sorted(builds, key=lambda build: (not build.ci, build.path, build.line))),
        tuple(skipped[key] for key in sorted(skipped)),
    )


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """What to write in the build configuration so that ``want`` holds for ``build``; guidance where none is written."""
    raise NotImplementedError
