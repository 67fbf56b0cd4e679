"""Ruby: the bundle that the build fills, at the same path on the slim image of the same interpreter."""

from __future__ import annotations

import posixpath
import re

from coach.errors import InputError
from coach.knowledge import native
from coach.shipped import Shipped, dev_installs
from coach.site import Run
from coach.split.draft import (
    WORK,
    CannotSplitError,
    Draft,
    build_name,
    inserted,
    insertion,
    last_work,
    owner_of,
    refuse_downloads,
    smaller_base,
)
from coach.split.runtime import runtime_packages
from coach.steps import settings

__all__ = ["ruby"]

_BUNDLE = "/usr/local/bundle"
_NO_DEV = "BUNDLE_WITHOUT=development:test"
_LOCKED = re.compile(rb"^    ([A-Za-z0-9._-]+) \(", re.MULTILINE)
_RAILS = re.compile(rb"^\s*gem\s+['\"]rails['\"]", re.MULTILINE)
_MOST_LOCK = 4 * 1024 * 1024


def ruby(shipped: Shipped, workdir: str) -> Draft:
    """Gems from bundler, and the sources, on an image with the same interpreter and no compiler."""
    base = shipped.base
    assert base is not None
    if workdir == "/":
        raise CannotSplitError("the working directory is the root of the image, which cannot be copied as a whole")
    refuse_downloads(shipped)
    installs = [(run, step) for run, step in shipped.installs if step.manager == "bundler"]
    if not installs:
        raise CannotSplitError("nothing is installed that a runtime stage could take over")
    if any(step.directory != workdir for _, step in installs):
        raise CannotSplitError("the bundle is not that of the working directory")
    if not base.ships_build_tools and not shipped.packages_like("compilers", "headers"):
        raise CannotSplitError("the image holds no compiler that a runtime stage would be without")
    build = build_name(shipped)
    draft = Draft(smaller_base(shipped), last_work(shipped.stage), build, build)
    _without_dev(shipped, draft, workdir)
    places = _places(shipped, [run for run, _ in installs], workdir)
    _sources(shipped, draft, [run for run, _ in installs], places, workdir)
    known = native.compiled("ruby")
    compiled = [known[name] for name in sorted(_locked(shipped, workdir) & known.keys())]
    if base.packages == "apt":
        wanted = [library for package in compiled for library in package.run]
        draft.packages += [name for name in dict.fromkeys(wanted) if name not in runtime_packages(shipped)[0]]
    elif compiled:
        named = ", ".join(package.name for package in compiled[:3])
        draft.reasons.append(f"{named}: compiled here, so {draft.base} must hold the libraries that it links against")
    draft.reasons.append(
        f"{draft.base} has no compiler and fewer libraries: a gem that links against one beyond those installed there "
        "would not load"
    )
    draft.says = f"{draft.base} gets the bundle that was built, and the sources; the compiler stays behind."
    return draft


def _places(shipped: Shipped, runs: list[Run], workdir: str) -> list[str]:
    """The folders that hold gems and bundler's settings: the image's own, and the one that the project asks for."""
    found = [_BUNDLE]
    for run in runs:
        stored: dict[str, str | None] = {}
        for other in shipped.runs:
            if other.instruction.span.start <= run.instruction.span.start:
                stored |= settings(other.script)
        names = {**run.state.names(), **stored}
        for name in ("BUNDLE_PATH", "GEM_HOME"):
            path = names.get(name, "")
            if path is None or "$" in path:
                raise CannotSplitError(f"{name}, where gems are installed, cannot be told")
            if path:
                found.append(posixpath.normpath(posixpath.join(workdir, path)))
        words = {word for command in run.script.commands if command.name == "bundle" for word in command.words}
        if not names.get("BUNDLE_PATH") and (names.get("BUNDLE_DEPLOYMENT") or "--deployment" in words):
            found.append(posixpath.join(workdir, "vendor/bundle"))
    return list(dict.fromkeys(found))


def _sources(shipped: Shipped, draft: Draft, runs: list[Run], places: list[str], workdir: str) -> None:
    """The gems alone where the sources can be copied to the runtime stage itself, else all of the project too."""
    outside = [place for place in places if not (place + "/").startswith(workdir.rstrip("/") + "/")]
    final = max((run.instruction for run in runs), key=lambda found: found.span.start)
    after = [found for found in shipped.stage.body if found.name in WORK and found.span.start > final.span.start]
    if all(found.name in ("COPY", "ADD") and found.flag("from") is None for found in after) and after:
        draft.last = final
        draft.all_files = True
        for place in places:
            draft.take(place)
        return
    for place in outside:
        draft.take(place)
    draft.take(workdir, owner=owner_of(shipped, workdir, shipped.runs[-1], copied=True))
    draft.reasons.append(f"all of {workdir} is copied, since it runs from its sources")


def _without_dev(shipped: Shipped, draft: Draft, workdir: str) -> None:
    """Leave the groups for development out of the bundle, unless Rails may be started in its development mode."""
    installs = [dev for dev in dev_installs(shipped) if dev.through is None]
    if not installs:
        return
    names = shipped.site.graph.state_at_end(shipped.stage).names()
    production = "production" in (names.get("RAILS_ENV"), names.get("RACK_ENV"))
    if not production and _RAILS.search(_text(shipped, posixpath.join(workdir, "Gemfile"))):
        draft.reasons.append("RAILS_ENV is not production, so the gems of development and test stay in the bundle")
        return
    first = min((dev.run.instruction for dev in installs), key=lambda found: found.span.start)
    draft.edits.append(inserted(shipped, insertion(shipped, first), [f"ENV {_NO_DEV}"]))
    draft.env.append(f"ENV {_NO_DEV}")
    draft.reasons.append(f"{_NO_DEV}: tasks and tests that run in this image lose the gems of these groups")


def _locked(shipped: Shipped, workdir: str) -> set[str]:
    """Names of the gems that the lockfile lists."""
    text = _text(shipped, posixpath.join(workdir, "Gemfile.lock"))
    return {name.decode("ascii") for name in _LOCKED.findall(text)}


def _text(shipped: Shipped, place: str) -> bytes:
    path = shipped.site.layers.view(shipped.stage).get(place)
    if path is None:
        return b""
    try:
        content = shipped.site.read(path)
    except InputError:
        return b""
    return content if len(content) <= _MOST_LOCK else b""
