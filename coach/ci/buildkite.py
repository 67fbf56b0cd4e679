"""Buildkite: ``.buildkite/*.yml``.

Language: buildkite.com/docs/pipelines/configure/step-types; options of the plugin that builds:
github.com/buildkite-plugins/docker-compose-buildkite-plugin README (both read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from coach.ci import compose, docker_cli, jobs
from coach.ci.docker_cli import Arg, Flag, Invocation
from coach.ci.machine import Machine
from coach.ci.nouns import WORKSPACE, Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, CacheRef, Tree, Unresolved

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
    for step in steps(doc):
        found += _step(tree, doc, step)
    return found


def steps(doc: Doc) -> Iterator[Node]:
    """Every step that runs something."""
    for step in jobs.walk(doc.root):
        if any(step.get(key) is not None for key in ("command", "commands", "plugins")):
            yield step


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
    jobs.run_lines(box, script(step), env)
    for given in compose_plugins(step):
        _compose(box, given, step, env)
    return box.finish()


def script(step: Node) -> list[Node]:
    """The lines that a step runs."""
    return jobs.scalars(step.get("commands"), step.get("command"))


def compose_plugins(step: Node) -> Iterator[Node]:
    """The options of each use of the docker-compose plugin that builds."""
    plugins = step.get("plugins")
    for holder in plugins.items() if plugins is not None else ():
        for name, given in holder.entries().items():
            if name.partition("#")[0].endswith("docker-compose") and given.is_map and given.get("build") is not None:
                yield given


def _compose(box: Machine, given: Node, step: Node, env: dict[str, Value]) -> None:
    config = given.get("config")
    files = config.texts() if config is not None else []
    flags = tuple(Flag("file", Arg(static(text), text), 0, 0) for text, _ in files)
    place = box.place(box.path, given.key_line, step.end_line, "")
    driver = given.get("builder", "driver")
    if driver is not None and driver.text is not None:
        place.driver = driver.text
    pushed = given.get("push") is not None or given.get("image-repository") is not None
    off = given.get("no-cache")
    for service, _ in given.get("build").texts():  # type: ignore[union-attr]
        word = Arg(static(service), service)
        call = Invocation("compose", "compose", positionals=(word,), globals=flags, subcommand="build")
        made = compose.called(place, call, env, {})
        came, goes = (_caches(given.get(key), service) for key in ("cache-from", "cache-to"))
        made = [replace(site, cache_from=came or site.cache_from, cache_to=goes or site.cache_to) for site in made]
        if off is not None and off.text == "true":
            made = [replace(site, no_cache=True, no_cache_line=off.key_line) for site in made]
        box.add([replace(site, push=True) if pushed else site for site in made])


def _caches(given: Node | None, service: str) -> tuple[CacheRef, ...]:
    """What ``service:CACHE-SPEC`` entries say about one service."""
    specs = [(text.partition(":"), line) for text, line in given.texts()] if given is not None else []
    refs = [docker_cli.cache_ref(spec, line) for (name, _, spec), line in specs if name == service]
    return tuple(ref for ref in refs if ref is not None)
