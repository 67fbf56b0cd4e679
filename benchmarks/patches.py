"""What all of coach's patches change for each ecosystem, on a real engine: seconds, sizes, and what still holds.

``python -m benchmarks.patches [PROJECT…]`` from the root of the repository, with a Docker engine that answers and has
buildx. It measures the projects of ``tests/engine/projects``, keeps what it measured in ``patches.json`` beside itself
(so that one project can be measured again by itself), writes the table ``patches.md`` from that, and removes its
images. A cold build has neither layers nor package caches; every other build follows one that was complete. A project
is measured once, with nothing of its own beside it; what else the machine does shows.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.engine import proof
from tests.engine.engine import Build, BuildError, Engine, why_not
from tests.engine.proof import Project, Trial

STORE = Path(__file__).parent / "patches.json"
TABLE = Path(__file__).parent / "patches.md"

HEAD = """\
# Before and after the full patch

Each project of `tests/engine/projects` as it stands, and with all that `coach fix --apply --safety review` writes.
Seconds of wall clock until the image is in the engine's store; a cold build has neither layers nor package caches, a
source change and a lockfile change each follow a complete build. Size is what the engine reports for the image.
*Holds* says for the image after the patch: it **a**nswers the same HTTP request, the application's **f**iles are the
same as before, after a source change every install came from the cache (**k**ept), after a lockfile change one step
that reads it did not (**r**erun). A letter in brackets is one that does not hold.
"""


@dataclass(frozen=True)
class Row:
    """One project: seconds of four builds and megabytes, before and after; ``failed`` says what went wrong."""

    what: str
    fixes: tuple[str, ...] = ()
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    mb: tuple[float, ...] = ()
    holds: Mapping[str, bool] | None = None
    failed: str = ""
    day: str = ""
    where: str = ""


def timed(trial: Trial, folder: Path, tag: str) -> tuple[Build, float]:
    """A build into the engine's store and its seconds. Raises ``BuildError``."""
    started = time.monotonic()
    build = trial.engine.build(
        folder, trial.engine.tag(tag), contexts=proof.stand_ins(trial.engine, trial.project, folder)
    )
    return build, time.monotonic() - started


def builds(trial: Trial, folder: Path) -> tuple[tuple[float, ...], Build, Build]:
    """Seconds of the cold, unchanged, source-change and lockfile-change builds, and the last two builds."""
    project, name = trial.project, f"{trial.project.name}-{folder.name}"
    proof.stand_ins(trial.engine, project, folder)  # made beforehand: no build pays for its base
    _, cold = timed(trial, folder, name)
    trial.images[trial.engine.tag(name)] = trial.engine.tag(name)  # the image to ask later, before any change
    _, unchanged = timed(trial, folder, name)
    project.change_source(folder)
    source, source_seconds = timed(trial, folder, f"{name}-source")
    project.change_lock(folder)
    lock, lock_seconds = timed(trial, folder, f"{name}-lock")
    return (cold, unchanged, source_seconds, lock_seconds), source, lock


def measure(engine: Engine, project: Project, folder: Path) -> Row:
    """Build a project as it stands and patched. Raises ``BuildError``, ``AssertionError``, ``TimeoutExpired``."""
    trial = Trial(engine, project, folder)
    for state in (trial.original, trial.patched):
        proof.apart(state)
    before, _, _ = builds(trial, trial.original)
    after, source, lock = builds(trial, trial.patched)
    answers = [project.says in trial.answer(state) for state in (trial.original, trial.patched)]
    paths = project.same or project.stays
    held = trial.files(trial.patched)
    reruns = project.installs if project.reruns is None else project.reruns
    same = not proof.differing(trial.files(trial.original), held, project.same) and all(
        p in held for p in project.stays
    )
    return Row(
        project.what,
        tuple(sorted(trial.fixed, key=lambda name: int(name[1:]))),
        before,
        after,
        tuple(trial.size(state) / 1e6 for state in (trial.original, trial.patched)),
        {
            "a": all(answers),
            "f": bool(paths) and same,
            "k": all(proof.kept(source, words) for words in project.installs),
            "r": not reruns or not all(proof.kept(lock, words) for words in reruns),
        },
    )


def stored() -> dict[str, Row]:
    """What earlier runs measured, by project."""
    if not STORE.exists():
        return {}
    return {name: Row(**row) for name, row in json.loads(STORE.read_text()).items()}


def written(rows: Mapping[str, Row]) -> None:
    """Keep the rows and write the table."""
    STORE.write_text(json.dumps({name: asdict(rows[name]) for name in sorted(rows)}, indent=1) + "\n")
    lines = [
        HEAD,
        "| Project | Fixes | | Cold | Unchanged | Source change | Lockfile change | Image | Holds |",
        "|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for name in sorted(rows):
        row = rows[name]
        if row.failed:
            lines.append(f"| {name}: {row.what} | | {row.failed} | | | | | | |")
            continue
        holds = " ".join(letter if good else f"({letter})" for letter, good in (row.holds or {}).items())
        for state, seconds, mb in (("before", row.before, row.mb[0]), ("after", row.after, row.mb[1])):
            times = " | ".join(f"{value:.1f} s" for value in seconds)
            first = f"| {name}: {row.what} | {' '.join(row.fixes)}" if state == "before" else "| | "
            lines.append(f"{first} | {state} | {times} | {mb:.0f} MB | {holds if state == 'after' else ''} |")
    places = sorted({f"{row.day}: {row.where}" for row in rows.values()})
    TABLE.write_text("\n".join([*lines, "", "Measured:", "", *(f"- {place}" for place in places), ""]))


def main() -> None:
    """Measure the projects that are asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="PROJECT", help="projects to measure (all by default)")
    names: list[str] = parser.parse_args().names
    reason = why_not()
    if reason:
        raise SystemExit(f"no engine can be asked: {reason}")
    version = Engine().docker("version", "--format", "{{.Server.Version}}")
    where = f"Docker {version}, {platform.machine()}, {os.cpu_count()} CPUs"
    everything = {project.name: project for project in proof.projects()}
    rows = {name: row for name, row in stored().items() if name in everything}
    for name in names or everything:
        project, engine = everything[name], Engine()
        try:
            with tempfile.TemporaryDirectory() as scratch:
                row = measure(engine, project, Path(scratch))
        except (BuildError, AssertionError) as error:
            said = str(error).split("\n")
            row = Row(project.what, failed=f"{said[0][:100]}: {said[-1][:100]}")
        except subprocess.TimeoutExpired as error:
            row = Row(project.what, failed=f"a build took more than {error.timeout:.0f} s")
        finally:
            engine.close()
        day = datetime.datetime.now(datetime.UTC).date().isoformat()
        rows[name] = Row(**{**asdict(row), "day": day, "where": where})
        print(name, rows[name], flush=True)
        written(rows)


if __name__ == "__main__":
    main()
