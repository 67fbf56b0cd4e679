"""Jenkins: ``sh`` steps and ``docker.build`` calls of a Jenkinsfile, read without running its Groovy.

Sources: www.jenkins.io/doc/book/pipeline/docker, the docker-workflow plug-in (read 2026-11).
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from coach.ci import commands, docker_cli, paths
from coach.ci.commands import Filled, Text, substitute
from coach.ci.docker_cli import Arg
from coach.ci.machine import Machine
from coach.ci.nouns import WORKSPACE, Discovery, Value, differs_per_commit, static
from coach.errors import InputError
from coach.model import BuildSite, Skipped, Tree, Unresolved, is_file

MAX_BYTES = 512 * 1024
_NAME = re.compile(r"^(Jenkinsfile([._-][\w.-]*)?|[\w.-]*\.jenkinsfile|[\w-]*\.?Jenkinsfile)$", re.I)
_HEAD = re.compile(r"\b(?P<sh>sh|bat)\b[ \t]*\(?|\bdocker\.build[ \t]*\(")
_SCRIPT = re.compile(
    r"\s{0,200}(?:\w{1,40}\s{0,9}:\s{0,9}"
    r"(?:true|false|'[^'\n]{0,200}'|\"[^\"\n]{0,200}\")\s{0,9},\s{0,200}){0,4}"
    r"(?:script\s{0,9}:\s{0,9})?"
)
_NAME_ARGUMENT = re.compile(r"[^,()\n]{0,300}(?:\([^()\n]{0,200}\)[^,()\n]{0,200})?")
_PUSH = re.compile(r"\.\s*push\s*\(")
_ENVIRONMENT = re.compile(r"^\s*(\w+)\s*=\s*(?:\"([^\"$\n]*)\"|'([^'\n]*)')\s*$", re.M)
_CREDENTIAL = re.compile(
    r"\b(\w+)\s{0,9}=\s{0,9}credentials\s{0,9}\(|\b(?:variable|passwordVariable|secretVariable)\s{0,9}:\s{0,9}[\"'](\w+)[\"']"
)
_FOLDER = re.compile(r"\bdir\s{0,9}\(\s{0,9}(?:[\"']([^\"'$\n]{1,200})[\"']|[^()\n]{1,200})\s{0,9}\)\s{0,99}\{")
_MARK = re.compile(r"\\.|'''|\"\"\"|['\"{}\n]", re.S)
_MOST_FOLDERS = 200
_ESCAPE = re.compile(r"\\(?:\\(?=\r?\n)|[$\"'])")
_GROOVY = re.compile(r"\$\{[^}]*\}|\$[A-Za-z_][\w.]*")
_FILLED = re.compile(f"{_ESCAPE.pattern}|{_GROOVY.pattern}")


def read(tree: Tree) -> Discovery:
    """Every build that a Jenkinsfile of the repository spells out."""
    builds: list[BuildSite] = []
    skipped: list[Skipped] = []
    for path in list(tree.entries()):
        if not _NAME.match(posixpath.basename(path)) or not is_file(tree, path):
            continue
        try:
            content = tree.read(path)
        except InputError as error:
            skipped.append(Skipped(path, error.line, error.says))
            continue
        if len(content) > MAX_BYTES:
            skipped.append(Skipped(path, 0, "a Jenkinsfile of more than 512 kB is not read"))
            continue
        builds += _sites(tree, path, content.decode("utf-8", "replace"))
    return Discovery(tuple(builds), tuple(skipped))


def _sites(tree: Tree, path: str, text: str) -> list[BuildSite]:
    text = without_comments(text)
    folders = list(_folders(text))
    box = Machine(tree, "jenkins", path, "pipeline")
    box.notes.append(Unresolved("keeps_cache", "whether a Jenkins agent keeps its engine's cache is not written here"))
    env = environment(text)
    for step in steps(text):
        cwd = _inside(folders, step.start)
        if step.shell and step.string is not None:
            _shell(box, path, text, step.string, env, cwd)
        elif not step.shell:
            _build(box, path, text, step.start, step.string, env, cwd)
    pushed = _PUSH.search(text)
    sites = box.finish()
    if pushed is None:
        return sites
    line = text.count("\n", 0, pushed.start()) + 1
    return [site if site.push else replace(site, push=True, push_line=line) for site in sites]


def _folders(text: str) -> Iterator[tuple[int, int, str | None]]:
    """The blocks of ``dir(…)``: where each starts and ends, and its folder (``None``: decided when it runs)."""
    found = list(itertools.islice(_FOLDER.finditer(text), _MOST_FOLDERS + 1))
    closing = _blocks(text) if found else {}
    for match in found[:_MOST_FOLDERS]:
        yield match.end(), closing.get(match.end() - 1, len(text)), match[1]
    if len(found) > _MOST_FOLDERS:
        yield found[-1].start(), len(text), None


def _blocks(text: str) -> dict[int, int]:
    """Where each brace outside of strings is closed."""
    found: dict[int, int] = {}
    stack: list[int] = []
    quote = ""
    for mark in _MARK.finditer(text):
        said = mark[0]
        if quote:
            # a string of one line ends with it
            quote = "" if said == quote or (said == "\n" and len(quote) == 1) else quote
        elif said[0] in "'\"":
            quote = said
        elif said == "{":
            stack.append(mark.start())
        elif said == "}" and stack:
            found[stack.pop()] = mark.start()
    return found


def _inside(folders: list[tuple[int, int, str | None]], at: int) -> str | None:
    """The working directory at a place of the file."""
    here: str | None = ""
    for start, end, folder in folders:
        if start <= at < end and here is not None:
            here = paths.join(here, folder) if folder is not None else None
    return here


def environment(text: str) -> dict[str, Value]:
    """Variables that the pipeline sets with plain values, and those it takes from Jenkins's credentials."""
    env = {match[1]: static(match[2] if match[2] is not None else match[3]) for match in _ENVIRONMENT.finditer(text)}
    for match in _CREDENTIAL.finditer(text):
        name = match[1] or match[2]
        env[name] = Value(None, f"${name}", f"{name} comes from Jenkins's credentials", secret=True)
    return env


@dataclass(frozen=True, slots=True)
class Step:
    """One ``sh`` step (``shell``) or ``docker.build`` call at ``start``, with its string if it has a plain one."""

    start: int
    shell: bool
    string: String | None


def steps(text: str) -> Iterator[Step]:
    """The steps of a Jenkinsfile that can build, in order; ``text`` is without comments."""
    at = 0
    while (head := _HEAD.search(text, at)) is not None:
        at = head.end()
        if head["sh"]:
            lead = _SCRIPT.match(text, at)
            string = _string(text, lead.end() if lead is not None else at)
        else:
            name = _NAME_ARGUMENT.match(text, at)
            at = name.end() if name is not None else at
            comma = re.compile(r"\s{0,200},\s{0,200}").match(text, at)
            string = _string(text, comma.end()) if comma is not None else None
        at = string.end if string is not None else at
        yield Step(head.start(), bool(head["sh"]), string)


@dataclass(frozen=True, slots=True)
class String:
    """A Groovy string: its text from ``start``, and whether Groovy fills in variables."""

    text: str
    start: int
    end: int
    fills: bool


def _string(text: str, at: int) -> String | None:
    for quote in ('"""', "'''", '"', "'"):
        if not text.startswith(quote, at):
            continue
        start = at + len(quote)
        close = text.find(quote, start)
        while close > 0 and text[close - 1] == "\\":
            close = text.find(quote, close + 1)
        if close < 0 or (len(quote) == 1 and "\n" in text[start:close]):
            return None
        return String(text[start:close], start, close + len(quote), quote[0] == '"')
    return None


def without_comments(text: str) -> str:
    """Blanks in place of comments, so that every offset stays."""
    pieces: list[str] = []
    at = 0
    while (start := text.find("/*", at)) >= 0:
        end = text.find("*/", start + 2)
        if end < 0:
            break
        pieces += [text[at:start], re.sub(r"[^\n]", " ", text[start : end + 2])]
        at = end + 2
    joined = "".join([*pieces, text[at:]])
    return re.sub(r"(?m)^[ \t]*//[^\n]*", lambda match: " " * len(match[0]), joined)


def _groovy(match: re.Match[str], env: dict[str, Value]) -> Value:
    name = match[0].strip("${}").removeprefix("env.").removeprefix("params.")
    if name in env:
        return env[name]
    if name == "WORKSPACE":
        return static(WORKSPACE)
    return Value(
        None, match[0], f"{match[0]} is known only when the pipeline runs", per_commit=differs_per_commit(name)
    )


def fill(string: String, env: dict[str, Value]) -> Filled:
    """What a string hands to the shell, with the places of what it says."""

    def value(match: re.Match[str]) -> Value:
        return static(match[0][1:]) if match[0].startswith("\\") else _groovy(match, env)

    return substitute(string.text, _FILLED if string.fills else _ESCAPE, value)


def _shell(box: Machine, path: str, text: str, string: String, env: dict[str, Value], cwd: str | None) -> None:
    if not commands.INTERESTING.search(string.text) and not commands.FOLLOWED.search(string.text):
        return
    filled = fill(string, env)

    def place(index: int) -> tuple[str, int]:
        return path, text.count("\n", 0, min(string.start + index, len(text))) + 1

    box.run(Text(filled, {**env, "WORKSPACE": static(WORKSPACE)}, cwd), place)


def _build(
    box: Machine, path: str, text: str, start: int, string: String | None, env: dict[str, Value], cwd: str | None
) -> None:
    line = text.count("\n", 0, start) + 1
    end = text.count("\n", 0, string.end if string is not None else start) + 1
    words: list[Value] = [static("docker"), static("build")]
    given = [_filled(word, env) for word in string.text.split()] if string is not None else []
    words += given or [static(".")]
    argv = [Arg(word, word.shown, number, number) for number, word in enumerate(words)]
    call = docker_cli.read(argv)
    if call is not None:
        box.take(call, env, cwd, path, line, end, dict.fromkeys(range(len(words)), line))


def _filled(word: str, env: dict[str, Value]) -> Value:
    filled = substitute(word, _GROOVY, lambda found: _groovy(found, env))
    if not filled.holes:
        return static(filled.text)
    secret, per_commit = (any(getattr(hole, what) for hole in filled.holes) for what in ("secret", "per_commit"))
    return Value(None, word, filled.holes[0].why, secret, per_commit)
