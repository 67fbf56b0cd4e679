"""Which steps of a build keep packages, where, and whether a cache mount holds that place."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from coach import images
from coach.accounts import COMMANDS, Account, accounts
from coach.dockerfile import Instruction, Mount, Stage, State
from coach.errors import InputError
from coach.knowledge import managers
from coach.mount_owner import Who, shut, who
from coach.shell import Command, Script, parse
from coach.site import Run, Site
from coach.steps import Action, CacheDir, Fight, Hidden, Look, PackageStep, hidden, settings, steps

_OPENERS = frozenset({"chown", "chmod", "chgrp", "setfacl", "install"})


class Standing(StrEnum):
    """How a step stands: ``HELD`` by a mount, ``BARE`` without one, ``FOUGHT`` (held, but something defeats it),
    ``SHUT`` (held by a mount its user cannot write to), ``UNSURE``, or ``EXEMPT`` because there is nothing a mount
    could keep."""

    HELD = "held"
    BARE = "bare"
    FOUGHT = "fought"
    SHUT = "shut"
    UNSURE = "unsure"
    EXEMPT = "exempt"


WRONG = (Standing.BARE, Standing.FOUGHT, Standing.SHUT)
"""How a step stands that has to be mended."""


@dataclass(frozen=True)
class Need:
    """One language-level step of a reachable stage and how it stands. ``missing`` are its caches without a mount.

    ``mount`` is the cache mount that holds it, or a misplaced one. ``reason`` says why
    it is unsure or exempt; ``line`` is where the command stands in the Dockerfile. With ``compiles`` nothing is
    downloaded, and the cache is that of the compiler. ``shut`` are the cache mounts that the step's user ``who`` cannot
    write to.
    """

    run: Run
    step: PackageStep
    standing: Standing
    missing: tuple[CacheDir, ...] = ()
    fights: tuple[Fight, ...] = ()
    mount: Mount | None = None
    reason: str = ""
    line: int = 0
    compiles: bool = False
    shut: tuple[Mount, ...] = ()
    who: Who | None = None


@dataclass(frozen=True)
class Survey:
    """Every step of a site that could keep packages, in file order, and the commands that nobody could follow."""

    needs: tuple[Need, ...]
    hidden: tuple[tuple[Run, Hidden], ...]
    unread: tuple[Run, ...]

    def standing(self, *kinds: Standing) -> tuple[Need, ...]:
        return tuple(need for need in self.needs if need.standing in kinds)


def line_of(site: Site, run: Run, command: Command) -> int:
    """Line of the Dockerfile where ``command`` of ``run`` starts; the RUN's own where it cannot be told."""
    if run.instruction.json or run.instruction.line == run.instruction.end_line:
        return run.line
    at = run.offset(min(command.start, len(run.script.source)))
    return run.line + site.dockerfile.content[run.instruction.span.start : at].count(b"\n")


def env_setters(site: Site, run: Run, name: str) -> tuple[Instruction, ...]:
    """The ENV instructions on the way to ``run`` that set ``name``."""
    return tuple(
        item
        for stage in site.graph.chain(run.stage)
        for item in stage.body
        if item.name == "ENV"
        and any(key == name for key, _ in item.pairs)
        and (stage.index != run.stage.index or item.span.start < run.instruction.span.start)
    )


@dataclass(frozen=True)
class Seen:
    """A RUN with its steps read again in the light of what stands above it: accounts and stored settings."""

    run: Run
    state: State
    script: Script
    steps: tuple[PackageStep, ...]
    accounts: Mapping[str, Account]
    hidden: tuple[Hidden, ...]


def ancestry(site: Site, stage: Stage) -> tuple[Run, ...]:
    """The RUNs that ``stage`` is made of, oldest first."""
    return tuple(run for link in site.graph.chain(stage) for run in site.runs_of(link))


def read(site: Site) -> tuple[Seen, ...]:
    """Every RUN the target needs, with accounts made by earlier commands and settings stored by them applied."""
    found: dict[int, Seen] = {}
    for stage in site.graph.reachable:
        commands: list[Command] = []
        stored: dict[str, str | None] = {}
        for run in ancestry(site, stage):
            if run.stage.index == stage.index:
                found[run.instruction.span.start] = _seen(site, run, accounts(commands), stored)
            commands += (command for command in run.script.commands if command.name in COMMANDS)
            stored |= settings(run.script)
    return tuple(found[start] for start in sorted(found))


def _seen(site: Site, run: Run, known: Mapping[str, Account], stored: Mapping[str, str | None]) -> Seen:
    look = _looker(site, run)
    state, script = run.state, run.script
    home = run.home
    if home is None:
        account = known.get((state.user or "").partition(":")[0])
        home = account.home if account is not None else None
        if home is not None and not run.instruction.json:
            script = parse(script.source, {**state.names(), "HOME": home}, state.workdir)
    state = replace(state, env={**state.env, "HOME": home})
    again = run.steps if home == run.home and not stored else steps(script, state, look, stored)
    return Seen(run, state, script, again, known, hidden(script, state, look))


def _looker(site: Site, run: Run) -> Look:
    @functools.cache
    def look(path: str) -> tuple[str, bytes] | None:
        source = run.files.get(posixpath.normpath(path))
        if source is None:
            return None
        try:
            return source, site.read(source)
        except InputError:
            return None

    return look


def mounted(run: Run) -> Iterator[tuple[str | None, Mount]]:
    """Cache mounts of a RUN with their absolute targets, ``None`` where a target cannot be told."""
    for mount in run.mounts:
        if mount.type == "cache":
            text = run.state.expand(mount.target or "").text
            if text and not text.startswith("/"):
                text = posixpath.join(run.state.workdir, text) if run.state.workdir is not None else None
            yield (posixpath.normpath(text) if text else None), mount


def holds(target: str, cache: CacheDir) -> bool:
    """Whether a mount on ``target`` keeps ``cache``: the directory, one above it, or a part that is enough."""
    if target == "/":
        return False
    for place in (cache.path, *cache.mounts, *cache.enough):
        if place is not None and (target == place or place.startswith(target + "/") or fnmatchcase(target, place)):
            return True
    return False


def survey(site: Site) -> Survey:
    """How every step of ``site`` stands. Never raises for a site that could be made."""
    needs: list[Need] = []
    seen = read(site)
    for one in seen:
        files = one.run.files
        earlier = [need for need in needs if _above(site, need.run, one.run)]
        for step in one.steps:
            if step.action not in {Action.OS, Action.TOOL}:
                need = _judge(site, one, step, files, [*earlier, *(n for n in needs if n.run is one.run)])
                needs.append(replace(need, line=line_of(site, one.run, step.command)))
    return Survey(
        tuple(needs),
        tuple((one.run, item) for one in seen for item in one.hidden),
        tuple(one.run for one in seen if one.script.broken),
    )


def _above(site: Site, first: Run, then: Run) -> bool:
    lines = {stage.index for stage in site.graph.chain(then.stage)}
    return first.stage.index in lines and first.instruction.span.start < then.instruction.span.start


def _judge(site: Site, one: Seen, step: PackageStep, files: Mapping[str, str], earlier: Sequence[Need]) -> Need:
    run = one.run
    required = tuple(cache for cache in step.caches if cache.role in {"download", "shared"})
    if not required:
        return Need(run, step, Standing.EXEMPT, reason="what it downloads is what the program runs with")
    if _other_branch(one, step, files):
        return Need(run, step, Standing.EXEMPT, reason="its lockfile is not there, so this branch does not run")
    exempt = _downloads_nothing(step, required, files, earlier)
    if exempt:
        required = tuple(cache for cache in step.caches if cache.role == "objects")
        if not required:
            return Need(run, step, Standing.EXEMPT, reason=exempt)
    need = _held(site, one, step, required, earlier)
    need = replace(need, compiles=True) if exempt else need
    return _shut(site, one, need)


def _downloads_nothing(
    step: PackageStep, required: Sequence[CacheDir], files: Mapping[str, str], earlier: Sequence[Need]
) -> str:
    """Why ``step`` downloads no package at all; "" where it may."""
    if step.nothing:
        return step.nothing
    if step.vendored:
        return "its dependencies are vendored"
    if step.offline and not _fed(step, required, earlier):
        return "it downloads nothing"
    if any(_brought(cache.path, step.directory, files) for cache in required):
        return "its packages come with the repository"
    return ""


def _held(site: Site, one: Seen, step: PackageStep, required: Sequence[CacheDir], earlier: Sequence[Need]) -> Need:
    """How the mounts of a RUN hold the caches that ``step`` has to have."""
    run = one.run
    targets = list(mounted(run))
    missing: list[CacheDir] = []
    holder: Mount | None = None
    for cache in required:
        held = next((mount for target, mount in targets if target is not None and holds(target, cache)), None)
        holder = holder or held
        if held is None:
            missing.append(cache)
    if not missing:
        standing = Standing.FOUGHT if step.fights else Standing.HELD
        return Need(run, step, standing, fights=step.fights, mount=holder, reason=_elsewhere(site, one, step, required))
    compiled = [cache for cache in step.caches if cache.role in {"compile", "objects"}]
    for target, mount in targets:
        if target is not None and any(holds(target, cache) for cache in compiled) and not _in_a_mount(missing, earlier):
            says = f"its mount keeps what is compiled, but not {missing[0].path or 'the packages'}"
            return Need(run, step, Standing.FOUGHT if step.fights else Standing.HELD, (), step.fights, mount, says)
    doubt = _doubt(site, run, missing, targets, one)
    if doubt:
        return Need(run, step, Standing.UNSURE, tuple(missing), step.fights, reason=doubt)
    used = [cache for other in one.steps for cache in other.caches]
    stray = next(
        (mount for target, mount in targets if target is not None and not any(holds(target, cache) for cache in used)),
        None,
    )
    return Need(run, step, Standing.BARE, tuple(missing), step.fights, stray)


def _shut(site: Site, one: Seen, need: Need) -> Need:
    """``need`` again, if the mounts that hold its caches belong to somebody else and keep its user from writing."""
    step = need.step
    user = step.command.user if step.command.user is not None else one.state.user
    named = who(user, one.accounts, site.graph.root_image(one.run.stage))
    if named is None or need.standing not in {Standing.HELD, Standing.FOUGHT, Standing.BARE}:
        return need
    found: dict[str, Mount] = {}
    for cache in (cache for cache in step.caches if cache.role != "live"):
        holders = {target: mount for target, mount in mounted(one.run) if target is not None and holds(target, cache)}
        found |= {
            target: mount
            for target, mount in holders.items()
            if shut(mount, named) and not any(other.startswith(target + "/") for other in holders)
        }
    if not found:
        return need
    doubt = _opened(site, one.run, found)
    if doubt:
        return need if need.standing is not Standing.HELD else replace(need, standing=Standing.UNSURE, reason=doubt)
    standing = Standing.SHUT if need.standing is Standing.HELD else need.standing
    return replace(need, standing=standing, shut=tuple(found.values()), who=named)


def _opened(site: Site, run: Run, found: Mapping[str, Mount]) -> str:
    """Why a mount that belongs to root may do all the same: what else is done in the same cache; "" for nothing."""
    for other in site.runs:
        if not any(_same(target, mount, mine) for target, mount in mounted(other) for mine in found.values()):
            continue
        if any(command.name in _OPENERS for command in other.script.commands):
            return f"line {other.line} changes whom something belongs to while that cache is mounted"
        named = who(other.state.user, {}, None)
        if other is not run and (named is None or named.root):
            return f"line {other.line} fills the same cache as root, and reading it may be enough"
    return ""


def _same(target: str | None, mount: Mount, other: Mount) -> bool:
    """Whether two mounts are one cache: the same name (the target, if it has none), made for the same user."""
    keys = ("uid", "gid", "mode", "from", "source")
    return (mount.options.get("id", target) == other.options.get("id", other.target)) and all(
        mount.options.get(key) == other.options.get(key) for key in keys
    )


def _fed(step: PackageStep, required: Sequence[CacheDir], earlier: Sequence[Need]) -> bool:
    """Whether an offline step depends on the cache that an earlier step fills in a mount."""
    if step.action not in {Action.INSTALL, Action.FETCH} and not any(cache.role == "shared" for cache in required):
        return False
    wanted = {cache.path for cache in required}
    return any(
        need.step.manager == step.manager
        and not need.step.offline
        and need.standing is not Standing.EXEMPT
        and (need.mount is not None and need.standing is not Standing.BARE)
        and wanted & {cache.path for cache in need.step.caches}
        for need in earlier
    )


def _in_a_mount(missing: Sequence[CacheDir], earlier: Sequence[Need]) -> bool:
    """Whether an earlier step left the packages in a cache mount, so that they are in no layer below."""
    return any(
        target is not None and holds(target, cache)
        for need in earlier
        for target, _ in mounted(need.run)
        for cache in missing
    )


def _other_branch(one: Seen, step: PackageStep, files: Mapping[str, str]) -> bool:
    """One of several guarded installs in one RUN, where another's lockfile is there and its own is not."""

    def locked(other: PackageStep) -> bool:
        names = managers()[other.manager].lockfiles
        return other.directory is not None and any(posixpath.join(other.directory, name) in files for name in names)

    rivals = [
        other
        for other in one.steps
        if other.command.guarded and other.action is Action.INSTALL and other.ecosystem == step.ecosystem
    ]
    return step.command.guarded and step in rivals and not locked(step) and any(locked(other) for other in rivals)


def _elsewhere(site: Site, one: Seen, step: PackageStep, required: Sequence[CacheDir]) -> str:
    """pnpm leaves its usual store when it cannot write beside it, as below directories that a mount makes for root."""
    home = one.state.env.get("HOME")
    user = (one.state.user or "root").partition(":")[0]
    path = required[0].path
    if step.manager != "pnpm" or required[0].moved_by or user in {"root", "0"} or path is None or home is None:
        return ""
    parent = posixpath.dirname(path)
    made = (word for run in ancestry(site, one.run.stage) for command in run.script.commands for word in command.words)
    if any(word is not None and (word == parent or word.startswith(parent + "/")) for word in made):
        return ""
    return f"unless {parent} was made before, the mount makes it root's and pnpm keeps its store elsewhere"


def _brought(path: str | None, directory: str | None, files: Mapping[str, str]) -> bool:
    """Whether the cache is a directory of the project that comes with the repository (Yarn's zero-installs)."""
    if path is None or directory is None or not path.startswith(directory.rstrip("/") + "/"):
        return False
    return any(target.startswith(path + "/") for target in files)


def _doubt(
    site: Site, run: Run, missing: Sequence[CacheDir], targets: Sequence[tuple[str | None, Mount]], one: Seen
) -> str:
    """Why it cannot be told whether one of the RUN's own cache mounts holds ``missing``; "" when it can."""
    if not targets:
        return ""
    if any(target is None for target, _ in targets):
        return "the target of its cache mount holds a variable with no known value"
    unknown = next((cache for cache in missing if cache.path is None), None)
    if unknown is not None:
        return unknown.why
    spare = [
        target
        for target, _ in targets
        if target is not None and not any(holds(target, cache) for step in one.steps for cache in step.caches)
    ]
    root = site.graph.root_image(run.stage)
    if spare and all(not cache.moved_by for cache in missing) and (root is None or images.lookup(root) is None):
        return f"nothing is known of {root or 'the base image'}, which may have moved the cache to {spare[0]}"
    return ""
