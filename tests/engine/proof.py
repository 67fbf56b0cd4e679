"""Projects that prove the patches: each built as it stands and with everything that coach writes into it.

A project is a folder of ``projects``. Its ``project.toml`` says what to build and what has to hold afterwards; the
files are in ``repo``, or in an example that it names, with a ``Dockerfile`` beside ``project.toml`` in the place of the
example's own. Files under ``lock-change`` are what a commit that changes a dependency puts in.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from coach import edits
from coach.model import Safety
from coach.project import open_project
from tests.engine.engine import Build, Engine, File

ROOT = Path(__file__).parents[2]
PROJECTS = Path(__file__).parent / "projects"
IMAGES = Path(__file__).parent / "images"

_FROM = re.compile(r"^(FROM[ \t].*)$", re.MULTILINE | re.IGNORECASE)
_MOUNT = re.compile(r"--mount=(\S*type=cache\S*)")
_COMMENT = {
    **dict.fromkeys((".ts", ".tsx", ".js", ".mjs", ".cjs", ".go", ".rs", ".java", ".c", ".cpp", ".php", ".mod"), "//"),
    **dict.fromkeys((".gradle", ".kts", ".cs", ".scala", ".swift"), "//"),
    **dict.fromkeys((".py", ".rb", ".ex", ".exs", ".txt", ".lock", ".toml", ".yaml", ".yml"), "#"),
}


class SpecError(ValueError):
    """A ``project.toml`` that cannot be followed."""


@dataclass(frozen=True)
class Project:
    """A project with a ``Dockerfile`` at its root that makes an image with a server in it.

    ``says`` is part of the answer to ``GET path`` on ``port``. ``source`` is a file that ordinary commits change;
    ``installs`` are words of the patched steps that such a commit must not rerun, ``reruns`` of those of which a change
    of ``lock`` must rerun one (default: the same). ``gone`` are paths of the patched image (and what is below them)
    that it must not hold, ``stays`` such that it must, ``same`` such that are, with all that is below them, the same
    in both images. ``images`` maps images that the file or the patch names to stand-ins: files of ``images`` without
    ``.Dockerfile``, or images that the engine holds. ``fixes`` are ids of fixes that the patch must consist of among
    others. ``comment`` begins a comment of ``source`` where the name of the file does not tell.
    """

    name: str
    folder: Path
    what: str
    port: int
    says: str
    source: str
    installs: tuple[str, ...]
    path: str = "/"
    lock: str = ""
    gone: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    reruns: tuple[str, ...] | None = None
    smaller: bool = True
    example: str = ""
    comment: str = ""
    images: Mapping[str, str] = field(default_factory=dict)

    def prepare(self, target: Path) -> None:
        """Put the project as it stands into ``target``, which must not exist yet."""
        shutil.copytree(ROOT / "examples" / self.example if self.example else self.folder / "repo", target)
        own = self.folder / "Dockerfile"
        if self.example and own.exists():
            (target / ".dockerignore").unlink(missing_ok=True)
            shutil.copy(own, target / "Dockerfile")

    def change_source(self, folder: Path) -> None:
        """What an ordinary commit does: a comment nobody wrote before in one source file."""
        _append(folder / self.source, self.comment)

    def change_lock(self, folder: Path) -> None:
        """What a commit does that changes a dependency; without ``lock-change``, a byte more in the lockfile."""
        other = self.folder / "lock-change"
        if other.exists():
            shutil.copytree(other, folder, dirs_exist_ok=True)
        else:
            _append(folder / self.lock)


def _append(path: Path, comment: str = "") -> None:
    content = path.read_bytes()
    # JSON knows no comments, whatever the file is called
    mark = "" if content.startswith(b"{") else comment or _COMMENT.get(path.suffix, "")
    path.write_bytes(content + (f"\n{mark} {uuid.uuid4()}\n" if mark else "\n").encode())


def load(folder: Path) -> Project:
    """The project of a folder. Raises ``SpecError``."""
    table: dict[str, Any] = tomllib.loads((folder / "project.toml").read_text())
    lists = ("installs", "gone", "stays", "same", "fixes", "reruns")
    values: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in table.items()}
    try:
        project = Project(name=folder.name, folder=folder, **values)
    except TypeError as error:
        raise SpecError(f"{folder.name}/project.toml: {error}") from error
    if not project.lock and not (folder / "lock-change").is_dir():
        raise SpecError(f"{folder.name}/project.toml: neither lock nor lock-change/ says how a dependency changes")
    return project


def projects() -> tuple[Project, ...]:
    """Every project, by name."""
    return tuple(load(path.parent) for path in sorted(PROJECTS.glob("*/project.toml")))


def patch(folder: Path) -> frozenset[str]:
    """Apply what ``coach fix --diff --safety review`` prints for a folder, with git. Returns the ids of its fixes."""
    done = open_project(folder).fix(safety=Safety.REVIEW)
    before = {path: content for path, (content, _) in done.files.items()}
    text = edits.diff(before, {path: content for path, (_, content) in done.files.items()})
    assert text is not None, "a patch that git apply cannot take"
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    subprocess.run(["git", "apply", "-"], cwd=folder, check=True, input=text)
    shutil.rmtree(folder / ".git")
    return frozenset(applied.finding.id for applied in done.applied)


def apart(folder: Path) -> None:
    """Make the first build of a folder a cold one: it shares no layer and no cache mount with any other build."""
    file, run = folder / "Dockerfile", uuid.uuid4().hex[:8]

    def own(found: re.Match[str]) -> str:
        options = found[1].split(",")
        target = next(option.partition("=")[2] for option in options if re.match(r"target=|dst=|destination=", option))
        name = next((option[3:] for option in options if option.startswith("id=")), target)
        rest = [option for option in options if not option.startswith("id=")]
        return f"--mount={','.join([*rest, f'id={run}-{name}'])}"

    text = _MOUNT.sub(own, file.read_text())
    file.write_text(_FROM.sub(rf"\1\nENV COACH_RUN={run}", text))


@dataclass
class Trial:
    """One project as it is and with the full patch; each image is built once, when first asked for."""

    engine: Engine
    project: Project
    folder: Path
    images: dict[str, str] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()

    @cached_property
    def original(self) -> Path:
        made = self.folder / "original"
        self.project.prepare(made)
        return made

    @cached_property
    def patched(self) -> Path:
        made = self.folder / "patched"
        shutil.copytree(self.original, made)
        self.fixed = patch(made)
        assert self.fixed >= set(self.project.fixes), self.fixed
        return made

    def build(self, folder: Path, tag: str | None = None) -> Build:
        """Build a folder. Raises ``BuildError``."""
        return self.engine.build(folder, tag, contexts=stand_ins(self.engine, self.project, folder))

    def image(self, folder: Path) -> str:
        """The image of a folder."""
        tag = self.engine.tag(f"{self.project.name}-{folder.name}")
        if tag not in self.images:
            self.build(folder, tag)
            self.images[tag] = tag
        return tag

    def files(self, folder: Path) -> dict[str, File]:
        """What the image of a folder holds."""
        return self.engine.files(self.image(folder))

    def size(self, folder: Path) -> int:
        """Bytes of a folder's image as the engine reports them."""
        return int(self.engine.docker("image", "inspect", "--format", "{{.Size}}", self.image(folder)))

    def answer(self, folder: Path, seconds: float = 60) -> str:
        """What a container of a folder's image answers. Raises ``AssertionError``."""
        return self.engine.answer(self.image(folder), self.project.port, self.project.path, seconds)

    def rebuilt(self, folder: Path, name: str, *, lock: bool = False) -> Build:
        """The build after a commit on top of a folder that is built already."""
        self.image(folder)
        changed = self.folder / name
        shutil.copytree(folder, changed)
        (self.project.change_lock if lock else self.project.change_source)(changed)
        return self.build(changed)


def kept(build: Build, words: str) -> bool:
    """Whether all steps whose names hold ``words`` came out of the cache. Raises ``AssertionError`` where none does."""
    found = [step for step in build.steps if words in step.name]
    assert found, (words, [step.name for step in build.steps])
    return all(step.cached for step in found)


def differing(before: Mapping[str, File], after: Mapping[str, File], paths: tuple[str, ...]) -> list[str]:
    """Paths at or below ``paths`` that are not the same content in both images; those in neither are told too."""
    found = []
    for path in paths:
        held = {name for files in (before, after) for name in files if name == path or name.startswith(f"{path}/")}
        if not held:
            found.append(path)
        for name in held:
            one, other = before.get(name), after.get(name)
            if one is None or other is None or one.holds != other.holds:
                found.append(name)
    return sorted(found)


def stand_ins(engine: Engine, project: Project, folder: Path) -> dict[str, str]:
    """Images in the place of those that a folder's ``Dockerfile`` names and the engine lacks, made when needed."""
    text = (folder / "Dockerfile").read_text()
    words = set(text.replace("--from=", " ").split())
    found = engine.siblings(text)
    for name, other in project.images.items():
        if name in words and not engine.has(name):
            found[name] = _made(engine, other) if (IMAGES / f"{other}.Dockerfile").exists() else other
    return found


def _made(engine: Engine, name: str) -> str:
    """A stand-in built from ``images``; it stays in the engine, as base images do."""
    file = IMAGES / f"{name}.Dockerfile"
    tag = f"coach-stand-in/{name}:latest"
    if not engine.has(tag):
        subprocess.run(
            [
                "docker",
                "buildx",
                "build",
                "--quiet",
                "--provenance=false",
                "--tag",
                tag,
                "--file",
                str(file),
                str(IMAGES),
            ],
            check=True,
            capture_output=True,
            timeout=540,
        )
    return tag
