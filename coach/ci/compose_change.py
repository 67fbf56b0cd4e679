"""Edits of compose files: a cache for a service's build, secrets instead of build arguments."""

from __future__ import annotations

import re

from coach.ci import yamldoc, yamledit
from coach.ci.nouns import AddCache, SecretArgs, Want
from coach.ci.yamldoc import Doc, Node
from coach.ci.yamledit import CannotEditError
from coach.errors import InputError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree


def change(tree: Tree, build: BuildSite, want: Want) -> Remedy:
    """Edits for a build that a compose file holds."""
    try:
        if isinstance(want, SecretArgs):
            return secret_args(tree, build, want)
    except (CannotEditError, InputError) as error:
        reason = error.says if isinstance(error, InputError) else str(error)
        return Remedy(Safety.SHOW, reasons=(reason,), guidance=_by_hand(build, want))
    return Remedy(
        Safety.SHOW, reasons=("a compose file does not say where it is built",), guidance=_by_hand(build, want)
    )


def find(tree: Tree, path: str, line: int) -> tuple[Doc, Node, Node]:
    """The file, the service and the ``build`` that stands at ``line``."""
    doc = yamldoc.read(tree.read(path), path)
    services = doc.root.get("services") or doc.root
    for service in services.entries().values():
        build = service.get("build")
        if build is not None and build.key_line == line:
            return doc, service, build
    raise CannotEditError("the service was not found in the file")


def add_cache(tree: Tree, path: str, line: int, source: str) -> Edit:
    """``cache_from``/``cache_to`` for the build at ``line`` of a compose file."""
    doc, service, build = find(tree, path, line)
    target = source.replace("type=gha", "type=gha,mode=max", 1) if "mode=" not in source else source
    return _add(doc, service, build, {"cache_from": [source], "cache_to": [target]})


def _add(doc: Doc, service: Node, build: Node, lists: dict[str, list[str]]) -> Edit:
    step = _step(service)
    if build.text is not None:
        # the short form becomes the long one
        indent = " " * build.key_column
        lines = [f"{indent}build:", f"{indent}{step}context: {build.text}"]
        for key, values in lists.items():
            lines += [f"{indent}{step}{key}:", *(f"{indent}{step}{step}- {value}" for value in values)]
        if build.style or build.key is None or build.key_line != build.line:
            raise CannotEditError("the service's build is quoted or spread over lines")
        span = doc.line_span(build.key_line, build.end_line)
        if "#" in doc.line_text(build.key_line):
            raise CannotEditError("a comment stands behind the service's build")
        ended = doc.content[span.start : span.end].endswith(b"\n")
        block = doc.eol.join(text.encode() for text in lines) + (doc.eol if ended else b"")
        return Edit(doc.path, span, block)
    yamledit.own(build, service.line, service.end_line)
    if any(build.get(key) is not None for key in lists):
        raise CannotEditError("the service's build has such a list already")
    return yamledit.add_keys(
        build, [(key, ["", *(f"{step}- {value}" for value in values)]) for key, values in lists.items()]
    )


def _step(service: Node) -> str:
    """One step of indentation, as the file has it."""
    if service.key is None:
        return "  "
    inner = next(iter(service.entries().values()), None)
    width = inner.key_column - service.key_column if inner is not None else 2
    return " " * (width if 1 < width < 9 else 2)


def secret_args(tree: Tree, build: BuildSite, want: SecretArgs) -> Remedy:
    """Arguments of a service become secrets that are read from the environment."""
    path, line = (build.defined_in, build.defined_line) if build.defined_in else (build.path, build.line)
    if not path.endswith((".yml", ".yaml")):
        from coach.ci import bake_change

        return bake_change.secret_args(tree, build, want)
    doc, service, node = find(tree, path, line)
    args = node.get("args") if node.is_map else None
    if args is None or args.key is None:
        raise CannotEditError("the arguments are not written at the service itself")
    yamledit.own(args, service.line, service.end_line)
    edits: list[Edit] = []
    sources: dict[str, str] = {}
    kept = 0
    for item in args.entries().values() if args.is_map else args.items():
        name, value = _named(item, args.is_map)
        if name not in want.names:
            kept += 1
            continue
        if value and re.fullmatch(rf"\$(?:{name}|\{{{name}(?::?-|:?\?[^{{}}]*)?\}})", value) is None:
            raise CannotEditError(f"the value of {name} is written in the file")
        sources[name] = want.names[name]
        edits.append(yamledit.delete_lines(doc, item.key_line if args.is_map else item.line, item.end_line))
    if not sources:
        raise CannotEditError("the arguments are not written at the service itself")
    if kept == 0:
        edits = [yamledit.delete_lines(doc, args.key_line, args.end_line)]
        if len(node.entries()) == 1:
            raise CannotEditError("the service's build says nothing else")
    step = _step(service)
    listed = node.get("secrets")
    indent = " " * args.key_column
    if listed is None:
        lines = [f"{indent}secrets:", *(f"{indent}{step}- {ident}" for ident in sources.values())]
        edits.append(yamledit.insert_before(doc, args.key_line, lines))
    else:
        yamledit.own(listed, service.line, service.end_line)
        edits.append(_append(listed, list(sources.values())))
    edits.append(_declare(doc, sources, step))
    names = ", ".join(sources)
    return Remedy(
        Safety.REVIEW,
        tuple(edits),
        (f"the Dockerfile has to read {names} from a secret mount",),
        f"`{path}` hands over {names} as a secret, which no layer and no history keeps.",
    )


def _append(listed: Node, values: list[str]) -> Edit:
    """More items of a list."""
    items = list(listed.items())
    if not listed.is_list or not items:
        raise CannotEditError("the service's secrets are no list")
    last = items[-1]
    if listed.flow:
        return Edit(listed.doc.path, Span(last.span.end, last.span.end), "".join(f", {v}" for v in values).encode())
    return yamledit.insert_after(listed.doc, last.end_line, [f"{yamledit.item_indent(last)}- {v}" for v in values])


def _declare(doc: Doc, sources: dict[str, str], step: str) -> Edit:
    """Secrets of the file that are read from variables of the same name."""
    known = doc.root.get("secrets")
    if known is not None:
        if any(known.get(ident) is not None for ident in sources.values()):
            raise CannotEditError("the file has a secret of that name already")
        return yamledit.add_keys(
            known, [(ident, ["", f"{step}environment: {name}"]) for name, ident in sources.items()]
        )
    top = ["", "secrets:"]
    for name, ident in sources.items():
        top += [f"{step}{ident}:", f"{step}{step}environment: {name}"]
    return yamledit.insert_after(doc, len(doc.content.rstrip(b"\n").split(b"\n")), top)


def _named(item: Node, mapping: bool) -> tuple[str, str]:
    if mapping:
        return str(item.key.value) if item.key is not None else "", item.text or ""
    name, _, value = (item.text or "").partition("=")
    return name, value


def _by_hand(build: BuildSite, want: Want) -> str:
    where = f"`{build.path}` line {build.line}"
    if isinstance(want, AddCache):
        cache = "`type=registry,ref=<image>:buildcache,mode=max`"
        return f"Add `cache_from` and `cache_to` ({cache}) to the build at {where}."
    if isinstance(want, SecretArgs):
        listed = "\n".join(
            f"- `{name}` → secret `{ident}` (`environment: {name}`)" for name, ident in want.names.items()
        )
        return f"Move these from `args` to `secrets` at {where}:\n{listed}"
    return f"Change the build at {where}, or the job that runs it."
