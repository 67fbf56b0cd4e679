"""coach's patches for install order and cache mounts, held to what a real engine does with them.

Each project is built as it is, patched, built again, and then changed: in its source, and in what the install reads.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

from coach.model import Safety
from coach.project import open_project
from tests.engine.engine import Build, Engine, File

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "examples"
POETRY = Path(__file__).parent / "poetry"

# What two builds of one and the same Dockerfile would not share either, or what nobody ships for its own sake.
VOLATILE = re.compile(
    r"""
      (?:tmp|proc|sys|dev|run|var/log|var/cache|var/lib/dpkg|var/lib/apt|etc/ld\.so\.cache)(?:/.*)?
    | root/\.(?:npm|cache|local/share/pnpm|config)(?:/.*)?      # package caches: what a cache mount keeps out
    | root/\.local/state/pnpm/.*                                # when pnpm last looked for its own updates
    | (?:root|go|go/pkg|go/pkg/mod|root/\.local|root/\.local/share|go/pkg/mod/cache)  # folders that held only those
    | go/pkg/(?:mod|sumdb)/.*
    # pnpm keeps in its store what a package's own script made (esbuild's puts a binary in the place of a script):
    # from a store that is warm it comes without the folders the script ran with, and started as what it is
    | .*/node_modules/\.pnpm/[^/]+/node_modules/[^/]+/node_modules(?:/\.(?:bin|tmp)(?:/.*)?)?
    | .*/node_modules/\.pnpm/node_modules/\.bin/esbuild
    | .*\.pyc | .*/__pycache__                                  # hold the time of their source
    | .*/node_modules/\.(?:package-lock\.json|modules\.yaml|pnpm-workspace-state[^/]*\.json)  # hold times, store paths
    | .*/pip-[^/]+\.dist-info/RECORD          # virtualenv's copy of pip lists its .pyc files at random
    | .*/rates-[^/]+\.dist-info/(?:uv_cache\.json|RECORD)       # when uv saw the project file, and the sum of that
    | [^/]+/(?:Dockerfile|\.dockerignore)                       # what the patch itself changes
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Project:
    """A project to build. ``install`` is what names its install step; ``reads`` are files the install needs."""

    name: str
    install: str
    source: str
    reads: tuple[str, ...]
    prepare: Callable[[Path], None]
    fetch: str = ""  # what names the install step after the patch, where that is another one

    def step(self, build: Build, *, patched: bool) -> bool:
        """Whether the install was taken from the cache."""
        return build.step(self.fetch if patched and self.fetch else self.install).cached


@dataclass
class Trial:
    """The builds of one project, each made once, when first asked for."""

    engine: Engine
    project: Project
    folder: Path
    counted: int = field(default=0)

    @cached_property
    def original(self) -> Path:
        made = self.folder / "original"
        made.mkdir(parents=True)
        self.project.prepare(made)
        # every run has a source of its own: the cache would remember an older one
        _append(made / self.project.source)
        return made

    @cached_property
    def patched(self) -> Path:
        made = self.folder / "patched"
        shutil.copytree(self.original, made)
        for fix in ("F2", "F3"):
            done = open_project(made).fix(safety=Safety.REVIEW, only=(fix,))
            assert [applied.finding.id for applied in done.applied] == [fix], (fix, done)
            for path, (_, after) in done.files.items():
                (made / path).write_bytes(after)
        return made

    def image(self, folder: Path) -> str:
        tag = self.engine.tag(f"{self.project.name}-{folder.name}")
        self.engine.build(folder, tag)
        return tag

    @cached_property
    def original_files(self) -> dict[str, File]:
        return self.engine.files(self.image(self.original))

    @cached_property
    def patched_files(self) -> dict[str, File]:
        return self.engine.files(self.image(self.patched))

    def after(self, folder: Path, changed: str, until: str = "") -> Build:
        """The build after one more file was changed; the state before it is built first.

        ``until`` is what names the last step to build: the steps below it do not touch its place in the cache.
        """
        self.engine.build(folder)
        self.counted += 1
        made = folder.parent / f"{folder.name}-{self.counted}"
        shutil.copytree(folder, made)
        _append(made / changed)
        if until:
            lines = (made / "Dockerfile").read_text().splitlines(keepends=True)
            last = next(number for number, line in enumerate(lines) if until in line)
            assert not lines[last].endswith("\\\n")
            (made / "short.Dockerfile").write_text("".join(lines[: last + 1]))
        return self.engine.build(made, dockerfile="short.Dockerfile" if until else "Dockerfile")


def _append(path: Path) -> None:
    """Change a file's bytes, size and time without changing what it means."""
    mark = uuid.uuid4()
    if path.suffix == ".json":
        blank = "".join(" \n"[bit == "1"] for bit in f"{mark.int:0128b}")
        json.loads(path.read_text() + blank)
        line = blank
    elif path.suffix in (".go", ".ts", ".tsx", ".mod"):
        line = f"\n// {mark}\n"
    else:
        line = f"\n# {mark}\n"
    path.write_bytes(path.read_bytes() + line.encode())


def _example(name: str, dockerfile: str = "") -> Callable[[Path], None]:
    """An example as it stands, or its sources alone with another Dockerfile."""

    def prepare(folder: Path) -> None:
        shutil.copytree(EXAMPLES / name, folder, dirs_exist_ok=True)
        if dockerfile:
            (folder / ".dockerignore").unlink(missing_ok=True)
            (folder / "Dockerfile").write_text(dockerfile)

    return prepare


def _monorepo(folder: Path) -> None:
    """The monorepo without its compiler, whose installation takes longer than all that is asked here."""
    shutil.copytree(EXAMPLES / "node-monorepo", folder, dirs_exist_ok=True)
    dockerfile = folder / "Dockerfile"
    text, count = re.subn(r"# node-gyp.*?lists/\*\n\n", "", dockerfile.read_text(), flags=re.DOTALL)
    assert count == 1
    dockerfile.write_text(text)


def _poetry(folder: Path) -> None:
    shutil.copytree(POETRY, folder, dirs_exist_ok=True)
    (folder / "hello").mkdir()
    (folder / "hello" / "__init__.py").write_text('"""Says hello."""\n')
    (folder / "hello" / "__main__.py").write_text('import click\n\nclick.echo("hello")\n')
    (folder / "Dockerfile").write_text(
        """\
FROM python:3.12-slim
RUN pip install poetry==2.5.1
WORKDIR /srv
COPY . .
RUN poetry config virtualenvs.in-project true
RUN poetry install --only main --no-root --no-interaction
CMD [".venv/bin/python", "-m", "hello"]
"""
    )


NPM = """\
FROM node:22-bookworm-slim
WORKDIR /app
COPY . .
RUN npm ci && npm cache clean --force
RUN npm run build
CMD ["node", "dist/server.js"]
"""

UV = """\
FROM python:3.12-slim
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
RUN pip install uv==0.13.9
WORKDIR /srv
COPY . .
RUN uv sync --frozen --no-dev
CMD [".venv/bin/uvicorn", "rates.main:app", "--host", "0.0.0.0", "--port", "8000"]
"""

PROJECTS = (
    Project("npm", "npm ci", "src/server.ts", ("package.json", "package-lock.json"), _example("clean-node", NPM)),
    Project(
        "pnpm",
        "pnpm install",
        "packages/web/src/main.tsx",
        ("packages/worker/package.json", "pnpm-lock.yaml"),
        _monorepo,
    ),
    Project(
        "pip",
        "pip install",
        "app/main.py",
        ("requirements/base.txt", "requirements/constraints.txt"),
        _example("python-api"),
    ),
    Project(
        "uv",
        "uv sync --frozen --no-dev",
        "src/rates/main.py",
        ("pyproject.toml", "uv.lock"),
        _example("clean-python", UV),
        fetch="--no-install-project",
    ),
    Project("poetry", "poetry install", "hello/__main__.py", ("pyproject.toml", "poetry.lock"), _poetry),
    Project(
        "go",
        "go build",
        "internal/httpapi/httpapi.go",
        ("go.mod", "libs/money/go.mod"),
        _example("go-service"),
        fetch="go mod download",
    ),
)


@pytest.fixture(
    scope="module",
    params=PROJECTS,
    ids=[project.name for project in PROJECTS],
)
def trial(request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    project: Project = request.param
    return Trial(engine, project, tmp_path_factory.mktemp(project.name))


def test_the_patched_image_holds_the_same_files(trial: Trial) -> None:
    before, after = (
        {path: file for path, file in files.items() if not VOLATILE.fullmatch(path)}
        for files in (trial.original_files, trial.patched_files)
    )

    assert set(before) == set(after)
    assert {path: (file, after[path]) for path, file in before.items() if file != after[path]} == {}


def test_before_the_patch_a_change_of_the_source_reruns_the_install(trial: Trial) -> None:
    build = trial.after(trial.original, trial.project.source, until=trial.project.install)

    assert not trial.project.step(build, patched=False)


def test_after_the_patch_a_change_of_the_source_does_not_rerun_the_install(trial: Trial) -> None:
    build = trial.after(trial.patched, trial.project.source)

    assert trial.project.step(build, patched=True)


@pytest.mark.parametrize("which", [0, 1], ids=["manifest", "lockfile"])
def test_after_the_patch_a_change_of_what_the_install_reads_reruns_it(trial: Trial, which: int) -> None:
    build = trial.after(trial.patched, trial.project.reads[which], until=trial.project.fetch or trial.project.install)

    assert not trial.project.step(build, patched=True)
