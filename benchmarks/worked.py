"""The worked example end to end: what coach's own patch makes of it, and each example's distance to the limit.

``python -m benchmarks.worked`` from the root of the repository, with a Docker engine that answers and has buildx and
the containerd image store, and with ``COACH_TEST_REGISTRY`` naming a registry that it may push to. Writes ``worked.md``
beside itself, removes what it made.

*Before* is ``examples/node-web`` as it stands, *after* what ``coach fix --apply --safety review`` writes into a copy of
it, and nothing else. Both are built on copies of their base images that hold one more, empty folder, and their cache
mounts have ids of their own: so neither finds layers of an earlier run, or shares a step with a build beside it.

A CI machine begins empty. Here one engine plays it: the first CI build of a state finds nothing, because of those base
images; before the next one every cache record above them, the cache mounts and the images built are removed, and only
those. What that build then does not get from the registry it has to do. The flags are those that the patch wrote into
the workflow, read by coach's own reader, with ``type=gha`` made ``type=registry``: GitHub's cache needs GitHub. Base
images are there from the start on both sides, and both push what they built.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from coach.ci import build_sites
from coach.model import CacheRef
from coach.repo import open_tree
from tests.engine.engine import SIBLINGS, Engine, why_not

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).parent / "worked.md"
LIMIT = 1.15
_TIMEOUT = 3600
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in ("oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.v2")
)


@dataclass(frozen=True)
class Example:
    """An example, where it answers, and what an ordinary commit and a new dependency change.

    ``needs`` are words of the patched file's steps that no order of layers can spare when the source changes.
    """

    name: str
    port: int
    source: str
    lock: str
    needs: tuple[str, ...]


WORKED = Example(
    "node-web",
    3000,
    "server/server.ts",
    "package-lock.json",
    ("COPY . .", "RUN npm run build", "COPY --from=build"),
)
OTHERS = (
    Example(
        "node-monorepo",
        3000,
        "packages/api/src/server.ts",
        "pnpm-lock.yaml",
        ("COPY . .", "RUN pnpm -r build", "COPY --from=build"),
    ),
    Example("python-api", 8000, "app/main.py", "requirements/constraints.txt", ("COPY . .",)),
    Example(
        "go-service",
        8080,
        "internal/httpapi/httpapi.go",
        "go.mod",
        ("COPY . .", "go build", "COPY --from=build"),
    ),
)


@dataclass(frozen=True)
class Vertex:
    """One vertex of a build's log: seconds of work, and whether it was cached."""

    name: str
    seconds: float
    cached: bool


@dataclass(frozen=True)
class Built:
    """A build that went well: wall clock in seconds, and the vertices."""

    seconds: float
    vertices: tuple[Vertex, ...]

    def spent(self, *words: str) -> float:
        """Seconds of the vertices whose name holds one of ``words``."""
        return sum(one.seconds for one in self.vertices if any(word in one.name for word in words))

    @property
    def local(self) -> float:
        """Wall clock without what only CI does: sending the image and the cache to a registry."""
        return self.seconds - self.spent("part: pushing", "exporting cache")

    def log(self) -> str:
        """What took its time, the longest first."""
        ran = sorted((one for one in self.vertices if one.seconds >= 0.05), key=lambda one: -one.seconds)
        return "; ".join(f"{one.seconds:.1f} s {one.name[:60]}" for one in ran[:9])


@dataclass
class Measured:
    """One state of the worked example. ``mb`` is what the layers take unpacked, ``packed`` compressed, in megabytes."""

    first: Built
    ci: Built
    unchanged: Built
    source: float
    lock: float | None
    mb: float
    packed: float
    answer: str


@dataclass(frozen=True)
class Distance:
    """Seconds of a rebuild after a change of the source, and of what it cannot spare.

    ``fixed`` is what an unchanged rebuild costs without its export: the client, the Dockerfile, the context, the names
    of the base images. ``ran`` names the steps that ran although the change of the source asked for none of them.
    """

    name: str
    rebuild: float
    steps: float
    export: float
    fixed: float
    ran: tuple[str, ...]

    @property
    def ratio(self) -> float:
        return self.rebuild / (self.steps + self.export)

    @property
    def over(self) -> float:
        """The same with the fixed part among what cannot be spared."""
        return self.rebuild / (self.steps + self.export + self.fixed)


class BuildError(RuntimeError):
    """A build that failed, with the end of its log."""


def say(*words: object) -> None:
    """Progress, with the time of day."""
    print(datetime.datetime.now().strftime("%H:%M:%S"), *words, flush=True)


# ---- the two states


def prepare(example: Example, folder: Path) -> None:
    """A copy of the example that git knows."""
    shutil.copytree(ROOT / "examples" / example.name, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    for words in (("init", "-q", "."), ("add", "-A"), ("commit", "-q", "-m", "as it stands")):
        subprocess.run(
            ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.com", *words], cwd=folder, check=True
        )


def patch(folder: Path) -> str:
    """Have coach write all it would; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "coach", "fix", "--apply", "--safety", "review"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"coach fix failed: {done.stderr}")
    return done.stderr


def apart(folder: Path, run: str) -> None:
    """Name the cache mounts after the run."""
    file = folder / "Dockerfile"
    file.write_text(
        re.sub(r"--mount=type=cache,(target=([^\s,]+))", rf"--mount=type=cache,id={run}\2,\1", file.read_text())
    )


def grounds(engine: Engine, folder: Path, run: str, prefix: str) -> list[str]:
    """Flags that put copies in the place of the base images, with a folder on top that only this run has.

    Every layer of the run descends from one of those folders.
    """
    stages: set[str] = set()
    made: list[str] = []
    for line in (folder / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] != ["FROM"]:
            continue
        base = next(word for word in words[1:] if not word.startswith("--"))
        if base not in stages:
            real = base if engine.has(base) else SIBLINGS.get(base, base)
            home = engine.docker("image", "inspect", "--format", "{{.Config.WorkingDir}}", real) or "/"
            tag = f"{prefix}{len(made)}:latest"
            engine.images.append(tag)
            subprocess.run(
                ["docker", "buildx", "build", "--quiet", "--provenance=false", f"--tag={tag}", "-"],
                input=f"FROM {real}\nWORKDIR /.{run}\nWORKDIR {home}\n",
                text=True,
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=_TIMEOUT,
            )
            made.append(f"--build-context={base}=docker-image://{tag}")
        if "AS" in words:
            stages.add(words[-1])
    return made


def changed(path: Path) -> None:
    """Change what a file says without a change to what it means."""
    text = path.read_text()
    if path.suffix == ".json":
        path.write_text(text + " " * (1 + int(uuid.uuid4().int % 97)) + "\n")
    else:
        mark = "//" if path.suffix in (".ts", ".go", ".mod") else "#"
        path.write_text(f"{text}\n{mark} {uuid.uuid4()}\n")


def flags(folder: Path, reference: str) -> list[str]:
    """The cache flags of the build in the workflow, for ``reference`` in place of GitHub's cache."""
    (build,) = [build for build in build_sites(open_tree(folder)).builds if build.ci]
    found = [f"--cache-from={_spelled(ref, reference)}" for ref in build.cache_from]
    return [*found, *(f"--cache-to={_spelled(ref, reference)}" for ref in build.cache_to)]


def _spelled(ref: CacheRef, reference: str) -> str:
    kept = {name: value for name, value in ref.attrs.items() if name not in ("type", "scope", "ref")}
    return ",".join(["type=registry", f"ref={reference}", *(f"{name}={value}" for name, value in kept.items())])


# ---- builds


def instead(engine: Engine, folder: Path) -> list[str]:
    """Flags for the images that stand in for those the Dockerfile names and the engine lacks."""
    siblings = engine.siblings((folder / "Dockerfile").read_text())
    return [f"--build-context={name}=docker-image://{other}" for name, other in siblings.items()]


def build(engine: Engine, folder: Path, tag: str, *more: str, push: bool = False) -> Built:
    """Build ``folder`` as a developer or (``push``) a CI job does. Raises ``BuildError``."""
    output = f"--output=type=image,name={tag},push=true" if push else f"--tag={tag}"
    words = [
        "docker",
        "buildx",
        "build",
        "--progress=rawjson",
        "--provenance=false",
        output,
        *instead(engine, folder),
        *more,
    ]
    if tag not in engine.images:
        engine.images.append(tag)
    started = time.monotonic()
    done = subprocess.run(
        [*words, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
    )
    seconds = time.monotonic() - started
    if done.returncode != 0:
        raise BuildError(f"{folder.name} does not build\n{done.stderr[-3000:]}")
    return read(done.stderr, seconds)


def read(log: str, seconds: float) -> Built:
    """What a ``rawjson`` log says; a vertex is reported again whenever more is known of it."""
    names: dict[str, str] = {}
    cached: dict[str, bool] = {}
    spans: dict[str, set[tuple[str, str]]] = {}
    parts: dict[tuple[str, str], float] = {}
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        for vertex in entry.get("vertexes") or ():
            digest = str(vertex["digest"])
            names[digest] = str(vertex["name"])
            cached[digest] = bool(vertex.get("cached", cached.get(digest, False)))
            if "started" in vertex and "completed" in vertex:
                spans.setdefault(digest, set()).add((str(vertex["started"]), str(vertex["completed"])))
        for status in entry.get("statuses") or ():
            name = str(status.get("id", ""))
            if "started" in status and "completed" in status:
                parts[(str(status["vertex"]), name)] = _stamp(status["completed"]) - _stamp(status["started"])
    found = [
        Vertex(name, sum(_stamp(end) - _stamp(start) for start, end in spans.get(digest, ())), cached[digest])
        for digest, name in names.items()
    ]
    # what the exporter does is one vertex with parts of its own; sending layers is one of them
    found += [Vertex(f"part: {name}", spent, False) for (_, name), spent in parts.items() if name.startswith("pushing")]
    return Built(seconds, tuple(found))


def _stamp(text: object) -> float:
    whole, _, rest = str(text).partition(".")
    digits = re.match(r"\d*", rest)
    fraction = float(f"0.{digits[0]}") if digits and digits[0] else 0.0
    return datetime.datetime.fromisoformat(whole.rstrip("Z") + "+00:00").timestamp() + fraction


# ---- what is left of a build, and how it is forgotten


def size(engine: Engine, tag: str) -> tuple[float, float]:
    """Megabytes of an image: its layers unpacked, and as ``docker image inspect`` has them, compressed."""
    layers = engine.docker("image", "history", "--human=false", "--format", "{{.Size}}", tag).split()
    return sum(map(int, layers)) / 1e6, int(engine.docker("image", "inspect", "--format", "{{.Size}}", tag)) / 1e6


def records(engine: Engine, run: str) -> set[str]:
    """Cache records that a run made: those that name it, and all that descend from them."""
    said = engine.docker("buildx", "du", "--format", "json", timeout=300)
    entries = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    found = {str(entry["ID"]) for entry in entries if run in str(entry["Description"])}
    while True:
        more = {str(entry["ID"]) for entry in entries if found.intersection(entry["Parents"] or ())} - found
        if not more:
            return found
        found |= more


def forget(engine: Engine, run: str) -> None:
    """Remove the images and the cache records of one run, as a machine is that never built it."""
    for tag in [tag for tag in engine.images if run in tag]:
        subprocess.run(["docker", "image", "rm", "--force", tag], capture_output=True, timeout=300)
    for _ in range(5):
        mine = records(engine, run)
        if not mine:
            return
        chosen = "|".join(sorted(mine))
        engine.docker("buildx", "prune", "--force", "--all", f"--filter=id=^({chosen})$", timeout=600)
        time.sleep(1)
    raise SystemExit(f"{len(mine)} cache records of {run} stay; a build of something else may use them")


def unpublish(registry: str, name: str, *tags: str) -> None:
    """Take what was pushed out of the registry again, where it lets us."""
    for tag in tags:
        where = f"http://{registry}/v2/{name}/manifests/"
        try:
            with urlopen(Request(where + tag, headers={"Accept": _MANIFESTS}, method="HEAD"), timeout=20) as found:
                digest = found.headers["Docker-Content-Digest"]
            urlopen(Request(where + digest, method="DELETE"), timeout=20).close()
        except (HTTPError, URLError, TimeoutError):
            say("left in the registry:", f"{name}:{tag}")


# ---- the measurements


def worked(
    engine: Engine, registry: str, scratch: Path, *, quick: bool
) -> tuple[Measured, Measured, Distance, list[str]]:
    """The worked example, each measurement of the one state next to that of the other."""
    name = f"coach-worked-{uuid.uuid4().hex[:8]}"
    folders = {state: scratch / f"{WORKED.name}-{state}" for state in ("before", "after")}
    runs = {state: f"{name}-{state}" for state in folders}
    for state, folder in folders.items():
        prepare(WORKED, folder)
        if state == "after":
            say(patch(folder).strip())
        apart(folder, runs[state])
    bases = {state: grounds(engine, folder, runs[state], f"{name}-on-{state}-") for state, folder in folders.items()}
    cache = f"{registry}/{name}:cache"
    cached = {state: flags(folder, cache) for state, folder in folders.items()}
    if cached["before"] or not cached["after"]:
        raise SystemExit(f"the workflow's cache flags are not as expected: {cached}")
    say("cache flags of the patched workflow:", *cached["after"])

    def pushed(state: str) -> Built:
        made = build(
            engine, folders[state], f"{registry}/{name}:{runs[state]}", *bases[state], *cached[state], push=True
        )
        say(f"{state}, CI: {made.seconds:.1f} s ({made.log()})")
        return made

    def local(state: str, what: str) -> Built:
        made = build(engine, folders[state], f"{runs[state]}:latest", *bases[state])
        say(f"{state}, {what}: {made.seconds:.1f} s ({made.log()})")
        return made

    try:
        first = {state: pushed(state) for state in folders}
        forget(engine, runs["after"])
        for folder in folders.values():
            changed(folder / WORKED.source)
        # without a cache a CI build is as cold after a commit as it was the first time
        ci = {"before": first["before"], "after": pushed("after")}
        if ran := others(WORKED, ci["after"]):
            say("after, CI: not out of the registry's cache:", *ran)
        sizes, answers, unchanged, source = {}, {}, {}, {}
        lock: dict[str, float] = {}
        rebuilt = []
        for state in folders:
            image = f"{registry}/{name}:{runs[state]}"
            sizes[state] = size(engine, image)
            answers[state] = engine.answer(image, WORKED.port, "/parcels", 60)
            say(f"{state}: {sizes[state][0]:.0f} MB, answers {answers[state]}")
        local("after", "what is not in the engine yet")
        source["before"] = local("before", "source change").seconds
        for _ in range(3):
            changed(folders["after"] / WORKED.source)
            rebuilt.append(local("after", "source change"))
        source["after"] = median(made.seconds for made in rebuilt)
        for state in folders:
            unchanged[state] = local(state, "unchanged")
        for state, folder in () if quick else folders.items():
            changed(folder / WORKED.lock)
            lock[state] = local(state, "lockfile change").seconds
    finally:
        for state in folders:
            forget(engine, runs[state])
        unpublish(registry, name, "cache", *runs.values())
    before, after = (
        Measured(first[s], ci[s], unchanged[s], source[s], lock.get(s), *sizes[s], answers[s])
        for s in ("before", "after")
    )
    return before, after, nearest(WORKED, rebuilt, [unchanged["after"]]), cached["after"]


def nearest(example: Example, builds: Sequence[Built], unchanged: Sequence[Built]) -> Distance:
    """The distance to the limit of the build in the middle."""
    chosen, still = (sorted(found, key=lambda made: made.seconds)[len(found) // 2] for found in (builds, unchanged))
    export = "exporting to image"
    return Distance(
        example.name,
        chosen.seconds,
        chosen.spent(*example.needs),
        chosen.spent(export),
        still.seconds - still.spent(export),
        others(example, chosen),
    )


def others(example: Example, made: Built) -> tuple[str, ...]:
    """Steps that ran although a change of the source asks for none of them."""
    return tuple(
        one.name
        for one in made.vertices
        if re.match(r"\[(?:[^\]]* )?\d+/\d+\] (?!FROM )", one.name)
        and not one.cached
        and one.seconds > 0
        and not any(word in one.name for word in example.needs)
    )


def distance(engine: Engine, example: Example, scratch: Path) -> Distance:
    """How near a patched example comes to what a change of its source must cost."""
    folder = scratch / example.name
    prepare(example, folder)
    patch(folder)
    tag = engine.tag(example.name)
    other = instead(engine, folder)
    build(engine, folder, tag, *other)
    unchanged = [build(engine, folder, tag, *other) for _ in range(3)]
    builds = []
    for _ in range(5):
        changed(folder / example.source)
        made = build(engine, folder, tag, *other)
        say(f"{example.name}, source change: {made.seconds:.1f} s ({made.log()})")
        builds.append(made)
    return nearest(example, builds, unchanged)


# ---- the page


def page(before: Measured, after: Measured, cache: Sequence[str], distances: Sequence[Distance], where: str) -> str:
    """The measurements as Markdown."""
    ratios = [
        ("Rebuild after a source change", before.source, after.source, 12.0),
        ("CI on an empty machine, after a source change", before.ci.seconds, after.ci.seconds, 7.0),
    ]
    rows = [f"| {what} | {a:.1f} s | {b:.1f} s | {a / b:.1f}× | {goal:g}× |" for what, a, b, goal in ratios]
    rows.append(f"| Image, unpacked | {before.mb:.0f} MB | {after.mb:.0f} MB | {before.mb / after.mb:.1f}× | 5.5× |")
    more = [
        ("Cold build, nothing cached anywhere", before.first.local, after.first.local),
        ("The same in CI: push, and fill the cache", before.first.seconds, after.first.seconds),
        ("Unchanged rebuild", before.unchanged.seconds, after.unchanged.seconds),
    ]
    if before.lock is not None and after.lock is not None:
        more.append(("Rebuild after a lockfile change", before.lock, after.lock))
    rows += [f"| {what} | {a:.1f} s | {b:.1f} s | {a / b:.1f}× | |" for what, a, b in more]
    rows.append(
        f"| Image, as `docker image inspect` gives it (compressed) | {before.packed:.0f} MB | {after.packed:.0f} MB "
        f"| {before.packed / after.packed:.1f}× | |"
    )
    lines = [
        "# The worked example",
        "",
        "`examples/node-web` as it stands, and with what `coach fix --apply --safety review` writes into it:",
        "Dockerfile, ignore file and CI workflow, no hand edits. One run on one engine, the measurements of both",
        "states in turn; seconds of wall clock. How one engine plays an empty machine: see `benchmarks/worked.py`.",
        "",
        f"{where} Rerun: `python -m benchmarks.worked`.",
        "",
        "| | Before | After | Ratio | At least |",
        "|---|---:|---:|---:|---:|",
        *rows,
        "",
        f"Both answer `GET /parcels` with the same: {'yes' if before.answer == after.answer else 'NO'}. In CI the",
        "patched build runs with the flags of the patched workflow, with a registry in the place of GitHub's cache:",
        " ".join(f"`{re.sub('ref=[^,]+', 'ref=…', flag)}`" for flag in cache) + ".",
        "",
        "## The distance to the limit",
        "",
        "A rebuild of the patched example after a change of its source (the one in the middle of several), against the",
        f"steps that cannot be spared then and the export of the image: at most {LIMIT:g}. *Fixed* is an unchanged",
        "rebuild without its export, which no patch can spare: the client, the Dockerfile, the context, the names of",
        "the base images. It weighs where a build takes no time; *ratio with it* counts it as not to be spared.",
        "",
        "| Example | Rebuild | Steps | Export | Ratio | Fixed | Ratio with it | Other steps that ran |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
        *(
            f"| {one.name} | {one.rebuild:.2f} s | {one.steps:.2f} s | {one.export:.2f} s | {one.ratio:.2f} "
            f"| {one.fixed:.2f} s | {one.over:.2f} | {', '.join(one.ran) or 'none'} |"
            for one in distances
        ),
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, and write the page when everything was measured."""
    parser = argparse.ArgumentParser(description="The worked example, before and after coach's own patch.")
    parser.add_argument("--part", choices=("worked", "limits"), help="measure only this, and write no page")
    parser.add_argument("--quick", action="store_true", help="leave out the rebuilds after a lockfile change")
    asked = parser.parse_args()
    part: str | None = asked.part
    registry = os.environ.get("COACH_TEST_REGISTRY", "")
    reason = why_not() or ("" if registry or part == "limits" else "COACH_TEST_REGISTRY names no registry")
    if reason:
        raise SystemExit(f"cannot measure: {reason}")
    engine = Engine()
    distances: list[Distance] = []
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if part != "limits":
                before, after, own, cache = worked(engine, registry, Path(scratch), quick=asked.quick)
                distances.append(own)
            if part != "worked":
                distances += [distance(engine, example, Path(scratch)) for example in OTHERS]
        version = engine.docker("version", "--format", "{{.Server.Version}}")
    finally:
        engine.close()
    for one in distances:
        say(one, f"ratio {one.ratio:.2f}, with the fixed part {one.over:.2f}")
    if part == "limits":
        return
    load = f", with a load of {os.getloadavg()[0]:.0f} at the end" if hasattr(os, "getloadavg") else ""
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    where = f"Measured on {day}: Docker {version}, {platform.machine()}, {os.cpu_count()} CPUs{load}."
    text = page(before, after, cache, distances, where)
    print(text)
    if part is None:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
