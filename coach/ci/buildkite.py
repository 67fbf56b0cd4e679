"""Buildkite: ``.buildkite/*.yml`` (buildkite.com/docs/pipelines/configure/step-types, read 2026-11)."""

from __future__ import annotations

import re
from dataclasses import replace

from coach.ci import compose, jobs
from coach.ci.docker_cli import Arg, Flag, Invocation
from coach.ci.machine import Machine
from coach.ci.nouns import WORKSPACE, Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree, Unresolved

_NAME = re.compile(r"^\.?buildkite/[^/]*\.ya?ml$|^\.buildkite/pipelines?/[^/]*\.ya?ml$")
_KNOWN = {
    "BUILDKITE_BUILD_CHECKOUT_PATH": static(WORKSPACE),
    "BUILDKITE_COMMIT": Value(None, "$BUILDKITE_COMMIT", "BUILDKITE_COMMIT differs on every commit", per_commit=True),
}


def read(tree: Tree) -> Discovery:
    """Every build of every step."""
    return jobs.each_file(tree, lambda path: _NAME.match(path) is not None, _sites)


def _sites(tree: Tree, doc: Doc) -> list[BuildSite]:
    found: list[BuildSite] = []
    for step in jobs.walk(doc.root):
        if any(step.get(key) is not None for key in ("command", "commands", "plugins")):
            found += _step(tree, doc, step)
    return found


def _step(tree: Tree, doc: Doc, step: Node) -> list[BuildSite]:
    label = step.get("label") or step.get("key")
    box = Machine(tree, "buildkite", doc.path, (label.text if label is not None else None) or "step")
    queue = step.get("agents", "queue")
    if queue is not None and queue.text is not None:
        box.runner, box.runner_line = queue.text, queue.line
    box.thrown_away = True
    box.notes.append(
        Unresolved("keeps_cache", "an agent of Buildkite may keep its engine's cache", box.runner_line or step.line)
    )
    env = {**_KNOWN, **jobs.variables(doc.root.get("env")), **jobs.variables(step.get("env"))}
    jobs.run_lines(box, jobs.scalars(step.get("commands"), step.get("command")), env)
    plugins = step.get("plugins")
    for holder in plugins.items() if plugins is not None else ():
        for name, given in holder.entries().items():
            if name.partition("#")[0].endswith("docker-compose") and given.is_map and given.get("build") is not None:
                _compose(box, given, step, env)
    return box.finish()


def _compose(box: Machine, given: Node, step: Node, env: dict[str, Value]) -> None:
    config = given.get("config")
    files = config.texts() if config is not None else []
    flags = tuple(Flag("file", Arg(static(text), text), 0, 0) for text, _ in files)
    services = tuple(Arg(static(text), text) for text, _ in given.get("build").texts())  # type: ignore[union-attr]
    call = Invocation("compose", "compose", positionals=services, globals=flags, subcommand="build")
    place = box.place(box.path, given.key_line, step.end_line, "")
    pushed = given.get("push") is not None or given.get("image-repository") is not None
    box.add([replace(site, push=True) if pushed else site for site in compose.called(place, call, env, {})])
