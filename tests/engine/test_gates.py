"""coach gates on a real engine: what it measures, what it reads from images, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engine.engine import Engine
from tests.repository import environment, write

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Run:
    """One finished ``coach gates --json``."""

    code: int
    out: str
    err: str

    @property
    def gates(self) -> dict[str, Any]:
        (target,) = json.loads(self.out)["targets"]
        return {gate["id"]: gate for gate in target["gates"]}

    def status(self, gate: str) -> str:
        return str(self.gates[gate]["status"])


def gates(engine: Engine, root: Path, *words: str) -> Run:
    """Run it in ``root`` and hold it to leaving nothing behind."""
    temporary = root.parent / f"{root.name}-tmp"
    temporary.mkdir()
    kept = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
    before = sorted(path.as_posix() for path in root.rglob("*"))
    process = subprocess.Popen(
        [sys.executable, "-m", "coach", "gates", "--json", *words],
        cwd=root,
        env=environment(root.parent, TMPDIR=str(temporary), **kept),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=550)
    listed = [
        *engine.docker("ps", "--all", "--format", "{{.Image}} {{.Label `coach.workshop`}}").splitlines(),
        *engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines(),
        *engine.docker("buildx", "history", "ls", "--format", "{{.Name}}").splitlines(),
    ]
    assert [line for line in listed if f"coach-{process.pid}-" in line] == []
    assert list(temporary.iterdir()) == []
    assert sorted(path.as_posix() for path in root.rglob("*")) == before
    return Run(process.returncode, out, err)


def test_a_good_repository_passes_every_gate(engine: Engine, tmp_path: Path) -> None:
    root = tmp_path / "clean"
    shutil.copytree(EXAMPLES / "clean-node", root)
    done = gates(engine, root, "--engine", "--yes")

    assert done.code == 0, (done.out, done.err)
    assert {gate["status"] for gate in done.gates.values()} <= {"pass", "not applicable"}
    for measured in ("noop-rebuild", "lockfile-rebuild", "context-small", "multi-stage", "image-size", "non-root"):
        assert done.status(measured) == "pass"
    assert "rebuild without a change took" in done.gates["noop-rebuild"]["says"]
    assert "a change of package-lock.json reran" in done.gates["lockfile-rebuild"]["says"]


BAD = """\
FROM debian:bookworm-slim
ARG API_TOKEN=s3cret-S3cret-99
WORKDIR /app
COPY . .
RUN echo ready > /ready
RUN touch package-lock.json && mkdir -p node_modules # npm ci
RUN head -c 350000000 /dev/urandom > /big
CMD ["true"]
"""


def test_measures_fail_the_gates_they_belong_to(engine: Engine, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "Dockerfile": BAD.replace("ARG", "ENV"),
        "big.bin": b"\1" * 5_500_000,
        "package.json": "{}\n",
    }
    done = gates(engine, write(tmp_path / "bad", files), "--engine", "--yes")

    assert done.code == 1, (done.out, done.err)
    for gate in ("context-small", "multi-stage", "image-size", "non-root", "no-secrets"):
        assert done.status(gate) == "fail", done.gates[gate]
    assert "big.bin" in done.gates["context-small"]["evidence"][0]["says"]
    assert "s3cret" not in done.out + done.err


NPM = """\
FROM node:22-bookworm-slim
WORKDIR /app
COPY package.json package-lock.json ./
RUN echo {first} above
RUN npm ci
COPY . .
CMD ["node", "index.js"]
"""


def test_what_a_changed_lockfile_reruns_is_seen_step_by_step(engine: Engine, tmp_path: Path) -> None:
    names = ("package.json", "package-lock.json")
    files: dict[str, str | bytes] = {name: (EXAMPLES / "clean-node" / name).read_bytes() for name in names}
    files |= {"index.js": "1\n", "Dockerfile": NPM.format(first="always"), ".dockerignore": ".git\nnode_modules\n"}
    done = gates(engine, write(tmp_path / "npm", files), "--engine", "--yes", "--gate", "lockfile-rebuild")

    assert done.code == 1, (done.out, done.err)
    (where,) = done.gates["lockfile-rebuild"]["evidence"]
    assert (where["line"], where["text"]) == (4, "RUN echo always above")


def test_an_image_is_read_without_any_repository(engine: Engine, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = gates(engine, empty, "--engine", "debian:bookworm-slim")

    assert done.code == 1, (done.out, done.err)
    assert json.loads(done.out)["image"] == "debian:bookworm-slim"
    assert (done.status("multi-stage"), done.status("non-root")) == ("fail", "fail")
    assert "/usr/bin/apt" in done.gates["multi-stage"]["says"]
    assert done.status("copy-order") == "unknown"


def test_an_image_that_is_not_there_is_bad_input(engine: Engine, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", {"Dockerfile": "FROM debian:bookworm-slim\n"})
    done = gates(engine, root, "--engine", "nobody.invalid/none:0")

    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1


def test_a_build_that_fails_is_unknown_and_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", {"Dockerfile": "FROM debian:bookworm-slim\nRUN echo sorry && false\nUSER 1\n"})
    done = gates(engine, root, "--engine", "--yes")

    assert done.status("noop-rebuild") == "unknown", (done.out, done.err)
    assert "RUN echo sorry" in done.gates["noop-rebuild"]["says"]
    assert "| sorry" in done.err
