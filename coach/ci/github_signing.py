"""The step that signs what a GitHub job pushes, and the permission it needs.

Sources (read 2026-11): github.com/sigstore/cosign-installer README (keyless signing needs ``id-token: write``),
docs.github.com/actions/reference/workflows-and-actions/workflow-syntax (a job's ``permissions`` replace all defaults).
"""

from __future__ import annotations

import re

from coach.ci import yamledit
from coach.ci.github_spot import Spot, find, insert_steps, mapping, reference, text_of, uses, when_pushed
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Tree

_PUBLIC = "the signature, with the image's name, goes into a public log"


def sign(tree: Tree, build: BuildSite) -> Remedy:
    """A signing step behind the push. Raises ``CannotEditError``."""
    spot = find(tree, build)
    if spot.job is None or build.called_from:
        raise CannotEditError("the permission to sign has to be given by every workflow that calls this file")
    if not spot.action.endswith("/build-push-action"):
        raise CannotEditError("the digest of the pushed image is known only where it is pushed")
    inputs = mapping(spot.inputs)
    if "push-by-digest" in text_of(inputs, "outputs"):
        raise CannotEditError("single platforms are pushed by digest: sign the list that a later job makes of them")
    edits: list[Edit] = []
    identity = text_of(spot.step, "id")
    if not identity:
        taken = {text_of(step, "id") for step in spot.steps if step.is_map}
        # counted, so that two builds of one job never get the same
        number = sum("/build-push-action" in uses(step) for step in spot.steps[: spot.index])
        wanted = "build" if number == 0 else f"build-{number + 1}"
        identity = wanted if wanted not in taken else f"build-image-{number + 1}"
        edits.append(add_id(spot, identity))
    tags = inputs.get("tags")
    if tags is None or tags.text is None:
        raise CannotEditError("the step names no tags")
    condition = when_pushed(spot, inputs)
    tag_lines = [line.strip() for line in tags.text.strip().splitlines() if line.strip()]
    comma = any("," in re.sub(r"\$\{\{.*?\}\}", "", line) for line in tag_lines)
    quoted = ["|", *(f"  {line}" for line in tag_lines)] if len(tag_lines) > 1 else [tag_lines[0]]
    reach = "echo \"$TAGS\" | tr ',' '\\n'" if comma else 'echo "$TAGS"'
    guard = [f"  if: {condition}"] if condition else []
    installer = ["- name: Install cosign", *guard, f"  uses: {reference(tree, 'sigstore/cosign-installer', 'v3')}"]
    signing = [
        "- name: Sign the image by digest",
        *guard,
        "  env:",
        f"    TAGS: {quoted[0]}",
        *(f"    {line}" for line in quoted[1:]),
        f"    DIGEST: ${{{{ steps.{identity}.outputs.digest }}}}",
        f'  run: {reach} | xargs -I {{}} cosign sign --yes {{}}@"$DIGEST"',
    ]
    if signing[-1].count(": ") > 1:
        raise CannotEditError("the command cannot be written on one line")
    edits.append(insert_steps(spot, [installer, signing], after=True))
    made, reasons = _permission(spot)
    edits += made
    return Remedy(
        Safety.REVIEW,
        tuple(edits),
        (_PUBLIC, *reasons, "the login of this job must be allowed to push the signature beside the image"),
        f"`{build.path}` signs what line {build.line} pushes, by digest and without a key of its own "
        "(`cosign verify --certificate-identity-regexp … --certificate-oidc-issuer "
        "https://token.actions.githubusercontent.com` checks it).",
    )


def add_id(spot: Spot, identity: str) -> Edit:
    """The edit that gives the step of ``spot`` an id."""
    if spot.step.flow or spot.step.entries()["uses"].key is None:
        raise CannotEditError("the step is written in braces on one line")
    return yamledit.add_keys(spot.step, [("id", identity)], "name" if spot.step.get("name") is not None else "uses")


def _permission(spot: Spot) -> tuple[list[Edit], list[str]]:
    """``id-token: write`` for the job."""
    assert spot.job is not None
    own = spot.job.get("permissions")
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
    above = spot.doc.root.get("permissions")
    if above is not None and above.is_map:
        if text_of(above, "id-token") == "write":
            return [], []
        entries = [f"{key}: {node.text}" for key, node in above.entries().items()]
        reasons: list[str] = []
    elif above is not None and above.text == "write-all":
        return [], []
    elif above is not None and above.text is not None:
        entries = ["contents: read", "packages: write"]
        reasons = [f"the job gets permissions of its own in place of `{above.text}`"]
    else:
        entries = ["contents: read", "packages: write"]
        reasons = ["the job gets permissions of its own: add whatever else its steps need"]
    lines = ["", *(f"  {entry}" for entry in entries), "  id-token: write"]
    after = "runs-on" if spot.job.get("runs-on") is not None else None
    return [yamledit.add_keys(spot.job, [("permissions", lines)], after)], reasons
