"""Facts about the outside world, as TOML tables that name where they were read.

To add a package manager, write ``managers/<name>.toml`` (any other file of that folder is an example) and one case
below ``tests/cases/cache_mount/``. No Python changes. A manager's file holds:

``name``, ``ecosystem``
    ``name`` is the file's stem. Ecosystems are free words (``node``, ``python``, ``go``, ``os`` …).
``programs``, ``modules``
    Regular expressions that match the *whole* basename of the program (``pip(3(\\.\\d+)?)?``), and the names by which
    ``python -m`` calls it; each on one line.
``source``, ``date``
    Where the facts were read (an address, or ``repository path``), and the day, ``YYYY-MM-DD``. Both are required.
``manifests``, ``lockfiles``
    File names (globs) that declare and pin dependencies.
``sharing``
    ``shared`` when the tool copes with two builds in one cache directory, ``locked`` when it does not.
``fetch``
    A command line that only downloads what is declared, "" when there is none.
``tools``
    Packages which are package managers or build front-ends themselves: installing only these is action ``tool``.
``valued``, ``inert``
    Options that take the next word as their value; options after which the tool does nothing (``--version``).
``directory``
    Options that name the project's directory.
``offline``, ``offline_env``
    Options, and ``NAME = "pattern"`` environment values, under which nothing is downloaded.
``partial``
    Options that install the dependencies without the project itself.
``dev``, ``no_dev``, ``with_dev``, ``no_dev_env``
    Whether development dependencies come along by default, and what decides otherwise.
``declared``, ``declared_flags``
    Operands (a pattern for the whole word), and options, that make an install one of declared dependencies.
``local``
    Operands (a pattern for the whole word) which are package files that are already there.
``nothing``
    ``{file, unless}``: where ``file`` of the working directory does not match ``unless``, nothing is declared.
``members``
    Files beside it that add other manifests to the install, so that more may be declared.
``switch``
    ``[[switch]] file, pattern, to``: where ``file`` matches, the facts of manager ``to`` hold (Yarn 1 and later ones).

``[[command]]``: ``words`` (subcommand words, alternatives with ``|``; ``[]`` is the bare program), ``action`` (one of
``fetch install named tool build os``), ``named`` (the action when packages are named), ``needs`` and ``unless``
(options that must or must not be there), ``offline`` (true: it never downloads), ``plain`` (true: it knows no
development dependencies, whatever ``dev`` says). With ``goals = true`` at the top the
words may stand anywhere and the first rule that fits counts; ``otherwise`` is the action of any other goal.

``[[cache]]``: ``paths``, in order of precedence: the first whose ``$VARIABLES`` are all set wins, the last needs none;
``~`` is the home directory. ``root`` replaces the last one for root. ``flags`` are options that name the directory, or
one in which it is called ``below``.
``role``: ``download`` (only read while installing), ``shared`` (later commands of the tool read it again), ``compile``
(compiled objects; never required), ``objects`` (the like, and worth a mount where nothing is downloaded), ``live`` (the
program itself reads it when it runs, so it is never mounted).
``mount``: subdirectories to mount where the directory also holds what must stay. ``covers``: subdirectories whose mount
is enough; ``also``: other directories (with ``$VARIABLES`` and wildcards) whose mount is enough. ``actions``: the
actions that use it (default: all). ``live_env``, ``live_flags``, ``live_files``, ``not_live_files``: environment
values, options and file patterns of the working directory that make a cache live (or keep it from that).
``files``: files of the working directory that move it (``{file, pattern}``, group 1 is the directory).

``[[config]]``: ``words`` of a command that stores a setting, and the environment variable ``env`` it equals.
``[[fight]]``: what defeats a cache mount: ``flag``; ``command`` words; or ``env`` with a pattern ``values``.
``[[help]]``: ``env`` and ``value`` to set beside a cache mount, and ``why``.
``strict``: true when the tool fails on a cache directory that it cannot write to; else it may go on without one.
``beside``: true when the tool also writes next to its cache directory, in directories that it makes itself.
``review``: why a mount for this tool needs a human eye, "" when it does not. ``setup``: the like of ``[[help]]`` that
the mount does not work without.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

ACTIONS = ("fetch", "install", "named", "tool", "build", "os")
ROLES = ("download", "shared", "compile", "objects", "live")


class KnowledgeError(Exception):
    """A table of facts that is not what the schema says: a mistake of the package, never of the user."""


class FilePattern(NamedTuple):
    """``file`` of the working directory, and a pattern searched in it."""

    file: str
    pattern: re.Pattern[str]


class CommandRule(NamedTuple):
    words: tuple[frozenset[str], ...]
    action: str
    named: str
    needs: tuple[str, ...]
    unless: tuple[str, ...]
    offline: bool
    plain: bool


class CacheRule(NamedTuple):
    paths: tuple[str, ...]
    root: str
    flags: tuple[str, ...]
    below: str
    role: str
    mount: tuple[str, ...]
    covers: tuple[str, ...]
    actions: tuple[str, ...]
    also: tuple[str, ...]
    live_flags: tuple[str, ...]
    live_env: Mapping[str, re.Pattern[str]]
    live_files: tuple[FilePattern, ...]
    not_live_files: tuple[FilePattern, ...]
    files: tuple[FilePattern, ...]


class ConfigRule(NamedTuple):
    words: tuple[str, ...]
    env: str


class FightRule(NamedTuple):
    flag: str
    command: tuple[frozenset[str], ...]
    env: str
    values: re.Pattern[str]


class Setting(NamedTuple):
    """An environment variable that belongs to a cache mount."""

    env: str
    value: str
    why: str


class Switch(NamedTuple):
    when: FilePattern
    to: str


class PackageManager(NamedTuple):
    """One ``managers/*.toml``; the module's docstring says what each field means."""

    name: str
    ecosystem: str
    programs: re.Pattern[str]
    modules: tuple[str, ...]
    source: str
    date: str
    manifests: tuple[str, ...]
    lockfiles: tuple[str, ...]
    sharing: str
    fetch: str
    tools: frozenset[str]
    valued: frozenset[str]
    inert: frozenset[str]
    directory: tuple[str, ...]
    offline: tuple[str, ...]
    offline_env: Mapping[str, re.Pattern[str]]
    partial: tuple[str, ...]
    dev: bool | None
    no_dev: tuple[str, ...]
    with_dev: tuple[str, ...]
    no_dev_env: Mapping[str, re.Pattern[str]]
    declared: re.Pattern[str] | None
    declared_flags: frozenset[str]
    local: re.Pattern[str] | None
    nothing: FilePattern | None
    members: tuple[str, ...]
    goals: bool
    otherwise: str
    review: str
    beside: bool
    strict: bool
    commands: tuple[CommandRule, ...]
    caches: tuple[CacheRule, ...]
    config: tuple[ConfigRule, ...]
    fights: tuple[FightRule, ...]
    help: tuple[Setting, ...]
    setup: tuple[Setting, ...]
    switch: tuple[Switch, ...]


def tables(*path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """``(file name, content)`` of one TOML file of this package, or of each in a folder, sorted by name.

    Raises ``KnowledgeError`` for text that is not TOML.
    """
    place = resources.files(__name__).joinpath(*path)
    found = sorted(place.iterdir(), key=lambda item: item.name) if place.is_dir() else [place]
    for item in found:
        if item.name.endswith(".toml"):
            try:
                yield item.name, tomllib.loads(item.read_text("utf-8"))
            except tomllib.TOMLDecodeError as error:
                raise KnowledgeError(f"{item.name}: {error}") from error


class Managers(Mapping[str, PackageManager]):
    """Package managers by name. A table is read when its manager is met; ``KnowledgeError`` names what is wrong in it.

    Who is called by what name is told from the ``programs`` and ``modules`` of the tables alone, each one line there.
    """

    def __init__(self) -> None:
        folder = resources.files(__name__).joinpath("managers")
        files = sorted((item for item in folder.iterdir() if item.name.endswith(".toml")), key=lambda item: item.name)
        self._texts = {item.name.removesuffix(".toml"): item.read_text("utf-8") for item in files}
        self._read: dict[str, PackageManager] = {}
        self._words: dict[str, str] = {}
        self._patterns: list[tuple[str, str]] = []
        self._modules: dict[str, str] = {}
        for name, names in tomllib.loads("\n".join(map(_names, self._texts, self._texts.values()))).items():
            for program in names["programs"]:
                if re.fullmatch(r"[\w-]+", program):
                    self._words[program] = name
                else:
                    self._patterns.append((program, name))
            self._modules.update(dict.fromkeys(names.get("modules", ()), name))

    def __getitem__(self, name: str) -> PackageManager:
        if name not in self._read:
            try:
                self._read[name] = read_manager(f"{name}.toml", tomllib.loads(self._texts[name]))
            except tomllib.TOMLDecodeError as error:
                raise KnowledgeError(f"{name}.toml: {error}") from error
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def of_program(self, program: str) -> PackageManager | None:
        """The manager that a program of this name (without its folder) is."""
        name = self._words.get(program)
        if name is None:
            name = next((name for pattern, name in self._patterns if re.fullmatch(pattern, program)), None)
        return self[name] if name is not None else None

    def of_module(self, module: str) -> PackageManager | None:
        """The manager that ``python -m module`` starts."""
        name = self._modules.get(module)
        return self[name] if name is not None else None


def _names(name: str, text: str) -> str:
    return "\n".join((f'["{name}"]', *re.findall(r"(?m)^(?:programs|modules) = .*$", text)))


@lru_cache(maxsize=1)
def managers() -> Managers:
    """Every package manager."""
    return Managers()


class Table:
    """A TOML table that is read key by key: a missing, mistyped or unknown key raises ``KnowledgeError``."""

    def __init__(self, place: str, content: object) -> None:
        if not isinstance(content, Mapping):
            raise KnowledgeError(f"{place}: a table is expected")
        self.place = place
        self._content = content
        self._read: set[str] = set()

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """Value of ``key``; without ``default`` it must be there."""
        self._read.add(key)
        if key not in self._content:
            if default is None:
                raise KnowledgeError(f"{self.place}: {key} is missing")
            return default
        value = self._content[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise KnowledgeError(f"{self.place}: {key} must be {kind.__name__}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return str(self.get(key, str, default))

    def flag(self, key: str, default: bool = False) -> bool:
        return bool(self.get(key, bool, default))

    def has(self, key: str) -> bool:
        return key in self._content

    def words(self, key: str) -> tuple[str, ...]:
        value = self.get(key, list, [])
        if not all(isinstance(item, str) for item in value):
            raise KnowledgeError(f"{self.place}: {key} must be a list of strings")
        return tuple(value)

    def pattern(self, key: str, default: str | None = None) -> re.Pattern[str]:
        return _compile(f"{self.place}: {key}", self.text(key, default))

    def patterns(self, key: str) -> Mapping[str, re.Pattern[str]]:
        return {name: _compile(f"{self.place}: {key}.{name}", value) for name, value in self.get(key, dict, {}).items()}

    def each(self, key: str) -> Iterator[Table]:
        for number, item in enumerate(self.get(key, list, []), 1):
            yield Table(f"{self.place}: {key} {number}", item)

    def one(self, key: str) -> Table:
        return Table(f"{self.place}: {key}", self.get(key, dict))

    def one_of(self, key: str, allowed: Sequence[str], default: str | None = None) -> str:
        value = self.text(key, default)
        if value not in allowed:
            raise KnowledgeError(f"{self.place}: {key} must be one of {', '.join(allowed)}")
        return value

    def finish(self) -> None:
        unknown = sorted(set(self._content) - self._read)
        if unknown:
            raise KnowledgeError(f"{self.place}: unknown key {unknown[0]}")


def _compile(place: str, pattern: object) -> re.Pattern[str]:
    try:
        return re.compile(str(pattern), re.MULTILINE)
    except re.error as error:
        raise KnowledgeError(f"{place}: {error}") from error


def read_manager(file: str, content: Mapping[str, Any]) -> PackageManager:
    """The manager that ``file`` (its name) describes. Raises ``KnowledgeError``."""
    table = Table(file, content)
    name = table.text("name")
    if f"{name}.toml" != file:
        raise KnowledgeError(f"{file}: name must be the name of the file")
    date = table.text("date")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise KnowledgeError(f"{file}: date must be YYYY-MM-DD")
    programs = table.words("programs")
    manager = PackageManager(
        name=name,
        ecosystem=table.text("ecosystem"),
        programs=_compile(f"{file}: programs", "|".join(f"(?:{item})" for item in programs) or r"(?!)"),
        modules=table.words("modules"),
        source=table.text("source"),
        date=date,
        manifests=table.words("manifests"),
        lockfiles=table.words("lockfiles"),
        sharing=table.one_of("sharing", ("shared", "locked"), "shared"),
        fetch=table.text("fetch", ""),
        tools=frozenset(table.words("tools")),
        valued=frozenset(table.words("valued")),
        inert=frozenset(table.words("inert")),
        directory=table.words("directory"),
        offline=table.words("offline"),
        offline_env=table.patterns("offline_env"),
        partial=table.words("partial"),
        dev=table.flag("dev") if table.has("dev") else None,
        no_dev=table.words("no_dev"),
        with_dev=table.words("with_dev"),
        no_dev_env=table.patterns("no_dev_env"),
        declared=table.pattern("declared") if table.has("declared") else None,
        declared_flags=frozenset(table.words("declared_flags")),
        local=table.pattern("local") if table.has("local") else None,
        nothing=_file_pattern(table.one("nothing"), "unless") if table.has("nothing") else None,
        members=table.words("members"),
        goals=table.flag("goals"),
        otherwise=table.one_of("otherwise", ("", *ACTIONS), ""),
        review=table.text("review", ""),
        beside=table.flag("beside"),
        strict=table.flag("strict"),
        commands=tuple(_command(item) for item in table.each("command")),
        caches=tuple(_cache(item) for item in table.each("cache")),
        config=tuple(_config(item) for item in table.each("config")),
        fights=tuple(_fight(item) for item in table.each("fight")),
        help=tuple(_setting(item) for item in table.each("help")),
        setup=tuple(_setting(item) for item in table.each("setup")),
        switch=tuple(_switch(item) for item in table.each("switch")),
    )
    table.finish()
    return manager


def _alternatives(words: Sequence[str]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(word.split("|")) for word in words)


def _file_pattern(table: Table, key: str = "pattern") -> FilePattern:
    found = FilePattern(table.text("file"), table.pattern(key))
    table.finish()
    return found


def _command(table: Table) -> CommandRule:
    action = table.one_of("action", ACTIONS)
    rule = CommandRule(
        _alternatives(table.words("words")),
        action,
        table.one_of("named", ACTIONS, action),
        table.words("needs"),
        table.words("unless"),
        table.flag("offline"),
        table.flag("plain"),
    )
    table.finish()
    return rule


def _cache(table: Table) -> CacheRule:
    paths = table.words("paths")
    if not paths or "$" in paths[-1]:
        raise KnowledgeError(f"{table.place}: paths must end in one that needs no variable")
    rule = CacheRule(
        paths,
        table.text("root", ""),
        table.words("flags"),
        table.text("below", ""),
        table.one_of("role", ROLES),
        table.words("mount"),
        table.words("covers"),
        table.words("actions"),
        table.words("also"),
        table.words("live_flags"),
        table.patterns("live_env"),
        tuple(_file_pattern(item) for item in table.each("live_files")),
        tuple(_file_pattern(item) for item in table.each("not_live_files")),
        tuple(_file_pattern(item) for item in table.each("files")),
    )
    if not set(rule.actions) <= set(ACTIONS):
        raise KnowledgeError(f"{table.place}: actions must be among {', '.join(ACTIONS)}")
    table.finish()
    return rule


def _config(table: Table) -> ConfigRule:
    rule = ConfigRule(table.words("words"), table.text("env"))
    table.finish()
    return rule


def _fight(table: Table) -> FightRule:
    rule = FightRule(
        table.text("flag", ""),
        _alternatives(table.words("command")),
        table.text("env", ""),
        table.pattern("values", ".+"),
    )
    if [bool(rule.flag), bool(rule.command), bool(rule.env)].count(True) != 1:
        raise KnowledgeError(f"{table.place}: exactly one of flag, command, env is expected")
    table.finish()
    return rule


def _setting(table: Table) -> Setting:
    setting = Setting(table.text("env"), table.text("value"), table.text("why"))
    table.finish()
    return setting


def _switch(table: Table) -> Switch:
    switch = Switch(FilePattern(table.text("file"), table.pattern("pattern")), table.text("to"))
    table.finish()
    return switch
