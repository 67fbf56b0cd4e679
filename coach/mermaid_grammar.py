"""Tokens of a Mermaid flowchart → what it draws: vertices, edges, subgraphs, direction.

One pass, no recursion: what is nested (subgraphs) is kept on a stack. The grammar is that of Mermaid 11 (the second
half of ``flow.jison``) and the meaning of each statement that of its ``flowDb.ts``, quirks included: the last text
and shape of a vertex win, ``style`` on an unknown id makes a vertex, ``linkStyle`` may only name an edge that
stands above it, at most 500 edges are drawn.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coach.errors import ChartError
from coach.mermaid_data import as_text, load
from coach.mermaid_lexer import ENTITY_CLOSE, ENTITY_OPEN, NUMERIC_ENTITY_OPEN, WHITESPACE, Token, tokenize

MAX_EDGES = 500
"""Mermaid refuses more (``maxEdges``; a chart cannot raise the limit by itself)."""

# Shapes by `@{ shape: … }`: the name kept, then the names that mean the same (``rendering-elements/shapes.ts``).
# Where brackets draw the same shape, the kept name is the one the brackets have.
_SHAPES = {
    alias: line.split()[0]
    for line in (
        "square rect proc process rectangle",
        "round rounded event",
        "stadium terminal pill",
        "subroutine fr-rect subprocess subproc framed-rectangle",
        "cylinder cyl db database",
        "circle circ",
        "doublecircle dbl-circ double-circle",
        "diamond diam decision question",
        "hexagon hex prepare",
        "lean_right lean-r lean-right in-out",
        "lean_left lean-l lean-left out-in",
        "trapezoid trap-b priority trapezoid-bottom",
        "inv_trapezoid trap-t manual trapezoid-top inv-trapezoid",
        "odd",
        "datastore data-store",
        "folder directory",
        "bucket",
        "console",
        "browser",
        "person",
        "bang",
        "cloud",
        "text",
        "notch-rect card notched-rectangle",
        "lin-rect lined-rectangle lined-process lin-proc shaded-process",
        "sm-circ start small-circle",
        "fr-circ stop framed-circle",
        "fork join",
        "hourglass collate",
        "brace comment brace-l",
        "brace-r",
        "braces",
        "bolt com-link lightning-bolt",
        "doc document",
        "delay half-rounded-rectangle",
        "h-cyl das horizontal-cylinder",
        "lin-cyl disk lined-cylinder",
        "curv-trap curved-trapezoid display",
        "div-rect div-proc divided-rectangle divided-process",
        "tri extract triangle",
        "win-pane internal-storage window-pane",
        "f-circ junction filled-circle",
        "notch-pent loop-limit notched-pentagon",
        "flip-tri manual-file flipped-triangle",
        "sl-rect manual-input sloped-rectangle",
        "docs documents st-doc stacked-document",
        "st-rect procs processes stacked-rectangle",
        "bow-rect stored-data bow-tie-rectangle",
        "cross-circ summary crossed-circle",
        "tag-doc tagged-document",
        "tag-rect tagged-rectangle tag-proc tagged-process",
        "flag paper-tape",
        "lin-doc lined-document",
        # Not documented, but drawn.
        "state",
        "choice",
        "note",
        "composite",
        "icon",
        "anchor",
    )
    for alias in line.split()
}


_BRACKETS_ONLY = frozenset(("square", "round"))
"""Names above by which `@{ shape: … }` cannot ask for the shape (nor by any name with an underscore)."""


def shape_name(declared: str | None) -> str:
    """The one name of a shape, whether brackets or ``@{ shape: … }`` declared it; no declaration is a ``square``."""
    return "square" if declared is None else _SHAPES.get(declared, declared)


@dataclass(slots=True)
class Vertex:
    """A vertex: ``text`` as drawn, ``shape`` by its one name, the line that mentions it first."""

    id: str
    text: str
    shape: str
    line: int


class Edge(NamedTuple):
    """An edge in source order. ``tail`` and ``head`` are ``none``, ``point``, ``circle`` or ``cross``."""

    start: str
    end: str
    label: str
    style: str
    tail: str
    head: str
    length: int
    line: int


class Subgraph(NamedTuple):
    """A subgraph. ``nodes`` are its direct members in Mermaid's order, subgraphs by their id; no direction is ""."""

    id: str
    title: str
    nodes: tuple[str, ...]
    direction: str
    line: int


@dataclass(slots=True)
class Drawing:
    """Everything a flowchart draws."""

    direction: str = "TB"
    vertices: dict[str, Vertex] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    subgraphs: list[Subgraph] = field(default_factory=list)


class _Label(NamedTuple):
    """A text of the chart: raw, and whether it is a Markdown string."""

    raw: str
    markdown: bool = False


_BREAK = re.compile(rf"<br[{WHITESPACE}]*/?>", re.IGNORECASE)
_TYPED_BREAK = re.compile(r"\\n|<br[ \t\n]*/?>", re.IGNORECASE)
_FORMATTING = re.compile(
    r"</?(?:a|abbr|b|big|center|cite|code|del|div|em|font|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|p|pre|q|s|samp|small"
    r"|span|strike|strong|sub|sup|tt|u|ul|var)(?:[\s/][^<>]*)?>",
    re.IGNORECASE | re.ASCII,
)


def shown(raw: str, markdown: bool = False) -> str:
    """A label as it is read: breaks as newlines, formatting tags gone, entities decoded.

    A literal ``\\n`` breaks the line as it does when Mermaid draws it (not in Markdown strings). Any other tag stays
    as it was typed: Mermaid drops an unknown ``<name>``, but to a reader it is a placeholder.
    """
    text = (_BREAK if markdown else _TYPED_BREAK).sub("\n", raw)
    text = _FORMATTING.sub("", text) if "<" in text else text
    text = text.replace(NUMERIC_ENTITY_OPEN, "&#").replace(ENTITY_OPEN, "&").replace(ENTITY_CLOSE, ";")
    return html.unescape(text)


def _label_text(label: _Label) -> str:
    raw = label.raw.strip(WHITESPACE)
    if len(raw) > 1 and raw.startswith('"') and raw.endswith('"'):
        raw = raw[1:-1]
    return shown(raw, label.markdown)


_HEADS = {">": "point", "x": "cross", "o": "circle"}
_TAILS = {"<": "point", "x": "cross", "o": "circle"}


class _Link(NamedTuple):
    style: str
    tail: str
    head: str
    length: int
    id: str = ""
    label: _Label | None = None


def _arrow(text: str) -> _Link:
    """Meaning of a whole arrow. A tail counts only when the head is of the same kind; thickness is read off the
    first character that is not such a tail, so that ``x==>`` is drawn solid."""
    text = text.strip(WHITESPACE)
    line, head, tail = text[:-1], _HEADS.get(text[-1], "none"), "none"
    if head != "none" and _TAILS.get(text[0]) == head:
        tail, line = head, line[1:]
    style = "thick" if line.startswith("=") else "invisible" if line.startswith("~") else "solid"
    length = len(line) - 1
    if "." in line:
        style, length = "dotted", line.count(".")
    return _Link(style, tail, head, length)


def _arrow_with_label(opening: str, closing: str) -> _Link:
    """Meaning of ``-- label -->``. Halves that do not fit are drawn as a plain solid arrow."""
    opening = opening.strip(WHITESPACE)
    link = _arrow(closing)
    tail = _TAILS.get(opening[0], "none")
    style = "dotted" if "." in opening else "thick" if "=" in opening else "solid"
    if style != link.style or (tail != "none" and (tail != link.head or link.tail != "none")):
        return _Link("solid", "none", "point", 1)
    return _Link(style, tail if tail != "none" else link.tail, link.head, link.length)


def _kinds(names: str) -> frozenset[str]:
    return frozenset(names.split())


_ID_TOKENS = _kinds("NUM NODE_STRING DOWN MINUS DEFAULT COMMA COLON AMP BRKT MULT UNICODE_TEXT")
_TITLE_TOKENS = _kinds(
    "NUM NODE_STRING SPACE MINUS AMP UNICODE_TEXT COLON MULT BRKT START_LINK "
    "STYLE LINKSTYLE CLASSDEF CLASS CLICK GRAPH DIR subgraph end DOWN UP"
)
_WORD_TOKENS = _kinds("NUM UNICODE_TEXT NODE_STRING DIR DOWN MINUS COMMA COLON AMP BRKT MULT")
_STYLE_TOKENS = _kinds("NUM NODE_STRING COLON SPACE BRKT STYLE")
_TEXT_TOKENS = _kinds("TEXT TAGSTART TAGEND UNICODE_TEXT")
_EDGE_TEXT_TOKENS = _kinds("EDGE_TEXT UNICODE_TEXT")
_ENDS = _kinds("NEWLINE SEMI EOF")

# Opening token → closing token(s) → shape.
_BRACKETS: dict[str, dict[tuple[str, ...], str]] = {
    "SQS": {("SQE",): "square"},
    "DOUBLECIRCLESTART": {("DOUBLECIRCLEEND",): "doublecircle"},
    "PS PS": {("PE", "PE"): "circle"},
    "PS": {("PE",): "round"},
    "(-": {("-)",): "ellipse"},
    "STADIUMSTART": {("STADIUMEND",): "stadium"},
    "SUBROUTINESTART": {("SUBROUTINEEND",): "subroutine"},
    "CYLINDERSTART": {("CYLINDEREND",): "cylinder"},
    "DIAMOND_START": {("DIAMOND_STOP",): "diamond"},
    "DIAMOND_START DIAMOND_START": {("DIAMOND_STOP", "DIAMOND_STOP"): "hexagon"},
    "TAGEND": {("SQE",): "odd"},
    "TRAPSTART": {("TRAPEND",): "trapezoid", ("INVTRAPEND",): "lean_right"},
    "INVTRAPSTART": {("INVTRAPEND",): "inv_trapezoid", ("TRAPEND",): "lean_left"},
}


class _Direction(str):
    """A ``direction`` statement among the members of a subgraph."""


@dataclass(slots=True)
class _OpenSubgraph:
    line: int
    id: str | None
    title: str
    members: list[str] = field(default_factory=list)


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.drawing = Drawing()
        self.edge_ids: set[str] = set()
        self.parallel: dict[tuple[str, str], int] = {}
        self.claimed: set[str] = set()
        self.subgraph_ids: set[str] = set()
        self.open: list[_OpenSubgraph] = []

    # tokens

    @property
    def kind(self) -> str:
        return self.tokens[self.at].kind

    @property
    def line(self) -> int:
        return self.tokens[self.at].line

    def take(self, *kinds: str) -> str:
        token = self.tokens[self.at]
        if token.kind not in kinds:
            raise self.refuse()
        self.at += 1
        return token.text

    def accept(self, kind: str) -> bool:
        if self.kind != kind:
            return False
        self.at += 1
        return True

    def run(self, kinds: frozenset[str]) -> str:
        """The joined text of one or more tokens of these kinds."""
        first = self.at
        while self.kind in kinds:
            self.at += 1
        if first == self.at:
            raise self.refuse()
        return "".join(token.text for token in self.tokens[first : self.at])

    def refuse(self, says: str = "") -> ChartError:
        token = self.tokens[self.at]
        text = token.text.strip(WHITESPACE)
        if not says:
            if token.kind in ("END", "EOF"):
                says = "the chart ends in the middle of a statement"
            elif not text:
                says = "a statement is not finished where its line ends"
            else:
                says = f"syntax error at {text[:20]!r}"
        return ChartError(says, line=token.line)

    # document

    def parse(self) -> Drawing:
        self.header()
        while self.kind != "END":
            if self.kind == "end" and self.open:
                self.at += 1
                self.close_subgraph()
            else:
                self.line_of_document()
        if self.open:
            raise ChartError("this subgraph has no `end`", line=self.open[-1].line)
        return self.drawing

    def header(self) -> None:
        while self.kind in ("SPACE", "NEWLINE"):
            self.at += 1
        self.take("GRAPH")
        if self.accept("NODIR"):
            return
        direction = self.take("DIR").strip(WHITESPACE)
        # Mermaid takes BR as well, and its layout then runs from top to bottom.
        named = {"<": "RL", ">": "LR", "^": "BT", "v": "TB", "TD": "TB", "BR": "TB"}
        self.drawing.direction = named.get(direction, direction)
        if self.accept("SEMI"):
            return
        while self.accept("SPACE"):
            pass
        self.take("NEWLINE")

    def line_of_document(self) -> None:
        kind = self.kind
        if kind in ("SEMI", "NEWLINE", "SPACE", "EOF"):
            self.at += 1
        elif kind == "subgraph":
            self.open_subgraph()
        elif kind.startswith("direction "):
            self.at += 1
            if self.open:
                self.open[-1].members.append(_Direction(kind.removeprefix("direction ")))
        elif kind in ("acc_title", "acc_descr"):
            self.at += 1
            self.take("LINE")
        elif kind == "acc_descr_multiline_value":
            self.at += 1
        else:
            self.statement(kind)
            self.take(*_ENDS)

    def statement(self, kind: str) -> None:
        match kind:
            case "STYLE":
                self.style_statement()
            case "LINKSTYLE":
                self.link_style_statement()
            case "CLASSDEF":
                self.at += 1
                self.take("SPACE")
                self.run(_ID_TOKENS)
                self.take("SPACE")
                self.styles()
            case "CLASS":
                self.at += 1
                self.take("SPACE")
                self.run(_ID_TOKENS)
                self.take("SPACE")
                self.run(_ID_TOKENS)
            case "CLICK":
                self.click_statement()
            case _:
                self.vertex_statement()

    # subgraphs

    def open_subgraph(self) -> None:
        line = self.line
        self.at += 1
        if self.kind in _ENDS:
            raise ChartError("a subgraph needs a name", line=line)
        self.take("SPACE")
        markdown = self.kind == "MD_STR"
        heading = self.take("STR", "MD_STR") if self.kind in ("STR", "MD_STR") else ""
        if not heading or self.kind in _TITLE_TOKENS:
            heading += self.run(_TITLE_TOKENS)
        identity: str | None = heading.strip(WHITESPACE)
        if self.accept("SQS"):
            title = self.text()
            self.take("SQE")
        else:
            title = _Label(heading, markdown)
            if re.search(f"[{WHITESPACE}]", heading):
                identity = None
        self.take(*_ENDS)
        self.open.append(_OpenSubgraph(line, identity, shown(title.raw.strip(WHITESPACE), title.markdown)))

    def close_subgraph(self) -> None:
        opened = self.open.pop()
        # A title of several words is no id; the number given instead is counted where the subgraph ends.
        identity = f"subGraph{len(self.drawing.subgraphs)}" if opened.id is None else opened.id
        directions = [member for member in opened.members if isinstance(member, _Direction)]
        members = [
            member
            for member in dict.fromkeys(m for m in opened.members if not isinstance(m, _Direction))
            if member.strip(WHITESPACE) and member not in self.claimed
        ]
        self.claimed.update(members)
        direction = {"TD": "TB"}.get(directions[-1], str(directions[-1])) if directions else ""
        self.drawing.subgraphs.append(Subgraph(identity, opened.title, tuple(members), direction, opened.line))
        self.subgraph_ids.add(identity)
        if self.open:
            self.open[-1].members.append(identity)

    # vertices and edges

    def vertex_statement(self) -> None:
        nodes = self.node()
        mentioned = nodes
        while self.kind in ("LINK", "LINK_ID", "START_LINK"):
            line = self.line
            link = self.link()
            targets, data = self.node_then_data()
            self.add_data(targets, data)
            self.add_links(nodes, targets, link, line)
            mentioned = targets + mentioned
            nodes = targets
        if self.open:
            self.open[-1].members += mentioned

    def node(self) -> list[str]:
        nodes, data = self.node_then_data()
        self.add_data(nodes, data)
        return nodes

    def node_then_data(self) -> tuple[list[str], tuple[str, int] | None]:
        """``A & B & C@{…}``: the ids, and the data of the last one, which is to be applied by the caller."""
        nodes = [self.styled_vertex()]
        while True:
            data = self.shape_data()
            spaces = self.at
            while self.accept("SPACE"):
                pass
            if self.at == spaces:
                return nodes, data
            if self.kind != "AMP":
                if data is not None:
                    raise self.refuse()
                return nodes, None
            self.at += 1
            self.take("SPACE")
            while self.accept("SPACE"):
                pass
            self.add_data(nodes, data)
            nodes.append(self.styled_vertex())

    def styled_vertex(self) -> str:
        line = self.line
        identity = self.run(_ID_TOKENS)
        opening = self.kind
        if opening == "VERTEX_WITH_PROPS_START":
            self.at += 1
            self.take("NODE_STRING")
            self.take("COLON")
            self.take("NODE_STRING")
            self.take("PIPE")
            label = self.text()
            self.take("SQE")
            self.add_vertex(identity, line, label, "square")
        elif opening in _BRACKETS:
            self.at += 1
            if f"{opening} {self.kind}" in _BRACKETS:
                opening = f"{opening} {self.kind}"
                self.at += 1
            label = self.text()
            for closing, shape in _BRACKETS[opening].items():
                if self.kind == closing[0]:
                    for kind in closing:
                        self.take(kind)
                    self.add_vertex(identity, line, label, shape)
                    break
            else:
                raise self.refuse()
        else:
            self.add_vertex(identity, line)
        if self.accept("STYLE_SEPARATOR"):
            self.run(_ID_TOKENS)
        return identity

    def text(self) -> _Label:
        if self.kind in ("STR", "MD_STR"):
            markdown = self.kind == "MD_STR"
            raw = self.take("STR", "MD_STR")
            return _Label(raw + (self.run(_TEXT_TOKENS) if self.kind in _TEXT_TOKENS else ""), markdown)
        return _Label(self.run(_TEXT_TOKENS))

    def shape_data(self) -> tuple[str, int] | None:
        if self.kind != "SHAPE_DATA":
            return None
        line = self.line
        return self.run(frozenset({"SHAPE_DATA"})), line

    def link(self) -> _Link:
        identity = self.take("LINK_ID").replace("@", "", 1) if self.kind == "LINK_ID" else ""
        label: _Label | None = None
        if self.kind == "START_LINK":
            opening = self.take("START_LINK")
            if self.kind in ("STR", "MD_STR"):
                markdown = self.kind == "MD_STR"
                raw = self.take("STR", "MD_STR")
                label = _Label(raw + (self.run(_EDGE_TEXT_TOKENS) if self.kind in _EDGE_TEXT_TOKENS else ""), markdown)
            else:
                label = _Label(self.run(_EDGE_TEXT_TOKENS))
            link = _arrow_with_label(opening, self.take("LINK"))
        else:
            link = _arrow(self.take("LINK"))
            if self.accept("PIPE"):
                label = self.text()
                self.take("PIPE")
                self.accept("SPACE")
        return _Link(link.style, link.tail, link.head, link.length, identity, label)

    # meaning

    def add_vertex(self, identity: str, line: int, label: _Label | None = None, shape: str | None = None) -> None:
        if identity in self.edge_ids:
            return
        vertex = self.drawing.vertices.get(identity)
        if vertex is None:
            vertex = self.drawing.vertices[identity] = Vertex(identity, shown(identity), "square", line)
        if label is not None:
            vertex.text = _label_text(label)
        if shape is not None:
            vertex.shape = shape

    def add_data(self, nodes: list[str], data: tuple[str, int] | None) -> None:
        if data is None:
            return
        identity, (text, line) = nodes[-1], data
        try:
            found = load("{\n" + text + "\n}" if "\n" not in text else text + "\n")
            if identity in self.edge_ids or (identity in self.subgraph_ids and found):
                return
            self.apply_data(self.drawing.vertices[identity], found)
        except ValueError as error:
            raise ChartError(str(error), line=line) from None

    def apply_data(self, vertex: Vertex, data: Any) -> None:
        """Shape, label and icon of ``@{ … }``; what has the wrong type is ignored or refused as Mermaid does."""
        if data is None:
            raise ValueError("the data of a node must not be empty")
        if not isinstance(data, dict):
            return
        shape, label = data.get("shape"), data.get("label")
        if shape:
            if not isinstance(shape, str):
                raise ValueError("the shape of a node must be a name")
            if "_" in shape or shape in _BRACKETS_ONLY or shape not in _SHAPES:
                raise ValueError("no such shape")
            vertex.shape = shape_name(shape)
        if label:
            vertex.text = shown(as_text(label), data.get("labelType") not in ("string", "text"))
        if data.get("icon") or data.get("img"):
            if label is not None and not isinstance(label, str):
                raise ValueError("the label of an icon must be a text")
            if not (label or "").strip(WHITESPACE) and vertex.text == vertex.id:
                vertex.text = ""

    def add_links(self, starts: list[str], ends: list[str], link: _Link, line: int) -> None:
        label = _label_text(link.label) if link.label else ""
        for start in starts:
            for end in ends:
                named = link.id if start == starts[-1] and end == ends[0] else ""
                count = self.parallel.get((start, end), 0)
                self.parallel[start, end] = count + 1
                if named and named not in self.edge_ids:
                    self.edge_ids.add(named)
                else:
                    self.edge_ids.add(f"L_{start}_{end}_{count + 1 if count else 0}")
                if len(self.drawing.edges) >= MAX_EDGES:
                    raise ChartError(f"the chart has more than the {MAX_EDGES} edges Mermaid draws", line=line)
                length = min(link.length, 10)
                self.drawing.edges.append(Edge(start, end, label, link.style, link.tail, link.head, length, line))

    # statements that only decorate

    def styles(self) -> None:
        """``fill:#fff,stroke:red``: one or more components, between commas."""
        self.run(_STYLE_TOKENS)
        while self.accept("COMMA"):
            self.run(_STYLE_TOKENS)

    def style_statement(self) -> None:
        self.at += 1
        self.take("SPACE")
        line = self.line
        identity = self.run(_ID_TOKENS)
        self.take("SPACE")
        self.styles()
        self.add_vertex(identity, line)

    def link_style_statement(self) -> None:
        line = self.line
        self.at += 1
        self.take("SPACE")
        indices: list[str] = []
        if not self.accept("DEFAULT"):
            indices.append(self.take("NUM"))
            while self.accept("COMMA"):
                indices.append(self.take("NUM"))
        self.take("SPACE")
        if self.accept("INTERPOLATE"):
            self.take("SPACE")
            self.run(_WORD_TOKENS)
            if self.accept("SPACE"):
                self.styles()
        else:
            self.styles()
        known = {str(index) for index in range(len(self.drawing.edges))}
        if not known.issuperset(indices):
            raise ChartError("linkStyle names an edge that does not stand above it", line=line)

    def click_statement(self) -> None:
        self.at += 1
        if self.accept("CALLBACKNAME"):
            self.accept("CALLBACKARGS")
            self.optional("STR")
        elif self.kind == "HREF" or self.kind == "STR":
            self.accept("HREF")
            self.take("STR")
            if not self.optional("LINK_TARGET") and self.optional("STR"):
                self.optional("LINK_TARGET")
        else:
            self.run(_WORD_TOKENS)
            self.optional("STR")

    def optional(self, kind: str) -> bool:
        """``SPACE kind``, if it stands here; a space alone is left for the caller to refuse."""
        if self.kind == "SPACE" and self.tokens[self.at + 1].kind == kind:
            self.at += 2
            return True
        return False


def parse(text: str) -> Drawing:
    """Everything the flowchart in ``text`` draws. Raises ``ChartError`` with the line where Mermaid refuses it."""
    tokens, frontmatter = tokenize(text)
    if frontmatter is not None:
        try:
            load(frontmatter)
        except ValueError as error:
            raise ChartError(f"frontmatter: {error}", line=1) from None
    return _Parser(tokens).parse()
