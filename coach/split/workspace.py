"""Which packages of a workspace a command builds, and by which of their scripts: Turborepo, Nx, filters of managers.

What runs before what: https://turborepo.com/docs/reference/configuration#dependson and
https://nx.dev/reference/project-configuration#dependson; filters: https://pnpm.io/filtering and
https://turborepo.com/docs/reference/run#--filter-string.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from coach.errors import InputError
from coach.manifests.files import strings, table
from coach.manifests.node_facts import NodeFacts
from coach.site import Site

_MOST_JOBS = 2_000
_LARGEST = 1_000_000
_VALUED = frozenset(
    "--concurrency --cache-dir --log-order --output-logs --token --team --env-mode --ui --cwd --log-prefix --api "
    "--configuration -c --output-style --outputStyle --maxParallel --runner".split()
)
_CHOICES = ("--since", "--affected", "--exclude", "--ignore", "--graph", "--only")
# Executors whose output holds the libraries that a program imports.
_BUNDLES = re.compile(
    r"@n[xr][\w/]*/(?:webpack|vite|esbuild|next|rspack|rollup|remix|nuxt)(?:-\w+)?:.+|@angular[\w-]*/.+"
)
_BRACES = re.compile(r"\{(projectRoot|workspaceRoot|projectName)\}")


class UntoldError(Exception):
    """Why it cannot be told where the build leaves what runs; one phrase."""


@dataclass(frozen=True)
class Job:
    """One task of one package: its script ``script``, or, where that is "", folders of the workspace that it fills."""

    directory: str
    script: str
    fills: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workspace:
    """The packages of one repository by directory, the root first."""

    site: Site
    packages: Mapping[str, NodeFacts]

    @property
    def root(self) -> str:
        return next(iter(self.packages))

    @property
    def members(self) -> list[str]:
        return list(self.packages)[1:]

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return {facts.name: directory for directory, facts in self.packages.items() if facts.name}

    def called(self, wanted: str) -> str:
        """The directory of the package that is named, or whose folder is. Raises ``UntoldError``."""
        plain = posixpath.normpath(posixpath.join(self.root or ".", wanted.removeprefix("./")))
        if wanted in self._by_name:
            return self._by_name[wanted]
        if plain in self.packages:
            return plain
        raise UntoldError(f"`{wanted}` is not the name of one package")

    def needs(self, directory: str) -> list[str]:
        """Packages of the workspace that this one depends on itself."""
        facts = self.packages[directory]
        names = [*facts.dependencies, *facts.dev_dependencies]
        return [self._by_name[name] for name in names if self._by_name.get(name, directory) != directory]

    def with_needs(self, directory: str) -> list[str]:
        """A package and all of the workspace that it depends on."""
        found: dict[str, None] = {}
        todo = [directory]
        while todo:
            one = todo.pop()
            if one not in found:
                found[one] = None
                todo += self.needs(one)
        return list(found)

    def picked(self, filters: Iterable[str]) -> list[str]:
        """Packages that filters choose, as ``name``, ``./folder`` or either with ``...``. Raises ``UntoldError``."""
        found: dict[str, None] = {}
        for given in filters:
            wanted = given.removesuffix("...")
            if wanted.startswith("...") or re.search(r"[\[\]{}!*^\0]", wanted):
                raise UntoldError(f"`{given.replace(chr(0), '…')}` chooses packages by a pattern")
            directory = self.called(wanted)
            found |= dict.fromkeys(self.with_needs(directory) if given != wanted else [directory])
        return list(found)

    def json(self, directory: str, name: str) -> Mapping[str, object]:
        """An object in a JSON file with comments; empty when there is none."""
        path = posixpath.normpath(posixpath.join(directory or ".", name))
        try:
            content = self.site.read(path) if self.site.has(path) else b""
            data = json.loads(re.sub(r",(\s*[}\]])", r"\1", uncommented(content.decode("utf-8", "replace"))))
        except (InputError, ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) and len(content) < _LARGEST else {}


def uncommented(text: str) -> str:
    """JSON with comments as plain JSON; what follows a comment that does not close is dropped."""
    kept, at = [], 0
    for found in re.finditer(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*', text):
        if found.start() < at or found[0].startswith('"'):
            continue
        kept.append(text[at : found.start()])
        at = found.end()
        if found[0] == "/*":
            end = text.find("*/", at)
            at = end + 2 if end >= 0 else len(text)
    return "".join([*kept, text[at:]])


@dataclass(frozen=True)
class _Words:
    plain: tuple[str, ...]
    options: Mapping[str, list[str]]


def _words(rest: Sequence[str], taking: Mapping[str, str]) -> _Words:
    """Plain words, and the values of options, by the name that ``taking`` gives to their spellings."""
    plain: list[str] = []
    options: dict[str, list[str]] = {}
    words = iter(rest)
    for word in words:
        name, mark, value = word.partition("=")
        if word == "--":
            break
        if name in taking:
            options.setdefault(taking[name], []).append(value if mark else next(words, ""))
        elif word.startswith(_CHOICES):
            raise UntoldError(f"`{name}` chooses what is built")
        elif name in _VALUED and not mark:
            next(words, "")
        elif not word.startswith("-"):
            plain.append(word)
    return _Words(tuple(plain), options)


def turbo(space: Workspace, rest: Sequence[str]) -> list[Job]:
    """What ``turbo run TASK…`` runs. Raises ``UntoldError``."""
    words = _words(rest, {"--filter": "filter", "-F": "filter", "--scope": "filter"})
    tasks = list(words.plain[1:] if words.plain[:1] == ("run",) else words.plain)
    if not tasks or "\0" in tasks:
        raise UntoldError("what `turbo` builds is not written in the command")
    filters = words.options.get("filter")
    chosen = space.picked(filters) if filters else space.members

    def before(directory: str, task: str) -> list[str]:
        name = space.packages[directory].name
        for place, key in ((directory, task), (space.root, f"{name}#{task}"), (space.root, task)):
            config = space.json(place, "turbo.json")
            found = table(config, "tasks") or table(config, "pipeline")
            if "dependsOn" in table(found, key):
                return strings(table(found, key)["dependsOn"])
        return []

    return _followed(space, [(directory, task) for directory in chosen for task in tasks], before)


def _followed(space: Workspace, todo: list[tuple[str, str]], before: object) -> list[Job]:
    assert callable(before)
    seen: dict[tuple[str, str], None] = {}
    while todo:
        directory, task = todo.pop()
        if (directory, task) in seen:
            continue
        seen[(directory, task)] = None
        if len(seen) > _MOST_JOBS:
            raise UntoldError("more tasks than are followed")
        for wanted in before(directory, task):
            if wanted.startswith("^"):
                todo += [(other, wanted[1:]) for other in space.needs(directory)]
            elif "#" in wanted:
                name, _, other = wanted.partition("#")
                todo.append((space.root if name == "//" else space.called(name), other))
            elif not wanted.startswith("$"):
                todo.append((directory, wanted))
    return [Job(directory, task) for directory, task in seen if task in space.packages[directory].scripts]


# ---- Nx


def nx(space: Workspace, rest: Sequence[str]) -> list[Job]:
    """What ``nx build PROJECT``, ``nx run PROJECT:TASK`` or ``nx run-many`` runs. Raises ``UntoldError``."""
    taking = {"-t": "task", "--target": "task", "--targets": "task", "-p": "project", "--projects": "project"}
    words = _words(rest, taking)
    plain = list(words.plain)
    given = [name for value in words.options.get("project", []) for name in value.split(",") if name]
    if plain[:1] == ["run-many"]:
        tasks = [name for value in words.options.get("task", []) for name in value.split(",") if name]
        tasks, names = (tasks or plain[1:2]), given + (plain[1:] if tasks else [])
    elif plain[:1] == ["run"] and len(plain) == 2:
        project, _, task = plain[1].partition(":")
        tasks, names = [task.partition(":")[0]], [project]
    elif len(plain) == 2 and plain[0] not in ("affected", "exec", "show", "graph", "run"):
        tasks, names = [plain[0].partition(":")[0]], [plain[1]]
    else:
        tasks, names = [], []
    if not tasks or "\0" in (*tasks, *names) or any(re.search(r"[*!:,]|^tag:", name) for name in (*names, *tasks)):
        raise UntoldError("what `nx` builds is not written in the command")
    projects = _projects(space)
    chosen = [_project(projects, name) for name in names] if names else [*projects.values()]
    jobs: dict[Job, None] = {}
    for directory in chosen:
        for task in tasks:
            jobs |= dict.fromkeys(_nx_jobs(space, directory, task, bool(names)))
    return list(jobs)


def _projects(space: Workspace) -> dict[str, str]:
    """Directories of the projects by name: of ``project.json``, else of ``package.json``."""
    found = {
        facts.name: directory for directory, facts in space.packages.items() if facts.name and directory != space.root
    }
    lead = f"{space.root}/" if space.root else ""
    for path in space.site.context_files():
        folder, name = posixpath.split(path)
        if name == "project.json" and path.startswith(lead) and "node_modules" not in path:
            said = space.json(folder, name).get("name")
            found[said if isinstance(said, str) else posixpath.basename(folder)] = folder
    return found


def _project(projects: Mapping[str, str], wanted: str) -> str:
    ends = [name for name in projects if name == wanted] or [name for name in projects if name.endswith(f"/{wanted}")]
    if len(ends) != 1:
        raise UntoldError(f"`{wanted}` is not the name of one project")
    return projects[ends[0]]


def _nx_jobs(space: Workspace, directory: str, task: str, asked: bool) -> list[Job]:
    """A task of one project, and what Nx runs before it."""
    defaults = table(space.json(space.root, "nx.json"), "targetDefaults")

    def target(place: str, name: str) -> Mapping[str, object]:
        own = table(table(space.json(place, "project.json"), "targets"), name)
        return own or table(table(table(space.json(place, "package.json"), "nx"), "targets"), name)

    def before(place: str, name: str) -> list[str]:
        own = target(place, name)
        executor = own.get("executor")
        for said in (own, table(defaults, str(executor)), table(defaults, name)):
            if "dependsOn" in said:
                wanted = said["dependsOn"]
                if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
                    raise UntoldError(f"what runs before `{name}` is not a list of names")
                return [one.replace(":", "#") for one in strings(wanted)]
        return []

    own = target(directory, task)
    if "executor" in own or "command" in own:
        return [Job(directory, "", _fills(space, directory, own, table(defaults, task)))]
    if directory not in space.packages or (asked and task not in space.packages[directory].scripts):
        raise UntoldError(f"what `nx` does for {directory or 'the root'} is worked out by its plugins")
    return _followed(space, [(directory, task)], before)


def _fills(
    space: Workspace, directory: str, target: Mapping[str, object], default: Mapping[str, object]
) -> tuple[str, ...]:
    """Folders of the workspace that a target says it fills. Raises ``UntoldError``."""
    executor = target.get("executor")
    if isinstance(executor, str) and executor != "nx:run-commands" and not _BUNDLES.fullmatch(executor):
        raise UntoldError(f"what `{executor}` leaves needs the libraries that it imports")
    out = table(target, "options").get("outputPath")
    out = table(out).get("base") if isinstance(out, dict) else out
    said = [out] if isinstance(out, str) else strings(target.get("outputs")) or strings(default.get("outputs"))
    inside = directory[len(space.root) :].lstrip("/") if space.root else directory
    values = {"projectRoot": inside, "workspaceRoot": ".", "projectName": posixpath.basename(directory)}
    made = [posixpath.normpath(_BRACES.sub(lambda found: values[found[1]], str(one))) for one in said]
    if not made or any(re.search(r"[{}*$]", one) or one.startswith(("..", "/", "!")) or one == "." for one in made):
        raise UntoldError(f"where `nx` leaves what it builds of {directory or 'the root'} is not written")
    return tuple(made)
