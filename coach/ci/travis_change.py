"""What to write into ``.travis.yml``: a cache for a build command, secrets instead of build arguments."""

from __future__ import annotations

from coach.ci import command_edit, guidance, travis, yamldoc
from coach.ci.nouns import Want
from coach.model import BuildSite, Remedy, Tree


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a job's script runs."""
    return guidance.edited(build, want, lambda: _change(tree, build, want))


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    path = build.called_from or build.path
    doc = yamldoc.read(tree.read(path), path)
    return command_edit.scripted(tree, build, want, (travis.script(doc, job) for job in travis.all_jobs(doc)))
