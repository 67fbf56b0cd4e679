"""What to write into ``.goreleaser.yaml``: secrets instead of build arguments.

Source (read 2026-11): github.com/goreleaser/goreleaser, www/content/customization/package/docker.md
(``build_flag_templates``) and dockers_v2.md (``build_args``, ``flags``).
"""

from __future__ import annotations

import re

from coach.ci import command_edit, guidance, yamldoc, yamledit
from coach.ci.nouns import AddCache, SecretArgs, Want
from coach.ci.yamldoc import Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Tree

_BY_HAND = """GoReleaser hands its flags to docker; the machine needs a `docker-container` builder to export a cache
(`docker buildx create --use`, with `dockers` also `use: buildx`):

```yaml
    build_flag_templates:   # `flags` in dockers_v2
      - --cache-from=type=registry,ref=<image>:buildcache
      - --cache-to=type=registry,ref=<image>:buildcache,mode=max
```"""
_VARIABLE = re.compile(r"\{\{-?\s*\.Env\.(\w+)\s*-?\}\}")


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for an image."""
    snippet = _BY_HAND if isinstance(want, AddCache) else ""
    return guidance.edited(
        build, want, lambda: _secrets(tree, build, want) if isinstance(want, SecretArgs) else None, snippet
    )


def _secrets(tree: Tree, build: BuildSite, want: SecretArgs) -> Remedy:
    doc = yamldoc.read(tree.read(build.path), build.path)
    images = [item for key in ("dockers", "dockers_v2") if (node := doc.root.get(key)) for item in node.items()]
    image = next((item for item in images if item.line == build.line), None)
    if image is None:
        raise CannotEditError("the image was not found in the file")
    edits: list[Edit] = []
    found: set[str] = set()
    for key in ("build_flag_templates", "flags"):
        given = image.get(key)
        for item in given.items() if given is not None else ():
            match = re.fullmatch(r"--build-arg=(\w+)=(.*)", item.text or "")
            if match is not None and match[1] in want.names:
                found.add(match[1])
                edits.append(_flag(item, f"--secret=id={want.names[match[1]]},env={_source(match[1], match[2])}"))
    if found != set(want.names):
        raise CannotEditError("the arguments are not written as flags of the image, one in each item")
    return command_edit.handed_over(build, want, edits)


def _source(name: str, value: str) -> str:
    variable = _VARIABLE.fullmatch(value.strip("\"'"))
    if variable is None:
        raise CannotEditError(f"the value of {name} is put together in the file")
    return variable[1]


def _flag(item: Node, text: str) -> Edit:
    if item.style in ("|", ">"):
        raise CannotEditError("the flag is a block of several lines")
    written = f"{item.style}{text}{item.style}" if item.style else text
    return yamledit.replace_span(item.doc, item.span, written)
