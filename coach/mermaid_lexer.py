"""Mermaid flowchart text → tokens, with the source line of each.

Follows the lexical rules of Mermaid 11 (``packages/mermaid/src/diagrams/flowchart/parser/flow.jison``, with
``preprocess.ts``, ``frontmatter.ts``, ``comments.ts`` and ``encodeEntities`` of ``utils.ts``): a stack of modes,
and in each mode an ordered list of rules of which the *first* that matches wins, not the longest. That order is
what makes ``B--no-->C`` a label "n" with a circle head, so it is kept here rule by rule.

Time is linear in the length of the text: the rules that look ahead (a run of blanks before an arrow,
``…direction LR`` anywhere further on the line, ``…@`` further in the word) are answered from positions found once.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

from coach.errors import ChartError

MAX_LENGTH = 50_000
"""Mermaid draws no text longer than this (``maxTextSize``; a chart cannot raise the limit by itself)."""

# What JavaScript calls white space; Python's \s differs (U+FEFF, U+0085, U+001C-U+001F).
WHITESPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_S = f"[{WHITESPACE}]"
_NOT_S = f"[^{WHITESPACE}]"
_LINE_END = re.compile("[\n\r\u2028\u2029]")

# Entities survive the lexer between these noncharacters, which stand where Mermaid puts marks of its own.
ENTITY_OPEN, NUMERIC_ENTITY_OPEN, ENTITY_CLOSE = "\ufdd0", "\ufdd1", "\ufdd2"


class Token(NamedTuple):
    """One token: its kind (a name of the grammar), its text, its 1-based line in the text as given."""

    kind: str
    text: str
    line: int


class _Source:
    """A text under rewriting in which every character still knows the line it came from."""

    def __init__(self, text: str) -> None:
        self.text = text
        lines = []
        line = 1
        for char in text:
            lines.append(line)
            line += char == "\n"
        self.lines = lines
        self.last_line = max(1, line - (text[-1:] == "\n"))

    def line_at(self, offset: int) -> int:
        return self.lines[offset] if offset < len(self.lines) else self.last_line

    def replace(self, edits: list[tuple[int, int, str]]) -> None:
        """Put new text for each half-open range; ranges ascend and do not overlap."""
        if not edits:
            return
        pieces: list[str] = []
        lines: list[int] = []
        done = 0
        for start, end, new in edits:
            pieces += self.text[done:start], new
            lines += self.lines[done:start]
            lines += [self.line_at(start)] * len(new)
            done = end
        pieces.append(self.text[done:])
        lines += self.lines[done:]
        self.text = "".join(pieces)
        self.lines = lines

    def substitute(self, pattern: re.Pattern[str], new: str | Callable[[re.Match[str]], str]) -> None:
        self.replace(
            [
                (match.start(), match.end(), new if isinstance(new, str) else new(match))
                for match in pattern.finditer(self.text)
                if match.end() > match.start()
            ]
        )


_TAG_OPEN = re.compile(r"<\w+", re.ASCII)
_QUOTED_ATTRIBUTE = re.compile('="([^"]*)"')
_FENCE_OPEN = re.compile(rf"([^\S\n\r]*)---({_S}*)")
_DIRECTIVE_HEAD = re.compile(rf"%%\{{{_S}*\w+(?:{_S}*:)?{_S}*", re.ASCII)
_WORD = re.compile(r"\w+", re.ASCII)
_BLANKS = re.compile(f"{_S}*")
_ENTITY = re.compile(r"#(\w+);", re.ASCII)
_BLANKS_AFTER_BRACE = re.compile(rf"\}}{_S}*\n")
_HEADER = re.compile(r"flowchart|graph")


def _soften_tags(source: _Source) -> None:
    """``<a href="x">`` → ``<a href='x'>``, so that an attribute does not open a string."""
    edits = []
    at = 0
    while (tag := _TAG_OPEN.search(source.text, at)) and (close := source.text.find(">", tag.end())) >= 0:
        edits += [
            (match.start(), match.end(), f"='{match[1]}'")
            for match in _QUOTED_ATTRIBUTE.finditer(source.text, tag.end(), close)
        ]
        at = close + 1
    source.replace(edits)


def _drop_frontmatter(source: _Source) -> str | None:
    """Cut a ``---`` block off the beginning and give its YAML, or None when there is none."""
    text = source.text
    opening = _FENCE_OPEN.match(text)
    if opening is None or "\n" not in opening[2]:
        return None
    indent = opening[1]
    closing = re.compile(rf"\n{re.escape(indent)}---{_S}*(?<=\n)")
    body = opening.start(2) + opening[2].rindex("\n") + 1
    match = closing.search(text, body)
    if match is None and "\n" in opening[2][: body - 1 - opening.start(2)]:
        # An empty block: the blank lines after the opening fence are all there is.
        match = closing.match(text, body - 1)
        body -= 1
    if match is None:
        return None
    inner = text[body : match.start()]
    source.replace([(0, match.end(), "")])
    return "\n".join(line.removeprefix(indent) for line in inner.split("\n"))


def _drop_directives(source: _Source) -> None:
    """Cut out every ``%%{init: …}%%``; one that is not closed takes the rest of the text with it."""
    text = source.text
    edits = []
    at = 0
    while head := _DIRECTIVE_HEAD.search(text, at):
        end = head.end()
        if word := _WORD.match(text, end):
            end = word.end()
            blanks = _BLANKS.match(text, end)
            end = blanks.end() if blanks else end
        else:
            closing = text.find("}%%", end)
            end = closing if closing >= 0 else len(text)
        end += 3 * text.startswith("}%%", end)
        edits.append((head.start(), end, ""))
        at = end
    source.replace(edits)


def _drop_comments(source: _Source) -> None:
    """Cut out the lines that begin with ``%%``, and the blank lines above them; a bare ``%%`` is not a comment."""
    text = source.text
    edits: list[tuple[int, int, str]] = []
    done = 0
    at = text.find("%%")
    while at >= 0:
        after = text[at + 2 : at + 3]
        start = first = at
        while start > done and text[start - 1] in WHITESPACE:
            start -= 1
            if start == 0 or text[start - 1] in "\n\r\u2028\u2029":
                first = start
        begins_line = first == 0 or text[first - 1] in "\n\r\u2028\u2029"
        if begins_line and after not in ("", "\n", "{"):
            newline = text.find("\n", at)
            done = newline + 1 if newline >= 0 else len(text)
            edits.append((first, done, ""))
            at = text.find("%%", done)
        else:
            at = text.find("%%", at + 1)
    source.replace(edits)


def _drop_semicolons_after_colours(source: _Source, keyword: str) -> None:
    """Drop the last ``;`` of a line such as ``style A fill:#f9f;``: its ``#f9f;`` is a colour, not an entity."""
    edits = []
    start = 0
    for line in re.split("([\n\r\u2028\u2029])", source.text) if "#" in source.text else ():
        at = line.find(keyword)
        last = line.rfind(";")
        if 0 <= at < last:
            for word in re.finditer(f"{_NOT_S}+", line[at + len(keyword) : last]):
                colon = word[0].find(":")
                if colon >= 0 and word[0].find("#", colon) >= 0:
                    edits.append((start + last, start + last + 1, ""))
                    break
        start += len(line)
    source.replace(edits)


def _mark_entity(match: re.Match[str]) -> str:
    opening = NUMERIC_ENTITY_OPEN if match[1].isdecimal() else ENTITY_OPEN
    return f"{opening}{match[1]}{ENTITY_CLOSE}"


def _prepare(text: str) -> tuple[_Source, str | None]:
    """What Mermaid does to a text before its lexer sees it; also the frontmatter's YAML."""
    if len(text.encode("utf-16-le", "surrogatepass")) // 2 > MAX_LENGTH:
        raise ChartError(f"the chart is longer than the {MAX_LENGTH} characters Mermaid draws", line=1)
    source = _Source(re.sub("\r\n?", "\n", text))
    # The marks must not be in the text already; there they would be refused in an id and shown as a box in a label.
    source.substitute(re.compile(f"[{ENTITY_OPEN}{NUMERIC_ENTITY_OPEN}{ENTITY_CLOSE}]"), "\ufffd")
    _soften_tags(source)
    frontmatter = _drop_frontmatter(source)
    _drop_directives(source)
    _drop_comments(source)
    source.replace([(0, len(source.text) - len(source.text.lstrip(WHITESPACE)), "")])
    if not _HEADER.match(source.text):
        raise ChartError(
            "not a flowchart: the text begins with neither `flowchart` nor `graph`", line=source.line_at(0)
        )
    _drop_semicolons_after_colours(source, "style")
    _drop_semicolons_after_colours(source, "classDef")
    source.substitute(_ENTITY, _mark_entity)
    source.replace([(len(source.text), len(source.text), "\n")])
    source.substitute(_BLANKS_AFTER_BRACE, "}\n")
    return source, frontmatter


# --- modes --------------------------------------------------------------------------------------------------------


class _Rule(NamedTuple):
    """On a match leave the mode (``pop``), enter another (``push``), and give a token unless ``kind`` is empty."""

    kind: str
    pattern: str
    pop: bool = False
    push: str = ""


class _Mode:
    """Ordered rules as one alternation (which, like the list, takes the first that matches), and the rules that
    may begin with a run of blanks, to be tried where that run ends. Compiled when a chart first enters the mode."""

    def __init__(self, rules: tuple[_Rule, ...], blank_rules: tuple[_Rule, ...] = ()) -> None:
        self.rules = rules
        self.blank_rules = blank_rules

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return _alternation(self.rules)

    @cached_property
    def blank_pattern(self) -> re.Pattern[str] | None:
        return _alternation(self.blank_rules) if self.blank_rules else None


def _alternation(rules: tuple[_Rule, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"({rule.pattern})" for rule in rules), re.ASCII)


_STRINGS = (_Rule("", '"`', push="markdown"), _Rule("", '"', push="string"))
_INVISIBLE = _Rule("LINK", f"~~~+{_S}*")
_SOLID = _Rule("LINK", f"[xo<]?--+[-xo>]{_S}*", pop=True)
_THICK = _Rule("LINK", f"[xo<]?==+[=xo>]{_S}*", pop=True)
_DOTTED = _Rule("LINK", rf"[xo<]?-?\.+-[xo>]?{_S}*", pop=True)
_LINKS = (
    _SOLID,
    _Rule("START_LINK", f"[xo<]?--{_S}*", push="solid label"),
    _THICK,
    _Rule("START_LINK", f"[xo<]?=={_S}*", push="thick label"),
    _DOTTED,
    _Rule("START_LINK", rf"[xo<]?-\.{_S}*", push="dotted label"),
    _INVISIBLE,
)
_ROUND_DASH = _Rule("(-", r"\(-", push="ellipse")
_STADIUM = _Rule("STADIUMSTART", r"\(\[", push="text")
_SUBROUTINE = _Rule("SUBROUTINESTART", r"\[\[", push="text")
_CYLINDER = _Rule("CYLINDERSTART", r"\[\(", push="text")
_DOUBLE_CIRCLE = _Rule("DOUBLECIRCLESTART", r"\(\(\(", push="text")
_TRAPEZOIDS = (_Rule("TRAPSTART", r"\[/", push="trapezoid"), _Rule("INVTRAPSTART", r"\[\\", push="trapezoid"))
_PIPE = _Rule("PIPE", r"\|", push="text")
_PAREN = _Rule("PS", r"\(", push="text")
_SQUARE = _Rule("SQS", r"\[", push="text")
_BRACE = _Rule("DIAMOND_START", r"\{", push="text")

# The statement mode in two halves: between them stand the rules that look further along the line.
_KEYWORDS = _Mode(
    (
        _Rule("acc_title", f"accTitle{_S}*:{_S}*", push="line"),
        _Rule("acc_descr", f"accDescr{_S}*:{_S}*", push="line"),
        _Rule("", rf"accDescr{_S}*\{{{_S}*", push="description"),
        _Rule("SHAPE_DATA", r"@\{", push="shape data"),
        _Rule("", f"call{_S}+", push="callback name"),
        *_STRINGS,
        _Rule("STYLE", r"style\b"),
        _Rule("DEFAULT", r"default\b"),
        _Rule("LINKSTYLE", r"linkStyle\b"),
        _Rule("INTERPOLATE", r"interpolate\b"),
        _Rule("CLASSDEF", r"classDef\b"),
        _Rule("CLASS", r"class\b"),
        _Rule("HREF", f"href{_S}"),
        _Rule("", f"click{_S}+", push="click"),
        _Rule("GRAPH", r"flowchart-elk\b|swimlane-beta\b|graph\b|flowchart\b"),
        _Rule("subgraph", r"subgraph\b"),
        _Rule("end", rf"end\b{_S}*"),
        _Rule("LINK_TARGET", r"(?:_self|_blank|_parent|_top)\b"),
    )
)
_MODES = {
    "statement": _Mode(
        (
            _Rule("NUM", "[0-9]+"),
            _Rule("BRKT", "#"),
            _Rule("STYLE_SEPARATOR", ":::"),
            _Rule("COLON", ":"),
            _Rule("AMP", "&"),
            _Rule("SEMI", ";"),
            _Rule("COMMA", ","),
            _Rule("MULT", r"\*"),
            *_LINKS,
            _ROUND_DASH,
            _STADIUM,
            _SUBROUTINE,
            _Rule("VERTEX_WITH_PROPS_START", r"\[\|"),
            _Rule("TAGEND", ">", push="text"),
            _CYLINDER,
            _DOUBLE_CIRCLE,
            *_TRAPEZOIDS,
            _Rule("TAGSTART", "<"),
            _Rule("UP", r"\^"),
            _Rule("SEP", r"\\\|"),
            _Rule("DOWN", r"v\b"),
            _Rule("NODE_STRING", r"(?:[A-Za-z0-9!\"#$%&'*+.`?\\_/]|-(?=[^>\-.]))+"),
            _Rule("MINUS", "-"),
            _PIPE,
            _PAREN,
            _SQUARE,
            _BRACE,
            _Rule("NEWLINE", "\n+"),
            _Rule("SPACE", _S),
        ),
        _LINKS,
    ),
    "direction": _Mode((_Rule("DIR", r"(?:LR|RL|TB|BT|TD|BR|v)\b|[<>^]", pop=True),)),
    "line": _Mode((_Rule("LINE", "[^\n]*", pop=True),)),
    "description": _Mode((_Rule("", r"\}", pop=True), _Rule("acc_descr_multiline_value", r"[^}]+"))),
    "shape data": _Mode(
        (
            _Rule("SHAPE_DATA", '"', push="shape string"),
            _Rule("SHAPE_DATA", r'[^}^"]+'),
            _Rule("", r"\}", pop=True),
        )
    ),
    "shape string": _Mode((_Rule("SHAPE_DATA", '"', pop=True), _Rule("SHAPE_DATA", '[^"]+'))),
    "callback name": _Mode(
        (
            _Rule("", rf"\({_S}*\)", pop=True),
            _Rule("", r"\(", pop=True, push="callback arguments"),
            _Rule("CALLBACKNAME", r"[^(]+"),
        )
    ),
    "callback arguments": _Mode((_Rule("", r"\)", pop=True), _Rule("CALLBACKARGS", r"[^)]+"))),
    "markdown": _Mode((_Rule("MD_STR", '[^`"]+'), _Rule("", '`"', pop=True), *_STRINGS)),
    "string": _Mode((_STRINGS[0], _Rule("STR", '[^"]+'), _Rule("", '"', pop=True))),
    "click": _Mode((*_STRINGS, _Rule("", _S, pop=True), _Rule("CLICK", f"{_NOT_S}+"))),
    # In the labels of edges a run of plain characters is taken at once; Mermaid takes them one by one.
    "solid label": _Mode((*_STRINGS, _SOLID, _Rule("EDGE_TEXT", f'[^-"xo<{WHITESPACE}]+|[^-]|-(?!-)')), (_SOLID,)),
    "thick label": _Mode((*_STRINGS, _THICK, _Rule("EDGE_TEXT", f'[^="xo<{WHITESPACE}]+|[^=]')), (_THICK,)),
    "dotted label": _Mode((*_STRINGS, _DOTTED, _Rule("EDGE_TEXT", rf'[^-."xo<{WHITESPACE}]+|[^.]')), (_DOTTED,)),
    "ellipse": _Mode(
        (
            *_STRINGS,
            _INVISIBLE,
            _Rule("-)", r"[-/)]\)", pop=True),
            _Rule("TEXT", rf'[^()\[\]{{}}"~/\-{WHITESPACE}]+|[^()\[\]{{}}]'),
            _ROUND_DASH,
            _STADIUM,
            _SUBROUTINE,
            _CYLINDER,
            _DOUBLE_CIRCLE,
            *_TRAPEZOIDS,
            _PAREN,
            _SQUARE,
            _BRACE,
        ),
        (_INVISIBLE,),
    ),
    "trapezoid": _Mode(
        (
            *_STRINGS,
            _INVISIBLE,
            _ROUND_DASH,
            _STADIUM,
            _SUBROUTINE,
            _CYLINDER,
            _DOUBLE_CIRCLE,
            _Rule("TRAPEND", r"[\\(?=)\]]\]", pop=True),
            _Rule("INVTRAPEND", r"/\]", pop=True),
            _Rule("TEXT", r"/|\\|[^\\\[\](){}/]+"),
            *_TRAPEZOIDS,
            _PAREN,
            _SQUARE,
            _BRACE,
        ),
        (_INVISIBLE,),
    ),
    "text": _Mode(
        (
            *_STRINGS,
            _INVISIBLE,
            _ROUND_DASH,
            _Rule("STADIUMEND", r"\]\)", pop=True),
            _STADIUM,
            _Rule("SUBROUTINEEND", r"\]\]", pop=True),
            _SUBROUTINE,
            _Rule("CYLINDEREND", r"\)\]", pop=True),
            _CYLINDER,
            _Rule("DOUBLECIRCLEEND", r"\)\)\)", pop=True),
            _DOUBLE_CIRCLE,
            *_TRAPEZOIDS,
            _Rule("PIPE", r"\|", pop=True),
            _Rule("PE", r"\)", pop=True),
            _PAREN,
            _Rule("SQE", r"\]", pop=True),
            _SQUARE,
            _Rule("DIAMOND_STOP", r"\}", pop=True),
            _BRACE,
            _Rule("TEXT", r'[^\[\](){}|"]+'),
        ),
        (_INVISIBLE,),
    ),
}

_AT_END = {
    "statement": "EOF",
    "line": "LINE",
    "click": "CLICK",
    "callback name": "CALLBACKNAME",
    "callback arguments": "CALLBACKARGS",
}
_DIRECTION = re.compile(f"direction{_S}+(TB|BT|RL|LR|TD)")
_DIRECTIONS = ("TB", "BT", "RL", "LR", "TD")
_BREAK_IN_SHAPE_STRING = re.compile(f"\n{_S}*")

# Mermaid's table of letters is that of Unicode 6.1; letters that came later are refused in an id. Ranges of code
# points, both ends included, of the basic plane; all other planes are refused.
_LATER_LETTERS = tuple(
    (int(entry.partition("-")[0], 16), int(entry.rpartition("-")[2], 16))
    for line in (
        "37f 528-530 560 588 5ef 860-86f 870-89f 8a1 8ad-903 978 980 9fc af9 c34 c5a-c5d c80 cdc-cdd d04 d54-d5f",
        "e86 e89 e8c e8e-e93 e98 ea0 ea8-ea9 eac 13f5-13ff 16f1-16ff 170d 171f 1878-187f 191d-194f 19b0-19c0",
        "19c8-19ff 1b4c-1b82 1c80-1ce8 1cf2-1cf4 1cfa-1cff 2c2f 2c5f 312e-3130 31bb-31ef 4db6-4dff 9fcd-9fff",
        "a698-a69f a78f a794-a79f a7ab-a7f7 a8fd-a909 a9e0-a9ff aa7e-aa7f ab2f-abbf",
    )
    for entry in line.split()
)
_NO_LONGER_LETTERS = "\u1885\u1886"


def _is_letter(char: str) -> bool:
    code = ord(char)
    if code > 0xFFFF or code < 0x80:
        return False
    return char in _NO_LONGER_LETTERS or (
        char.isalpha() and not any(first <= code <= last for first, last in _LATER_LETTERS)
    )


class _Lexer:
    def __init__(self, source: _Source) -> None:
        self.source = source
        self.text = source.text
        self.at = 0
        self.modes = ["statement"]
        self.seen_header = False
        self.blanks_end = 0
        self.directions = {name: [] for name in _DIRECTIONS}  # type: dict[str, list[tuple[int, int]]]
        for match in _DIRECTION.finditer(self.text):
            self.directions[match[1]].append(match.span())
        self.line_ends = [match.start() for match in _LINE_END.finditer(self.text)]
        self.ids = [
            at
            for at, (char, after) in enumerate(zip(self.text, self.text[1:], strict=False))
            if char == "@" and after not in '{"'
        ]
        self.word_ends = [match.start() for match in re.finditer(f'[{WHITESPACE}"]', self.text)] if self.ids else []

    def tokens(self) -> Iterator[Token]:
        while self.at < len(self.text):
            start = self.at
            token = self._next()
            if token is not None:
                yield token
            elif self.at == start:
                raise self._error()
        line = self.source.line_at(self.at)
        # Modes whose rule also takes nothing do so once more at the end.
        if (last := _AT_END.get(self.modes[-1])) is not None:
            yield Token(last, "", line)
        yield Token("END", "", line)

    def _error(self) -> ChartError:
        char = self.text[self.at]
        says = f"unexpected {char!r}" if char.isprintable() else f"unexpected character U+{ord(char):04X}"
        return ChartError(says, line=self.source.line_at(self.at))

    def _next(self) -> Token | None:
        mode = self.modes[-1]
        if mode == "direction":
            return self._direction()
        rules = _MODES[mode]
        if mode == "statement":
            token_or_none = self._try(_KEYWORDS.pattern, _KEYWORDS.rules, self.at)
            if token_or_none is not _NO_MATCH:
                return token_or_none
            if (token := self._direction_statement() or self._link_id()) is not None:
                return token
        if self.text[self.at] in WHITESPACE and rules.blank_pattern is not None:
            if self.blanks_end <= self.at:
                blanks = _BLANKS.match(self.text, self.at)
                self.blanks_end = blanks.end() if blanks else self.at
            found = self._try(rules.blank_pattern, rules.blank_rules, self.blanks_end)
            if found is not _NO_MATCH:
                return found
        found = self._try(rules.pattern, rules.rules, self.at)
        if found is not _NO_MATCH:
            return found
        if mode == "statement" and _is_letter(self.text[self.at]):
            return self._take("UNICODE_TEXT", self.at + 1)
        return None

    def _try(self, pattern: re.Pattern[str], rules: tuple[_Rule, ...], at: int) -> Token | None:
        """The token of the first rule that matches at ``at``, None for a rule without one, or ``_NO_MATCH``."""
        match = pattern.match(self.text, at)
        if match is None or match.lastindex is None:
            return _NO_MATCH
        rule = rules[match.lastindex - 1]
        token = self._take(rule.kind, match.end(), at)
        if rule.pop and len(self.modes) > 1:
            self.modes.pop()
        if rule.push:
            self.modes.append(rule.push)
        if rule.kind == "GRAPH" and not self.seen_header:
            self.seen_header = True
            self.modes.append("direction")
        if rule.kind == "SHAPE_DATA":
            if rule.push == "shape data":
                return Token(token.kind, "", token.line)
            if self.modes[-1] == "shape string" and not rule.push:
                return Token(token.kind, _BREAK_IN_SHAPE_STRING.sub("<br/>", token.text), token.line)
        return token if rule.kind else None

    def _take(self, kind: str, end: int, visible: int | None = None) -> Token:
        """The token that ends at ``end``; its line is that of the ``visible`` offset, where blanks lead it."""
        line = self.source.line_at(self.at if visible is None else visible)
        token = Token(kind, self.text[self.at : end], line)
        self.at = end
        return token

    def _direction(self) -> Token | None:
        """The direction after ``flowchart``, or NODIR when the line ends first."""
        blanks = _BLANKS.match(self.text, self.at)
        end = blanks.end() if blanks else self.at
        newline = self.text.rfind("\n", self.at, end)
        if newline >= 0:
            self.modes.pop()
            return self._take("NODIR", newline + 1)
        found = self._try(_MODES["direction"].pattern, _MODES["direction"].rules, end)
        return None if found is _NO_MATCH else found

    def _direction_statement(self) -> Token | None:
        """``… direction LR …``: wherever it stands, it takes the rest of its line and whatever stood before it."""
        if not any(self.directions.values()):
            return None
        line_end = self._following(self.line_ends, self.at)
        for name in _DIRECTIONS:
            spans = self.directions[name]
            before = bisect_left(spans, (line_end, 0)) - 1
            if before >= 0 and spans[before][0] >= self.at:
                newline = self.text.find("\n", spans[before][1])
                return self._take(f"direction {name}", newline if newline >= 0 else len(self.text))
        return None

    def _link_id(self) -> Token | None:
        """``e1@`` before an arrow: everything up to the last such ``@`` of the word."""
        if not self.ids:
            return None
        end = self._following(self.word_ends, self.at)
        before = bisect_left(self.ids, end) - 1
        if before >= 0 and self.ids[before] > self.at:
            return self._take("LINK_ID", self.ids[before] + 1)
        return None

    def _following(self, positions: list[int], at: int) -> int:
        index = bisect_right(positions, at - 1)
        return positions[index] if index < len(positions) else len(self.text)


_NO_MATCH = Token("", "", 0)


def tokenize(text: str) -> tuple[list[Token], str | None]:
    """Tokens of a flowchart, the last of kind ``END``, and the YAML of its frontmatter (None without one).

    Raises ``ChartError`` with the line for a text that is no flowchart, is longer than ``MAX_LENGTH`` (in UTF-16
    units, as Mermaid counts) or holds a character that no rule takes.
    """
    source, frontmatter = _prepare(text)
    return list(_Lexer(source).tokens()), frontmatter
