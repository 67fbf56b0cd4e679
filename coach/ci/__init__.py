"""Where and how a repository builds its images: one module per system that says so.

A system is a module of this package with ``read(tree) -> Discovery``; ``<system>_change`` beside it may have
``change(tree, build, want)`` for the builds that are written in its files. Modules are found, not registered.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import pkgutil
from types import ModuleType

from coach.ci import guidance, textedit
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
def systems() -> dict[str, ModuleType]:
    """Every module that reads a system, by name."""
    found = {
        info.name: importlib.import_module(f"{__name__}.{info.name}")
        for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name)
    }
    return {name: module for name, module in found.items() if _reads_trees(module)}


def _reads_trees(module: ModuleType) -> bool:
    read = getattr(module, "read", None)
    return read is not None and list(inspect.signature(read).parameters) == ["tree"]


def build_sites(tree: Tree) -> Discovery:
    """Every place of the repository that builds an image, CI first, then by path and line. Raises nothing."""
    found = [module.read(tree) for module in systems().values()]
    builds = [build for discovery in found for build in discovery.builds]
    skipped = {(item.path, item.line): item for discovery in found for item in discovery.skipped}
    return Discovery(
        tuple(sorted(builds, key=lambda build: (not build.ci, build.path, build.line))),
        tuple(skipped[key] for key in sorted(skipped)),
    )


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """What to write in the build configuration so that ``want`` holds for ``build``; guidance where none is written."""
    if isinstance(want, DropNoCache):
        return textedit.drop_no_cache(tree, build)
    if isinstance(want, BuildkitOn):
        return textedit.buildkit_on(tree, build)
    name = f"{__name__}.{_SAME.get(build.system, build.system)}_change"
    if importlib.util.find_spec(name) is None:
        return guidance.by_hand(build, want)
    made: Remedy = importlib.import_module(name).change(tree, build, want)
    return made


_SAME = {"gitea": "github", "forgejo": "github"}
