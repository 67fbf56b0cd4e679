"""Where a skill goes, what would be written there, and whether it is one: planned and judged without a disk.

Directories are those the clients document (agentskills.io, "Adding skills support", and the clients' own pages,
read 2026-11). ``.agents/skills`` and ``.claude/skills`` reach nearly all of them.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote

from coach.errors import ChartError, InputError, SkillError, UsageError
from coach.skill import anchors_of, links_of, load

MANIFEST = ".coach-skill.json"
CROSS_CLIENT = "agents"
DIRECTORIES: Mapping[str, tuple[str, str]] = {
    # agent: (in a project, under the home directory)
    CROSS_CLIENT: (".agents/skills", "~/.agents/skills"),
    "claude": (".claude/skills", "~/.claude/skills"),
    "codex": (".agents/skills", "~/.agents/skills"),
    "cursor": (".agents/skills", "~/.cursor/skills"),
    "copilot": (".agents/skills", "~/.copilot/skills"),
    "gemini": (".agents/skills", "~/.agents/skills"),
    "opencode": (".agents/skills", "~/.config/opencode/skills"),
}

MAX_NAME = 64
MAX_DESCRIPTION = 1024
MAX_COMPATIBILITY = 500
MAX_BODY_LINES = 500
MAX_BODY_TOKENS = 5000
CHARS_PER_TOKEN = 3.65
"""Measured on the shipped skill with the o200k vocabulary; prose alone is nearer to 4."""
FIELDS = frozenset(("name", "description", "license", "compatibility", "metadata", "allowed-tools"))

_DELIMITER = re.compile(r"-{3}[ \t]*")


class Scope(StrEnum):
    """For one project, or for everything the user does."""

    PROJECT = "project"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Write:
    """One file to write. ``path`` is relative to the project, or begins with ``~/``, or stands under ``dest``."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A path that stays as it is, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What an install would do. Nothing to do is an empty plan with a note.

    A directory is written whole or not at all: one refused file keeps the others of its directory back.
    ``deletes`` are files of an earlier version that the skill no longer has and nobody has edited.
    """

    writes: tuple[Write, ...] = ()
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a skill. ``error`` false is advice of the specification that is not a rule."""

    path: str
    line: int
    says: str
    error: bool = True


def targets(
    name: str,
    agents: Iterable[str] = (),
    scope: Scope = Scope.PROJECT,
    dest: str | None = None,
    present: Callable[[str], bool] = lambda _: False,
) -> tuple[str, ...]:
    """The directories the skill ``name`` would be installed in, each once.

    ``dest`` overrides everything else. Without ``agents`` that is the cross-client directory, and Claude's where
    ``present`` says that ``.claude`` exists; ``all`` is every agent. Raises ``UsageError`` for an unknown agent.
    """
    if dest is not None:
        return (posixpath.join(dest, name),)
    column = 0 if scope is Scope.PROJECT else 1
    wanted = list(agents)
    if not wanted:
        wanted = [CROSS_CLIENT]
        if present(".claude" if scope is Scope.PROJECT else "~/.claude"):
            wanted.append("claude")
    if "all" in wanted:
        wanted = list(DIRECTORIES)
    for agent in wanted:
        if agent not in DIRECTORIES:
            raise UsageError(f"unknown agent {agent!r} (known: {', '.join(DIRECTORIES)}, all)")
    return tuple(dict.fromkeys(f"{DIRECTORIES[agent][column]}/{name}" for agent in wanted))


def plan_install(
    skill_files: Mapping[str, bytes],
    existing: Callable[[str], bytes | None],
    agents: Iterable[str] = (),
    scope: Scope = Scope.PROJECT,
    dest: str | None = None,
    force: bool = False,
    present: Callable[[str], bool] = lambda _: False,
) -> Plan:
    """Plan to install the skill whose files, by path relative to its directory, are ``skill_files``.

    ``existing`` gives the content of a path as ``Write.path`` spells it, ``None`` where there is no file. A file
    that is there and was not written by an earlier install, or was edited since, is refused unless ``force``.
    Raises ``SkillError`` for files that are no skill, ``UsageError`` for an unknown agent.
    """
    name = _name(skill_files)
    plan = Plan()
    for directory in targets(name, agents, scope, dest, present):
        plan = _joined(plan, _plan_directory(directory, name, skill_files, existing, force, manifest=True))
    return plan


def plan_export(
    skill_files: Mapping[str, bytes], existing: Callable[[str], bytes | None], dest: str, force: bool = False
) -> Plan:
    """Plan to write the skill to ``dest/<name>/`` and nothing besides: no manifest, so that it can be published."""
    name = _name(skill_files)
    return _plan_directory(posixpath.join(dest, name), name, skill_files, existing, force, manifest=False)


def _name(skill_files: Mapping[str, bytes]) -> str:
    content = skill_files.get("SKILL.md")
    if content is None:
        raise SkillError("there is no SKILL.md", "SKILL.md")
    name = load(_text(content, "SKILL.md"), "SKILL.md").name
    # The name becomes a directory, so it must be one before it is anything else.
    problem = next(_name_problems(name), "")
    if problem or not re.fullmatch(r"[^/\\\0]+", name):
        raise SkillError(problem or "the name cannot be a directory", "SKILL.md", 1)
    for path in skill_files:
        if path.startswith("/") or "\\" in path or path != posixpath.normpath(path) or path.split("/")[0] == "..":
            raise SkillError("a file of the skill lies outside its directory", path)
        if path == MANIFEST:
            raise SkillError("this name is kept for the install manifest", path)
    return name


def _plan_directory(
    directory: str,
    name: str,
    skill_files: Mapping[str, bytes],
    existing: Callable[[str], bytes | None],
    force: bool,
    *,
    manifest: bool,
) -> Plan:
    manifest_path = f"{directory}/{MANIFEST}"
    known = _recorded(existing(manifest_path)) if manifest else {}
    writes: list[Write] = []
    refused: list[Refused] = []
    notes: list[str] = []
    for path, content in sorted(skill_files.items()):
        there = existing(f"{directory}/{path}")
        if there == content:
            continue
        if there is not None and known.get(path) != _digest(there):
            if not force:
                why = "edited since it was installed" if path in known else "already there, and not installed by coach"
                refused.append(Refused(f"{directory}/{path}", why))
                continue
            notes.append(f"{directory}/{path}: local edits are overwritten")
        writes.append(Write(f"{directory}/{path}", content))
    if refused:
        return Plan(refused=tuple(refused), notes=(f"{directory}: nothing written; --force overwrites",))
    deletes = []
    for path in sorted(known.keys() - skill_files.keys()):
        there = existing(f"{directory}/{path}")
        if there is not None and known[path] == _digest(there):
            deletes.append(f"{directory}/{path}")
        elif there is not None:
            notes.append(f"{directory}/{path}: no longer part of the skill, kept because it was edited")
    if manifest:
        record = _manifest(name, skill_files)
        if existing(manifest_path) != record:
            writes.append(Write(manifest_path, record))
    if not writes and not deletes:
        notes.append(f"{directory}: up to date")
    return Plan(tuple(writes), (), tuple(notes), tuple(deletes))


def _joined(one: Plan, other: Plan) -> Plan:
    return Plan(
        one.writes + other.writes, one.refused + other.refused, one.notes + other.notes, one.deletes + other.deletes
    )


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _manifest(name: str, skill_files: Mapping[str, bytes]) -> bytes:
    files = {path: _digest(content) for path, content in sorted(skill_files.items())}
    return (json.dumps({"skill": name, "files": files}, indent=2) + "\n").encode()


def _recorded(content: bytes | None) -> dict[str, str]:
    """What an earlier install recorded; a manifest that cannot be read vouches for nothing."""
    try:
        record = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    files = record.get("files") if isinstance(record, dict) else None
    if not isinstance(files, dict):
        return {}
    # Its paths end up in deletes, and the manifest may have been written by anybody.
    return {
        path: digest
        for path, digest in files.items()
        if isinstance(digest, str)
        and path == posixpath.normpath(path)
        and not path.startswith(("/", ".."))
        and "\\" not in path
    }


def validate(
    skill_dir_name: str,
    files: Mapping[str, bytes],
    chart_lint: Callable[[str], Iterable[tuple[int, str]]] = lambda _: (),
) -> tuple[Problem, ...]:
    """Everything wrong with a skill: the specification's rules, its links and anchors, and its chart.

    The rules are those of agentskills/agentskills ``docs/specification.mdx`` as its reference validator (skills-ref
    0.1.1) enforces them. ``files`` are keyed by path relative to the skill's directory; ``chart_lint`` gives line and
    sentence for everything wrong with a chart's text, lines counted in that text, or raises ``ChartError``. An answer
    without errors means valid.
    """
    main = next((name for name in ("SKILL.md", "skill.md") if name in files), None)
    if main is None:
        return (Problem("SKILL.md", 0, "there is no SKILL.md"),)
    try:
        text = _text(files[main], main)
    except SkillError as error:
        return (Problem(main, error.line, error.says),)
    found = [Problem(main, line, says, error) for line, says, error in _frontmatter_problems(text, skill_dir_name)]
    found.extend(_body_problems(text, main))
    found.extend(_link_problems(files))
    try:
        skill = load(text, main)
    except SkillError as error:
        if not found:
            found.append(Problem(main, error.line, error.says))
    else:
        try:
            told = list(chart_lint(skill.chart_text))
        except ChartError as error:
            told = [(error.line, error.says)]
        found.extend(Problem(main, skill.chart_line + line - 1 if line else 0, says) for line, says in told)
    return tuple(sorted(dict.fromkeys(found), key=lambda each: (each.path, each.line, each.says)))


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SkillError("not UTF-8 text", path, content.count(b"\n", 0, error.start) + 1) from None


def _frontmatter_problems(text: str, directory: str) -> Iterator[tuple[int, str, bool]]:
    lines = _lines(text)
    if not _DELIMITER.fullmatch(lines[0]):
        yield 1, "SKILL.md must begin with a frontmatter between lines of ---", True
        return
    end = _end(lines)
    if end < 0:
        yield 1, "the frontmatter is not closed with ---", True
        return
    head = "\n".join(lines[1:end])
    if "---" in head:
        head, _, _ = head.partition("---")
        yield head.count("\n") + 2, "some readers end the frontmatter at its first ---, even inside a value", False
    try:
        fields = _strict(head)
    except SkillError as error:
        yield error.line + 1, error.says, True
        return
    for key, (line, _) in fields.items():
        if key not in FIELDS:
            yield line + 1, f"unexpected field {key!r}; allowed are {', '.join(sorted(FIELDS))}", True
    yield from _field_problems(fields, directory)


def _field_problems(fields: Mapping[str, tuple[int, object]], directory: str) -> Iterator[tuple[int, str, bool]]:
    for key in ("name", "description"):
        if key not in fields:
            yield 1, f"the required field {key} is missing", True
        else:
            line, value = fields[key]
            if not isinstance(value, str) or not value.strip():
                yield line + 1, f"{key} must be a text that is not empty", True
    line, name = fields.get("name", (0, ""))
    if isinstance(name, str) and name.strip():
        for says in _name_problems(name):
            yield line + 1, says, True
        if unicodedata.normalize("NFKC", directory) != unicodedata.normalize("NFKC", name.strip()):
            yield line + 1, f"the directory {directory!r} must be named as the skill, {name.strip()!r}", True
    line, description = fields.get("description", (0, ""))
    if isinstance(description, str) and len(description) > MAX_DESCRIPTION:
        yield line + 1, f"the description has {len(description)} characters, more than {MAX_DESCRIPTION}", True
    if "compatibility" in fields:
        line, value = fields["compatibility"]
        if not isinstance(value, str):
            yield line + 1, "compatibility must be a text", True
        elif len(value) > MAX_COMPATIBILITY:
            yield line + 1, f"compatibility has {len(value)} characters, more than {MAX_COMPATIBILITY}", True
    line, value = fields.get("metadata", (0, {}))
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        yield line + 1, "metadata should be a mapping of names to texts", False
    line, value = fields.get("allowed-tools", (0, ""))
    if not isinstance(value, str) or "," in value:
        yield line + 1, "allowed-tools should be one text, tools separated by spaces", False


def _name_problems(name: str) -> Iterator[str]:
    name = unicodedata.normalize("NFKC", name.strip())
    if not name:
        yield "the name is empty"
    if len(name) > MAX_NAME:
        yield f"the name has {len(name)} characters, more than {MAX_NAME}"
    if name != name.lower():
        yield "the name must be in lower case"
    if name.startswith("-") or name.endswith("-"):
        yield "the name must not begin or end with a hyphen"
    if "--" in name:
        yield "the name must not hold two hyphens in a row"
    if not all(letter.isalnum() or letter == "-" for letter in name):
        yield "the name may hold letters, digits and hyphens only"


@dataclass(slots=True)
class _Level:
    """A mapping or list of the frontmatter that is still open."""

    value: dict[str, object] | list[object]
    key: str | None = None
    lines: dict[str, int] = field(default_factory=dict)


def _strict(text: str) -> dict[str, tuple[int, object]]:
    """The frontmatter as strictyaml reads it: every value is text, and flow style, tags, anchors, aliases and
    repeated keys are refused. Each field with its line in ``text``. Raises ``SkillError`` with the line."""
    import yaml

    from coach import safe_yaml

    try:
        safe_yaml.compose(text.encode(errors="replace"), "SKILL.md")
    except InputError as error:
        raise SkillError(f"broken frontmatter: {error.says}", "SKILL.md", error.line) from None
    top = _Level({})
    stack: list[_Level] = []
    started = False
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0

        def refuse(says: str, line: int = line) -> SkillError:
            return SkillError(f"the frontmatter's reader does not take {says}", "SKILL.md", line)

        if isinstance(event, yaml.AliasEvent):
            raise refuse("an alias")
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            raise refuse("an anchor")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            raise refuse("a tag")
        if isinstance(event, yaml.CollectionStartEvent) and event.flow_style:
            raise refuse("a list or mapping in brackets; write it as text, or one item a line")
        if isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
            continue
        value: object
        if isinstance(event, yaml.ScalarEvent):
            value = event.value
        elif isinstance(event, yaml.CollectionStartEvent):
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
        else:
            continue
        if not stack:
            if not isinstance(value, dict) or started:
                raise SkillError("the frontmatter is not a mapping of names to values", "SKILL.md", line)
            started = True
            top = _Level(value)
            stack.append(top)
            continue
        _put(stack[-1], value, line, refuse)
        if isinstance(value, dict | list):
            stack.append(_Level(value))
    if not started:
        raise SkillError("the frontmatter is empty", "SKILL.md", 1)
    assert isinstance(top.value, dict)
    return {key: (top.lines[key], value) for key, value in top.value.items()}


def _put(level: _Level, value: object, line: int, refuse: Callable[[str], SkillError]) -> None:
    if isinstance(level.value, list):
        level.value.append(value)
    elif level.key is None:
        if not isinstance(value, str):
            raise refuse("a key that is not text")
        if value in level.value:
            raise refuse(f"the key {value[:80]!r} twice")
        level.key = value
        level.lines[value] = line
    else:
        level.value[level.key] = value
        level.key = None


def _body_problems(text: str, path: str) -> Iterator[Problem]:
    body = body_of(text)
    if body.count("\n") + 1 >= MAX_BODY_LINES:
        yield Problem(path, 0, f"the body has {MAX_BODY_LINES} lines or more; move detail to references/", False)
    if estimated_tokens(body) >= MAX_BODY_TOKENS:
        says = (
            f"the body has about {estimated_tokens(body)} tokens, {MAX_BODY_TOKENS} or more; move detail to references/"
        )
        yield Problem(path, 0, says, False)


def body_of(text: str) -> str:
    """What follows the frontmatter: what an agent reads once the skill is chosen."""
    return _without_frontmatter(text).strip("\n")


def estimated_tokens(body: str) -> int:
    """Tokens of a Markdown text, estimated from its length."""
    return round(len(body) / CHARS_PER_TOKEN)


def _link_problems(files: Mapping[str, bytes]) -> Iterator[Problem]:
    texts: dict[str, str] = {}
    for path, content in files.items():
        if path.endswith(".md"):
            try:
                texts[path] = _text(content, path)
            except SkillError as error:
                yield Problem(path, error.line, error.says)
    anchors = {path: anchors_of(_without_frontmatter(text)) for path, text in texts.items()}
    for path, text in texts.items():
        for link in links_of(_without_frontmatter(text)):
            if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//", link.target):
                continue
            target, _, fragment = link.target.partition("#")
            to = path if not target else posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(target)))
            if to not in files:
                yield Problem(path, link.line, f"the link to {target} leads nowhere in the skill")
            elif fragment and to in anchors and unquote(fragment) not in anchors[to]:
                yield Problem(path, link.line, f"there is no heading for the anchor #{fragment} in {to}")
            elif target and to.count("/") > 1:
                yield Problem(path, link.line, f"{to} lies deeper than one directory", error=False)


def _without_frontmatter(text: str) -> str:
    """Blank lines in place of the frontmatter, so that lines keep their numbers."""
    lines = _lines(text)
    after = _end(lines) + 1
    return "\n" * after + "\n".join(lines[after:]) if after else "\n".join(lines)


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _end(lines: list[str]) -> int:
    """Index of the line that closes the frontmatter, -1 without one."""
    if not _DELIMITER.fullmatch(lines[0]):
        return -1
    return next((number for number, line in enumerate(lines[1:], 1) if _DELIMITER.fullmatch(line)), -1)
