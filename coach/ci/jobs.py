"""A job that is nothing but lines of shell: what the smaller CI systems have in common."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from coach.ci import commands, yamldoc
from coach.ci.commands import Filled, Text, substitute
from coach.ci.machine import Machine
from coach.ci.nouns import CI_FILE, Discovery, Value, static
from coach.ci.yamldoc import Doc, Joined, Node
from coach.errors import InputError
from coach.model import BuildSite, Skipped, Tree, is_file

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.S)


def each_file(
    tree: Tree, wanted: Callable[[str], bool], sites: Callable[[Tree, Doc], list[BuildSite]], documents: bool = False
) -> Discovery:
    """Builds of every YAML file that ``wanted`` takes; what cannot be read becomes ``Skipped``."""
    builds: list[BuildSite] = []
    skipped: list[Skipped] = []
    for path in list(tree.entries()):
        if not wanted(path) or not is_file(tree, path):
            continue
        try:
            doc = yamldoc.Doc(tree.read(path), path) if documents else yamldoc.read(tree.read(path), path)
            builds += sites(tree, doc)
        except InputError as error:
            skipped.append(Skipped(path, error.line, error.says))
    return Discovery(tuple(builds), tuple(skipped))


def run_lines(
    box: Machine,
    nodes: Sequence[Node],
    env: Mapping[str, Value],
    cwd: str | None = "",
    pattern: re.Pattern[str] | None = None,
    lookup: Callable[[re.Match[str]], Value] | None = None,
) -> None:
    """Run scalars as one shell script, with the system's own template expressions replaced first."""
    joined = Joined(nodes)
    if not commands.INTERESTING.search(joined.text) and not commands.FOLLOWED.search(joined.text):
        return
    filled = (
        substitute(joined.text, pattern, lookup) if pattern is not None and lookup is not None else Filled(joined.text)
    )
    box.run(Text(filled, env, cwd), joined.place)


def scalars(*nodes: Node | None) -> list[Node]:
    """All scalars of several lists (a scalar stands for a list of one), nested lists included."""
    found: list[Node] = []
    for node in nodes:
        for item in node.items() if node is not None else ():
            if item.is_list:
                found += scalars(item)
            elif item.text is not None:
                found.append(item)
    return found


def variables(node: Node | None) -> dict[str, Value]:
    """``NAME: value`` mappings, lists of ``NAME=value``, lists of ``{name, value}``."""
    found: dict[str, Value] = {}
    if node is None:
        return found
    if node.is_map:
        return {
            name: static(item.text or "")
            for name, item in node.entries().items()
            if not item.is_map and not item.is_list
        }
    for item in node.items():
        if item.is_map:
            name, value = item.get("name"), item.get("value")
            if name is not None and name.text is not None:
                found[name.text] = static(value.text or "") if value is not None else static("")
        elif item.text is not None and "=" in item.text:
            left, _, right = item.text.partition("=")
            found[left.removeprefix("export ").strip().strip("\"'")] = static(right.strip("\"'"))
    return found


def walk(node: Node, depth: int = 0) -> Iterator[Node]:
    """Every mapping below ``node``, ``node`` included, in file order."""
    if depth > 40:
        return
    if node.is_map:
        yield node
        for item in node.entries().values():
            yield from walk(item, depth + 1)
    elif node.is_list:
        for item in node.items():
            yield from walk(item, depth + 1)


def caller(tree: Tree, word: re.Pattern[bytes]) -> tuple[str, int]:
    """The CI file and line that first speak of a tool; ("", 0) when none does."""
    for path in tree.entries():
        if not CI_FILE.fullmatch(path) or not is_file(tree, path):
            continue
        try:
            content = tree.read(path)
        except InputError:
            continue
        match = word.search(content)
        if match is not None:
            return path, content.count(b"\n", 0, match.start()) + 1
    return "", 0


def named(path: str, *names: str) -> bool:
    """Whether a path's last part is one of ``names``."""
    return posixpath.basename(path) in names


def texts(nodes: Iterable[Node]) -> list[str]:
    """What scalars say."""
    return [node.text for node in nodes if node.text is not None]
