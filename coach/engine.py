"""The engine room: the only place that runs ``docker`` and keeps a scratch copy of the user's files.

A ``Workshop`` builds in copies of its own below the system's temporary folder, under tags, labels and a build scope
that hold its unique name, with a client configuration of its own. Leaving it removes its containers, images, build
records and folders, whatever happened inside. What stays are cache records of the builder, which only a prune of the
whole cache could take away: they are keyed by the workshop's own scope, so no other build reads them, and the
builder's garbage collection drops them. ``BUILDKIT_SANDBOX_HOSTNAME`` keeps the scope's layers, and
``BUILDKIT_CACHE_MOUNT_NS`` its cache mounts, apart from the user's (docs.docker.com/reference/dockerfile, "BuildKit
built-in build args", read 2026-11).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO

from coach import redact
from coach.errors import CoachError, UsageError
from coach.measured import Build, File, Image, Start
from coach.rawlog import RawLog

_ASK_SECONDS = 30
_LEAVE_SECONDS = 15
_PORTS_TRIED = 1
_ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_LABEL = "coach.workshop"
_KEPT_CONFIG = ("current", "instances", "defaults")


class EngineError(CoachError):
    """No engine answers, or it refuses what coach asks of it."""


class BuildFailedError(CoachError):
    """A build that ended badly. ``tail`` holds the last lines of its log, fit to be shown."""

    def __init__(self, says: str, tail: tuple[str, ...] = (), *, no_frontend: bool = False) -> None:
        super().__init__(says)
        self.tail = tail
        self.no_frontend = no_frontend


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build: paths are relative to the folder that is built, "" being the folder itself."""

    dockerfile: str
    context: str = ""
    target: str | None = None
    args: Mapping[str, str] | None = None
    secrets: tuple[str, ...] = ()


def why_not() -> str:
    """Why no engine can be asked, in one sentence; "" when one answers and builds with BuildKit's raw progress."""
    if shutil.which("docker") is None:
        return "no engine: there is no docker command on this machine"
    try:
        version = _run(["docker", "version", "--format", "{{.Server.Version}}"])
        if version.returncode != 0:
            return f"no engine: {_last_line(version) or 'docker version fails'}"
        buildx = _run(["docker", "buildx", "version"])
    except subprocess.TimeoutExpired:
        return f"no engine: docker did not answer within {_ASK_SECONDS} seconds"
    if buildx.returncode != 0 or "buildx" not in buildx.stdout:
        return "no engine that can be measured: docker has no buildx plug-in (0.13 or newer)"
    return ""


def _run(
    words: Sequence[str], timeout: float = _ASK_SECONDS, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - fixed programs, no shell
        list(words),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
        env=dict(env) if env is not None else None,
        # an interrupt at the terminal is ours to handle: these must end in order
        start_new_session=True,
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    said = (done.stderr or done.stdout).strip().splitlines()
    return redact.shown(said[-1]) if said else ""


class Workshop:
    """A place to build in. Use it as a context manager; ``progress`` is told what is going on, a word at a time.

    ``timeout`` bounds one build, in seconds. SIGTERM and SIGHUP leave it as an interrupt does: clean.
    """

    def __init__(
        self, progress: Callable[[str], None] = lambda _: None, timeout: float = 900, *, keep: bool = False
    ) -> None:
        self.name = f"coach-{os.getpid()}-{secrets.token_hex(4)}"
        self.progress = progress
        self.timeout = timeout
        self.keep = keep
        self.folder = Path()
        self._numbers = iter(range(1_000_000))
        self._env: dict[str, str] = {}
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Workshop:
        for number in _ENDS:
            with suppress(ValueError):  # only the main thread may
                self._handlers[number] = signal.signal(number, _interrupt)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self._env = {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDX_CONFIG": str(self._client())}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _undisturbed():
            try:
                self._sweep()
            finally:
                for number, handler in self._handlers.items():
                    signal.signal(number, handler)  # type: ignore[arg-type]

    def _client(self) -> Path:
        """A buildx configuration of our own that knows the user's builders: records and activity stay out of theirs."""
        here = os.environ.get("DOCKER_CONFIG")
        given = os.environ.get("BUILDX_CONFIG")
        theirs = Path(given) if given else (Path(here) if here else Path.home() / ".docker") / "buildx"
        ours = self.folder / "client"
        ours.mkdir()
        for name in _KEPT_CONFIG:
            with suppress(OSError):
                if (theirs / name).is_dir():
                    shutil.copytree(theirs / name, ours / name)
                elif (theirs / name).is_file():
                    shutil.copyfile(theirs / name, ours / name)
        return ours

    # -- the scratch copy

    def copy(
        self, name: str, root: Path, paths: Iterable[str], changes: Mapping[str, bytes], limit: int | None = None
    ) -> Path:
        """``paths`` of ``root`` in a new folder, with ``changes`` on top; a folder brings nothing but itself.

        Modes, times and symlinks are kept. Raises ``UsageError`` when more than ``limit`` bytes would be copied.
        """
        made = self.folder / f"{self.name}-{name}"
        made.mkdir()
        room = _Room(limit)
        for path in paths:
            _copy_one(root / path, made / path, room)
        for path, content in changes.items():
            full = made / path
            full.parent.mkdir(parents=True, exist_ok=True)
            self.write(full, content)
        return made

    def write(self, full: Path, content: bytes) -> None:
        """Put ``content`` into a file of a scratch copy; its mode is kept, its time is now."""
        if full.is_symlink():
            full = Path(os.path.realpath(full))
        if not full.resolve().is_relative_to(self.folder.resolve()):
            raise UsageError("a change leads out of the scratch copy", full.name)
        mode = stat.S_IMODE(full.stat().st_mode) if full.exists() else 0o644
        full.unlink(missing_ok=True)
        full.write_bytes(content)
        full.chmod(mode)

    def read(self, full: Path) -> bytes:
        """Content of a file of a scratch copy."""
        return full.read_bytes()

    def drop(self, folder: Path) -> None:
        """Remove one scratch copy before the end."""
        if not self.keep:
            _remove(folder)

    def patched(self, root: Path, patch: bytes, names: Sequence[str]) -> dict[str, bytes]:
        """What the files ``names`` hold after ``git apply`` of ``patch``; nothing of ``root`` is written.

        Raises ``UsageError`` when the patch does not apply.
        """
        made = self.folder / "patch"
        made.mkdir()
        for name in names:
            source = root / name
            if source.is_file() and Path(os.path.realpath(source)).is_relative_to(os.path.realpath(root)):
                _copy_one(source, made / name, _Room(None))
        (self.folder / "given.patch").write_bytes(patch)
        words = ["git", "-C", str(made), "apply", "--whitespace=nowarn", str(self.folder / "given.patch")]
        # outside any repository, git apply takes the paths as they are
        done = _run(words, env={**os.environ, "GIT_CEILING_DIRECTORIES": str(self.folder), "GIT_DIR": "nowhere"})
        if done.returncode != 0:
            raise UsageError(f"the patch does not apply: {_last_line(done)}")
        found = {name: (made / name).read_bytes() for name in names if (made / name).is_file()}
        gone = [name for name in names if name not in found]
        _remove(made)
        if gone:
            raise UsageError("a patch that deletes a file cannot be measured", gone[0])
        return found

    # -- builds

    def build(self, folder: Path, recipe: Recipe, scope: str, *, cold: bool = False, tag: str | None = None) -> Build:
        """Build a scratch copy; an image is made only for ``tag``. ``scope`` tells the caches of copies apart.

        Raises ``BuildFailedError``; ``EngineError`` when buildx does not understand what it is asked.
        """
        words = ["docker", "buildx", "build", "--progress=rawjson", "--provenance=false"]
        words += [f"--file={folder / recipe.dockerfile}"]
        words += [f"--target={recipe.target}"] if recipe.target else []
        words += ["--no-cache"] if cold else []
        words += ["--load", f"--tag={tag}"] if tag else ["--output=type=cacheonly"]
        arguments = {
            **(recipe.args or {}),
            "BUILDKIT_SANDBOX_HOSTNAME": f"{self.name}-{scope}",
            "BUILDKIT_CACHE_MOUNT_NS": f"{self.name}-{scope}",
        }
        for name, value in arguments.items():
            words += ["--build-arg", f"{name}={value}"]
        for given in recipe.secrets:
            words += ["--secret", given]
        log, code, seconds = self._watch([*words, str(folder / recipe.context)], cwd=folder)
        if code == 0:
            return Build(log.steps, seconds, log.context_bytes)
        if any("unknown flag: --progress" in line or "rawjson" in line for line in log.tail):
            raise EngineError("docker buildx 0.13 or newer is needed: this one knows no --progress=rawjson")
        if code is None:
            raise BuildFailedError(f"the build took longer than {self.timeout:.0f} seconds", log.tail)
        where = f" at {log.failed_at}" if log.failed_at else ""
        raise BuildFailedError(f"the build fails{redact.shown(where)}", log.tail, no_frontend=log.no_frontend)

    def _watch(self, words: Sequence[str], cwd: Path) -> tuple[RawLog, int | None, float]:
        """Run a build, tell its progress. The exit code is ``None`` after a timeout."""
        log, late, began = RawLog(), threading.Event(), time.monotonic()
        with subprocess.Popen(  # noqa: S603 - fixed program, no shell
            list(words),
            cwd=cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as build:
            clock = threading.Timer(self.timeout, _too_late, (build, late))
            clock.daemon = True
            clock.start()
            try:
                assert build.stderr is not None
                shown = ""
                for line in build.stderr:
                    log.line(line)
                    if log.started != shown:
                        shown = log.started
                        self.progress(redact.shown(shown, 100))
                build.wait()
            except BaseException:
                _leave(build)
                raise
            finally:
                clock.cancel()
        return log, None if late.is_set() else build.returncode, time.monotonic() - began

    def tag(self, name: str) -> str:
        """A name for an image that only this workshop uses."""
        return f"{self.name}:{name}"

    # -- images and containers

    def image(self, name: str, *, files: bool = True) -> Image:
        """What an image is and holds. Raises ``EngineError`` when there is none of that name; nothing is pulled."""
        found = json.loads(self._docker("image", "inspect", name))[0]
        config = found.get("Config") or {}
        history = self._docker("history", "--human=false", "--no-trunc", "--format", "{{json .}}", name)
        layers = [json.loads(line) for line in history.splitlines() if line.strip()]
        ports = [port.split("/")[0] for port in sorted(config.get("ExposedPorts") or {}) if not port.endswith("/udp")]
        return Image(
            name,
            sum(_number(layer.get("Size")) for layer in layers),
            str(config.get("User") or ""),
            tuple(config.get("Env") or ()),
            tuple(str(layer.get("CreatedBy", "")) for layer in layers),
            tuple(int(port) for port in ports if port.isdigit()),
            (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())),
            str(config.get("WorkingDir") or "/"),
            f"{found.get('Os', '')}/{found.get('Architecture', '')}",
            self._files(name) if files else {},
        )

    def platforms(self, name: str) -> tuple[str, ...] | None:
        """Platforms of an image's index in its registry; ``None`` when none can be read there."""
        words = ["docker", "buildx", "imagetools", "inspect", "--raw", name]
        try:
            done = _run(words, env=self._env)
            listed = json.loads(done.stdout).get("manifests") if done.returncode == 0 else None
            found = [entry.get("platform") or {} for entry in listed or ()]
        except (subprocess.TimeoutExpired, ValueError, AttributeError):
            return None
        known = dict.fromkeys(f"{one.get('os')}/{one.get('architecture')}" for one in found)
        return tuple(name for name in known if not name.startswith("unknown")) or None

    def _files(self, image: str) -> dict[str, File]:
        self.progress("reading the image's files")
        # an image without a command needs one to make a container of it; it is never run
        container = self._docker("create", "--label", f"{_LABEL}={self.name}", image, "/nothing").strip()
        found: dict[str, File] = {}
        with subprocess.Popen(  # noqa: S603 - fixed program, no shell
            ["docker", "export", container],  # noqa: S607
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as export:
            assert export.stdout is not None
            try:
                with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                    for member in archive:
                        found[member.name.rstrip("/").removeprefix("./")] = _file(archive, member, found)
            except tarfile.TarError as error:
                raise EngineError(f"the image's files cannot be read: {error}") from None
            except BaseException:
                export.kill()
                raise
        self._docker("rm", "--force", container)
        return found

    def start(self, image: Image, seconds: float = 5) -> Start:
        """Start a container with the image's own command and watch it for ``seconds``, longer for a slow answer."""
        self.progress("starting a container")
        words = ["run", "--detach", "--label", f"{_LABEL}={self.name}"]
        ports = image.ports[:_PORTS_TRIED]
        for port in ports:
            words += ["--publish", f"127.0.0.1::{port}"]
        try:
            container = self._docker(*words, image.name).strip().splitlines()[-1]
        except EngineError as error:
            return Start("refused", says=error.says)
        http_status: int | None = None
        began = time.monotonic()
        while True:
            state = json.loads(self._docker("inspect", "--format", "{{json .State}}", container))
            gone = time.monotonic() - began
            if not state.get("Running"):
                break
            if ports and http_status is None:
                http_status = self._answer(container, ports[0])
            if gone >= seconds and (not ports or http_status is not None or gone >= 3 * seconds):
                break
            time.sleep(0.25)
        running = bool(state.get("Running"))
        done = _run(["docker", "logs", "--tail", "5", container])
        said = redact.shown(" / ".join((done.stdout + done.stderr).split("\n")).strip(" /"))
        self._docker("rm", "--force", "--volumes", container)
        if running:
            return Start("running", None, http_status, said)
        return Start("exited", int(state.get("ExitCode", -1)), http_status, said)

    def _answer(self, container: str, port: int) -> int | None:
        done = _run(["docker", "port", container, str(port)])
        where = done.stdout.strip().splitlines()
        if done.returncode != 0 or not where:
            return None
        connection = http.client.HTTPConnection("127.0.0.1", int(where[0].rsplit(":", 1)[-1]), timeout=3)
        try:
            connection.request("GET", "/", headers={"Host": "localhost", "User-Agent": "coach"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _docker(self, *words: str, timeout: float = 300) -> str:
        try:
            done = _run(["docker", *words], timeout, self._env)
        except subprocess.TimeoutExpired:
            raise EngineError(f"docker {words[0]} did not answer within {timeout:.0f} seconds") from None
        if done.returncode != 0:
            raise EngineError(f"docker {words[0]}: {_last_line(done)}")
        return done.stdout

    # -- leaving

    def _sweep(self) -> None:
        """Remove all that carries this workshop's name, each thing by itself, so that one failure hides no other."""
        if self.folder != Path():
            for container in self._listed("ps", "--all", "--quiet", "--filter", f"label={_LABEL}={self.name}"):
                self._try("rm", "--force", "--volumes", container)
            if not self.keep:
                # a build that was just stopped may still hand in its image
                for pause in (0.0, 0.3):
                    time.sleep(pause)
                    for tag in self._listed("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", self.name):
                        self._try("image", "rm", "--force", tag)
                for record in self._records():
                    self._try("buildx", "history", "rm", record)
                _remove(self.folder)
            else:
                _remove(self.folder / "client")

    def _records(self) -> list[str]:
        """The builder's records of our builds: their names begin with the scratch folder's."""
        found = []
        for line in self._listed("buildx", "history", "ls", "--format", "{{json .}}"):
            with suppress(ValueError, AttributeError):
                entry = json.loads(line)
                if str(entry.get("name", "")).startswith(self.name):
                    found.append(str(entry.get("ref", "")).rsplit("/", 1)[-1])
        return [ref for ref in found if ref]

    def _listed(self, *words: str) -> list[str]:
        try:
            done = _run(["docker", *words], env=self._env)
        except (OSError, subprocess.TimeoutExpired):
            return []
        return done.stdout.split("\n")[:-1] if done.returncode == 0 else []

    def _try(self, *words: str) -> None:
        with suppress(OSError, subprocess.TimeoutExpired):
            _run(["docker", *words], 120, self._env)


@dataclass
class _Room:
    """How many bytes may still be copied."""

    limit: int | None
    used: int = 0

    def take(self, size: int) -> None:
        self.used += size
        if self.limit is not None and self.used > self.limit:
            raise UsageError(
                f"the scratch copy would hold more than {self.limit // 1_000_000} MB; --size-limit MB allows more, "
                "an ignore file would need less"
            )


def _copy_one(source: Path, made: Path, room: _Room) -> None:
    try:
        status = source.lstat()
    except OSError:
        return
    made.parent.mkdir(parents=True, exist_ok=True)
    try:
        if stat.S_ISLNK(status.st_mode):
            if not made.is_symlink():
                made.symlink_to(source.readlink())
        elif stat.S_ISREG(status.st_mode):
            room.take(status.st_size)
            shutil.copy2(source, made, follow_symlinks=False)
        elif stat.S_ISDIR(status.st_mode):
            made.mkdir(exist_ok=True)
            made.chmod(stat.S_IMODE(status.st_mode) | 0o700)
    except OSError as error:
        raise EngineError(f"cannot be copied: {error.strerror}", source.name) from None


def whole(root: Path, folder: str) -> Iterator[str]:
    """Every path below ``folder`` of ``root``, folders first, symlinks not followed."""
    for here, folders, files in os.walk(root / folder):
        lead = Path(here).relative_to(root)
        for name in (*folders, *files):
            yield (lead / name).as_posix()


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, found: Mapping[str, File]) -> File:
    if member.issym():
        holds = f"-> {member.linkname}"
    elif member.islnk():
        linked = found.get(member.linkname.rstrip("/").removeprefix("./"))
        return linked if linked is not None else File(member.mode, member.uid, member.gid, "link")
    elif member.isfile():
        content = archive.extractfile(member)
        assert content is not None
        return File(member.mode, member.uid, member.gid, _digest(content), member.size)
    else:
        holds = "directory" if member.isdir() else "device"
    return File(member.mode, member.uid, member.gid, holds)


def _digest(content: IO[bytes]) -> str:
    found = hashlib.sha256()
    while part := content.read(1 << 20):
        found.update(part)
    return found.hexdigest()


def _number(value: object) -> int:
    text = str(value)
    return int(text) if text.isdigit() else 0


def _remove(folder: Path) -> None:
    """Remove a folder of ours; what may not be entered is opened first."""

    def open_up(_: object, path: str, __: object) -> None:
        with suppress(OSError):
            Path(path).parent.chmod(0o700)
            Path(path).chmod(0o700)
            Path(path).rmdir() if Path(path).is_dir() else Path(path).unlink()

    shutil.rmtree(folder, onerror=open_up)
    shutil.rmtree(folder, ignore_errors=True)


def _too_late(build: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    _leave(build)


def _leave(build: subprocess.Popen[str]) -> None:
    """End a build in order: buildx cancels it on the engine when it is interrupted."""
    for how in (signal.SIGINT, signal.SIGKILL):
        with suppress(OSError):
            os.killpg(build.pid, how)
        try:
            build.wait(_LEAVE_SECONDS)
            return
        except subprocess.TimeoutExpired:
            continue


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No signal stops what is done inside; the tidying takes a few seconds."""
    held: dict[int, object] = {}
    for number in (signal.SIGINT, *_ENDS):
        with suppress(ValueError):
            held[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
