"""What to write into ``cloudbuild.yaml``: BuildKit, a cache for a build step, secrets instead of build arguments.

Sources (read 2026-11): cloud.google.com/build/docs/build-config-file-schema (``env``, ``secretEnv``, ``waitFor``; steps
share the home directory, and with it the builder that one of them makes), …/optimize-builds/kaniko-cache.
"""

from __future__ import annotations

from coach.ci import cloudbuild, command_edit, guidance, yamldoc, yamledit
from coach.ci.cloudbuild import Step
from coach.ci.command_edit import Words
from coach.ci.nouns import AddCache, BuildkitOn, SecretArgs, Want
from coach.ci.yamldoc import Doc
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree

_SWITCH = "DOCKER_BUILDKIT=1"
_BY_HAND = """Take the value from Secret Manager, as a variable of the step:

```yaml
availableSecrets:
  secretManager:
    - versionName: projects/$PROJECT_ID/secrets/<secret>/versions/latest
      env: NAME
steps:
  - name: gcr.io/cloud-builders/docker
    args: [build, --secret, "id=name,env=NAME", .]
    env: [DOCKER_BUILDKIT=1]
    secretEnv: [NAME]
```"""


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build step."""
    snippet = _BY_HAND if isinstance(want, SecretArgs) else ""
    return guidance.edited(build, want, lambda: _change(tree, build, want), snippet)


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    path = build.called_from or build.path
    doc = yamldoc.read(tree.read(path), path)
    step = next((step for step in cloudbuild.steps(doc) if _holds(step, build)), None)
    if step is None or build.called_from:
        raise CannotEditError("the build command does not stand in the file")
    filler = cloudbuild.substitutions(doc)
    if step.script:
        return command_edit.scripted(
            tree, build, want, [step.script], fill=filler.shell, encode=lambda text: text.replace("$", "$$")
        )
    call = cloudbuild.invocation(step, filler)
    args = step.node.get("args")
    if call is None or args is None or not args.is_list:
        raise CannotEditError("the words of the command are not written as a list")
    command = Words(doc, call, step.args, args)
    if isinstance(want, BuildkitOn):
        return _buildkit(step, build) if build.tool == "docker" else None
    if isinstance(want, SecretArgs):
        given = _secret_names(doc, step)
        edits = command_edit.listed_secrets(command, want.names, lambda name: name in given)
        switch = [] if build.buildkit else [_environment(step, _SWITCH)]
        return command_edit.handed_over(build, want, [*edits, *switch])
    if isinstance(want, AddCache):
        return _cache(build, want, step, command)
    return None


def _holds(step: Step, build: BuildSite) -> bool:
    return step.node.line <= build.line <= step.node.end_line


def _secret_names(doc: Doc, step: Step) -> set[str]:
    holders = (doc.root.get("options", "secretEnv"), step.node.get("secretEnv"))
    return {name for given in holders if given is not None for name, _ in given.texts()}


def _buildkit(step: Step, build: BuildSite) -> Remedy:
    return Remedy(
        Safety.REVIEW,
        (_environment(step, _SWITCH),),
        (f"{build.buildkit_why or 'the engine is old'}: a newer image of docker is the better fix",),
        f"`{build.path}` line {build.line} asks the engine for BuildKit.",
    )


def _environment(step: Step, setting: str) -> Edit:
    """A variable more for a step."""
    given = step.node.get("env")
    if given is None:
        return yamledit.add_keys(step.node, [("env", ["", f"  - {setting}"])], "args")
    items = list(given.items())
    if not given.is_list or not items:
        raise CannotEditError("the step's `env` is no list")
    if given.flow:
        at = items[-1].span.end
        return Edit(given.doc.path, Span(at, at), f", {command_edit.like(items[-1], setting)}".encode())
    return yamledit.insert_after(
        given.doc, items[-1].end_line, [f"{yamledit.item_indent(items[-1])}- {command_edit.like(items[-1], setting)}"]
    )


def _cache(build: BuildSite, want: AddCache, step: Step, command: Words) -> Remedy:
    if command.invocation.tool == "kaniko":
        return Remedy(
            Safety.REVIEW,
            (command.append("--cache=true"),),
            ("kaniko pushes its layers to `<destination>/cache`: the registry must take them",),
            f"`{build.path}` line {build.line} keeps its layers in the registry.",
        )
    place = command_edit.cache_place(command, build, want.scope)
    if not place:
        raise CannotEditError("where the image is pushed, beside which a cache could lie, is not written at the build")
    edits = command_edit.cache(command, build, place)
    reasons = command_edit.why_registry(place)
    if build.driver in ("", "docker"):
        if step.node.get("waitFor") is not None:
            raise CannotEditError("the step does not wait for the ones above it, so the builder may come too late")
        edits = [_builder(step), *edits]
        reasons += ("the build moves from the engine's builder to one of its own, made by docker's buildx plug-in",)
    return Remedy(Safety.REVIEW, tuple(edits), reasons, command_edit.says_kept(build, place))


def _builder(step: Step) -> Edit:
    """A step in front that makes a builder, run by the same image."""
    indent = yamledit.item_indent(step.node)
    words = ", ".join(command_edit.BUILDER.split()[1:])
    name = step.node.get("name")
    if name is None or name.text is None:
        raise CannotEditError("the step names no image")
    inner = " " * (step.node.column - len(indent) - 1)
    lines = [f"{indent}-{inner}name: {name.text}", f"{indent} {inner}args: [{words}]"]
    first = yamledit.item_first_line(step.node)
    while first > 1 and step.node.doc.line_text(first - 1).startswith(f"{indent}#"):
        first -= 1  # a comment right above belongs to the step
    return yamledit.insert_before(step.node.doc, first, lines)
