"""System packages that have cache mounts already: what defeats those, and what they need to keep anything.

Nothing here decides an answer, and no mount is added: packages of the system come along when others get theirs.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from coach.cache_needs import Seen, ancestry, mounted
from coach.knowledge import Table, managers, tables
from coach.site import Run, Site
from coach.steps import Action, Fight, PackageStep

_MOVED = re.compile(r"cachedir|Dir::", re.IGNORECASE)


@dataclass
class Ride:
    """What to change in one RUN, and what to say of it: ``inserts`` are texts by their offset in the script."""

    cuts: list[Fight] = field(default_factory=list)
    inserts: dict[int, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Place(NamedTuple):
    image: re.Pattern[str]
    paths: tuple[str, ...]


class _Keep(NamedTuple):
    before: str
    option: str
    program: re.Pattern[str]
    unless: re.Pattern[str]
    why: str
    stays: bool


class _Facts(NamedTuple):
    places: tuple[_Place, ...]
    keep: tuple[_Keep, ...]


@cache
def _facts() -> dict[str, _Facts]:
    return {
        name: _read(Table(f"{file}: {name}", value))
        for file, content in tables("system_packages.toml")
        for name, value in content.items()
    }


def _read(table: Table) -> _Facts:
    """The facts of one manager; ``KnowledgeError`` where they are not what the table's head says."""
    table.text("source")
    table.text("date")
    places = [_Place(item.pattern("image"), item.words("paths")) for item in table.each("places")]
    keep = [
        _Keep(
            item.text("before", ""),
            item.text("option", ""),
            item.pattern("program"),
            item.pattern("unless"),
            item.text("why"),
            item.flag("stays"),
        )
        for item in table.each("keep")
    ]
    table.finish()
    return _Facts(tuple(places), tuple(keep))


def ride(site: Site, one: Seen) -> Ride:
    """How the system packages of a RUN come to use the cache mounts that it has; empty where it has none for them."""
    made = Ride()
    targets = [target for target, _ in mounted(one.run) if target is not None and target != "/"]
    for step in one.steps:
        if step.action is not Action.OS or step.via or not step.command.exact or not targets:
            continue
        if any(cache.moved_by for cache in step.caches) or _MOVED.search(one.script.source):
            continue
        facts = _facts()[step.manager]
        image = site.graph.root_image(one.run.stage) or ""
        places = next((place.paths for place in facts.places if place.image.search(image)), ())
        if not any(_in(path, targets) for path in places):
            if not places and any(
                _in(path, targets) for cache in step.caches for path in (*cache.mounts, *cache.enough)
            ):
                made.notes.append(
                    f"line {one.run.line}: where `{step.label}` of this image keeps its packages depends on "
                    "its version, so its mount is left as it is"
                )
            continue
        made.cuts += _defeated(step, targets)
        _kept(site, one, step, facts.keep, targets, made)
    return made


def _in(path: str, targets: Sequence[str]) -> bool:
    return any(path == target or path.startswith(target + "/") for target in targets)


def _defeated(step: PackageStep, targets: Sequence[str]) -> Iterator[Fight]:
    """The fights whose removal leaves nothing in the layer: all that they remove lies in a mount."""
    for fight in step.fights:
        if fight.start >= fight.end or fight.wide:
            continue
        named = re.findall(r"(?:^|\s)(/[^\s;&|]*)", fight.text)
        if "/" not in fight.text or (
            named and all(_in(posixpath.normpath(path.rstrip("*")), targets) for path in named)
        ):
            yield fight


def _kept(site: Site, one: Seen, step: PackageStep, keeps: Sequence[_Keep], targets: Sequence[str], made: Ride) -> None:
    above = [
        run for run in ancestry(site, one.run.stage) if run.instruction.span.start < one.run.instruction.span.start
    ]
    said = "\n".join([*(run.script.source for run in above), one.script.source, *targets])
    for keep in keeps:
        if not keep.program.fullmatch(step.command.name or "") or keep.unless.search(said):
            continue
        if keep.before and any(keep.before in text for text in made.inserts.values()):
            continue
        at = _subcommand(step) if keep.option else _start(one, step)
        if at is None:
            made.notes.append(f"line {one.run.line}: `{keep.before or keep.option}` belongs there too: {keep.why}")
            continue
        text = f"{keep.option} " if keep.option else f"{keep.before} &&{_next_line(site, one, at)}"
        made.inserts[at] = made.inserts.get(at, "") + text
        made.notes.append(f"line {one.run.line}: `{keep.option or keep.before}`, since {keep.why}")
        if keep.stays:
            bare = [str(run.line) for run in _later(site, one.run) if _unmounted(run, step.manager)]
            if bare:
                made.reasons.append(
                    f"line {', '.join(bare)}: `{step.manager}` has no cache mount there and would leave its "
                    f"downloads in the layer, now that line {one.run.line} has it keep them"
                )


def _subcommand(step: PackageStep) -> int | None:
    """Where the subcommand of a call stands; options of the program itself belong in front of it."""
    words = {word for rule in managers()[step.manager].commands for group in rule.words for word in group}
    return next((word.start for word in step.command.peeled[1:] if word.text in words), None)


def _start(one: Seen, step: PackageStep) -> int | None:
    """Where another command can be put in front of a call: it begins a top-level item, and nothing wraps it."""
    command = step.command
    item = next((item for item in one.script.items if item.start == command.start), None)
    if item is None or item.joiner not in {"", "&&", ";", "\n"} or len(command.peeled) != len(command.argv):
        return None
    return command.start


def _next_line(site: Site, one: Seen, at: int) -> str:
    """What stands between two commands on lines of their own, the second indented as the one at ``at``."""
    if one.run.instruction.heredocs:
        return " "
    content = site.dockerfile.content
    place = one.run.offset(at)
    lead = content[content.rfind(b"\n", 0, place) + 1 : place].decode("utf-8", "surrogateescape")
    return f" {site.dockerfile.escape}{site.dockerfile.eol.decode()}{lead if not lead.strip() else '    '}"


def _later(site: Site, run: Run) -> list[Run]:
    """The RUNs on top of ``run``, in file order."""
    return [
        other
        for stage in site.graph.reachable
        if any(link.index == run.stage.index for link in site.graph.chain(stage))
        for other in site.runs_of(stage)
        if other.instruction.span.start > run.instruction.span.start
    ]


def _unmounted(run: Run, manager: str) -> bool:
    """Whether a RUN leaves what ``manager`` downloads in its layer."""
    targets = [target for target, _ in mounted(run) if target is not None]
    return any(
        step.manager == manager
        and not any(_in(path, targets) for cache in step.caches[:1] for path in cache.mounts)
        and not any("/" not in fight.text for fight in step.fights)
        for step in run.steps
    )
