"""Makefiles, shell scripts and package scripts that build images, each seen by itself.

Those that CI calls are also read from there, by ``commands``: that is where a build's machine is known.
"""

from __future__ import annotations

import json
import posixpath
import re

from coach.ci import commands
from coach.ci.commands import Filled, Makefile, Text, own_folder
from coach.ci.machine import Machine
from coach.ci.nouns import Discovery
from coach.errors import InputError
from coach.model import BuildSite, Entry, Kind, Tree, is_file

_WORTH = re.compile(
    rb"\b(docker|podman|nerdctl|buildah|depot|finch)\b[^\n]{0,200}\b(build|bake|bud|compose)\b|\bdocker-compose\b|kaniko",
    re.I,
)
_MAKEFILE = re.compile(r"^(GNUmakefile|[Mm]akefile(\.\w+)?|[\w.-]+\.mk)$")
_NOT_OURS = frozenset({"node_modules", "vendor", "third_party", "testdata", "site-packages", "bower_components"})
MAX_FILES = 4000


def read(tree: Tree) -> Discovery:
    """Builds of every Makefile target, shell script and package script of the repository."""
    builds: list[BuildSite] = []
    looked = 0
    for path, entry in list(tree.entries().items()):
        name = posixpath.basename(path)
        kind = _kind(entry, name)
        if not kind or _NOT_OURS & set(path.split("/")[:-1]) or not is_file(tree, path):
            continue
        looked += 1
        if looked > MAX_FILES:
            break
        try:
            content = tree.read(path)
        except InputError:
            continue
        if len(content) > commands.MAX_SCRIPT or not _WORTH.search(content):
            continue
        if kind == "make":
            builds += _makefile(tree, path, content.decode("utf-8", "replace"))
        elif kind == "package":
            builds += _package(tree, path, content)
        else:
            builds += _script(tree, path)
    return Discovery(tuple(builds))


def _kind(entry: Entry, name: str) -> str:
    if entry.kind not in (Kind.FILE, Kind.SYMLINK):
        return ""
    if _MAKEFILE.match(name):
        return "make"
    if name == "package.json":
        return "package"
    if name.endswith((".sh", ".bash")) or ("." not in name and entry.executable):
        return "script"
    return ""


def _makefile(tree: Tree, path: str, text: str) -> list[BuildSite]:
    makefile = Makefile(text)
    hidden = any(commands.INTERESTING.search(f"{name} {value}") for name, value in makefile.variables.items())
    found: list[BuildSite] = []
    lines_seen: set[int] = set()
    for goal in makefile.goals():
        box = Machine(tree, "make", path, goal, ci=False)
        for line, recipe in makefile.recipes[goal]:
            if line in lines_seen or not (hidden or commands.INTERESTING.search(recipe)):
                continue
            filled = makefile.fill(recipe, {}, goal)
            if not commands.INTERESTING.search(filled.text):
                continue
            lines_seen.add(line)
            shell_text = Text(filled, makefile.exported({}), posixpath.dirname(path))

            def place(index: int, line: int = line, recipe: str = recipe) -> tuple[str, int]:
                return path, line + recipe.count("\n", 0, min(index, len(recipe)))

            box.run(shell_text, place, follow=False)
        found += box.finish()
    return found


def _script(tree: Tree, path: str) -> list[BuildSite]:
    text = commands.script_text(tree, path)
    if text is None:
        return []
    filled = own_folder(text, posixpath.dirname(path))

    def place(index: int) -> tuple[str, int]:
        return path, 1 + text.count("\n", 0, min(index, len(text)))

    best: list[BuildSite] = []
    # a script rarely says where it is to be started: from the root, or from its own folder
    for cwd in dict.fromkeys(("", posixpath.dirname(path))):
        box = Machine(tree, "script", path, posixpath.basename(path), ci=False)
        box.run(Text(filled, {}, cwd), place, follow=False)
        made = box.finish()
        if all(site.dockerfile is None or is_file(tree, site.dockerfile) for site in made):
            return made
        best = best or made
    return best


def _package(tree: Tree, path: str, content: bytes) -> list[BuildSite]:
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError):
        return []
    scripts = loaded.get("scripts") if isinstance(loaded, dict) else None
    found: list[BuildSite] = []
    for name, text in scripts.items() if isinstance(scripts, dict) else ():
        if not isinstance(text, str) or not _WORTH.search(text.encode("utf-8", "replace")):
            continue
        match = re.search(rb'"%s"\s*:' % re.escape(name.encode("utf-8", "replace")), content)
        line = content.count(b"\n", 0, match.start()) + 1 if match else 1
        box = Machine(tree, "script", path, name, ci=False)
        box.run(Text(Filled(text), {}, posixpath.dirname(path)), lambda _, line=line: (path, line), follow=False)  # type: ignore[misc]
        found += box.finish()
    return found
