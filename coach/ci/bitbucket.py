"""Bitbucket Pipelines: ``bitbucket-pipelines.yml``.

Language: support.atlassian.com/bitbucket-cloud/docs/bitbucket-pipelines-configuration-reference and
…/run-docker-commands-in-bitbucket-pipelines (read 2026-11).
"""

from __future__ import annotations

from coach.ci import jobs
from coach.ci.machine import Machine
from coach.ci.nouns import WORKSPACE, Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree, Unresolved

_KNOWN = {
    "BITBUCKET_CLONE_DIR": static(WORKSPACE),
    "BITBUCKET_COMMIT": Value(None, "$BITBUCKET_COMMIT", "BITBUCKET_COMMIT differs on every commit", per_commit=True),
}


def read(tree: Tree) -> Discovery:
    """Every build of every step."""
    return jobs.each_file(tree, lambda path: path in ("bitbucket-pipelines.yml", "bitbucket-pipelines.yaml"), _sites)


def _sites(tree: Tree, doc: Doc) -> list[BuildSite]:
    pipelines = doc.root.get("pipelines")
    if pipelines is None:
        return []
    found: list[BuildSite] = []
    for holder in jobs.walk(pipelines):
        step = holder.get("step")
        if step is not None and step.is_map:
            found += [site for site in _step(tree, doc, step) if site not in found]
    return found


def _step(tree: Tree, doc: Doc, step: Node) -> list[BuildSite]:
    name = step.get("name")
    box = Machine(tree, "bitbucket", doc.path, (name.text if name is not None else None) or "step", thrown_away=True)
    runs_on = step.get("runs-on")
    if runs_on is not None:
        labels = jobs.texts(jobs.scalars(runs_on))
        box.runner, box.runner_line = ",".join(labels), runs_on.key_line
        box.thrown_away = not any(label.startswith("self") for label in labels)
    caches = step.get("caches")
    if caches is not None and "docker" in jobs.texts(jobs.scalars(caches)):
        box.keeps, box.keeps_line = "Bitbucket's docker cache", caches.key_line
        box.notes.append(
            Unresolved(
                "keeps_cache", "Bitbucket's docker cache holds images up to 1 GB, not BuildKit's cache", caches.key_line
            )
        )
    jobs.run_lines(box, jobs.scalars(step.get("script"), step.get("after-script")), _KNOWN)
    return box.finish()
