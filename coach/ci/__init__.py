"""Where and how a repository builds its images: one module per system that says so.

A system is a module of this package with ``read(tree) -> Discovery``; ``<system>_change`` beside it may have
``change(tree, build, want)`` for the builds that are written in its files. Modules are found, not registered; a system
that ``MARKS`` knows is imported only for a tree that holds a file of its.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import pkgutil
import weakref
from collections.abc import Mapping
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
from coach.model import BuildSite, Remedy, Safety, Tree

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


# Words of which at least one stands in the path of every file that a system starts from, whatever its case. They
# spare the import of those systems that a repository does not use; a module without an entry is always asked.
MARKS: Mapping[str, tuple[str, ...]] = {
    "azure": ("azure", "azdo", ".pipelines/"),
    "bake": ("bake",),
    "bitbucket": ("bitbucket-pipelines",),
    "buildkite": ("buildkite/",),
    "circleci": (".circleci/", "circle.yml"),
    "cloudbuild": ("cloudbuild",),
    "codebuild": ("buildspec",),
    "compose": ("compose", ".devcontainer/"),
    "drone": (".drone", ".woodpecker"),
    "github": ("/workflows/",),
    "gitlab": (".gitlab-ci",),
    "goreleaser": ("goreleaser",),
    "jenkins": ("jenkinsfile",),
    "skaffold": ("skaffold",),
    "tilt": ("tiltfile",),
    "travis": (".travis",),
}
# Modules of this package that are no systems: what systems are read and changed with.
TOOLS = frozenset(
    (
        *("command_edit", "commands", "docker_cli", "expressions", "github_inputs", "github_remote", "github_scope"),
        *("guidance", "hcl", "jobs", "machine", "nouns", "paths", "recipes", "runners", "textedit", "yamldoc"),
        *("github_steps", "yamledit"),
    )
)


def systems(tree: Tree | None = None) -> dict[str, ModuleType]:
    """Every module that reads a system, by name; with ``tree``, those that may find something in it."""
    paths = "" if tree is None else "\n".join(tree.entries()).casefold()
    found = {
        name: importlib.import_module(f"{__name__}.{name}")
        for name in _modules()
        if tree is None or name not in MARKS or any(mark in paths for mark in MARKS[name])
    }
    return {name: module for name, module in found.items() if _reads_trees(module)}


@functools.cache
def _modules() -> tuple[str, ...]:
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return tuple(name for name in names if name not in TOOLS and not name.endswith("_change"))


def _reads_trees(module: ModuleType) -> bool:
    read = getattr(module, "read", None)
    return read is not None and list(inspect.signature(read).parameters) == ["tree"]


def build_sites(tree: Tree) -> Discovery:
    """Every place of the repository that builds an image, CI first, then by path and line. Raises nothing.

    A tree never changes, so it is read once, however often it is asked for.
    """
    if tree not in _known:
        _known[tree] = _build_sites(tree)
    return _known[tree]


_known: weakref.WeakKeyDictionary[Tree, Discovery] = weakref.WeakKeyDictionary()


def _build_sites(tree: Tree) -> Discovery:
    found = [module.read(tree) for module in systems(tree).values()]
    builds = [build for discovery in found for build in discovery.builds]
    skipped = {(item.path, item.line): item for discovery in found for item in discovery.skipped}
    return Discovery(
        tuple(sorted(builds, key=lambda build: (not build.ci, build.path, build.line))),
        tuple(skipped[key] for key in sorted(skipped)),
    )


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """What to write in the build configuration so that ``want`` holds for ``build``; guidance where none is written."""
    from coach.ci import guidance, textedit

    if isinstance(want, DropNoCache):
        return textedit.drop_no_cache(tree, build)
    alike = textedit.buildkit_on(tree, build) if isinstance(want, BuildkitOn) else None
    if alike is not None and alike.safety is not Safety.SHOW:
        return alike
    name = f"{__name__}.{_SAME.get(build.system, build.system)}_change"
    if importlib.util.find_spec(name) is None:
        return alike or guidance.by_hand(build, want)
    made: Remedy = importlib.import_module(name).change(tree, build, want)
    return alike if alike is not None and made.safety is Safety.SHOW else made


_SAME = {"gitea": "github", "forgejo": "github", "woodpecker": "drone"}
