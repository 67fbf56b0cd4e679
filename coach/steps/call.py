"""Which package manager a command calls, and what its words ask for."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from coach.knowledge import CommandRule, PackageManager, managers
from coach.shell import Command, Word
from coach.steps.nouns import Action


@dataclass(frozen=True, slots=True)
class Call:
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


def call_of(command: Command) -> Call | None:
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
            named = managers().of_module(words[0].text or "")
            return Call(named, words) if named is not None else None
        inner = _unwrapped(name, words)
        if inner is not None:
            words = inner
            continue
        manager = managers().of_program(name)
        return Call(manager, words) if manager is not None else None
    return None


def calls_of(command: Command) -> tuple[Call, ...]:
    """Every call a command makes: one, or several where Mix chains tasks (``mix do deps.get, compile``)."""
    call = call_of(command)
    if call is None:
        return ()
    if call.manager.name != "mix" or call.texts[1:2] != ("do",):
        return (call,)
    program, tasks = call.words[0], [[call.words[0]]]
    for word in call.words[2:]:
        text = word.text or ""
        if text == "+":
            tasks.append([program])
        elif text.endswith(","):
            tasks[-1].append(replace(word, text=text[:-1]))
            tasks.append([program])
        else:
            tasks[-1].append(word)
    return tuple(Call(call.manager, tuple(task)) for task in tasks if len(task) > 1)


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
        known = _PYTHON.fullmatch(program) or managers().of_program(program)
        return tuple(words[at:]) if known or (program,) in _RUNNERS else None
    return None


def program(command: Command) -> tuple[str, tuple[str | None, ...]] | None:
    """The package manager a command calls, whatever it does, and its words from the program on."""
    call = call_of(command)
    return (call.manager.name, call.texts) if call is not None else None


@dataclass(frozen=True, slots=True)
class Parsed:
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


def parsed_of(manager: PackageManager, texts: Sequence[str | None]) -> Parsed:
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
    return Parsed(tuple(options), tuple(operands))


def rule_of(manager: PackageManager, parsed: Parsed) -> tuple[CommandRule | None, str]:
    """The rule a command line falls under and its action, "" when it is no package step."""
    if parsed.has(*manager.inert):
        return None, ""
    if manager.goals:
        goals = [text.lstrip(":") if text is not None else None for text in parsed.operands]
        if not goals:
            bare = next((rule for rule in manager.commands if not rule.words), None)
            return bare, bare.action if bare is not None else ""
        for rule in manager.commands:
            if (
                rule.words
                and any(goal in rule.words[0] for goal in goals)
                and not any(goal in rule.unless for goal in goals)
            ):
                return rule, rule.action
        return None, manager.otherwise
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


def action_of(manager: PackageManager, rule: CommandRule, parsed: Parsed) -> str:
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
