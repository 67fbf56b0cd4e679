"""coach verify on a real engine: good and bad patches are told apart, and nothing is left behind."""

from __future__ import annotations

import difflib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from coach.render.verify import schema
from tests.engine.engine import Engine
from tests.repository import environment, write

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

DOCKERFILE = """\
FROM debian:bookworm-slim
WORKDIR /app
COPY . .
RUN sleep 2 && sha256sum manifest.lock > /installed
CMD ["true"]
"""
FILES = {"Dockerfile": DOCKERFILE, "manifest.lock": "a==1\n", "main.py": "print('hello')\n"}

GOOD = DOCKERFILE.replace("COPY . .\n", "COPY manifest.lock ./\n").replace("CMD", "COPY . .\nCMD")
OTHER_CONTENT = GOOD.replace("RUN sleep 2", "RUN chmod 600 manifest.lock && echo more > /etc/more && sleep 2")
BROKEN = GOOD.replace("manifest.lock ./", "manifest.lok ./")
IDLE = DOCKERFILE.replace("COPY . .", "# all of it\nCOPY . ./")
NO_START = GOOD.replace('"true"', '"/nowhere"')


@dataclass
class Run:
    """One finished ``coach verify``."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        found = json.loads(self.out)
        assert list(Draft202012Validator(json.loads(schema())).iter_errors(found)) == []
        return found

    @property
    def verdict(self) -> Any:
        (only,) = self.document["verdicts"]
        return only


def hears_interrupts() -> None:
    """What runs in the background of a shell starts deaf to SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Bench:
    """A repository to verify, in a world of its own: what is left there afterwards was left by coach."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.engine = engine
        self.root = folder / "repo"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        self.files = dict(FILES)

    def start(self, *words: str) -> subprocess.Popen[str]:
        write(self.root, self.files)
        kept = {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}
        env = environment(self.home, TMPDIR=str(self.temporary), **kept)
        command = [sys.executable, "-m", "coach", "verify", ".", *words]
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hears_interrupts,
        )

    def end(self, process: subprocess.Popen[str]) -> Run:
        out, err = process.communicate(timeout=550)
        self.assert_nothing_is_left(process.pid)
        return Run(process.returncode, out, err)

    def verify(self, *words: str) -> Run:
        return self.end(self.start(*words))

    def patch(self, after: str, before: str | None = None) -> str:
        old = self.files["Dockerfile"] if before is None else before
        lines = difflib.unified_diff(
            old.splitlines(keepends=True), after.splitlines(keepends=True), "a/Dockerfile", "b/Dockerfile"
        )
        made = self.home / "given.patch"
        made.write_text("".join(lines))
        return str(made)

    def assert_nothing_is_left(self, pid: int) -> None:
        mine = f"coach-{pid}-"
        listed = [
            *self.engine.docker("ps", "--all", "--format", "{{.Image}} {{.Label `coach.workshop`}}").splitlines(),
            *self.engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines(),
            *self.engine.docker("buildx", "history", "ls", "--format", "{{.Name}}").splitlines(),
        ]
        assert [line for line in listed if mine in line] == []
        assert list(self.temporary.iterdir()) == []
        assert list(self.home.glob(".docker/**/*")) == []
        assert {path: (self.root / path).read_text() for path in self.files} == self.files
        assert {path.name for path in self.root.iterdir()} == {path.split("/")[0] for path in self.files}


@pytest.fixture
def bench(tmp_path: Path, engine: Engine) -> Bench:
    return Bench(tmp_path, engine)


def test_a_good_patch_is_confirmed(bench: Bench) -> None:
    done = bench.verify("--patch", bench.patch(GOOD), "--yes", "--json", "--runs", "2")

    assert (done.code, done.verdict["verdict"]) == (0, "confirmed"), done
    before, after = done.document["states"]
    for state, held in ((before, False), (after, True)):
        (source,) = [build for build in state["builds"] if build["scenario"] == "source change"]
        assert [step["cached"] for step in source["steps"] if "RUN sleep" in step["name"]] == [held]
        assert len(source["seconds"]) == 2
    assert done.document["touched"]["source"] == "main.py"
    assert before["start"] == after["start"] == {"state": "exited", "code": 0, "http": None}


def test_a_patch_that_changes_what_the_image_holds_is_caught(bench: Bench) -> None:
    done = bench.verify("--patch", bench.patch(OTHER_CONTENT), "--yes", "--json")

    assert (done.code, done.verdict["verdict"]) == (1, "changes the image"), done
    found = {(one["path"], one["what"]) for one in done.verdict["differences"]}
    assert found == {("etc/more", "new"), ("app/manifest.lock", "mode")} or found == {("etc/more", "new")}


def test_a_patch_that_breaks_the_build_is_caught(bench: Bench) -> None:
    done = bench.verify("--patch", bench.patch(BROKEN), "--yes", "--json")

    assert (done.code, done.verdict["verdict"]) == (1, "breaks the build"), done
    assert any("manifest.lok" in line for line in done.verdict["log"])


def test_a_patch_that_speeds_nothing_up_is_caught(bench: Bench) -> None:
    done = bench.verify("--patch", bench.patch(IDLE), "--yes", "--json", "--runs", "3")

    assert (done.code, done.verdict["verdict"]) == (1, "no gain"), done


def test_a_patch_whose_container_no_longer_starts_is_caught(bench: Bench) -> None:
    done = bench.verify("--patch", bench.patch(NO_START), "--yes", "--json")

    assert (done.code, done.verdict["verdict"]) == (1, "changes the image"), done
    assert "the container exits with 0 without it and does not start with it" in done.verdict["says"]


def test_what_differs_from_build_to_build_is_not_held_against_a_patch(bench: Bench) -> None:
    stamp = "RUN date +%s%N > /stamp\n"
    bench.files["Dockerfile"] = DOCKERFILE.replace("COPY . .\n", f"{stamp}COPY . .\n")
    done = bench.verify("--patch", bench.patch(GOOD.replace("COPY m", f"{stamp}COPY m")), "--yes", "--json")

    assert (done.code, done.verdict["verdict"]) == (0, "confirmed"), done
    assert (done.verdict["noise"], done.verdict["differences"]) == (1, [])


def test_a_build_that_fails_before_any_patch_proves_nothing(bench: Bench) -> None:
    bench.files["Dockerfile"] = DOCKERFILE.replace("RUN sleep 2", "RUN echo sorry && false")
    done = bench.verify(
        "--patch", bench.patch(GOOD.replace("RUN sleep 2", "RUN echo sorry && false")), "--yes", "--json"
    )

    assert (done.code, done.verdict["verdict"]) == (1, "not measured"), done
    assert "without it the build fails" in done.verdict["says"]


def test_a_build_that_takes_too_long_is_ended(bench: Bench) -> None:
    bench.files["Dockerfile"] = DOCKERFILE.replace("sleep 2", "sleep 300")
    began = time.monotonic()
    done = bench.verify("--patch", bench.patch(GOOD), "--yes", "--json", "--timeout", "6")

    assert (done.code, done.verdict["verdict"]) == (1, "not measured"), done
    assert "longer than 6 seconds" in done.verdict["says"]
    assert time.monotonic() - began < 200


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
def test_an_interrupt_leaves_nothing_behind(bench: Bench, how: signal.Signals) -> None:
    bench.files["Dockerfile"] = DOCKERFILE.replace("sleep 2", "sleep 300")
    process = bench.start("--patch", bench.patch(GOOD.replace("sleep 2", "sleep 300")), "--yes")
    folder = None
    while folder is None:
        assert process.poll() is None, process.communicate()
        folder = next(bench.temporary.glob(f"coach-{process.pid}-*/coach-*-1/Dockerfile"), None)
        time.sleep(0.1)
    time.sleep(3)  # the build is under way by now
    process.send_signal(how)
    done = bench.end(process)

    assert done.code == 130, done
    assert done.err.splitlines()[-1] == "coach: interrupted"


def test_a_frontend_that_cannot_be_fetched_is_named_and_may_be_dropped(bench: Bench) -> None:
    line = "# syntax=frontend.invalid/docker/dockerfile:1\n"
    bench.files["Dockerfile"] = line + DOCKERFILE
    patch = bench.patch(line + GOOD)

    refused = bench.verify("--patch", patch, "--yes")
    dropped = bench.verify("--patch", patch, "--yes", "--json", "--drop-syntax")

    assert refused.code == 2, refused
    assert "frontend.invalid" in refused.err.splitlines()[-1]
    assert "--drop-syntax" in refused.err.splitlines()[-1]
    assert (dropped.code, dropped.verdict["verdict"]) == (0, "confirmed"), dropped
    assert "frontend.invalid" in dropped.document["notes"][0]


NPM = {
    "Dockerfile": """\
FROM node:22-bookworm-slim
WORKDIR /app
COPY . .
RUN npm ci
CMD ["node", "index.js"]
""",
    ".dockerignore": ".git\nnode_modules\n**/.env*\ndist\n",
    "index.js": "console.log(require('is-odd')(3))\n",
}


def test_coachs_own_patch_for_the_order_is_confirmed(bench: Bench) -> None:
    example = Path(__file__).parents[2] / "examples" / "clean-node"
    names = ("package.json", "package-lock.json")
    bench.files = {**NPM, **{name: (example / name).read_text() for name in names}, "index.js": "console.log(1)\n"}
    done = bench.verify("--fix", "F2", "--yes", "--json")

    assert (done.code, done.verdict["verdict"], done.verdict["fix"]) == (0, "confirmed", "F2"), done
    assert done.verdict["differences"] == []
    assert done.document["touched"]["source"] == "index.js"
    assert done.document["touched"]["lockfile"] == "package-lock.json"


def test_coachs_own_patch_for_the_cache_is_confirmed(bench: Bench) -> None:
    """Packages without wheels are built on every install, unless a cache keeps what was built."""
    bench.files = {
        "Dockerfile": """\
FROM python:3.12-slim
WORKDIR /srv
COPY requirements.txt ./
RUN pip install -r requirements.txt
COPY main.py ./
CMD ["python", "main.py"]
""",
        "requirements.txt": "docopt==0.6.2\npyperclip==1.8.2\nwget==3.2\nsgmllib3k==1.0.0\n",
        "main.py": "import docopt\n",
    }
    done = bench.verify("--fix", "F3", "--yes", "--json")

    assert (done.code, done.verdict["verdict"], done.verdict["fix"]) == (0, "confirmed", "F3"), done
    assert done.verdict["says"].startswith("lockfile change")
