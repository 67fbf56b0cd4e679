"""The step of a GitHub workflow that builds, its neighbours, and new steps beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from coach.ci import yamldoc, yamledit
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Span, Tree, is_file

WORKFLOWS = ".github/workflows/"
# `{{.Manifest.Digest}}` alone prints a whole listing with older versions of buildx
DIGEST_OF_TAG = """docker buildx imagetools inspect --format '{{json .Manifest.Digest}}' "$tag" | tr -d '"'"""


@dataclass(frozen=True, slots=True)
class Spot:
    """The step that builds: its place among the steps, and the job it belongs to (``None`` in a composite action)."""

    doc: Doc
    step: Node
    steps: tuple[Node, ...]
    index: int
    job: Node | None

    @property
    def action(self) -> str:
        return uses(self.step)

    @property
    def inputs(self) -> Node | None:
        return self.step.get("with")


def find(tree: Tree, build: BuildSite) -> Spot:
    """The step at ``build.line``. Raises ``CannotEditError`` when it is not in a YAML file or cannot be found."""
    if not build.path.endswith((".yml", ".yaml")):
        raise CannotEditError(f"the command stands in {build.path}, which builds elsewhere too")
    doc = yamldoc.read(tree.read(build.path), build.path)
    jobs = doc.root.get("jobs")
    homes: list[tuple[Node | None, Node]] = []
    for job in jobs.entries().values() if jobs is not None else ():
        steps = job.get("steps")
        if steps is not None:
            homes.append((job, steps))
    composite = doc.root.get("runs", "steps")
    if composite is not None:
        homes.append((None, composite))
    for home, listed in homes:
        items = tuple(listed.items())
        for index, step in enumerate(items):
            if step.is_map and step.line <= build.line <= step.end_line:
                return Spot(doc, step, items, index, home)
    raise CannotEditError("the step that builds was not found in the file")


def events(doc: Doc) -> set[str]:
    """What starts a workflow."""
    on = doc.root.get("on") or doc.root.get("true")
    return set() if on is None else set(on.entries()) if on.is_map else {text for text, _ in on.texts()}


def mapping(node: Node | None) -> Node:
    """``node``, which has to be a mapping. Raises ``CannotEditError``."""
    if node is None or not node.is_map:
        raise CannotEditError("its inputs are not a mapping")
    return node


def builds(step: Node) -> bool:
    """Whether a step builds an image."""
    run = step.get("run")
    return uses(step).endswith(("/build-push-action", "/bake-action")) or (
        run is not None
        and run.text is not None
        and re.search(r"docker[ -](buildx |compose |image )*(build|bake|up)\b", run.text) is not None
    )


def text_of(parent: Node, key: str) -> str:
    """The text under a key, "" where there is none."""
    node = parent.get(key)
    return (node.text or "") if node is not None else ""


def uses(step: Node) -> str:
    """The action a step uses, in lower case, without its version."""
    node = step.get("uses") if step.is_map else None
    return (node.text or "").partition("@")[0].lower() if node is not None else ""


def reference(tree: Tree, action: str, fallback: str) -> str:
    """``action@version`` as other workflows of the repository pin it, comment included, else with ``fallback``."""
    pattern = re.compile(rf"uses:\s*['\"]?({re.escape(action)}@[^\s'\"#]+)['\"]?([ \t]+#[^\n\r]*)?")
    for path in tree.entries():
        if path.startswith(WORKFLOWS) and path.endswith((".yml", ".yaml")) and is_file(tree, path):
            match = pattern.search(tree.read(path).decode("utf-8", "replace"))
            if match is not None:
                return match[1] + (match[2] or "").rstrip()
    return f"{action}@{fallback}"


def insert_steps(spot: Spot, steps: Sequence[Sequence[str]], after: bool = False) -> Edit:
    """New steps in front of the one that builds (or behind it), spaced as its neighbours are."""
    if not after:
        # in front of the first build of the job, so that all of them find it
        spot = replace(spot, step=next((step for step in spot.steps if step.is_map and builds(step)), spot.step))
    indent = yamledit.item_indent(spot.step)
    first = yamledit.item_first_line(spot.step)
    spaced = first > 1 and not spot.doc.line_text(first - 1).strip()
    lines: list[str] = []
    if after:
        for step in steps:
            lines += ([""] if spaced else []) + [indent + line for line in step]
        return yamledit.insert_after(spot.doc, spot.step.end_line, lines)
    # a comment right above belongs to the step
    while first > 1 and spot.doc.line_text(first - 1).startswith(f"{indent}#"):
        first -= 1
    spaced = first > 1 and not spot.doc.line_text(first - 1).strip()
    for step in steps:
        lines += [indent + line for line in step] + ([""] if spaced else [])
    return yamledit.insert_before(spot.doc, first, lines)


def bare(condition: str) -> str:
    """A condition without the braces that may stand around the whole of it, on one line."""
    match = re.fullmatch(r"\$\{\{\s*(.*?)\s*\}\}", condition.strip(), re.S)
    return " ".join((condition if match is None or "}}" in match[1] else match[1]).split())


def every(conditions: Sequence[str]) -> str:
    """All of some bare conditions as the value of an ``if:``, "" for none."""
    text = " && ".join(f"({item})" if "||" in item and len(conditions) > 1 else item for item in conditions)
    return f"${{{{ {text} }}}}" if re.match(r"[!*&'\"{\[]", text) else text


def when_pushed(spot: Spot, inputs: Node) -> str:
    """When a step that follows a push has to run, as the value of its ``if:``; "" for always."""
    push = text_of(inputs, "push").strip()
    conditions = [bare(text_of(spot.step, "if")), bare(push) if push.startswith("${{") else ""]
    return every([item for item in conditions if item])


def variable(name: str, text: str) -> list[str]:
    """A variable as lines of an ``env:``. Raises ``CannotEditError`` for a text that needs other quotes."""
    if "\n" in text:
        return [f"{name}: |", *(f"  {line}" for line in text.split("\n"))]
    if re.match(r"[\[\]{}&*!|>'\"%@`#?,-]", text) or re.search(r":\s| #", text):
        if '"' in text or "\\" in text:
            raise CannotEditError("its tags are quoted in a way that is not written again")
        return [f'{name}: "{text}"']
    return [f"{name}: {text}"]


def replace_input(spot: Spot, node: Node, text: str) -> Edit:
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


def delete_input(spot: Spot, node: Node) -> Edit:
    """Take an input of the step out, with its lines."""
    line = spot.doc.line_text(node.key_line)
    if mapping(spot.inputs).flow or line[: node.key_column].strip():
        raise CannotEditError("its inputs are written in braces on one line")
    return yamledit.delete_lines(spot.doc, node.key_line, max(node.end_line, node.key_line))


def job_name(job: Node) -> str:
    """The key a job stands under."""
    return str(job.key.value) if job.key is not None else ""
