"""Python: pip, pip-tools, poetry, uv, pdm, pipenv, conda and pixi.

What each install reads was measured by running it on the closure alone: pip 26, poetry 2.5 and uv 0.13.
pdm's options are from https://pdm-project.org/latest/reference/cli/, pipenv's from https://pipenv.pypa.io/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from coach.manifests.files import at, join, parent, strings, table, upwards, within
from coach.manifests.gather import Closure, Gather, Request, flag, shown, split, values

MANAGERS = frozenset(
    (
        *("pip", "pip-tools", "pip-sync", "poetry", "uv", "uv-pip", "pdm", "pipenv"),
        *("conda", "mamba", "micromamba", "pixi", "hatch", "rye"),
    )
)

_MOST_FILES = 200
_MOST_LINES = 50_000
_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz")
_REQUIREMENT_FLAGS = ("-r", "--requirement", "--requirements")
_CONSTRAINT_FLAGS = (
    *("-c", "--constraint", "--constraints", "--build-constraint", "--build-constraints", "-b"),
    *("--override", "--overrides", "--excludes"),
)
_TAKES_VALUE = frozenset(
    (
        *("-t", "--target", "-i", "--index-url", "--extra-index-url", "--prefix", "--root", "--src", "--python", "-p"),
        *("--platform", "--abi", "--implementation", "--python-version", "--cache-dir", "--log", "--progress-bar"),
        *("--proxy", "--retries", "--timeout", "--trusted-host", "--cert", "--client-cert", "--no-binary"),
        *("--only-binary", "--upgrade-strategy", "--config-settings", "--config-setting", "-C", "--global-option"),
        *("--build-option", "--exists-action", "--report", "--index", "--default-index", "--extra", "--index-strategy"),
        *("--link-mode", "--resolution", "--prerelease", "--exclude-newer", "--refresh-package", "--torch-backend"),
        *("--keyring-provider", "--python-platform", "--no-build-package", "--reinstall-package", "-P", "--color"),
        *("--upgrade-package", "--directory", "--project", "--config-file", "--group", "--root-user-action", "-w"),
        *("--wheel-dir", "-d", "--dest", "--use-feature", "--use-deprecated", "--pip-args", "--python-executable"),
        *("--allow-insecure-host", "--no-sources-package", "--no-build-isolation-package", "-o", "--output-file"),
    )
)
_NAMED = re.compile(r"^[A-Za-z0-9][\w.-]*\s*(\[[^\]]*\])?\s*@\s*(?P<url>.+)$")
_EXTRAS = re.compile(r"\[[^\[\]]*\]$")


def closure(request: Request) -> Closure | None:
    """The closure of an install by a Python package manager; raises nothing."""
    gather = Gather(request)
    moved = values(request.words, "--directory", "--project") if request.manager in ("uv", "poetry", "pdm") else []
    directory = gather.locate(moved[0]) if moved else request.directory
    if directory is None:
        gather.doubt("the directory the command works in cannot be told")
        directory = request.directory
    manager = request.manager
    plain = [word for word in request.words if word is not None]
    if manager in ("pip", "pip-tools", "pip-sync", "uv-pip") or (manager == "uv" and plain[1:2] == ["pip"]):
        found: Closure | None = _pip(gather, directory)
    else:
        read = {
            "poetry": _poetry,
            "uv": _uv,
            "pdm": _pdm,
            "rye": _uv,
            "hatch": _hatch,
            "pipenv": _pipenv,
            "pixi": _pixi,
        }
        found = read.get(manager, _conda)(gather, directory)
    return found


def _finish(gather: Gather, lockfile: str | None = None) -> Closure:
    if None in gather.words:
        gather.doubt("a word of the command is not known before it runs")
    return gather.closure(lockfile)


def _lock(gather: Gather, directory: str, *names: str) -> str | None:
    found = gather.add_all(directory, names)
    return found[0] if found else None


# ---------------------------------------------------------------------------------------------------------------- pip


def _pip(gather: Gather, directory: str) -> Closure | None:
    arguments = _Arguments(gather.words)
    requirements = _Requirements(gather, directory)
    for word in arguments.requirements:
        requirements.named(word)
    for word in arguments.constraints:
        requirements.named(word)
    for word in arguments.links:
        if word is not None and "://" not in word:
            gather.add_dir(gather.locate(word, directory)) or gather.add(gather.locate(word, directory))
    for group in arguments.groups:
        gather.add(join(directory, (group.rpartition(":")[0] or "pyproject.toml")))
    for word in arguments.targets:
        requirements.target(word, directory, "", 0)
    if not gather.files and not gather.directories and not gather.reading:
        return None
    lock = next((path for path in sorted(gather.files) if path.endswith(".lock") or "pylock" in path), None)
    return _finish(gather, lock)


class _Arguments:
    """The words of ``pip install``, ``pip-sync``, ``uv pip install`` … sorted by what they are."""

    def __init__(self, words: tuple[str | None, ...]) -> None:
        verbs = ("install", "sync", "wheel", "download", "compile", "lock")
        start = next((at for at, word in enumerate(words) if word in verbs), 0) + 1
        self.requirements: list[str | None] = list(values(words[start:], *_REQUIREMENT_FLAGS))
        self.constraints: list[str | None] = list(values(words[start:], *_CONSTRAINT_FLAGS))
        self.links = values(words[start:], "-f", "--find-links")
        self.groups = [group for group in values(words[start:], "--group") if group is not None]
        self.targets: list[str] = []
        editable = values(words[start:], "-e", "--editable")
        positional = self._positional(words[start:])
        if "sync" in words[:start] or (words and words[0] == "pip-sync"):
            self.requirements += positional or ["requirements.txt"]
            positional = []
        if "compile" in words[:start]:
            self.requirements += positional
            positional = []
        self.targets += [word for word in (*editable, *positional) if word is not None]

    def _positional(self, words: tuple[str | None, ...]) -> list[str | None]:
        valued = (*_REQUIREMENT_FLAGS, *_CONSTRAINT_FLAGS, "-f", "--find-links", "-e", "--editable")
        found: list[str | None] = []
        skip = False
        for word in words:
            if skip:
                skip = False
            elif word is not None and word.startswith("-"):
                skip = word in _TAKES_VALUE or word in valued
            else:
                found.append(word)
        return found


class _Requirements:
    """Requirement files and what they name, each read once."""

    def __init__(self, gather: Gather, directory: str) -> None:
        self.gather = gather
        self.directory = directory
        self.seen: set[str] = set()

    def named(self, word: str | None) -> None:
        """A requirement file that the command names."""
        gather = self.gather
        if word is None or word in ("-", "/dev/stdin"):
            gather.doubt("a requirement file is not known before the command runs")
        elif "://" not in word:
            target = gather.locate(word, self.directory)
            if target is None or not gather.has(target):
                gather.need(self.directory, word)
            elif target.endswith("pyproject.toml"):
                self.project_dependencies(target)
            elif target.endswith((".py", ".cfg")):
                gather.add(target)
                gather.reads(f"`{shown(target)}` is run to learn the dependencies")
            else:
                self.file(target)

    def project_dependencies(self, path: str) -> None:
        """A pyproject.toml given with ``-r``: its dependency list alone, unless that is dynamic."""
        gather = self.gather
        gather.add(path)
        project = table(gather.toml(path), "project")
        if "dependencies" in strings(project.get("dynamic")):
            gather.reads(
                "the dependencies are dynamic, so the project is built to learn them",
                path,
                gather.line(path, "dynamic"),
            )
        for line in strings(project.get("dependencies")):
            self.requirement(line, parent(path), path, gather.line(path, line))

    def file(self, path: str) -> None:
        """A requirement or constraint file, with everything it includes."""
        todo = [path]
        while todo:
            path = todo.pop()
            if path in self.seen:
                continue
            if len(self.seen) >= _MOST_FILES:
                self.gather.doubt("more requirement files than are followed", path)
                return
            self.seen.add(path)
            self.gather.add(path)
            text = self.gather.text(path)
            if text is None or path.endswith((".toml", ".lock.json")):
                continue
            for number, line in _logical(text):
                included = self.line(line, path, number)
                if included:
                    todo.append(included)

    def line(self, line: str, path: str, number: int) -> str | None:
        """One logical line; returns the path of a file it includes."""
        gather, here = self.gather, parent(path)
        if not line.startswith("-"):
            self.requirement(line, self.directory, path, number)
            return None
        words = tuple(split(line))
        for relative in values(words[:2], *_REQUIREMENT_FLAGS, *_CONSTRAINT_FLAGS):
            if relative and "://" not in relative:
                target = join(here, relative)
                if gather.has(target):
                    return target
                gather.need(here, relative, path, number)
        for relative in values(words[:2], "-f", "--find-links"):
            if relative and "://" not in relative:
                gather.add_dir(join(here, relative)) or gather.need(self.directory, relative, path, number)
        for relative in values(words[:2], "-e", "--editable"):
            if relative:
                self.target(relative, self.directory, path, number)
        return None

    def requirement(self, line: str, directory: str, path: str, number: int) -> None:
        """A requirement line, whose local path, if any, is seen from ``directory``."""
        line = re.split(r"\s(?:#|--)|\s*;", line, maxsplit=1)[0].strip()
        named = _NAMED.match(line[:2_000])
        spec = named["url"].strip() if named else line
        local = spec.startswith(("./", "../", "file:")) or _EXTRAS.sub("", spec) in (".", "..")
        if (
            local
            or (spec.endswith(_ARCHIVES) and "://" not in spec)
            or ("/" in spec and "://" not in spec and not named)
        ):
            self.target(spec, directory, path, number)

    def target(self, word: str, directory: str, path: str, number: int) -> None:
        """Something to install: a name, an address, or a local path that is taken in."""
        gather = self.gather
        named = _NAMED.match(word[:2_000])
        word = (named["url"] if named else word).strip()
        relative = _EXTRAS.sub("", word.partition("#")[0].partition(";")[0].strip())
        if relative.startswith("file:"):
            relative = _file_url(relative)
        if "://" in relative or relative.startswith("git+") or not relative:
            return
        target = join(directory, relative) if path else gather.locate(relative, directory)
        if gather.add(target):
            return
        if target is not None and gather.has_dir(target):
            _local_project(gather, target, directory, path, number)
        elif relative.startswith((".", "/")) or "/" in relative or relative.endswith(_ARCHIVES):
            gather.need(directory, relative, path, number)


def _logical(text: str) -> list[tuple[int, str]]:
    """Requirement lines with continuations joined and comments dropped, each with its first line's number."""
    found: list[tuple[int, str]] = []
    pending: list[str] = []
    first = 0
    for number, raw in enumerate(text.split("\n")[:_MOST_LINES], 1):
        line = raw.rstrip("\r").strip()
        first = first or number
        if line.endswith("\\") and not line.startswith("#"):
            pending.append(line[:-1].strip())
            continue
        pending.append("" if line.startswith("#") else line.partition(" #")[0])
        whole = " ".join(part for part in pending if part).strip()
        if whole:
            found.append((first, whole))
        pending, first = [], 0
    return found


def _file_url(url: str) -> str:
    rest = unquote(url.removeprefix("file:").removeprefix("//localhost"))
    for root in ("///${PROJECT_ROOT}/", "//${PROJECT_ROOT}/", "///${PWD}/", "${PROJECT_ROOT}/"):
        if rest.startswith(root):
            return f"./{rest[len(root) :]}"
    return rest.removeprefix("//")


def _local_project(gather: Gather, target: str, directory: str, path: str, line: int) -> None:
    """A project that is built and installed: named by the command it is the source, in a file a dependency."""
    gather.add_all(target, _PROJECT)
    for name in _named_by_project(gather, target):
        gather.add(join(target, name))
    if target != directory:
        gather.add_dir(target)
    if not path:
        what = "the project itself" if target == directory else f"`{shown(target or '.')}`"
        gather.reads(f"installs {what}, which is built from its source")
    elif within(directory, target):
        gather.reads("installs the project itself, which is built from its source", path, line)


def _named_by_project(gather: Gather, directory: str) -> list[str]:
    """README and licence files that a build of the project insists on."""
    pyproject = gather.toml(at(directory, "pyproject.toml"))
    project, poetry = table(pyproject, "project"), table(pyproject, "tool", "poetry")
    readme = project.get("readme")
    found = [*strings(readme), *strings(table(readme).get("file")), *strings(poetry.get("readme"))]
    found += strings(table(project, "license").get("file"))
    return found + [name for name in strings(project.get("license-files")) if "*" not in name]


# ------------------------------------------------------------------------------------------------------------- poetry


def _poetry(gather: Gather, directory: str) -> Closure | None:
    path = at(directory, "pyproject.toml")
    if not gather.add(path):
        return None
    lock = _lock(gather, directory, "poetry.lock")
    gather.add_all(directory, ("poetry.toml",))
    pyproject = gather.toml(path)
    poetry = table(pyproject, "tool", "poetry")
    words = gather.words
    if not flag(words, "--no-directory"):
        for entry in _poetry_dependencies(poetry):
            relative = entry.get("path")
            if isinstance(relative, str):
                _path_dependency(gather, directory, relative, path)
        for line in strings(table(pyproject, "project").get("dependencies")):
            _Requirements(gather, directory).requirement(line, directory, path, gather.line(path, line))
    installs = any(word in ("install", "sync", "build") for word in words if word)
    if installs and not flag(words, "--no-root") and poetry.get("package-mode") is not False:
        for name in _named_by_project(gather, directory):
            gather.add(join(directory, name))
        gather.reads("poetry installs the project itself unless told --no-root", path, 1)
    return _finish(gather, lock)


def _poetry_dependencies(poetry: Mapping[str, object]) -> list[Mapping[str, object]]:
    tables = [table(poetry, "dependencies"), table(poetry, "dev-dependencies")]
    tables += [table(group, "dependencies") for group in table(poetry, "group").values()]
    entries = [entry for dependencies in tables for entry in dependencies.values()]
    flat = [item for entry in entries for item in (entry if isinstance(entry, list) else [entry])]
    return [table(item) for item in flat if isinstance(item, dict)]


def _path_dependency(gather: Gather, directory: str, relative: str, path: str) -> None:
    """A dependency on a local path: an archive, or a directory that is needed whole."""
    target = join(directory, relative)
    if target == directory:
        gather.reads("depends on its own directory", path, gather.line(path, relative))
    else:
        gather.need(directory, relative, path, gather.line(path, relative))


# ----------------------------------------------------------------------------------------------------------------- uv


class _Workspace:
    """A uv workspace: its root, its members by package name, and the table of the project asked about."""

    def __init__(self, gather: Gather, directory: str) -> None:
        self.gather = gather
        self.root = directory
        self.members: dict[str, str] = {}
        for above in upwards(directory, gather.context):
            workspace = table(self.table(above), "tool", "uv", "workspace")
            if not workspace:
                continue
            patterns = strings(workspace.get("members"))
            patterns += [f"!{pattern}" for pattern in strings(workspace.get("exclude"))]
            found = gather.projects(above, "pyproject.toml", patterns, ordered=False)
            if directory == above or directory in found:
                self.root = above
                self.members = {self.name(path): path for path in found}
                break

    def table(self, directory: str) -> Mapping[str, object]:
        return self.gather.toml(at(directory, "pyproject.toml")) or {}

    def name(self, directory: str) -> str:
        return _normal(str(table(self.table(directory), "project").get("name", directory)))

    def packaged(self, directory: str) -> bool:
        """Whether uv builds and installs the project there, rather than its dependencies alone."""
        pyproject = self.table(directory)
        stated = table(pyproject, "tool", "uv").get("package")
        if isinstance(stated, bool):
            return stated
        return bool(table(pyproject, "project")) and "build-system" in pyproject

    def installed(self, start: str) -> list[str]:
        """Members that a sync of ``start`` installs, ``start`` first."""
        order, todo = [start], [start]
        while todo:
            pyproject = self.table(todo.pop())
            named = [*strings(table(pyproject, "project").get("dependencies"))]
            for extra in table(pyproject, "project", "optional-dependencies").values():
                named += strings(extra)
            for group in table(pyproject, "dependency-groups").values():
                named += strings(group)
            for requirement in named:
                member = self.members.get(_normal(re.split(r"[\s\[<>=!~;@(]", requirement.strip(), maxsplit=1)[0]))
                if member is not None and member not in order:
                    order.append(member)
                    todo.append(member)
        return order


def _uv(gather: Gather, directory: str) -> Closure | None:
    start = next(
        (above for above in upwards(directory, gather.context) if gather.has(join(above, "pyproject.toml"))), None
    )
    if start is None:
        return None
    workspace = _Workspace(gather, start)
    root, words = workspace.root, gather.words
    gather.members.update(path for path in workspace.members.values() if path != root)
    path = at(root, "pyproject.toml")
    gather.add(path)
    gather.add(join(start, "pyproject.toml"))
    lock = _lock(gather, root, "uv.lock", "requirements.lock" if gather.manager == "rye" else "uv.lock")
    gather.add_all(root, ("uv.toml", ".python-version", ".python-versions"))
    gather.add_all(start, (".python-version",))
    frozen = flag(words, "--frozen")
    no_members = flag(words, "--no-install-workspace", "--no-install-local")
    if not (frozen and no_members):
        for member in workspace.members.values():
            gather.add(join(member, "pyproject.toml"))
    if flag(words, "--locked") and lock is None:
        gather.doubt("no uv.lock for an install that insists on one", root or ".")
    _uv_sources(gather, workspace)
    _uv_projects(gather, workspace, start, no_members)
    return _finish(gather, lock)


def _uv_projects(gather: Gather, workspace: _Workspace, start: str, no_members: bool) -> None:
    words = gather.words
    verb = next((word for word in words[1:] if word is not None and not word.startswith("-")), "sync")
    asked = [_normal(name) for name in values(words, "--package") if name is not None]
    if verb in ("lock", "export", "venv", "python", "tree") or flag(words, "--no-sync", "--no-project"):
        chosen: list[str] = []
    elif flag(words, "--all-packages"):
        chosen = [workspace.root, *workspace.members.values()]
    else:
        known = {_normal(workspace.name(workspace.root) or ""): workspace.root, **workspace.members}
        named = [known.get(name) for name in asked]
        chosen = [found for name in named or [start] if name is not None for found in workspace.installed(name)]
    skipped = {_normal(name) for name in values(words, "--no-install-package") if name is not None}
    for directory in dict.fromkeys(chosen):
        # with several of them asked for, which one counts as "the project" is uv's own affair
        own = directory in chosen[:1] and not flag(words, "--all-packages") and len(asked) < 2
        path = at(directory, "pyproject.toml")
        if no_members or (own and flag(words, "--no-install-project")) or workspace.name(directory) in skipped:
            continue
        if workspace.packaged(directory):
            for name in _named_by_project(gather, directory):
                gather.add(join(directory, name))
            what = "the project itself" if own else f"the workspace member `{shown(directory)}`"
            gather.reads(f"uv installs {what}", path, gather.line(path, "[build-system]") or 1)
    for directory in {start, workspace.root}:
        dynamic = strings(table(workspace.table(directory), "project").get("dynamic"))
        if not flag(words, "--frozen") and {"dependencies", "optional-dependencies"} & set(dynamic):
            path = at(directory, "pyproject.toml")
            gather.reads(
                "the dependencies are dynamic, so the project is built to learn them",
                path,
                gather.line(path, "dynamic"),
            )


def _uv_sources(gather: Gather, workspace: _Workspace) -> None:
    """Take in the local paths of ``[tool.uv.sources]`` and of the indexes, of the root and of every member."""
    if flag(gather.words, "--no-sources"):
        return
    own = {workspace.root, *workspace.members.values()}
    for directory in sorted(own):
        path = at(directory, "pyproject.toml")
        uv = table(workspace.table(directory), "tool", "uv")
        for source in table(uv, "sources").values():
            for entry in source if isinstance(source, list) else [source]:
                relative = table(entry).get("path")
                skipped = flag(gather.words, "--frozen") and flag(gather.words, "--no-install-local")
                if isinstance(relative, str) and not skipped:
                    target = join(directory, relative)
                    if target in own:
                        continue
                    gather.need(directory, relative, path, gather.line(path, relative))
        indexes = uv.get("index")
        places = [table(index).get("url") for index in indexes] if isinstance(indexes, list) else []
        for relative in [*strings(uv.get("find-links")), *(place for place in places if isinstance(place, str))]:
            if "://" not in relative:
                gather.need(directory, relative, path, gather.line(path, relative))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


# ---------------------------------------------------------------------------------------------------------- the others


def _pdm(gather: Gather, directory: str) -> Closure | None:
    path = at(directory, "pyproject.toml")
    if not gather.add(path):
        return None
    lock = _lock(gather, directory, *[name or "" for name in values(gather.words, "-L", "--lockfile")], "pdm.lock")
    gather.add_all(directory, ("pdm.toml", ".pdm.toml", ".python-version"))
    pyproject = gather.toml(path)
    project, pdm = table(pyproject, "project"), table(pyproject, "tool", "pdm")
    lines = strings(project.get("dependencies"))
    groups = [*table(project, "optional-dependencies").values(), *table(pdm, "dev-dependencies").values()]
    for group in [*groups, *table(pyproject, "dependency-groups").values()]:
        lines += strings(group)
    for line in lines:
        number = gather.line(path, line)
        editable = line.removeprefix("-e ").strip()
        if editable != line:
            _Requirements(gather, directory).target(editable, directory, path, number)
        else:
            _Requirements(gather, directory).requirement(line, directory, path, number)
    library = pdm.get("distribution", pdm.get("package-type", "library") == "library")
    if library and project.get("name") and not flag(gather.words, "--no-self"):
        for name in _named_by_project(gather, directory):
            gather.add(join(directory, name))
        gather.reads("pdm installs the project itself unless told --no-self", path, gather.line(path, "[project]"))
    return _finish(gather, lock)


def _hatch(gather: Gather, directory: str) -> Closure | None:
    path = at(directory, "pyproject.toml")
    if not gather.add(path):
        return None
    gather.add_all(directory, ("hatch.toml", "hatch_build.py", *_named_by_project(gather, directory)))
    gather.reads("hatch installs the project itself into its environments", path, 1)
    return _finish(gather)


def _pipenv(gather: Gather, directory: str) -> Closure | None:
    start = next(
        (above for above in upwards(directory, gather.context)[:4] if gather.has(join(above, "Pipfile"))), None
    )
    if start is None:
        return None
    path = at(start, "Pipfile")
    gather.add(path)
    lock = _lock(gather, start, "Pipfile.lock")
    if lock is None and (flag(gather.words, "--deploy", "--ignore-pipfile") or "sync" in gather.words):
        gather.doubt("no Pipfile.lock for an install that insists on one", start or ".")
    pipfile = gather.toml(path)
    for section in table(pipfile).values():
        for name, entry in table(section).items():
            relative = table(entry).get("path") or table(entry).get("file")
            if isinstance(relative, str) and "://" not in relative:
                number = gather.line(path, f"\n{name}") + 1
                _Requirements(gather, start).target(relative, start, path, number)
    return _finish(gather, lock)


def _conda(gather: Gather, directory: str) -> Closure | None:
    named = values(gather.words, "-f", "--file", "--name-file")
    positional = [word for word in gather.words[1:] if word and word.endswith((".yml", ".yaml", "conda-lock.yml"))]
    paths = [gather.locate(word, directory) for word in dict.fromkeys([*named, *positional])]
    if not paths and "env" in gather.words:
        paths = [join(directory, name) for name in ("environment.yml", "environment.yaml")]
    found = [path for path in paths if path is not None and gather.add(path)]
    if not found:
        return None
    requirements = _Requirements(gather, directory)
    for path in found:
        if not path.endswith((".yml", ".yaml")):
            continue
        for entry in _list(table(gather.yaml(path)).get("dependencies")):
            for line in strings(table(entry).get("pip")):
                included = requirements.line(line.strip(), path, gather.line(path, line))
                if included:
                    requirements.file(included)
    return _finish(gather, next((path for path in found if "lock" in path), None))


def _pixi(gather: Gather, directory: str) -> Closure | None:
    names = ("pixi.toml", "pyproject.toml")
    start = next(
        (above for above in upwards(directory, gather.context) if any(gather.has(join(above, n)) for n in names)), None
    )
    if start is None:
        return None
    path = next(at(start, name) for name in names if gather.has(join(start, name)))
    gather.add(path)
    lock = _lock(gather, start, "pixi.lock")
    manifest = gather.toml(path)
    pixi = manifest if path.endswith("pixi.toml") else table(manifest, "tool", "pixi")
    parts = [pixi, *(table(part) for part in table(pixi, "feature").values())]
    parts += [table(target) for part in parts for target in table(part, "target").values()]
    for part in parts:
        for entry in table(part, "pypi-dependencies").values():
            relative = table(entry).get("path")
            if isinstance(relative, str):
                _Requirements(gather, start).target(relative, start, path, gather.line(path, relative))
        for entry in table(part, "dependencies").values():
            relative = table(entry).get("path")
            if isinstance(relative, str):
                line = gather.line(path, f'path = "{relative}"') or gather.line(path, relative)
                gather.need(start, relative, path, line)
                gather.reads(f"pixi builds the package in {shown(relative)}", path, line)
    if flag(gather.words, "-m", "--manifest-path", "-w", "--workspace"):
        gather.doubt("the command names its workspace itself")
    return _finish(gather, lock)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def requirement_names(text: str) -> list[tuple[int, str]]:
    """Package names of a requirement file with their lines; options, paths and addresses are passed over."""
    found = []
    for number, line in _logical(text):
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
        if name and "://" not in line.partition("@")[0]:
            found.append((number, _normal(name[0])))
    return found
