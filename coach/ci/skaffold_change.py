"""What to write into ``skaffold.yaml``: BuildKit, secrets instead of build arguments.

Source (read 2026-11): github.com/GoogleContainerTools/skaffold, pkg/skaffold/schema/latest/config.go (``secrets`` since
v2beta26) and pkg/skaffold/build/docker/docker.go (secrets need ``useBuildkit: true``; ``cliFlags`` reach docker's CLI).
"""

from __future__ import annotations

import re

from coach.ci import command_edit, guidance, skaffold, yamldoc, yamledit
from coach.ci.nouns import AddCache, BuildkitOn, SecretArgs, Want
from coach.ci.skaffold import Artifact
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Tree

_BY_HAND = """A cache that is exported belongs to a profile for CI, whose machine has a `docker-container` builder
(`BUILDX_BUILDER` names it):

```yaml
build:
  local: {useBuildkit: true, push: true}
  artifacts:
    - image: <image>
      docker:
        cliFlags:
          - --cache-from=type=registry,ref=<image>:buildcache
          - --cache-to=type=registry,ref=<image>:buildcache,mode=max
```"""


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for an artifact."""
    snippet = _BY_HAND if isinstance(want, AddCache) else ""
    return guidance.edited(build, want, lambda: _change(tree, build, want), snippet)


def _change(tree: Tree, build: BuildSite, want: Want) -> Remedy | None:
    doc = yamldoc.Doc(tree.read(build.path), build.path)
    artifact = next((one for one in skaffold.artifacts(doc) if one.node.line == build.line), None)
    if artifact is None:
        raise CannotEditError("the artifact was not found in the file")
    if isinstance(want, BuildkitOn):
        return _buildkit(build, artifact)
    if isinstance(want, SecretArgs):
        return _secrets(build, want, doc, artifact)
    return None


def _buildkit(build: BuildSite, artifact: Artifact) -> Remedy | None:
    switch = artifact.home.get("local", "useBuildkit")
    if switch is None or switch.text != "false" or artifact.kaniko is not None:
        return None
    return Remedy(
        Safety.REVIEW,
        (yamledit.replace_span(switch.doc, switch.span, "true"),),
        ("somebody switched BuildKit off here: check that the reason is gone",),
        f"`{build.path}` line {switch.line} builds with BuildKit.",
    )


def _secrets(build: BuildSite, want: SecretArgs, doc: Doc, artifact: Artifact) -> Remedy:
    how = artifact.docker
    args = how.get("buildArgs") if how is not None else None
    if how is None or args is None or not args.is_map or args.flow or how.flow:
        raise CannotEditError("the arguments are not written one on each line of `buildArgs`")
    yamledit.own(args, artifact.node.line, artifact.node.end_line)
    version = doc.root.get("apiVersion")
    if version is None or re.search(r"/v(?:1|2alpha|2beta(?:1?\d|2[0-5])$)", version.text or ""):
        raise CannotEditError("the file's `apiVersion` is older than v2beta26, which knows no list of secrets")
    if how.get("secrets") is not None or how.get("secret") is not None:
        raise CannotEditError("the artifact has secrets already, which the new ones have to fit")
    switch = artifact.home.get("local", "useBuildkit")
    local = artifact.home.get("local")
    if switch is not None and switch.text != "true":
        raise CannotEditError("secrets need BuildKit, which is switched off there")
    moved: dict[str, Node] = {}
    sources: dict[str, str] = {}
    for name, item in args.entries().items():
        if name not in want.names:
            continue
        filled = re.fullmatch(r"\{\{-?\s*\.(?:Env\.)?(\w+)\s*-?\}\}", (item.text or "").strip())
        if not item.is_null and filled is None:
            raise CannotEditError(f"the value of {name} is written in the file")
        moved[name], sources[name] = item, filled[1] if filled is not None else name
    if set(moved) != set(want.names):
        raise CannotEditError("the arguments are not written at the artifact itself")
    indent = " " * args.key_column
    lines = [f"{indent}secrets:"]
    for name, source in sources.items():
        lines += [f"{indent}  - id: {want.names[name]}", f"{indent}    env: {source}"]
    edits: list[Edit] = []
    if len(moved) == len(args.entries()):
        span = doc.line_span(args.key_line, args.end_line)
        ended = doc.content[span.start : span.end].endswith(b"\n")
        block = doc.eol.join(line.encode() for line in lines) + (doc.eol if ended else b"")
        edits.append(Edit(doc.path, span, block))
    else:
        edits.append(yamledit.insert_before(doc, args.key_line, lines))
        edits += [yamledit.delete_lines(doc, item.key_line, item.end_line) for item in moved.values()]
    reasons: tuple[str, ...] = ()
    if switch is None and artifact.home.get("cluster") is None and artifact.home.get("googleCloudBuild") is None:
        if local is None:
            edits.append(_above_artifacts(artifact))
        elif local.is_map:
            edits.append(yamledit.add_keys(local, [("useBuildkit", "true")]))
        else:
            raise CannotEditError("secrets need `useBuildkit: true` under `local`")
        reasons = ("skaffold builds with BuildKit from now on, which secrets need",)
    return command_edit.handed_over(build, want, edits, *reasons)


def _above_artifacts(artifact: Artifact) -> Edit:
    listed = artifact.home.get("artifacts")
    if listed is None or artifact.home.flow:
        raise CannotEditError("secrets need `useBuildkit: true` under `local`")
    indent = yamledit.key_indent(artifact.home)
    lines = [f"{indent}local:", f"{indent}  useBuildkit: true"]
    return yamledit.insert_before(listed.doc, listed.key_line, lines)
