"""C and C++ builds whose compiler ccache starts: nothing in their words says so.

How ccache is put before a compiler: https://ccache.dev/manual/latest.html#_run_modes (its folder first in PATH, or the
compiler's name behind it) and https://cmake.org/cmake/help/latest/envvar/CMAKE_LANG_COMPILER_LAUNCHER.html.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import replace

from coach.knowledge import managers
from coach.shell import Command
from coach.steps.call import Call

_MAKERS = frozenset({"make", "gmake", "ninja", "samu"})
_COMPILERS = frozenset({"gcc", "g++", "cc", "c++", "clang", "clang++"})
_LAUNCHERS = ("CMAKE_C_COMPILER_LAUNCHER", "CMAKE_CXX_COMPILER_LAUNCHER")
_VARIABLES = ("CC", "CXX")
_FOLDER = re.compile(r"(?:^|:)/usr/lib(?:64)?/ccache(?:/bin)?/?(?::|$)")


def launcher_settings(command: Command) -> dict[str, str | None]:
    """What configuring with CMake stores for the builds that follow: the launcher of its compilers."""
    if command.name != "cmake":
        return {}
    found: dict[str, str | None] = {}
    for word in command.words[1:]:
        name, _, value = (word or "").removeprefix("-D").partition("=")
        name = name.partition(":")[0]
        if (word or "").startswith("-D") and name in _LAUNCHERS:
            found[name] = value
    return found


def launched(command: Command, env: Mapping[str, str | None]) -> Call | None:
    """The call of ccache that a build makes without naming it; ``None`` when it makes none that can be told."""
    words = [word or "" for word in command.words]
    if not words or not command.peeled:
        return None
    name = posixpath.basename(words[0])
    configured = (name == "cmake" and "--build" in words) or name in _MAKERS
    if not configured and (name not in _COMPILERS or {"--version", "-v"} & set(words[1:])):
        return None
    set_here = {key: value for word in words[1:] for key, _, value in [word.partition("=")] if key in _VARIABLES}
    values = [set_here.get(key) or env.get(key) or "" for key in (*_LAUNCHERS, *_VARIABLES)] if configured else []
    named = any(posixpath.basename(value.split(" ")[0]) == "ccache" for value in values)
    if not named and not _FOLDER.search(env.get("PATH") or ""):
        return None
    first = replace(command.peeled[0], text="ccache")
    return Call(managers()["ccache"], (first, *command.peeled))
