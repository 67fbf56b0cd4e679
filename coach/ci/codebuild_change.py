"""What to write into a buildspec: a cache for a build command, secrets instead of build arguments.

Source (read 2026-11): docs.aws.amazon.com/codebuild/latest/userguide/build-caching.html (a local cache lives on one
build host and is lost with it; the Docker layer cache is a setting of the project, not of the buildspec).
"""

from __future__ import annotations

from coach.ci import codebuild, command_edit, guidance, yamldoc
from coach.ci.nouns import AddCache, Want
from coach.model import BuildSite, Remedy, Tree

_LOCAL = (
    "CodeBuild's own layer cache (`cache: {type: LOCAL, modes: [LOCAL_DOCKER_LAYER_CACHE]}` of the project, privileged "
    "mode) is set outside of the buildspec and helps only while builds land on the same host."
)


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a phase runs."""
    snippet = _LOCAL if isinstance(want, AddCache) else ""
    return guidance.edited(build, want, lambda: _change(tree, build, want), snippet)


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    path = build.called_from or build.path
    doc = yamldoc.read(tree.read(path), path)
    return command_edit.scripted(tree, build, want, [codebuild.script(doc)])
