"""Do CI builds start cold?"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from coach import ci
from coach.ci.nouns import CI_FILE, AddCache
from coach.model import (
    Answer,
    BuildSite,
    CacheRef,
    Certainty,
    Edit,
    Evidence,
    Remedy,
    Safety,
    certain,
    is_file,
    likely,
    unknown,
)
from coach.platforms import heavy, light
from coach.remedies import joined
from coach.site import Site
from coach.targets import dockerfiles

NODE = "cold_ci"
FIX = "F5"
SECTION = "Inline cache + registry cache"
ANTI_PATTERN = "CI that starts cold"

_FILE_NAME = re.compile(r"(?:^|[._-])(?:docker|container)file(?:$|[._-])", re.I)
_TEST = re.compile(r"\b(?:e2e|tests?|testing|lint|validate|smoke|integration)\b|test-", re.I)
_KEEPS = re.compile(r"\b(?:keeps?|kept|pulls?|restores?|holds?)\b")
_MOUNTS = "no backend exports cache mounts: what they hold stays on the machine that built"


@dataclass(frozen=True)
class _Start:
    """How one CI build starts: ``cold`` is ``None`` when it cannot be told."""

    build: BuildSite
    cold: bool | None
    certainty: Certainty
    says: str
    line: int


def probe(site: Site) -> Answer:
    """``yes`` when a CI build that ships the image neither imports a cache nor keeps one between its jobs."""
    starts = _starts(site)
    if not starts and not any(CI_FILE.fullmatch(path) for path in site.tree.entries()):
        return certain("no", "no CI builds this file", _nowhere(site))
    if not heavy(site) and all(light(run) for run in site.runs):
        says = "nothing is installed by a language's tools or compiled" if site.runs else "nothing runs"
        where = site.cite(site.final.head.line, f"{says} while this is built")
        return likely("no", "there is no step that takes long, so a cache would keep next to nothing", where)
    if not starts:
        return _no_build(site)
    cold = [start for start in starts if start.cold]
    if cold:
        evidence = tuple(dict.fromkeys(_cite(site, start) for start in cold))
        sure = [start for start in cold if start.certainty is Certainty.CERTAIN]
        if sure:
            return certain("yes", f"{sure[0].build.path}: {sure[0].says}", *evidence)
        return likely("yes", f"{cold[0].build.path}: {cold[0].says}", *evidence)
    dark = [start for start in starts if start.cold is None]
    if dark:
        return unknown(
            dark[0].says,
            "look for cache-to/cache-from where that build is written, or compare the times of two runs in a row",
            *dict.fromkeys(_cite(site, start) for start in dark),
        )
    evidence = tuple(dict.fromkeys(_cite(site, start) for start in starts))
    reason = f"{starts[0].says}; {_MOUNTS}" if _has_cache_mounts(site) else starts[0].says
    if all(start.certainty is Certainty.CERTAIN for start in starts):
        return certain("no", reason, *evidence)
    return likely("no", reason, *evidence)


def _nowhere(site: Site) -> Evidence:
    return site.cite(site.final.head.line, "no CI configuration here builds this file")


def _no_build(site: Site) -> Answer:
    where = _nowhere(site)
    for build in ci.build_sites(site.tree).builds:
        note = build.unsure("dockerfile") if build.ci and build.dockerfile is None else None
        if note is not None and "inline" not in note.reason:
            return unknown(
                f"{build.path} builds an image from a Dockerfile that is not named there: {note.reason}",
                "look up which Dockerfile that job builds, and whether it has cache-to/cache-from",
                where,
                site.cite(build.line, "builds an image", path=build.path),
            )
    return likely("no", "no CI was seen to build this file", where)


def _cite(site: Site, start: _Start) -> Evidence:
    return site.cite(start.line or start.build.line, start.says, path=start.build.path)


def _has_cache_mounts(site: Site) -> bool:
    return any(mount.type == "cache" for run in site.runs for mount in run.mounts)


def _starts(site: Site) -> list[_Start]:
    """The CI builds that count: those that push, else those that may, else all; builds for tests count last."""
    ordinary = [build for build in site.ci_builds if not (build.no_cache and build.no_cache_why)]
    # what a clock or a person starts is not what people wait for at every commit
    often = [build for build in ordinary if not build.seldom]
    pool = often or ordinary
    builds = [build for build in pool if build.push or (build.push is None and build.tool == "workflow")] or pool
    shipped = [build for build in builds if not _for_tests(build)] or builds
    starts = [_start(site, build) for build in shipped]
    return starts if often else [_seldom(start) for start in starts]


def _seldom(start: _Start) -> _Start:
    """``start`` of a build that no commit waits for."""
    return replace(start, certainty=Certainty.LIKELY, says=f"{start.says} ({start.build.seldom})")


def _for_tests(build: BuildSite) -> bool:
    file = build.called_from or build.path
    return bool(_TEST.search(f"{build.target or ''} {build.job} {file.rsplit('/', 1)[-1]}"))


def _start(site: Site, build: BuildSite) -> _Start:
    sure, maybe = Certainty.CERTAIN, Certainty.LIKELY
    if build.keeps_cache:
        says = build.keeps_cache if _KEEPS.search(build.keeps_cache) else f"{build.keeps_cache} keeps the cache"
        return _Start(build, False, maybe, says, build.keeps_cache_line)
    note = build.unsure("cache_to") or build.unsure("cache_from")
    if note is not None and not (build.cache_to and build.cache_from):
        return _Start(build, None, maybe, note.reason, note.line)
    note = build.unsure("cache_local")
    if note is not None:
        return _Start(build, True, maybe, note.reason, note.line)
    note = build.unsure("keeps_cache")
    if note is not None and not build.cache_to:
        return _Start(build, None, maybe, note.reason, note.line)
    exports = [ref for ref in build.cache_to if ref.type != "inline"]
    inline = any(ref.type == "inline" for ref in build.cache_to) or any(
        arg.name == "BUILDKIT_INLINE_CACHE" and arg.value == "1" for arg in build.build_args
    )
    if not build.cache_from:
        if exports or inline:
            line = build.cache_to[0].line if build.cache_to else build.line
            return _Start(build, True, sure, "exports a cache that no build imports", line)
        if build.tool == "kaniko":
            return _Start(build, True, maybe, "kaniko runs without --cache=true", build.line)
        return _Start(build, True, sure, "neither imports nor exports a layer cache", build.line)
    chain = _chain(site)
    multi = any(run.stage.index not in chain for run in site.runs)
    feeding = exports or [
        ref for other in ci.build_sites(site.tree).builds if other.ci for ref in other.cache_to if _feeds(ref, build)
    ]
    line = build.cache_from[0].line
    if feeding:
        best = next((ref for ref in feeding if ref.mode == "max"), feeding[0])
        if build.tool == "workflow" and "mode" not in best.attrs:
            says = f"the workflow imports and exports a {best.type} cache; which stages it keeps is not written here"
            return _Start(build, False, maybe, says, line)
        if best.mode == "max" or not multi:
            return _Start(build, False, sure, f"imports and exports a {best.type} cache", line)
        says = f"exports with mode={best.mode}, which leaves out every stage that is not part of the result"
        return _Start(build, True, maybe, says, best.line)
    fed_inline = inline or any(_writes_inline(other) for other in site.ci_builds)
    if fed_inline:
        if multi:
            return _Start(build, True, maybe, "inline cache holds the final stage only", line)
        return _Start(build, False, maybe, "imports an inline cache", line)
    if _named_elsewhere(site, build):
        says = f"{build.path} names the cache it imports in another place too, which may write it"
        return _Start(build, None, maybe, says, line)
    return _Start(build, True, maybe, "imports a cache that no build here exports", line)


def _named_elsewhere(site: Site, build: BuildSite) -> bool:
    """Whether a CI file names an imported cache outside of what imports it: a script may hand it on to a build."""
    refs = {ref.attrs.get("ref", "") for ref in build.cache_from if "cache" in ref.attrs.get("ref", "")}
    if not refs or "" in refs:
        return False
    imports = {(other.path, ref.line) for other in ci.build_sites(site.tree).builds for ref in other.cache_from}
    for path in site.tree.entries():
        if CI_FILE.fullmatch(path) and is_file(site.tree, path):
            lines = site.tree.read(path).decode("utf-8", "replace").split("\n")
            if any(
                ref in text and (path, number) not in imports and not text.lstrip().startswith("#")
                for number, text in enumerate(lines, 1)
                for ref in refs
            ):
                return True
    return False


def _chain(site: Site) -> set[int]:
    return {stage.index for stage in site.graph.chain(site.final)}


def _feeds(ref: CacheRef, build: BuildSite) -> bool:
    """Whether what one build exports is what another imports."""

    def name(other: CacheRef) -> tuple[str, ...]:
        return other.type, *(other.attrs.get(key, "") for key in ("ref", "scope", "bucket", "name"))

    return name(ref) in [name(other) for other in build.cache_from]


def _writes_inline(build: BuildSite) -> bool:
    return any(ref.type == "inline" for ref in build.cache_to) or any(
        arg.name == "BUILDKIT_INLINE_CACHE" and arg.value == "1" for arg in build.build_args
    )


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """Export and import a cache in every CI build that starts cold, each image with a cache of its own."""
    if answer.choice != "yes":
        return None
    starts = _starts(site)
    # where no build is known to start cold, somebody answered for those that cannot be told
    cold = [start.build for start in starts if start.cold] or [start.build for start in starts if start.cold is None]
    if not cold:
        return Remedy(
            Safety.SHOW,
            reasons=("no CI build was found",),
            guidance="Export with `--cache-to type=registry,ref=<image>:cache,mode=max`, import with `--cache-from`.",
        )
    multi = len(site.graph.reachable) > 1
    made = [(build, ci.change(site.tree, build, AddCache(multi, scope(site)))) for build in cold]
    ways: dict[tuple[str, int], set[tuple[Edit, ...]]] = {}
    for build, remedied in made:
        ways.setdefault((build.path, build.line), set()).add(remedied.edits)
    several = next((place for place, edits in ways.items() if len(edits) > 1), None)
    if several is not None:
        says = f"line {several[1]} of {several[0]} builds several images, each of which needs a cache of its own"
        return Remedy(Safety.SHOW, reasons=(says,), guidance=joined(remedied for _, remedied in made).guidance)
    return joined(remedied for _, remedied in made)


def scope(site: Site) -> str:
    """What tells this image's cache from others of the same repository: "" when it holds one Dockerfile only."""
    others = [path for path in dockerfiles(site.tree) if path != site.path]
    if not others and site.target is None:
        return ""
    folder, _, name = site.path.rpartition("/")
    beside = any(path.rpartition("/")[0] == folder for path in others)
    stem = _FILE_NAME.sub(" ", name).strip(" ._-") if beside else ""
    parts = [part for part in (folder.replace("/", "-"), stem, site.target or "") if part]
    return "-".join(parts)
