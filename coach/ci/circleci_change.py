"""What to write into CircleCI's configuration so that a build keeps its cache.

Source (read 2026-11): circleci.com/docs/docker-layer-caching (200 credits for each job run).
"""

from __future__ import annotations

from coach.ci import yamldoc, yamledit
from coach.ci.nouns import AddCache, SecretArgs, Sign, Want
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.errors import InputError
from coach.model import BuildSite, Edit, Remedy, Safety, Tree

_KEY = "docker_layer_caching"


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a CircleCI job runs."""
    try:
        if isinstance(want, AddCache):
            path = build.called_from or build.path
            return Remedy(
                Safety.REVIEW,
                (_layer_caching(tree, path, build.job),),
                ("Docker layer caching costs 200 credits for each run of the job",),
                f"The job `{build.job}` of `{path}` finds the layers of earlier runs.",
            )
    except (CannotEditError, InputError) as error:
        reason = error.says if isinstance(error, InputError) else str(error)
        return Remedy(Safety.SHOW, reasons=(reason,), guidance=_by_hand(build, want))
    return Remedy(Safety.SHOW, reasons=("a CircleCI job is not edited for this",), guidance=_by_hand(build, want))


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
        lines = [f"{indent}machine:", f"{indent}  {_KEY}: true"]
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


def _by_hand(build: BuildSite, want: Want) -> str:
    where = f"`{build.path}` line {build.line}"
    if isinstance(want, AddCache):
        return (
            f"Give the job of {where} `docker_layer_caching: true` (under `setup_remote_docker` or `machine`; it costs "
            "credits), or build with `--cache-to type=registry,ref=<image>:buildcache,mode=max` and the matching "
            "`--cache-from`."
        )
    if isinstance(want, SecretArgs):
        listed = "\n".join(f"- `{name}` → `--secret id={ident},env={name}`" for name, ident in want.names.items())
        return f"Hand these over as secrets instead of build arguments at {where}:\n{listed}"
    if isinstance(want, Sign):
        command = "SIGSTORE_ID_TOKEN=$CIRCLE_OIDC_TOKEN_V2 cosign sign --yes <image>@<digest>"
        return f"After the push at {where}: `{command}`."
    return f"Change the build at {where}."
