"""The job that makes one image of what several machines pushed by digest, and what changes around it.

Sources (read 2026-11): docs.docker.com/build/ci/github-actions/multi-platform ("Distribute build across multiple
runners"), docs.docker.com/reference/cli/docker/buildx/imagetools/create, docs.github.com/actions/reference (contexts
that a job's ``if`` may read; names of artifacts are unique in a run).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coach.ci import yamledit
from coach.ci.github_repeat import origins, signs, source_lines
from coach.ci.github_signing import add_id
from coach.ci.github_spot import (
    DIGEST_OF_TAG,
    Spot,
    bare,
    delete_input,
    events,
    every,
    insert_steps,
    job_name,
    reference,
    replace_input,
    text_of,
    uses,
    variable,
    when_pushed,
)
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.model import Edit, Span, Tree

_ARCH = "${{ runner.arch }}"
_FOLDER = "${{ runner.temp }}/digests"
_IN_JOB_CONDITIONS = frozenset({"github", "inputs", "vars", "needs"})
_FUNCTIONS = frozenset({"startswith", "endswith", "contains", "format", "fromjson", "tojson", "join"})


@dataclass(frozen=True, slots=True)
class _Image:
    """What is pushed: its ``tags`` as they are written, its ``names`` without tags ("" when only a run tells them)."""

    tags: str
    names: tuple[str, ...]


def joined(tree: Tree, spot: Spot, job: Node, inputs: Node) -> tuple[list[Edit], list[str]]:
    """Push by digest, hand the digests over, and a job that makes the tags of them."""
    doc, name = spot.doc, job_name(job)
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
        replace_input(spot, push, f"outputs: type=image,{named},push-by-digest=true,name-canonical=true,push={switch}")
    )
    edits.append(delete_input(spot, tags))
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
    later = moved(spot)
    for step in later:
        first, last = _with_comment(step), step.end_line
        if not doc.line_text(first - 1).strip():
            first -= 1
        edits.append(yamledit.delete_lines(doc, first, last))
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
    if later:
        lines = ", ".join(str(step.line) for step in later)
        reasons.append(f"what stands on line {lines} moves to `{merge}`, where the whole image is")
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


_ATTESTS = re.compile(r"actions/attest(?:-build-provenance)?")


def moved(spot: Spot) -> tuple[Node, ...]:
    """Steps behind the push that sign or attest the whole image. Raises where one needs more than its digest."""
    identity = text_of(spot.step, "id")
    said = rf"\bsteps\.{re.escape(identity)}\."
    found: list[Node] = []
    for step in spot.steps[spot.index + 1 :]:
        if not step.is_map:
            continue
        text = "\n".join(source_lines(step))
        named = bool(identity) and re.search(said, text) is not None
        if signs(step) or (named and _ATTESTS.fullmatch(uses(step))):
            if identity and re.search(said, re.sub(rf"{said}outputs\.digest\b", "", text)):
                raise CannotEditError(f"line {step.line} asks the build for more than its digest")
            found.append(step)
        elif named and uses(step):
            raise CannotEditError(
                f"line {step.line} needs the digest of the whole image, which only the job that joins the platforms has"
            )
    return tuple(found)


def _with_comment(step: Node) -> int:
    """First line of a step, the comment right above included."""
    first, indent = yamledit.item_first_line(step), yamledit.item_indent(step)
    while first > 1 and step.doc.line_text(first - 1).startswith(f"{indent}#"):
        first -= 1
    return first


def _merge_job(tree: Tree, spot: Spot, job: Node, image: _Image, merge: str, conditions: Sequence[str]) -> list[str]:
    doc, name = spot.doc, job_name(job)
    yamledit.own(job, job.key_line, job.end_line)
    base, keys, item = " " * job.key_column, yamledit.key_indent(job), yamledit.item_indent(spot.step)
    later = moved(spot)
    asked = rf"\bsteps\.{re.escape(text_of(spot.step, 'id'))}\.outputs\.digest\b"
    behind = [
        [re.sub(asked, "steps.join.outputs.digest", line) for line in _comment(step) + source_lines(step)]
        for step in later
    ]
    known = "\n".join(line for lines in behind for line in lines)
    asks = "steps.join.outputs.digest" in known
    known = known.replace("steps.join.outputs.digest", "")
    again = origins(spot, f"{image.tags}\n{known}", any(signs(step) for step in later))
    if asks and any(text_of(step, "id") == "join" for step in again.steps):
        raise CannotEditError("a step of the job has the id `join`, which a new one needs")
    copied = "\n".join(["\n".join(source_lines(step)) for step in again.steps] + [image.tags, known, *conditions])
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
                *(["  id: join"] if asks else []),
                f"  working-directory: {_FOLDER}",
                "  env:",
                *(f"    {line}" for line in variable("TAGS", image.tags)),
                "  run: |",
                "    for tag in ${TAGS//,/ }; do",
                '      docker buildx imagetools create --tag "$tag" $(printf "${tag%:*}@sha256:%s " *)',
                "    done",
                *([f'    echo "digest=$({DIGEST_OF_TAG})" >> "$GITHUB_OUTPUT"'] if asks else []),
            )
        ],
        *behind,
    ]
    for number, step in enumerate(steps):
        lines += ([""] if spaced and number else []) + step
    return lines


def _comment(step: Node) -> list[str]:
    return [step.doc.line_text(line) for line in range(_with_comment(step), yamledit.item_first_line(step))]


def _copied_key(job: Node, key: str) -> list[str]:
    node = job.get(key)
    if node is None:
        return []
    first, last = node.key_line, max(node.end_line, node.key_line)
    lines = [job.doc.line_text(number) for number in range(first, last + 1)]
    if any(re.search(r"(?::|-)\s+[&*]\w|<<:", line) for line in lines):
        raise CannotEditError(f"the {key} of its job are shared with other places by an alias")
    return lines
