"""NuGet: the project reference closure of a solution or project, with the files MSBuild finds by itself.

What MSBuild imports by itself: https://learn.microsoft.com/visualstudio/msbuild/customize-by-directory
"""

from __future__ import annotations

import re

from coach.manifests.files import Element, at, join, parent, upwards
from coach.manifests.gather import Closure, Gather, Request, shown, values

MANAGERS = frozenset(("dotnet", "nuget", "msbuild"))

_PROJECTS = (".csproj", ".fsproj", ".vbproj", ".sqlproj", ".esproj", ".wapproj", ".proj", ".dcproj")
_SOLUTIONS = (".sln", ".slnx", ".slnf")
_MOST_PROJECTS = 2_000
_ABOVE = frozenset(
    (
        *("directory.build.props", "directory.build.targets", "directory.packages.props", "directory.build.rsp"),
        *("directory.solution.props", "directory.solution.targets", "global.json", "nuget.config", "msbuild.rsp"),
    )
)
_BESIDE = frozenset(("packages.lock.json", "packages.config", "paket.references", "project.json"))
_SLN_PROJECT = re.compile(r'^Project\("\{[^"]{1,60}\}"\)\s*=\s*"[^"]*"\s*,\s*"([^"]+)"', re.M)
_VERBS = frozenset(("restore", "build", "publish", "test", "pack", "run", "msbuild", "tool", "clean", "workload"))


def closure(request: Request) -> Closure | None:
    """The closure of a dotnet command; raises nothing."""
    gather = Gather(request)
    verb = next((word for word in request.words[1:] if word in _VERBS), "restore")
    if verb == "tool":
        paths = [at(above, name) for above in upwards(request.directory, gather.context) for name in _TOOLS]
        found = next((path for path in paths if gather.has(path)), None)
        if found is None or "restore" not in request.words:
            return None
        gather.add(found)
        _above(gather, request.directory)
        return gather.closure()
    todo = _started(gather, verb)
    if not todo:
        return None
    seen: set[str] = set()
    while todo and len(seen) < _MOST_PROJECTS:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            gather.add(path)
            todo += _solution(gather, path) if path.endswith(_SOLUTIONS) else _project(gather, path)
    if todo:
        gather.doubt("more projects than are followed")
    _above(gather, request.directory)
    _sources(gather)
    if verb != "restore" and verb != "clean":
        gather.reads(f"`dotnet {verb}` compiles the project's source")
    if None in request.words:
        gather.doubt("a word of the command is not known before it runs")
    locks = [path for path in sorted(gather.files) if path.endswith("packages.lock.json")]
    return gather.closure(locks[0] if locks else None)


_TOOLS = (".config/dotnet-tools.json", "dotnet-tools.json")


def _started(gather: Gather, verb: str) -> list[str]:
    directory = gather.request.directory
    words = [word for word in gather.words[1:] if word is not None]
    named = [word for word in words if word.endswith((*_PROJECTS, *_SOLUTIONS)) and not word.startswith("-")]
    found = [path for word in named if (path := gather.locate(word.replace("\\", "/"), directory)) is not None]
    found = [path for path in found if gather.has(path)]
    if named and not found:
        gather.doubt(f"`{shown(named[0])}` is not in the build context")
    if named:
        return found
    options = values(tuple(words), "-c", "-o", "-r", "-f", "-a", "-v", "-s", "--configuration", "--output", "--runtime")
    places = [word for word in words if not word.startswith(("-", "/p:")) and word != verb and word not in options]
    for word in places:
        target = gather.locate(word.replace("\\", "/"), directory)
        if target is not None and gather.has_dir(target):
            directory = target
            break
    names = gather.children(directory)
    for endings in (_SOLUTIONS[:2], _PROJECTS):
        inside = [at(directory, name) for name in names if name.endswith(endings)]
        if inside:
            return inside
    return []


def _solution(gather: Gather, path: str) -> list[str]:
    directory = parent(path)
    if path.endswith(".slnx"):
        root = gather.xml(path)
        elements = root.all("project") if root is not None else []
        named = [(element.line, element.attributes.get("Path", "")) for element in elements]
    elif path.endswith(".slnf"):
        solution = (gather.json(path) or {}).get("solution")
        inner = solution.get("path") if isinstance(solution, dict) else None
        listed = solution.get("projects") if isinstance(solution, dict) else None
        base = join(directory, inner) if isinstance(inner, str) else None
        if base is not None:
            gather.add(base)
            directory = parent(base)
        named = [(gather.line(path, str(name)[-20:]), str(name)) for name in listed] if isinstance(listed, list) else []
    else:
        text = gather.text(path) or ""
        named = [(text.count("\n", 0, match.start()) + 1, match[1]) for match in _SLN_PROJECT.finditer(text)]
    found = []
    for line, name in named:
        target = join(directory, name)
        if not name.endswith(_PROJECTS):
            continue
        if gather.has(target):
            assert target is not None
            found.append(target)
        else:
            gather.doubt(f"`{shown(name)}` is not in the build context", path, line)
    return found


def _project(gather: Gather, path: str) -> list[str]:
    """Take in what belongs to one project; returns the projects it refers to."""
    directory = parent(path)
    gather.members.add(directory)
    gather.add_all(directory, [name for name in gather.children(directory) if name.lower() in _BESIDE])
    _above(gather, directory)
    root = gather.xml(path)
    if root is None:
        return []
    _imports(gather, path, root, 0)
    found = []
    for reference in root.all("ProjectReference"):
        for include in reference.attributes.get("Include", "").split(";"):
            name = include.strip().replace("$(MSBuildThisFileDirectory)", "").replace("$(MSBuildProjectDirectory)", ".")
            target = join(directory, name)
            if "$(" in name or "*" in name:
                gather.doubt("a project reference is computed", path, reference.line)
            elif gather.has(target):
                assert target is not None
                found.append(target)
            elif name:
                gather.doubt(f"`{shown(name)}` is not in the build context", path, reference.line)
    return found


def _imports(gather: Gather, path: str, root: Element, depth: int) -> None:
    directory = parent(path)
    for element in root.all("Import"):
        project = element.attributes.get("Project", "")
        if "GetPathOfFileAbove" in project or not project or "Sdk" in element.attributes:
            continue
        name = project.replace("$(MSBuildThisFileDirectory)", "./").replace("$(MSBuildProjectDirectory)", ".")
        if "$(" in name or "*" in name:
            if "$(MSBuild" not in name and "$(NuGet" not in name and "$(VSTools" not in name:
                gather.doubt("a file whose path is computed is imported", path, element.line)
            continue
        target = join(directory, name)
        if target is None or not gather.has(target):
            if "Condition" not in element.attributes:
                gather.doubt(f"`{shown(name)}` is not in the build context", path, element.line)
        elif target not in gather.files and depth < 20:
            gather.add(target)
            inner = gather.xml(target)
            if inner is not None:
                _imports(gather, target, inner, depth + 1)


def _above(gather: Gather, directory: str) -> None:
    for above in upwards(directory, gather.context):
        if above in gather.visited:
            break
        gather.visited.add(above)
        for name in gather.children(above):
            path = at(above, name)
            if (
                name.lower() in _ABOVE
                and path not in gather.files
                and gather.add(path)
                and name.endswith(("ops", "ets"))
            ):
                root = gather.xml(path)
                if root is not None:
                    _imports(gather, path, root, 0)
            elif name.lower() == "paket.dependencies":
                gather.add_all(above, (name, "paket.lock"))


def _sources(gather: Gather) -> None:
    """Local package sources of every NuGet configuration that counts."""
    for path in sorted(gather.files):
        if not path.lower().endswith("nuget.config"):
            continue
        root = gather.xml(path)
        for sources in root.all("packageSources") if root is not None else []:
            for entry in sources.children:
                value = entry.attributes.get("value", "")
                if value and "://" not in value and "%" not in value and "$" not in value:
                    gather.need(parent(path), value, path, entry.line)
