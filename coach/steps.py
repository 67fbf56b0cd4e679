"""What a RUN installs, fetches and compiles, where each tool keeps its cache, and what defeats that cache.

Everything about a package manager comes from ``coach/knowledge/managers``. Files of the repository that a command runs
(a Makefile, a shell script, a script of package.json) are followed through ``look``.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

from coach import makefile
from coach.knowledge import CacheRule, CommandRule, FilePattern, PackageManager, managers
from coach.shell import Command, Script, Word, parse

if TYPE_CHECKING:
    from coach.dockerfile import State

Look = Callable[[str], "tuple[str, bytes] | None"]

_MAX_DEPTH = 4
_MAX_FILE = 256 * 1024
_MAX_FOUND = 400


class Action(StrEnum):
    """What a step does.

    ``FETCH`` downloads declared dependencies only; ``INSTALL`` installs what a manifest or lockfile declares; ``NAMED``
    installs packages named on the command line; ``TOOL`` is ``NAMED`` for nothing but package managers and build
    front-ends; ``BUILD`` compiles, and downloads dependencies that are not there; ``OS`` installs system packages.
    """

    FETCH = "fetch"
    INSTALL = "install"
    NAMED = "named"
    TOOL = "tool"
    BUILD = "build"
    OS = "os"


@dataclass(frozen=True, slots=True)
class CacheDir:
    """A directory where a tool keeps what it downloads; an absolute container path, ``None`` when it cannot be told.

    ``why`` says where the path comes from, or why it is unknown; ``moved_by`` names what moved it from its default. The
    ``role`` is that of the knowledge table. ``mounts`` are the paths a cache mount should have, ``enough`` patterns of
    further mount targets that serve as well.
    """

    path: str | None
    why: str
    moved_by: str = ""
    role: str = "download"
    mounts: tuple[str, ...] = ()
    enough: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fight:
    """A piece of the shell text that defeats a cache mount; deleting ``[start, end)`` leaves a valid script.

    With ``start == end`` it cannot be cut out here: ``env`` then names the variable that does it, or it stands in a
    followed file. ``wide`` says that it also removes things that are no cache.
    """

    start: int
    end: int
    text: str
    why: str
    env: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class PackageStep:
    """One command that installs, fetches or compiles.

    ``directory`` is the project directory in the container (``None`` when unknown). ``via`` tells where the command
    stands when it was found by following a file (``Makefile:12``), and ``command`` then has the offsets of the RUN's
    own command. ``dev`` says whether development dependencies come along. ``nothing`` says why there is nothing to
    download, ``partial`` that the project itself is left out. ``label`` is the command as people call it: ``npm ci``.
    """

    manager: str
    ecosystem: str
    action: Action
    command: Command
    directory: str | None
    offline: bool
    caches: tuple[CacheDir, ...]
    fights: tuple[Fight, ...]
    via: str
    via_path: str
    via_line: int
    dev: bool | None
    nothing: str = ""
    partial: bool = False
    vendored: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A command that may install something out of sight, and why it could not be followed."""

    command: Command
    reason: str


def steps(
    script: Script, state: State, look: Look, settings: Mapping[str, str | None] | None = None
) -> tuple[PackageStep, ...]:
    """Every package step of a script, in order.

    ``look`` gives ``(repository path, content)`` of a container path that holds a file of the repository, else
    ``None``. ``settings`` are what earlier commands stored (see ``settings``), as environment variables. Never raises.
    """
    return _survey(script, state, look, settings or {})[0]


def hidden(script: Script, state: State, look: Look) -> tuple[Hidden, ...]:
    """Commands that could not be followed although they may install packages."""
    return _survey(script, state, look, {})[1]


def settings(script: Script) -> dict[str, str | None]:
    """What the commands of a script store for later ones (``npm config set cache …``), as environment variables."""
    found: dict[str, str | None] = {}
    for command in script.commands:
        call = _call(command)
        if call is None:
            continue
        words = [text for text in call.texts[1:] if text is None or not text.startswith("-") or text in _STORING]
        for rule in call.manager.config:
            wanted, length = rule.words, len(rule.words)
            if tuple(words[: length - 1]) != wanted[:-1] or len(words) < length:
                continue
            last = words[length - 1] or ""
            name, joined, value = last.partition("=")
            if name != wanted[-1]:
                continue
            stored: str | None = value if joined else words[length] if len(words) > length else None
            found[rule.env] = None if command.guarded else stored
    return found


_STORING = frozenset({"-w", "--add", "--global"})
_POSIX_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox", "env", "eatmydata"})


@dataclass(frozen=True, slots=True)
class _Via:
    """Where a followed command stands; the empty one is the RUN itself."""

    path: str = ""
    line: int = 0
    outer: Command | None = None
    trail: tuple[str, ...] = ()


def _survey(
    script: Script, state: State, look: Look, stored: Mapping[str, str | None]
) -> tuple[tuple[PackageStep, ...], tuple[Hidden, ...]]:
    shell = posixpath.basename(state.shell[0]) if state.shell else "sh"
    if shell not in _POSIX_SHELLS:
        return (), ()
    found: list[PackageStep] = []
    unseen: list[Hidden] = []
    kept: dict[str, str | None] = dict(stored)
    todo: list[tuple[Sequence[Command], _Via]] = [(script.commands, _Via())]
    while todo and len(found) < _MAX_FOUND:
        commands, via = todo.pop()
        for index, command in enumerate(commands):
            call = _call(command)
            if call is not None:
                step = _step(call, command, state, look, kept, via)
                if step is not None:
                    found.append(step)
                    continue
                kept |= settings(Script("", (command,), (), False))
            followed = _follow(command, look, via)
            if isinstance(followed, Hidden):
                unseen.append(followed)
            elif followed:
                rest = commands[index + 1 :]
                todo += [(rest, via), *reversed(followed)]
                break
    return _with_fights(tuple(found), script, state), tuple(unseen)


# -- which manager -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Call:
    """A manager and the words from its program on."""

    manager: PackageManager
    words: tuple[Word, ...]

    @property
    def texts(self) -> tuple[str | None, ...]:
        return tuple(word.text for word in self.words)


_PYTHON = re.compile(r"(python|pypy)(\d+(\.\d+)?)?")
# runner -> how many of its own words precede the command, and its options that take a value
_RUNNERS: Mapping[tuple[str, ...], frozenset[str]] = {
    ("npx",): frozenset({"-p", "--package", "-w", "--workspace"}),
    ("bunx",): frozenset({"-p", "--package"}),
    ("pnpx",): frozenset(),
    ("corepack",): frozenset(),
    ("npm", "exec"): frozenset({"-p", "--package"}),
    ("pnpm", "dlx"): frozenset({"--package"}),
    ("pnpm", "exec"): frozenset({"--filter", "-F", "--dir", "-C"}),
    ("yarn", "dlx"): frozenset({"-p", "--package"}),
    ("bun", "x"): frozenset(),
    ("poetry", "run"): frozenset(),
    ("pipenv", "run"): frozenset(),
    ("pdm", "run"): frozenset(),
    ("uv", "run"): frozenset({"--with", "--python", "-p", "--project", "--directory", "--extra", "--group"}),
    ("uvx",): frozenset({"--from", "--with", "--python"}),
    ("conda", "run"): frozenset({"-n", "--name", "-p", "--prefix"}),
    ("micromamba", "run"): frozenset({"-n", "--name", "-p", "--prefix"}),
    ("bundle", "exec"): frozenset(),
    ("mise", "exec"): frozenset(),
    ("mise", "x"): frozenset(),
    ("op", "run"): frozenset({"--env-file"}),
    ("doppler", "run"): frozenset(),
    ("dotenvx", "run"): frozenset({"-f"}),
    ("xargs",): frozenset({"-n", "-P", "-I", "-a", "-d", "-L"}),
}


def _call(command: Command) -> _Call | None:
    words = command.peeled
    for _ in range(4):
        texts = [word.text for word in words]
        if not texts or texts[0] is None:
            return None
        name = posixpath.basename(texts[0]).partition("@")[0]
        if _PYTHON.fullmatch(name):
            module = _module(words)
            if module is None:
                return None
            words = words[module:]
            named = next((one for one in managers().values() if words[0].text in one.modules), None)
            return _Call(named, words) if named is not None else None
        inner = _unwrapped(name, words)
        if inner is not None:
            words = inner
            continue
        manager = next((one for one in managers().values() if one.programs.fullmatch(name)), None)
        return _Call(manager, words) if manager is not None else None
    return None


def _module(words: Sequence[Word]) -> int | None:
    """Index of the module's name behind ``python … -m``."""
    at = 1
    while at < len(words):
        text = words[at].text
        if text == "-m":
            return at + 1 if at + 1 < len(words) else None
        if text is None or not text.startswith("-") or text == "-c":
            return None
        at += 2 if text in {"-W", "-X"} else 1
    return None


def _unwrapped(name: str, words: Sequence[Word]) -> tuple[Word, ...] | None:
    """The command behind a runner such as ``corepack`` or ``poetry run``; ``None`` when there is none."""
    for head, valued in _RUNNERS.items():
        if name != head[0] or (len(head) > 1 and (len(words) < 2 or words[1].text != head[1])):
            continue
        at = len(head)
        while at < len(words):
            text = words[at].text
            if text is None or not text.startswith("-"):
                break
            at += 2 if text in valued else 1
        if at >= len(words):
            return None
        text = words[at].text
        if text is None:
            return None
        program = posixpath.basename(text).partition("@")[0]
        if head == ("corepack",) and program not in {"npm", "pnpm", "yarn", "npx", "pnpx"}:
            return None
        known = _PYTHON.fullmatch(program) or any(one.programs.fullmatch(program) for one in managers().values())
        return tuple(words[at:]) if known or (program,) in _RUNNERS else None
    return None


def program(command: Command) -> tuple[str, tuple[str | None, ...]] | None:
    """The package manager a command calls, whatever it does, and its words from the program on."""
    call = _call(command)
    return (call.manager.name, call.texts) if call is not None else None


# -- one step ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Parsed:
    """Options as ``(flag, value)`` and operands; ``None`` where a word is not static."""

    options: tuple[tuple[str, str | None], ...]
    operands: tuple[str | None, ...]

    def has(self, *flags: str) -> bool:
        """Whether an option is there, written ``--flag``, ``--flag=value`` or ``--flag value``."""
        for wanted in flags:
            for flag, value in self.options:
                if wanted in {flag, f"{flag}={value}", f"{flag} {value}"}:
                    return True
        return False

    def value(self, flags: Sequence[str]) -> tuple[bool, str | None]:
        found = [value for flag, value in self.options if flag in flags]
        return bool(found), found[-1] if found else None


def _parsed(manager: PackageManager, texts: Sequence[str | None]) -> _Parsed:
    options: list[tuple[str, str | None]] = []
    operands: list[str | None] = []
    at = 0
    while at < len(texts):
        text = texts[at]
        at += 1
        if text is None or not text.startswith("-") or text == "-":
            operands.append(text)
            continue
        if text == "--":
            operands += texts[at:]
            break
        flag, equals, value = text.partition("=")
        if equals:
            options.append((flag, value))
        elif text in manager.valued and at < len(texts):
            options.append((text, texts[at]))
            at += 1
        elif len(text) > 2 and text[:2] in manager.declared_flags and not text.startswith("--"):
            options.append((text[:2], text[2:]))
        else:
            options.append((text, None))
    return _Parsed(tuple(options), tuple(operands))


def _rule(manager: PackageManager, parsed: _Parsed) -> tuple[CommandRule | None, str]:
    """The rule a command line falls under and its action, "" when it is no package step."""
    if parsed.has(*manager.inert):
        return None, ""
    if manager.goals:
        goals = [text.lstrip(":") if text is not None else None for text in parsed.operands]
        for rule in manager.commands:
            if any(goal in rule.words[0] for goal in goals) and not any(goal in rule.unless for goal in goals):
                return rule, rule.action
        return None, manager.otherwise if goals else ""
    best: CommandRule | None = None
    for rule in manager.commands:
        if len(rule.words) > len(parsed.operands) or (not rule.words and parsed.operands):
            continue
        if not all(text in allowed for text, allowed in zip(parsed.operands, rule.words, strict=False)):
            continue
        if (rule.needs and not parsed.has(*rule.needs)) or parsed.has(*rule.unless):
            continue
        if best is None or len(rule.words) > len(best.words):
            best = rule
    return best, best.action if best is not None else ""


def _package(text: str) -> str:
    """The bare name in ``name==1``, ``name@latest``, ``name[extra]>=2``; a scope keeps its ``@``."""
    scope = "@" if text.startswith("@") else ""
    return scope + re.split(r"[=<>!~\[@ ;]", text.removeprefix("@"), maxsplit=1)[0].lower()


def _action(manager: PackageManager, rule: CommandRule, parsed: _Parsed) -> str:
    action = rule.action
    operands = parsed.operands[len(rule.words) :]
    if rule.named != rule.action and not parsed.has(*manager.declared_flags):
        if operands:
            pattern = manager.declared
            if pattern is None or not all(text is not None and pattern.fullmatch(text) for text in operands):
                action = rule.named
        elif manager.declared_flags:
            return ""
    if action == Action.NAMED and operands and not parsed.has(*manager.declared_flags):
        names = [_package(text) if text is not None else "" for text in operands]
        if all(name in manager.tools for name in names):
            action = Action.TOOL
    return action


def _switched(manager: PackageManager, directory: str | None, look: Look) -> PackageManager:
    for switch in manager.switch:
        content = _file(look, directory, switch.when.file)
        if content is not None and switch.when.pattern.search(content):
            return managers()[switch.to]
    return manager


def _file(look: Look, directory: str | None, name: str) -> str | None:
    if directory is None or not directory.startswith("/"):
        return None
    found = look(posixpath.join(directory, name))
    return found[1][:_MAX_FILE].decode("utf-8", "replace") if found is not None else None


def _joined(directory: str | None, path: str | None) -> str | None:
    if path is None:
        return None
    if path.startswith("/"):
        return posixpath.normpath(path)
    return None if directory is None else posixpath.normpath(posixpath.join(directory, path))


def _step(
    call: _Call, command: Command, state: State, look: Look, stored: Mapping[str, str | None], via: _Via
) -> PackageStep | None:
    manager = call.manager
    parsed = _parsed(manager, call.texts[1:])
    placed, place = parsed.value(manager.directory)
    directory = _joined(command.cwd, place) if placed else command.cwd
    manager = _switched(manager, directory, look)
    rule, action = _rule(manager, parsed)
    if rule is not None and not manager.goals:
        action = _action(manager, rule, parsed)
    if not action:
        return None
    env = {**state.env, **stored, **command.env}
    home = _home(command, state, env)
    vendored = _vendored(manager, parsed, directory, look)
    offline = (
        (rule is not None and rule.offline)
        or parsed.has(*manager.offline)
        or any(pattern.search(env.get(name) or "") for name, pattern in manager.offline_env.items())
        or vendored
        or _all_local(manager, rule, parsed)
    )
    found = Action(action)
    caches = tuple(
        _cache(cache, manager, parsed, env, home, directory, look)
        for cache in manager.caches
        if not cache.actions or action in cache.actions
    )
    nothing = ""
    if manager.nothing is not None and found in {Action.INSTALL, Action.FETCH, Action.BUILD}:
        content = _file(look, directory, manager.nothing.file)
        if content is not None and not manager.nothing.pattern.search(content):
            nothing = f"{manager.nothing.file} declares no dependencies"
    shown = command
    if len(call.words) != len(command.words):
        shown = replace(command, words=call.texts, name=posixpath.basename(call.texts[0] or ""))
    if via.outer is not None:
        outer = via.outer
        shown = replace(
            shown,
            start=outer.start,
            end=outer.end,
            item=outer.item,
            cut=None,
            exact=False,
            guarded=outer.guarded or command.guarded,
        )
    return PackageStep(
        manager.name,
        manager.ecosystem,
        found,
        shown,
        directory,
        offline,
        caches,
        (),
        f"{via.path}:{via.line}" if via.path else "",
        via.path,
        via.line,
        _dev(manager, parsed, env),
        nothing,
        parsed.has(*manager.partial),
        vendored,
        _label(call, manager, rule, parsed),
    )


def _label(call: _Call, manager: PackageManager, rule: CommandRule | None, parsed: _Parsed) -> str:
    named = [text for text in parsed.operands if text is not None and "\n" not in text and "://" not in text]
    count = len(rule.words) if rule is not None and not manager.goals else 1
    program = posixpath.basename(call.texts[0] or manager.name)
    return " ".join([program, *named[:count]])[:60]


def _all_local(manager: PackageManager, rule: CommandRule | None, parsed: _Parsed) -> bool:
    operands = parsed.operands[len(rule.words) :] if rule is not None else ()
    if manager.local is None or not operands or parsed.has(*manager.declared_flags):
        return False
    return all(text is not None and manager.local.fullmatch(text) for text in operands)


def _vendored(manager: PackageManager, parsed: _Parsed, directory: str | None, look: Look) -> bool:
    # go builds from vendor/ by itself when it is there
    if manager.name != "go" or parsed.has("-mod=mod"):
        return False
    return parsed.has("-mod=vendor") or _file(look, directory, "vendor/modules.txt") is not None


def _dev(manager: PackageManager, parsed: _Parsed, env: Mapping[str, str | None]) -> bool | None:
    if parsed.has(*manager.with_dev):
        return True
    if parsed.has(*manager.no_dev):
        return False
    for name, pattern in manager.no_dev_env.items():
        value = env.get(name, "")
        if value is None:
            return None
        if pattern.search(value):
            return False
    return manager.dev


# -- cache directories ---------------------------------------------------------------------------------------------


def _home(command: Command, state: State, env: Mapping[str, str | None]) -> str | None:
    user = command.user or (state.user or "root").partition(":")[0]
    if command.user is not None and command.user != (state.user or "root").partition(":")[0]:
        return "/root" if user in {"root", "0"} else None
    if "HOME" in env:
        return env["HOME"]
    return "/root" if user in {"root", "0", ""} else None


def _filled(template: str, env: Mapping[str, str | None], home: str | None) -> tuple[str | None, str, bool]:
    """``(path, variable, applies)``: a template whose variables are not all set does not apply."""
    match = re.match(r"\$(\w+)", template)
    variable = match[1] if match is not None else ""
    if variable:
        value = env.get(variable, "")
        if value == "":
            return None, variable, False
        if value is None:
            return None, variable, True
        template = value.rstrip("/") + template[len(variable) + 1 :]
    if template == "~" or template.startswith("~/"):
        if home is None or home.startswith("~"):
            return None, variable, True
        template = home + template[1:]
    if not template.startswith(("/", "**")):
        return None, variable, True
    return posixpath.normpath(template), variable, True


def _cache(
    rule: CacheRule,
    manager: PackageManager,
    parsed: _Parsed,
    env: Mapping[str, str | None],
    home: str | None,
    directory: str | None,
    look: Look,
) -> CacheDir:
    path, why, moved = _cache_path(rule, manager, parsed, env, home, directory, look)
    role = _role(rule, parsed, env, directory, look)
    enough = [_filled(template, env, home)[0] for template in rule.also]
    if path is not None:
        enough += [posixpath.join(path, inner) for inner in rule.covers]
    mounts = tuple(posixpath.join(path, inner) for inner in rule.mount) if path is not None and rule.mount else ()
    if path is not None and not mounts:
        mounts = (path,)
    return CacheDir(path, why, moved, role, mounts, tuple(item for item in enough if item is not None))


def _cache_path(
    rule: CacheRule,
    manager: PackageManager,
    parsed: _Parsed,
    env: Mapping[str, str | None],
    home: str | None,
    directory: str | None,
    look: Look,
) -> tuple[str | None, str, str]:
    flagged, value = parsed.value(rule.flags)
    if flagged:
        flag = next(flag for flag, _ in parsed.options if flag in rule.flags)
        path = _joined(directory, value)
        return path, f"{flag} names it" if path else f"the value of {flag} is not known", flag
    for template in rule.paths[:-1]:
        path, variable, applies = _filled(template, env, home)
        if applies:
            return (
                path,
                f"${variable} puts it there" if path else f"the value of ${variable} is not known",
                f"${variable}",
            )
    for moved in rule.files:
        content = _file(look, directory, moved.file)
        match = moved.pattern.search(content) if content is not None else None
        if match is not None:
            text = match[1].replace("${HOME}", "~").replace("$HOME", "~")
            path = _joined(directory, text) if not text.startswith("~") else _filled(text, env, home)[0]
            if "$" in text:
                path = None
            return path, f"{moved.file} puts it there" if path else f"{moved.file} moves it out of sight", moved.file
    if rule.root and home == "/root":
        return rule.root, f"the default of {manager.name} for root", ""
    path = _filled(rule.paths[-1], env, home)[0]
    return path, f"the default of {manager.name}" if path else "the home directory of its user is not known", ""


def _role(rule: CacheRule, parsed: _Parsed, env: Mapping[str, str | None], directory: str | None, look: Look) -> str:
    def seen(patterns: Sequence[FilePattern]) -> bool:
        contents = ((item, _file(look, directory, item.file)) for item in patterns)
        return any(content is not None and item.pattern.search(content) for item, content in contents)

    alive = any(pattern.search(env.get(name) or "") for name, pattern in rule.live_env.items())
    if alive or parsed.has(*rule.live_flags) or set(parsed.operands) & set(rule.live_flags) or seen(rule.live_files):
        return "live"
    if rule.role == "live" and rule.not_live_files and seen(rule.not_live_files):
        return "download"
    return rule.role


# -- what defeats a cache ------------------------------------------------------------------------------------------


def _with_fights(found: tuple[PackageStep, ...], script: Script, state: State) -> tuple[PackageStep, ...]:
    return tuple(replace(step, fights=tuple(_fights(step, script, state))) for step in found)


def _fights(step: PackageStep, script: Script, state: State) -> Iterator[Fight]:
    manager = managers()[step.manager]
    followed = bool(step.via_path)
    own = step.command
    words = own.peeled
    for rule in manager.fights:
        if rule.flag:
            for before, word in pairwise(words):
                if word.text == rule.flag:
                    cut = (before.end, word.end) if own.exact and not followed else (own.start, own.start)
                    yield Fight(*cut, word.raw, f"{rule.flag} keeps {step.manager} from using its cache")
        elif rule.env:
            yield from _env_fight(rule.env, rule.values, step, state)
        elif not followed:
            for command in script.commands:
                call = _call(command) if command.start >= own.start else None
                if call is None or call.manager.name not in {step.manager, step.manager.partition("-")[0]}:
                    continue
                operands = [text for text in call.texts[1:] if text is not None]
                plain = [text for text in operands if not text.startswith("-") or text in {"--clear"}]
                if len(plain) >= len(rule.command) and all(
                    text in allowed for text, allowed in zip(plain, rule.command, strict=False)
                ):
                    cut = command.cut or (command.start, command.start)
                    shown = script.source[command.start : command.end]
                    yield Fight(*cut, shown, f"it empties the cache of {step.manager}")
    if not followed:
        for command in script.commands:
            if command.name in {"rm", "rmdir"} and command.start >= own.start:
                yield from _removals(command, step, script)


def _env_fight(name: str, values: re.Pattern[str], step: PackageStep, state: State) -> Iterator[Fight]:
    command = step.command
    value = command.env.get(name, state.env.get(name))
    if not value or not values.search(value):
        return
    why = f"{name} keeps {step.manager} from using its cache"
    for variable, word in command.assignments:
        if variable == name and command.exact and not step.via_path and word.text == value:
            start = word.start - len(name) - 1
            # the blank that follows goes with it
            yield Fight(start, min(word.end + 1, command.end), f"{name}={word.raw}", why)
            return
    yield Fight(command.start, command.start, f"{name}={value}", why, env=name)


def _removals(command: Command, step: PackageStep, script: Script) -> Iterator[Fight]:
    """``rm -rf`` of a cache directory, of something in it, or of a directory it lies in."""
    targets = [
        (before, word)
        for before, word in pairwise(command.peeled)
        if word.text is None or not word.text.startswith("-")
    ]
    hits: list[tuple[Word, Word, bool]] = []
    for cache in step.caches:
        if cache.role == "live":
            continue
        for path in (cache.path, *cache.mounts):
            for before, word in targets:
                kind = _removes(word.text, path, command.cwd)
                if kind and all(known is not word for _, known, _ in hits):
                    hits.append((before, word, kind == "above"))
    if not hits:
        return
    wide = any(above for _, _, above in hits)
    why = "it removes the cache" if not wide else "it removes a directory that the cache lies in"
    if len(hits) == len(targets):
        cut = command.cut or (command.start, command.start)
        yield Fight(*cut, script.source[command.start : command.end], why, wide=wide)
        return
    for before, word, above in hits:
        cut = (before.end, word.end) if command.exact else (command.start, command.start)
        yield Fight(*cut, word.raw, why, wide=above)


def _removes(text: str | None, path: str | None, cwd: str | None) -> str:
    if text is None or path is None:
        return ""
    whole = posixpath.normpath(posixpath.join(cwd or "/", text))
    bare = re.sub(r"/(\*|\.\*|\{\*,\.\*\}|\*\*)$", "", whole)
    if bare == path or bare.startswith(path + "/"):
        return "inside"
    if "*" in bare or bare in {"", "/"}:
        return ""
    return "above" if path.startswith(bare + "/") else ""


# -- following files of the repository -----------------------------------------------------------------------------


def _follow(command: Command, look: Look, via: _Via) -> list[tuple[Sequence[Command], _Via]] | Hidden | None:
    name, texts = command.name, command.words
    outer = via.outer or command
    if name in {"make", "gmake"}:
        return _follow_make(command, look, via, outer)
    script = _script_name(name, texts)
    if script is not None:
        return _follow_script(script, command, look, via, outer)
    if name in {"npm", "pnpm", "yarn", "bun"}:
        return _follow_package_script(command, look, via, outer)
    return None


def _too_deep(via: _Via, key: str) -> bool:
    return len(via.trail) >= _MAX_DEPTH or key in via.trail


def _script_name(name: str | None, texts: Sequence[str | None]) -> str | None:
    if name in {"sh", "bash", "dash", "ash", "zsh", "ksh", ".", "source"}:
        operands = [text for text in texts[1:] if text is not None and not text.startswith(("-", "+"))]
        return operands[0] if operands else None
    first = texts[0] if texts else None
    if first is not None and "/" in first and not first.startswith(("/usr/", "/bin/", "/sbin/")):
        return first
    return None


def _follow_script(
    path: str, command: Command, look: Look, via: _Via, outer: Command
) -> list[tuple[Sequence[Command], _Via]] | Hidden | None:
    place = _joined(command.cwd, path)
    if place is None:
        return Hidden(outer, f"{path} runs in a directory that is not known")
    found = look(place)
    if found is None:
        return None
    source, content = found
    head = content[:200].split(b"\n", 1)[0]
    shelled = command.name in {"sh", "bash", "dash", "ash", "zsh", "ksh", ".", "source"}
    if b"\0" in content[:1024] or not (shelled or re.match(rb"#!.*\b(ba|da|a|z|k)?sh\b", head)):
        return None
    if len(content) > _MAX_FILE or _too_deep(via, place):
        return Hidden(outer, f"{source} is too large or nested too deep to be followed")
    text = content.decode("utf-8", "replace")
    script = parse(text, command.env, command.cwd)
    deeper = replace(via, path=source, outer=outer, trail=(*via.trail, place))
    return [((inner,), replace(deeper, line=text.count("\n", 0, inner.start) + 1)) for inner in script.commands]


def _follow_make(
    command: Command, look: Look, via: _Via, outer: Command
) -> list[tuple[Sequence[Command], _Via]] | Hidden | None:
    directory, named, targets = command.cwd, None, []
    given: dict[str, str | None] = dict(command.env)
    texts = list(command.words[1:])
    while texts:
        text = texts.pop(0)
        if text is None:
            return Hidden(outer, "a target of make is not static")
        if text in {"-C", "--directory"}:
            directory = _joined(directory, texts.pop(0)) if texts else None
        elif text.startswith(("-C", "--directory=")):
            directory = _joined(directory, text.removeprefix("--directory=").removeprefix("-C"))
        elif text in {"-f", "--file", "--makefile"}:
            named = texts.pop(0) if texts else None
        elif text in {"-j", "-l", "-o", "-W", "-I"}:
            if texts and (texts[0] or "x")[0].isdigit():
                texts.pop(0)
        elif "=" in text and not text.startswith("-"):
            given[text.partition("=")[0].rstrip(":")] = text.partition("=")[2]
        elif not text.startswith("-"):
            targets.append(text)
    if directory is None:
        return Hidden(outer, "make runs in a directory that is not known")
    for name in [named] if named else ["GNUmakefile", "makefile", "Makefile"]:
        found = look(posixpath.join(directory, name))
        if found is not None:
            break
    else:
        return Hidden(outer, "the Makefile is not one of the files that were copied in")
    source, content = found
    key = f"make {directory} {' '.join(targets)}"
    if len(content) > _MAX_FILE or _too_deep(via, key):
        return Hidden(outer, f"{source} is too large or nested too deep to be followed")
    recipes = makefile.parse(content.decode("utf-8", "replace")).recipes(targets, given)
    if recipes is None:
        return Hidden(outer, f"{source} has no rule for {' '.join(targets) or 'a default target'}")
    env = {**command.env, "__MAKE__": None}
    for assigned, value in given.items():
        env.setdefault(assigned, value)
    deeper = replace(via, path=source, outer=outer, trail=(*via.trail, key))
    return [
        (parse(recipe.text, env, directory).commands, replace(deeper, line=recipe.line)) for recipe in recipes[:200]
    ]


_PROJECT_FLAGS = frozenset({"--prefix", "-C", "--cwd", "--dir", "--filter", "-F", "-w", "--workspace"})


def _follow_package_script(
    command: Command, look: Look, via: _Via, outer: Command
) -> list[tuple[Sequence[Command], _Via]] | Hidden | None:
    directory, operands = command.cwd, []
    texts = list(command.words[1:])
    while texts:
        text = texts.pop(0)
        if text is None:
            return None
        flag, equals, value = text.partition("=")
        if flag in _PROJECT_FLAGS:
            given = value if equals else (texts.pop(0) if texts else None)
            # a workspace is named by its package name, which says nothing about its directory
            directory = _joined(directory, given) if flag in {"--prefix", "-C", "--cwd", "--dir"} else None
        elif not text.startswith("-"):
            operands.append(text)
    if operands[:1] in (["run"], ["run-script"]):
        operands = operands[1:]
    elif command.name == "npm" and operands[:1] not in (["test"], ["start"], ["t"]):
        return None
    if not operands:
        return None
    content = _file(look, directory, "package.json")
    found = look(posixpath.join(directory, "package.json")) if directory is not None and content is not None else None
    if found is None or content is None:
        return None
    key = f"{found[0]} {operands[0]}"
    scripts = _package_scripts(content)
    if operands[0] not in scripts or _too_deep(via, key):
        return None
    followed: list[tuple[Sequence[Command], _Via]] = []
    for name in (f"pre{operands[0]}", operands[0], f"post{operands[0]}"):
        if name in scripts:
            at = content.find(f'"{name}"')
            line = content.count("\n", 0, at) + 1
            deeper = replace(via, path=found[0], line=line, outer=outer, trail=(*via.trail, key))
            followed.append((parse(scripts[name], command.env, directory).commands, deeper))
    return followed


def _package_scripts(content: str) -> dict[str, str]:
    try:
        scripts = json.loads(content).get("scripts", {})
    except (ValueError, AttributeError, RecursionError):
        return {}
    if not isinstance(scripts, dict):
        return {}
    return {name: text for name, text in scripts.items() if isinstance(text, str)}
