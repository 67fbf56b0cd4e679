"""Drone and Woodpecker: ``.drone.yml``, ``.woodpecker.yml``, ``.woodpecker/*.yml`` (their plugins build images).

Settings: plugins.drone.io/plugins/docker, woodpecker-ci.org/plugins/docker-buildx (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from coach.ci import docker_cli, jobs
from coach.ci.docker_cli import Arg
from coach.ci.machine import Machine
from coach.ci.nouns import Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree

_NAME = re.compile(r"^\.drone\.ya?ml$|^\.woodpecker\.ya?ml$|^\.woodpecker/[^/]*\.ya?ml$|^\.drone/[^/]*\.ya?ml$")
_PLUGIN = re.compile(
    r"plugins/(docker|ecr|gcr|gar|acr|heroku|buildx|buildx-[a-z]+)\b|plugin-(docker-buildx|kaniko|docker)\b|plugins/kaniko|drone-kaniko"
)


def read(tree: Tree) -> Discovery:
    """Every build of every pipeline."""
    return jobs.each_file(tree, lambda path: _NAME.match(path) is not None, _sites, documents=True)


def _sites(tree: Tree, doc: Doc) -> list[BuildSite]:
    system = "woodpecker" if "woodpecker" in doc.path else "drone"
    found: list[BuildSite] = []
    for root in doc.roots:
        name = root.get("name")
        box = Machine(tree, system, doc.path, (name.text if name is not None else None) or "pipeline", thrown_away=True)
        arch = root.get("platform", "arch") or root.get("labels", "platform")
        if arch is not None and arch.text is not None:
            box.runner, box.runner_line = arch.text, arch.line
        for step in steps(root):
            _step(box, step)
        found += box.finish()
    return found


def steps(root: Node) -> Iterator[Node]:
    """The steps of one pipeline."""
    for key in ("steps", "pipeline"):
        steps = root.get(key)
        if steps is None:
            continue
        yield from steps.entries().values() if steps.is_map else steps.items()


def script(step: Node) -> list[Node]:
    """The lines that a step runs."""
    return jobs.scalars(step.get("commands"))


def plugin(step: Node) -> str:
    """The image of a step that is a plug-in which builds images; "" for any other step."""
    image = step.get("image")
    name = (image.text or "") if image is not None else ""
    return name if _PLUGIN.search(name) else ""


def _step(box: Machine, step: Node) -> None:
    settings, name = step.get("settings"), plugin(step)
    if not name:
        jobs.run_lines(box, script(step), _environment(step))
        return
    kaniko = "kaniko" in name
    tool = "kaniko" if kaniko else "docker"
    words: list[tuple[str, int]] = [(tool, 0)] + (
        [] if kaniko else [("buildx", 0), ("build", 0)] if "buildx" in name else [("build", 0)]
    )
    context = "."
    values = settings.entries() if settings is not None else {}
    for key, node in values.items():
        texts = node.texts()
        if key == "context" and texts:
            context = texts[0][0]
        for option, names in _OPTIONS.items():
            if key in names:
                words += [(f"--{option}={text}", node.key_line) for text, _ in texts]
        if key in ("build_args", "build-args") and node.is_map:
            words += [(f"--build-arg={name}={item.text or ''}", item.key_line) for name, item in node.entries().items()]
        if key in ("no_cache", "no-cache") and node.text == "true":
            words.append(("--no-cache", node.key_line))
        if key == "repo":
            words += [(f"--{'destination' if kaniko else 'tag'}={name}", node.key_line) for name in repositories(node)]
        if kaniko and key in ("enable_cache", "cache") and node.text == "true":
            words.append(("--cache=true", node.key_line))
        if key in ("cache_images", "cache-images"):
            for text, line in texts:
                words += [(f"--cache-from={text}", line), (f"--cache-to=type=registry,ref={text},mode=max", line)]
        if key in FROM_ENV:
            words += [(f"--build-arg={text}", line) for text, line in texts]
        if key in ("secrets_from_env", "secrets-from-env"):
            for text, line in texts:
                ident, _, variable = text.partition("=")
                words.append((f"--secret=id={ident},env={variable}", line))
    dry = values.get("dry_run") or values.get("dry-run")
    if not kaniko and not (dry is not None and dry.text == "true"):
        words.append(("--push", step.line))
    words.append((f"--context={context}" if kaniko else context, step.line))
    argv = [Arg(_value(text), text, number, number) for number, (text, _) in enumerate(words)]
    call = docker_cli.read(argv)
    if call is not None:
        lines = {number: line for number, (_, line) in enumerate(words)}
        box.take(call, _environment(step), "", box.path, step.line, step.end_line, lines)


def repositories(repo: Node) -> list[str]:
    """The names of the ``repo`` setting: a list, or one text with commas."""
    return [name.strip() for text, _ in repo.texts() for name in text.split(",") if name.strip()]


def _environment(step: Node) -> dict[str, Value]:
    """Variables of a step; those that come from the secret store are known as such."""
    found = jobs.variables(step.get("environment"))
    given = step.get("environment")
    for name, node in given.entries().items() if given is not None and given.is_map else ():
        if node.get("from_secret") is not None:
            found[name] = Value(None, f"${name}", f"{name} comes from the secret store", secret=True)
    return found


FROM_ENV = ("build_args_from_env", "build-args-from-env")
"""Settings that hand variables of the step over as build arguments."""
_OPTIONS = {
    "file": ("dockerfile",),
    "target": ("target",),
    "platform": ("platforms", "platform"),
    "cache-from": ("cache_from", "cache-from"),
    "cache-to": ("cache_to", "cache-to"),
    "build-arg": ("build_args", "build-args"),
}


def _value(text: str) -> Value:
    if "${" in text or "$" in text:
        per_commit = "COMMIT" in text or "BUILD_NUMBER" in text
        return Value(None, text, "it is filled in when the pipeline runs", per_commit=per_commit)
    return static(text)
