"""GitHub's ``${{ … }}`` expressions, evaluated as far as the repository decides them.

Language: docs.github.com/actions/reference/workflows-and-actions/expressions (read 2026-11). What only a run can
tell becomes a ``Hole`` that says why; ``a && 'x' || 'y'`` with an open ``a`` keeps both answers as options.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from coach.ci.nouns import Value, differs_per_commit

MAX_LENGTH = 20_000
MAX_DEPTH = 60
MAX_OPTIONS = 8
MAX_EXPRESSIONS = 200

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.S)
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^']|'')*')
    | (?P<number>-?(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?))
    | (?P<name>[A-Za-z_][A-Za-z0-9_-]*)
    | (?P<op>&&|\|\||==|!=|<=|>=|[!<>().,\[\]*])
    )""",
    re.X,
)


@dataclass(frozen=True, slots=True)
class Hole:
    """A result that the repository does not tell. ``options`` are the results it can have, when known."""

    why: str
    secret: bool = False
    per_commit: bool = False
    options: tuple[object, ...] = ()


Lookup = Callable[[tuple[str, ...]], object]
"""Resolves ``("matrix", "os")`` to a value, a ``Hole``, or ``None`` for what does not exist (an empty string)."""


class _MalformedError(Exception):
    pass


def evaluate(source: str, lookup: Lookup) -> object:
    """Value of one expression (without its braces): str, float, bool, None, list, dict, or a ``Hole``."""
    if len(source) > MAX_LENGTH:
        return Hole("the expression is too long to be followed")
    try:
        return _Parser(source, lookup).whole()
    except _MalformedError:
        return Hole("the expression cannot be read")


def fill(text: str, lookup: Lookup) -> Value:
    """``text`` with every ``${{ … }}`` replaced by its value where that is static."""
    if "${{" not in text:
        return Value(text, text)
    if text.count("${{") > MAX_EXPRESSIONS:
        return Value(None, text, "it holds too many expressions to be followed")
    exact: list[str] | None = []
    shown: list[str] = []
    options: list[list[str]] = [[]]
    why, secret, per_commit, at, conditions = "", False, False, 0, []
    for match in _EXPRESSION.finditer(text):
        lead = text[at : match.start()]
        at = match.end()
        result = evaluate(match[1].strip(), lookup)
        shown.append(lead)
        if isinstance(result, Hole):
            exact = None
            why = why or result.why
            secret |= result.secret
            per_commit |= result.per_commit
            shown.append(match[0])
            conditions.append(match[1].strip())
            found = [as_text(option) for option in result.options]
            options = (
                [[*known, lead, choice] for known in options for choice in found]
                if found and len(options) * len(found) <= MAX_OPTIONS
                else []
            )
            continue
        written = as_text(result)
        shown.append(written)
        if exact is not None:
            exact += [lead, written]
        options = [[*known, lead, written] for known in options]
    tail = text[at:]
    shown.append(tail)
    if exact is not None:
        done = "".join([*exact, tail])
        return Value(done, done)
    return Value(
        None,
        "".join(shown),
        why or "it is decided when the workflow runs",
        secret,
        per_commit,
        tuple(dict.fromkeys("".join([*known, tail]) for known in options)),
        " and ".join(conditions),
    )


def as_text(value: object) -> str:
    """How GitHub writes a value into a string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, str):
        return value
    return json.dumps(value, default=lambda _: None)


def truthy(value: object) -> bool:
    """GitHub's truth: ``false``, ``0``, ``""`` and null are not."""
    return value not in (False, 0, "", None)


class _Parser:
    def __init__(self, source: str, lookup: Lookup) -> None:
        self.lookup = lookup
        self.depth = 0
        self.tokens: list[tuple[str, str]] = []
        at = 0
        source = source.rstrip()
        while at < len(source):
            match = _TOKEN.match(source, at)
            if match is None or match.end() == at:
                raise _MalformedError
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind]))
            at = match.end()
        self.at = 0

    def whole(self) -> object:
        value = self.either()
        if self.at != len(self.tokens):
            raise _MalformedError
        return value

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) and self.tokens[self.at][0] == "op" else ""

    def take(self, text: str) -> bool:
        if self.peek() == text:
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise _MalformedError

    def either(self) -> object:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _MalformedError
        left = self.both()
        while self.take("||"):
            left = _or(left, self.both())
        self.depth -= 1
        return left

    def both(self) -> object:
        left = self.compare()
        while self.take("&&"):
            left = _and(left, self.compare())
        return left

    def compare(self) -> object:
        left = self.negate()
        while self.peek() in ("==", "!=", "<", ">", "<=", ">="):
            sign = self.peek()
            self.at += 1
            left = _compare(sign, left, self.negate())
        return left

    def negate(self) -> object:
        count = 0
        while self.take("!"):
            count += 1
        value = self.postfix()
        for _ in range(count):
            value = _not(value)
        return value

    def postfix(self) -> object:
        if self.at >= len(self.tokens):
            raise _MalformedError
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return float(int(text, 16)) if "0x" in text else float(text)
        if kind == "op":
            if text != "(":
                raise _MalformedError
            value = self.either()
            self.expect(")")
            return self.trail(value)
        if text in ("true", "false"):
            return text == "true"
        if text == "null":
            return None
        if self.take("("):
            arguments: list[object] = []
            while not self.take(")"):
                arguments.append(self.either())
                if self.peek() != ")":
                    self.expect(",")
            return self.trail(_call(text.lower(), arguments))
        return self.reference(text)

    def reference(self, name: str) -> object:
        path = [name.lower()]
        while True:
            if self.take("."):
                if self.take("*"):
                    path.append("*")
                    continue
                if self.at >= len(self.tokens) or self.tokens[self.at][0] != "name":
                    raise _MalformedError
                path.append(self.tokens[self.at][1])
                self.at += 1
            elif self.take("["):
                index = self.either()
                self.expect("]")
                if isinstance(index, Hole):
                    self.trail(None)
                    return Hole(index.why, index.secret, index.per_commit)
                path.append(as_text(index))
            else:
                break
        return self.lookup(tuple(path))

    def trail(self, value: object) -> object:
        """``.x`` and ``[x]`` behind a call or a parenthesis."""
        while True:
            if self.take("."):
                if self.at >= len(self.tokens):
                    raise _MalformedError
                step: object = self.tokens[self.at][1]
                self.at += 1
            elif self.take("["):
                step = self.either()
                self.expect("]")
            else:
                return value
            value = dig(value, (as_text(step),)) if not isinstance(step, Hole) else step


def dig(value: object, path: tuple[str, ...]) -> object:
    """What stands under ``path`` in plain values; null where nothing does."""
    for step in path:
        if isinstance(value, Hole):
            return value if not value.options else Hole(value.why, value.secret, value.per_commit)
        if isinstance(value, Mapping):
            value = value.get(
                step, next((item for key, item in value.items() if str(key).lower() == step.lower()), None)
            )
        elif isinstance(value, list) and step.lstrip("-").isdigit():
            number = int(step) if len(step) < 9 else -1
            value = value[number] if 0 <= number < len(value) else None
        else:
            return None
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _merge(why: Hole, options: list[object]) -> Hole:
    unique: list[object] = []
    for option in options:
        if not any(type(option) is type(seen) and option == seen for seen in unique):
            unique.append(option)
    return Hole(why.why, why.secret, why.per_commit, tuple(unique) if len(unique) <= MAX_OPTIONS else ())


def _spread(hole: Hole, act: Callable[[object], object], open_result: Hole) -> object:
    """``act`` on each option of ``hole``; ``open_result`` when they cannot be counted."""
    if not hole.options:
        return open_result
    options: list[object] = []
    for option in hole.options:
        result = act(option)
        if isinstance(result, Hole):
            if not result.options:
                return result
            options += result.options
        else:
            options.append(result)
    return _merge(hole, options)


def _and(left: object, right: object) -> object:
    if not isinstance(left, Hole):
        return right if truthy(left) else left
    options: list[object] = list(right.options) if isinstance(right, Hole) else [right]
    if isinstance(right, Hole) and not right.options:
        return Hole(right.why, right.secret, right.per_commit)
    falsy = [option for option in left.options if not truthy(option)] if left.options else [False]
    return _merge(left, [*options, *falsy])


def _or(left: object, right: object) -> object:
    if not isinstance(left, Hole):
        return left if truthy(left) else right
    if not left.options:
        return Hole(left.why, left.secret, left.per_commit)
    kept = [option for option in left.options if truthy(option)]
    if len(kept) == len(left.options):
        return left
    if isinstance(right, Hole):
        if not right.options:
            return Hole(right.why, left.secret or right.secret, left.per_commit or right.per_commit)
        return _merge(left, [*kept, *right.options])
    return _merge(left, [*kept, right])


def _not(value: object) -> object:
    if isinstance(value, Hole):
        return _spread(value, lambda option: not truthy(option), Hole(value.why, options=(True, False)))
    return not truthy(value)


def _number(value: object) -> float | None:
    if value is None or value == "":
        return 0.0
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(str(value).strip()) if isinstance(value, str) else None
    except ValueError:
        return None


def _compare(sign: str, left: object, right: object) -> object:
    for side in (left, right):
        if isinstance(side, Hole):
            other = right if side is left else left
            if isinstance(other, Hole):
                return Hole(side.why, options=(True, False))
            if side is left:
                return _spread(side, lambda it: _compare(sign, it, right), Hole(side.why, options=(True, False)))
            return _spread(side, lambda it: _compare(sign, left, it), Hole(side.why, options=(True, False)))
    if isinstance(left, str) and isinstance(right, str):
        a: str | float | None = left.lower()
        b: str | float | None = right.lower()
    else:
        a, b = _number(left), _number(right)
    if sign in ("==", "!="):
        return (a is not None and a == b) == (sign == "==")
    if a is None or b is None or isinstance(a, str) != isinstance(b, str):
        return False
    return {"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[sign]  # type: ignore[operator]


def _call(name: str, arguments: list[object]) -> object:
    if name in ("success", "always", "failure", "cancelled"):
        return Hole("it depends on the state of the job", options=(True, False))
    if name == "hashfiles":
        return Hole("it is a hash of files")
    hole = next((item for item in arguments if isinstance(item, Hole)), None)
    if hole is not None:
        secret = any(isinstance(item, Hole) and item.secret for item in arguments)
        per_commit = any(isinstance(item, Hole) and item.per_commit for item in arguments)
        options: tuple[object, ...] = (True, False) if name in ("contains", "startswith", "endswith") else ()
        if hole.options and sum(isinstance(item, Hole) for item in arguments) == 1:
            return _spread(
                hole,
                lambda option: _call(name, [option if item is hole else item for item in arguments]),
                Hole(hole.why),
            )
        return Hole(hole.why, secret, per_commit, options)
    texts = [as_text(item) for item in arguments]
    if name == "format" and arguments:
        return _format(texts[0], texts[1:])
    if name == "contains" and len(arguments) == 2:
        if isinstance(arguments[0], list):
            return any(as_text(item).lower() == texts[1].lower() for item in arguments[0])
        return texts[1].lower() in texts[0].lower()
    if name == "startswith" and len(arguments) == 2:
        return texts[0].lower().startswith(texts[1].lower())
    if name == "endswith" and len(arguments) == 2:
        return texts[0].lower().endswith(texts[1].lower())
    if name == "join" and arguments:
        items = arguments[0] if isinstance(arguments[0], list) else [arguments[0]]
        return (texts[1] if len(texts) > 1 else ",").join(as_text(item) for item in items)
    if name == "tojson" and arguments:
        return as_text(arguments[0]) if not isinstance(arguments[0], str) else json.dumps(arguments[0])
    if name == "fromjson" and arguments:
        try:
            loaded: object = json.loads(texts[0])
        except (ValueError, RecursionError):
            return Hole("the JSON in it cannot be read")
        return float(loaded) if isinstance(loaded, int) and not isinstance(loaded, bool) else loaded
    return Hole(f"the function {name[:40]} is not followed")


def _format(template: str, values: list[str]) -> object:
    def replace(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        number = int(match[1]) if len(match[1]) < 6 else len(values)
        return values[number] if number < len(values) else match[0]

    return re.sub(r"\{\{|\}\}|\{(\d+)\}", replace, template)


_GITHUB_PER_COMMIT = ("sha", "run_id", "run_number", "run_attempt", "workflow_sha")


def github_context(name: tuple[str, ...]) -> object:
    """``github.*`` for names that have no static value: what they are, and whether they differ on every commit."""
    last = name[-1].lower() if name else ""
    if name and name[0] in _GITHUB_PER_COMMIT:
        return Hole(f"github.{name[0]} differs on every commit", per_commit=True)
    if name and name[0] == "token":
        return Hole("github.token is a secret", secret=True)
    if last in ("sha", "timestamp", "updated_at", "pushed_at", "after", "before") and len(name) > 1:
        return Hole(f"github.{'.'.join(name)} differs on every commit", per_commit=True)
    return Hole(f"github.{'.'.join(name)} is known only when the workflow runs")


def written_output(text: str) -> object:
    """A value that a shell line writes to ``$GITHUB_OUTPUT`` or ``$GITHUB_ENV``, when it is static."""
    text = text.strip()
    if any(sign in text for sign in ("$", "`")):
        return Hole("it is computed by a shell command", per_commit=differs_per_commit(text))
    return text
