"""The builds of one Makefile, shell script or package script."""

from __future__ import annotations

import json
import posixpath
import re

from coach.ci import commands
from coach.ci.commands import Filled, Makefile, Text, own_folder
from coach.ci.machine import Machine
from coach.ci.scripts import WORTH
from coach.model import BuildSite, Tree, is_file


def makefile(tree: Tree, path: str, text: str) -> list[BuildSite]:
    """Builds of every goal of a Makefile whose content is ``text``."""
    rules = Makefile(text)
    hidden = any(commands.INTERESTING.search(f"{name} {value}") for name, value in rules.variables.items())
    found: list[BuildSite] = []
    lines_seen: set[int] = set()
    for goal in rules.goals():
        box = Machine(tree, "make", path, goal, ci=False)
        for line, recipe in rules.recipes[goal]:
            if line in lines_seen or not (hidden or commands.INTERESTING.search(recipe)):
                continue
            filled = rules.fill(recipe, {}, goal)
            if not commands.INTERESTING.search(filled.text):
                continue
            lines_seen.add(line)
            shell_text = Text(filled, rules.exported({}), posixpath.dirname(path))

            def place(index: int, line: int = line, recipe: str = recipe) -> tuple[str, int]:
                return path, line + recipe.count("\n", 0, min(index, len(recipe)))

            box.run(shell_text, place, follow=False)
        found += box.finish()
    return found


def script(tree: Tree, path: str) -> list[BuildSite]:
    """Builds of one shell script."""
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


def package(tree: Tree, path: str, content: bytes) -> list[BuildSite]:
    """Builds of the scripts of a package.json whose bytes are ``content``."""
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError):
        return []
    scripts = loaded.get("scripts") if isinstance(loaded, dict) else None
    found: list[BuildSite] = []
    for name, text in scripts.items() if isinstance(scripts, dict) else ():
        if not isinstance(text, str) or not WORTH.search(text.encode("utf-8", "replace")):
            continue
        match = re.search(rb'"%s"\s*:' % re.escape(name.encode("utf-8", "replace")), content)
        line = content.count(b"\n", 0, match.start()) + 1 if match else 1
        box = Machine(tree, "script", path, name, ci=False)
        box.run(Text(Filled(text), {}, posixpath.dirname(path)), lambda _, line=line: (path, line), follow=False)  # type: ignore[misc]
        found += box.finish()
    return found
