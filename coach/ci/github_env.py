"""Secrets that a step of a GitHub workflow reads from its environment: its ``env:``, and bake's ``set`` lines.

Source (read 2026-11): docker/buildx bake/bake.go (``secrets`` in an override takes the place of the target's own, and
several lines for one target add up), docs.docker.com/build/ci/github-actions/secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from coach.ci import build_sites, yamledit
from coach.ci.github_spot import Spot, mapping
from coach.ci.nouns import SecretArgs
from coach.ci.yamldoc import Node
from coach.ci.yamledit import CannotEditError
from coach.model import BuildSite, Edit, Span, Tree

_EXPRESSION = re.compile(r"\$\{\{(?:(?!\}\}).)*\}\}")


def expression(text: str) -> bool:
    """Whether a text is one expression and nothing else."""
    return _EXPRESSION.fullmatch(text) is not None


def put(spot: Spot, entries: Mapping[str, str]) -> list[Edit]:
    """Edits that give the step these variables. Raises ``CannotEditError`` where one is there with another value."""
    env = spot.step.get("env")
    if env is not None:
        given = mapping(env).entries()
        for name, value in entries.items():
            if name in given and given[name].text != value:
                raise CannotEditError(f"the step has a variable {name} of another value")
        missing = [(name, value) for name, value in entries.items() if name not in given]
        return [yamledit.add_keys(env, missing)] if missing else []
    first = next(node for node in spot.step.entries().values() if node.key_line == spot.step.line)
    if first.key is None or first.key.value != "run":
        lines = ["", *(f"  {name}: {value}" for name, value in entries.items())]
        return [yamledit.add_keys(spot.step, [("env", lines)], str(first.key.value) if first.key else None)]
    if spot.step.flow or first.key.start_mark is None:
        raise CannotEditError("the step is written in braces on one line")
    indent = " " * first.key_column
    head = ["env:", *(f"{indent}  {name}: {value}" for name, value in entries.items()), indent]
    at = spot.doc.byte(first.key.start_mark.index)
    return [Edit(spot.doc.path, Span(at, at), spot.doc.eol.join(line.encode() for line in head))]


def secret_sets(tree: Tree, build: BuildSite, spot: Spot, want: SecretArgs) -> list[Edit]:
    """``<target>.args.NAME=…`` lines of a bake step become secrets that are read from the step's environment.

    Empty when no such line names one of the arguments. Raises ``CannotEditError``.
    """
    given = spot.inputs.get("set") if spot.inputs is not None else None
    edits: list[Edit] = []
    needed: dict[str, str] = {}
    for line, text in _lines(given):
        match = re.fullmatch(r"(?P<target>[^.=]+)\.args\.(?P<name>\w+)=(?P<value>.*)", text.strip(), re.S)
        if match is None or match["name"] not in want.names:
            continue
        name, value = match["name"], match["value"]
        if not expression(value):
            raise CannotEditError(f"the value of {name} is put together in a `set` line")
        raw = spot.doc.content[(span := spot.doc.line_span(line, line)).start : span.end]
        at = raw.find(text.strip().encode())
        if at < 0:
            raise CannotEditError("its `set` lines are written in a way that is not edited")
        start = span.start + at
        secret = f"{match['target']}.secrets=id={want.names[name]},env={name}"
        edits.append(Edit(spot.doc.path, Span(start, start + len(text.strip().encode())), secret.encode()))
        needed[name] = value
    if not edits:
        return []
    if set(needed) != set(want.names):
        raise CannotEditError("some of the arguments are written in the bake file")
    others = (site for site in build_sites(tree).builds if (site.path, site.line) == (build.path, build.line))
    if any(site.secrets for site in others) or any(".secrets" in text for _, text in _lines(given)):
        raise CannotEditError("its targets have secrets already, which a `set` line would replace")
    return [*edits, *put(spot, needed)]


def _lines(given: Node | None) -> list[tuple[int, str]]:
    if given is None:
        return []
    return yamledit.block_lines(given) if given.style in ("|", ">") else [(given.line, given.text or "")]
