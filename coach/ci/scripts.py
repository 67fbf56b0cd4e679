"""Makefiles, shell scripts and package scripts that build images, each seen by itself.

Those that CI calls are also read from there, by ``commands``: that is where a build's machine is known. Most
repositories hold none that builds an image, so what reads them is imported with the first one that may.
"""

from __future__ import annotations

import posixpath
import re

from coach.ci.nouns import MAX_SCRIPT, Discovery
from coach.errors import InputError
from coach.model import BuildSite, Entry, Kind, Tree, is_file

WORTH = re.compile(
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
        if len(content) > MAX_SCRIPT or not WORTH.search(content):
            continue
        from coach.ci import recipes

        if kind == "make":
            builds += recipes.makefile(tree, path, content.decode("utf-8", "replace"))
        elif kind == "package":
            builds += recipes.package(tree, path, content)
        else:
            builds += recipes.script(tree, path)
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
