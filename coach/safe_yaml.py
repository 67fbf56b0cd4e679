"""YAML from strangers: nodes with marks, or plain values, with every cost bounded.

Nothing is ever constructed from a tag: ``!Ref``, ``!reference`` or ``!!python/object`` leave the plain value they
are written on. Plain scalars follow the core schema of YAML 1.2 as Go's and JavaScript's readers do (``on``, ``yes``
and ``22:30`` are strings, ``true`` and ``12`` are not), because those are the readers of the files coach meets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from coach.errors import InputError
from coach.model import Span

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 50
MAX_ALIASES = 10_000
MAX_NODES = 1_000_000

_BOM = b"\xef\xbb\xbf"
_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT, _STR, _MERGE = (
    f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "merge")
)
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), _NULL),
    **dict.fromkeys(("true", "True", "TRUE", "false", "False", "FALSE"), _BOOL),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), _FLOAT),
    "<<": _MERGE,
}
_NUMBER = re.compile(
    r"(?P<int>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
)
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_LONGEST_NUMBER = 400


def compose_all(content: bytes, path: str) -> tuple[yaml.Node, ...]:
    """Every document of a stream as its root node, marks kept; an empty document is a null scalar.

    Marks count characters after a byte order mark; ``span`` turns a node's marks into bytes. An alias is the very
    node it names. Raises ``InputError`` for broken YAML, for text that is not UTF-8, and for more than ``MAX_BYTES``
    bytes, ``MAX_DEPTH`` levels, or ``MAX_ALIASES`` aliases and ``MAX_NODES`` nodes once every alias is written out.
    """
    import yaml

    text = _text(content, path)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return tuple(_documents(yaml.parse(text, Loader=loader), path))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(f"not YAML: {error.problem}", path, mark.line + 1 if mark else 0) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 0
        raise InputError("not YAML: a character that YAML does not allow", path, line) from None


def compose(content: bytes, path: str) -> yaml.Node:
    """The only document's root node, as ``compose_all`` says; a second document raises ``InputError``."""
    documents = compose_all(content, path)
    if len(documents) > 1:
        raise InputError("a second YAML document, where one is expected", path, documents[1].start_mark.line + 1)
    return documents[0]


def load_all(content: bytes, path: str) -> tuple[object, ...]:
    """Every document as plain values (dict, list, str, int, float, bool, None); merge keys are applied."""
    return tuple(value(node, path) for node in compose_all(content, path))


def load(content: bytes, path: str) -> object:
    """The only document as plain values; raises as ``compose`` does, and for a key that is a list or a mapping."""
    return value(compose(content, path), path)


def value(node: yaml.Node, path: str) -> object:
    """A composed node as plain values. Aliased nodes become one shared object."""
    made: dict[int, object] = {}
    return _value(node, path, made)


def span(content: bytes, node: yaml.Node) -> Span:
    """The bytes of ``content`` between the marks of ``node``, a node composed from it.

    A plain or quoted scalar and a flow collection end exactly where they are written; a block scalar or block
    collection reaches up to whatever comes next, blank lines and comments included.
    """
    start, end = node.start_mark.index, node.end_mark.index
    skip = len(_BOM) if content.startswith(_BOM) else 0
    if content.isascii():
        return Span(start, end)
    text = content[skip:].decode()
    first = len(text[:start].encode())
    return Span(skip + first, skip + first + len(text[start:end].encode()))


def _text(content: bytes, path: str) -> str:
    if len(content) > MAX_BYTES:
        raise InputError(f"YAML of more than {MAX_BYTES // 1024 // 1024} MB is not read", path)
    try:
        return content.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise InputError("not YAML: not UTF-8 text", path, content.count(b"\n", 0, error.start) + 1) from None


class _Open:
    """A collection whose end has not been read yet, with what it weighs once aliases are written out."""

    def __init__(self, node: yaml.CollectionNode, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.children: list[yaml.Node] = []
        self.nodes = 1
        self.aliases = 0


def _documents(events: Iterator[yaml.Event], path: str) -> Iterator[yaml.Node]:
    # PyYAML's own composer recurses, in C where libyaml is there, before anyone can look at the depth.
    import yaml

    weights: dict[str | None, tuple[yaml.Node | None, int, int]] = {}
    stack: list[_Open] = []
    root: yaml.Node | None = None
    count = 0

    for event in events:
        start: Any = event.start_mark
        end: Any = event.end_mark
        line = start.line + 1
        node: yaml.Node
        nodes, aliases = 1, 0
        if isinstance(event, yaml.AliasEvent):
            known, nodes, aliases = weights.get(event.anchor, (None, -1, 0))
            if known is None:
                says = "names no anchor above it" if nodes < 0 else "stands inside its own anchor"
                raise InputError(f"a YAML alias that {says}", path, line)
            node, aliases = known, aliases + 1
        elif isinstance(event, yaml.ScalarEvent):
            tag = _tag(event)
            node = yaml.ScalarNode(tag, event.value, start, end, style=event.style)
            if event.anchor is not None:
                weights[event.anchor] = (node, 1, 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(stack) >= MAX_DEPTH:
                raise InputError(f"YAML nested deeper than {MAX_DEPTH} levels is not read", path, line)
            kind, name = (
                (yaml.MappingNode, "map") if isinstance(event, yaml.MappingStartEvent) else (yaml.SequenceNode, "seq")
            )
            tag = event.tag if event.tag not in (None, "!") else f"{_TAG}{name}"
            stack.append(_Open(kind(tag, [], start, None, flow_style=event.flow_style), event.anchor))
            if event.anchor is not None:
                weights[event.anchor] = (None, 0, 0)
            continue
        elif isinstance(event, yaml.CollectionEndEvent):
            done = stack.pop()
            node, nodes, aliases = done.node, done.nodes, done.aliases
            done.node.end_mark = end
            done.node.value = done.children
            if isinstance(node, yaml.MappingNode):
                node.value = list(zip(done.children[::2], done.children[1::2], strict=True))
            if done.anchor is not None:
                weights[done.anchor] = (node, nodes, aliases)
        elif isinstance(event, yaml.DocumentEndEvent):
            assert root is not None
            yield root
            count += 1
            root, weights = None, {}
            continue
        else:
            if isinstance(event, yaml.StreamEndEvent) and not count:
                yield yaml.ScalarNode(_NULL, "", start, end)
            continue

        if stack:
            stack[-1].children.append(node)
            stack[-1].nodes += nodes
            stack[-1].aliases += aliases
            nodes, aliases = stack[-1].nodes, stack[-1].aliases
        else:
            root = node
        if aliases > MAX_ALIASES or nodes > MAX_NODES:
            raise InputError("YAML whose aliases write out too large is not read", path, line)


def _tag(event: yaml.ScalarEvent) -> str:
    if event.tag not in (None, "!"):
        return str(event.tag)
    if event.tag == "!" or not event.implicit[0]:
        return _STR
    text = event.value
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= _LONGEST_NUMBER:
        if number := _NUMBER.fullmatch(text):
            return _INT if number["int"] else _FLOAT
        if _INFINITE.fullmatch(text):
            return _FLOAT
    return _STR


def _value(node: yaml.Node, path: str, made: dict[int, object]) -> object:
    import yaml

    if id(node) in made:
        return made[id(node)]
    result: object
    if isinstance(node, yaml.ScalarNode):
        result = _scalar(node.tag, node.value)
    elif isinstance(node, yaml.SequenceNode):
        result = [_value(item, path, made) for item in node.value]
    else:
        assert isinstance(node, yaml.MappingNode)
        result = _mapping(node, path, made)
    made[id(node)] = result
    return result


def _mapping(node: yaml.MappingNode, path: str, made: dict[int, object]) -> dict[object, object]:
    own: dict[object, object] = {}
    merged: dict[object, object] = {}
    for key, item in node.value:
        content = _value(item, path, made)
        if key.tag == _MERGE:
            sources = content if isinstance(content, list) else [content]
            for source in sources:
                if not isinstance(source, dict):
                    raise InputError("a YAML merge key that names no mapping", path, key.start_mark.line + 1)
                for name, inherited in source.items():
                    merged.setdefault(name, inherited)
            continue
        name = _value(key, path, made)
        if isinstance(name, list | dict):
            raise InputError("a YAML key that is not a plain value", path, key.start_mark.line + 1)
        own[name] = content
    return {**merged, **own}


def _scalar(tag: str, text: str) -> object:
    try:
        if tag == _NULL:
            return None
        if tag == _BOOL and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if tag == _INT and len(text) <= _LONGEST_NUMBER:
            return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
        if tag == _FLOAT and len(text) <= _LONGEST_NUMBER:
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
    return text
