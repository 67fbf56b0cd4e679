"""Jobs that hand the build to a workflow of another repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from coach.ci import bake, docker_cli, paths
from coach.ci.docker_cli import Place
from coach.ci.expressions import Hole, as_text
from coach.ci.nouns import Value, static
from coach.ci.yamldoc import Node
from coach.model import BuildSite, CacheRef, Tree, Unresolved, is_file

_IMAGE_WORKFLOW = re.compile(r"docker|image|container|buildx|bake|oci|publish", re.I)
_IMAGE_INPUT = re.compile(
    r"^(docker-?_?)?(file|context|image|images|image-names?|platforms?|build-args|target)(-path)?$|dockerfile", re.I
)


def remote_workflow(
    tree: Tree, system: str, name: str, job: Node, uses: Node, inputs: Mapping[str, object], env: Mapping[str, Value]
) -> list[BuildSite]:
    """A build handed to a workflow of another repository: what its inputs tell, the rest unresolved."""
    target = uses.text or ""
    given = job.get("with")
    plain = target.partition("@")[0]
    short = plain.rsplit("/", 1)[-1]
    lower = {key.lower().replace("_", "-"): value for key, value in inputs.items()}

    def text(*keys: str) -> Value | None:
        for key in keys:
            if key in lower and lower[key] not in (None, ""):
                value = lower[key]
                if isinstance(value, Hole):
                    return Value(
                        None,
                        "",
                        value.why,
                        value.secret,
                        value.per_commit,
                        tuple(as_text(item) for item in value.options),
                    )
                return static(as_text(value))
        return None

    file = text("dockerfile", "dockerfile-path", "docker-file", "file", "dockerfilepath")
    context = text("context", "docker-context", "build-context", "context-path", "dockercontext", "working-directory")
    if (
        not (_IMAGE_WORKFLOW.search(short) and any(_IMAGE_INPUT.match(key) for key in lower))
        and not any("dockerfile" in key for key in lower)
        and not plain.startswith("docker/github-builder")
    ):
        return []

    def line(*keys: str) -> int:
        for key, node in given.entries().items() if given is not None else ():
            if key.lower().replace("_", "-") in keys:
                return node.key_line
        return 0

    reason = f"the build steps stand in {plain}, which is not in this repository"
    place = Place(tree, system, uses.doc.path, uses.line, job.end_line, name, True, "")
    notes: list[Unresolved] = []
    if context is not None and paths.is_remote(context.shown):
        context = None
    where, why, _ = docker_cli.place_context(place, context, relative_default=True)
    if where is None:
        notes.append(Unresolved("context", why, line("context") or uses.line))
    dockerfile, file_why = docker_cli.find_dockerfile(place, file, where, why, False)
    if dockerfile is not None and not is_file(tree, dockerfile) and where and file is not None and file.text:
        inside = paths.join(where, file.text)
        dockerfile = inside if inside is not None and is_file(tree, inside) else dockerfile
    if dockerfile is None:
        notes.append(Unresolved("dockerfile", file_why, uses.line))
    wide, open_why = docker_cli.platforms(text("platforms", "platform") or static(""))
    cache_to: list[CacheRef] = []
    official = plain.startswith("docker/github-builder/")
    push = text("push")
    signed_line = 0
    runner = ""
    if official:
        # github.com/docker/github-builder/blob/main/.github/workflows/build.yml (read 2026-11)
        cache, mode = text("cache"), text("cache-mode")
        if cache is not None and (cache.text == "true" or "true" in cache.options):
            cache_to.append(
                CacheRef("gha", {"mode": mode.text} if mode is not None and mode.text else {}, line("cache"))
            )
        signed = text("sign")
        if signed is None or signed.text in ("auto", "true") or "true" in signed.options:
            signed_line = line("sign") or uses.line
        machine = text("runner")
        runner = _official_runner(machine.shown if machine is not None else "")
        if not runner:
            notes.append(Unresolved("runner", f"which machine {plain} takes depends on its version", uses.line))
    else:
        notes += [Unresolved(what, reason, uses.line) for what in ("cache_to", "cache_from", "no_cache", "signed")]
    if "bake" in short:
        files = text("files")
        names = text("target", "targets")
        place.line, place.end_line = uses.line, job.end_line
        made = bake.called(
            place,
            [names] if names is not None else [],
            [files] if files is not None else [],
            [],
            env,
        )
        return [
            replace(
                site,
                tool="workflow",
                push=_asks(push),
                push_line=line("push"),
                buildkit_why=f"{plain} builds with bake",
                cache_to=tuple(cache_to) or site.cache_to,
                cache_from=tuple(cache_to) or site.cache_from,
                attested_line=signed_line,
                attested_why="the workflow signs its attestations" if signed_line else "",
                unresolved=tuple(dict.fromkeys((*site.unresolved, *notes))),
                runner=runner,
            )
            for site in made
        ]
    if open_why:
        notes.append(Unresolved("platforms", open_why, line("platforms")))
    elif not wide and not official:
        notes.append(Unresolved("platforms", reason, uses.line))
    target_stage = text("target")
    return [
        BuildSite(
            system=system,
            path=uses.doc.path,
            line=uses.line,
            end_line=job.end_line,
            job=name,
            tool="workflow",
            ci=True,
            dockerfile=dockerfile,
            context=where,
            target=target_stage.text if target_stage is not None else None,
            platforms=wide,
            platforms_line=line("platforms", "platform") if wide else 0,
            cache_from=tuple(cache_to),
            cache_to=tuple(cache_to),
            buildkit=True if official else None,
            buildkit_line=uses.line,
            buildkit_why=f"{plain} builds with BuildKit" if official else reason,
            runner=runner,
            push=_asks(push),
            push_line=line("push"),
            attested_line=signed_line,
            attested_why="the workflow signs its attestations" if signed_line else "",
            unresolved=tuple(dict.fromkeys(notes)),
        )
    ]


def _official_runner(text: str) -> str:
    """The machines docker/github-builder spreads the platforms over, as a label."""
    if "arm" in text or text == "auto":
        return "native"
    return "ubuntu-24.04" if text else ""


def _asks(value: Value | None) -> bool | None:
    """A boolean input: true when it is true on some runs, ``None`` when it is not given or not known."""
    if value is None:
        return None
    if value.text is not None:
        return value.text == "true"
    return True if "true" in value.options else None
