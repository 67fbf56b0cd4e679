"""What all of coach's patches change for each example, on a real engine: seconds, sizes, and whether it still answers.

``python -m benchmarks.patches`` from the root of the repository, with a Docker engine that answers and has buildx.
It writes ``patches.md`` beside itself and removes its images. A cold build has neither layers nor package caches; every
other build follows one that was complete. An example is measured by itself, once; what else the machine does shows.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coach.model import Safety
from coach.project import open_project
from tests.engine.engine import BuildError, Engine, why_not

ROOT = Path(__file__).parents[1]
# Names that a patch may write, and what takes their place on an engine that does not hold them.
SIBLINGS = {
    "gcr.io/distroless/static-debian13:nonroot": "gcr.io/distroless/static-debian12:nonroot",
    "gcr.io/distroless/static-debian13": "gcr.io/distroless/static-debian12",
}


@dataclass(frozen=True)
class Example:
    """An example, its port, a file that ordinary commits change and one that says what is installed."""

    name: str
    port: int
    source: str
    lock: str
    path: str = "/healthz"


@dataclass(frozen=True)
class Measured:
    """Seconds of four builds, megabytes of the image, and whether a container of it answers over HTTP."""

    cold: float
    unchanged: float
    source: float
    lock: float
    mb: float
    answers: bool


EXAMPLES = (
    Example("node-monorepo", 3000, "packages/api/src/server.ts", "pnpm-lock.yaml"),
    Example("python-api", 8000, "app/main.py", "requirements/constraints.txt"),
    Example("go-service", 8080, "internal/httpapi/httpapi.go", "go.mod"),
)


def changed(path: Path) -> None:
    """Append a comment of its own to a file."""
    mark = "//" if path.suffix in (".ts", ".go", ".mod") else "#"
    path.write_bytes(path.read_bytes() + f"\n{mark} {uuid.uuid4()}\n".encode())


def apart(folder: Path) -> None:
    """Make the first build a cold one: every layer and every cache mount gets a name that no other build has."""
    file, run = folder / "Dockerfile", uuid.uuid4().hex[:8]
    text = re.sub(r"--mount=type=cache,(target=([^\s,]+))", rf"--mount=type=cache,id={run}\2,\1", file.read_text())
    file.write_text(re.sub(r"^(FROM .*)$", rf"\1\nENV COACH_BENCHMARK={run}", text, flags=re.M))


def instead(engine: Engine, folder: Path) -> Mapping[str, str]:
    """Images that stand in for those the Dockerfile names and the engine lacks."""
    words = (folder / "Dockerfile").read_text().split()
    return {name: other for name, other in SIBLINGS.items() if name in words and not engine.has(name)}


def measure(engine: Engine, example: Example, folder: Path) -> Measured:
    """Build ``folder`` four times, start what comes out. Raises ``BuildError``."""
    apart(folder)
    tag = engine.tag(f"bench-{example.name}-{folder.name}")
    contexts = instead(engine, folder)

    def built(name: str = tag) -> float:
        started = time.monotonic()
        engine.build(folder, name, contexts=contexts)
        return time.monotonic() - started

    cold = built()
    unchanged = built()
    mb = int(engine.docker("image", "inspect", "--format", "{{.Size}}", tag)) / 1e6
    try:
        answers = bool(engine.answer(tag, example.port, example.path, 60))
    except AssertionError:
        answers = False
    changed(folder / example.source)
    source = built(engine.tag(f"bench-{example.name}-{folder.name}-source"))
    changed(folder / example.lock)
    lock = built(engine.tag(f"bench-{example.name}-{folder.name}-lock"))
    return Measured(cold, unchanged, source, lock, mb, answers)


def patched(folder: Path) -> None:
    """Write all that ``coach fix --apply --safety review`` would."""
    for path, (_, after) in open_project(folder).fix(safety=Safety.REVIEW).files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(after)


def table(rows: Sequence[tuple[str, str, Measured | str]], where: str) -> str:
    """The measurements as Markdown."""
    lines = [
        "# Before and after the full patch",
        "",
        "Each example as it stands, and with all that `coach fix --apply --safety review` writes. Seconds of wall",
        "clock until the image is in the engine's store; a cold build has neither layers nor package caches, a source",
        "change and a lockfile change each follow a complete build. Size is what the engine reports for the image.",
        "",
        f"{where} Rerun: `python -m benchmarks.patches`.",
        "",
        "| Example | | Cold | Unchanged | Source change | Lockfile change | Image | Answers |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, state, row in rows:
        if isinstance(row, str):
            lines.append(f"| {name} | {state} | {row} | | | | | no |")
            continue
        seconds = " | ".join(f"{value:.1f} s" for value in (row.cold, row.unchanged, row.source, row.lock))
        lines.append(f"| {name} | {state} | {seconds} | {row.mb:.0f} MB | {'yes' if row.answers else 'no'} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure the examples that are asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="EXAMPLE", help="examples to measure (all by default)")
    names: list[str] = parser.parse_args().names
    reason = why_not()
    if reason:
        raise SystemExit(f"no engine can be asked: {reason}")
    engine = Engine()
    rows: list[tuple[str, str, Measured | str]] = []
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for example in EXAMPLES:
                if names and example.name not in names:
                    continue
                for state in ("before", "after"):
                    folder = Path(scratch) / example.name / state
                    shutil.copytree(ROOT / "examples" / example.name, folder)
                    if state == "after":
                        patched(folder)
                    try:
                        row: Measured | str = measure(engine, example, folder)
                    except BuildError as error:
                        row = f"does not build: {str(error).splitlines()[0]}"
                    except subprocess.TimeoutExpired as error:
                        row = f"a build took more than {error.timeout:.0f} s"
                    rows.append((example.name, state, row))
                    print(example.name, state, row, flush=True)
        version = engine.docker("version", "--format", "{{.Server.Version}}")
    finally:
        engine.close()
    load = f", with a load of {os.getloadavg()[0]:.0f} at the end" if hasattr(os, "getloadavg") else ""
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    where = f"Measured on {day}: Docker {version}, {platform.machine()}, {os.cpu_count()} CPUs{load}."
    (Path(__file__).parent / "patches.md").write_text(table(rows, where))


if __name__ == "__main__":
    main()
