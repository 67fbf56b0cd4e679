"""What to write into CircleCI's configuration so that a build keeps its cache or hands over secrets.

Sources (read 2026-11): circleci.com/docs/docker-layer-caching (200 credits for each job run),
circleci.com/docs/oidc-tokens-with-custom-claims (``circleci run oidc get``), sigstore/fulcio config/identity (a token
of CircleCI is taken when it is made out for ``sigstore``).
"""

from __future__ import annotations

from coach.ci import command_edit, commands, guidance, yamldoc, yamledit
from coach.ci.circleci import PARAMETER, runs
from coach.ci.nouns import AddCache, NativeArm, SecretArgs, Sign, Value, Want
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Tree

_KEY = "docker_layer_caching"


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a CircleCI job runs."""
    return guidance.edited(build, want, lambda: _change(tree, build, want), _snippet(build, want))


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    path = build.called_from or build.path
    if isinstance(want, AddCache):
        return Remedy(
            Safety.REVIEW,
            (_layer_caching(tree, path, build.job),),
            (
                "Docker layer caching costs 200 credits for each run of the job",
                "its documentation lists known issues with gen3 resource classes and with newer versions of Docker",
            ),
            f"The job `{build.job}` of `{path}` finds the layers of earlier runs, those of every stage, on a volume "
            "that CircleCI keeps; jobs that run at once may get different ones. Count on the layers, not on what cache "
            "mounts hold.",
        )
    if isinstance(want, Sign):
        raise CannotEditError("whether the job has cosign, and the organization's tokens what Sigstore asks, is open")
    if isinstance(want, SecretArgs):
        if build.tool == "orb":
            raise CannotEditError("the build steps stand in an orb")
        if build.defined_in:
            raise CannotEditError("what is built is told by a file that people read too, not by this job")
        edits = _secrets(tree, build, want, yamldoc.read(tree.read(path), path))
        return command_edit.handed_over(build, want, edits)
    return None


def _secrets(tree: Tree, build: BuildSite, want: SecretArgs, doc: Doc) -> list[Edit]:
    hole = Value(None, "", "it is a parameter")
    for text in runs(doc):
        if build.path == doc.path and not text.line <= build.line <= text.end_line:
            continue
        command, _ = command_edit.in_nodes(
            tree, build, [text], lambda given: commands.substitute(given, PARAMETER, lambda _: hole)
        )
        # what the remote engines bring is often too old for a secret in a variable
        frontend = command_edit.newer_frontend(tree, build) if build.driver in ("", "docker") else []
        return [*command_edit.secrets(command, build, want.names), *frontend]
    raise CannotEditError(command_edit.NOT_FOUND)


def _layer_caching(tree: Tree, path: str, name: str) -> Edit:
    doc = yamldoc.read(tree.read(path), path)
    job = doc.root.get("jobs", name)
    if job is None:
        raise CannotEditError("the job comes from an orb")
    step = _remote(doc, job)
    if step is not None:
        return _switch_on(doc, step)
    machine = job.get("machine")
    executor = job.get("executor")
    if machine is None and executor is not None:
        wanted = executor.get("name") if executor.is_map else executor
        machine = doc.root.get("executors", wanted.text or "", "machine") if wanted is not None else None
    if machine is None:
        raise CannotEditError("the job has neither a remote engine nor a machine of its own")
    if machine.is_map:
        return yamledit.add_keys(machine, [(_KEY, "true")])
    if machine.text == "true" and machine.key is not None:
        indent = " " * machine.key_column
        # what `true` is short for: circleci.com/docs/guides/server/execute/using-linuxvm
        lines = [f"{indent}machine:", f"{indent}  image: default", f"{indent}  {_KEY}: true"]
        return _rewrite(doc, machine.key_line, lines)
    raise CannotEditError("the machine is written in a way that takes no options")


def _remote(doc: Doc, job: Node) -> Node | None:
    """The ``setup_remote_docker`` step of the job or of a command it calls."""
    todo = [job]
    seen: set[str] = set()
    commands = doc.root.get("commands")
    while todo:
        steps = todo.pop(0).get("steps")
        for step in steps.items() if steps is not None else ():
            names = [step.text] if step.text is not None else list(step.entries())
            for name in names:
                if name == "setup_remote_docker":
                    return step
                command = commands.get(name) if commands is not None and name is not None else None
                if command is not None and name not in seen:
                    seen.add(str(name))
                    todo.append(command)
    return None


def _switch_on(doc: Doc, step: Node) -> Edit:
    indent = yamledit.item_indent(step)
    if step.text is not None:
        if "#" in doc.line_text(step.line):
            raise CannotEditError("a comment stands behind the step")
        return _rewrite(doc, step.line, [f"{indent}- setup_remote_docker:", f"{indent}    {_KEY}: true"])
    given = step.entries()["setup_remote_docker"]
    if given.is_map:
        if given.get(_KEY) is not None:
            raise CannotEditError("layer caching is switched off or computed there")
        return yamledit.add_keys(given, [(_KEY, "true")])
    return yamledit.insert_after(doc, given.key_line, [f"{indent}    {_KEY}: true"])


def _rewrite(doc: Doc, line: int, lines: list[str]) -> Edit:
    span = doc.line_span(line, line)
    ended = doc.content[span.start : span.end].endswith(b"\n")
    return Edit(doc.path, span, doc.eol.join(text.encode() for text in lines) + (doc.eol if ended else b""))


# -- guidance ------------------------------------------------------------------------------------------------------


def _snippet(build: BuildSite, want: Want) -> str:
    file = f" -f {build.dockerfile}" if build.dockerfile not in (None, "Dockerfile") else ""
    context = build.context or "."
    if isinstance(want, AddCache):
        place = f"<registry>/<repository>:buildcache{f'-{want.scope}' if want.scope else ''}"
        return (
            _fenced("- setup_remote_docker:", f"    {_KEY}: true")
            + "\n\n(or under `machine`; it costs credits), or a registry cache with a builder of its own:\n\n"
            + _fenced(
                "- run:",
                "    name: Build",
                "    command: |",
                "      docker context create ci",
                "      docker buildx create --use --driver docker-container ci",
                "      docker buildx build --push -t <registry>/<repository>:$CIRCLE_SHA1 \\",
                f"        --cache-from type=registry,ref={place} \\",
                f"        --cache-to type=registry,ref={place},mode=max{file} {context}",
            )
        )
    if isinstance(want, SecretArgs):
        flags = " ".join(f"--secret id={ident},env={name}" for name, ident in want.names.items())
        return _fenced(f"- run: docker build {flags}{file} {context}")
    if isinstance(want, Sign):
        return (
            _fenced(
                "- run:",
                "    name: Sign",
                "    command: |",
                """      export SIGSTORE_ID_TOKEN="$(circleci run oidc get --claims '{\"aud\": \"sigstore\"}')\"""",
                "      cosign sign --yes <image>@<digest>",
            )
            + "\n\nThe token in `$CIRCLE_OIDC_TOKEN_V2` is made out for the organization, which Sigstore refuses."
        )
    if isinstance(want, NativeArm):
        return (
            _fenced(
                "jobs:",
                "  image:",
                "    parameters:",
                "      size: {type: string}",
                "    machine: {image: ubuntu-2404:current}",
                "    resource_class: << parameters.size >>",
                "workflows:",
                "  image:",
                "    jobs:",
                "      - image:",
                "          matrix:",
                "            parameters: {size: [medium, arm.medium]}",
            )
            + "\n\nEach pushes a tag of its own; a job after them joins the two with `docker buildx imagetools create`."
        )
    return ""


def _fenced(*lines: str) -> str:
    return "\n".join(["```yaml", *lines, "```"])
