"""Files of the repository that a command runs: Makefiles, shell scripts, scripts of package.json."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from coach import makefile
from coach.shell import Command, parse
from coach.steps.caches import MAX_FILE, file_of, joined
from coach.steps.nouns import Hidden, Look

_MAX_DEPTH = 4
# How scripts name the folder they lie in. On one line, so that lines keep their numbers.
_OWN_FOLDER = re.compile(
    r"""\$\(dirname[ ]+(?:--[ ]+)?(["']?)\$(?:0|\{0\}|BASH_SOURCE|\{BASH_SOURCE(?:\[0\])?\})\1[ ]*\)"""
)


@dataclass(frozen=True, slots=True)
class Via:
    """Where a followed command stands; the empty one is the RUN itself."""

    path: str = ""
    line: int = 0
    outer: Command | None = None
    trail: tuple[str, ...] = ()


def follow(command: Command, look: Look, via: Via) -> list[tuple[Sequence[Command], Via]] | Hidden | None:
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


def _too_deep(via: Via, key: str) -> bool:
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
    path: str, command: Command, look: Look, via: Via, outer: Command
) -> list[tuple[Sequence[Command], Via]] | Hidden | None:
    place = joined(command.cwd, path)
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
    if len(content) > MAX_FILE or _too_deep(via, place):
        return Hidden(outer, f"{source} is too large or nested too deep to be followed")
    text = _OWN_FOLDER.sub(lambda _: posixpath.dirname(place), content.decode("utf-8", "replace"))
    script = parse(text, command.env, command.cwd)
    deeper = replace(via, path=source, outer=outer, trail=(*via.trail, place))
    return [((inner,), replace(deeper, line=text.count("\n", 0, inner.start) + 1)) for inner in script.commands]


def _follow_make(
    command: Command, look: Look, via: Via, outer: Command
) -> list[tuple[Sequence[Command], Via]] | Hidden | None:
    directory, named, targets = command.cwd, None, []
    given: dict[str, str | None] = dict(command.env)
    texts = list(command.words[1:])
    while texts:
        text = texts.pop(0)
        if text is None:
            return Hidden(outer, "a target of make is not static")
        if text in {"-C", "--directory"}:
            directory = joined(directory, texts.pop(0)) if texts else None
        elif text.startswith(("-C", "--directory=")):
            directory = joined(directory, text.removeprefix("--directory=").removeprefix("-C"))
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
    if len(content) > MAX_FILE or _too_deep(via, key):
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
    command: Command, look: Look, via: Via, outer: Command
) -> list[tuple[Sequence[Command], Via]] | Hidden | None:
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
            directory = joined(directory, given) if flag in {"--prefix", "-C", "--cwd", "--dir"} else None
        elif not text.startswith("-"):
            operands.append(text)
    if operands[:1] in (["run"], ["run-script"]):
        operands = operands[1:]
    elif command.name == "npm" and operands[:1] not in (["test"], ["start"], ["t"]):
        return None
    if not operands:
        return None
    content = file_of(look, directory, "package.json")
    found = look(posixpath.join(directory, "package.json")) if directory is not None and content is not None else None
    if found is None or content is None:
        return None
    key = f"{found[0]} {operands[0]}"
    scripts = _package_scripts(content)
    if operands[0] not in scripts or _too_deep(via, key):
        return None
    followed: list[tuple[Sequence[Command], Via]] = []
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
