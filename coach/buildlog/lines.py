"""A job's log → the lines a build printed, without what the machine around it put before, between and into them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z"
_GITHUB = re.compile(rf"(?:[^\t]*\t[^\t]*\t)?\ufeff?{_TIME} ?")
_GITLAB = re.compile(rf"{_TIME} [0-9a-f]{{2}}[OE](\+| |$)")
_SECTION = re.compile(r"section_(?:start|end):\d+:\S+")
_LONGEST = 100_000  # characters of one line that are looked at


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a build: where it stands in the file, its text, and when it was printed (seconds) if that is told."""

    number: int
    text: str
    when: float | None = None


def _when(stamp: str, fraction: str | None) -> float | None:
    try:
        seconds = datetime.fromisoformat(f"{stamp}+00:00").timestamp()
    except ValueError:
        return None
    return seconds + (float(f"0.{fraction[:9]}") if fraction else 0.0)


def lines(content: bytes) -> Iterator[Line]:
    """Every line, cleaned. Pieces that GitLab's runner cut are joined again."""
    open_line: Line | None = None
    for number, raw in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        text = raw[:_LONGEST]
        when: float | None = None
        joined = False
        gitlab = _GITLAB.match(text)
        if gitlab is not None:
            when, joined = _when(gitlab[1], gitlab[2]), gitlab[3] == "+"
            text = text[gitlab.end() :]
        text = _ANSI.sub("", text)
        if gitlab is None:
            github = _GITHUB.match(text)
            if github is not None:
                when = _when(github[1], github[2])
                text = text[github.end() :]
        text = _SECTION.sub("", text)
        if joined and open_line is not None:
            open_line = Line(open_line.number, (open_line.text + text)[:_LONGEST], open_line.when)
            continue
        if open_line is not None:
            yield from _parts(open_line)
        open_line = Line(number, text, when)
    if open_line is not None:
        yield from _parts(open_line)


def _parts(line: Line) -> Iterator[Line]:
    """A line that was drawn over with carriage returns, as the lines it was one after another."""
    if "\r" not in line.text:
        yield line
        return
    for part in line.text.split("\r"):
        if part.strip():
            yield Line(line.number, part, line.when)
