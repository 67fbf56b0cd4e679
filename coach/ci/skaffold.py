"""Skaffold: the artifacts of ``skaffold.yaml`` that docker or kaniko builds, those of its profiles included.

Language: github.com/GoogleContainerTools/skaffold, pkg/skaffold/schema/latest/config.go and docs-v2,
builders/builder-types/docker.md (read 2026-11). What bazel, buildpacks, jib, ko or a script builds has no Dockerfile.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from coach.ci import docker_cli, jobs
from coach.ci.docker_cli import Arg
from coach.ci.machine import Machine
from coach.ci.nouns import Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree
from coach.redact import credential_name

_NAME = re.compile(r"(^|/)skaffold([._-][\w.-]*)?\.ya?ml$")
_RUNS = re.compile(rb"\bskaffold[^\n]{0,80}?\s(?:build|run)\b")
_PROFILE = re.compile(r"\s(?:-p|--profile)[ =]([\w,.-]+)")
_TEMPLATE = re.compile(r"\{\{-?\s*\.?(?:Env\.)?(\w*).*?\}\}")
_OTHERS = ("bazel", "buildpacks", "buildpack", "custom", "jib", "ko", "jibMaven", "jibGradle")


def read(tree: Tree) -> Discovery:
    """Every artifact of every configuration; a part of CI where a CI file builds with skaffold."""
    if not any(_NAME.search(path) for path in tree.entries()):
        return Discovery()
    caller = jobs.caller(tree, _RUNS)
    wanted = lambda path: _NAME.search(path) is not None  # noqa: E731
    return jobs.each_file(tree, wanted, lambda t, doc: _sites(t, doc, caller), documents=True)


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact. ``home`` is the ``build`` it stands in, ``docker`` and ``kaniko`` what says how it is built."""

    node: Node
    home: Node
    profile: str
    docker: Node | None
    kaniko: Node | None


def artifacts(doc: Doc) -> Iterator[Artifact]:
    """The artifacts of all modules and profiles that a Dockerfile makes."""
    for root in doc.roots:
        if not root.is_map:
            continue
        profiles = root.get("profiles")
        named = list(profiles.items()) if profiles is not None else []
        homes = [(root.get("build"), ""), *((profile.get("build"), _text(profile, "name")) for profile in named)]
        for home, name in homes:
            listed = home.get("artifacts") if home is not None else None
            for node in listed.items() if listed is not None else ():
                if home is not None and node.is_map and not any(key in node.entries() for key in _OTHERS):
                    yield Artifact(node, home, name, node.get("docker"), node.get("kaniko"))


def _chosen(tree: Tree, caller: tuple[str, int]) -> tuple[str, ...]:
    """The profiles that CI asks for on the line that starts skaffold."""
    if not caller[0]:
        return ()
    line = tree.read(caller[0]).decode("utf-8", "replace").split("\n")[caller[1] - 1]
    return tuple(name for names in _PROFILE.findall(line) for name in names.split(","))


def _sites(tree: Tree, doc: Doc, started: tuple[str, int]) -> list[BuildSite]:
    found: list[BuildSite] = []
    listed = list(artifacts(doc))
    chosen = set(_chosen(tree, started)) & {artifact.profile for artifact in listed} or {""}
    for artifact in listed:
        node = artifact.node
        job = " ".join(word for word in (artifact.profile, _text(node, "image")) if word)
        # a profile's artifacts take the place of the others
        caller = started if artifact.profile in chosen else ("", 0)
        box = Machine(tree, "skaffold", doc.path, job, ci=bool(caller[0]), thrown_away=bool(caller[0]))
        words = list(_words(artifact))
        argv = [Arg(_value(text), text, number, number) for number, (text, _) in enumerate(words)]
        call = docker_cli.read(argv)
        if call is None:
            continue
        lines = {number: line for number, (_, line) in enumerate(words)}
        folder = posixpath.dirname(doc.path)
        box.take(call, {}, folder, doc.path, node.line, node.end_line, lines, caller[0], caller[1])
        found += [_built(site, artifact) for site in box.finish()]
    return found


def _built(site: BuildSite, artifact: Artifact) -> BuildSite:
    """Which builder skaffold asks for, and how long its cache lives."""
    switch = artifact.home.get("local", "useBuildkit")
    if artifact.kaniko is None and switch is not None and switch.text in ("true", "false"):
        why = f"`useBuildkit: {switch.text}`"
        site = replace(site, buildkit=switch.text == "true", buildkit_line=switch.line, buildkit_why=why)
    return site


def _words(artifact: Artifact) -> Iterator[tuple[str, int]]:
    """The command that stands for an artifact, each word with its line."""
    node, kaniko = artifact.node, artifact.kaniko is not None
    how = artifact.kaniko if artifact.kaniko is not None else artifact.docker
    where = node.get("context")
    context = (where.text or ".") if where is not None else "."
    yield "kaniko" if kaniko else "docker", node.line
    if not kaniko:
        yield "build", node.line
    given = how.entries() if how is not None else {}
    file = given.get("dockerfile")
    name = file.text if file is not None and file.text else "Dockerfile"
    inside = f"{'--dockerfile' if kaniko else '--file'}={posixpath.join(context, name)}"
    yield inside, file.key_line if file is not None else node.line
    if "target" in given and given["target"].text:
        yield f"--target={given['target'].text}", given["target"].key_line
    args = given.get("buildArgs")
    for key, item in args.entries().items() if args is not None and args.is_map else ():
        yield f"--build-arg={key}" + ("" if item.is_null else f"={item.text or ''}"), item.key_line
    for key, option in (("cacheFrom", "--cache-from="), ("cliFlags", "")):
        for text, line in given[key].texts() if key in given else ():
            yield f"{option}{text}", line
    secrets = given.get("secrets")
    for item in secrets.items() if secrets is not None else ():
        yield f"--secret=id={_text(item, 'id')}", item.line
    if "noCache" in given and given["noCache"].text == "true":
        yield "--no-cache", given["noCache"].key_line
    if kaniko and "cache" in given:
        yield "--cache=true", given["cache"].key_line
    for holder in (node, artifact.home):
        platforms = holder.get("platforms")
        if platforms is not None:
            yield f"--platform={','.join(text for text, _ in platforms.texts())}", platforms.key_line
            break
    push = artifact.home.get("local", "push")
    if not kaniko and push is not None and push.text == "true":
        yield "--push", push.key_line
    image = _text(node, "image")
    if image:
        yield f"--{'destination' if kaniko else 'tag'}={image}", node.line
    yield f"--context={context}" if kaniko else context, node.line


def _text(node: Node, key: str) -> str:
    found = node.get(key)
    return (found.text or "").strip() if found is not None else ""


def _value(text: str) -> Value:
    names = [match[1] for match in _TEMPLATE.finditer(text)]
    if not names:
        return static(text)
    return Value(None, text, "skaffold fills it in", secret=any(credential_name(name) for name in names))
