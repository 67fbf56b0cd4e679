"""HCL as bake files use it: attributes and blocks with their bytes, expressions evaluated as far as they are static.

Language: github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md; functions: docs.docker.com/build/bake/funcs
(read 2026-11). What cannot be told becomes an ``expressions.Hole``.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coach.ci.expressions import Hole, as_text
from coach.errors import InputError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 60
MAX_TEXT = 100_000

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|/\*.*?\*/|(?:\#|//)[^\n]*)
      | (?P<newline>\n)
      | (?P<heredoc><<-?(?P<mark>[A-Za-z_]\w*)\r?\n)
      | (?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | (?P<op>=>|==|!=|<=|>=|&&|\|\||\.\.\.|[-+*/%!<>?:=(){}\[\],.])
      | (?P<quote>")
    """,
    re.X | re.S,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    start: int
    end: int
    parts: tuple[Any, ...] = ()


Expr = tuple[Any, ...]


@dataclass(slots=True)
class Attribute:
    """``name = value``; ``start``/``end`` are characters of the file, ``value_start``/``value_end`` of the value."""

    name: str
    expr: Expr
    start: int
    end: int
    value_start: int
    value_end: int
    line: int


@dataclass(slots=True)
class Block:
    """``type "label" { … }``; ``open`` is the character behind ``{``, ``close`` that of ``}``."""

    type: str
    labels: tuple[str, ...]
    attributes: dict[str, Attribute] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    start: int = 0
    open: int = 0
    close: int = 0
    line: int = 1
    end_line: int = 1


@functools.lru_cache(maxsize=64)
def parse(content: bytes, path: str) -> Block:
    """The file as one block. Raises ``InputError`` for what is no HCL and for what is too large or too deep."""
    if len(content) > MAX_BYTES:
        raise InputError("an HCL file of more than 1 MB is not read", path)
    try:
        text = content.decode("utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8")
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text", path) from None
    return _Parser(text, path).file()


class _Parser:
    def __init__(self, text: str, path: str, base: int = 0, depth: int = 0) -> None:
        self.text = text
        self.path = path
        self.depth = depth
        self.base = base
        self.tokens = list(self._scan())
        self.at = 0
        self.brackets = 0

    def fail(self, says: str, at: int) -> InputError:
        return InputError(f"not HCL: {says}", self.path, self.text.count("\n", 0, at) + 1)

    # -- tokens ----------------------------------------------------------------------------------------------------

    def _scan(self) -> list[Token]:
        text, at, found = self.text, 0, []
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self.fail("an unexpected character", at)
            if match["heredoc"]:
                token = self._heredoc(match)
            elif match["quote"]:
                token = self._string(at)
            else:
                kind = match.lastgroup or ""
                token = Token(kind, match[0], at, match.end())
            at = token.end
            if token.kind != "space":
                found.append(token)
        found.append(Token("end", "", len(text), len(text)))
        return found

    def _string(self, at: int) -> Token:
        parts, end = self._template(at + 1, '"')
        return Token("string", self.text[at:end], at, end, tuple(parts))

    def _template(self, at: int, stop: str) -> tuple[list[Any], int]:
        """Pieces of a template up to ``stop``: texts, and ``("expr", …)`` for what stands in ``${}``."""
        text = self.text
        parts: list[Any] = []
        piece: list[str] = []
        if self.depth > MAX_DEPTH:
            raise self.fail("nested too deeply", at)
        while at < len(text):
            char = text[at]
            if char == stop:
                if piece:
                    parts.append("".join(piece))
                return parts, at + 1
            if char == "\n" and stop == '"':
                break
            if char == "\\" and stop == '"' and at + 1 < len(text):
                piece.append({"n": "\n", "t": "\t", "r": "\r"}.get(text[at + 1], text[at + 1]))
                at += 2
            elif text.startswith(("$${", "%%{"), at):
                piece.append(text[at + 1 : at + 3])
                at += 3
            elif text.startswith(("${", "%{"), at):
                end = self._closing(at + 2)
                if piece:
                    parts.append("".join(piece))
                    piece = []
                if char == "%":
                    parts.append(("open", "a template directive is not followed"))
                else:
                    inner = text[at + 2 : end].strip().removeprefix("~").removesuffix("~")
                    sub = _Parser(inner, self.path, depth=self.depth + 1)
                    parts.append(sub.alone())
                at = end + 1
            else:
                piece.append(char)
                at += 1
        raise self.fail("a string is not closed", min(at, len(text) - 1))

    def _closing(self, at: int, depth: int = 0) -> int:
        level = 1
        text = self.text
        if depth > MAX_DEPTH:
            raise self.fail("nested too deeply", at)
        while at < len(text):
            char = text[at]
            if char == '"':
                at += 1
                while at < len(text) and text[at] != '"':
                    if text.startswith("${", at):
                        at = self._closing(at + 2, depth + 1)
                    at += 2 if at < len(text) and text[at] == "\\" else 1
            elif char == "{":
                level += 1
            elif char == "}":
                level -= 1
                if level == 0:
                    return at
            at += 1
        raise self.fail("an interpolation is not closed", len(text) - 1)

    def _heredoc(self, match: re.Match[str]) -> Token:
        close = re.compile(rf"^[ \t]*{match['mark']}[ \t]*\r?$", re.M).search(self.text, match.end())
        if close is None:
            raise self.fail("a heredoc is not closed", match.start())
        body = self.text[match.end() : close.start()]
        if match[0].startswith("<<-"):
            lines = body.split("\n")
            indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
            body = "\n".join(line[indent:] for line in lines)
        part: Any = body if "${" not in body and "%{" not in body else ("open", "a heredoc template is not followed")
        return Token("string", match[0], match.start(), close.end(), (part,))

    # -- structure -------------------------------------------------------------------------------------------------

    def peek(self) -> Token:
        if self.brackets:
            while self.tokens[self.at].kind == "newline":
                self.at += 1
        return self.tokens[self.at]

    def take(self, *texts: str) -> Token | None:
        token = self.peek()
        if token.kind == "op" and token.text in texts:
            self.at += 1
            return token
        return None

    def expect(self, text: str) -> Token:
        token = self.take(text)
        if token is None:
            raise self.fail(f"{text} was expected", self.peek().start)
        return token

    def alone(self) -> Expr:
        self.brackets = 1
        expr = self.expression()
        if self.peek().kind != "end":
            raise self.fail("something stands behind an expression", self.peek().start)
        return expr

    def file(self) -> Block:
        root = Block("", (), close=len(self.text))
        self.body(root, "end", 0)
        root.end_line = self.text.count("\n") + 1
        return root

    def body(self, block: Block, stop: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self.fail("nested too deeply", self.peek().start)
        line_at, line = 0, 1
        while True:
            token = self.peek()
            if token.kind == "newline":
                self.at += 1
                continue
            if token.kind == "end" or (token.kind == "op" and token.text == "}"):
                if (stop == "end") != (token.kind == "end"):
                    raise self.fail("braces do not match", token.start)
                block.close = token.start
                self.at += token.kind != "end"
                return
            if token.kind not in ("name", "string"):
                raise self.fail("a name was expected", token.start)
            line += self.text.count("\n", line_at, token.start)
            line_at = token.start
            self.at += 1
            name = token.text if token.kind == "name" else "".join(p for p in token.parts if isinstance(p, str))
            if self.take("="):
                value_start = self.peek().start
                expr = self.expression()
                end = self.tokens[self.at - 1].end
                block.attributes[name] = Attribute(name, expr, token.start, end, value_start, end, line)
                follow = self.peek()
                if follow.kind not in ("newline", "end") and not (follow.kind == "op" and follow.text in ("}", ",")):
                    raise self.fail("a line end was expected", follow.start)
                self.take(",")
                continue
            labels: list[str] = []
            while (label := self.peek()).kind in ("name", "string"):
                labels.append(
                    label.text if label.kind == "name" else "".join(p for p in label.parts if isinstance(p, str))
                )
                self.at += 1
            brace = self.expect("{")
            child = Block(name, tuple(labels), start=token.start, open=brace.end, line=line)
            self.body(child, "}", depth + 1)
            child.end_line = line + self.text.count("\n", token.start, child.close)
            block.blocks.append(child)

    # -- expressions -----------------------------------------------------------------------------------------------

    _LEVELS = (("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/", "%"))

    def expression(self) -> Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail("nested too deeply", self.peek().start)
        left = self.binary(0)
        if self.take("?"):
            yes = self.expression()
            self.skip_lines()
            self.expect(":")
            self.skip_lines()
            left = ("if", left, yes, self.expression())
        self.depth -= 1
        return left

    def skip_lines(self) -> None:
        while self.tokens[self.at].kind == "newline":
            self.at += 1

    def binary(self, level: int) -> Expr:
        if level == len(self._LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while (token := self.take(*self._LEVELS[level])) is not None:
            left = ("binary", token.text, left, self.binary(level + 1))
        return left

    def unary(self) -> Expr:
        signs = []
        while (token := self.take("!", "-")) is not None:
            signs.append(token.text)
        value = self.postfix(self.primary())
        for sign in reversed(signs):
            value = ("unary", sign, value)
        return value

    def postfix(self, value: Expr) -> Expr:
        while True:
            if self.take("."):
                token = self.peek()
                self.at += 1
                value = ("splat", value) if token.text == "*" else ("get", value, ("text", (token.text,)))
            elif self.take("["):
                self.brackets += 1
                value = ("splat", value) if self.take("*") else ("get", value, self.expression())
                self.close("]")
            else:
                return value

    def close(self, text: str) -> None:
        self.expect(text)
        self.brackets -= 1

    def primary(self) -> Expr:
        token = self.peek()
        self.at += 1
        if token.kind == "number":
            number = float(token.text)
            return ("value", int(number) if number.is_integer() and abs(number) < 2**53 else number)
        if token.kind == "string":
            return ("text", token.parts)
        if token.kind == "name":
            if token.text in ("true", "false", "null"):
                return ("value", {"true": True, "false": False, "null": None}[token.text])
            if self.take("("):
                self.brackets += 1
                arguments: list[Expr] = []
                while not self.peek_is(")"):
                    arguments.append(self.expression())
                    if self.take("..."):
                        arguments[-1] = ("expand", arguments[-1])
                    if not self.take(","):
                        break
                self.close(")")
                return ("call", token.text, tuple(arguments))
            return ("name", token.text)
        if token.kind == "op" and token.text == "(":
            self.brackets += 1
            value = self.expression()
            self.close(")")
            return value
        if token.kind == "op" and token.text in "[{":
            return self.collection(token.text)
        raise self.fail("a value was expected", token.start)

    def peek_is(self, text: str) -> bool:
        token = self.peek()
        return token.kind == "op" and token.text == text

    def collection(self, opened: str) -> Expr:
        self.brackets += 1
        closing = "]" if opened == "[" else "}"
        if self.peek().kind == "name" and self.peek().text == "for":
            return self.loop(closing)
        items: list[Any] = []
        while not self.peek_is(closing):
            if opened == "[":
                items.append(self.expression())
            else:
                key = self.peek()
                if (
                    key.kind == "name"
                    and self.tokens[self.at + 1].kind == "op"
                    and self.tokens[self.at + 1].text in "=:"
                ):
                    self.at += 1
                    name: Expr = ("text", (key.text,))
                else:
                    name = self.expression()
                if not self.take("=", ":"):
                    raise self.fail("= was expected", self.peek().start)
                items.append((name, self.expression()))
            # in an object a line end parts as a comma does
            if not self.take(",") and opened == "[":
                break
        self.close(closing)
        return ("list" if opened == "[" else "object", tuple(items))

    def loop(self, closing: str) -> Expr:
        self.at += 1
        names = [self.peek().text]
        self.at += 1
        if self.take(","):
            names.append(self.peek().text)
            self.at += 1
        if self.peek().text != "in":
            raise self.fail("in was expected", self.peek().start)
        self.at += 1
        source = self.expression()
        self.expect(":")
        key = self.expression()
        value: Expr | None = None
        if self.take("=>"):
            value = self.expression()
            self.take("...")
        test: Expr | None = None
        if self.peek().kind == "name" and self.peek().text == "if":
            self.at += 1
            test = self.expression()
        self.close(closing)
        return ("for", tuple(names), source, key, value, test)


# -- evaluation ----------------------------------------------------------------------------------------------------

Names = Callable[[str], object]


@dataclass(slots=True)
class Evaluator:
    """Evaluates expressions; ``names`` resolves a bare name, ``functions`` are those the file itself defines."""

    names: Names
    functions: Mapping[str, Block] = field(default_factory=dict)
    depth: int = 0
    steps: int = 0

    def value(self, expr: Expr, local: Mapping[str, object] | None = None) -> object:
        """Plain value (str, int, float, bool, None, list, dict) or a ``Hole``; lists and objects may hold holes."""
        self.steps += 1
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH * 3 or self.steps > 200_000:
                return Hole("the expression is too deep or too long to be followed")
            return self._value(expr, local or {})
        finally:
            self.depth -= 1

    def _value(self, expr: Expr, local: Mapping[str, object]) -> object:
        kind = expr[0]
        if kind == "value":
            return expr[1]
        if kind == "open":
            return Hole(expr[1])
        if kind == "text":
            return self._text(expr[1], local)
        if kind == "name":
            return local[expr[1]] if expr[1] in local else self.names(expr[1])
        if kind == "list":
            return [self.value(item, local) for item in expr[1]]
        if kind == "object":
            return {as_text(self.value(key, local)): self.value(item, local) for key, item in expr[1]}
        if kind == "if":
            test = self.value(expr[1], local)
            if isinstance(test, Hole):
                both = (self.value(expr[2], local), self.value(expr[3], local))
                return Hole(test.why, options=() if any(isinstance(it, Hole) for it in both) else both)
            return self.value(expr[2] if _true(test) else expr[3], local)
        if kind == "unary":
            operand = self.value(expr[2], local)
            if isinstance(operand, Hole):
                return Hole(operand.why)
            if expr[1] == "!":
                return not _true(operand)
            return -operand if isinstance(operand, int | float) else Hole("it is no number")
        if kind == "binary":
            return self._binary(expr[1], self.value(expr[2], local), self.value(expr[3], local))
        if kind == "get":
            return _get(self.value(expr[1], local), self.value(expr[2], local))
        if kind == "splat":
            return Hole("a splat is not followed")
        if kind == "call":
            return self._call(expr[1], expr[2], local)
        if kind == "for":
            return self._for(expr, local)
        return Hole("the expression is not followed")

    def _text(self, parts: tuple[Any, ...], local: Mapping[str, object]) -> object:
        if len(parts) == 1 and not isinstance(parts[0], str):
            return self.value(parts[0], local)
        done: list[str] = []
        for part in parts:
            if isinstance(part, str):
                done.append(part)
                continue
            value = self.value(part, local)
            if isinstance(value, Hole):
                return Hole(value.why, value.secret, value.per_commit)
            done.append(as_text(value))
        text = "".join(done)
        return text if len(text) <= MAX_TEXT else Hole("it is too long")

    def _binary(self, sign: str, left: object, right: object) -> object:
        if isinstance(left, Hole) or isinstance(right, Hole):
            if sign == "&&" and (left is False or right is False):
                return False
            if sign == "||" and (left is True or right is True):
                return True
            hole = left if isinstance(left, Hole) else right
            assert isinstance(hole, Hole)
            return Hole(
                hole.why, options=(True, False) if sign in ("==", "!=", "<", ">", "<=", ">=", "&&", "||") else ()
            )
        if sign in ("==", "!="):
            same = left == right and isinstance(left, bool) == isinstance(right, bool)
            return same == (sign == "==")
        if sign == "&&":
            return _true(left) and _true(right)
        if sign == "||":
            return _true(left) or _true(right)
        try:
            a, b = float(left), float(right)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return Hole("it is no number")
        if sign in "/%" and b == 0:
            return Hole("a division by zero")
        result: float | bool = {
            "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "+": a + b, "-": a - b, "*": a * b,
            "/": a / b if b else 0.0, "%": a % b if b else 0.0,
        }[sign]  # fmt: skip
        if isinstance(result, bool):
            return result
        return int(result) if abs(result) < 2**53 and result.is_integer() else result

    def _for(self, expr: Expr, local: Mapping[str, object]) -> object:
        _, names, source_expr, key_expr, value_expr, test_expr = expr
        source = self.value(source_expr, local)
        if isinstance(source, Hole):
            return Hole(source.why)
        pairs: list[tuple[object, object]]
        if isinstance(source, dict):
            pairs = list(source.items())
        elif isinstance(source, list):
            pairs = list(enumerate(source))
        else:
            return Hole("it is not a collection")
        listed: list[object] = []
        mapped: dict[str, object] = {}
        for index, item in pairs[:2000]:
            inner = {**local, names[-1]: item}
            if len(names) > 1:
                inner[names[0]] = index
            if test_expr is not None:
                test = self.value(test_expr, inner)
                if isinstance(test, Hole):
                    return Hole(test.why)
                if not _true(test):
                    continue
            if value_expr is None:
                listed.append(self.value(key_expr, inner))
            else:
                mapped[as_text(self.value(key_expr, inner))] = self.value(value_expr, inner)
        return listed if value_expr is None else mapped

    def _call(self, name: str, arguments: tuple[Expr, ...], local: Mapping[str, object]) -> object:
        values: list[object] = []
        for argument in arguments:
            if argument[0] == "expand":
                spread = self.value(argument[1], local)
                if not isinstance(spread, list):
                    return Hole("it is not a list")
                values += spread
            else:
                values.append(self.value(argument, local))
        own = self.functions.get(name)
        if own is not None:
            return self._own(own, values)
        hole = _find_hole(values)
        if hole is not None and name not in ("coalesce", "and", "or", "concat", "compact"):
            return Hole(hole.why, hole.secret, hole.per_commit)
        act = _FUNCTIONS.get(name)
        if act is None:
            per_commit = name in ("timestamp", "uuidv4", "formatdate")
            return Hole(f"the function {name[:40]} is not followed", per_commit=per_commit)
        try:
            return act(*values)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError, re.error, OverflowError):
            return Hole(f"{name[:40]} cannot be evaluated")

    def _own(self, block: Block, values: list[object]) -> object:
        params = block.attributes.get("params")
        result = block.attributes.get("result")
        if params is None or result is None or params.expr[0] != "list":
            return Hole("the function cannot be read")
        names = [
            item[1] if item[0] == "name" else "".join(p for p in item[1] if isinstance(p, str))
            for item in params.expr[1]
        ]
        inner: dict[str, object] = dict(zip(names, values, strict=False))
        variadic = block.attributes.get("variadic_params")
        if variadic is not None and variadic.expr[0] == "name":
            inner[variadic.expr[1]] = values[len(names) :]
        return self.value(result.expr, inner)


def _true(value: object) -> bool:
    return value is True or value == "true"


def _find_hole(values: list[object]) -> Hole | None:
    for value in values:
        if isinstance(value, Hole):
            return value
        if isinstance(value, list) and (inner := _find_hole(value)) is not None:
            return inner
    return None


def _get(value: object, key: object) -> object:
    if isinstance(value, Hole):
        return Hole(value.why, value.secret, value.per_commit)
    if isinstance(key, Hole):
        return Hole(key.why)
    if isinstance(value, dict):
        return value.get(as_text(key), Hole(f"there is no {as_text(key)[:40]}"))
    if isinstance(value, list) and isinstance(key, int) and -1 < key < len(value):
        return value[key]
    return Hole("there is nothing at that index")


def _coalesce(*values: object) -> object:
    for value in values:
        if isinstance(value, Hole):
            return value
        if value not in (None, ""):
            return value
    return None


def _flatten(value: list[object]) -> list[object]:
    found: list[object] = []
    for item in value:
        found += _flatten(item) if isinstance(item, list) else [item]
    return found


def _concat(*values: object) -> object:
    found: list[object] = []
    for value in values:
        if isinstance(value, Hole):
            return value
        found += value if isinstance(value, list) else [value]
    return found


def _unique(value: list[object]) -> list[object]:
    found: list[object] = []
    for item in value:
        if item not in found:
            found.append(item)
    return found


def _go_format(text: str, *values: object) -> str:
    rest = list(values)
    return re.sub(
        r"%(%|[-+ 0#]*\d*(?:\.\d+)?[svdqtf])",
        lambda match: "%" if match[1] == "%" else (as_text(rest.pop(0)) if rest else ""),
        text,
    )


def _merge(*values: object) -> dict[str, object]:
    found: dict[str, object] = {}
    for value in values:
        found |= value if isinstance(value, dict) else {}
    return found


_FUNCTIONS: dict[str, Callable[..., object]] = {
    "coalesce": _coalesce,
    "coalescelist": lambda *v: next((x for x in v if x), []),
    "compact": lambda v: [x for x in v if x not in ("", None)],
    "concat": _concat,
    "contains": lambda v, x: x in v,
    "distinct": _unique,
    "element": lambda v, n: v[int(n) % len(v)],
    "equal": lambda a, b: a == b,
    "notequal": lambda a, b: a != b,
    "and": lambda a, b: a is True and b is True,
    "or": lambda a, b: a is True or b is True,
    "not": lambda a: not a,
    "flatten": _flatten,
    "format": _go_format,
    "formatlist": lambda text, v: [_go_format(text, x) for x in v],
    "index": lambda v, k: v[int(k)] if isinstance(v, list) else v[k],
    "join": lambda sep, *v: sep.join(as_text(x) for part in v for x in part),
    "keys": lambda v: sorted(v),
    "values": lambda v: [v[key] for key in sorted(v)],
    "length": len,
    "lookup": lambda v, k, d=None: v.get(k, d),
    "lower": lambda t: t.lower(),
    "upper": lambda t: t.upper(),
    "title": lambda t: t.title(),
    "merge": _merge,
    "replace": lambda t, a, b: t.replace(a, b),
    "reverse": lambda t: t[::-1],
    "sort": lambda v: sorted(v),
    "split": lambda sep, t: t.split(sep),
    "strlen": len,
    "substr": lambda t, at, n: t[int(at) :] if n < 0 else t[int(at) : int(at) + int(n)],
    "trim": lambda t, chars: t.strip(chars),
    "trimprefix": lambda t, x: t.removeprefix(x),
    "trimsuffix": lambda t, x: t.removesuffix(x),
    "trimspace": lambda t: t.strip(),
    "basename": lambda t: posixpath.basename(t),
    "dirname": lambda t: posixpath.dirname(t) or ".",
    "sanitize": lambda t: re.sub(r"[^a-zA-Z0-9_-]+", "_", t),
    "hasindex": lambda v, k: (0 <= k < len(v)) if isinstance(v, list) else k in v,
    "range": lambda *v: list(range(*(int(x) for x in v)))[:1000],
    "slice": lambda v, a, b: v[int(a) : int(b)],
    "zipmap": lambda a, b: dict(zip(a, b, strict=False)),
    "startswith": lambda t, x: t.startswith(x),
    "endswith": lambda t, x: t.endswith(x),
}
