"""Makefiles: which shell lines a target runs, and at which lines they stand.

Only what a build needs to be followed: rules, recipes, simple variables, ``include`` is not followed. A value that
make computes (``$(shell …)``, a function) becomes a shell variable that nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

UNKNOWN = "${__MAKE__}"
_MAX_DEPTH = 12
_MAX_TARGETS = 200
_ASSIGN = re.compile(r"^(?:export\s+|override\s+)*([\w.-]+)\s*(\?=|:=|::=|\+=|=)\s*(.*)$")
_RULE = re.compile(r"^([^\s:=#][^:=#]*):(?![=:])([^=]*)$")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One logical recipe line of ``target``, variables expanded, ``@``, ``-`` and ``+`` dropped."""

    target: str
    line: int
    text: str


@dataclass(frozen=True)
class Makefile:
    """Rules as ``{target: (prerequisites, recipe lines)}``, the first target, and variables unexpanded."""

    rules: Mapping[str, tuple[tuple[str, ...], tuple[tuple[int, str], ...]]]
    default: str | None
    variables: Mapping[str, str]

    def recipes(self, targets: Sequence[str], given: Mapping[str, str | None]) -> tuple[Recipe, ...] | None:
        """What ``make targets`` runs, prerequisites first; ``None`` when a target has no rule here.

        ``given`` are variables of the command line or the environment.
        """
        wanted = list(targets) or ([self.default] if self.default else [])
        if not wanted or any(self._find(target) is None for target in wanted):
            return None
        found: list[Recipe] = []
        done: set[str] = set()
        stack: list[tuple[str, bool]] = [(target, False) for target in reversed(wanted)]
        while stack and len(done) < _MAX_TARGETS:
            target, ready = stack.pop()
            rule = self._find(target)
            if rule is None or (not ready and target in done):
                continue
            if not ready:
                done.add(target)
                stack.append((target, True))
                needed = [self.expand(name, given) for name in rule[0]]
                stack += [(name, False) for text in reversed(needed) for name in reversed(text.split())]
                continue
            for line, text in rule[1]:
                shown = self.expand(text, {**given, "@": target}).lstrip("@-+ \t")
                found.append(Recipe(target, line, shown))
        return tuple(found)

    def _find(self, target: str) -> tuple[tuple[str, ...], tuple[tuple[int, str], ...]] | None:
        if target in self.rules:
            return self.rules[target]
        for pattern in self._patterns:
            head, _, tail = pattern.partition("%")
            if target.startswith(head) and target.endswith(tail) and len(target) > len(head + tail):
                return self.rules[pattern]
        return None

    @cached_property
    def _patterns(self) -> tuple[str, ...]:
        return tuple(name for name in self.rules if "%" in name)[:100]

    def expand(self, text: str, given: Mapping[str, str | None], depth: int = 0) -> str:
        """``text`` with ``$(NAME)`` and ``${NAME}`` replaced and ``$$`` turned into ``$``."""
        out: list[str] = []
        at = 0
        while (dollar := text.find("$", at)) >= 0 and dollar + 1 < len(text):
            out.append(text[at:dollar])
            sign = text[dollar + 1]
            if sign == "$":
                out.append("$")
                at = dollar + 2
            elif sign in "({":
                end = _close(text, dollar + 1)
                out.append(self._value(text[dollar + 2 : end], given, depth))
                at = end + 1
            else:
                out.append(self._value(sign, given, depth))
                at = dollar + 2
        return "".join([*out, text[at:]])

    def _value(self, name: str, given: Mapping[str, str | None], depth: int) -> str:
        if depth >= _MAX_DEPTH or not re.fullmatch(r"[\w.@-]+", name):
            return UNKNOWN
        if name == "MAKE":
            return "make"
        if name in given:
            value = given[name]
            return UNKNOWN if value is None else value
        if name in self.variables:
            value = self.expand(self.variables[name], given, depth + 1)
            return value if len(value) < 10_000 else UNKNOWN
        return ""


def _close(text: str, opened: int) -> int:
    pair = {"(": ")", "{": "}"}
    level = 0
    for at in range(opened, len(text)):
        if text[at] == text[opened]:
            level += 1
        elif text[at] == pair[text[opened]]:
            level -= 1
            if level == 0:
                return at
    return len(text)


def parse(text: str) -> Makefile:
    """Rules and variables of a makefile. Never raises: what is not understood is left out."""
    rules: dict[str, tuple[list[str], list[tuple[int, str]]]] = {}
    variables: dict[str, str] = {}
    default: str | None = None
    current: tuple[str, ...] = ()
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        first = at
        parts = [lines[at]]
        while parts[-1].endswith("\\") and at + 1 < len(lines):
            at += 1
            parts.append(lines[at])
        at += 1
        recipe = parts[0].startswith("\t")
        if recipe:
            joined = "\n".join(part.removeprefix("\t") for part in parts)
            for target in current:
                rules[target][1].append((first + 1, joined))
            continue
        line = " ".join(part.rstrip("\\").strip() for part in parts)
        if not line or line.startswith("#"):
            continue
        head, inline = _split_inline(line)
        assigned = _ASSIGN.match(line)
        rule = _RULE.match(head)
        if assigned is not None:
            name, operator, value = assigned.groups()
            value = re.sub(r"\s+#.*", "", value)
            if operator == "+=":
                variables[name] = f"{variables.get(name, '')[:10_000]} {value}".strip()
            elif operator != "?=" or name not in variables:
                # `A := $(A) x` would name itself for ever
                variables[name] = UNKNOWN.replace("$", "$$") if f"$({name})" in value else value
        elif rule is not None:
            current = tuple(rule[1].split())[:20]
            needs = tuple(rule[2].split("#")[0].replace("|", " ").split())
            for target in current:
                old = rules.setdefault(target, ([], []))
                old[0].extend(needs)
                old[1].extend([(first + 1, inline)] if inline else [])
                if default is None and not target.startswith("."):
                    default = target
    values = Makefile({}, None, variables)
    named = {
        values.expand(name, {}) if "$" in name else name: (tuple(needs), tuple(body))
        for name, (needs, body) in rules.items()
    }
    return Makefile(named, values.expand(default, {}) if default is not None else None, variables)


def _split_inline(line: str) -> tuple[str, str]:
    """``target: needs ; recipe`` in its two halves."""
    colon = line.find(":")
    semicolon = line.find(";", colon) if colon >= 0 else -1
    return (line[:semicolon], line[semicolon + 1 :].strip()) if semicolon >= 0 else (line, "")
