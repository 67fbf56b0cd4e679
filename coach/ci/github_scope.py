"""What GitHub's expressions can see at one point of a job, and the combinations of a matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from coach.ci import expressions
from coach.ci.commands import Filled, substitute
from coach.ci.expressions import Hole, dig
from coach.ci.nouns import WORKSPACE, Value
from coach.ci.yamldoc import Node

MAX_COMBINATIONS = 256
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.S)

Outputs = dict[str, dict[str, object]]


@dataclass(slots=True)
class Scope:
    """What expressions can see at one point of a job."""

    env: dict[str, Value] = field(default_factory=dict)
    matrix: object = None
    inputs: Mapping[str, object] = field(default_factory=dict)
    steps: Outputs = field(default_factory=dict)
    needs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    arm: bool = False
    action_path: str = ""
    secrets_inputs: bool = True

    def lookup(self, path: tuple[str, ...]) -> object:
        """Resolve a context name for ``expressions.evaluate``."""
        head, rest = path[0], path[1:]
        if head == "matrix":
            return dig(self.matrix, rest)
        if head == "env" and len(rest) == 1:
            known = self.env.get(rest[0])
            return hole_of(known) if known is not None else Hole(f"env.{rest[0]} is not set in the workflow")
        if head == "inputs" and rest:
            name = next((key for key in self.inputs if key.lower() == rest[0].lower()), None)
            return self.inputs[name] if name is not None else ""
        if head == "secrets":
            return Hole(f"secrets.{'.'.join(rest)[:60]} is a secret", secret=True)
        if head == "vars":
            return Hole(f"vars.{'.'.join(rest)[:60]} is a variable of the repository's settings")
        if head == "github":
            if rest[:2] == ("event", "inputs") and len(rest) == 3:
                return self.lookup(("inputs", rest[2]))
            if rest == ("workspace",):
                return WORKSPACE
            if rest == ("action_path",):
                return f"{WORKSPACE}/{self.action_path}"
            return expressions.github_context(rest)
        if head == "steps" and len(rest) >= 3 and rest[1] == "outputs":
            known_outputs = self.steps.get(rest[0], {})
            name = ".".join(rest[:3])
            return known_outputs.get(
                rest[2], Hole(f"steps.{name} is computed by a step", per_commit=_sounds_per_commit(rest[2]))
            )
        if head == "needs" and len(rest) >= 3 and rest[1] == "outputs":
            value = self.needs.get(rest[0], {}).get(
                rest[2],
                Hole(f"needs.{'.'.join(rest[:3])} is computed by another job", per_commit=_sounds_per_commit(rest[2])),
            )
            return dig(value, rest[3:])
        if head == "runner":
            if rest == ("os",):
                return "Linux"
            if rest == ("arch",):
                return "ARM64" if self.arm else "X64"
            return Hole(f"runner.{'.'.join(rest)} depends on the machine")
        return Hole(f"{'.'.join(path)[:80]} is known only when the workflow runs")

    def fill(self, text: str) -> Value:
        """``text`` with its expressions replaced where they are static."""
        return expressions.fill(text, self.lookup)

    def environment(self, node: Node | None, base: Mapping[str, Value]) -> dict[str, Value]:
        """``base`` with an ``env:`` mapping laid over it."""
        env = dict(base)
        for name, item in node.entries().items() if node is not None else ():
            env[name] = self.fill(item.text) if item.text is not None else Value("")
        return env

    def shell(self, text: str) -> Filled:
        """Shell text with its expressions replaced, places kept."""
        if "${{" not in text:
            return Filled(text)
        return substitute(text, _EXPRESSION, lambda match: expressions.fill(match[0], self.lookup))


_COMMIT_NAME = re.compile(
    r"(^|[_-])(git_?)?(sha|commit|revision|short_?sha|sha_?short|build_?(date|time|number|id)|timestamp|run_id)($|[_-])",
    re.I,
)


def _sounds_per_commit(name: str) -> bool:
    return _COMMIT_NAME.search(name) is not None


def hole_of(value: Value) -> object:
    """A ``Value`` as the evaluator knows it."""
    if value.text is not None:
        return value.text
    return Hole(value.why, value.secret, value.per_commit, tuple(value.options))


def plain(node: Node, scope: Scope) -> object:
    """A YAML value with its expressions evaluated: what ``matrix.*`` sees."""
    if node.is_map:
        return {key: plain(item, scope) for key, item in node.entries().items()}
    if node.is_list:
        return [plain(item, scope) for item in node.items()]
    text = node.text
    if text is None:
        return None
    match = _EXPRESSION.fullmatch(text.strip())
    if match:
        return expressions.evaluate(match[1].strip(), scope.lookup)
    if "${{" in text:
        return hole_of(scope.fill(text))
    if not node.style and node.tag.endswith(":bool"):
        return text.lower() == "true"
    return text


def combinations(matrix: Node | None, scope: Scope) -> list[object]:
    """Every combination of a matrix, ``include`` and ``exclude`` applied as GitHub does; ``[None]`` without one."""
    if matrix is None:
        return [None]
    value = plain(matrix, scope)
    if not isinstance(value, dict):
        if isinstance(value, Hole):
            return [Hole(f"the matrix is computed: {value.why}")]
        return [None]
    include = value.pop("include", [])
    exclude = value.pop("exclude", [])
    made: list[dict[str, object]] = [{}]
    for name, axis in value.items():
        options: list[object] = axis if isinstance(axis, list) else [axis]
        made = [{**known, name: option} for known in made for option in options][:MAX_COMBINATIONS]
    if isinstance(exclude, list):
        made = [
            item
            for item in made
            if not any(
                isinstance(out, dict) and all(item.get(key) == part for key, part in out.items()) for out in exclude
            )
        ]
    if not value:
        made = []
    originals = [dict(item) for item in made]
    added: list[dict[str, object]] = []
    if isinstance(include, Hole):
        added.append({})
        return [Hole(f"the matrix is computed: {include.why}")] if not made else [*made]
    for extra in include if isinstance(include, list) else []:
        if isinstance(extra, Hole):
            return [Hole(f"the matrix is computed: {extra.why}")]
        if not isinstance(extra, dict):
            continue
        fits = False
        for original, item in zip(originals, made, strict=True):
            if all(original.get(key, part) == part for key, part in extra.items() if key in original):
                item |= extra
                fits = True
        if not fits:
            added.append(extra)
    found: list[object] = [*made]
    found += added
    found = found[:MAX_COMBINATIONS]
    return found or [None]
