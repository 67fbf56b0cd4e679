"""Google Cloud Build: ``cloudbuild.yaml``.

Language: cloud.google.com/build/docs/build-config-file-schema and …/optimize-builds/kaniko-cache (read 2026-11).
"""

from __future__ import annotations

import re
from dataclasses import replace

from coach.ci import docker_cli, jobs
from coach.ci.commands import substitute
from coach.ci.docker_cli import Arg
from coach.ci.machine import Machine
from coach.ci.nouns import Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree

_NAME = re.compile(r"(^|/)[\w.-]*cloudbuild[\w.-]*\.ya?ml$", re.I)
_SUBSTITUTION = re.compile(r"\$\$|\$\{?(_?[A-Z][A-Z0-9_]*)\}?")
_PER_COMMIT = frozenset({"COMMIT_SHA", "SHORT_SHA", "REVISION_ID", "BUILD_ID"})


def read(tree: Tree) -> Discovery:
    """Every build of every step."""
    return jobs.each_file(tree, lambda path: _NAME.search(path) is not None, _sites)


def _sites(tree: Tree, doc: Doc) -> list[BuildSite]:
    steps = doc.root.get("steps")
    given = jobs.variables(doc.root.get("substitutions"))
    images = doc.root.get("images")
    box = Machine(tree, "cloudbuild", doc.path, "build", thrown_away=True)

    def value(match: re.Match[str]) -> Value:
        if match[0] == "$$":
            return static("$")
        if match[1] in given:
            return given[match[1]]
        return Value(None, match[0], f"{match[0]} is filled in by Cloud Build", per_commit=match[1] in _PER_COMMIT)

    def fill(text: str) -> Value:
        filled = substitute(text, _SUBSTITUTION, value)
        if not filled.holes:
            return static(filled.text)
        shown = _SUBSTITUTION.sub(lambda match: value(match).text or match[0], text)
        return Value(None, shown, filled.holes[0].why, per_commit=any(hole.per_commit for hole in filled.holes))

    for step in steps.items() if steps is not None else ():
        name, args = step.get("name"), step.get("args")
        image = fill(name.text).shown if name is not None and name.text is not None else ""
        entry = step.get("entrypoint")
        env = jobs.variables(doc.root.get("options", "env")) | jobs.variables(step.get("env"))
        folder = step.get("dir")
        cwd = folder.text if folder is not None and folder.text is not None else ""
        script = step.get("script")
        if script is not None and script.text is not None:
            jobs.run_lines(box, [script], env, cwd, _SUBSTITUTION, value)
            continue
        words = jobs.scalars(args)
        program = entry.text if entry is not None and entry.text is not None else _program(image)
        if program in ("bash", "sh", "/bin/bash", "/bin/sh"):
            jobs.run_lines(
                box, [word for word in words if not (word.text or "").startswith("-")], env, cwd, _SUBSTITUTION, value
            )
        elif program:
            _command(box, step, program, words, fill, env, cwd)
    sites = box.finish()
    if images is None:
        return sites
    return [site if site.push else replace(site, push=True, push_line=images.key_line) for site in sites]


def _program(image: str) -> str:
    if "kaniko" in image:
        return "kaniko"
    last = image.rsplit("/", 1)[-1].partition(":")[0]
    return {
        "docker": "docker",
        "gcloud": "gcloud",
        "cosign": "cosign",
        "docker-compose": "docker-compose",
        "depot": "depot",
    }.get(last, "")


def _command(
    box: Machine, step: Node, program: str, words: list[Node], fill: object, env: dict[str, Value], cwd: str
) -> None:
    assert callable(fill)
    argv = [Arg(static(program), program)]
    lines: dict[int, int] = {}
    for number, word in enumerate(words, 1):
        argv.append(Arg(fill(word.text or ""), word.text or "", number, number))
        lines[number] = word.line
    call = docker_cli.read(argv)
    if call is not None:
        box.take(call, env, cwd, box.path, step.line, step.end_line, lines)
