"""Where a tool keeps what it downloads, given its environment, options, files and user."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from coach.knowledge import CacheRule, FilePattern, PackageManager
from coach.shell import Command
from coach.steps.call import Parsed
from coach.steps.nouns import CacheDir, Look

if TYPE_CHECKING:
    from coach.dockerfile import State


MAX_FILE = 256 * 1024
_NOWHERE = re.compile(r"/dev/null(?:/|$)")


def file_of(look: Look, directory: str | None, name: str) -> str | None:
    if directory is None or not directory.startswith("/"):
        return None
    found = look(posixpath.join(directory, name))
    return found[1][:MAX_FILE].decode("utf-8", "replace") if found is not None else None


def joined(directory: str | None, path: str | None) -> str | None:
    if path is None:
        return None
    if path.startswith("/"):
        return posixpath.normpath(path)
    return None if directory is None else posixpath.normpath(posixpath.join(directory, path))


def home_of(command: Command, state: State, env: Mapping[str, str | None]) -> str | None:
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
        if value == "" or (value is not None and _NOWHERE.match(value)):
            return None, variable, False  # switched off: once that is gone, the next rule holds
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


def cache_of(
    rule: CacheRule,
    manager: PackageManager,
    parsed: Parsed,
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
    parsed: Parsed,
    env: Mapping[str, str | None],
    home: str | None,
    directory: str | None,
    look: Look,
) -> tuple[str | None, str, str]:
    flagged, value = parsed.value(rule.flags)
    if flagged:
        flag = next(flag for flag, _ in parsed.options if flag in rule.flags)
        path = joined(directory, value)
        if path is not None and rule.below:
            path = posixpath.join(path, rule.below)
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
        content = file_of(look, directory, moved.file)
        match = moved.pattern.search(content) if content is not None else None
        if match is not None:
            text = match[1].replace("${HOME}", "~").replace("$HOME", "~")
            path = joined(directory, text) if not text.startswith("~") else _filled(text, env, home)[0]
            if "$" in text:
                path = None
            return path, f"{moved.file} puts it there" if path else f"{moved.file} moves it out of sight", moved.file
    if rule.root and home == "/root":
        return rule.root, f"the default of {manager.name} for root", ""
    path = _filled(rule.paths[-1], env, home)[0]
    if path is not None:
        return path, f"the default of {manager.name}", ""
    if not rule.paths[-1].startswith("~/"):
        return None, f"where {manager.name} keeps its packages depends on its version", ""
    return None, "the home directory of its user is not known", ""


def _role(rule: CacheRule, parsed: Parsed, env: Mapping[str, str | None], directory: str | None, look: Look) -> str:
    def seen(patterns: Sequence[FilePattern]) -> bool:
        contents = ((item, file_of(look, directory, item.file)) for item in patterns)
        return any(content is not None and item.pattern.search(content) for item, content in contents)

    alive = any(pattern.search(env.get(name) or "") for name, pattern in rule.live_env.items())
    if alive or parsed.has(*rule.live_flags) or set(parsed.operands) & set(rule.live_flags) or seen(rule.live_files):
        return "live"
    if rule.role == "live" and rule.not_live_files and seen(rule.not_live_files):
        return "download"
    return rule.role
