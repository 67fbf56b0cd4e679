"""Does CI throw the cache away?"""

from __future__ import annotations

from coach import ci
from coach.ci.nouns import DropNoCache
from coach.model import Answer, Remedy, Safety, certain, likely, unknown
from coach.remedies import joined
from coach.site import Site

NODE = "no_cache"
FIX = "F9"
SECTION = "Keep the cache in CI"
ANTI_PATTERN = "`--no-cache` in CI by default"


def probe(site: Site) -> Answer:
    """``yes`` when a CI build of this file switches the layer cache off; a scheduled rebuild may mean to."""
    off = [build for build in site.ci_builds if build.no_cache]
    others = [build for build in site.ci_builds if not build.no_cache]
    meant = [build for build in off if build.no_cache_why]
    if off and len(meant) == len(off) and (others or all("only when" in build.no_cache_why for build in meant)):
        meant_lines = [
            site.cite(
                build.no_cache_line or build.line, f"without cache on purpose: {build.no_cache_why}", path=build.path
            )
            for build in meant
        ]
        reason = f"ordinary builds keep the cache; one is rebuilt without it on purpose: {meant[0].no_cache_why}"
        return likely("no", reason, *dict.fromkeys(meant_lines))
    if off:
        evidence = [
            site.cite(
                build.no_cache_line or build.line,
                f"job {build.job} builds without the cache" + (f": {build.no_cache_why}" if build.no_cache_why else ""),
                path=build.path,
            )
            for build in off
        ]
        evidence = list(dict.fromkeys(evidence))
        careless = [build for build in off if not build.no_cache_why]
        if careless:
            return certain("yes", f"{careless[0].path} builds with the cache switched off", *evidence)
        return likely("yes", f"the cache is switched off, maybe on purpose: {off[0].no_cache_why}", *evidence)
    elsewhere = [build for build in site.ci_builds if build.tool in ("workflow", "orb")]
    unsure = [(build, build.unsure("no_cache")) for build in site.ci_builds if build not in elsewhere]
    for build, note in unsure:
        if note is not None:
            return unknown(
                note.reason,
                "look for --no-cache, no-cache: true or no_cache where that build is written",
                site.cite(note.line or build.line, "builds this file", path=build.path),
            )
    if not site.ci_builds:
        where = site.cite(site.final.head.line, "no CI configuration here builds this file")
        return certain("no", "no CI builds this file", where)
    seen = (site.cite(build.line, "builds with the cache on", path=build.path) for build in site.ci_builds)
    if elsewhere:
        says = (
            f"nothing here asks {elsewhere[0].path} to build without the cache; its steps stand in another repository"
        )
        return likely("no", says, *dict.fromkeys(seen))
    return certain("no", "no CI build switches the cache off", *dict.fromkeys(seen))


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """Drop the flag wherever it stands; a rebuild that means it is only pointed at."""
    if answer.choice != "yes":
        return None
    off = [build for build in site.ci_builds if build.no_cache]
    if not off:
        return Remedy(Safety.SHOW, reasons=("no build site was found",), guidance="Drop `--no-cache` from the build.")
    made = joined(ci.change(site.tree, build, DropNoCache()) for build in off)
    meant = [build for build in off if build.no_cache_why]
    if meant and made.safety is not Safety.SHOW:
        unsaid = (build for build in meant if not any(build.no_cache_why in said for said in made.reasons))
        reasons = dict.fromkeys(f"{build.path}: {build.no_cache_why}" for build in unsaid)
        return Remedy(Safety.REVIEW, made.edits, (*made.reasons, *reasons), made.guidance)
    return made
