"""What has to be measured to prove a patch, and what the measures say. Pure: it builds nothing itself."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from statistics import median

from coach.measured import Build, File, Image, Start, is_root, secrets_in
from coach.model import Kind, is_file
from coach.order import is_manifest, steady, verdicts
from coach.site import Site


class Scenario(StrEnum):
    """What was done before a build. ``COLD``: nothing in any cache; the others follow on a build of the same state."""

    COLD = "cold"
    UNCHANGED = "unchanged"
    SOURCE = "source change"
    LOCKFILE = "lockfile change"


class Verdict(StrEnum):
    """What became of a fix."""

    CONFIRMED = "confirmed"
    NO_GAIN = "no gain"
    CHANGES = "changes the image"
    BREAKS = "breaks the build"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class State:
    """The files after one more fix: ``label`` is ``before``, a FIX code or ``patch``; ``changes`` are all so far."""

    label: str
    title: str
    changes: Mapping[str, bytes]
    site: Site
    local: bool = True  # whether a build on this machine can tell it from the state before


@dataclass(frozen=True, slots=True)
class Touches:
    """The files to change: a source file that no install needs, and one that an install reads. ``None``: see why."""

    source: str | None
    lockfile: str | None
    no_source: str = ""
    no_lockfile: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """All that was measured of one state. ``failed`` says why there is nothing else, with the log's ``tail``."""

    label: str
    builds: Mapping[Scenario, tuple[Build, ...]] = field(default_factory=dict)
    image: Image | None = None
    start: Start | None = None
    failed: str = ""
    tail: tuple[str, ...] = ()

    def seconds(self, scenario: Scenario) -> float | None:
        """The median over the runs."""
        runs = self.builds.get(scenario)
        return median(build.seconds for build in runs) if runs else None

    def spread(self, scenario: Scenario) -> float:
        """Between the fastest and the slowest run."""
        times = [build.seconds for build in self.builds.get(scenario, ())]
        return max(times) - min(times) if times else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that two images do not share. ``what``: ``gone``, ``new``, ``content``, ``mode`` or ``owner``."""

    path: str
    what: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one fix, why, and in what the images differ. ``noise`` are paths that differ without any patch."""

    fix: str
    title: str
    verdict: Verdict
    says: str
    differences: tuple[Difference, ...] = ()
    noise: int = 0
    tail: tuple[str, ...] = ()


# -- what to touch

_HASH = frozenset(
    ".py .sh .bash .rb .yml .yaml .toml .ex .exs .pl .r .jl .cr .rake .tf .nix .cfg .conf .ini .mk".split()
)
_SLASHES = frozenset(
    ".js .mjs .cjs .jsx .ts .mts .cts .tsx .go .rs .java .kt .kts .scala .swift .c .cc .cpp .cxx .h .hpp .cs .fs .dart "
    ".zig .groovy .gradle .proto .sbt .scss .less".split()
)
_TAGS = frozenset(".html .htm .xml .vue .svelte .md .svg .astro .csproj .fsproj .vbproj .props .targets".split())
_DASHES = frozenset(".sql .lua .hs .elm".split())
_CODE = _HASH - {".yml", ".yaml", ".toml", ".cfg", ".conf", ".ini"} | _SLASHES | {".vue", ".svelte", ".php", ".elm"}
# Lockfiles that their tool compares byte for byte, or that cannot hold a remark.
_RIGID = frozenset({"cargo.lock", "gemfile.lock", "mix.lock", "go.sum", "bun.lockb", "yarn.lock", "package.resolved"})


def touched(path: str, content: bytes, mark: str) -> bytes | None:
    """``content`` with ``mark`` (letters and digits) in it where it means nothing; ``None`` when that cannot be done.

    The size changes too: an engine may take a file of equal size and time for the same one.
    """
    name = posixpath.basename(path).lower()
    suffix = posixpath.splitext(name)[1]
    if b"\0" in content[:8000] or name in _RIGID:
        return None
    end = b"\r\n" if b"\r\n" in content else b"\n"
    said = mark.encode()
    if suffix == ".json" or name in ("composer.lock", "pipfile.lock", "deno.lock", "bun.lock", "flake.lock"):
        return content + b"".join(b" \n"[bit == "1" :][:1] for bit in "1" + "".join(f"{byte:08b}" for byte in said))
    if name == "go.mod" or suffix in _SLASHES:
        return content + end + b"// " + said + end
    if suffix in _TAGS or name == "pom.xml":
        return content + end + b"<!-- " + said + b" -->" + end
    if suffix == ".css":
        return content + end + b"/* " + said + b" */" + end
    if suffix in _DASHES:
        return content + end + b"-- " + said + end
    if suffix == ".php":
        return content + end + b"// " + said + end if content.rstrip()[-2:] != b"?>" and b"<?php" in content else None
    if (
        suffix in _HASH
        or suffix == ".lock"
        or name in ("gemfile", "pipfile", "makefile", "rakefile")
        or ("requirements" in path.lower() and suffix in (".txt", ".in"))
    ):
        return content + end + b"# " + said + end
    if suffix == ".txt":
        return content + end + said + end
    return None


def touches(sites: Sequence[Site]) -> Touches:
    """What to change in every one of ``sites``: a file that reaches the image's build in all of them."""
    first = sites[0]
    brought = [_brought(site) for site in sites]
    everywhere = {path for path in brought[0] if all(path in other for other in brought[1:])}
    judged = [verdict for site in sites for verdict in verdicts(site)]
    closures = [verdict.closure for verdict in judged if verdict.closure is not None]
    needed = {path for closure in closures for path in closure.files}
    folders = tuple(f"{folder}/" for closure in closures for folder in closure.directories)
    culprits = {path for verdict in judged for culprit in verdict.culprits for path in culprit.files}

    def fits(path: str) -> bool:
        return is_file(first.tree, path) and touched(path, first.tree.read(path)[:8000], "x") is not None

    def source_rank(path: str) -> tuple[object, ...]:
        name = posixpath.basename(path).lower()
        return (
            path not in culprits,
            posixpath.splitext(name)[1] not in _CODE,
            steady(path, first.context),
            "test" in path.lower() or "spec" in name,
            path.count("/"),
            path,
        )

    spare = [path for path in everywhere if path not in needed and not (folders and path.startswith(folders))]
    spare = [path for path in spare if not is_manifest(posixpath.basename(path)) and path != first.path]
    source = next((path for path in sorted(spare, key=source_rank) if fits(path)), None)

    locks = [closure.lockfile for closure in closures if closure.lockfile is not None]
    manifests = sorted(needed, key=lambda path: (not is_manifest(posixpath.basename(path)), path.count("/"), path))
    reads = [path for path in (*locks, *manifests) if path in everywhere]
    lockfile = next((path for path in reads if fits(path)), None)
    no_lockfile = "" if lockfile else "no step installs from a manifest" if not judged else "no manifest may be changed"
    return Touches(source, lockfile, "" if source else "no file of the source reaches the build", no_lockfile)


def _brought(site: Site) -> set[str]:
    placed = [one.source for stage in site.graph.reachable for one in site.layers.end(stage)]
    return {*placed, *(one.source for run in site.runs for one in run.bound)}


# -- what to copy, and which fixes a local build shows


def copied(sites: Iterable[Site]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``(paths, whole folders)`` that the builds of ``sites`` may read: what is in the context, and the files that say
    how to build."""
    paths: dict[str, None] = {}
    wholes: dict[str, None] = {}
    for site in sites:
        lead = f"{site.context}/" if site.context else ""
        listed = site.tree.entries()
        if site.context:
            paths[site.context] = None
        dropped: str | None = None
        for path, entry in listed.items():
            if not path.startswith(lead) or (dropped is not None and path.startswith(dropped)):
                continue
            relative = path[len(lead) :]
            if entry.kind is Kind.DIR and site.ignore is not None and site.ignore.ignores_dir_wholly(relative):
                dropped = f"{path}/"
            elif entry.kind is Kind.DIR:
                (wholes if entry.opaque else paths)[path] = None
            elif site.ignore is None or not site.ignore.ignores(relative):
                paths[path] = None
        for path in (site.path, site.ignore.path if site.ignore is not None else ""):
            if path in listed:
                paths[path] = None
    return tuple(sorted(paths)), tuple(wholes)


def shows(before: Site, after: Site, changed: Iterable[str]) -> bool:
    """Whether a build on this machine can tell the two states apart: CI files alone it never reads."""
    read = {before.path, *(site.ignore.path for site in (before, after) if site.ignore is not None)}
    files = {path for site in (before, after) for path in _brought(site)}
    beside = {f"{before.path}.dockerignore", posixpath.join(before.context, ".dockerignore")}
    return any(path in read or path in files or path in beside for path in changed)


# -- comparing images

_VOLATILE = re.compile(
    r"""
      (?:tmp|proc|sys|dev|run|var/tmp|var/run|var/log|var/cache|var/lib/apt|var/lib/dpkg|etc/ld\.so\.cache)(?:/.*)?
    | etc/(?:hostname|hosts|resolv\.conf|mtab) | \.dockerenv        # put there for the container, not by the build
    | (?:root|home/[^/]+)/\.(?:npm|cache|config|yarn|cargo/registry|gradle|m2|nuget|composer|bundle)(?:/.*)?
    | (?:root|home/[^/]+)/\.local/share/pnpm(?:/.*)?
    | (?:root|home/[^/]+)/\.local(?:/share)?
    | go(?:/pkg(?:/(?:mod|sumdb)(?:/.*)?)?)?
    | usr/local/share/\.cache(?:/.*)?
    | .*\.pyc | .*/__pycache__                                      # hold the time of their source
    | .*/node_modules/\.(?:package-lock\.json|modules\.yaml|pnpm-workspace-state[^/]*\.json)
    | .*/node_modules/\.(?:yarn-integrity|yarn-state\.yml)
    | .*/node_modules/\.cache(?:/.*)?
    | .*\.dist-info/(?:RECORD|direct_url\.json|uv_cache\.json)      # list .pyc files, or name the folder built from
    """,
    re.X,
)

VOLATILE_WORDS = (
    "temporary files, logs, package caches, dpkg's lists, .pyc files, what package managers note about a run, "
    "and what only the patch's own files account for"
)
"""What ``differences`` leaves out, in words."""


def caches(sites: Iterable[Site]) -> tuple[str, ...]:
    """Paths in the image (no leading slash) that cache mounts or package managers fill, in any of ``sites``."""
    found: dict[str, None] = {}
    for site in sites:
        for run in site.runs:
            for mount in run.mounts:
                if mount.type in ("cache", "bind", "secret", "tmpfs") and (target := mount.options.get("target")):
                    found[posixpath.normpath(posixpath.join(run.state.workdir or "/", target)).lstrip("/")] = None
            for step in run.steps:
                for cache in step.caches:
                    if cache.path:
                        found[posixpath.normpath(cache.path).lstrip("/")] = None
    return tuple(path for path in found if path)


def differences(
    before: Mapping[str, File],
    after: Mapping[str, File],
    passing: Sequence[str] = (),
    explained: Mapping[str, tuple[bytes | None, bytes]] | None = None,
) -> tuple[Difference, ...]:
    """In what two images differ beyond what is volatile.

    ``passing`` are folders of caches (as ``caches`` gives them); ``explained`` are the patch's own files (before,
    after), which may lie in the image themselves.
    """
    own = [_hashes(pair) for pair in (explained or {}).values()]
    inside = tuple(f"{path}/" for path in passing)
    above = {parent for path in passing for parent in _parents(path)}
    found = []
    for path in sorted({*before, *after}):
        if _VOLATILE.fullmatch(path) or path in passing or (inside and path.startswith(inside)):
            continue
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if old is None or new is None:
            one = old or new
            assert one is not None
            if (path in above and one.holds == "directory") or (old is None and any(one.holds == b for _, b in own)):
                continue
            found.append(Difference(path, "gone" if new is None else "new", _shape(old), _shape(new)))
        elif old.holds != new.holds:
            if (old.holds, new.holds) not in own:
                found.append(Difference(path, "content", _shape(old), _shape(new)))
        elif (old.uid, old.gid) != (new.uid, new.gid):
            found.append(Difference(path, "owner", f"{old.uid}:{old.gid}", f"{new.uid}:{new.gid}"))
        elif old.mode != new.mode:
            found.append(Difference(path, "mode", f"{old.mode:o}", f"{new.mode:o}"))
    return tuple(found)


def _hashes(pair: tuple[bytes | None, bytes]) -> tuple[str | None, str]:
    old, new = pair
    return None if old is None else sha256(old).hexdigest(), sha256(new).hexdigest()


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _shape(file: File | None) -> str:
    if file is None:
        return ""
    return file.holds if not re.fullmatch(r"[0-9a-f]{64}", file.holds) else f"{file.size} bytes, {file.holds[:12]}"


# -- judging

_CI_ONLY = {
    "F1": "it switches BuildKit on where the image is built elsewhere; this build uses it anyway",
    "F5": "it changes where CI keeps its cache, which no build on this machine shows",
    "F7": "it changes how arm64 is built, and this machine builds for itself only",
    "F9": "it changes a flag of the build elsewhere, which no build on this machine shows",
    "F13": "it signs what CI pushes, and nothing is pushed here",
}
_SAME = frozenset({"F2", "F3", "F5", "F7", "F1", "F9", "F13"})
_SMALLER = frozenset({"F4", "F6"})
_LEAST = 0.3  # seconds below which no clock of a build is to be trusted
_PART = 0.1


def judge(
    fix: str,
    title: str,
    before: Proof,
    after: Proof | None,
    found: tuple[Difference, ...] = (),
    *,
    noise: int = 0,
    sites: tuple[Site, Site] | None = None,
    lacks: Sequence[str] = (),
) -> Judgement:
    """The verdict on ``fix``, whose effect lies between ``before`` and ``after``.

    ``after`` is ``None`` for what no local build can show. ``found`` are the differences between the images, less
    the ``noise`` that two builds of one state show too. ``lacks`` are ids of secrets that a build asks for in vain.
    """

    def so(verdict: Verdict, says: str, listed: tuple[Difference, ...] = (), tail: tuple[str, ...] = ()) -> Judgement:
        return Judgement(fix, title, verdict, says, listed, noise, tail)

    if after is None:
        return so(Verdict.NOT_MEASURED, _CI_ONLY.get(fix, "it changes nothing that a build on this machine reads"))
    if before.failed:
        return so(Verdict.NOT_MEASURED, f"without it {before.failed}", tail=before.tail)
    if after.failed:
        if lacks:
            return so(
                Verdict.NOT_MEASURED, f"{after.failed}; it asks for --secret id={', '.join(lacks)}", tail=after.tail
            )
        return so(Verdict.BREAKS, after.failed, tail=after.tail)
    worse = _starts_worse(before.start, after.start)
    if worse:
        return so(Verdict.CHANGES, worse, found)
    wrong = _unwanted(fix, found, sites)
    if wrong:
        return so(Verdict.CHANGES, f"{_count(wrong)} that should be the same {_differ(wrong)}", wrong)
    gained, says = _gain(fix, before, after)
    rest = "" if not found else f"; {_count(found)} {_differ(found)}, as this fix means to"
    start = f"; the container {after.start.words}, as before" if after.start is not None else ""
    if gained is None:
        return so(Verdict.NOT_MEASURED, says, found)
    return so(Verdict.CONFIRMED if gained else Verdict.NO_GAIN, f"{says}{rest}{start}", found)


def _count(found: Sequence[Difference]) -> str:
    return "1 path" if len(found) == 1 else f"{len(found)} paths"


def _differ(found: Sequence[Difference]) -> str:
    return "differs" if len(found) == 1 else "differ"


def _starts_worse(before: Start | None, after: Start | None) -> str:
    if before is None or after is None:
        return ""
    if before.well and not after.well:
        return f"the container {before.words} without it and {after.words} with it: {after.says}".rstrip(": ")
    if before.state == "running" and after.state == "exited":
        return f"the container {before.words} without it and {after.words} with it"
    if before.http is not None and before.http < 500 and (after.http is None or after.http >= 500):
        return f"the container answered HTTP {before.http} without it and {after.http or 'nothing'} with it"
    return ""


def _unwanted(fix: str, found: tuple[Difference, ...], sites: tuple[Site, Site] | None) -> tuple[Difference, ...]:
    """The differences that a fix of this kind must not make."""
    if fix in _SAME or fix == "patch":
        return found
    if fix in _SMALLER:  # it takes things away and swaps the base; what the project put there must survive
        kept = _shipped(sites)
        return tuple(one for one in found if one.what == "content" and _within(one.path, kept))
    if fix == "F8":
        return tuple(one for one in found if not _newly_ignored(one, sites))
    if fix == "F12":
        return tuple(one for one in found if one.what in ("content", "gone"))
    if fix == "F10":
        return tuple(one for one in found if one.what == "content")
    return ()


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _shipped(sites: tuple[Site, Site] | None) -> tuple[str, ...]:
    """Where the project's own files stand in the last stage's image before the fix."""
    if sites is None:
        return ()
    return tuple({placed.target.lstrip("/") for placed in sites[0].layers.end(sites[0].final)})


def _newly_ignored(one: Difference, sites: tuple[Site, Site] | None) -> bool:
    """Whether a path went missing because the new ignore file keeps it out of the context."""
    if one.what != "gone" or sites is None or sites[1].ignore is None:
        return False
    before, ignore = sites[0], sites[1].ignore
    listed = before.tree.entries()
    lead = f"{before.context}/" if before.context else ""
    parts = one.path.split("/")
    for n in range(len(parts)):
        inner = "/".join(parts[n:])
        there = [f"{lead}{path}" for path in (inner, *_parents(inner))]
        held = there[0] in listed or any(path in listed and listed[path].opaque for path in there[1:])
        if held and ignore.ignores(inner):
            return True
    return False


def _gain(fix: str, before: Proof, after: Proof) -> tuple[bool | None, str]:
    """Whether the fix brought what it promises, and the numbers that say so. ``None``: that was not measured."""
    if fix == "F12":
        return _user(before, after)
    if fix == "F10":
        return _secrets(before, after)
    if fix == "F11":
        return _libc(before, after)
    if fix in _SMALLER:
        return _smaller(before, after)
    if fix == "F8":
        return _context(before, after)
    if fix in _CI_ONLY:
        return None, f"{_CI_ONLY[fix]}; the image is the same"
    scenarios = {"F2": (Scenario.SOURCE,), "F3": (Scenario.LOCKFILE, Scenario.SOURCE)}.get(
        fix, (Scenario.SOURCE, Scenario.LOCKFILE)
    )
    measured = [one for one in scenarios if before.builds.get(one) and after.builds.get(one)]
    if not measured and fix in ("F2", "F3"):
        return None, "no file was found whose change would show it"
    faster = [one for one in measured if _faster(one, before, after)]
    told = faster or measured
    says = ", ".join(_numbers(one, before, after) for one in told)
    if faster:
        return True, says
    if fix == "patch":
        smaller, size = _smaller(before, after)
        if smaller:
            return True, size
    if not measured:
        return False, "no rebuild was measured"
    once = all(len(proof.builds[one]) == 1 for proof in (before, after) for one in measured)
    return False, f"no rebuild got faster: {says}" + (" (one run each; --runs 3 tells more)" if once else "")


def _faster(scenario: Scenario, before: Proof, after: Proof) -> bool:
    """Less time by more than chance; or steps that ran before and come out of the cache now, in no more time."""
    old, new = before.seconds(scenario), after.seconds(scenario)
    assert old is not None
    assert new is not None
    chance = max(_LEAST, _PART * old, before.spread(scenario), after.spread(scenario))
    if old - new > chance:
        return True
    work_old = median(build.worked for build in before.builds[scenario])
    work_new = median(build.worked for build in after.builds[scenario])
    return bool(_spared(scenario, before, after)) and work_old - work_new > _LEAST and new - old <= chance


def _spared(scenario: Scenario, before: Proof, after: Proof) -> list[str]:
    """Commands that ran in every run before and come out of the cache in every one after."""
    spared: set[str] = {step.command for build in before.builds[scenario] for step in build.steps}
    for build in before.builds[scenario]:
        spared &= {step.command for step in build.steps if not step.cached}
    for build in after.builds[scenario]:
        spared &= {step.command for step in build.steps if step.cached}
    return sorted(spared)


def _numbers(scenario: Scenario, before: Proof, after: Proof) -> str:
    old, new = before.seconds(scenario), after.seconds(scenario)
    return f"{scenario} {old:.1f} s → {new:.1f} s"


def _smaller(before: Proof, after: Proof) -> tuple[bool | None, str]:
    if before.image is None or after.image is None:
        return None, "no image was made to weigh"
    old, new = before.image.size, after.image.size
    says = f"image {mb(old)} → {mb(new)}"
    return (True, says) if old - new > max(_PART / 2 * old, 1_000_000) else (False, f"not smaller: {says}")


def _context(before: Proof, after: Proof) -> tuple[bool | None, str]:
    sizes = [
        next((build.context_bytes for build in proof.builds.get(Scenario.COLD, ())), None) for proof in (before, after)
    ]
    if sizes[0] is None or sizes[1] is None:
        return None, "no build context was sent"
    says = f"build context {mb(sizes[0])} → {mb(sizes[1])}"
    least = max(_PART / 2 * sizes[0], 1000)
    return (True, says) if sizes[0] - sizes[1] > least else (False, f"no smaller: {says}")


def _user(before: Proof, after: Proof) -> tuple[bool | None, str]:
    if before.image is None or after.image is None:
        return None, "no image was made to look at"
    says = f"runs as {before.image.user or 'root'} → {after.image.user or 'root'}"
    return is_root(before.image.user) and not is_root(after.image.user), says


def _secrets(before: Proof, after: Proof) -> tuple[bool | None, str]:
    if before.image is None or after.image is None:
        return None, "no image was made to look at"
    old, new = secrets_in(before.image), secrets_in(after.image)
    if not old:
        return None, "no secret was given to this build, so none could show in its history"
    gone = sorted(set(old) - set(new))
    return bool(gone) and not new, f"in the history: {', '.join(old)} → {', '.join(new) or 'none'}"


def _libc(before: Proof, after: Proof) -> tuple[bool | None, str]:
    if before.start is None or after.start is None:
        return None, "no container was started"
    says = f"the container {before.start.words} → {after.start.words}"
    return (True, says) if after.start.well and not before.start.well else (False, f"it started before as well: {says}")


def mb(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1_000_000:.1f} MB" if size >= 100_000 else f"{size / 1000:.1f} kB"
