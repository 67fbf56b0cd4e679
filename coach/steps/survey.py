"""Every package step of a script, followed files included."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from coach.knowledge import CommandRule, PackageManager, managers
from coach.shell import Command, Script
from coach.steps.caches import cache_of, file_of, home_of, joined
from coach.steps.call import Call, Parsed, action_of, call_of, calls_of, parsed_of, rule_of
from coach.steps.fights import with_fights
from coach.steps.follow import Via, follow
from coach.steps.launched import launched, launcher_settings
from coach.steps.nouns import Action, Hidden, Look, PackageStep

if TYPE_CHECKING:
    from coach.dockerfile import State


_MAX_FOUND = 400


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
        found |= launcher_settings(command)
        call = call_of(command)
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


def _survey(
    script: Script, state: State, look: Look, stored: Mapping[str, str | None]
) -> tuple[tuple[PackageStep, ...], tuple[Hidden, ...]]:
    shell = posixpath.basename(state.shell[0]) if state.shell else "sh"
    if shell not in _POSIX_SHELLS:
        return (), ()
    found: list[PackageStep] = []
    unseen: list[Hidden] = []
    kept: dict[str, str | None] = dict(stored)
    todo: list[tuple[Sequence[Command], Via]] = [(script.commands, Via())]
    while todo and len(found) < _MAX_FOUND:
        commands, via = todo.pop()
        for index, command in enumerate(commands):
            kept |= launcher_settings(command)
            calls = calls_of(command)
            behind = None if calls else launched(command, {**state.env, **kept, **command.env})
            if behind is not None and (step := _step(behind, command, state, look, kept, via)) is not None:
                found.append(step)
            if calls:
                taken = [_step(call, command, state, look, kept, via) for call in calls]
                if any(step is not None for step in taken):
                    found += [step for step in taken if step is not None]
                    continue
                kept |= settings(Script("", (command,), (), False))
            followed = follow(command, look, via)
            if isinstance(followed, Hidden):
                unseen.append(followed)
            elif followed:
                rest = commands[index + 1 :]
                todo += [(rest, via), *reversed(followed)]
                break
    return with_fights(tuple(found), script, state), tuple(unseen)


def _switched(manager: PackageManager, directory: str | None, look: Look) -> PackageManager:
    for switch in manager.switch:
        content = file_of(look, directory, switch.when.file)
        if content is not None and switch.when.pattern.search(content):
            return managers()[switch.to]
    return manager


def _step(
    call: Call, command: Command, state: State, look: Look, stored: Mapping[str, str | None], via: Via
) -> PackageStep | None:
    manager = call.manager
    parsed = parsed_of(manager, call.texts[1:])
    placed, place = parsed.value(manager.directory)
    directory = joined(command.cwd, place) if placed else command.cwd
    manager = _switched(manager, directory, look)
    rule, action = rule_of(manager, parsed)
    if rule is not None and not manager.goals:
        action = action_of(manager, rule, parsed)
    if not action:
        return None
    env = {**state.env, **stored, **command.env}
    home = home_of(command, state, env)
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
        cache_of(cache, manager, parsed, env, home, directory, look)
        for cache in manager.caches
        if not cache.actions or action in cache.actions
    )
    nothing = ""
    if manager.nothing is not None and found in {Action.INSTALL, Action.FETCH, Action.BUILD}:
        content = file_of(look, directory, manager.nothing.file)
        more = any(file_of(look, directory, name) is not None for name in manager.members)
        if content is not None and not more and not manager.nothing.pattern.search(content):
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
        _dev(manager, rule, parsed, env),
        nothing,
        parsed.has(*manager.partial),
        vendored,
        _label(call, manager, rule, parsed),
    )


def _label(call: Call, manager: PackageManager, rule: CommandRule | None, parsed: Parsed) -> str:
    named = [text for text in parsed.operands if text is not None and "\n" not in text and "://" not in text]
    count = len(rule.words) if rule is not None and not manager.goals else 1
    program = posixpath.basename(call.texts[0] or manager.name)
    return " ".join([program, *named[:count]])[:60]


def _all_local(manager: PackageManager, rule: CommandRule | None, parsed: Parsed) -> bool:
    operands = parsed.operands[len(rule.words) :] if rule is not None else ()
    if manager.local is None or not operands or parsed.has(*manager.declared_flags):
        return False
    return all(text is not None and manager.local.fullmatch(text) for text in operands)


def _vendored(manager: PackageManager, parsed: Parsed, directory: str | None, look: Look) -> bool:
    # go builds from vendor/ by itself when it is there
    if manager.name != "go" or parsed.has("-mod=mod"):
        return False
    return parsed.has("-mod=vendor") or file_of(look, directory, "vendor/modules.txt") is not None


def _dev(
    manager: PackageManager, rule: CommandRule | None, parsed: Parsed, env: Mapping[str, str | None]
) -> bool | None:
    if rule is not None and rule.plain:
        return False
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
