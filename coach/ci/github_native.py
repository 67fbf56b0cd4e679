"""A build for several platforms, spread over machines of their own kind, and a job behind it that joins the platforms.

Sources (read 2026-11): docs.docker.com/build/ci/github-actions/multi-platform ("Distribute build across multiple
runners"), docs.docker.com/reference/cli/docker/buildx/imagetools/create, docs.github.com/actions/reference (contexts
that a job's ``if`` may read; labels of the standard machines; names of artifacts are unique in a run).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coach.ci import build_sites, yamledit
from coach.ci.github_repeat import origins, repeats, source_lines
from coach.ci.github_signing import add_id
from coach.ci.github_spot import (
    Spot,
    bare,
    builds,
    events,
    every,
    find,
    insert_steps,
    mapping,
    reference,
    text_of,
    uses,
    variable,
    when_pushed,
)
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree

# Standard machines of GitHub, and those of the same system with an arm64 processor.
_ARM = {
    "ubuntu-latest": "ubuntu-24.04-arm",
    "ubuntu-24.04": "ubuntu-24.04-arm",
    "ubuntu-22.04": "ubuntu-22.04-arm",
}
_IS_ARM = re.compile(r"(?:linux/)?(?:arm64|aarch64)(?:/v8)?")
_IS_AMD = re.compile(r"(?:linux/)?(?:amd64|x86_64|386|i386)(?:/v\d)?")
_ARCH = "${{ runner.arch }}"
_FOLDER = "${{ runner.temp }}/digests"
_IN_JOB_CONDITIONS = frozenset({"github", "inputs", "vars", "needs"})
_FUNCTIONS = frozenset({"startswith", "endswith", "contains", "format", "fromjson", "tojson", "join"})


@dataclass(frozen=True, slots=True)
class _Image:
    """What is pushed: its ``tags`` as they are written, its ``names`` without tags ("" when only a run tells them)."""

    tags: str
    names: tuple[str, ...]


def spread(tree: Tree, build: BuildSite) -> Remedy:
    """The edits that give each platform a machine of its own. Raises ``CannotEditError``."""
    spot, job = _spot(tree, build)
    inputs = mapping(spot.inputs)
    yamledit.own(inputs, spot.step.line, spot.step.end_line)
    runner = job.get("runs-on")
    machine = _ARM.get(runner.text or "") if runner is not None else None
    if runner is None or runner.text is None or machine is None:
        raise CannotEditError("which arm64 machine stands beside the one it runs on is not known")
    given = inputs.get("platforms")
    if given is None or given.text is None or "${{" in given.text:
        raise CannotEditError("its platforms are not written out in its step")
    wanted = [item for item in re.split(r"[,\s]+", given.text) if item]
    arm = [item for item in wanted if _IS_ARM.fullmatch(item)]
    rest = [item for item in wanted if item not in arm]
    emulated = [item for item in rest if not _IS_AMD.fullmatch(item)]
    _refuse_what_cannot_be_repeated(spot, job)
    edits: list[Edit] = []
    reasons = [f"the machine `{machine}` has to be open to this repository"]
    if rest:
        rows = [(",".join(rest), runner.text), (",".join(arm), machine)]
        edits.append(yamledit.replace_span(spot.doc, runner.span, "${{ matrix.runner }}"))
        edits.append(yamledit.add_keys(job, [("strategy", _matrix(rows))], "runs-on"))
        edits.append(_new_platforms(spot, given))
        edits += _caches(spot, inputs)
    else:
        edits.append(yamledit.replace_span(spot.doc, runner.span, machine))
    if emulated:
        reasons.append(f"still emulated, because GitHub has no machine of that kind: {', '.join(emulated)}")
    else:
        edits += _without_emulator(spot)
    if rest and text_of(inputs, "push") not in ("", "false"):
        made, why = _joined(tree, spot, job, inputs)
        edits += made
        reasons += why
    elif rest:
        reasons.append(f"the job `{_name(job)}` runs once on each machine: branch rules that name its check need both")
    guidance = (
        f"`{build.path}` line {build.line} builds arm64 on `{machine}` and the rest on `{runner.text}`, at the same "
        "time" + ("." if emulated else "; nothing is emulated any more.")
    )
    return Remedy(Safety.REVIEW, tuple(edits), tuple(reasons), guidance)


def _name(job: Node) -> str:
    return str(job.key.value) if job.key is not None else ""


def _spot(tree: Tree, build: BuildSite) -> tuple[Spot, Node]:
    if build.system != "github":
        raise CannotEditError(f"which machines the {build.system} server has is not written here")
    if build.tool == "workflow":
        raise CannotEditError("the build steps stand in a workflow of another repository")
    spot = find(tree, build)
    if spot.job is None:
        raise CannotEditError("it stands in a composite action, which runs on the machine of whoever uses it")
    if spot.action != "docker/build-push-action":
        what = spot.action or "a script"
        raise CannotEditError(f"{what} pushes by other rules than docker/build-push-action, for which this is written")
    if "workflow_call" in events(spot.doc):
        calls = [site for site in build_sites(tree).builds if (site.path, site.line) == (build.path, build.line)]
        if len(calls) > 1:
            raise CannotEditError("its workflow is called several times, and the digests of one run would mix")
    return spot, spot.job


def _refuse_what_cannot_be_repeated(spot: Spot, job: Node) -> None:
    """Raise where a job cannot run once for each platform."""
    for key, why in (
        ("strategy", "its job has a matrix already, which a job behind it would have to follow image by image"),
        ("container", "its job runs in a container, whose image may be made for one kind of machine"),
        ("services", "its job has services, whose images may be made for one kind of machine"),
        ("concurrency", "its job lets one run at a time pass, so that the two machines would wait for each other"),
    ):
        if job.get(key) is not None:
            raise CannotEditError(why)
    shell = job.get("defaults", "run", "shell") or spot.doc.root.get("defaults", "run", "shell")
    if shell is not None and shell.text != "bash":
        raise CannotEditError("its scripts run in another shell than bash")
    if sum(1 for step in spot.steps if step.is_map and builds(step)) > 1:
        raise CannotEditError("its job builds several times, and what one build leaves the next may use")
    for step in spot.steps:
        if (
            uses(step) == "step-security/harden-runner"
            and text_of(step.get("with") or step, "egress-policy") == "block"
        ):
            raise CannotEditError(f"line {step.line} lets its job talk to listed hosts only, and artifacts need others")
    identity = text_of(spot.step, "id")
    said = rf"\bsteps\.{re.escape(identity)}\."
    outputs = job.get("outputs")
    for node in outputs.entries().values() if outputs is not None else ():
        if identity and re.search(said, node.text or ""):
            raise CannotEditError("its job hands what the build says on to other jobs")
    for step in spot.steps[spot.index + 1 :]:
        if identity and step.is_map and uses(step) and re.search(said, "\n".join(source_lines(step))):
            raise CannotEditError(
                f"line {step.line} needs the digest of the whole image, which only the job that joins the platforms has"
            )
    for index, step in enumerate(spot.steps):
        why = "" if index == spot.index or not step.is_map else repeats(step)
        if why:
            raise CannotEditError(f"line {step.line} {why}, which would happen on each machine")


def _matrix(rows: Sequence[tuple[str, str]]) -> list[str]:
    lines = ["", "  matrix:", "    include:"]
    for platforms, machine in rows:
        lines += [f"      - platforms: {platforms}", f"        runner: {machine}"]
    return lines


def _new_platforms(spot: Spot, given: Node) -> Edit:
    return _replace_value(spot, given, "platforms: ${{ matrix.platforms }}")


def _replace_value(spot: Spot, node: Node, text: str) -> Edit:
    """Another key and value in place of ``node`` and its key; what follows on the line stays."""
    doc = spot.doc
    if node.key is None or node.key.start_mark is None or mapping(spot.inputs).flow:
        raise CannotEditError("its inputs are written in braces on one line")
    start = doc.byte(node.key.start_mark.index)
    if node.style in ("|", ">"):
        # up to the end of the block's last line, without its line end
        line = doc.line_span(node.end_line, node.end_line)
        end = line.start + len(doc.content[line.start : line.end].rstrip(b"\r\n"))
    else:
        end = node.span.end
    return yamledit.replace_span(doc, Span(start, end), text)


def _without_key(spot: Spot, node: Node) -> Edit:
    line = spot.doc.line_text(node.key_line)
    if mapping(spot.inputs).flow or line[: node.key_column].strip():
        raise CannotEditError("its inputs are written in braces on one line")
    return yamledit.delete_lines(spot.doc, node.key_line, max(node.end_line, node.key_line))


def _without_emulator(spot: Spot) -> list[Edit]:
    """Take the step out that registers QEMU, with the comment above it, unless others read what it says."""
    doc = spot.doc
    edits: list[Edit] = []
    for step in spot.steps:
        if uses(step) != "docker/setup-qemu-action":
            continue
        identity = text_of(step, "id")
        if identity and f"steps.{identity}." in doc.text:
            continue
        first, last = yamledit.item_first_line(step), step.end_line
        indent = yamledit.item_indent(step)
        while first > 1 and doc.line_text(first - 1).startswith(f"{indent}#"):
            first -= 1
        if last < len(doc.line_starts) and not doc.line_text(last + 1).strip():
            last += 1
        edits.append(yamledit.delete_lines(doc, first, last))
    return edits


# -- caches --------------------------------------------------------------------------------------------------------


_VALUE = r"((?:\$\{\{.*?\}\}|[^,\"'])*)"


def _caches(spot: Spot, inputs: Node) -> list[Edit]:
    """A cache of its own for each machine: two that write to one place keep what the later one wrote."""
    goes, came = inputs.get("cache-to"), inputs.get("cache-from")
    if goes is None:
        return []
    written = {match[1] for match in re.finditer(rf"\bref={_VALUE}", goes.text or "")}
    edits: list[Edit] = []
    for node in (came, goes):
        if node is None or node.text is None:
            continue
        source = node.source()
        at = 0
        for line in source.text.split("\n"):
            found = _cache_suffix(line, written)
            if found is not None:
                byte = source.byte(at + found[0] - 1)
                if byte is None:
                    raise CannotEditError("its caches are written in a way whose places are not known")
                edits.append(Edit(spot.doc.path, Span(byte + 1, byte + 1), found[1].encode()))
            at += len(line) + 1
    return edits


def _cache_suffix(line: str, written: set[str]) -> tuple[int, str] | None:
    """Where in a cache's line to put what tells the machines apart."""
    text = line.rstrip()
    if not text.strip() or text.strip().startswith("#"):
        return None
    kind = re.search(r"\btype=(\w+)", text)
    if text.strip().startswith("${{") or kind is None:
        raise CannotEditError("its caches are not written out in its step")
    if kind[1] == "gha":
        scope = re.search(rf"\bscope={_VALUE}", text)
        return (scope.end(1), f"-{_ARCH}") if scope is not None else (len(text), f",scope={_ARCH}")
    if kind[1] == "registry":
        ref = re.search(rf"\bref={_VALUE}", text)
        if ref is None or ref[1] not in written:
            return None
        last = re.sub(r"\$\{\{.*?\}\}", "x", ref[1]).rsplit("/", 1)[-1]
        return ref.end(1), f"-{_ARCH}" if ":" in last else f":{_ARCH}"
    if kind[1] == "inline":
        return None
    raise CannotEditError(f"its cache of type {kind[1]} is kept in one place for both machines")


# -- joining -------------------------------------------------------------------------------------------------------


def _joined(tree: Tree, spot: Spot, job: Node, inputs: Node) -> tuple[list[Edit], list[str]]:
    """Push by digest, hand the digests over, and a job that makes the tags of them."""
    doc, name = spot.doc, _name(job)
    for key in ("outputs", "load"):
        if text_of(inputs, key) not in ("", "false"):
            raise CannotEditError(f"its `{key}` says where the image goes")
    if re.search(r"ANNOTATIONS_LEVELS:.*index", doc.text) and inputs.get("annotations") is not None:
        raise CannotEditError("it writes annotations of the whole list, which the joining step would have to repeat")
    tags, push = inputs.get("tags"), inputs.get("push")
    if tags is None or tags.text is None or push is None:
        raise CannotEditError("the step names no tags")
    image = _image(spot, tags.text)
    switch = _switch(doc, (push.text or "").strip())
    condition = when_pushed(spot, inputs)
    merge = _merge_name(doc, name)
    edits: list[Edit] = []
    identity = text_of(spot.step, "id")
    if not identity:
        identity = "build" if "build" not in {text_of(step, "id") for step in spot.steps} else "build-image"
        edits.append(add_id(spot, identity))
    names = ",".join(image.names)
    if not names:
        edits.append(_naming_step(spot, image))
        names = "${{ steps.names.outputs.names }}"
    named = f'"name={names}"' if len(image.names) != 1 else f"name={names}"
    edits.append(
        _replace_value(spot, push, f"outputs: type=image,{named},push-by-digest=true,name-canonical=true,push={switch}")
    )
    edits.append(_without_key(spot, tags))
    guard = [f"  if: {condition}"] if condition else []
    artifact = f"digests-{name}"
    edits.append(
        insert_steps(
            spot,
            [
                [
                    "- name: Write the digest down",
                    *guard,
                    "  env:",
                    f"    DIGEST: ${{{{ steps.{identity}.outputs.digest }}}}",
                    "  run: |",
                    '    mkdir -p "$RUNNER_TEMP/digests"',
                    '    touch "$RUNNER_TEMP/digests/${DIGEST#sha256:}"',
                ],
                [
                    "- name: Hand the digest over",
                    *guard,
                    f"  uses: {_artifact_action(tree, 'upload')}",
                    "  with:",
                    f"    name: {artifact}-{_ARCH}",
                    f"    path: {_FOLDER}/*",
                    "    if-no-files-found: error",
                    "    retention-days: 1",
                ],
            ],
            after=True,
        )
    )
    waiting = _waiting(doc, name, merge)
    own = bare(text_of(job, "if"))
    conditions = list(dict.fromkeys(item for item in (own, bare(condition)) if item))
    if condition and waiting:
        raise CannotEditError(f"other jobs wait for `{name}` also where nothing is pushed and nothing is to be joined")
    for text in conditions:
        _readable_in_a_job(text)
    edits.append(yamledit.insert_after(doc, job.end_line, _merge_job(tree, spot, job, image, merge, conditions)))
    edits += waiting
    reasons = [
        f"`{name}` runs once on each machine and `{merge}` makes the tags: branch rules and scripts that wait for "
        f"`{name}` have to wait for `{merge}`"
    ]
    if job.get("environment") is not None:
        reasons.append("the environment of the job is asked for by each machine and by the joining job")
    return edits, reasons


def _merge_name(doc: Doc, name: str) -> str:
    jobs = doc.root.get("jobs")
    entries = jobs.entries() if jobs is not None else {}
    several = 0
    for job in entries.values():
        steps = job.get("steps")
        several += any(
            "/build-push-action" in uses(step) and "arm64" in text_of(step.get("with") or step, "platforms")
            for step in (steps.items() if steps is not None else ())
            if step.is_map
        )
    wanted = f"merge-{name}" if several > 1 else "merge"
    for candidate in (wanted, f"merge-{name}", f"merge-platforms-{name}"):
        if candidate not in entries:
            return candidate
    raise CannotEditError("no name is free for the job that joins the platforms")


def _artifact_action(tree: Tree, verb: str) -> str:
    # the versions before 4 are switched off, and cannot join several artifacts in one folder
    pinned = reference(tree, f"actions/{verb}-artifact", "v4")
    return f"actions/{verb}-artifact@v4" if re.search(r"@v[123]\b|#\s*v?[123]\.", pinned) else pinned


def _image(spot: Spot, text: str) -> _Image:
    """The names that ``tags`` are made of, as far as they are written."""
    whole = text.strip()
    meta = re.fullmatch(r"\$\{\{\s*steps\.([\w-]+)\.outputs\.tags\s*\}\}", whole)
    if meta is not None:
        return _Image(whole, _names_of_metadata(spot, meta[1]))
    # a sign of its own for each expression, so that its colons and commas do not count
    holes = {chr(0xE000 + number): hole for number, hole in enumerate(re.findall(r"\$\{\{.*?\}\}", whole)[:1000])}
    masked = whole
    for sign, hole in holes.items():
        masked = masked.replace(hole, sign)
    names: dict[str, None] = {}
    for part in (piece.strip() for piece in re.split(r"[,\n]", masked)):
        if not part:
            continue
        head, slash, tail = part.rpartition("/")
        if ":" not in tail and (part in holes or any(sign in tail for sign in holes)):
            return _Image(_lines(whole), ())
        if ":" not in tail and ":" in head:
            raise CannotEditError("a tag names a registry with a port, and no tag")
        name = f"{head}{slash}{tail.split(':', 1)[0]}"
        names["".join(holes.get(sign, sign) for sign in name)] = None
    return _Image(_lines(whole), tuple(names))


def _lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _names_of_metadata(spot: Spot, identity: str) -> tuple[str, ...]:
    """What the metadata action was given as images; () where it turns them into something else."""
    step = next((step for step in spot.steps if step.is_map and text_of(step, "id") == identity), None)
    inputs = step.get("with") if step is not None else None
    if inputs is None or step is None or not uses(step).endswith("/metadata-action"):
        return ()
    found = [line.strip() for line in text_of(inputs, "images").replace(",", "\n").split("\n") if line.strip()]
    names: list[str] = []
    for line in found:
        value = line
        for name in re.findall(r"\$\{\{\s*env\.(\w+)\s*\}\}", line):
            known = next(
                (
                    node.text
                    for home in (step, spot.job, spot.doc.root)
                    if home is not None and (node := home.get("env", name)) is not None
                ),
                None,
            )
            value = re.sub(rf"\$\{{\{{\s*env\.{name}\s*\}}\}}", known or "${{ ?", value)
        # the action writes names in small letters; what it is given may have others
        if not re.fullmatch(r"[a-z0-9][a-z0-9._/:-]*", value) or step.get("env") is not None:
            return ()
        names.append(line)
    return tuple(names)


def _naming_step(spot: Spot, image: _Image) -> Edit:
    if any(text_of(step, "id") == "names" for step in spot.steps if step.is_map):
        raise CannotEditError("a step of the job has the id `names`, which a new one needs")
    return insert_steps(
        spot,
        [
            [
                "- name: List the image's names without their tags",
                "  id: names",
                "  env:",
                *(f"    {line}" for line in variable("TAGS", image.tags)),
                "  run: |",
                '    names=$(for tag in ${TAGS//,/ }; do echo "${tag%:*}"; done | sort -u | paste -sd, -)',
                '    echo "names=$names" >> "$GITHUB_OUTPUT"',
            ]
        ],
    )


def _switch(doc: Doc, push: str) -> str:
    """``true``, or the expression, which has to be a truth value: anything else BuildKit refuses or takes for true."""
    if push == "true":
        return push
    match = re.fullmatch(r"\$\{\{\s*(.*?)\s*\}\}", push, re.S)
    if match is None or "}}" in match[1] or not _boolean(doc, match[1]):
        raise CannotEditError("whether it pushes is decided by more than an expression that is true or false")
    return f"${{{{ {' '.join(match[1].split())} }}}}"


def _boolean(doc: Doc, expression: str) -> bool:
    text = re.sub(r"'(?:[^']|'')*'", "'", expression)
    on = doc.root.get("on") or doc.root.get("true")
    for event in ("workflow_call", "workflow_dispatch") if on is not None and on.is_map else ():
        declared = on.get(event, "inputs") if on is not None else None
        for name, node in declared.entries().items() if declared is not None else ():
            if text_of(node, "type") == "boolean" and events(doc) == {event}:
                text = re.sub(rf"(?<![\w.-])inputs\.{re.escape(name)}(?![\w-])", "B", text)
    text = re.sub(r"\b(?:startsWith|endsWith|contains)\([^()]*\)", "B", text)
    text = re.sub(r"[\w.\[\]'-]+\s*(?:==|!=|<=|>=|<|>)\s*[\w.\[\]'-]+", "B", text)
    text = re.sub(r"(?<![\w.-])(?:true|false)(?![\w.-])", "B", text)
    before = ""
    while before != text:
        before = text
        text = re.sub(r"\(\s*B\s*\)|!\s*B\b|B\s*(?:&&|\|\|)\s*B\b", "B", text)
    return text.strip() == "B"


def _readable_in_a_job(condition: str) -> None:
    text = re.sub(r"'(?:[^']|'')*'", "''", condition)
    if "${{" in text:
        raise CannotEditError("its condition is put together of several expressions")
    heads = {name.lower() for name in re.findall(r"(?<![\w.\]-])([A-Za-z_][\w-]*)(?=\s*[.\[(])", text)}
    unknown = heads - _IN_JOB_CONDITIONS - _FUNCTIONS
    if unknown:
        raise CannotEditError(f"whether it pushes depends on {min(unknown)}, which a job's condition cannot ask")
    if re.search(r":\s|\s#", condition):
        raise CannotEditError("its condition is quoted in a way that is not written again")


def _waiting(doc: Doc, name: str, merge: str) -> list[Edit]:
    """``merge`` among the jobs that those wait for which wait for ``name``."""
    jobs = doc.root.get("jobs")
    edits: list[Edit] = []
    for other in jobs.entries().values() if jobs is not None else ():
        needs = other.get("needs")
        if needs is None or name not in [text for text, _ in needs.texts()]:
            continue
        items = list(needs.items())
        own = next(item for item in items if item.text == name)
        if not needs.is_list:
            edits.append(Edit(doc.path, Span(own.span.start, own.span.start), b"["))
            edits.append(Edit(doc.path, Span(own.span.end, own.span.end), f", {merge}]".encode()))
        elif needs.flow:
            edits.append(Edit(doc.path, Span(own.span.end, own.span.end), f", {merge}".encode()))
        else:
            edits.append(yamledit.insert_after(doc, own.line, [f"{yamledit.item_indent(own)}- {merge}"]))
    return edits


def _merge_job(tree: Tree, spot: Spot, job: Node, image: _Image, merge: str, conditions: Sequence[str]) -> list[str]:
    doc, name = spot.doc, _name(job)
    yamledit.own(job, job.key_line, job.end_line)
    base, keys, item = " " * job.key_column, yamledit.key_indent(job), yamledit.item_indent(spot.step)
    again = origins(spot, image.tags)
    copied = "\n".join(["\n".join(source_lines(step)) for step in again.steps] + [image.tags, *conditions])
    needs = job.get("needs")
    others = [text for text, _ in needs.texts() if f"needs.{text}." in copied] if needs is not None else []
    waits = f"[{', '.join([name, *others])}]" if others else name
    lines = ["", f"{base}{merge}:", f"{keys}needs: {waits}"]
    if conditions:
        lines.append(f"{keys}if: {every(conditions)}")
    lines.append(f"{keys}runs-on: {text_of(job, 'runs-on')}")
    for key in ("permissions", "environment"):
        lines += _copied_key(job, key)
    if again.environment:
        lines += _copied_key(job, "env")
    lines.append(f"{keys}steps:")
    first = yamledit.item_first_line(spot.step)
    spaced = first > 1 and not doc.line_text(first - 1).strip()
    steps = [source_lines(step) for step in again.steps]
    steps += [
        [
            item + line
            for line in (
                "- name: Collect the digests",
                f"  uses: {_artifact_action(tree, 'download')}",
                "  with:",
                f"    path: {_FOLDER}",
                f"    pattern: digests-{name}-*",
                "    merge-multiple: true",
            )
        ],
        [
            item + line
            for line in (
                "- name: Join the platforms under each tag",
                f"  working-directory: {_FOLDER}",
                "  env:",
                *(f"    {line}" for line in variable("TAGS", image.tags)),
                "  run: |",
                "    for tag in ${TAGS//,/ }; do",
                '      docker buildx imagetools create --tag "$tag" $(printf "${tag%:*}@sha256:%s " *)',
                "    done",
            )
        ],
    ]
    for number, step in enumerate(steps):
        lines += ([""] if spaced and number else []) + step
    return lines


def _copied_key(job: Node, key: str) -> list[str]:
    node = job.get(key)
    if node is None:
        return []
    first, last = node.key_line, max(node.end_line, node.key_line)
    lines = [job.doc.line_text(number) for number in range(first, last + 1)]
    if any(re.search(r"(?::|-)\s+[&*]\w|<<:", line) for line in lines):
        raise CannotEditError(f"the {key} of its job are shared with other places by an alias")
    return lines
