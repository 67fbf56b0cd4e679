"""What a Node container runs behind the words of its command: scripts and package managers followed to the program."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from coach.manifests.node_facts import NodeFacts
from coach.shell import parse
from coach.site import Site
from coach.split.draft import CannotSplitError
from coach.split.workspace import UntoldError, Workspace

_DEV_STARTERS = frozenset({"ts-node", "tsx", "nodemon", "ts-node-dev", "vite", "react-scripts", "webpack"})
_TASK_RUNNERS = frozenset("nx turbo lerna moon wireit concurrently npm-run-all run-s run-p wsrun ultra".split())
_SETTERS = frozenset({"cross-env", "cross-env-shell"})  # `cross-env A=b program …`
_PRELOADS = frozenset({"-r", "--require", "--import", "--loader", "--experimental-loader", "--preload"})
_MANAGERS = frozenset({"npm", "yarn", "pnpm", "bun"})
_FOLDERS = frozenset({"-C", "--dir", "--prefix", "--cwd"})
_FILE = re.compile(r".*\.[cm]?[jt]sx?|\./.*")
_DEEPEST = 4
# Programs that run a file of the project themselves.
RUNTIMES = frozenset({"node", "bun"})


@dataclass(frozen=True)
class Entry:
    """The program's own words, and the repository directory that it starts in.

    ``plain`` says that running these words there is all that the command does: no hook, no variable besides;
    ``through`` are the package managers that the command starts them by.
    """

    words: tuple[str, ...]
    directory: str
    plain: bool = True
    through: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return posixpath.basename(self.words[0])

    @property
    def started(self) -> str:
        """The program that runs in the end: what variables are set for, where ``name`` only sets them."""
        rest = list(self.words)
        while len(rest) > 1 and posixpath.basename(rest[0]) in _SETTERS:
            rest = rest[1:]
            while len(rest) > 1 and (rest[0].startswith("-") or "=" in rest[0]):
                rest = rest[1:]
        return posixpath.basename(rest[0])

    @property
    def file(self) -> str:
        """The file that a runtime is given, as it is written; "" when there is none."""
        if self.name not in RUNTIMES:
            return ""
        rest = self.words[2:] if self.words[1:2] == ("run",) else self.words[1:]
        words = [word for at, word in enumerate(rest) if not at or rest[at - 1] not in _PRELOADS]
        return next((word for word in words if word and not word.startswith("-")), "")

    def check(self, packages: Mapping[str, NodeFacts]) -> None:
        """Raise when the program, or a module it preloads, comes with a development dependency."""
        production = {name for facts in packages.values() for name in facts.dependencies}
        development = {name for facts in packages.values() for name in facts.dev_dependencies} - production
        for name in dict.fromkeys((self.name, self.started)):
            if name not in RUNTIMES and not any(one == name or one.endswith(f"/{name}") for one in production):
                raise CannotSplitError(f"the container starts {name}, which no production dependency brings")
        for at, word in enumerate(self.words[:-1]):
            wanted = self.words[at + 1]
            if word in _PRELOADS and not wanted.startswith((".", "/")):
                package = "/".join(wanted.split("/")[: 2 if wanted.startswith("@") else 1])
                if package in development:
                    raise CannotSplitError(f"the container preloads {package}, a development dependency")


def entry(words: Sequence[str], site: Site, packages: Mapping[str, NodeFacts], directory: str) -> Entry:
    """The program that ``words``, run in ``directory``, start. Raises ``CannotSplitError``."""
    found = _followed(Entry(tuple(words), directory), Workspace(site, packages), 0)
    if found.started in _DEV_STARTERS:
        raise CannotSplitError("the command runs a development tool, not a build")
    if found.started in _TASK_RUNNERS:
        raise CannotSplitError(f"what {found.started} starts is not written in the command")
    return found


def _followed(one: Entry, space: Workspace, depth: int) -> Entry:
    if depth > _DEEPEST:
        raise CannotSplitError("the scripts behind the command call each other too deeply")
    if one.name in ("npx", "bunx"):
        rest = list(one.words[1:])
        while rest and rest[0].startswith("-"):
            rest = rest[1:]
        if not rest:
            raise CannotSplitError(f"what {one.name} starts is not written in the command")
        return replace(one, words=tuple(rest))
    if one.name not in _MANAGERS or (one.name == "bun" and not one.words[1:]):
        return one
    plain, directory, options = _called(one, space)
    through = one.through | {one.name}
    if plain[:1] in (["exec"], ["x"]) and len(plain) > 1:
        return replace(one, words=one.words[one.words.index(plain[1]) :], directory=directory, through=through)
    if plain[:1] in (["run"], ["run-script"]):
        plain = plain[1:]
    if not plain:
        raise CannotSplitError(f"what {one.name} starts is not written in the command")
    scripts = space.packages[directory].scripts
    text = scripts.get(plain[0])
    if text is None and one.name == "bun" and _FILE.fullmatch(plain[0]):
        return replace(one, directory=directory)
    if text is None and one.name == "yarn" and plain[0] == "node":
        return replace(one, words=one.words[one.words.index("node") :], directory=directory, through=through)
    if text is None:
        raise CannotSplitError(f"package.json has no script {plain[0]!r}")
    commands = [command for command in parse(text).commands if command.name]
    if len(commands) != 1:
        raise CannotSplitError(f"the script {plain[0]!r} runs several commands")
    command = commands[0]
    hooks = {f"pre{plain[0]}", f"post{plain[0]}"} & scripts.keys()
    besides = command.assignments or hooks or options or None in command.words or len(plain) > 1
    words = tuple(word or "" for word in command.words)
    return _followed(Entry(words, directory, one.plain and not besides, through), space, depth + 1)


def _called(one: Entry, space: Workspace) -> tuple[list[str], str, bool]:
    """A manager's plain words, the package it works in, and whether other options are given."""
    plain: list[str] = []
    chosen: list[str] = []
    directory, options = one.directory, False
    words = iter(one.words[1:])
    for word in words:
        flag, mark, value = word.partition("=")
        if flag in ("-w", "--workspace", "--filter", "-F") and (one.name, flag) != ("pnpm", "-w"):
            chosen.append(value if mark else next(words, ""))
        elif flag in _FOLDERS:
            folder = value if mark else next(words, "")
            directory = posixpath.normpath(posixpath.join(directory or ".", folder))
            directory = "" if directory == "." else directory
        elif not word.startswith("-"):
            plain.append(word)
        elif word not in ("-s", "--silent", "--offline", "--bun", "-b"):
            options = True
    if one.name == "yarn" and plain[:1] == ["workspace"] and len(plain) > 1:
        chosen, plain = [plain[1]], plain[2:]
    try:
        picked = space.picked(chosen) if chosen else [directory]
    except UntoldError as error:
        raise CannotSplitError(str(error)) from None
    if len(picked) != 1 or picked[0] not in space.packages:
        raise CannotSplitError(f"in which package {one.name} starts the program cannot be told")
    return plain, picked[0], options
