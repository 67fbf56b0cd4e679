"""Bitbucket Pipelines: ``bitbucket-pipelines.yml``.

Language: support.atlassian.com/bitbucket-cloud/docs/bitbucket-pipelines-configuration-reference,
…/run-docker-commands-in-bitbucket-pipelines (BuildKit is off unless ``DOCKER_BUILDKIT=1``, buildx is taken away) and
…/enable-and-use-runtime-v3 (own docker client, privileged containers, no ``docker`` cache) (read 2026-11).
"""

from __future__ import annotations

import re
from dataclasses import replace

from coach.ci import jobs
from coach.ci.docker_cli import Invocation
from coach.ci.machine import Machine
from coach.ci.nouns import WORKSPACE, Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree, Unresolved

_KNOWN = {
    "BITBUCKET_CLONE_DIR": static(WORKSPACE),
    "BITBUCKET_COMMIT": Value(None, "$BITBUCKET_COMMIT", "BITBUCKET_COMMIT differs on every commit", per_commit=True),
    "BITBUCKET_BUILD_NUMBER": Value(
        None, "$BITBUCKET_BUILD_NUMBER", "BITBUCKET_BUILD_NUMBER differs on every run", per_commit=True
    ),
}
_LEGACY = "Bitbucket's Docker service builds with the legacy builder unless DOCKER_BUILDKIT=1 is set"
_DOCKER = re.compile(r"(?:^|/)docker:(\d+)")
_PUSHES = re.compile(r"(?:^|/)[\w-]*push-image(?::|$)")


def read(tree: Tree) -> Discovery:
    """Every build of every step."""
    return jobs.each_file(tree, lambda path: path in ("bitbucket-pipelines.yml", "bitbucket-pipelines.yaml"), _sites)


def steps(doc: Doc) -> list[Node]:
    """The steps of all pipelines in file order, each once, however many pipelines run it."""
    pipelines = doc.root.get("pipelines")
    found: dict[int, Node] = {}
    for holder in jobs.walk(pipelines) if pipelines is not None else ():
        step = holder.get("step")
        if step is not None and step.is_map:
            found.setdefault(id(step.node), step)
    return list(found.values())


def script(step: Node) -> list[Node]:
    """The lines a step runs."""
    return jobs.scalars(step.get("script"), step.get("after-script"))


def modern(doc: Doc, step: Node) -> bool:
    """Whether a step runs in the runtime that leaves docker as it is."""
    asked = step.get("runtime", "cloud", "version") or doc.root.get("options", "runtime", "cloud", "version")
    return asked is not None and (asked.text or "").strip() in ("3", "v3")


def image(doc: Doc, step: Node) -> str:
    """The image a step runs in ("" for the default one)."""
    given = step.get("image") or doc.root.get("image")
    named = given.get("name") if given is not None and given.is_map else given
    return (named.text or "") if named is not None else ""


def _sites(tree: Tree, doc: Doc) -> list[BuildSite]:
    found: list[BuildSite] = []
    for step in steps(doc):
        found += [site for site in _step(tree, doc, step) if site not in found]
    return found


def _step(tree: Tree, doc: Doc, step: Node) -> list[BuildSite]:
    name = step.get("name")
    box = Machine(tree, "bitbucket", doc.path, (name.text if name is not None else None) or "step", thrown_away=True)
    runs_on = step.get("runs-on")
    if runs_on is not None:
        labels = jobs.texts(jobs.scalars(runs_on))
        own = any(label.startswith("self") for label in labels)
        box.runner, box.runner_line = ",".join(["self-hosted"] * own + labels), runs_on.key_line
        box.thrown_away = not own
    client = _DOCKER.search(image(doc, step))
    new = modern(doc, step)
    if new and client is not None and int(client[1]) >= 23:
        box.hosted_engine = f"{client[0].lstrip('/')} is no older than 23.0, where BuildKit became the default"
    jobs.run_lines(box, script(step), _KNOWN)
    # a pipe that pushes what the lines before it built
    listed = step.get("script")
    for item in listed.items() if listed is not None else ():
        pipe = item.get("pipe") if item.is_map else None
        if pipe is not None and _PUSHES.search(pipe.text or ""):
            box.pushed(Invocation("docker", "push"), doc.path, item.line)
    caches = step.get("caches")
    kept = caches is not None and "docker" in jobs.texts(jobs.scalars(caches)) and not new
    legacy = not new and client is None and box.thrown_away
    return [_known(site, legacy, caches if kept else None) for site in box.finish()]


def _known(site: BuildSite, legacy: bool, cache: Node | None) -> BuildSite:
    """``site`` with what the service it builds with brings along."""
    if legacy and site.tool == "docker" and site.buildkit is None and not site.buildkit_why:
        site = replace(site, buildkit_why=_LEGACY, buildkit_line=site.line)
    if cache is not None and site.buildkit is not True:
        cache_line = cache.key_line if cache.doc.path == site.path else 0
        note = Unresolved("keeps_cache", "Bitbucket's docker cache keeps the legacy builder's layers only", cache_line)
        site = replace(
            site,
            keeps_cache="Bitbucket's docker cache of up to 1 GB",
            keeps_cache_line=cache_line,
            unresolved=(*site.unresolved, note),
        )
    return site
