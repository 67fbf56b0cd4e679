"""GoReleaser: ``dockers`` and ``dockers_v2`` of ``.goreleaser.yaml``, which put binaries built before into images.

Language: goreleaser.com/customization/package/docker, …/dockers_v2, …/docker_sign (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from coach.ci import docker_cli, jobs
from coach.ci.docker_cli import Arg
from coach.ci.machine import Machine
from coach.ci.nouns import Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree, Unresolved
from coach.redact import credential_name

_NAME = re.compile(r"(^|/)\.?goreleaser[\w.-]*\.ya?ml$")
_TEMPLATE = re.compile(r"\{\{.*?\}\}")
_OWN_FOLDER = "goreleaser builds in a folder of its own, which holds the binaries and `extra_files`"


def read(tree: Tree) -> Discovery:
    """Every image of every configuration; a part of CI where a CI file starts goreleaser."""
    if not any(_NAME.search(path) for path in tree.entries()):
        return Discovery()
    caller = jobs.caller(tree, re.compile(rb"goreleaser"))
    return jobs.each_file(tree, lambda path: _NAME.search(path) is not None, lambda t, doc: _sites(t, doc, caller))


def _sites(tree: Tree, doc: Doc, caller: tuple[str, int]) -> list[BuildSite]:
    found: list[BuildSite] = []
    signed = _signed(doc)
    for key in ("dockers", "dockers_v2"):
        listed = doc.root.get(key)
        for image in listed.items() if listed is not None else ():
            if not image.is_map:
                continue
            box = Machine(tree, "goreleaser", doc.path, _text(image, "id") or key, ci=bool(caller[0]))
            box.thrown_away = bool(caller[0])
            words = list(_words(image, key == "dockers_v2"))
            argv = [Arg(_value(text), text, number, number) for number, (text, _) in enumerate(words)]
            call = docker_cli.read(argv)
            if call is None:
                continue
            lines = {number: line for number, (_, line) in enumerate(words)}
            box.take(call, {}, "", doc.path, image.line, image.end_line, lines)
            found += [_own(site, key, signed, caller) for site in box.finish()]
    return found


def _own(site: BuildSite, key: str, signed: dict[str, int], caller: tuple[str, int]) -> BuildSite:
    return replace(
        site,
        context=None,
        unresolved=(*site.unresolved, Unresolved("context", _OWN_FOLDER, site.line)),
        signed_line=site.signed_line or signed.get(key, 0),
        called_from=caller[0],
        called_line=caller[1],
    )


def _signed(doc: Doc) -> dict[str, int]:
    """Under which key images are signed, and the line that says so. Without ``artifacts`` it is those of v2."""
    found: dict[str, int] = {}
    listed = doc.root.get("docker_signs")
    for item in listed.items() if listed is not None else ():
        artifacts = _text(item, "artifacts") if item.is_map else ""
        if artifacts in ("all", "images", "manifests"):
            found.setdefault("dockers", item.line)
        if artifacts in ("", "all", "images"):
            found.setdefault("dockers_v2", item.line)
    return found


def _words(image: Node, second: bool) -> Iterator[tuple[str, int]]:
    """The ``docker buildx build`` that goreleaser runs, each word with its line."""
    use = _text(image, "use") or ("buildx" if _text(image, "use_buildx") == "true" else "docker")
    yield ("podman" if use == "podman" else "docker"), image.line
    if second or use == "buildx":
        yield "buildx", image.line
    yield "build", image.line
    file = image.get("templated_dockerfile") or image.get("dockerfile")
    yield f"--file={file.text if file is not None and file.text else 'Dockerfile'}", file.line if file else image.line
    for key in ("build_flag_templates", "flags"):
        given = image.get(key)
        yield from given.texts() if given is not None else ()
    if second:
        wide = image.get("platforms")
        platforms = wide.texts() if wide is not None else [("linux/amd64", image.line), ("linux/arm64", image.line)]
        yield f"--platform={','.join(text for text, _ in platforms)}", wide.line if wide is not None else image.line
        arguments = image.get("build_args")
        for name, node in arguments.entries().items() if arguments is not None and arguments.is_map else ():
            yield f"--build-arg={name}={node.text or ''}", node.key_line
    for name in ("images" if second else "image_templates",):
        tags = image.get(name)
        for text, line in tags.texts() if tags is not None else ():
            yield f"--tag={text}", line
    skip = _text(image, "skip_push") or _text(image, "disable")
    if skip != "true":
        yield "--push", image.line
    yield ".", image.line


def _text(node: Node, key: str) -> str:
    found = node.get(key)
    return (found.text or "").strip() if found is not None else ""


def _value(text: str) -> Value:
    if _TEMPLATE.search(text):
        per_commit = bool(re.search(r"\{\{-?\s*\.(?:\w*Commit\w*|Date|Timestamp)", text))
        names = re.findall(r"\{\{-?\s*\.Env\.(\w+)", text)
        secret = any(credential_name(name) for name in names)
        return Value(None, text, "goreleaser fills it in", secret, per_commit)
    return static(text)
