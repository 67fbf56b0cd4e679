"""Azure Pipelines: ``azure-pipelines*.yml`` and the templates beside them, each file by itself.

Language: learn.microsoft.com/azure/devops/pipelines/yaml-schema, tasks Docker@2 and DockerCompose@1 (read 2026-11).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from coach.ci import compose, docker_cli, jobs, paths
from coach.ci.commands import substitute
from coach.ci.docker_cli import Arg, Flag, Invocation
from coach.ci.machine import Machine, sign_off
from coach.ci.nouns import WORKSPACE, Discovery, Value, static
from coach.ci.yamldoc import Doc, Node
from coach.model import BuildSite, Tree, is_file

_NAME = re.compile(
    r"(^|/)\.?azure[-_.]?pipelines?[\w.-]*\.ya?ml$|(^|/)\.?(azure[-_]?(pipelines?|devops)|azdo|\.pipelines)/.*\.ya?ml$",
    re.I,
)
_REFERENCE = re.compile(
    r"\$\{\{\s*(parameters|variables)[.\[]['\"]?([\w.]+)['\"]?\]?\s*\}\}|\$\(([\w.]+)\)|\$\{\{.*?\}\}"
)
_WORKSPACE = frozenset({"Build.SourcesDirectory", "System.DefaultWorkingDirectory", "Pipeline.Workspace"})


def read(tree: Tree) -> Discovery:
    """Every build of every job of every file."""
    return jobs.each_file(tree, lambda path: _NAME.search(path) is not None, _sites)


def _sites(tree: Tree, doc: Doc) -> list[BuildSite]:
    parameters: dict[str, Value] = {}
    declared = doc.root.get("parameters")
    if declared is not None and declared.is_map:
        parameters = jobs.variables(declared)
    for item in declared.items() if declared is not None and declared.is_list else ():
        name, default = item.get("name"), item.get("default")
        if name is not None and name.text and default is not None and default.text is not None:
            parameters[name.text] = static(default.text)
    shared = jobs.variables(doc.root.get("variables"))
    found: list[BuildSite] = []
    signed: list[tuple[str, int, str]] = []
    for holder, pool in _holders(doc.root, doc.root.get("pool")):
        name = holder.get("job") or holder.get("deployment")
        box = Machine(tree, "azure", doc.path, (name.text if name is not None else None) or "steps")
        _pool(box, pool)
        reader = _Steps(box, {**shared, **jobs.variables(holder.get("variables"))}, parameters)
        reader.run(holder.get("steps"))
        found += box.finish()
        signed += box.signed
    return sign_off(found, signed, [])


def _holders(node: Node, pool: Node | None, depth: int = 0) -> Iterator[tuple[Node, Node | None]]:
    """Every mapping that has steps, with the pool it runs on."""
    if depth > 30:
        return
    if node.is_map:
        pool = node.get("pool") or pool
        if node.get("steps") is not None:
            yield node, pool
        for key, item in node.entries().items():
            if key != "steps":
                yield from _holders(item, pool, depth + 1)
    elif node.is_list:
        for item in node.items():
            yield from _holders(item, pool, depth + 1)


def _pool(box: Machine, pool: Node | None) -> None:
    if pool is None:
        box.runner, box.thrown_away = "ubuntu-latest", True
        return
    image = pool.get("vmImage") if pool.is_map else None
    if image is not None and image.text is not None:
        box.runner, box.runner_line = image.text, image.key_line
        box.thrown_away = True
    else:
        named = pool.get("name") if pool.is_map else pool
        box.runner, box.runner_line = (named.text if named is not None else None) or "", pool.key_line


class _Steps:
    def __init__(self, box: Machine, variables: Mapping[str, Value], parameters: Mapping[str, Value]) -> None:
        self.box = box
        self.variables = variables
        self.parameters = parameters

    def value(self, match: re.Match[str]) -> Value:
        name = match[2] or match[3] or ""
        if match[3] in _WORKSPACE:
            return static(WORKSPACE)
        known = (self.parameters if match[1] == "parameters" else self.variables).get(name)
        if known is not None and known.text is not None and not _REFERENCE.search(known.text):
            return known
        per_commit = name in ("Build.SourceVersion", "Build.BuildId", "Build.BuildNumber")
        return Value(None, match[0], f"{match[0]} is known only when the pipeline runs", per_commit=per_commit)

    def fill(self, text: str) -> Value:
        filled = substitute(text, _REFERENCE, self.value)
        if not filled.holes:
            return static(filled.text)
        shown = _REFERENCE.sub(lambda match: self.value(match).text or match[0], text)
        return Value(None, shown, filled.holes[0].why, per_commit=any(hole.per_commit for hole in filled.holes))

    def run(self, steps: Node | None, depth: int = 0) -> None:
        for step in steps.items() if steps is not None and depth < 10 else ():
            if not step.is_map:
                continue
            task = (_text(step, "task") or "").partition("@")[0]
            inputs = step.get("inputs")
            folder = step.get("workingDirectory") or (inputs.get("workingDirectory") if inputs is not None else None)
            given = self.fill(folder.text) if folder is not None and folder.text is not None else static("")
            cwd = paths.join("", given.text) if given.text is not None else None
            env = {name: self.fill(item.text or "") for name, item in _entries(step.get("env"))}
            env |= {name: value for name, value in self.variables.items() if name not in env}
            script = step.get("script") or step.get("bash")
            if script is None and task in ("Bash", "CmdLine") and inputs is not None:
                script = inputs.get("script")
            if script is not None and script.text is not None:
                jobs.run_lines(self.box, [script], env, cwd, _REFERENCE, self.value)
            elif task == "Docker" and inputs is not None:
                self._docker(step, inputs)
            elif task == "DockerCompose" and inputs is not None:
                self._compose(step, inputs, env)
            for key, item in step.entries().items():
                if key.strip().startswith("${{"):
                    self.run(item, depth + 1)

    def _docker(self, step: Node, inputs: Node) -> None:
        command = (_text(inputs, "command") or "buildAndPush").lower()
        if command == "push":
            self.box.pushed(Invocation("docker", "push"), self.box.path, step.line)
        if command not in ("build", "buildandpush"):
            return
        words: list[tuple[Value, int]] = [(static("docker"), 0), (static("build"), 0)]
        file = self.fill(_text(inputs, "Dockerfile") or _text(inputs, "dockerfile") or "**/Dockerfile")
        if file.text is not None and "*" in file.text:
            file = static(self._found(file.text))
        words.append((_option("--file=", file), step.line))
        given = inputs.get("arguments")
        if given is not None and given.text is not None:
            words += [(self.fill(piece), given.key_line) for piece in given.text.split()]
        context = self.fill(_text(inputs, "buildContext") or "**")
        if context.text == "**":
            context = (
                static(posixpath.dirname(file.text) or ".") if file.text is not None else Value(None, "**", file.why)
            )
        words.append((context, step.line))
        repository = inputs.get("repository")
        if repository is not None and repository.text is not None:
            tag = self.fill(repository.text)
            words.insert(2, (_option("--tag=", tag), repository.key_line))
        argv = [Arg(value, value.shown, number, number) for number, (value, _) in enumerate(words)]
        call = docker_cli.read(argv)
        if call is None:
            return
        lines = {number: line or step.line for number, (_, line) in enumerate(words)}
        before = len(self.box.sites)
        self.box.take(call, dict(self.variables), "", self.box.path, step.line, step.end_line, lines)
        if command == "buildandpush":
            self.box.sites[before:] = [
                replace(site, push=True, push_line=step.line) for site in self.box.sites[before:]
            ]

    def _found(self, pattern: str) -> str:
        name = pattern.rsplit("/", 1)[-1]
        found = sorted(
            path
            for path in self.box.tree.entries()
            if posixpath.basename(path) == name and is_file(self.box.tree, path)
        )
        return found[0] if len(found) == 1 else pattern

    def _compose(self, step: Node, inputs: Node, env: Mapping[str, Value]) -> None:
        action = (_text(inputs, "action") or "").lower()
        if "build" not in action and "run" not in action:
            return
        file = self.fill(_text(inputs, "dockerComposeFile") or "**/docker-compose.yml")
        if file.text is not None and "*" in file.text:
            file = static(self._found(file.text))
        call = Invocation(
            "compose", "compose", globals=(Flag("file", Arg(file, file.shown), 0, 0),), subcommand="build"
        )
        place = self.box.place(self.box.path, step.line, step.end_line, "")
        self.box.add(compose.called(place, call, env, {}))


def _text(node: Node, key: str) -> str | None:
    item = node.get(key)
    return item.text if item is not None else None


def _entries(node: Node | None) -> list[tuple[str, Node]]:
    return list(node.entries().items()) if node is not None else []


def _option(lead: str, value: Value) -> Value:
    return replace(value, text=None if value.text is None else lead + value.text, shown=lead + value.shown, options=())
