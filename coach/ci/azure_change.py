"""What to write into an Azure pipeline so that a build keeps its cache or hands over secrets.

Sources (read 2026-11): learn.microsoft.com/azure/devops/pipelines/release/caching (a cache is never rewritten, belongs
to a branch, and those of main and master are read by all), …/process/set-secret-variables (a secret reaches a step
through ``env`` alone), microsoft/azure-pipelines-tasks Tasks/DockerV2 (``docker build`` with ``arguments``, which
``buildAndPush`` ignores); docs.docker.com/build/builders (``BUILDX_BUILDER``); sigstore/fulcio config/identity (no
token of Azure Pipelines is taken).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from coach.ci import azure, command_edit, guidance, yamldoc, yamledit
from coach.ci.azure import script, task
from coach.ci.command_edit import MOUNTS, Command
from coach.ci.commands import substitute
from coach.ci.nouns import AddCache, NativeArm, SecretArgs, Sign, Value, Want
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree

_BUILDER = "docker buildx create --use --name ci --driver docker-container"
_MACRO = re.compile(r"\$\(([\w.-]+)\)")
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}|\$\(([\w.-]+)\)")
_BUILD = re.compile(r"\bdocker[ \t]+(?:image[ \t]+|builder[ \t]+|buildx[ \t]+)?build\b")


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a step of a pipeline or of a template holds."""
    return guidance.edited(build, want, lambda: _change(tree, build, want), _snippet(build, want))


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    if isinstance(want, Sign):
        raise CannotEditError("Sigstore takes no identity token of Azure Pipelines: a key has to be made first")
    if not isinstance(want, AddCache | SecretArgs):
        return None
    if build.tool == "workflow":
        raise CannotEditError("the build steps stand in a template of another repository")
    spot = find(tree, build)
    if isinstance(want, SecretArgs):
        return _secrets(tree, build, want, spot)
    return _cache(tree, build, want, spot)


@dataclass(frozen=True, slots=True)
class Spot:
    """The step that builds, and the list it stands in."""

    doc: Doc
    step: Node
    steps: tuple[Node, ...]

    @property
    def index(self) -> int:
        """Place of the step in its list."""
        return next(number for number, step in enumerate(self.steps) if step.line == self.step.line)


def find(tree: Tree, build: BuildSite) -> Spot:
    """The step at ``build.line``. Raises ``CannotEditError`` when the command is not written in a step."""
    if not build.path.endswith((".yml", ".yaml")):
        raise CannotEditError(f"the command stands in {build.path}, which builds elsewhere too")
    doc = yamldoc.read(tree.read(build.path), build.path)
    for steps in _lists(doc.root):
        for step in steps:
            if step.is_map and (script(step) is not None or task(step)) and step.line <= build.line <= step.end_line:
                return Spot(doc, step, steps)
    raise CannotEditError("the step that builds was not found in the file")


def _lists(node: Node, depth: int = 0) -> Iterator[tuple[Node, ...]]:
    """Every list of the file, outer ones first."""
    if depth > 40:
        return
    if node.is_list:
        yield tuple(node.items())
        for item in node.items():
            yield from _lists(item, depth + 1)
    for item in node.entries().values():
        yield from _lists(item, depth + 1)


# -- secrets -------------------------------------------------------------------------------------------------------


def _secrets(tree: Tree, build: BuildSite, want: SecretArgs, spot: Spot) -> Remedy:
    edits = _arguments(build, want, spot) if script(spot.step) is None else _options(tree, build, want, spot)
    return command_edit.handed_over(build, want, edits)


def _options(tree: Tree, build: BuildSite, want: SecretArgs, spot: Spot) -> list[Edit]:
    """The command of a script; a macro, which Azure writes into its text, becomes a variable of the step."""
    command, _ = _command(tree, build, spot)
    if command.under("sudo"):
        raise CannotEditError("sudo keeps the variable from the build, which the shell put into the argument so far")
    edits: list[Edit] = []
    needed: dict[str, str] = {}
    plain = dict(want.names)
    for flag in command.invocation.all("build-arg"):
        name, _, value = command.value(flag).strip("\"'").partition("=")
        if name not in want.names or _MACRO.fullmatch(value.strip("\"'")) is None:
            continue
        needed[name] = value.strip("\"'")
        edits.append(command.replace(flag, "--secret", f"id={plain.pop(name)},env={name}"))
    if plain:
        edits += command_edit.secrets(command, build, plain)
    elif command.invocation.tool == "docker" and not build.buildkit:
        edits += command.assign(["DOCKER_BUILDKIT=1"])
    return [*edits, *_environment(spot, needed)]


def _command(tree: Tree, build: BuildSite, spot: Spot) -> tuple[Command, Node]:
    text = script(spot.step)
    if text is None:
        raise CannotEditError("the step is no script")
    hole = Value(None, "", "it is known only when the pipeline runs")
    return command_edit.in_nodes(tree, build, [text], lambda given: substitute(given, _EXPRESSION, lambda _: hole))


def _arguments(build: BuildSite, want: SecretArgs, spot: Spot) -> list[Edit]:
    """The ``arguments`` of a Docker task."""
    given = _input(spot.step, "arguments")
    if task(spot.step) != "Docker" or given is None or given.text is None:
        raise CannotEditError(f"the task {task(spot.step)} has no known secret options")
    edits: list[Edit] = []
    needed: dict[str, str] = {}
    source = given.source()
    option = re.compile(r"--build-arg(?:=|\s+)(?:\"(\w+)=([^\"]*)\"|(\w+)=(\"[^\"]*\"|\S*))")
    for match in option.finditer(given.text):
        name, value = match[1] or match[3], (match[2] if match[1] else match[4]).strip('"')
        if name not in want.names:
            continue
        if _MACRO.fullmatch(value) is None:
            raise CannotEditError(f"the value of {name} is put together in the step")
        needed[name] = value
        start, last = source.byte(match.start()), source.byte(match.end() - 1)
        if start is None or last is None:
            raise CannotEditError("the arguments are written in a way whose places are not known")
        edits.append(Edit(build.path, Span(start, last + 1), f"--secret id={want.names[name]},env={name}".encode()))
    if set(needed) != set(want.names):
        raise CannotEditError("the arguments are not written in the step")
    if not build.buildkit:
        needed["DOCKER_BUILDKIT"] = "1"
    return [*edits, *_environment(spot, needed)]


def _input(step: Node, key: str) -> Node | None:
    inputs = step.get("inputs")
    for name, node in (inputs.entries() if inputs is not None else {}).items():
        if name.lower() == key.lower() and not node.is_null:
            return node
    return None


def _environment(spot: Spot, needed: Mapping[str, str]) -> list[Edit]:
    """Variables of the step."""
    if not needed:
        return []
    given = spot.step.get("env")
    if given is not None:
        yamledit.own(given, spot.step.line, spot.step.end_line)
        taken = [name for name in needed if given.get(name) is not None and given.entries()[name].text != needed[name]]
        if taken:
            raise CannotEditError(f"the step has a variable {taken[0]} already")
        entries = [(name, value) for name, value in needed.items() if given.get(name) is None]
        return [yamledit.add_keys(given, entries)] if entries else []
    lines = ["", *(f"  {name}: {value}" for name, value in needed.items())]
    return [yamledit.add_keys(spot.step, [("env", lines)])]


# -- cache ---------------------------------------------------------------------------------------------------------


def _cache(tree: Tree, build: BuildSite, want: AddCache, spot: Spot) -> Remedy:
    where = f"`{build.path}` line {build.line}"
    if build.runner.lower().startswith("windows"):
        raise CannotEditError("a Windows engine builds without BuildKit")
    runs = [site for site in azure.read(tree).builds if (site.path, site.line) == (build.path, build.line)]
    if len({(site.dockerfile, site.context, site.target, site.build_args) for site in runs}) > 1:
        raise CannotEditError("the step builds several images, each of which needs a cache of its own")
    reasons = ["the build moves from the engine's builder to one of its own"]
    made: list[Edit] = []
    if any(ref.type != "inline" for ref in build.cache_to):
        command, _ = _command(tree, build, spot)
        says = f"{where} imports the cache it exports, and exports every stage (`mode=max`). {MOUNTS}"
        return Remedy(Safety.SAFE, tuple(command_edit.cache(command, build, "")), (), says)
    if not _has_builder(spot):
        made.append(_insert(spot, _first(spot), [f"- script: {_BUILDER}", "  displayName: Make a builder"]))
    if script(spot.step) is None:
        if task(spot.step) != "Docker":
            raise CannotEditError(f"the task {task(spot.step)} has no known cache options")
        _untouched(build)
        reasons.append("the docker client of the agent has to take its builder from BUILDX_BUILDER: 23.0 and newer do")
        return _kept(build, spot, want, made, _task_cache(want, spot), reasons)
    command, _ = _command(tree, build, spot)
    place = _place(command, build, want.scope)
    if place:
        return Remedy(
            Safety.REVIEW,
            (*made, *command_edit.cache(command, build, place)),
            (*command_edit.why_registry(place), *reasons),
            f"{where} keeps the layers of every stage (`mode=max`) beside the image, one cache for all branches. "
            f"{MOUNTS}",
        )
    _untouched(build)
    options = [*_local(_name(want)), *_load(command, build)]
    return _kept(build, spot, want, made, [*command.buildx(), command.insert(options)], reasons)


def _untouched(build: BuildSite) -> None:
    if build.cache_from or build.cache_to:
        raise CannotEditError("the command has cache options of its own already")


def _has_builder(spot: Spot) -> bool:
    texts = (script(step) for step in spot.steps[: spot.index + 1] if step.is_map)
    return any(text is not None and "buildx create" in (text.text or "") for text in texts)


def _first(spot: Spot) -> Node:
    """The first step of the list that builds an image: a builder has to be there before it."""
    for step in spot.steps[: spot.index]:
        text = script(step) if step.is_map else None
        if step.is_map and (task(step) == "Docker" or (text is not None and _BUILD.search(text.text or ""))):
            command = _input(step, "command")
            if text is not None or (command.text if command is not None and command.text else "build").startswith("b"):
                return step
    return spot.step


def _insert(spot: Spot, step: Node, lines: list[str], after: bool = False) -> Edit:
    indent = yamledit.item_indent(step)
    written = [indent + line for line in lines]
    if after:
        return yamledit.insert_after(spot.doc, step.end_line, written)
    first = yamledit.item_first_line(step)
    while first > 1 and spot.doc.line_text(first - 1).startswith(f"{indent}#"):
        first -= 1
    return yamledit.insert_before(spot.doc, first, written)


def _name(want: AddCache) -> str:
    return f"buildx-{re.sub(r'[^a-z0-9]+', '-', want.scope.lower()).strip('-')}" if want.scope else "buildx"


def _local(name: str) -> tuple[str, str]:
    folder = f"$(Pipeline.Workspace)/{name}"
    return f"--cache-from type=local,src={folder}", f"--cache-to type=local,dest={folder}-new,mode=max"


def _load(command: Command, build: BuildSite) -> list[str]:
    invocation = command.invocation
    output = any(invocation.on(name) for name in ("push", "load")) or invocation.last("output") is not None
    return [] if output or len(build.platforms) > 1 else ["--load"]


def _kept(
    build: BuildSite, spot: Spot, want: AddCache, builder: list[Edit], edits: list[Edit], reasons: list[str]
) -> Remedy:
    """The steps that restore a cache directory before the build, and put the new one in its place after it."""
    name = _name(want)
    folder = f"$(Pipeline.Workspace)/{name}"
    restore = [
        "- task: Cache@2",
        "  displayName: Restore the layer cache",
        "  inputs:",
        f'    key: \'"{name}" | "$(Agent.OS)" | "$(Build.SourceVersion)"\'',
        f'    restoreKeys: \'"{name}" | "$(Agent.OS)"\'',
        f"    path: {folder}",
    ]
    renew = [
        f"- script: rm -rf {folder} && mv {folder}-new {folder}",
        "  displayName: Keep the new layer cache only",
    ]
    return Remedy(
        Safety.REVIEW,
        (*builder, _insert(spot, spot.step, restore), *edits, _insert(spot, spot.step, renew, after=True)),
        (*reasons, "the whole cache is stored anew for each commit: large images fare better in a registry"),
        f"`{build.path}` line {build.line} keeps the layers of every stage (`mode=max`) in Azure's pipeline cache, "
        "which needs no registry: one cache for each branch, and that of main or master for one that has none. "
        f"{MOUNTS}",
    )


def _task_cache(want: AddCache, spot: Spot) -> list[Edit]:
    """A Docker task that builds with the new builder; its push becomes a task of its own."""
    inputs = spot.step.get("inputs")
    command = _input(spot.step, "command")
    named = (command.text or "").lower() if command is not None else "buildandpush"
    if inputs is None or named not in ("build", "buildandpush") or spot.step.flow or inputs.flow:
        raise CannotEditError("the task is written in a way that is not edited")
    options = " ".join(["--load", *_local(_name(want))])
    given = _input(spot.step, "arguments")
    edits = _environment(spot, {"BUILDX_BUILDER": "ci"})
    if named == "build" and given is not None:
        if given.style in ("|", ">") or given.text is None:
            raise CannotEditError("the arguments are written on several lines")
        return [yamledit.append_to_scalar(given, f" {options}"), *edits]
    if named == "build":
        return [yamledit.add_keys(inputs, [("arguments", options)]), *edits]
    if given is not None:
        raise CannotEditError("buildAndPush ignores its arguments, which a task that only builds would heed")
    return [*edits, *_parted(spot, inputs, command, options)]


def _parted(spot: Spot, inputs: Node, command: Node | None, options: str) -> list[Edit]:
    """``buildAndPush``, which takes no arguments, as ``build`` with them and ``push``."""
    if command is None:
        first = [yamledit.add_keys(inputs, [("command", "build"), ("arguments", options)])]
    else:
        indent = yamledit.key_indent(inputs)
        first = [
            yamledit.replace_span(spot.doc, command.span, "build"),
            yamledit.insert_after(spot.doc, command.end_line, [f"{indent}arguments: {options}"]),
        ]
    named = spot.step.entries()["task"].text or ""
    push = [f"- task: {named}", "  displayName: Push", "  inputs:", "    command: push"]
    for key in ("containerRegistry", "repository", "tags"):
        node = _input(spot.step, key)
        if node is None:
            continue
        lines = [spot.doc.line_text(line) for line in range(node.key_line, node.end_line + 1)]
        cut = len(lines[0]) - len(lines[0].lstrip())
        push += [f"    {line[min(cut, len(line) - len(line.lstrip())) :]}" for line in lines]
    condition = spot.step.get("condition")
    if condition is not None:
        push.insert(1, f"  condition: {condition.text}")
    return [*first, _insert(spot, spot.step, push, after=True)]


def _place(command: Command, build: BuildSite, scope: str) -> str:
    """Where the cache can lie beside the pushed image, macros as they are written; "" when that is not known."""
    if not build.push:
        return ""
    for flag in command.invocation.all("tag"):
        written = re.sub(r"[\"']", "", command.value(flag))
        # a macro as a variable of the same length, so that its dots are no part of a name
        plain = _MACRO.sub(lambda match: f"${{{re.sub(r'[.-]', '_', match[1])}}}", written)
        shown = written[: len(command_edit.repository_of(plain))]
        if re.search(r"[/$]", shown) and re.fullmatch(r"(?:[\w./:-]|\$\([\w.-]+\)|\$\{?\w+\}?)+", shown):
            return f"{shown}:buildcache{f'-{scope}' if scope else ''}"
    return ""


# -- guidance ------------------------------------------------------------------------------------------------------


def _snippet(build: BuildSite, want: Want) -> str:
    file = f" -f {build.dockerfile}" if build.dockerfile not in (None, "Dockerfile") else ""
    context = build.context or "."
    if isinstance(want, AddCache):
        place = f"<registry>/<repository>:buildcache{f'-{want.scope}' if want.scope else ''}"
        return _fenced(
            "- task: Docker@2",
            "  inputs: {command: login, containerRegistry: <service connection>}",
            f"- script: {_BUILDER}",
            "- script: >-",
            "    docker buildx build --push -t <registry>/<repository>:$(Build.BuildId)",
            f"    --cache-from type=registry,ref={place} --cache-to type=registry,ref={place},mode=max{file} {context}",
        )
    if isinstance(want, SecretArgs):
        flags = " ".join(f"--secret id={ident},env={name}" for name, ident in want.names.items())
        env = ", ".join(f"{name}: $({name})" for name in want.names)
        return _fenced(f"- script: docker build {flags}{file} {context}", f"  env: {{{env}}}")
    if isinstance(want, Sign):
        return (
            _fenced(
                "- script: cosign sign --yes --key env://COSIGN_PRIVATE_KEY <image>@<digest>",
                "  env: {COSIGN_PRIVATE_KEY: $(cosignPrivateKey), COSIGN_PASSWORD: $(cosignPassword)}",
            )
            + "\n\nSigstore takes no identity token of Azure Pipelines, so there is no signing without a key here; a "
            "key in Azure Key Vault is `--key azurekms://<vault>.vault.azure.net/<key>`. `--provenance` and `--sbom` "
            "of buildx describe the image, but sign nothing."
        )
    if isinstance(want, NativeArm):
        return (
            "Microsoft's hosted agents for Linux are amd64: arm64 takes a pool of your own machines (`pool: {name: "
            "<arm64 pool>}`), one job for each, and `docker buildx imagetools create` in a job after them; or "
            "cross-compile on `$BUILDPLATFORM`."
        )
    return ""


def _fenced(*lines: str) -> str:
    return "\n".join(["```yaml", *lines, "```"])
