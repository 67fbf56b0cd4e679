"""What a Python project's manifests say about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from coach.knowledge import native
from coach.manifests.files import Files, at, line_of, strings, table
from coach.manifests.python import requirement_names
from coach.model import Tree


@dataclass(frozen=True, slots=True)
class Dependency:
    """A package that a manifest names, and where; ``name`` is normalised (lower case, ``-``)."""

    name: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class PythonFacts:
    """A Python project; everything stays empty when ``directory`` holds no manifest.

    ``manager`` is ``poetry``, ``uv``, ``pdm``, ``pipenv``, ``pip``, ``conda`` or "". ``framework`` is ``django``,
    ``fastapi``, ``flask``, ``starlette``, ``litestar``, ``aiohttp``, ``tornado``, ``streamlit``, ``gradio`` or "".
    ``entry`` is the file that starts it, if one stands out. ``native`` are dependencies that bring compiled code,
    ``compiled`` those that have no ready-made binaries and need a compiler when they are installed.
    """

    directory: str
    path: str = ""
    name: str = ""
    manager: str = ""
    requires_python: str = ""
    dependencies: tuple[Dependency, ...] = ()
    framework: str = ""
    entry: str = ""
    scripts: Mapping[str, str] = field(default_factory=dict)
    native: tuple[Dependency, ...] = ()
    compiled: tuple[Dependency, ...] = ()
    servers: tuple[str, ...] = ()
    build_backend: str = ""

    @property
    def known(self) -> bool:
        return bool(self.path)


_FRAMEWORKS = (
    "django",
    "fastapi",
    "flask",
    "litestar",
    "starlette",
    "aiohttp",
    "tornado",
    "streamlit",
    "gradio",
    "sanic",
)
_SERVERS = ("gunicorn", "uvicorn", "uwsgi", "hypercorn", "granian", "daphne", "waitress")
_ENTRIES = ("manage.py", "main.py", "app.py", "server.py", "wsgi.py", "asgi.py", "run.py", "__main__.py")
_FOLDERS = ("", "app", "src", "src/app", "server", "api")
_MOST = 2_000
_REQUIREMENT_FILE = re.compile(
    r"(?:requirements(?:[-_.][\w.-]+)?|[\w.-]+[-_.]requirements)\.(?:txt|in)|constraints\.txt"
)


def python_facts(tree: Tree, directory: str) -> PythonFacts:
    """Facts of the project in ``directory``; nothing is raised."""
    files = Files(tree)
    pyproject_path = at(directory, "pyproject.toml")
    pyproject = files.toml(pyproject_path)
    found = _declared(files, directory, pyproject_path, pyproject)
    paths = [
        at(directory, name)
        for name in ("setup.py", "setup.cfg", "environment.yml")
        if files.is_file(at(directory, name))
    ]
    path = pyproject_path if files.is_file(pyproject_path) else found[0].path if found else paths[0] if paths else ""
    if not path:
        return PythonFacts(directory)
    project, poetry = table(pyproject, "project"), table(pyproject, "tool", "poetry")
    unique = {dependency.name: dependency for dependency in reversed(found)}
    names = set(unique)
    known, compiled = native.names("python"), native.compiled("python")
    requires = project.get("requires-python") or table(poetry, "dependencies").get("python")
    name = project.get("name") or poetry.get("name")
    backend = table(pyproject, "build-system").get("build-backend")
    scripts = {**table(poetry, "scripts"), **table(project, "scripts")}
    return PythonFacts(
        directory,
        path,
        name if isinstance(name, str) else "",
        _manager(files, directory, pyproject, bool(found)),
        requires if isinstance(requires, str) else "",
        tuple(unique[name] for name in sorted(unique)),
        next((framework for framework in _FRAMEWORKS if framework in names), ""),
        _entry(files, directory),
        {key: value for key, value in scripts.items() if isinstance(value, str)},
        tuple(unique[name] for name in sorted(names) if name in known or name in compiled),
        tuple(unique[name] for name in sorted(names) if name in compiled),
        tuple(server for server in _SERVERS if server in names),
        backend if isinstance(backend, str) else "",
    )


def _manager(files: Files, directory: str, pyproject: Mapping[str, object] | None, requirements: bool) -> str:
    for name, manager in (("uv.lock", "uv"), ("poetry.lock", "poetry"), ("pdm.lock", "pdm"), ("Pipfile", "pipenv")):
        if files.is_file(at(directory, name)):
            return manager
    tools = table(pyproject, "tool")
    for manager in ("poetry", "pdm", "uv"):
        if manager in tools:
            return manager
    if any(files.is_file(at(directory, name)) for name in ("environment.yml", "environment.yaml")):
        return "conda"
    return "pip" if requirements or pyproject is not None else ""


def _declared(files: Files, directory: str, path: str, pyproject: Mapping[str, object] | None) -> list[Dependency]:
    found: list[Dependency] = []
    text = files.text(path)
    project, poetry = table(pyproject, "project"), table(pyproject, "tool", "poetry")
    lines = [*strings(project.get("dependencies"))]
    for group in table(project, "optional-dependencies").values():
        lines += strings(group)
    for line in lines[:_MOST]:
        word = re.match(r"[A-Za-z0-9][\w.-]*", line)
        if word:
            found.append(Dependency(_normal(word[0]), path, line_of(text, line)))
    stated = [key for key in table(poetry, "dependencies") if key != "python"][:_MOST]
    found += [Dependency(_normal(name), path, line_of(text, f"\n{name}") + 1) for name in stated]
    pipfile = at(directory, "Pipfile")
    content = files.text(pipfile)
    packages = list(table(files.toml(pipfile), "packages"))[:_MOST]
    found += [Dependency(_normal(name), pipfile, line_of(content, name)) for name in packages]
    folders = [directory, at(directory, "requirements")]
    for folder in folders:
        for name in files.children(folder):
            requirement = at(folder, name)
            if _REQUIREMENT_FILE.fullmatch(name) or (folder.endswith("requirements") and name.endswith(".txt")):
                found += [
                    Dependency(_normal(n), requirement, line)
                    for line, n in requirement_names(files.text(requirement) or "")
                ]
    return found


def _entry(files: Files, directory: str) -> str:
    for folder in _FOLDERS:
        for name in _ENTRIES:
            path = at(at(directory, folder) if folder else directory, name)
            if files.is_file(path):
                return path
    return ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
