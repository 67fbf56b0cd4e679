"""What to write into a GitHub workflow so that a build keeps its cache, hands over secrets, or signs what it pushes.

Sources (read 2026-11): docs.docker.com/build/cache/backends/gha (the cache needs another driver than ``docker``, and
``run`` steps need the runtime's token), docs.docker.com/build/ci/github-actions/secrets,
github.com/sigstore/cosign-installer README, docs.github.com/actions/reference/workflows-and-actions/workflow-syntax
(a job's ``permissions`` replace all defaults).
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace

from coach.ci import (
    bake,
    build_sites,
    command_edit,
    commands,
    compose,
    compose_change,
    github_env,
    github_native,
    github_signing,
    yamledit,
)
from coach.ci.command_edit import Command
from coach.ci.commands import Call, Text
from coach.ci.docker_cli import cache_ref, split_csv
from coach.ci.github_repeat import logs_in
from coach.ci.github_scope import Scope
from coach.ci.github_spot import WORKFLOWS, Spot, events, find, insert_steps, mapping, reference, text_of, uses
from coach.ci.nouns import AddCache, BuildkitOn, DropNoCache, NativeArm, SecretArgs, Sign, Want
from coach.ci.yamldoc import Doc, Node, Source
from coach.ci.yamledit import CannotEditError
from coach.errors import InputError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree, is_file

_MOUNTS = "Cache mounts are not part of what is exported: the layers are, so an unchanged layer is not run again."
_LIMIT = "GitHub keeps 10 GB of cache for a repository and drops what was not used for a week."


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a workflow or a composite action of the repository holds."""
    try:
        if isinstance(want, AddCache):
            return _add_cache(tree, build, want)
        if isinstance(want, SecretArgs):
            return _secret_args(tree, build, want)
        if isinstance(want, Sign):
            return github_signing.sign(tree, build)
        if isinstance(want, NativeArm):
            return github_native.spread(tree, build)
    except (CannotEditError, InputError) as error:
        reason = error.says if isinstance(error, InputError) else str(error)
        return Remedy(Safety.SHOW, reasons=(reason,), guidance=_by_hand(build, want))
    assert isinstance(want, BuildkitOn | DropNoCache)
    return Remedy(Safety.SHOW, reasons=("it is not edited here",), guidance=_by_hand(build, want))


# -- cache ---------------------------------------------------------------------------------------------------------


def _add_cache(tree: Tree, build: BuildSite, want: AddCache) -> Remedy:
    if build.system != "github":
        raise CannotEditError(f"whether the {build.system} server offers GitHub's cache service is not written here")
    if build.tool == "workflow":
        raise CannotEditError("the build steps stand in a workflow of another repository")
    spot = find(tree, build)
    if spot.action.endswith("/build-push-action"):
        return _cache_inputs(tree, build, want, spot)
    if spot.action.endswith("/bake-action"):
        return _cache_bake(tree, build, want, spot)
    if spot.step.get("run") is not None:
        return _cache_command(tree, build, want, spot)
    raise CannotEditError(f"{spot.action or 'the step'} has no known cache options")


def _cache_inputs(tree: Tree, build: BuildSite, want: AddCache, spot: Spot) -> Remedy:
    inputs = spot.inputs
    edits: list[Edit] = []
    reasons: list[str] = []
    if inputs is not None:
        yamledit.own(inputs, spot.step.line, spot.step.end_line)
    came, goes = (inputs.get(key) if inputs is not None else None for key in ("cache-from", "cache-to"))
    scope = _scope(tree, build, want, spot)
    source, target = f"type=gha{scope}", f"type=gha,mode=max{scope}"
    says = f"imports and exports the layers of every stage through GitHub's cache (`{target}`)"
    for node in (came, goes):
        if node is not None and node.text is not None and "${{" in node.text and not _static_type(node.text):
            raise CannotEditError("its cache options are computed by an expression")
    inline = [ref for ref in build.cache_to if ref.type == "inline"]
    if goes is not None and not inline:
        edits.append(_mode_max(goes))
        says = "exports every stage (`mode=max`) instead of the last one alone"
        if came is None:
            edits.append(yamledit.add_keys(mapping(inputs), [("cache-from", _importing(goes))], "cache-to"))
    elif goes is not None:
        edits.append(_new_value(goes, target))
        edits += _import_too(inputs, came, source)
        reasons.append("the inline cache, which holds the last stage only, is no longer written into the image")
    elif came is not None and not inline:
        says, made = _matching_export(came, build, source, target)
        if "type=registry" in _exporting(came, build, target):
            if not any(logs_in(step) for step in spot.steps[: spot.index] if step.is_map):
                raise CannotEditError("its job logs in nowhere, so it cannot write the cache that it imports")
            reasons.append("the login of this job must be allowed to write the cache that it imports")
        edits += made
        edits.append(yamledit.add_keys(mapping(inputs), [("cache-to", _exporting(came, build, target))], "cache-from"))
    elif inputs is None:
        edits.append(yamledit.add_keys(spot.step, [("with", ["", f"  cache-from: {source}", f"  cache-to: {target}"])]))
    else:
        edits.append(
            yamledit.add_keys(
                inputs, [("cache-from", source), ("cache-to", target)] if came is None else [("cache-to", target)]
            )
        )
        if came is not None:
            edits += _import_too(inputs, came, source)
    made, why = _container_builder(tree, build, spot)
    edits += made
    if made:
        reasons += why
        edits += _load(build, inputs, reasons)
    if build.called_from:
        says += f"; `{build.called_from}` and every other caller of this file share it"
    guidance = f"`{build.path}` line {build.line} {says}. {_MOUNTS} {_LIMIT}"
    return Remedy(Safety.REVIEW if reasons else Safety.SAFE, tuple(edits), tuple(reasons), guidance)


def _static_type(text: str) -> bool:
    return re.match(r"\s*type=\w+", text) is not None


def _mode_max(node: Node) -> Edit:
    """The edit that makes an existing ``cache-to`` export every stage."""
    doc, span = node.doc, node.span
    raw = doc.content[span.start : span.end].decode("utf-8", "replace")
    written = re.search(r"mode\s*=\s*[\"']?(min)\b", raw)
    if written is not None:
        if raw.count("mode") > 1:
            raise CannotEditError("several caches are written, each with its own mode")
        start = span.start + len(raw[: written.start(1)].encode())
        return yamledit.replace_span(doc, Span(start, start + 3), "max")
    if "mode" in raw:
        raise CannotEditError("the mode of the cache is computed by an expression")
    if node.style in ("|", ">"):
        lines = yamledit.block_lines(node)
        if len(lines) != 1:
            raise CannotEditError("several caches are written, each with its own mode")
        line = lines[0][0]
        text = doc.line_text(line).rstrip()
        at = doc.line_span(line, line).start + len(text.encode())
        return Edit(doc.path, Span(at, at), b",mode=max")
    return yamledit.append_to_scalar(node, ",mode=max")


def _importing(goes: Node) -> str:
    """A ``cache-from`` that reads what ``cache-to`` writes."""
    fields = [
        item
        for item in split_csv((goes.text or "").strip())
        if not re.match(r"(mode|ignore-error|compression|dest|oci|image-m)", item)
    ]
    local = [item.removeprefix("dest=") for item in split_csv((goes.text or "").strip()) if item.startswith("dest=")]
    return ",".join(fields + ([f"src={local[0]}"] if local else []))


def _exporting(came: Node, build: BuildSite, target: str) -> str:
    """A ``cache-to`` for an existing ``cache-from``."""
    ref = cache_ref((came.text or "").strip().splitlines()[0] if came.text else "", came.line)
    if ref is None or "\n" in (came.text or "").strip():
        return target
    if ref.type == "gha":
        scope = f",scope={ref.attrs['scope']}" if "scope" in ref.attrs else ""
        return f"type=gha,mode=max{scope}"
    if ref.type == "registry" and not _is_image(ref.attrs.get("ref", ""), build):
        return f"type=registry,ref={ref.attrs.get('ref', '')},mode=max"
    return target


def _matching_export(came: Node, build: BuildSite, source: str, target: str) -> tuple[str, list[Edit]]:
    exported = _exporting(came, build, target)
    if exported == target and not (came.text or "").strip().startswith("type=gha"):
        return (
            f"exports every stage (`{target}`): what it imports today was never written with a cache",
            [_new_value(came, source)] if "\n" not in (came.text or "").strip() else [],
        )
    return f"writes the cache it imports (`{exported}`)", []


def _is_image(reference: str, build: BuildSite) -> bool:
    """Whether a reference names an image that the build itself tags (which holds no cache)."""
    return reference in build.tags or not re.search(r"cache", reference)


def _new_value(node: Node, text: str) -> Edit:
    if node.style in ("|", ">") or node.is_list:
        raise CannotEditError("its caches are written on several lines")
    span = node.span
    return yamledit.replace_span(node.doc, span, text)


def _import_too(inputs: Node | None, came: Node | None, source: str) -> list[Edit]:
    if came is None:
        return [yamledit.add_keys(mapping(inputs), [("cache-from", source)])]
    return [_new_value(came, source)]


def _container_builder(tree: Tree, build: BuildSite, spot: Spot) -> tuple[list[Edit], list[str]]:
    """A setup-buildx step in front, unless a builder that can export is there already."""
    if build.driver not in ("", "docker"):
        return [], []
    before = spot.steps[: spot.index]
    setup = next((step for step in before if uses(step) == "docker/setup-buildx-action"), None)
    if setup is not None:
        raise CannotEditError("setup-buildx is told to use the docker driver, which cannot export this cache")
    edit = insert_steps(
        spot,
        [["- name: Set up Docker Buildx", f"  uses: {reference(tree, 'docker/setup-buildx-action', 'v3')}"]],
    )
    return [edit], ["a builder of its own is set up, because the engine's default one cannot export this cache"]


def _load(build: BuildSite, inputs: Node | None, reasons: list[str]) -> list[Edit]:
    """``load: true`` where the image has to reach the engine, as it did without a builder of its own."""
    if inputs is not None and any(inputs.get(key) is not None for key in ("load", "outputs")):
        return []
    if (
        build.push is True
        and inputs is not None
        and (inputs.get("push") is None or (text_of(inputs, "push") == "true"))
    ):
        reasons.append("later steps find the image in the registry only, no longer in the engine of the runner")
        return []
    if len(build.platforms) > 1:
        return []
    if inputs is None:
        return []
    if inputs.get("push") is not None and "${{" in text_of(inputs, "push"):
        reasons.append(
            "when it is not pushed, the image stays in the builder: add `load: true` if a later step runs it"
        )
        return []
    return [yamledit.add_keys(inputs, [("load", "true")])]


_MATRIX = re.compile(r"\$\{\{\s*(matrix\.[\w.-]+)\s*\}\}")
_VARYING = re.compile(r"\$\{\{\s*((?:matrix|inputs)\.[\w.-]+)\s*\}\}")
_COMPUTED = re.compile(r"\$\{\{\s*((?:matrix|inputs|env|steps|needs)\.[\w.-]+)\s*\}\}")
_INPUT_OPTION = re.compile(r"(?:-f|--file|--target)[ =]\S*?\$\{\{\s*(inputs\.[\w-]+)\s*\}\}")


def _scope(tree: Tree, build: BuildSite, want: AddCache, spot: Spot) -> str:
    """``,scope=…`` that keeps this image's cache apart from those of other images, machines and matrix runs."""
    machines = spot.job is not None and _several_machines(spot.job)
    action = spot.inputs is not None and spot.step.get("run") is None
    varying = _COMPUTED if action and _images_of(tree, build) > 1 else _VARYING
    where = [found for key in ("file", "context") for found in _filled_in(spot, key, varying)] if action else []
    stage = _filled_in(spot, "target", varying) if action else []
    name = want.scope
    if (not name and _image_steps(tree) > 1) or (name and stage):
        # what differs from run to run is told by its own expression, so that one text is right for all of them
        name = slug(replace(build, target=None) if stage else build)
    parts = ([name] if name and not where else []) + _variant(tree, build) + where + stage
    if action:
        found = _MATRIX.findall(text_of(mapping(spot.inputs), "build-args"))
        if not machines and len(build.platforms) < 2:
            # a list of platforms holds commas, which end an option
            found = _MATRIX.findall(text_of(mapping(spot.inputs), "platforms")) + found
        parts += [f"${{{{ {match} }}}}" for match in found]
    else:
        end = spot.doc.line_span(spot.step.end_line, spot.step.end_line).end
        raw = spot.doc.content[spot.step.span.start : end].decode("utf-8", "replace")
        parts += [f"${{{{ {match} }}}}" for match in (*_MATRIX.findall(raw), *_INPUT_OPTION.findall(raw))]
    if machines:
        parts.append("${{ runner.arch }}")
    parts = list(dict.fromkeys(parts))
    return f",scope={'-'.join(parts)}" if parts else ""


def _images_of(tree: Tree, build: BuildSite) -> int:
    """How many images one step builds, by what a matrix, a caller or a step before it says."""
    here = [site for site in build_sites(tree).builds if (site.path, site.line) == (build.path, build.line)]
    return len({(site.dockerfile, site.context, site.target) for site in here})


def _filled_in(spot: Spot, key: str, pattern: re.Pattern[str]) -> list[str]:
    """The expressions in an input that differ from one build of the step to another."""
    return [f"${{{{ {match} }}}}" for match in pattern.findall(text_of(mapping(spot.inputs), key))]


def _variant(tree: Tree, build: BuildSite) -> list[str]:
    """What tells this build from others of the same file: static arguments or platforms that not all of them have."""
    peers = [
        other
        for other in build_sites(tree).builds
        if other.system == build.system and other.dockerfile == build.dockerfile and other.push == build.push
    ]
    given = [{(arg.name, arg.value) for arg in other.build_args if arg.value not in (None, "***")} for other in peers]
    shared = set.intersection(*given) if given else set()
    # what a matrix fills in differently is one step of the file: its own expression tells the runs apart
    step = {
        (arg.name, arg.value)
        for other in peers
        if (other.path, other.line) == (build.path, build.line)
        for arg in other.build_args
    }
    fixed = {name for name, _ in step if sum(1 for other, _ in step if other == name) == 1}
    own = [
        arg.value
        for arg in build.build_args
        if arg.value and arg.value != "***" and arg.name in fixed and (arg.name, arg.value) not in shared
    ]
    alone = all((other.path, other.line) != (build.path, build.line) for other in peers if other != build)
    if alone and build.platforms and any(other.platforms != build.platforms for other in peers):
        own.append("-".join(platform.removeprefix("linux/") for platform in build.platforms))
    return [re.sub(r"[^\w.-]+", "-", value)[:30].strip("-") for value in own if value]


def _several_machines(job: Node) -> bool:
    node = job.get("runs-on")
    return node is not None and node.text is not None and "matrix." in node.text


def _image_steps(tree: Tree) -> int:
    found = 0
    for path in tree.entries():
        if path.startswith(WORKFLOWS) and path.endswith((".yml", ".yaml")) and is_file(tree, path):
            text = tree.read(path)
            found += len(re.findall(rb"uses:\s*['\"]?[\w-]+/(?:build-push|bake)-action@", text))
            found += len(re.findall(rb"docker (?:buildx )?build\s", text))
    return found


def slug(build: BuildSite) -> str:
    """A short name for what is built: the folder or prefix of the Dockerfile, and the target."""
    path = build.dockerfile or "image"
    folder, name = posixpath.split(path)
    stem = re.sub(r"(^|[._-])(docker|container)file($|[._-])", " ", name, flags=re.I).strip()
    parts = [folder.rsplit("/", 1)[-1], stem, build.target or ""]
    made = re.sub(r"[^\w.-]+", "-", "-".join(part for part in parts if part)).strip("-").lower()
    return made or "image"


def _cache_bake(tree: Tree, build: BuildSite, want: AddCache, spot: Spot) -> Remedy:
    if build.cache_to or build.cache_from:
        raise CannotEditError("its caches come from the bake file and `set` lines together")
    inputs = spot.inputs
    names = _bake_targets(tree, build, inputs)
    lines: list[str] = []
    for name in names:
        scope = f",scope={name}" if len(names) > 1 or _image_steps(tree) > 1 or want.scope else ""
        pattern = name if len(names) > 1 else "*"
        lines += [f"{pattern}.cache-from=type=gha{scope}", f"{pattern}.cache-to=type=gha,mode=max{scope}"]
    given = inputs.get("set") if inputs is not None else None
    if given is not None:
        block = yamledit.block_lines(given)
        text = spot.doc.line_text(block[-1][0])
        indent = " " * (len(text) - len(text.lstrip()))
        edit = yamledit.insert_after(spot.doc, block[-1][0], [indent + line for line in lines])
    elif inputs is not None:
        edit = yamledit.add_keys(inputs, [("set", ["|", *(f"  {line}" for line in lines)])])
    else:
        edit = yamledit.add_keys(spot.step, [("with", ["", "  set: |", *(f"    {line}" for line in lines)])])
    made, reasons = _container_builder(tree, build, spot)
    guidance = (
        f"`{build.path}` line {build.line} imports and exports the layers of every stage through GitHub's cache, one "
        f"scope for each target. {_MOUNTS} {_LIMIT}"
    )
    return Remedy(Safety.REVIEW if reasons else Safety.SAFE, (edit, *made), tuple(reasons), guidance)


def _bake_targets(tree: Tree, build: BuildSite, inputs: Node | None) -> list[str]:
    given = inputs.get("targets") if inputs is not None else None
    wanted = re.split(r"[,\s]+", given.text.strip()) if given is not None and given.text else []
    if any("${{" in name for name in wanted):
        raise CannotEditError("its targets are computed by an expression")
    if not build.defined_in.endswith((".hcl", ".json")):
        return wanted or ["*"]
    project = bake.Project(tree, (build.defined_in,), {})
    return [target.name for target in project.pick(wanted)] or ["*"]


def command_at(tree: Tree, build: BuildSite, source: Source) -> Call:
    """The build command of ``build`` in a script. Raises ``CannotEditError`` when it is not found."""
    filled = Scope().shell(source.text)
    for call in commands.calls(tree, Text(filled, {}, ""), follow=False):
        start = source.line(call.at)
        if call.invocation.verb in ("build", "compose", "bake") and start <= build.line <= source.line(call.till):
            return call
    raise CannotEditError("the build command was not found in the script")


def _byte_behind(source: Source, index: int) -> int:
    """Byte of the file behind character ``index`` of a script."""
    return byte_at(source, index) + len(source.text[index].encode())


def byte_at(source: Source, index: int) -> int:
    """Byte of the file at which character ``index`` of a script stands."""
    found = source.byte(index)
    if found is None:
        raise CannotEditError("the script is written in a way whose places are not known")
    return found


def _cache_command(tree: Tree, build: BuildSite, want: AddCache, spot: Spot) -> Remedy:
    run = spot.step.get("run")
    assert run is not None
    source = run.source()
    call = command_at(tree, build, source)
    reasons: list[str] = []
    edits: list[Edit] = []
    invocation = call.invocation
    if invocation.verb == "compose":
        return _cache_compose(tree, build, want, spot)
    if invocation.verb != "build" or invocation.tool not in ("docker", "buildx"):
        raise CannotEditError(f"{invocation.tool} has its own cache options")
    if build.cache_to or build.cache_from:
        raise CannotEditError("the command has cache options of its own already")
    filled = Scope().shell(source.text)
    # a pull request of a fork may not push, neither an image nor its cache
    repository = "" if "pull_request" in events(spot.doc) else _pushed_repository(build)
    scope = _scope(tree, build, want, spot)
    if repository and spot.job is not None:
        ref = f"{repository}:buildcache" + (f"-{slug(build)}" if want.scope or _image_steps(tree) > 1 else "")
        options = f" --cache-from type=registry,ref={ref} --cache-to type=registry,ref={ref},mode=max"
        reasons.append(f"the cache is written to {ref}, so the login of this job must be allowed to push there")
        says = "keeps its layers beside the image it pushes"
    else:
        options = f" --cache-from type=gha{scope} --cache-to type=gha,mode=max{scope}"
        reasons.append("a step hands GitHub's cache token to the script, which only actions get otherwise")
        says = "imports and exports the layers of every stage through GitHub's cache"
    inserted = _builder_steps(tree, build, spot, gha=not repository)
    has_output = any(invocation.on(name) for name in ("push", "load")) or invocation.last("output") is not None
    if not has_output and len(build.platforms) < 2 and (inserted or invocation.tool == "docker"):
        options += " --load"
    edits += inserted
    end = _byte_behind(source, filled.origin(invocation.head_end) - 1)
    if invocation.tool == "docker":
        word = source.text.rfind("build", 0, filled.origin(invocation.head_end))
        at = byte_at(source, word)
        edits.append(Edit(build.path, Span(at, at), b"buildx "))
    edits.append(Edit(build.path, Span(end, end), options.encode()))
    if invocation.tool == "docker":
        reasons.append("the build moves from the engine's builder to one of its own")
    guidance = f"`{build.path}` line {build.line} {says}. {_MOUNTS}"
    return Remedy(Safety.REVIEW, tuple(edits), tuple(reasons), guidance)


def _builder_steps(tree: Tree, build: BuildSite, spot: Spot, gha: bool) -> list[Edit]:
    """Steps that a script needs in front of it before it can export a cache."""
    before = [uses(step) for step in spot.steps[: spot.index]]
    steps: list[list[str]] = []
    if "docker/setup-buildx-action" not in before and build.driver in ("", "docker"):
        steps.append(["- name: Set up Docker Buildx", f"  uses: {reference(tree, 'docker/setup-buildx-action', 'v3')}"])
    if gha and "crazy-max/ghaction-github-runtime" not in before:
        runtime = reference(tree, "crazy-max/ghaction-github-runtime", "v3")
        steps.append(["- name: Expose the cache service to scripts", f"  uses: {runtime}"])
    return [insert_steps(spot, steps)] if steps else []


def _pushed_repository(build: BuildSite) -> str:
    """The repository a build is pushed to, without its tag, when it is written out."""
    if not build.push:
        return ""
    for tag in build.tags:
        head, slash, tail = tag.rpartition("/")
        name = f"{head}{slash}{tail.split(':', 1)[0]}"
        if re.fullmatch(r"[a-z0-9][\w./:-]*", name) and slash:
            return name
    return ""


def _cache_compose(tree: Tree, build: BuildSite, want: AddCache, spot: Spot) -> Remedy:
    if not build.defined_in:
        raise CannotEditError("which compose file is read is known only when the job runs")
    if build.cache_to or build.cache_from:
        raise CannotEditError("the compose file names caches already")
    if build.tool == "docker-compose":
        raise CannotEditError("Compose v1 cannot export a cache: move to `docker compose` first")
    name = want.scope or _service_name(tree, build)
    edit = compose_change.add_cache(tree, build.defined_in, build.defined_line, f"type=gha,scope={name}")
    edits = [edit, *_builder_steps(tree, build, spot, gha=True)]
    reasons = (
        f"{build.defined_in} is read outside CI too, where builds ignore a cache of type gha",
        "a step hands GitHub's cache token to the script, which only actions get otherwise",
    )
    where = f"`{build.path}` line {build.line}"
    guidance = f"The service that {where} builds keeps its layers in GitHub's cache. {_MOUNTS} {_LIMIT}"
    return Remedy(Safety.REVIEW, tuple(edits), reasons, guidance)


def _service_name(tree: Tree, build: BuildSite) -> str:
    project = compose.Project((build.defined_in,), posixpath.dirname(build.defined_in), {})
    for site in compose.sites(tree, project):
        if site.line == build.defined_line:
            return site.job
    return slug(build)


# -- secrets -------------------------------------------------------------------------------------------------------


def _secret_args(tree: Tree, build: BuildSite, want: SecretArgs) -> Remedy:
    spot = find(tree, build)
    edits = github_env.secret_sets(tree, build, spot, want) if spot.action.endswith("/bake-action") else []
    if edits:
        pass
    elif build.defined_in:
        return compose_change.secret_args(tree, build, want)
    elif spot.action.endswith("/build-push-action"):
        edits = _secret_inputs(spot, want)
    elif spot.step.get("run") is not None:
        edits = _secret_options(tree, build, want, spot)
    else:
        raise CannotEditError(f"{spot.action or 'the step'} has no known secret options")
    names = ", ".join(want.names)
    guidance = f"`{build.path}` line {build.line} hands over {names} as a secret, which no layer and no history keeps."
    return Remedy(Safety.REVIEW, tuple(edits), (f"the Dockerfile has to read {names} from a secret mount",), guidance)


def _secret_inputs(spot: Spot, want: SecretArgs) -> list[Edit]:
    inputs = mapping(spot.inputs)
    args = next((node for key in ("build-args", "buildargs") if (node := inputs.get(key)) is not None), None)
    if args is None or args.key is None:
        raise CannotEditError("the arguments are not written in `build-args`")
    written = yamledit.block_lines(args) if args.style == "|" else [(args.line, (args.text or "").strip())]
    edits: list[Edit] = []
    moved: list[str] = []
    kept = 0
    for line, text in written:
        name, equals, value = text.strip().partition("=")
        if name in want.names:
            # a name alone is filled in by the client, out of the step's variables
            moved.append(f"{want.names[name]}={value if equals else f'${{{{ env.{name} }}}}'}")
            edits.append(yamledit.delete_lines(spot.doc, line, line))
        else:
            kept += 1
    if not moved:
        raise CannotEditError("the arguments are not written one on each line of `build-args`")
    given = inputs.get("secrets")
    whole: Edit | None = None
    if kept == 0:
        edits, whole = [], yamledit.delete_lines(spot.doc, args.key_line, args.end_line)
    if given is None:
        indent = yamledit.key_indent(inputs)
        lines = [f"{indent}secrets: |", *(f"{indent}  {item}" for item in moved)]
        if whole is not None:
            block = spot.doc.eol.join(line.encode() for line in lines)
            ended = spot.doc.content[whole.span.start : whole.span.end].endswith(b"\n")
            return [Edit(spot.doc.path, whole.span, block + (spot.doc.eol if ended else b""))]
        return (
            [*edits, yamledit.insert_after(spot.doc, args.end_line, lines)]
            if args.end_line not in {line for line, _ in written if _is_moved(spot.doc, line, want)}
            else _fold(spot.doc, edits, args.end_line, lines)
        )
    if given.style not in ("|", ">") and given.text:
        return [*([whole] if whole is not None else edits), _as_block(inputs, given, moved)]
    block_written = yamledit.block_lines(given)
    text = spot.doc.line_text(block_written[-1][0])
    indent = " " * (len(text) - len(text.lstrip()))
    added = yamledit.insert_after(spot.doc, block_written[-1][0], [indent + item for item in moved])
    return [*([whole] if whole is not None else edits), added]


def _as_block(inputs: Node, given: Node, more: list[str]) -> Edit:
    """A value on the line of its key as a block with further lines."""
    doc, span = given.doc, given.span
    rest = doc.content[span.end : doc.line_span(given.end_line, given.end_line).end]
    if given.style or inputs.flow or given.line != given.end_line or rest.strip():
        raise CannotEditError("its secrets are written in a way that is not edited")
    indent = yamledit.key_indent(inputs) + "  "
    lines = ["|", *(indent + line for line in (given.text or "", *more))]
    return Edit(doc.path, span, doc.eol.join(line.encode() for line in lines))


def _is_moved(doc: Doc, line: int, want: SecretArgs) -> bool:
    return doc.line_text(line).strip().partition("=")[0] in want.names


def _fold(doc: Doc, edits: list[Edit], last: int, lines: list[str]) -> list[Edit]:
    """Join an insertion below a deleted line with that deletion."""
    span = doc.line_span(last, last)
    ended = doc.content[span.start : span.end].endswith(b"\n")
    block = doc.eol.join(line.encode() for line in lines) + (doc.eol if ended else b"")
    return [*(edit for edit in edits if edit.span != span), Edit(doc.path, span, block)]


def _secret_options(tree: Tree, build: BuildSite, want: SecretArgs, spot: Spot) -> list[Edit]:
    """The command of a script; an expression, which GitHub writes into its text, becomes a variable of the step."""
    run = spot.step.get("run")
    assert run is not None
    source = run.source()
    filled = Scope().shell(source.text)
    call = command_at(tree, build, source)
    command = Command(build.path, spot.doc.content, call, filled.text, filled.origin, source.byte)
    command_edit.hands_over(command)
    # the engine of GitHub's machines builds with BuildKit unless it is told not to
    build = replace(build, buildkit=build.buildkit is not False)
    edits: list[Edit] = []
    needed: dict[str, str] = {}
    plain = dict(want.names)
    for flag in command.invocation.all("build-arg"):
        name, _, value = command.value(flag).strip("\"'").partition("=")
        if name in plain and github_env.expression(value := value.strip("\"'")):
            needed[name] = value
            edits.append(command.replace(flag, "--secret", f"id={plain.pop(name)},env={name}"))
    if plain:
        edits += command_edit.secrets(command, build, plain)
    elif command.invocation.tool == "docker" and not build.buildkit:
        edits += command.assign(["DOCKER_BUILDKIT=1"])
    return [*edits, *(github_env.put(spot, needed) if needed else ())]


# -- guidance ------------------------------------------------------------------------------------------------------


def _by_hand(build: BuildSite, want: Want) -> str:
    where = f"`{build.path}` line {build.line}"
    if isinstance(want, AddCache):
        scope = f",scope={want.scope or slug(build)}"
        return (
            f"Give the build at {where} a cache that outlives the job: `cache-from: type=gha{scope}` and "
            f"`cache-to: type=gha,mode=max{scope}` (with docker/setup-buildx-action before it), or `type=registry,"
            f"ref=<image>:buildcache` with `mode=max`. {_MOUNTS}"
        )
    if isinstance(want, SecretArgs):
        listed = "\n".join(f"- `{name}` → `--secret id={ident},env={name}`" for name, ident in want.names.items())
        return f"Hand these over as secrets instead of build arguments at {where}:\n{listed}"
    if isinstance(want, Sign):
        return (
            f"After the push at {where}: install cosign, give the job `id-token: write`, and run "
            "`cosign sign --yes <image>@<digest>`."
        )
    if isinstance(want, NativeArm):
        return _native_by_hand(build)
    return f"Change the build at {where}."


def _native_by_hand(build: BuildSite) -> str:
    file = build.dockerfile or "Dockerfile"
    target = f"\n          target: {build.target}" if build.target else ""
    return f"""Build each platform on a machine of its own kind, push by digest, and join the two:

```yaml
  build:
    strategy:
      matrix:
        include:
          - {{ platforms: linux/amd64, runner: ubuntu-24.04 }}
          - {{ platforms: linux/arm64, runner: ubuntu-24.04-arm }}
    runs-on: ${{{{ matrix.runner }}}}
    steps:
      # checkout, setup-buildx and login as today; setup-qemu is not needed any more
      - id: build
        uses: docker/build-push-action@v6
        with:
          context: {build.context or "."}
          file: {file}{target}
          platforms: ${{{{ matrix.platforms }}}}
          cache-from: type=gha,scope=${{{{ runner.arch }}}}
          cache-to: type=gha,mode=max,scope=${{{{ runner.arch }}}}
          outputs: type=image,name=<image>,push-by-digest=true,name-canonical=true,push=true
      - run: mkdir -p /tmp/digests && touch "/tmp/digests/${{DIGEST#sha256:}}"
        env:
          DIGEST: ${{{{ steps.build.outputs.digest }}}}
      - uses: actions/upload-artifact@v4
        with:
          name: digests-${{{{ runner.arch }}}}
          path: /tmp/digests/*
  merge:
    needs: build
    runs-on: ubuntu-24.04
    steps:
      # login as above
      - uses: actions/download-artifact@v4
        with:
          path: /tmp/digests
          pattern: digests-*
          merge-multiple: true
      - working-directory: /tmp/digests
        run: docker buildx imagetools create -t <image>:<tag> $(printf '<image>@sha256:%s ' *)
      # what signs, attests or tests the pushed image comes here
```

This takes the place of `{build.path}` line {build.line}."""
