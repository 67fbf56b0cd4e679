"""Is the image built with BuildKit?"""

from __future__ import annotations

import re

from coach import ci
from coach.ci.nouns import BuildkitOn
from coach.dockerfile import mounts
from coach.model import Answer, BuildSite, Evidence, Remedy, Safety, certain, likely, unknown
from coach.remedies import joined
from coach.site import Site

NODE = "buildkit"
FIX = "F1"
SECTION = "Enable BuildKit"
ANTI_PATTERN = "Building with the legacy builder"

# Not BuildKit, yet they honour cache mounts (buildah-build(1), podman-build(1), read 2026-11): F1 would be wrong.
_AS_GOOD = frozenset({"buildah", "podman", "podman-compose"})


def probe(site: Site) -> Answer:
    """``no`` when any place that builds this file does it with the legacy builder or kaniko."""
    needs = _needs(site)
    off = _off(site, needs)
    if off:
        evidence = tuple(dict.fromkeys(_cite(site, build) for build in off))
        answer = certain if any(build.buildkit is False for build in off) else likely
        return answer("no", _why(off[0]), *evidence)
    if needs is not None:
        return certain("yes", "the file cannot be built any other way", needs)
    default = [build for build in site.builds if build.buildkit is None]
    switched = [build for build in default if "DOCKER_BUILDKIT is set" in build.buildkit_why]
    if switched:
        build = switched[0]
        how = (
            "look up what DOCKER_BUILDKIT is where that build runs (its log starts with `[internal] load` if it is on)"
        )
        return unknown(build.buildkit_why, how, _cite(site, build))
    on = [build for build in site.builds if build.buildkit is True]
    if on:
        asked = [build for build in site.ci_builds if build.tool not in _AS_GOOD]
        open_ones = [build for build in asked if build.buildkit is None]
        answer = likely if open_ones else certain
        return answer("yes", _why(on[0]), *dict.fromkeys(_cite(site, build) for build in (*on, *open_ones)))
    like = [build for build in site.builds if build.tool in _AS_GOOD]
    if like:
        says = f"{like[0].tool} is not BuildKit, but honours cache mounts"
        return likely("yes", says, *dict.fromkeys(_cite(site, build) for build in like))
    hidden = [build for build in site.builds if build.tool in ("workflow", "orb", "action")]
    if hidden and len(hidden) == len(site.ci_builds):
        build = hidden[0]
        wide = next((build for build in hidden if len(build.platforms) > 1), None)
        if wide is not None:
            where = site.cite(wide.platforms_line or wide.line, "several platforms at once", path=wide.path)
            return likely("yes", "only BuildKit builds for several platforms at once", where)
        reason = build.buildkit_why or "what runs the build stands elsewhere"
        return likely("yes", f"{reason}; the engine's default has been BuildKit since 23.0", _cite(site, build))
    if site.builds:
        build = site.builds[0]
        says = f"{build.tool} leaves it to the engine, whose default is BuildKit since 23.0"
        return likely("yes", says, _cite(site, build))
    where = site.cite(site.final.head.line, "nothing in the repository says how this is built")
    return likely("yes", "the engine's default has been BuildKit since 23.0", where)


def _off(site: Site, needs: Evidence | None) -> list[BuildSite]:
    """Builds without BuildKit; what starts without it unless told is taken for off where the file allows that."""
    return [
        build
        for build in site.builds
        if build.tool not in _AS_GOOD
        and (build.buildkit is False or (_off_unless_told(build) and build.buildkit is None and needs is None))
    ]


def _off_unless_told(build: BuildSite) -> bool:
    """Compose v1 is assumed of `docker-compose`; Bitbucket's service brings a client that is told by a variable."""
    return build.tool == "docker-compose" or (build.system == "bitbucket" and "legacy builder" in build.buildkit_why)


def _why(build: BuildSite) -> str:
    return build.buildkit_why or f"{build.tool} is used"


def _cite(site: Site, build: BuildSite) -> Evidence:
    return site.cite(build.buildkit_line or build.line, _why(build), path=build.path)


def _needs(site: Site) -> Evidence | None:
    """A RUN mount, a heredoc, an automatic platform: the legacy builder stops with an error at each."""
    for item in site.dockerfile.instructions:
        if item.heredocs:
            return site.cite(item.line, "a heredoc needs BuildKit", item.end_line)
        if item.name == "RUN" and mounts(item):
            return site.cite(item.line, "a RUN mount needs BuildKit", item.end_line)
        platform = next(iter(item.flag_values("platform")), "") if item.name == "FROM" else ""
        if re.search(r"\$\{?(?:BUILD|TARGET)PLATFORM\b", platform):
            return site.cite(item.line, "only BuildKit fills in this platform", item.end_line)
    return None


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """Switch BuildKit on in every place that has it off."""
    if answer.choice != "no":
        return None
    off = _off(site, _needs(site))
    if not off:
        return Remedy(Safety.SHOW, reasons=("no build site was found",), guidance="Build with `docker buildx build`.")
    return joined(ci.change(site.tree, build, BuildkitOn()) for build in off)
