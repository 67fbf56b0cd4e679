"""What to write into ``.gitlab-ci.yml`` so that a build keeps its cache.

Sources (read 2026-11): docs.gitlab.com/ci/docker/docker_layer_caching; github.com/docker/buildx/issues/413 (a builder
cannot be created from TLS variables, only from a context).
"""

from __future__ import annotations

import re

from coach.ci import commands, yamldoc, yamledit
from coach.ci.commands import Filled, Text
from coach.ci.nouns import AddCache, SecretArgs, Want
from coach.ci.yamldoc import Joined, Node
from coach.ci.yamledit import CannotEditError
from coach.errors import InputError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree

_MOUNTS = "Cache mounts are not part of what is exported: the layers are, so an unchanged layer is not run again."


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a GitLab job holds."""
    try:
        if isinstance(want, AddCache):
            return _add_cache(tree, build, want)
    except (CannotEditError, InputError) as error:
        reason = error.says if isinstance(error, InputError) else str(error)
        return Remedy(Safety.SHOW, reasons=(reason,), guidance=_by_hand(build, want))
    return Remedy(Safety.SHOW, reasons=("a GitLab job is not edited for this",), guidance=_by_hand(build, want))


def _add_cache(tree: Tree, build: BuildSite, want: AddCache) -> Remedy:
    if not build.path.endswith((".yml", ".yaml")):
        raise CannotEditError(f"the command stands in {build.path}, which builds elsewhere too")
    item, job = _item(tree, build)
    source = item.source()
    found = [
        call
        for call in commands.calls(tree, Text(Filled(source.text), {}, ""), follow=False)
        if call.invocation.verb == "build" and source.line(call.at) <= build.line <= source.line(call.till)
    ]
    if not found:
        raise CannotEditError("the build command was not found in the job")
    invocation = found[0].invocation
    head = source.byte(invocation.head_end - 1)
    if head is None:
        raise CannotEditError("the script is written in a way whose places are not known")
    if invocation.tool == "kaniko":
        return Remedy(
            Safety.REVIEW,
            (Edit(build.path, Span(head + 1, head + 1), b" --cache=true"),),
            ("kaniko pushes its layers to `<destination>/cache`: the registry must take them",),
            f"`{build.path}` line {build.line} keeps its layers in the registry.",
        )
    if invocation.tool not in ("docker", "buildx"):
        raise CannotEditError(f"{invocation.tool} has its own cache options")
    if build.cache_from or build.cache_to:
        raise CannotEditError("the command has cache options of its own already")
    text = Joined(list(_all_scripts(job))).text
    if "CI_REGISTRY" not in text and "CI_REGISTRY" not in _whole(tree):
        raise CannotEditError("the pipeline does not use GitLab's registry, where the cache could lie")
    suffix = f"-{want.scope}" if want.scope else ""
    ref = f"$CI_REGISTRY_IMAGE/buildcache:latest{suffix}"
    options = f" --cache-from type=registry,ref={ref} --cache-to type=registry,ref={ref},mode=max"
    has_output = any(invocation.on(name) for name in ("push", "load")) or invocation.last("output") is not None
    edits = []
    if invocation.tool == "docker":
        word = source.byte(source.text.rfind("build", 0, invocation.head_end))
        if word is None:
            raise CannotEditError("the script is written in a way whose places are not known")
        edits.append(Edit(build.path, Span(word, word), b"buildx "))
    if not has_output:
        options += " --load"
    edits.append(Edit(build.path, Span(head + 1, head + 1), options.encode()))
    if "buildx create" not in text:
        indent = yamledit.item_indent(item)
        edits.append(
            yamledit.insert_before(
                item.doc,
                yamledit.item_first_line(item),
                [
                    f"{indent}- docker context create builder",
                    f"{indent}- docker buildx create --use --driver docker-container builder",
                ],
            )
        )
    return Remedy(
        Safety.REVIEW,
        tuple(edits),
        (
            "the job must be logged in to $CI_REGISTRY before it builds",
            "the build moves from the engine's builder to one of its own",
        ),
        f"`{build.path}` line {build.line} keeps the layers of every stage in GitLab's registry. {_MOUNTS}",
    )


def _whole(tree: Tree) -> str:
    return tree.read(".gitlab-ci.yml").decode("utf-8", "replace")


def _item(tree: Tree, build: BuildSite) -> tuple[Node, Node]:
    """The script line at ``build.line``, and its job."""
    doc = yamldoc.Doc(tree.read(build.path), build.path)
    for job in doc.roots[-1].entries().values():
        for key in ("before_script", "script"):
            script = job.get(key)
            for item in script.items() if script is not None else ():
                if item.text is not None and item.line <= build.line <= item.end_line:
                    if item.node is script.node if script is not None else False:
                        raise CannotEditError("the script is one text instead of a list of lines")
                    return item, job
    raise CannotEditError("the build command was not found in the file")


def _all_scripts(job: Node) -> list[Node]:
    found: list[Node] = []
    for key in ("before_script", "script"):
        script = job.get(key)
        found += [item for item in script.items() if item.text is not None] if script is not None else []
    return found


def _by_hand(build: BuildSite, want: Want) -> str:
    where = f"`{build.path}` line {build.line}"
    if isinstance(want, AddCache):
        return (
            f"Build at {where} with `docker buildx build` on a `docker-container` builder, with `--cache-from "
            "type=registry,ref=$CI_REGISTRY_IMAGE/buildcache` and `--cache-to type=registry,"
            f"ref=$CI_REGISTRY_IMAGE/buildcache,mode=max`. {_MOUNTS}"
        )
    if isinstance(want, SecretArgs):
        listed = "\n".join(f"- `{name}` → `--secret id={ident},env={name}`" for name, ident in want.names.items())
        return f"Hand these over as secrets instead of build arguments at {where}:\n{listed}"
    return (
        f"After the push at {where}: declare `id_tokens: {{SIGSTORE_ID_TOKEN: {{aud: sigstore}}}}` and run "
        "`cosign sign --yes <image>@<digest>`."
        if re.search(r"Sign", type(want).__name__)
        else f"Change the build at {where}."
    )
