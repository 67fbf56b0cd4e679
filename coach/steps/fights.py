"""What in a script keeps a tool from using its cache, and which characters say so."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from coach.knowledge import managers
from coach.shell import Command, Script, Word
from coach.steps.call import call_of
from coach.steps.nouns import Fight, PackageStep

if TYPE_CHECKING:
    from coach.dockerfile import State


def with_fights(found: tuple[PackageStep, ...], script: Script, state: State) -> tuple[PackageStep, ...]:
    calls = _Calls(script)
    return tuple(replace(step, fights=tuple(_fights(step, script, state, calls))) for step in found)


class _Calls:
    """The commands of a script that may empty a cache, each looked at once however many steps there are."""

    def __init__(self, script: Script) -> None:
        self.removing = [command for command in script.commands if command.name in {"rm", "rmdir"}]
        self._of: dict[str, list[tuple[Command, list[str]]]] = {}
        self._emptying: dict[tuple[str, tuple[frozenset[str], ...]], list[Command]] = {}
        for command in script.commands:
            call = call_of(command)
            if call is not None:
                operands = [text for text in call.texts[1:] if text is not None]
                plain = [text for text in operands if not text.startswith("-") or text in {"--clear"}]
                self._of.setdefault(call.manager.name, []).append((command, plain))

    def emptying(self, manager: str, wanted: tuple[frozenset[str], ...]) -> list[Command]:
        """Calls of a manager, or of the program it is a dialect of, whose first operands are the ``wanted`` ones."""
        if (manager, wanted) not in self._emptying:
            names = {manager, manager.partition("-")[0]}
            self._emptying[manager, wanted] = [
                command
                for command, plain in sorted(
                    (one for name in names for one in self._of.get(name, ())), key=lambda one: one[0].start
                )
                if len(plain) >= len(wanted)
                and all(text in allowed for text, allowed in zip(plain, wanted, strict=False))
            ]
        return self._emptying[manager, wanted]


def _fights(step: PackageStep, script: Script, state: State, calls: _Calls) -> Iterator[Fight]:
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
            for command in calls.emptying(step.manager, rule.command):
                if command.start >= own.start:
                    cut = command.cut or (command.start, command.start)
                    shown = script.source[command.start : command.end]
                    yield Fight(*cut, shown, f"it empties the cache of {step.manager}")
    if not followed:
        for command in calls.removing:
            if command.start >= own.start:
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
