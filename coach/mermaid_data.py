"""The YAML in a Mermaid chart (frontmatter and ``@{ … }``), read by the JSON schema that js-yaml uses there."""

from __future__ import annotations

import math
import re
from typing import Any

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_INTEGER = re.compile(r"[-+]?(?:0b[01]+|0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+)", re.ASCII)
_FLOAT = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_DEPTH = 50


def load(text: str) -> Any:
    """Maps, lists, texts, numbers (all floats), booleans and None; None, too, where there is no document.

    Raises ``ValueError`` with one sentence for what js-yaml refuses: broken YAML, several documents, a key twice.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        raise ValueError("not valid YAML") from None
    return None if node is None else _value(node, 0)


def _value(node: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if node.id == "scalar":
        return _scalar(node.value) if node.style is None and node.tag.startswith("tag:yaml.org,2002:") else node.value
    if node.id == "sequence":
        return [_value(item, depth + 1) for item in node.value]
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = as_text(_value(key_node, depth + 1))
        if key in mapping:
            raise ValueError("a key stands twice")
        mapping[key] = _value(value_node, depth + 1)
    return mapping


def _scalar(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        sign = -1 if text.startswith("-") else 1
        digits = text.lstrip("+-")
        base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 10)
        try:
            return sign * float(int(digits[2:], base)) if base != 10 else sign * float(digits)
        except OverflowError:
            return sign * math.inf
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return math.nan if "a" in text.lower() else -math.inf if text.startswith("-") else math.inf
    return text


def as_text(value: Any) -> str:
    """A value as JavaScript writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return _number(value)
        case list():
            return ",".join("" if item is None else as_text(item) for item in value)
        case dict():
            return "[object Object]"
        case _:
            return str(value)


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    if -7 < int(exponent) < 0:
        return f"{value:.{-int(exponent) + len(mantissa.replace('.', '').lstrip('-')) - 1}f}"
    return f"{mantissa}e{int(exponent):+d}"
