"""Google Cloud Build: ``cloudbuild.yaml``.

Language: cloud.google.com/build/docs/build-config-file-schema and …/optimize-builds/kaniko-cache; the Docker that
``gcr.io/cloud-builders/docker`` holds: github.com/GoogleCloudPlatform/cloud-builders, docker/cloudbuild.yaml
(all read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from coach.ci import docker_cli, jobs
from coach.ci.commands import Filled, substitute
from coach.ci.docker_cli import Arg, Invocation
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


@dataclass(frozen=True, slots=True)
class Substitutions:
    """What stands for ``$NAME`` and ``${NAME}`` in a file."""

    given: Mapping[str, Value]

    def value(self, match: re.Match[str]) -> Value:
        """One substitution."""
        if match[0] == "$$":
            return static("$")
        if match[1] in self.given:
            return self.given[match[1]]
        return Value(None, match[0], f"{match[0]} is filled in by Cloud Build", per_commit=match[1] in _PER_COMMIT)

    def shell(self, text: str) -> Filled:
        """A script with its substitutions filled in."""
        return substitute(text, _SUBSTITUTION, self.value)

    def word(self, text: str) -> Value:
        """One word."""
        filled = self.shell(text)
        if not filled.holes:
            return static(filled.text)
        shown = _SUBSTITUTION.sub(lambda match: self.value(match).text or match[0], text)
        return Value(None, shown, filled.holes[0].why, per_commit=any(hole.per_commit for hole in filled.holes))


@dataclass(frozen=True, slots=True)
class Step:
    """A build step: ``program`` runs the words of ``args``, or is "sh" for ``script``, the lines of a shell."""

    node: Node
    program: str
    image: str
    args: tuple[Node, ...]
    script: tuple[Node, ...]


def substitutions(doc: Doc) -> Substitutions:
    """The substitutions of a file."""
    return Substitutions(jobs.variables(doc.root.get("substitutions")))


def steps(doc: Doc) -> Iterator[Step]:
    """The steps of a file that run something known."""
    filler = substitutions(doc)
    listed = doc.root.get("steps")
    for node in listed.items() if listed is not None else ():
        name, entry, script = node.get("name"), node.get("entrypoint"), node.get("script")
        image = filler.word(name.text).shown if name is not None and name.text is not None else ""
        words = tuple(jobs.scalars(node.get("args")))
        program = entry.text if entry is not None and entry.text is not None else _program(image)
        if script is not None and script.text is not None:
            yield Step(node, "sh", image, (), (script,))
        elif program in ("bash", "sh", "/bin/bash", "/bin/sh"):
            yield Step(node, "sh", image, (), tuple(word for word in words if not (word.text or "").startswith("-")))
        elif program:
            yield Step(node, program, image, words, ())


def invocation(step: Step, filler: Substitutions) -> Invocation | None:
    """The command of a step that is a list of words, its words numbered from 1."""
    argv = [Arg(static(step.program), step.program)]
    for number, word in enumerate(step.args, 1):
        argv.append(Arg(filler.word(word.text or ""), word.text or "", number, number))
    return docker_cli.read(argv)


def _sites(tree: Tree, doc: Doc) -> list[BuildSite]:
    images = doc.root.get("images")
    box = Machine(tree, "cloudbuild", doc.path, "build", thrown_away=True)
    filler = substitutions(doc)
    shared = jobs.variables(doc.root.get("options", "env"))
    for step in steps(doc):
        env = shared | jobs.variables(step.node.get("env")) | _secrets(doc, step.node)
        folder = step.node.get("dir")
        cwd = folder.text if folder is not None and folder.text is not None else ""
        box.engine, box.engine_line, box.engine_why = _engine(step)
        if step.script:
            jobs.run_lines(box, list(step.script), env, cwd, _SUBSTITUTION, filler.value)
            continue
        call = invocation(step, filler)
        if call is not None:
            lines = {number: word.line for number, word in enumerate(step.args, 1)}
            box.take(call, env, cwd, box.path, step.node.line, step.node.end_line, lines)
    sites = box.finish()
    if images is None:
        return sites
    return [site if site.push else replace(site, push=True, push_line=images.key_line) for site in sites]


def _secrets(doc: Doc, step: Node) -> dict[str, Value]:
    """Variables that a step gets from Secret Manager."""
    names: dict[str, Value] = {}
    for holder in (doc.root.get("options"), step):
        given = holder.get("secretEnv") if holder is not None else None
        for name, _ in given.texts() if given is not None else ():
            names[name] = Value(None, f"${name}", f"{name} comes from Secret Manager", secret=True)
    return names


def _engine(step: Step) -> tuple[int | None, int, str]:
    """Whether a step's docker is the old one of Google's own image, which builds without BuildKit unless told."""
    match = re.fullmatch(r"gcr\.io/cloud-builders/docker(?::(latest|19\.\S*|20\.\S*))?", step.image)
    if match is None:
        return None, 0, ""
    name = step.node.get("name")
    line = name.line if name is not None else step.node.line
    return 20, line, "gcr.io/cloud-builders/docker holds Docker 20.10, which builds without BuildKit by default"


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
