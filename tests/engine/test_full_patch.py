"""All of coach's patches at once, held to a real engine: the image builds, answers, is smaller, and rebuilds quickly.

Each project goes through ``git apply`` where the patch can be printed, and is then changed in its source: what was
installed for building and for running must come out of the cache.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

from coach import edits
from coach.model import Safety
from coach.project import open_project
from tests.engine.engine import Build, Engine, File
from tests.engine.test_examples import SIBLINGS

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

EXAMPLES = Path(__file__).parents[2] / "examples"
PROJECTS = Path(__file__).parent / "projects"


@dataclass(frozen=True)
class Project:
    """A project with a ``Dockerfile`` of one stage.

    ``says`` is part of the answer to ``GET path``. ``source`` is a file that ordinary commits change, and ``steps``
    are words of the steps that such a commit must not rerun. ``gone`` are paths (and what is below them) that the
    patched image must not hold, ``stays`` such that it must.
    """

    name: str
    port: int
    path: str
    says: str
    source: str
    steps: tuple[str, ...]
    gone: tuple[str, ...]
    stays: tuple[str, ...]
    prepare: Callable[[Path], None]
    fixes: tuple[str, ...] = ("F4",)


def _copied(folder: Path, dockerfile: str = "") -> Callable[[Path], None]:
    def prepare(target: Path) -> None:
        shutil.copytree(folder, target, dirs_exist_ok=True)
        if dockerfile:
            (target / ".dockerignore").unlink(missing_ok=True)
            (target / "Dockerfile").write_text(dockerfile)

    return prepare


TYPESCRIPT = """\
FROM node:22-bookworm-slim
WORKDIR /app
COPY . .
RUN npm ci && npm run build
EXPOSE 3000
CMD ["npm", "start"]
"""

UV = """\
FROM python:3.12-slim
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN pip install uv==0.13.9
WORKDIR /srv
COPY . .
RUN uv sync --frozen
ENV PATH=/srv/.venv/bin:$PATH
CMD ["uvicorn", "rates.main:app", "--host", "0.0.0.0", "--port", "8000"]
"""

ALL = (
    Project(
        "node-monorepo",
        3000,
        "/healthz",
        '"status":"ok"',
        "packages/web/src/main.tsx",
        ("pnpm install --frozen-lockfile", "pnpm install --prod", "apt-get install"),
        ("app/node_modules/typescript", "app/packages/web/src", "app/packages/web/node_modules/vite", "usr/bin/g++"),
        ("app/packages/web/dist/index.html", "app/packages/worker/dist/worker.js"),
        _copied(EXAMPLES / "node-monorepo"),
    ),
    Project(
        "python-api",
        8000,
        "/healthz",
        '"status":"ok"',
        "app/main.py",
        ("pip install", "apt-get install", "python -m venv"),
        ("usr/bin/gcc",),
        ("srv/app/main.py",),
        _copied(EXAMPLES / "python-api"),
    ),
    Project(
        "go-service",
        8080,
        "/healthz",
        '"status":"ok"',
        "internal/httpapi/httpapi.go",
        ("go mod download",),
        ("usr/local/go", "src/go.mod"),
        ("usr/local/bin/rates",),
        _copied(EXAMPLES / "go-service"),
    ),
    Project(
        "typescript",
        3000,
        "/healthz",
        '"status":"ok"',
        "src/server.ts",
        ("npm ci --omit=dev", "npm ci"),
        ("app/node_modules/typescript", "app/src"),
        ("app/dist/server.js", "app/node_modules/fastify/package.json"),
        _copied(EXAMPLES / "clean-node", TYPESCRIPT),
    ),
    Project(
        "npm",
        3000,
        "/",
        "two days are 172800000",
        "server.js",
        ("npm ci --omit=dev --ignore-scripts", "install -y --no-install-recommends curl"),
        ("srv/clock/node_modules/husky", "usr/bin/g++"),
        ("srv/clock/greeting.txt", "usr/bin/curl"),
        _copied(PROJECTS / "npm"),
    ),
    Project(
        "npm-generated",
        3000,
        "/",
        "made 172800000",
        "src/server.txt",
        ("npm ci --omit=dev", "npm ci"),
        ("app/node_modules/husky",),
        ("app/generated/server.cjs", "app/node_modules/ms/package.json"),
        _copied(PROJECTS / "npm-generated"),
    ),
    Project(
        "yarn",
        3000,
        "/",
        "<p>172800000</p>",
        "src/server.ts",
        ("yarn install --production", "yarn install --frozen-lockfile"),
        ("app/node_modules/typescript", "app/src"),
        ("app/build/server.js", "app/views/page.html"),
        _copied(PROJECTS / "yarn"),
    ),
    Project(
        "psycopg",
        8000,
        "/",
        "libpq True",
        "server.py",
        ("pip install", "install -y --no-install-recommends libpq5"),
        ("usr/bin/gcc", "usr/bin/pg_config"),
        ("srv/server.py",),
        _copied(PROJECTS / "psycopg"),
    ),
    Project(
        "uv",
        8000,
        "/healthz",
        '"status":"ok"',
        "src/rates/main.py",
        ("--no-install-project",),
        ("usr/bin/gcc", "srv/.venv/bin/pytest", "usr/local/bin/uv"),
        ("srv/src/rates/main.py", "srv/.venv/bin/uvicorn"),
        _copied(EXAMPLES / "clean-python", UV),
    ),
    Project(
        "poetry-system",
        8000,
        "/",
        "hello",
        "hello/__main__.py",
        ("poetry install --only main",),
        ("usr/bin/gcc", "usr/local/bin/poetry", "opt/venv/bin/poetry"),
        ("srv/hello/__main__.py",),
        _copied(PROJECTS / "poetry-system"),
    ),
    Project(
        "templates",
        8080,
        "/",
        "hello world",
        "main.go",
        (),
        ("usr/local/go", "src/main.go"),
        ("src/templates/index.html",),
        _copied(PROJECTS / "templates"),
    ),
)


@dataclass
class Trial:
    """One project as it is and with the full patch; each image is built once, when first asked for."""

    engine: Engine
    project: Project
    folder: Path
    images: dict[str, str] = field(default_factory=dict)

    @cached_property
    def original(self) -> Path:
        made = self.folder / "original"
        self.project.prepare(made)
        return made

    @cached_property
    def patched(self) -> Path:
        """The project after ``git apply`` of what ``coach fix --diff --safety review`` prints, or else of its files."""
        made = self.folder / "patched"
        shutil.copytree(self.original, made)
        done = open_project(made).fix(safety=Safety.REVIEW)
        assert {applied.finding.id for applied in done.applied} >= set(self.project.fixes), done
        before = {path: content for path, (content, _) in done.files.items()}
        patch = edits.diff(before, {path: content for path, (_, content) in done.files.items()})
        assert patch is not None
        subprocess.run(["git", "init", "-q", "."], cwd=made, check=True)
        subprocess.run(["git", "apply", "-"], cwd=made, check=True, input=patch)
        return made

    def build(self, folder: Path, tag: str | None = None) -> Build:
        text = (folder / "Dockerfile").read_text().split()
        instead = {name: other for name, other in SIBLINGS.items() if name in text and not self.engine.has(name)}
        return self.engine.build(folder, tag, contexts=instead)

    def image(self, folder: Path) -> str:
        tag = self.engine.tag(f"full-{self.project.name}-{folder.name}")
        if tag not in self.images:
            self.build(folder, tag)
            self.images[tag] = tag
        return tag

    @cached_property
    def files(self) -> dict[str, File]:
        return self.engine.files(self.image(self.patched))

    def size(self, folder: Path) -> int:
        return int(self.engine.docker("image", "inspect", "--format", "{{.Size}}", self.image(folder)))


@pytest.fixture(
    scope="module",
    params=[pytest.param(project, marks=pytest.mark.xdist_group(project.name)) for project in ALL],
    ids=[project.name for project in ALL],
)
def trial(request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    project: Project = request.param
    return Trial(engine, project, tmp_path_factory.mktemp(project.name))


def test_both_images_answer(trial: Trial) -> None:
    for folder in (trial.original, trial.patched):
        answer = trial.engine.answer(trial.image(folder), trial.project.port, trial.project.path)

        assert trial.project.says in answer, folder.name


def test_the_patched_image_is_smaller(trial: Trial) -> None:
    assert trial.size(trial.patched) < trial.size(trial.original)


def test_the_patched_image_holds_what_runs_and_nothing_that_only_builds(trial: Trial) -> None:
    held = trial.files

    for path in trial.project.stays:
        assert path in held
    for path in trial.project.gone:
        assert not [found for found in held if found == path or found.startswith(f"{path}/")][:3]


def test_a_change_of_the_source_reruns_no_install(trial: Trial) -> None:
    trial.image(trial.patched)
    changed = trial.folder / "changed"
    shutil.copytree(trial.patched, changed)
    source = changed / trial.project.source
    mark = "//" if source.suffix in (".ts", ".tsx", ".js", ".go", ".txt") else "#"
    source.write_bytes(source.read_bytes() + f"\n{mark} {uuid.uuid4()}\n".encode())

    build = trial.build(changed)

    for words in trial.project.steps:
        found = [step for step in build.steps if words in step.name]
        assert found, (words, [step.name for step in build.steps])
        assert all(step.cached for step in found), words
    assert not all(step.cached for step in build.steps)
