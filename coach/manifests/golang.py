"""Go modules: what ``go mod download`` and ``go build`` need.

Module and workspace files: https://go.dev/ref/mod
"""

from __future__ import annotations

import re
from itertools import pairwise

from coach.manifests.files import at, join, upwards
from coach.manifests.gather import Closure, Gather, Request, shown, values

MANAGERS = frozenset(("go",))

_MOST_MODULES = 500
_LOCAL = re.compile(r"^\.{1,2}(?:/|$)")


def closure(request: Request) -> Closure | None:
    """The closure of a go command; raises nothing."""
    gather = Gather(request)
    moved = values(request.words, "-C")
    directory = gather.locate(moved[0]) if moved else request.directory
    if directory is None:
        gather.doubt("the directory the command works in cannot be told")
        directory = request.directory
    above = upwards(directory, gather.context)
    module = next((path for path in above if gather.has(at(path, "go.mod"))), None)
    work = next((path for path in above if gather.has(at(path, "go.work"))), None)
    if module is None and work is None:
        return None
    verbs = [word for word in request.words[1:] if word is not None and not word.startswith("-")]
    downloads = verbs[:2] in (["mod", "download"], ["mod", "verify"], ["mod", "graph"])
    modules = [module] if module is not None else []
    if work is not None:
        gather.add_all(work, ("go.work", "go.work.sum"))
        used = _used(gather, work)
        gather.members.update(path for path in used if path != module)
        modules += used
    _modules(gather, modules)
    root = work if work is not None else module
    assert root is not None
    if not downloads:
        _vendored(gather, root, request.words)
        what = " ".join(verbs[:2] if verbs[:1] == ["mod"] else verbs[:1])
        gather.reads(f"`go {shown(what)}` reads the packages of the module")
    moved = [word for before, word in pairwise(request.words) if before in ("-C", "-modfile", "-overlay")]
    if None in moved:
        gather.doubt("where the command looks for its module is not known before it runs")
    lock = at(module if module is not None else root, "go.sum")
    return gather.closure(lock if gather.has(lock) else None)


def directives(text: str) -> list[tuple[int, str, str]]:
    """``(line, verb, rest)`` of a go.mod or go.work file, blocks flattened and comments dropped."""
    found: list[tuple[int, str, str]] = []
    block = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("//")[0].strip()
        if block and line == ")":
            block = ""
        elif block and line:
            found.append((number, block, line))
        elif line.endswith("("):
            block = line[:-1].strip()
        elif line:
            verb, _, rest = line.partition(" ")
            found.append((number, verb, rest.strip()))
    return found


def _used(gather: Gather, work: str) -> list[str]:
    path = at(work, "go.work")
    found = []
    for number, verb, rest in directives(gather.text(path) or "")[:_MOST_MODULES]:
        if verb == "use":
            target = join(work, rest.strip('"`'))
            if target is not None and gather.has(at(target, "go.mod")):
                found.append(target)
            else:
                gather.doubt(f"`{shown(rest)}` has no go.mod inside the build context", path, number)
        elif verb == "replace":
            _replaced(gather, work, path, number, rest, found)
    return found


def _modules(gather: Gather, modules: list[str]) -> None:
    # Only the replacements of main modules count; of what replaces a module, the go.mod is read.
    for directory in modules:
        gather.add_all(directory, ("go.mod", "go.sum"))
    for directory in list(modules)[:_MOST_MODULES]:
        path = at(directory, "go.mod")
        local: list[str] = []
        for number, verb, rest in directives(gather.text(path) or ""):
            if verb == "replace":
                _replaced(gather, directory, path, number, rest, local)
        for target in local:
            gather.add(at(target, "go.mod"))


def _replaced(gather: Gather, directory: str, path: str, number: int, rest: str, found: list[str]) -> None:
    words = rest.partition("=>")[2].split()
    if not words or not _LOCAL.match(words[0].strip('"`')):
        return
    target = join(directory, words[0].strip('"`'))
    if target is not None and gather.has(at(target, "go.mod")):
        found.append(target)
    else:
        gather.doubt(f"`{shown(words[0])}` has no go.mod inside the build context", path, number)


def _vendored(gather: Gather, root: str, words: tuple[str | None, ...]) -> None:
    mode = (values(words, "-mod", "--mod") or [None])[-1]
    vendored = mode == "vendor" or (mode is None and gather.has(at(root, "vendor/modules.txt")))
    if vendored and not gather.add_dir(at(root, "vendor")):
        gather.doubt("-mod=vendor, and no vendor directory in the repository", root or ".")
