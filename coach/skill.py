"""A SKILL.md read as what it means: its chart, advice sections, anti-patterns, jump list and gates.

Any document with a Mermaid flowchart loads, not only the shipped one. The advice is found by heading:

- ``Core capabilities`` holds the sections, one level below; without it every heading is a section that is not
  one of the others named here.
- ``Anti-patterns`` holds level by level headings with ``**Symptom:**``, ``**Diagnosis:**`` and ``**Fix:**``.
- ``Quality gates`` is a checklist; ``Worked example`` a section of its own.
- The list under a heading or a line that says "jump" leads from symptoms to sections.

The text is parsed as CommonMark without its inline syntax, so its cost stays linear in a hostile document.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from coach.errors import InputError, SkillError

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_CHARS = 250_000

# Patterns stay text here: re compiles each when it is first used, and a walk uses few of them.
_FENCE = r"-{3}[ \t]*"
_ANTI_PATTERNS = r"(?i)anti[- ]?patterns?\b"
_GATES = r"(?i)quality gates?\b"
_WORKED = r"(?i)worked example\b"
_CAPABILITIES = r"(?i)(core )?capabilities\b"
_JUMP = r"(?i)\bjump\b"
_PART = r"(?i)[ \t]{0,8}(?:[-*+][ \t]{1,4})?\*\*(Symptom|Diagnosis|Fix)[ \t]?(?::\*\*|\*\*[ \t]?:)"
_LINK = r"\[([^\[\]\n]{0,300})\]\(([^()\s]{1,500})\)"
_ARROW = r"[ \t]*(?:→|⇒|->|=>|:|—|–)[ \t]*$"
_CODE_ID = r"`([A-Za-z0-9_.-]{1,80})`[ \t]*:[ \t]*"
_GATE = r"\[[ xX]\][ \t]+(?:(?:`([\w.-]{1,80})`|\*\*([\w.-]{1,80})\*\*)[ \t]{0,4}:[ \t]*)?"
_FIX_ID = r"\bF[0-9]{1,3}\b"
_WORD = r"[^\W_]+"
_COMMON = frozenset(
    (
        *("a", "an", "as", "at", "be", "by", "in", "is", "it", "no", "of", "on", "or", "to"),
        *("and", "for", "fix", "its", "not", "one", "the", "use", "before", "from", "into", "then", "with"),
    )
)
_MOST_WORDS = 64
_MOST_FIXES = 100


class Section(NamedTuple):
    """One heading with what stands under it, up to the next heading of its level or above.

    ``title`` is the heading as written (backquotes included), ``anchor`` the fragment GitHub gives it, ``markdown``
    the text below it without the heading, ``line`` the heading's line.
    """

    title: str
    anchor: str
    markdown: str
    line: int


class AntiPattern(NamedTuple):
    """A mistake by its heading; a part the document does not give is ""."""

    title: str
    anchor: str
    symptom: str
    diagnosis: str
    fix: str
    line: int


class Jump(NamedTuple):
    """One entry of the jump list.

    ``symptom`` is what ``--symptom`` takes: the id in front of the entry where there is one, else its words.
    ``node`` is where the walk enters the chart ("" when the chart does not say), ``section`` the title of the
    section linked to ("" when the link leads nowhere), ``text`` the words of the entry.
    """

    symptom: str
    node: str
    section: str
    text: str


class Gate(NamedTuple):
    """One row of the checklist: its id ("" when it has none), its words, the FIX ids it names, its line."""

    id: str
    text: str
    fixes: tuple[str, ...]
    line: int


class Link(NamedTuple):
    """A link of the document, for those who check that it leads somewhere. Links in code are not links."""

    text: str
    target: str
    line: int


class Prose(NamedTuple):
    """What a SKILL.md holds beside its chart, its sections and its anti-patterns; the fields are those of ``Skill``."""

    name: str
    description: str
    gates: tuple[Gate, ...]
    worked_example: Section | None
    headings: tuple[Section, ...]
    links: tuple[Link, ...]
    frontmatter: Mapping[str, object]
    entries: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Skill:
    """What a SKILL.md holds. ``chart_line`` is the line of the file on which ``chart_text`` begins.

    ``sections`` and ``anti_patterns`` are keyed by title, in the order of the document; of two equal headings the
    first counts; ``mistakes`` are the anti-patterns as written. ``frontmatter`` holds plain values; ``name`` and
    ``description`` are "" without one. A walk needs the chart and the sections; ``prose`` gives the rest, and may
    read it only then.
    """

    path: str
    chart_text: str
    chart_line: int
    sections: Mapping[str, Section]
    mistakes: Mapping[str, Section]
    prose: Callable[[], Prose] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.prose().name

    @property
    def description(self) -> str:
        return self.prose().description

    @property
    def anti_patterns(self) -> Mapping[str, AntiPattern]:
        return {title: _anti_pattern(section) for title, section in self.mistakes.items()}

    @property
    def gates(self) -> tuple[Gate, ...]:
        return self.prose().gates

    @property
    def worked_example(self) -> Section | None:
        return self.prose().worked_example

    @property
    def headings(self) -> tuple[Section, ...]:
        return self.prose().headings

    @property
    def links(self) -> tuple[Link, ...]:
        return self.prose().links

    @property
    def frontmatter(self) -> Mapping[str, object]:
        return self.prose().frontmatter

    @property
    def anchors(self) -> Mapping[str, str]:
        """Every anchor of the document with its heading."""
        return {heading.anchor: heading.title for heading in self.headings}

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """The jump list, each entry with the node at which the walk begins.

        The chart is parsed here and nowhere else. The node is the target of the edge that leaves a start of the chart
        under the entry's symptom or words; failing that, the decision that leads to the FIX whose section the entry
        links to. Raises ``ChartError`` for a chart that Mermaid refuses.
        """
        if not self.prose().entries:
            return ()
        from coach.flowchart import is_fix, load_chart

        chart = load_chart(self.chart_text)
        entries: dict[str, str] = {}
        fixes: dict[str, str] = {}
        advised = 0
        for source, target, edge in chart.edges(data=True):
            label = _plain(str(edge.get("label", "")))
            if label and not chart.in_degree(source):
                entries.setdefault(label, str(target))
            if chart.out_degree(source) > 1 and advised < _MOST_FIXES and is_fix(chart, target):
                advised += 1
                section = self.section_for(str(target), str(chart.nodes[target]["text"]))
                if section is not None:
                    fixes.setdefault(section.anchor, str(source))
        titles = self.anchors
        return tuple(
            Jump(
                symptom or text,
                entries.get(_plain(symptom or text)) or fixes.get(anchor, ""),
                titles.get(anchor, ""),
                text,
            )
            for symptom, text, anchor in self.prose().entries
        )

    def section_for(self, fix: str, label: str) -> Section | None:
        """The section that most likely advises on a FIX no lesson is bound to; ``None`` when nothing speaks for one.

        A heading that names the FIX id wins. Else the words of ``label`` are looked for in each section: in its
        title, in the jump entries that link to it, in its text; a word counts the more the fewer sections have it.
        """
        for section in self.sections.values():
            if fix and fix in re.findall(_FIX_ID, section.title):
                return section
        wanted = sorted(_words(label[:2000]) - _words(fix))[:_MOST_WORDS]
        spoken: dict[str, set[str]] = {}
        for _, text, anchor in self.prose().entries:
            spoken.setdefault(anchor, set()).update(_words(text))
        held = {section.title: _words(section.markdown) for section in self.sections.values()}
        spread = Counter(word for words in held.values() for word in wanted if word in words)
        best: Section | None = None
        most = 0.0
        for section in self.sections.values():
            title = _words(section.title)
            score = 0.0
            for word in wanted:
                # "ignore" is to be found in ".dockerignore".
                named = word in title or (len(word) > 4 and any(word in part for part in title))
                times = 3 * named + 2 * (word in spoken.get(section.anchor, ())) + (word in held[section.title])
                score += times * (1 + math.log((1 + len(held)) / (1 + spread[word])))
            if score > most:
                best, most = section, score
        return best


def load(text: str, path: str = "SKILL.md") -> Skill:
    """Read a SKILL.md. Raises ``SkillError`` with the line for a frontmatter that is not one, for a document
    without a Mermaid flowchart, and for more than ``MAX_CHARS`` characters."""
    if len(text) > MAX_CHARS:
        raise SkillError(f"a skill of more than {MAX_CHARS} characters is not read", path)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    frontmatter, first = _frontmatter(lines, path)
    # Blank lines in place of the frontmatter keep the line numbers of the tokens those of the file.
    body = [""] * first + lines[first:]
    tokens = _tokens("\n".join(body))
    headings = tuple(_headings(tokens, body))
    chart_text, chart_line = _chart(tokens, path)
    worked = next((heading.section for heading in headings if re.match(_WORKED, heading.section.title)), None)
    prose = Prose(
        name=_string(frontmatter, "name", lines, path),
        description=_string(frontmatter, "description", lines, path),
        gates=tuple(_gates(tokens, headings)),
        worked_example=worked,
        headings=tuple(heading.section for heading in headings),
        links=tuple(_links(tokens)),
        frontmatter=frontmatter,
        entries=tuple(_entries(tokens)),
    )
    sections = _by_title(_sections(headings, chart_line))
    mistakes = _by_title(_below(headings, _ANTI_PATTERNS))
    return Skill(path, chart_text, chart_line, sections, mistakes, lambda: prose)


def load_shipped(text: str, path: str) -> Skill:
    """What ``load`` gives for the skill that is shipped with coach, its prose read only when it is asked for.

    Its chart and its sections are found by lines, without a Markdown parser: it is known to be written plainly (``#``
    headings and backquote fences at the margin). A test holds both readings to be the same.
    """
    text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    chart = re.search(r"(?ms)^```mermaid\n(.*?)^```$", text)
    if chart is None:
        raise SkillError("there is no Mermaid flowchart to walk", path, 1)
    chart_line = text.count("\n", 0, chart.start(1)) + 1
    marks: list[tuple[int, int]] = []  # level and index of each heading's line
    fenced = False
    for at, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            marks.append((len(line) - len(line.lstrip("#")), at))
    headings = []
    for number, (level, at) in enumerate(marks):
        title = lines[at].lstrip("#").strip()
        end = next((other for deep, other in marks[number + 1 :] if deep <= level), len(lines))
        section = Section(title, _slug(title), "\n".join(lines[at + 1 : end]).strip("\n"), at + 1)
        headings.append(_Heading(level, False, section))
    sections = _by_title(_sections(tuple(headings), chart_line))
    mistakes = _by_title(_below(tuple(headings), _ANTI_PATTERNS))
    return Skill(path, chart[1], chart_line, sections, mistakes, cache(lambda: load(text, path).prose()))


def anchors_of(markdown: str) -> frozenset[str]:
    """The anchors GitHub gives the headings of any Markdown document."""
    lines = markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return frozenset(heading.section.anchor for heading in _headings(_tokens("\n".join(lines)), lines))


def links_of(markdown: str) -> tuple[Link, ...]:
    """The links of any Markdown document, code excluded."""
    return tuple(_links(_tokens(markdown.replace("\r\n", "\n").replace("\r", "\n"))))


class _Heading(NamedTuple):
    level: int
    nested: bool
    section: Section


def _frontmatter(lines: list[str], path: str) -> tuple[Mapping[str, object], int]:
    """The frontmatter as plain values, and how many lines it takes."""
    if not re.fullmatch(_FENCE, lines[0]):
        return {}, 0
    end = next((number for number, line in enumerate(lines[1:], 1) if re.fullmatch(_FENCE, line)), 0)
    if not end:
        raise SkillError("the frontmatter is not closed with ---", path, 1)
    from coach import safe_yaml

    try:
        values = safe_yaml.load("\n".join(lines[1:end]).encode(errors="replace"), path)
    except InputError as error:
        raise SkillError(f"broken frontmatter: {error.says}", path, error.line + 1) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise SkillError("the frontmatter is not a mapping of names to values", path, 2)
    return {str(name): value for name, value in values.items()}, end + 1


def _string(frontmatter: Mapping[str, object], key: str, lines: list[str], path: str) -> str:
    value = frontmatter.get(key)
    if isinstance(value, dict | list):
        line = next((number for number, text in enumerate(lines, 1) if text.startswith(f"{key}:")), 1)
        raise SkillError(f"{key} in the frontmatter is not text", path, line)
    return "" if value is None else str(value).strip()


def _tokens(text: str) -> list[Token]:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").disable("inline").parse(text)


def _headings(tokens: list[Token], lines: list[str]) -> Iterator[_Heading]:
    taken: Counter[str] = Counter()
    places = [at for at, token in enumerate(tokens) if token.type == "heading_open"]
    ends = _ends(tokens, places, len(lines))
    for at, end in zip(places, ends, strict=True):
        token = tokens[at]
        start, after = token.map or (0, 1)
        title = tokens[at + 1].content.strip()
        anchor = slug = _slug(title)
        while anchor in taken:
            taken[slug] += 1
            anchor = f"{slug}-{taken[slug]}"
        taken[anchor] += 0
        body = "" if token.level else "\n".join(lines[after:end]).strip("\n")
        yield _Heading(int(token.tag[1:]), bool(token.level), Section(title, anchor, body, start + 1))


def _ends(tokens: list[Token], places: list[int], last: int) -> list[int]:
    """For each heading, the line before which its section ends."""
    ends = [last] * len(places)
    open_: list[tuple[int, int]] = []
    for number, at in enumerate(places):
        token = tokens[at]
        if token.level:
            continue
        level, line = int(token.tag[1:]), (token.map or (0, 1))[0]
        while open_ and open_[-1][0] >= level:
            ends[open_.pop()[1]] = line
        open_.append((level, number))
    return ends


def _slug(title: str) -> str:
    text = re.sub(_LINK, lambda match: match[1], title)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def _chart(tokens: list[Token], path: str) -> tuple[str, int]:
    other = 0
    for token in tokens:
        if token.type != "fence" or token.info.strip().partition(" ")[0].lower() != "mermaid":
            continue
        line = (token.map or (0, 1))[0] + 1
        if re.search(r"^[ \t]{0,40}(?:flowchart|graph)\b", token.content, re.MULTILINE):
            return token.content, line + 1
        other = other or line
    says = "this Mermaid diagram is not a flowchart" if other else "there is no Mermaid flowchart to walk"
    raise SkillError(says, path, other or 1)


def _below(headings: tuple[_Heading, ...], name: str) -> list[Section]:
    """The headings one step below the heading that ``name`` matches."""
    found: list[Section] = []
    parent = step = 0
    for heading in headings:
        if heading.nested:
            continue
        if parent and heading.level <= parent:
            break
        if parent:
            step = step or heading.level
            if heading.level == step:
                found.append(heading.section)
        elif re.match(name, heading.section.title):
            parent = heading.level
    return found


def _sections(headings: tuple[_Heading, ...], chart_line: int) -> list[Section]:
    capabilities = _below(headings, _CAPABILITIES)
    if capabilities:
        return capabilities
    found = []
    skip = 0
    for number, heading in enumerate(headings):
        if heading.nested or heading.level == 1:
            continue
        if skip and heading.level > skip:
            continue
        skip = 0
        title = heading.section.title
        if any(re.match(name, title) for name in (_ANTI_PATTERNS, _GATES, _WORKED)) or re.search(_JUMP, title):
            skip = heading.level
            continue
        following = headings[number + 1].section.line if number + 1 < len(headings) else math.inf
        if not heading.section.line < chart_line < following:
            found.append(heading.section)
    return found


def _by_title(sections: list[Section]) -> dict[str, Section]:
    found: dict[str, Section] = {}
    for section in sections:
        found.setdefault(section.title, section)
    return found


def _anti_pattern(section: Section) -> AntiPattern:
    parts: dict[str, list[str]] = {}
    part = ""
    for line in section.markdown.split("\n"):
        label = re.match(_PART, line)
        if label:
            part = label[1].lower()
            line = line[label.end() :]
        if part:
            parts.setdefault(part, []).append(line.strip())
    said = {name: "\n".join(text).strip() for name, text in parts.items()}
    return AntiPattern(
        section.title,
        section.anchor,
        said.get("symptom", ""),
        said.get("diagnosis", ""),
        said.get("fix", ""),
        section.line,
    )


def _items(tokens: list[Token], start: int) -> Iterator[tuple[str, int]]:
    """First line of text of each item of the list that opens at ``start``, with its line."""
    depth = tokens[start].level
    fresh = False
    for at in range(start + 1, len(tokens)):
        token = tokens[at]
        if token.level == depth:
            return
        if token.type == "list_item_open" and token.level == depth + 1:
            fresh = True
        elif fresh and token.type == "inline":
            fresh = False
            yield token.content, (token.map or (0, 1))[0] + 1


def _entries(tokens: list[Token]) -> Iterator[tuple[str, str, str]]:
    """Symptom, words and anchor of every entry of the jump list."""
    for at, token in enumerate(tokens):
        if token.type != "bullet_list_open" or token.level or at < 2 or tokens[at - 2].type != "inline":
            continue
        if not re.search(_JUMP, tokens[at - 2].content):
            continue
        for text, _ in _items(tokens, at):
            link = next((match for match in re.finditer(_LINK, text) if match[2].startswith("#")), None)
            if link is None:
                continue
            words = text[: link.start()]
            arrow = re.search(_ARROW, words)
            words = words[: arrow.start()] if arrow else words
            named = re.match(_CODE_ID, words)
            symptom = named[1] if named else ""
            yield symptom, words[named.end() :].strip() if named else words.strip(), link[2][1:]
        return


def _gates(tokens: list[Token], headings: tuple[_Heading, ...]) -> Iterator[Gate]:
    lines = [
        heading.section.line for heading in headings if not heading.nested and re.match(_GATES, heading.section.title)
    ]
    if not lines:
        return
    level = next(heading.level for heading in headings if heading.section.line == lines[0])
    inside = False
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and not token.level:
            line = (token.map or (0, 1))[0] + 1
            if inside and int(token.tag[1:]) <= level:
                return
            inside = inside or line == lines[0]
        elif inside and token.type == "bullet_list_open" and not token.level:
            for text, line in _items(tokens, at):
                box = re.match(_GATE, text)
                if box:
                    fixes = tuple(dict.fromkeys(re.findall(_FIX_ID, text)))
                    yield Gate(box[1] or box[2] or "", text[box.end() :].strip(), fixes, line)


def _links(tokens: list[Token]) -> Iterator[Link]:
    for token in tokens:
        if token.type != "inline":
            continue
        line = (token.map or (0, 1))[0] + 1
        # Inline code is blanked out at its length, so that what looks like a link in it is none.
        text = re.sub(r"`[^`\n]{0,300}`", lambda match: " " * len(match[0]), token.content)
        for match in re.finditer(_LINK, text):
            within = token.content[: match.start()].count("\n")
            yield Link(token.content[match.start(1) : match.end(1)], match[2], line + within)


def _words(text: str) -> set[str]:
    # Plurals and verb forms of one word should meet: "mounts" and "mount", "ordering" and "order".
    found = set()
    for word in re.findall(_WORD, text.lower()):
        stem = re.sub(r"(?:ing|ed|es|s)$", "", word) if len(word) > 4 else word
        if len(stem) > 1 and word not in _COMMON:
            found.add(stem)
    return found


def _plain(text: str) -> str:
    return " ".join(re.findall(_WORD, text.lower()))
