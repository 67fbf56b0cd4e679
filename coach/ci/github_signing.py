"""The step that signs what a GitHub job pushes, and the permission it needs.

Sources (read 2026-11): github.com/sigstore/cosign-installer README (keyless signing needs ``id-token: write``),
docs.github.com/actions/reference/workflows-and-actions/workflow-syntax (a job's ``permissions`` replace all defaults).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from coach.ci import build_sites, commands, yamldoc, yamledit
from coach.ci.commands import Text
from coach.ci.github_scope import Scope
from coach.ci.github_spot import (
    DIGEST_OF_TAG,
    Spot,
    bare,
    events,
    every,
    find,
    insert_steps,
    job_name,
    mapping,
    reference,
    text_of,
    uses,
    variable,
    when_pushed,
)
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Tree

_PUBLIC = "the signature, with the image's name, goes into a public log"
_MAKES_A_LIST = re.compile(
    r"imagetools create|\bmanifest (?:create|push)\b|docker-manifest|manifest-tool|manifest-action"
)
_OWN_VARIABLE = re.compile(r"\$\{?(\w+)")


def sign(tree: Tree, build: BuildSite) -> Remedy:
    """A signing step behind the push. Raises ``CannotEditError``."""
    spot = find(tree, build)
    if spot.job is None:
        raise CannotEditError(
            "it stands in a composite action: the permission to sign belongs to every job that uses it"
        )
    edits, reasons = _callers(tree, build, spot)
    if spot.action.endswith("/build-push-action"):
        inputs = mapping(spot.inputs)
        lists = _lists(spot)
        if lists or "push-by-digest" in text_of(inputs, "outputs"):
            spot = _joining(lists)
            condition, lines = _when(spot), _each_tag(_joined_tags(tree, spot))
        else:
            condition, (made, lines) = when_pushed(spot, inputs), _digest_of_the_step(spot, inputs)
            edits += made
    elif spot.action == "docker/bake-action":
        condition, (made, lines) = when_pushed(spot, mapping(spot.inputs)), _digests_of_bake(spot)
        edits += made
    elif spot.step.get("run") is not None and build.tool in ("docker", "buildx") and not build.defined_in:
        spot = _pushing(spot, build)
        condition, lines = _when(spot), _each_tag(_script_tags(tree, spot))
    else:
        raise CannotEditError("the digest of the pushed image is known only where it is pushed")
    guard = [f"  if: {condition}"] if condition else []
    installer = ["- name: Install cosign", *guard, f"  uses: {reference(tree, 'sigstore/cosign-installer', 'v3')}"]
    signing = ["- name: Sign the image by digest", *guard, *(f"  {line}" for line in lines)]
    edits.append(insert_steps(spot, [installer, signing], after=True))
    assert spot.job is not None
    made, why = ([], []) if _inherits(spot.doc, spot.job) else _permission(spot.doc, spot.job)
    edits += made
    reasons += [reason for reason in why if reason not in reasons]
    return Remedy(
        Safety.REVIEW,
        tuple(edits),
        (_PUBLIC, *reasons, "the login of this job must be allowed to push the signature beside the image"),
        f"`{build.path}` signs what line {build.line} pushes, by digest and without a key of its own "
        "(`cosign verify --certificate-identity-regexp … --certificate-oidc-issuer "
        "https://token.actions.githubusercontent.com` checks it).",
    )


def _when(spot: Spot) -> str:
    """The condition of a step, as the value of another one's ``if:``."""
    own = bare(text_of(spot.step, "if"))
    return every([own]) if own else ""


def _digest_of_the_step(spot: Spot, inputs: Node) -> tuple[list[Edit], list[str]]:
    edits: list[Edit] = []
    identity = _identity(spot, "build", edits)
    tags = inputs.get("tags")
    if tags is None or tags.text is None:
        raise CannotEditError("the step names no tags")
    tag_lines = [line.strip() for line in tags.text.strip().splitlines() if line.strip()]
    comma = any(_may_hold_a_comma(spot, line) for line in tag_lines)
    reach = "echo \"$TAGS\" | tr ',' '\\n'" if comma else 'echo "$TAGS"'
    return edits, [
        "env:",
        *(f"  {line}" for line in variable("TAGS", "\n".join(tag_lines))),
        f"  DIGEST: ${{{{ steps.{identity}.outputs.digest }}}}",
        f'run: {reach} | xargs -I {{}} cosign sign --yes {{}}@"$DIGEST"',
    ]


def _may_hold_a_comma(spot: Spot, line: str) -> bool:
    """Whether a line of tags may be several, which the action takes apart at commas."""
    plain = re.sub(r"\$\{\{.*?\}\}", "", line)
    if plain.strip():
        return "," in plain
    listed = re.fullmatch(r"\$\{\{\s*steps\.[\w-]+\.outputs\.tags\s*\}\}", line) is not None
    return not listed or "sep-tags" in spot.doc.text


def _digests_of_bake(spot: Spot) -> tuple[list[Edit], list[str]]:
    """Every target says its digest and its names in the metadata of the step."""
    edits: list[Edit] = []
    identity = _identity(spot, "bake", edits)
    select = '.[] | objects | select(has("containerimage.digest") and has("image.name"))'
    names = '(."image.name" | split(",")[]) + "@" + ."containerimage.digest"'
    return edits, [
        "env:",
        f"  METADATA: ${{{{ steps.{identity}.outputs.metadata }}}}",
        "run: |",
        f"  jq -r '{select} | {names}' <<< \"$METADATA\" |",
        "    xargs -n 1 cosign sign --yes",
    ]


def _each_tag(words: str) -> list[str]:
    """The lines of a step that signs what each tag names in the registry."""
    environment = []
    if not words.startswith("\0"):
        environment = ["env:", *(f"  {line}" for line in variable("TAGS", words))]
    listed = words[1:] if words.startswith("\0") else "${TAGS//,/ }"
    return [
        *environment,
        "run: |",
        f"  for tag in {listed}; do",
        f"    digest=$({DIGEST_OF_TAG})",
        '    cosign sign --yes "${tag%:*}@$digest"',
        "  done",
    ]


def _identity(spot: Spot, wanted: str, edits: list[Edit]) -> str:
    """The id of the step; one is given to it where it has none."""
    identity = text_of(spot.step, "id")
    if identity:
        return identity
    taken = {text_of(step, "id") for step in spot.steps if step.is_map}
    # counted, so that two builds of one job never get the same
    kind = spot.action.rpartition("/")[2]
    number = sum(uses(step).endswith(f"/{kind}") for step in spot.steps[: spot.index])
    named = wanted if number == 0 else f"{wanted}-{number + 1}"
    identity = named if named not in taken else f"{wanted}-image-{number + 1}"
    edits.append(add_id(spot, identity))
    return identity


def _lists(spot: Spot) -> list[Spot]:
    """Steps of later jobs that make one list of the images that the job of ``spot`` pushes."""
    assert spot.job is not None
    jobs = spot.doc.root.get("jobs")
    found: list[Spot] = []
    for job in jobs.entries().values() if jobs is not None else ():
        needs, steps = job.get("needs"), job.get("steps")
        if needs is None or steps is None or job_name(spot.job) not in [text for text, _ in needs.texts()]:
            continue
        items = tuple(steps.items())
        found += [
            Spot(spot.doc, step, items, index, job)
            for index, step in enumerate(items)
            if step.is_map and _MAKES_A_LIST.search(text_of(step, "run") or uses(step))
        ]
    return found


def _joining(lists: list[Spot]) -> Spot:
    """The step whose list is what people pull, so that a signature belongs to it."""
    if len(lists) != 1 or "imagetools create" not in text_of(lists[0].step, "run"):
        if not lists:
            raise CannotEditError("single platforms are pushed by digest, and the step that joins them was not found")
        line = lists[0].step.line
        raise CannotEditError(f"line {line} makes a list of these images, and the signature belongs to that list")
    return lists[0]


def _joined_tags(tree: Tree, spot: Spot) -> str:
    given = spot.step.get("env", "TAGS")
    if given is not None and given.text is not None and re.search(r"\$\{?TAGS\b", text_of(spot.step, "run")):
        return "\n".join(line.strip() for line in given.text.splitlines() if line.strip())
    meta = [step for step in spot.steps[: spot.index] if uses(step).endswith("/metadata-action")]
    if len(meta) == 1 and text_of(meta[0], "id"):
        return f"${{{{ steps.{text_of(meta[0], 'id')}.outputs.tags }}}}"
    return _script_tags(tree, spot)


def _pushing(spot: Spot, build: BuildSite) -> Spot:
    """The step that pushes, which may be a later one than the one that builds."""
    for index, step in enumerate(spot.steps):
        if step.is_map and step.line <= (build.push_line or build.line) <= step.end_line:
            return Spot(spot.doc, step, spot.steps, index, spot.job)
    raise CannotEditError("the step that pushes was not found in its job")


def _script_tags(tree: Tree, spot: Spot) -> str:
    """The tags that a script pushes, as words for another script of the job, behind a zero byte."""
    run = spot.step.get("run")
    if run is None or run.text is None:
        raise CannotEditError("the digest of the pushed image is known only where it is pushed")
    filled = Scope().shell(run.text)
    words: dict[str, None] = {}
    for call in commands.calls(tree, Text(filled, {}, ""), follow=False):
        invocation = call.invocation
        if invocation.verb == "push" and invocation.on("all-tags") is None:
            found = [flag.value for flag in invocation.all("tag", "t")] or list(invocation.positionals)
        elif invocation.verb == "build" and invocation.on("push") is not None:
            found = [flag.value for flag in invocation.all("tag", "t")]
        else:
            continue
        if call.guarded or invocation.tool not in ("docker", "buildx"):
            raise CannotEditError("whether the script pushes is decided while it runs")
        for word in found:
            words[
                _word(spot, run.text[filled.origin(word.start) : filled.origin(word.end - 1) + 1] if word else "")
            ] = None
    if not words:
        raise CannotEditError("the tags of what is pushed are not written in the step that pushes")
    return "\0" + " ".join(words)


def _word(spot: Spot, raw: str) -> str:
    """A word of one script, fit for another one of the same job. Raises ``CannotEditError``."""
    text = re.sub(r"^(--tag=|-t=?)", "", raw)
    homes = [home.get("env") for home in (spot.doc.root, spot.job) if home is not None]
    for name in _OWN_VARIABLE.findall(re.sub(r"\$\{\{.*?\}\}", "", text)):
        if not name.startswith(("GITHUB_", "RUNNER_")) and not any(
            home is not None and home.get(name) is not None for home in homes
        ):
            raise CannotEditError(f"a tag holds ${name}, which the script sets for itself")
    bare_text = re.sub(r"\$\{\{.*?\}\}", "x", text)
    if not text or re.search(r"\$\(|`|[*?\n;&|<>]", bare_text) or "," in bare_text:
        raise CannotEditError("a tag is put together while the script runs")
    head, _, tail = bare_text.rpartition("/")
    if ":" not in tail and ":" in head:
        raise CannotEditError("a tag names a registry with a port, and no tag")
    return text


def add_id(spot: Spot, identity: str) -> Edit:
    """The edit that gives the step of ``spot`` an id."""
    if spot.step.flow or spot.step.entries()["uses"].key is None:
        raise CannotEditError("the step is written in braces on one line")
    return yamledit.add_keys(spot.step, [("id", identity)], "name" if spot.step.get("name") is not None else "uses")


def _callers(tree: Tree, build: BuildSite, spot: Spot) -> tuple[list[Edit], list[str]]:
    """The permission in every job that calls the workflow: a called one never gets more than its caller has."""
    if "workflow_call" not in events(spot.doc):
        return [], []
    sites = build_sites(tree).builds
    calls = {
        (site.called_from, site.called_line)
        for site in sites
        if (site.path, site.line) == (build.path, build.line) and site.called_from
    }
    if not calls:
        raise CannotEditError("workflows of other repositories may call it, each of which has to permit signing")
    needed: dict[str, str] = {}
    jobs = spot.doc.root.get("jobs")
    for home in (spot.doc.root, *(jobs.entries().values() if jobs is not None else ())):
        given = home.get("permissions")
        if given is not None and given.text is not None:
            raise CannotEditError(
                f"the called workflow asks for `{given.text}`, which its callers would have to spell out"
            )
        for name, node in given.entries().items() if given is not None else ():
            if needed.get(name) != "write" and node.text in ("read", "write"):
                needed[name] = node.text
    edits: list[Edit] = []
    reasons: list[str] = []
    for path, line in sorted(calls):
        doc = yamldoc.read(tree.read(path), path)
        if "workflow_call" in events(doc):
            raise CannotEditError(f"{path} is called by other workflows in turn, each of which has to permit signing")
        called = doc.root.get("jobs")
        job = next(
            (
                job
                for job in (called.entries().values() if called is not None else ())
                if (uses_node := job.get("uses")) is not None and uses_node.line == line
            ),
            None,
        )
        if job is None:
            raise CannotEditError(f"the job of {path} that calls it was not found")
        made, why = _permission(doc, job, needed)
        edits += made
        reasons += [reason for reason in why if reason not in reasons]
    return edits, reasons


def _inherits(doc: Doc, job: Node) -> bool:
    """Whether a job of a called workflow has just the permissions of whoever calls it."""
    silent = job.get("permissions") is None and doc.root.get("permissions") is None
    return silent and events(doc) == {"workflow_call"}


def _permission(doc: Doc, job: Node, needed: Mapping[str, str] | None = None) -> tuple[list[Edit], list[str]]:
    """``id-token: write`` for a job; ``needed`` is what a workflow that it calls asks for."""
    own = job.get("permissions")
    if own is not None:
        if own.text is not None:
            if own.text == "write-all":
                return [], []
            raise CannotEditError(f"the job's permissions are `{own.text}`")
        if text_of(own, "id-token") == "write":
            return [], []
        if own.get("id-token") is not None:
            raise CannotEditError("the job is denied an identity token")
        return [yamledit.add_keys(own, [("id-token", "write")])], []
    above = doc.root.get("permissions")
    default = {"contents": "read", "packages": "write", **(needed or {})}
    default.pop("id-token", None)
    entries = [f"{key}: {value}" for key, value in default.items()]
    reasons: list[str] = []
    if above is not None and above.is_map:
        if text_of(above, "id-token") == "write":
            return [], []
        entries = [f"{key}: {node.text}" for key, node in above.entries().items()]
    elif above is not None and above.text == "write-all":
        return [], []
    elif above is not None and above.text is not None:
        reasons = [f"the job gets permissions of its own in place of `{above.text}`"]
    else:
        reasons = ["the job gets permissions of its own: add whatever else its steps need"]
    lines = ["", *(f"  {entry}" for entry in entries), "  id-token: write"]
    after = next((key for key in ("runs-on", "uses") if job.get(key) is not None), None)
    return [yamledit.add_keys(job, [("permissions", lines)], after)], reasons
