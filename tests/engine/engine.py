"""A Docker engine asked for the truth: what a build reran, what an image holds, whether it answers.

Everything made here carries one run's own name and is removed by ``close``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

NOT_RUN = "ENGINE TESTS DID NOT RUN"
"""How the reason of every engine test that was left out begins."""

_ASK_SECONDS = 20
_BUILD_SECONDS = 540


SIBLINGS = {
    f"gcr.io/distroless/{kind}-debian13{tag}": f"gcr.io/distroless/{kind}-debian12{tag}"
    for kind in ("static", "nodejs22")
    for tag in ("", ":nonroot")
}
"""Bases that a patch may name, and one of the same kind for an engine that does not hold them."""


class BuildError(AssertionError):
    """A build that failed, with the end of its log."""


@dataclass(frozen=True)
class Vertex:
    """One vertex of a build: ``name`` as BuildKit prints it, ``[2/5] COPY . .``; ``seconds`` of work done for it."""

    digest: str
    name: str
    cached: bool
    seconds: float
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Build:
    """A build that went well. ``steps`` are its Dockerfile instructions in the order they were finished."""

    steps: tuple[Vertex, ...]
    seconds: float

    def step(self, text: str) -> Vertex:
        """The one step whose name holds ``text``."""
        found = [step for step in self.steps if text in step.name]
        assert len(found) == 1, (text, [step.name for step in self.steps])
        return found[0]


@dataclass(frozen=True)
class File:
    """One path of an image. ``holds`` is a file's SHA-256, a symlink's ``-> target``, or what else it is."""

    mode: int
    uid: int
    gid: int
    holds: str


def why_not() -> str:
    """Why no engine can be asked; "" when one answers and has buildx."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    for words in (("version", "--format", "{{.Server.Version}}"), ("buildx", "version")):
        try:
            done = subprocess.run(
                ["docker", *words], capture_output=True, text=True, timeout=_ASK_SECONDS, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return f"docker {words[0]} did not answer within {_ASK_SECONDS} s"
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            return f"docker {words[0]} fails: {said[-1] if said else done.returncode}"
    return ""


@dataclass
class Engine:
    """The engine that ``DOCKER_HOST`` (or the default socket) leads to."""

    run: str = field(default_factory=lambda: f"coach-test-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    images: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)

    def docker(self, *words: str, timeout: float = 120) -> str:
        """What ``docker WORDS`` prints. Raises ``CalledProcessError``."""
        return subprocess.run(
            ["docker", *words],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        ).stdout.strip()

    def has(self, image: str) -> bool:
        """Whether an image is there already; nothing is pulled to find out."""
        return (
            subprocess.run(["docker", "image", "inspect", image], capture_output=True, timeout=_ASK_SECONDS).returncode
            == 0
        )

    def siblings(self, dockerfile: str) -> dict[str, str]:
        """The bases that the text of a Dockerfile names and this engine lacks, each with its sibling."""
        words = set(dockerfile.replace("--from=", " ").split())
        return {name: other for name, other in SIBLINGS.items() if name in words and not self.has(name)}

    def tag(self, name: str) -> str:
        """A name for an image that only this run uses."""
        return f"{self.run}:{name}"

    def build(
        self,
        folder: Path,
        tag: str | None = None,
        dockerfile: str = "Dockerfile",
        target: str | None = None,
        contexts: Mapping[str, str] | None = None,
    ) -> Build:
        """Build ``folder``; an image is made only for a ``tag``. Raises ``BuildError`` with the end of the log.

        ``contexts`` puts other images in the place of those that a Dockerfile names.
        """
        words = ["docker", "buildx", "build", "--progress=rawjson", "--provenance=false", "--file", dockerfile]
        words += ["--target", target] if target else []
        words += [f"--build-context={name}=docker-image://{other}" for name, other in (contexts or {}).items()]
        if tag is None:
            words += ["--output=type=cacheonly"]
        else:
            words += [f"--output=type=image,name={tag},compression=uncompressed,unpack=true"]
            self.images.append(tag)
        started = time.monotonic()
        done = subprocess.run(
            [*words, "."],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
        )
        log = _read(done.stderr)
        if done.returncode != 0:
            raise BuildError(f"{dockerfile} in {folder.name} does not build\n{log.tail}\n{log.stray[-2000:]}")
        return Build(log.steps, time.monotonic() - started)

    def files(self, image: str) -> dict[str, File]:
        """Every path of the image without a leading slash, hard links as the files they are."""
        container = self.docker("create", image)
        self.containers.append(container)
        found: dict[str, File] = {}
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout is not None
            with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                for member in archive:
                    found[member.name.rstrip("/")] = _file(archive, member, found)
        self._remove(container)
        return found

    def answer(self, image: str, port: int, path: str, seconds: float = 30) -> str:
        """What a container of ``image`` answers to ``GET path``. Raises ``AssertionError`` with its log."""
        container = self.docker("run", "--detach", "--publish", f"127.0.0.1::{port}", image)
        self.containers.append(container)
        try:
            until = time.monotonic() + seconds
            while True:
                running = self.docker("inspect", "--format", "{{.State.Running}}", container)
                assert running == "true", f"{image} ended: {self._said(container)}"
                where = self.docker("port", container, str(port)).splitlines()[0]
                try:
                    with urlopen(f"http://{where}{path}", timeout=5) as response:
                        return str(response.read().decode())
                except (URLError, ConnectionError, TimeoutError):
                    assert time.monotonic() < until, f"{image} does not answer: {self._said(container)}"
                    time.sleep(0.2)
        finally:
            self._remove(container)

    def _said(self, container: str) -> str:
        done = subprocess.run(
            ["docker", "logs", "--tail", "20", container],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_ASK_SECONDS,
        )
        return done.stdout

    def _remove(self, container: str) -> None:
        self.docker("rm", "--force", container)
        self.containers.remove(container)

    def close(self) -> None:
        """Remove every container and image of this run, whatever became of them."""
        for kind, names in (("container", self.containers), ("image", self.images)):
            for name in names:
                subprocess.run(["docker", kind, "rm", "--force", name], capture_output=True, timeout=120)


@dataclass(frozen=True)
class _Log:
    steps: tuple[Vertex, ...]
    tail: str
    stray: str


_STEP = re.compile(r"\[(?:[^\]]* )?\d+/\d+\] ")


def _read(text: str) -> _Log:
    """A ``rawjson`` log. A vertex is reported more than once: what was learnt last about it holds."""
    names: dict[str, str] = {}
    cached: dict[str, bool] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    spent: dict[str, float] = {}
    ended: list[str] = []
    tail: list[str] = []
    stray: list[str] = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            stray.append(line)
            continue
        for vertex in entry.get("vertexes") or ():
            digest = str(vertex["digest"])
            names[digest] = str(vertex["name"])
            inputs[digest] = tuple(vertex.get("inputs") or ())
            cached[digest] = bool(vertex.get("cached", cached.get(digest, False)))
            if "completed" in vertex and "started" in vertex:
                spent[digest] = _seconds(vertex["completed"]) - _seconds(vertex["started"])
                if digest not in ended:
                    ended.append(digest)
            if vertex.get("error"):
                tail.append(str(vertex["error"]))
        tail += [_log_text(log) for log in entry.get("logs") or ()]
    steps = [digest for digest in ended if _STEP.match(names[digest])]
    # builds that run at the same time share their steps, and each then reports those of the other too
    own = _below(steps[-1], inputs) if steps else set()
    vertexes = tuple(
        Vertex(digest, names[digest], cached[digest], spent[digest], inputs[digest])
        for digest in steps
        if digest in own
    )
    return _Log(vertexes, "".join(tail)[-4000:], "\n".join(stray))


def _below(last: str, inputs: Mapping[str, tuple[str, ...]]) -> set[str]:
    """``last`` and everything that went into it."""
    found: set[str] = set()
    ahead = [last]
    while ahead:
        digest = ahead.pop()
        if digest not in found:
            found.add(digest)
            ahead += inputs.get(digest, ())
    return found


def _log_text(log: Mapping[str, object]) -> str:
    return base64.b64decode(str(log.get("data", ""))).decode("utf-8", "replace")


def _seconds(stamp: str) -> float:
    """Seconds of an RFC 3339 time with up to nine digits of a second."""
    whole, _, rest = stamp.partition(".")
    digits = re.match(r"\d*", rest)
    fraction = float(f"0.{digits[0]}") if digits and digits[0] else 0.0
    return datetime.fromisoformat(whole.rstrip("Z")).timestamp() + fraction


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, found: Mapping[str, File]) -> File:
    if member.issym():
        holds = f"-> {member.linkname}"
    elif member.islnk():
        return found[member.linkname.rstrip("/")]
    elif member.isfile():
        content = archive.extractfile(member)
        assert content is not None
        holds = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
    else:
        holds = "directory" if member.isdir() else "device"
    return File(member.mode, member.uid, member.gid, holds)
