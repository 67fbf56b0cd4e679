"""Edits of bake files: secrets instead of build arguments. A cache belongs to the command that CI runs.

Source (read 2026-11): docs.docker.com/build/bake/reference (``target.secret``, ``target.args``).
"""

from __future__ import annotations

import re

from coach.ci import bake, guidance
from coach.ci.hcl import Attribute, parse
from coach.ci.nouns import SecretArgs, Want
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a bake file describes."""
    snippet = "" if isinstance(want, SecretArgs) else _on_the_command(tree, build)
    return guidance.edited(
        build, want, lambda: secret_args(tree, build, want) if isinstance(want, SecretArgs) else None, snippet
    )


def _on_the_command(tree: Tree, build: BuildSite) -> str:
    target = bake.target_of(tree, build)
    name = target.name if target is not None else "*"
    ref = "type=registry,ref=<image>:buildcache"
    return (
        "A bake file is read on every machine, so the cache is best named where CI calls bake:\n\n```sh\n"
        f"docker buildx bake --set '{name}.cache-from={ref}' --set '{name}.cache-to={ref},mode=max'\n```"
    )


def secret_args(tree: Tree, build: BuildSite, want: SecretArgs) -> Remedy:
    """Arguments of a target become secrets that are read from the environment. Raises ``CannotEditError``."""
    path, line = (build.defined_in, build.defined_line) if build.defined_in else (build.path, build.line)
    if not path.endswith(".hcl"):
        raise CannotEditError(f"the arguments are written in {path}, which is not edited for this")
    content = tree.read(path)
    block = next(
        (block for block in parse(content, path).blocks if block.line == line and block.type == "target"), None
    )
    args = block.attributes.get("args") if block is not None else None
    if block is None or args is None:
        raise CannotEditError("the arguments are not written at the target itself")
    text = content.decode()
    edits, kept = _taken(path, text, args, want)
    ids = [f'"id={ident},env={name}"' for name, ident in want.names.items()]
    given = block.attributes.get("secret")
    indent = _indent(text, args.start)
    if given is not None:
        edits.append(_appended(path, text, given, ids))
        if not kept:
            edits = [_line_of(path, text, args), edits[-1]]
    else:
        eol = "\r\n" if "\r\n" in text else "\n"
        added = f"secret = [{', '.join(ids)}]"
        if kept:
            at = len(text[: args.start].encode())
            edits.append(Edit(path, Span(at, at), f"{added}{eol}{indent}".encode()))
        else:
            span = Span(len(text[: args.start].encode()), len(text[: args.value_end].encode()))
            edits = [Edit(path, span, added.encode())]
    names = ", ".join(want.names)
    return Remedy(
        Safety.REVIEW,
        tuple(edits),
        (f"the Dockerfile has to read {names} from a secret mount",),
        f"`{path}` hands over {names} as a secret, which no layer and no history keeps.",
    )


def _taken(path: str, text: str, args: Attribute, want: SecretArgs) -> tuple[list[Edit], int]:
    """Deletions of the wanted entries of ``args``, and how many others stay."""
    edits: list[Edit] = []
    kept, at = 0, args.value_start
    found: set[str] = set()
    for raw in text[args.value_start : args.value_end].splitlines(keepends=True):
        entry = re.fullmatch(r"[ \t]*\"?(?P<name>\w+)\"?[ \t]*[=:][ \t]*(?P<value>.*?)[ \t]*,?[ \t]*\r?\n", raw)
        if entry is not None and entry["name"] in want.names:
            name = entry["name"]
            if entry["value"] not in (name, f'"${{{name}}}"', '""', "null"):
                raise CannotEditError(f"the value of {name} is put together in the file")
            found.add(name)
            start = len(text[:at].encode())
            edits.append(Edit(path, Span(start, start + len(raw.encode())), b""))
        elif entry is not None or not re.match(r"\s*(?:[{}]?\s*$|#|//)", raw):
            kept += 1
        at += len(raw)
    if found != set(want.names):
        raise CannotEditError("the arguments are not written one on each line of `args`")
    return edits, kept


def _appended(path: str, text: str, given: Attribute, ids: list[str]) -> Edit:
    value = text[given.value_start : given.value_end]
    if not re.fullmatch(r"\[[^\[\]\n]*[^\[\]\s,]\s*\]", value):
        raise CannotEditError("the target has secrets already, which the new ones have to fit")
    at = len(text[: given.value_start + len(value[:-1].rstrip())].encode())
    return Edit(path, Span(at, at), f", {', '.join(ids)}".encode())


def _line_of(path: str, text: str, attribute: Attribute) -> Edit:
    """The attribute with the lines it stands on."""
    start = text.rfind("\n", 0, attribute.start) + 1
    end = text.find("\n", attribute.value_end) + 1 or len(text)
    return Edit(path, Span(len(text[:start].encode()), len(text[:end].encode())), b"")


def _indent(text: str, at: int) -> str:
    return re.sub(r"\S.*", "", text[text.rfind("\n", 0, at) + 1 : at])
