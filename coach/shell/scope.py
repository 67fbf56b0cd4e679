"""Variables and directory of one shell process, and words expanded with them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

_MAX_NESTED_DEFAULTS = 8
_MAX_VALUE = 64 * 1024


@dataclass(slots=True)
class Scope:
    """Variables and directory of one shell process. The dictionaries are replaced, never changed."""

    env: dict[str, str | None]
    shell: dict[str, str | None]
    cwd: str | None
    allexport: bool = False
    pushed: tuple[str | None, ...] = ()
    user: str | None = None

    def child(self) -> Scope:
        return replace(self)

    def assign(self, name: str, value: str | None, export: bool = False) -> None:
        self.shell = {**self.shell, name: value}
        if export or self.allexport or name in self.env:
            self.env = {**self.env, name: value}

    def export(self, name: str) -> None:
        if name in self.shell:
            self.env = {**self.env, name: self.shell[name]}

    def unset(self, name: str) -> None:
        # an empty value stands for "unset": an absent name would mean that nobody knows
        if name in self.shell:
            self.shell = {**self.shell, name: ""}
        if name in self.env:
            self.env = {key: value for key, value in self.env.items() if key != name}

    def lookup(self, name: str) -> str | None:
        if name in self.shell:
            return self.shell[name]
        if name == "HOME":
            return "~"
        return self.cwd if name == "PWD" else None

    def enter(self, directory: str | None) -> None:
        if directory is None:
            self.cwd = None
        elif directory.startswith(("/", "~")):
            self.cwd = posixpath.normpath(directory)
        else:
            self.cwd = None if self.cwd is None else posixpath.normpath(posixpath.join(self.cwd, directory))


@dataclass(slots=True)
class Fork:
    """State at the start of something that may not run, and what its branches changed."""

    scope: Scope
    env: dict[str, str | None]
    shell: dict[str, str | None]
    cwd: str | None
    env_changed: set[str] = field(default_factory=set)
    shell_changed: set[str] = field(default_factory=set)
    moved: bool = False

    @classmethod
    def at(cls, scope: Scope) -> Fork:
        return cls(scope, scope.env, scope.shell, scope.cwd)

    def back(self) -> None:
        """Take the scope back to the start, remembering what the branch did to it."""
        for changed, old, new in (
            (self.env_changed, self.env, self.scope.env),
            (self.shell_changed, self.shell, self.scope.shell),
        ):
            if old is not new:
                changed |= {name for name in old.keys() | new.keys() if old.get(name, "") != new.get(name, "")}
        self.moved = self.moved or self.scope.cwd != self.cwd
        self.scope.env, self.scope.shell, self.scope.cwd = self.env, self.shell, self.cwd

    def join(self) -> None:
        """Go on after all branches: what any of them changed is unknown from here."""
        self.back()
        if self.env_changed:
            self.scope.env = {**self.env, **dict.fromkeys(self.env_changed)}
        if self.shell_changed:
            self.scope.shell = {**self.shell, **dict.fromkeys(self.shell_changed)}
        if self.moved:
            self.scope.cwd = None


def tilde(word: str, scope: Scope) -> str:
    if word == "~" or word.startswith("~/"):
        return (scope.lookup("HOME") or "~") + word[1:]
    return word


def unescape(word: str) -> str:
    return re.sub(r"\\(\n|.)", lambda match: "" if match[1] == "\n" else match[1], word) if "\\" in word else word


def unquote(content: str) -> str:
    """Inside double quotes a backslash only escapes ``$``, a backtick, ``"``, itself and the end of a line."""
    return re.sub(r"\\(\n|[$`\"\\])", lambda match: "" if match[1] == "\n" else match[1], content)


_EXPANSION = re.compile(r"\$(?:\{(\w+)(?:(:?[-=+?])((?s:.*)))?\}|(\w+))", re.ASCII)


def expand(raw: str, scope: Scope, depth: int) -> str | None:
    match = _EXPANSION.fullmatch(raw)
    if match is None or depth > _MAX_NESTED_DEFAULTS:
        return None
    name = match[1] or match[4]
    if name[0].isdigit():
        return None
    value, known = scope.lookup(name), name in scope.shell
    operator, operand = match[2] or "", match[3] or ""
    if not operator:
        return value
    filled = known and (value != "" or not operator.startswith(":"))
    if operator.endswith("+"):
        return (
            _operand(operand, scope, depth) if filled and value is not None else None if value is None and known else ""
        )
    if filled:
        return value
    return None if operator.endswith("?") else _operand(operand, scope, depth)


def _operand(operand: str, scope: Scope, depth: int) -> str | None:
    if "`" in operand or "$(" in operand:
        return None
    if operand[:1] in {"'", '"'} and operand[-1:] == operand[:1]:
        operand = operand[1:-1]
    if "$" not in operand:
        return tilde(operand, scope)
    parts: list[str] = []
    at = length = 0
    for start, end in references(operand):
        value = expand(operand[start:end], scope, depth + 1)
        length += len(value or "")
        if value is None or length > _MAX_VALUE:
            return None
        parts += [operand[at:start], value]
        at = end
    return "".join([*parts, operand[at:]])


def references(text: str) -> Iterator[tuple[int, int]]:
    """Spans of ``$NAME`` and ``${…}`` (braces balanced) in ``text``."""
    at = text.find("$")
    while at >= 0:
        end = at + 1
        if text[end : end + 1] == "{":
            level = 0
            while end < len(text):
                level += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
                if level == 0:
                    break
        else:
            while end < len(text) and (text[end].isalnum() or text[end] == "_"):
                end += 1
        yield at, end
        at = text.find("$", end)
