"""Builds a history on a real engine and compares every vertex with what the replay says.

Vertices are matched by their place in the graph (the digests of rawjson and their inputs), so that vertices which
the engine merges, because two stages hold the same steps, are matched as one.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path
from typing import Any

from coach.replay.cache import Outcome, Policy
from coach.replay.commits import Commit, MemoryHistory, Node, changes
from coach.replay.plan import Plan, Vertex
from coach.replay.simulate import Arguments, AsItWas, simulate

File = tuple[str, bytes]
"""Git's mode and content; for a symlink, its target."""
Snapshot = Mapping[str, File]

NOT_RUN = "cached"
RAN = "ran"


def as_history(snapshots: Sequence[Snapshot]) -> MemoryHistory:
    """Snapshots as a history of commits."""
    blobs: dict[str, bytes] = {}
    commits: list[Commit] = []
    before: dict[str, Node] = {}
    for number, snapshot in enumerate(snapshots):
        after = {}
        for path, (mode, content) in snapshot.items():
            name = sha1(content).hexdigest()
            blobs[name] = content
            after[path] = Node(mode, name)
        commits.append(Commit(f"c{number}", changes(before, after)))
        before = after
    return MemoryHistory(commits, blobs)


def write(folder: Path, before: Snapshot, after: Snapshot, dice: random.Random) -> None:
    """Bring ``folder`` from one snapshot to the next. Every touched file gets a modification time of its own."""
    for path in before:
        if path not in after:
            (folder / path).unlink()
            for above in (folder / path).parents:
                if above == folder or any(above.iterdir()):
                    break
                above.rmdir()
    for path, (mode, content) in after.items():
        if before.get(path) == (mode, content):
            continue
        full = folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        if full.is_symlink() or full.exists():
            full.unlink()
        if mode == "120000":
            full.symlink_to(content.decode())
            continue
        full.write_bytes(content)
        full.chmod(0o755 if mode == "100755" else 0o644)
        stamp = dice.randrange(10**9, 17 * 10**8)
        os.utime(full, (stamp, stamp))


def build(
    folder: Path, dockerfile: str, *, context: str = ".", words: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], str]:
    """The engine's vertices, and the error when it failed ("" otherwise)."""
    docker = shutil.which("docker")
    assert docker is not None
    called = [docker, "buildx", "build", "--progress=rawjson", "--output=type=cacheonly", *words]
    done = subprocess.run(
        [*called, "-f", str(folder / dockerfile), str(folder / context)],
        capture_output=True,
        check=False,
    )
    found: dict[str, dict[str, Any]] = {}
    for line in done.stderr.splitlines():
        if not line.startswith(b"{"):
            continue
        for vertex in json.loads(line).get("vertexes") or ():
            known = found.setdefault(vertex["digest"], {"cached": False})
            known.update({name: value for name, value in vertex.items() if value})
    error = "" if done.returncode == 0 else done.stderr.decode("utf-8", "replace")[-600:]
    return list(found.values()), error


_NAME = re.compile(r"\[(?:[a-z0-9]+/[a-z0-9/>-]+ )?(?:(\S+) )?\s*\d+/\d+\] (.*)", re.S)


def _shown(vertex: Vertex) -> str:
    made = vertex.instruction
    assert made is not None
    flags = [f"--{flag.name}" + ("" if flag.value is None else f"={flag.value}") for flag in made.flags]
    return " ".join(" ".join([made.name, *flags, made.value]).split())


def _same(shown: str, text: str) -> bool:
    text = " ".join(text.split())
    # a heredoc's first line stands in brackets behind it
    return shown == text or (text.startswith(shown) and text[len(shown) :].lstrip().startswith("("))


def match(plan: Plan, vertices: Sequence[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Our vertices, by number, to those of the engine."""
    found: dict[int, Mapping[str, Any]] = {}
    named = [(vertex, _NAME.match(vertex["name"])) for vertex in vertices]
    for index, mine in enumerate(plan.vertices):
        parent = None if mine.parent is None else found.get(mine.parent)
        if mine.kind == "merge":
            copied = found.get(mine.inputs[0].vertex or 0)
            fits = [
                v
                for v in vertices
                if copied is not None
                and copied["digest"] in v.get("inputs", ())
                and parent is not None
                and parent["digest"] in v["inputs"]
            ]
            if fits:
                found[index] = fits[0]
            continue
        if mine.kind == "from":
            labels = {mine.stage.name, f"stage-{mine.stage.index}", None}
            fits = [v for v, name in named if name and name[2].startswith("FROM ") and name[1] in labels]
            fits = fits or [v for v, name in named if name and name[2].startswith("FROM ")]
            if fits:
                found[index] = fits[0]
            continue
        shown = _shown(mine)
        fits = [
            v
            for v, name in named
            if name and _same(shown, name[2]) and (parent is None or parent["digest"] in v.get("inputs", ()))
        ]
        if not fits:
            labels = {mine.stage.name, f"stage-{mine.stage.index}", None}
            keyword = shown.split()[0]
            fits = [
                v
                for v, name in named
                if name
                and name[2].startswith(keyword)
                and name[1] in labels
                and parent is not None
                and parent["digest"] in v.get("inputs", ())
            ]
        if mine.parent is None and len(fits) > 1:
            fits = [
                v
                for v in fits
                if (_NAME.match(v["name"]) or [None, None])[1] in {mine.stage.name, f"stage-{mine.stage.index}"}
            ] or fits
        # the same text may stand twice where one step's parent is the other's source: the chain comes first
        fits.sort(key=lambda v: parent is not None and v.get("inputs", ("",))[0] != parent["digest"])
        if fits:
            found[index] = fits[0]
    return found


@dataclass
class Comparison:
    """What came of a history: vertices compared, and every disagreement in words."""

    compared: int = 0
    exact: int = 0
    ran: int = 0
    maybe: int = 0
    under: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, other: Comparison) -> None:
        for name in ("compared", "exact", "ran", "maybe"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("under", "outside", "unmatched", "failed"):
            getattr(self, name).extend(getattr(other, name))


def compare(
    snapshots: Sequence[Snapshot],
    folder: Path,
    seed: int,
    *,
    dockerfile: str = "Dockerfile",
    context: str = "",
    target: str | None = None,
    build_args: Callable[[int], Mapping[str, str]] = lambda _: {},
    per_commit: frozenset[str] = frozenset(),
) -> Comparison:
    """Build every snapshot and hold the replay of the whole history against it.

    ``build_args`` are passed at each commit; those not in ``per_commit`` have to be the same at all of them.
    """
    dice = random.Random(seed)
    constant = {name: value for name, value in build_args(0).items() if name not in per_commit}
    arguments = Arguments(context, target, constant, per_commit)
    said = simulate(as_history(snapshots), AsItWas(arguments, dockerfile), [Policy.LOCAL])[Policy.LOCAL]
    result = Comparison()
    before: Snapshot = {}
    for number, snapshot in enumerate(snapshots):
        write(folder, before, snapshot, dice)
        before = snapshot
        words = [f"--build-arg={name}={value}" for name, value in build_args(number).items()]
        if target is not None:
            words.append(f"--target={target}")
        vertices, error = build(folder, dockerfile, context=context or ".", words=words)
        plan = said.plans[number]
        if plan is None:
            if not error:
                result.failed.append(
                    f"commit {number}: said not to be buildable ({said.why[number]}), but it was built"
                )
            continue
        failing = Outcome.FAILED in said.outcomes[number]
        if bool(error) != failing:
            result.failed.append(f"commit {number}: {error or 'said to fail, but it was built'} {said.missing[number]}")
            continue
        if error:
            continue
        _judge(plan, said.outcomes[number], vertices, number, result)
    return result


def _judge(
    plan: Plan, outcomes: Sequence[Outcome], vertices: Sequence[Mapping[str, Any]], number: int, result: Comparison
) -> None:
    matched = match(plan, vertices)
    shared: dict[str, list[int]] = {}
    for index, vertex in matched.items():
        shared.setdefault(vertex["digest"], []).append(index)
    for index, mine in enumerate(plan.vertices):
        if mine.kind == "from":
            continue
        where = f"commit {number}: {mine.kind} {mine.stage.name or mine.stage.index}"
        if mine.instruction is not None:
            where += f" line {mine.instruction.line} {mine.instruction.name} {mine.instruction.value[:60]!r}"
        engine = matched.get(index)
        if engine is None:
            result.unmatched.append(where)
            continue
        ran = bool(engine.get("started")) and not engine["cached"]
        result.compared += 1
        result.ran += ran
        outcome = outcomes[index]
        if outcome is Outcome.MAYBE:
            result.maybe += 1
        elif (outcome is Outcome.RAN) == ran:
            result.exact += 1
        elif ran:
            result.under.append(f"{where}: ran, said {outcome}")
        else:
            result.outside.append(f"{where}: cached, said {outcome}")
