"""Edits of YAML files by span: lines put in and taken out, comments, anchors, indentation and line ends kept."""

from __future__ import annotations

import re
from collections.abc import Sequence

from coach.ci.yamldoc import Doc, Node
from coach.model import Edit, Span


class CannotEditError(Exception):
    """The place is written in a way that is not edited; the text says which."""


def insert_after(doc: Doc, line: int, lines: Sequence[str]) -> Edit:
    """New lines below ``line`` (their indentation included, their ends not)."""
    at = doc.line_span(line, line).end
    eol = doc.eol
    block = eol.join(text.encode() for text in lines)
    if at > 0 and doc.content[at - 1 : at] != b"\n":
        return Edit(doc.path, Span(at, at), eol + block)
    return Edit(doc.path, Span(at, at), block + eol)


def insert_before(doc: Doc, line: int, lines: Sequence[str]) -> Edit:
    """New lines above ``line``."""
    at = doc.line_span(line, line).start
    if line == 1:
        at = doc.bom
    return Edit(doc.path, Span(at, at), b"".join(text.encode() + doc.eol for text in lines))


def delete_lines(doc: Doc, first: int, last: int) -> Edit:
    """Take whole lines out."""
    return Edit(doc.path, doc.line_span(first, last), b"")


def replace_span(doc: Doc, span: Span, text: str) -> Edit:
    """Other bytes at ``span``."""
    return Edit(doc.path, span, text.encode())


def key_indent(mapping: Node) -> str:
    """Blanks in front of the keys of a block mapping."""
    first = next((value for value in mapping.entries().values() if value.doc is mapping.doc), None)
    if mapping.flow or first is None or first.key is None:
        raise CannotEditError("it is written in braces on one line")
    return " " * first.key_column


def own(node: Node, first: int, last: int) -> None:
    """Raise unless ``node`` is written inside the lines ``first`` to ``last``: an alias stands somewhere else."""
    if not first <= node.line <= last:
        raise CannotEditError("it is an alias of something that other places use too")


def add_keys(mapping: Node, entries: Sequence[tuple[str, str | Sequence[str]]], after: str | None = None) -> Edit:
    """Put keys into a block mapping, behind the last one or behind ``after``.

    A value is the text behind the colon, or the lines of a block (already relative to the key's indentation).
    """
    doc = mapping.doc
    if mapping.flow:
        return _add_to_flow(mapping, entries)
    indent = key_indent(mapping)
    line = mapping.end_line
    if after is not None and after in mapping.entries():
        line = max(mapping.entries()[after].end_line, mapping.entries()[after].key_line)
    lines: list[str] = []
    for key, value in entries:
        if isinstance(value, str):
            lines.append(f"{indent}{key}: {value}")
        else:
            lines += [f"{indent}{key}: {value[0]}".rstrip(), *(f"{indent}{text}" for text in value[1:])]
    return insert_after(doc, line, lines)


def _add_to_flow(mapping: Node, entries: Sequence[tuple[str, str | Sequence[str]]]) -> Edit:
    if not all(isinstance(value, str) for _, value in entries):
        raise CannotEditError("it is written in braces on one line")
    if any(re.search(r"[,{}\[\]]", str(value)) for _, value in entries):
        entries = [(key, f'"{value}"') for key, value in entries]
    end = mapping.span.end - 1
    doc = mapping.doc
    last = doc.content[:end].rstrip()
    at = len(last)
    text = ", ".join(f"{key}: {value}" for key, value in entries)
    lead = "" if last.endswith((b"{", b",")) else ", "
    if last.endswith(b","):
        lead = " "
    return Edit(doc.path, Span(at, at), (lead + text).encode())


def delete_key(mapping: Node, key: str) -> Edit:
    """Take a key and its value out of a block mapping. Comments above it stay."""
    node = mapping.entries()[key]
    if mapping.flow:
        raise CannotEditError("it is written in braces on one line")
    if len(mapping.entries()) == 1:
        raise CannotEditError("it is the only key of its mapping")
    first = node.key_line
    if mapping.line == first and mapping.column > 0 and mapping.doc.line_text(first)[: mapping.column].strip():
        raise CannotEditError("it stands on the line of its list item")
    return delete_lines(mapping.doc, first, max(node.end_line, first))


def append_to_scalar(node: Node, text: str) -> Edit:
    """``text`` behind the last character of a one-line value, inside its quotes."""
    if node.style in ("|", ">"):
        raise CannotEditError("it is a block of several lines")
    span = node.span
    at = span.end - 1 if node.style else span.end
    return Edit(node.doc.path, Span(at, at), text.encode())


def block_lines(node: Node) -> list[tuple[int, str]]:
    """Lines of a literal block as ``(line of the file, text)``."""
    if node.style != "|":
        raise CannotEditError("it is not written as a block of lines")
    source = node.source()
    at = 0
    found: list[tuple[int, str]] = []
    for text in source.text.rstrip("\n").split("\n"):
        if text.strip():
            found.append((source.line(at + len(text) - len(text.lstrip())), text))
        at += len(text) + 1
    return found


def item_indent(item: Node) -> str:
    """Blanks in front of the dash of a list item."""
    line = item.doc.line_text(item.line)
    match = re.match(r"(\s*)-\s", line)
    if match is None:
        # the dash may stand alone on the line above
        above = item.doc.line_text(item.line - 1) if item.line > 1 else ""
        match = re.match(r"(\s*)-\s*$", above)
        if match is None:
            raise CannotEditError("the list is written in brackets on one line")
    return match[1]


def item_first_line(item: Node) -> int:
    """The line that holds the dash of a list item."""
    return item.line if re.match(r"\s*-\s", item.doc.line_text(item.line)) else item.line - 1
