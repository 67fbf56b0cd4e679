"""What two other tools say of coach's patches for public repositories: BuildKit's own parser and checks, and hadolint.

``python -m benchmarks.public FOLDER…`` from the root of the repository, each folder a clone. Needs a Docker engine that
answers and has buildx; ``hadolint`` is taken from the PATH where it is there. The clones stay as they are: a check
reads a Dockerfile and its ignore file, and only those are written aside. No frontend and no base image is pulled:
``# syntax`` lines are left out, and every image is stood in for by an empty folder. It writes ``public.md`` beside
itself and ends with 1 when a patch does not apply or leaves a Dockerfile worse than it was.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coach.dockerignore import find
from coach.errors import CoachError
from coach.model import Safety, Tree
from coach.project import Project, open_project
from coach.session import Cumulative
from coach.site import Site
from coach.tree import Overlay
from tests.engine.engine import why_not

SECONDS = 120  # for one call of another tool
ROUNDS = 40  # images that are found missing one after another
MISSING = re.compile(r"failed to resolve source metadata for (\S+?):? ")
SYNTAX = re.compile(rb"\A((?:\s*\n)*)[ \t]*#[ \t]*syntax[ \t]*=[^\n]*\n", re.I)

Counts = Counter[str]
"""How often each rule of a tool spoke; what is no rule of it (a file it cannot read) counts as ``error``."""


@dataclass
class Row:
    """One repository. ``fixes`` counts ``(FIX, safety)`` over its Dockerfiles, ``refused`` are patches git refuses."""

    name: str
    commit: str
    dockerfiles: int = 0
    fixes: Counter[tuple[str, str]] = field(default_factory=Counter)
    checks: tuple[Counts, Counts] = field(default_factory=lambda: (Counter(), Counter()))
    lint: tuple[Counts, Counts] | None = None
    refused: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def worse(self) -> dict[str, tuple[int, int]]:
        """Rules that speak more often than before."""
        pairs = [self.checks, *([self.lint] if self.lint else [])]
        return {
            rule: (before[rule], after[rule])
            for before, after in pairs
            for rule in sorted(after)
            if after[rule] > before[rule]
        }


def run(command: Sequence[str], cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """A command of ours in a folder of ours."""
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, timeout=SECONDS, check=False)


def aside(tree: Tree, site: Site, folder: Path) -> None:
    """Write what a check of ``site`` reads: ``folder/Dockerfile`` without its frontend, ``folder/.dockerignore``."""
    ignore = find(tree, site.path, site.context)
    (folder / "Dockerfile").write_bytes(SYNTAX.sub(rb"\1", tree.read(site.path), count=1))
    (folder / ".dockerignore").write_bytes(b"" if ignore is None else ignore.content)


def images(site: Site) -> Iterator[str]:
    """Images outside the file that its stages start from or copy from, as far as their names can be told."""
    for stage in site.dockerfile.stages:
        base = site.graph.image(stage)
        if base and base != "scratch":
            yield base
        for instruction in stage.body:
            if instruction.flag("from") is not None:
                source = site.graph.source(instruction, stage)
                if isinstance(source, str):
                    yield source


def checked(site: Site, folder: Path) -> Counts:
    """What ``docker buildx build --call=check`` says of the Dockerfile in ``folder``."""
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    stand_ins = dict.fromkeys(images(site))
    for _ in range(ROUNDS):
        command = ["docker", "buildx", "build", "--call=check,format=json"]
        command += [word for name in stand_ins for word in ("--build-context", f"{name}={empty}")]
        command += ["--target", site.target] if site.target else []
        done = run([*command, "."], folder)
        try:
            said: Mapping[str, Any] = json.loads(done.stdout)
        except ValueError:
            return Counter({"error": 1})
        failed = str((said.get("buildError") or {}).get("message", ""))
        lacking = MISSING.search(failed + " ")
        if lacking is None or lacking[1] in stand_ins:
            break
        stand_ins |= dict.fromkeys((lacking[1], lacking[1].removeprefix("docker.io/").removeprefix("library/")))
    return Counter([*(str(one["ruleName"]) for one in said.get("warnings") or ()), *(["error"] if failed else [])])


def linted(_: Site, folder: Path) -> Counts:
    """What hadolint, without any configuration, says of the Dockerfile in ``folder``."""
    done = run(["hadolint", "--no-fail", "--format", "json", "Dockerfile"], folder)
    try:
        return Counter("error" if one["code"] == "DL1000" else str(one["code"]) for one in json.loads(done.stdout))
    except ValueError:
        return Counter({"error": 1})


def say(project: Project, tree: Tree, tool: Callable[[Site, Path], Counts]) -> Counts:
    """All that ``tool`` says of the Dockerfiles of ``tree``, each stage that is built for itself."""
    said: Counts = Counter()
    for site in {(site.path, site.context, site.target): site for site in project.found(tree).sites}.values():
        with tempfile.TemporaryDirectory() as scratch:
            aside(tree, site, Path(scratch))
            said += tool(site, Path(scratch))
    return said


def refused(made: Cumulative, root: Path, named: str) -> list[str]:
    """Why git does not take a patch; nothing when it does, or when it is written without being shown (a secret)."""
    if not made.files or made.patch is None:
        return []
    done = run(["git", "apply", "--check", "-"], root, made.patch)
    return [] if done.returncode == 0 else [f"{named}: {done.stderr.decode(errors='replace').strip()}"]


def commit(root: Path) -> str:
    """The commit that is checked out, shortened."""
    return run(["git", "rev-parse", "--short=12", "HEAD"], root).stdout.decode().strip()


def named(root: Path) -> str:
    """``owner/name`` by the clone's origin, else by its folder (``owner+name``)."""
    origin = run(["git", "config", "--get", "remote.origin.url"], root).stdout.decode().strip()
    found = re.search(r"[\w.-]+\.[a-z]+[:/]([\w.-]+/[\w.-]+?)(?:\.git)?$", origin)
    return found[1] if found and "://" in origin + "://" * origin.startswith("git@") else root.name.replace("+", "/")


def examine(root: Path, has_lint: bool) -> Row:
    """Everything about one clone. Raises ``CoachError`` for a folder coach cannot open."""
    row = Row(named(root), commit(root))
    project = open_project(root)
    row.dockerfiles = len({site.path for site in project.found().sites})
    started = time.monotonic()
    made = project.fix(safety=Safety.REVIEW)
    row.seconds = time.monotonic() - started
    for applied in made.applied:
        row.fixes[applied.finding.id, applied.finding.remedy.safety] += 1
    for finding in made.shown:
        row.fixes[finding.id, finding.remedy.safety] += 1
    after = Overlay(project.tree, {path: new for path, (_, new) in made.files.items()})
    row.checks = (say(project, project.tree, checked), say(project, after, checked))
    if has_lint:
        row.lint = (say(project, project.tree, linted), say(project, after, linted))
    row.refused = refused(made, root, "all")
    for fix in sorted({applied.finding.id for applied in made.applied}):
        row.refused += refused(project.fix(safety=Safety.REVIEW, only=(fix,)), root, fix)
    return row


def counts(pair: tuple[Counts, Counts] | None) -> str:
    """``before → after`` in all, with the errors among them."""
    if pair is None:
        return ""
    errors = [f" ({said['error']} unreadable)" if said["error"] else "" for said in pair]
    return " → ".join(f"{said.total() - said['error']}{error}" for said, error in zip(pair, errors, strict=True))


def table(rows: Sequence[Row], where: str) -> str:
    """The rows as Markdown."""
    lines = [
        "# Public repositories",
        "",
        "What coach proposes for public repositories, and what BuildKit's own checks (`docker buildx build --check`)",
        "and hadolint say of their Dockerfiles before and after everything that `coach fix --apply --safety review`",
        "writes. Every patch, in all and each FIX alone, went through `git apply --check`. A FIX counts once for each",
        "place where an image is built; `show` is advice that is never written.",
        "",
        f"{where} Rerun: `python -m benchmarks.public FOLDER…`.",
        "",
        "| Repository | Commit | Dockerfiles | Fixes | Checks | hadolint |",
        "|---|---|---:|---|---:|---:|",
    ]
    for row in rows:
        order = sorted(row.fixes, key=lambda key: (int(key[0][1:]), key[1]))
        fixes = ", ".join(
            f"{fix} {safety}" + (f" ×{row.fixes[fix, safety]}" if row.fixes[fix, safety] > 1 else "")
            for fix, safety in order
        )
        lines.append(
            f"| {row.name} | `{row.commit}` | {row.dockerfiles} | {fixes or 'none'} "
            f"| {counts(row.checks)} | {counts(row.lint)} |"
        )
    lines.append("")
    risen = [
        f"- {row.name}: " + ", ".join(f"{rule} {before} → {after}" for rule, (before, after) in row.worse().items())
        for row in rows
        if row.worse()
    ]
    broken = [f"- {row.name}: {why}" for row in rows for why in row.refused]
    lines += (
        ["Rules that speak more often than before:", "", *risen, ""] if risen else ["No rule speaks more often.", ""]
    )
    lines += ["Patches git does not take:", "", *broken, ""] if broken else ["git takes every patch.", ""]
    return "\n".join(lines)


def main() -> None:
    """Examine the clones that are given and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="clones of public repositories")
    folders: list[Path] = parser.parse_args().folders
    reason = why_not()
    if reason:
        raise SystemExit(f"no engine can be asked: {reason}")
    has_lint = shutil.which("hadolint") is not None
    if not has_lint:
        print("hadolint is not on the PATH: its column stays empty", file=sys.stderr)
    rows = []
    with ProcessPoolExecutor(os.cpu_count(), max_tasks_per_child=1) as pool:
        for folder, found in zip(
            folders, [pool.submit(examine, one.resolve(), has_lint) for one in folders], strict=True
        ):
            try:
                row = found.result()
            except CoachError as error:
                print(f"{folder}: {error}", file=sys.stderr)
                continue
            rows.append(row)
            print(
                f"{row.name}: {row.seconds:.1f} s, checks {counts(row.checks)}, hadolint {counts(row.lint)}", flush=True
            )
            for rule, (before, after) in row.worse().items():
                print(f"  {rule}: {before} → {after}", flush=True)
            for why in row.refused:
                print(f"  {why}", flush=True)
    tools = [
        run(["docker", "buildx", "version"], Path.cwd()),
        run(["docker", "version", "--format", "{{.Server.Version}}"], Path.cwd()),
    ]
    versions = f"Docker {tools[1].stdout.decode().strip()}, buildx {tools[0].stdout.decode().split()[1]}"
    if has_lint:
        versions += f", hadolint {run(['hadolint', '--version'], Path.cwd()).stdout.decode().split()[-1]}"
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = table(rows, f"{len(rows)} repositories, looked at on {day} with {versions}.")
    (Path(__file__).parent / "public.md").write_text(text)
    raise SystemExit(1 if any(row.worse() or row.refused for row in rows) else 0)


if __name__ == "__main__":
    main()
