"""Edits that give package steps their cache mounts, and every reason why such a mount could break the build.

A cache mount hides what the image has at its target while the RUN runs, and takes everything below it away when the
RUN is over. So a directory that anything reads later (a later command, COPY --from, the program itself) must not be
mounted in one RUN alone. What could be such a reader is looked for here; it makes the patch one to review, or none.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from coach import images
from coach.cache_needs import WRONG, Need, Seen, Standing, env_setters, holds, mounted, read, survey
from coach.dockerfile import Instruction, Stage, mounts
from coach.knowledge import managers
from coach.model import Edit, Span
from coach.mount_owner import given, who
from coach.shell import Command, parse, parse_argv
from coach.site import Run, Site
from coach.steps import Action, CacheDir, Fight, PackageStep, program
from coach.system_packages import ride

_PLAIN = frozenset(
    (
        "true false : echo printf test [ set export unset cd pwd pushd popd ls cat head tail cp mv rm rmdir mkdir "
        "ln touch chmod chown chgrp find sed awk grep egrep sort uniq cut tr wc tee tar gzip gunzip bzip2 xz unzip "
        "zip curl wget git date sleep env which type command id whoami uname hostname getent useradd adduser "
        "groupadd addgroup usermod passwd chsh ldconfig update-ca-certificates locale-gen dpkg apt-key gpg gpgv "
        "sha256sum sha512sum md5sum base64 openssl ssh ssh-keyscan file stat du df xargs strip upx ldd exit umask "
        "trap wait read source . eval shopt install mktemp readlink realpath basename dirname diff patch jq yq "
        "setcap getcap apt-mark apt-config update-alternatives ssh-keygen xx-info xx-apt xx-apt-get "
        "xx-apk xx-verify rustup rustc node python python3 ruby php java perl "
        "protoc sync"
    ).split()
)
# directories that are there without any cache in them
_STANDING = frozenset(
    {"/", "/root", "/home", "/usr", "/usr/local", "/usr/local/cargo", "/go", "/opt", "/opt/conda", "/var"}
)
_RUNS_OTHERS = frozenset(
    "make just task mage air reflex CompileDaemon watchexec entr nodemon dlv wgo gow bash sh ash zsh tilt overmind "
    "foreman hivemind supervisord".split()
)
_IDLE = frozenset({"version", "env", "fmt", "help", "clean", "--version", "-v", "-V", "--info", "-h", "--help", "new"})
_MAY_NAME_A_CACHE = frozenset({"rm", "mkdir", "echo", "export", "printf", "test", "[", "set"})


@dataclass
class RunPlan:
    """What changes in one RUN: mounts by target, pieces to cut out, text to insert before a character of the script."""

    seen: Seen
    mounts: dict[str, str] = field(default_factory=dict)
    cuts: dict[tuple[int, int], Fight] = field(default_factory=dict)
    inserts: dict[int, str] = field(default_factory=dict)
    directories: dict[str, None] = field(default_factory=dict)
    owners: dict[Span, tuple[str, str]] = field(default_factory=dict)
    """Mounts that are there already and get another owner: by the place of the flag, the flag anew, its options."""
    why: list[str] = field(default_factory=list)

    @property
    def run(self) -> Run:
        return self.seen.run


@dataclass
class Plan:
    """The whole change. ``blockers`` forbid it, ``reasons`` must be looked at."""

    runs: dict[int, RunPlan] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)
    blockers: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def guidance(self, *, shown: bool) -> str:
        """Markdown: what the patch does line by line, or, with ``shown``, the flags to write by hand."""
        out: list[str] = []
        for planned in self.runs.values():
            line = planned.run.line
            what = "; ".join(dict.fromkeys(planned.why))
            if planned.mounts:
                targets = ", ".join(f"`{target}`" for target in planned.mounts)
                verb = "would want" if shown else "gets"
                out.append(f"- line {line}: {what} {verb} a cache mount on {targets}")
                if shown:
                    out += ["", "  ```dockerfile", *(f"  {mount} \\" for mount in planned.mounts.values()), "  ```", ""]
            for _, options in planned.owners.values():
                out.append(f"- line {line}: {what} {'would want' if shown else 'gets'} `{options}` on its cache mount")
            for fight in planned.cuts.values():
                out.append(f"- line {line}: drop `{fight.text.strip().splitlines()[0]}`, {fight.why}")
        return "\n".join([*out, *(f"- {note}" for note in self.notes)])


def plan(site: Site, chosen: Collection[int]) -> Plan:
    """What it takes to hold every bare step of the RUNs that start at ``chosen``, and of what reads the same cache.

    Blockers and reasons say how far that can be trusted.
    """
    made = Plan()
    found = survey(site)
    seen = {one.run.instruction.span.start: one for one in read(site)}
    for need in found.standing(*WRONG):
        start = need.run.instruction.span.start
        if start in chosen:
            _hold(site, made, seen[start], need)
    _offline_partners(site, made, seen)
    _later_readers(site, made, seen)
    for planned in made.runs.values():
        _fights_of(site, made, planned)
    _system_packages(site, made, seen)
    if not made.blockers:
        made.edits = _edits(site, made)
    _mention_system_packages(made, seen)
    return made


# -- mounts --------------------------------------------------------------------------------------------------------


def _planned(made: Plan, one: Seen) -> RunPlan:
    return made.runs.setdefault(one.run.instruction.span.start, RunPlan(one))


def _hold(site: Site, made: Plan, one: Seen, need: Need) -> None:
    planned = _planned(made, one)
    planned.why.append(f"`{need.step.label}`")
    if need.standing is Standing.BARE:
        optional = [cache for cache in need.step.caches if cache.role in {"compile", "objects"}]
        for cache in (*need.missing, *optional):
            _add(site, made, planned, need.step, cache, required=cache in need.missing)
    _own(site, made, planned, need)
    if need.step.via:
        made.reasons.append(
            f"`{need.step.label}` stands in {need.step.via}: nothing there may remove or move its cache directory"
        )
    manager = managers()[need.step.manager]
    if manager.review:
        made.reasons.append(f"line {need.line}: {manager.review}")
    root = site.graph.root_image(need.run.stage)
    moved = all(cache.moved_by for cache in need.missing)
    if need.standing is Standing.BARE and not moved and (root is None or images.lookup(root) is None):
        made.reasons.append(
            f"nothing is known of {root or 'the base image of that stage'}: it may run as another user or move the "
            f"cache of {need.step.manager}"
        )
    _settings(made, planned, need.step)


def _settings(made: Plan, planned: RunPlan, step: PackageStep) -> None:
    """Environment variables that belong to the mount, written in front of the command."""
    manager = managers()[step.manager]
    for needed, setting in [(True, item) for item in manager.setup] + [(False, item) for item in manager.help]:
        if setting.env in step.command.env or setting.env in planned.seen.state.env:
            continue
        if step.command.exact and not step.via:
            text = f"{setting.env}={setting.value} "
            at = step.command.start
            if text not in planned.inserts.get(at, ""):
                planned.inserts[at] = planned.inserts.get(at, "") + text
                made.notes.append(f"`{setting.env}={setting.value}`: {setting.why}")
        elif needed:
            made.blockers.append(f"{setting.env}={setting.value} has to be set by hand: {setting.why}")


def _add(site: Site, made: Plan, planned: RunPlan, step: PackageStep, cache: CacheDir, *, required: bool) -> None:
    run = planned.run
    if any(target is not None and holds(target, cache) for target, _ in mounted(run)):
        return
    if cache.path is None:
        if required:
            made.blockers.append(f"line {run.line}: {cache.why}, so where a mount belongs cannot be told")
        return
    owner = _owner(site, planned.seen, step)
    for target in cache.mounts:
        if target in planned.mounts:
            continue
        problem = _unfit(planned, target)
        if problem:
            if required:
                made.blockers.append(problem)
            continue
        options = ["type=cache", *_same_cache(site, target), f"target={target}"]
        if managers()[step.manager].sharing == "locked":
            options.append("sharing=locked")
        if owner.text:
            options.append(owner.text)
        if owner.reason:
            made.reasons.append(f"line {run.line}: {owner.reason}")
        planned.mounts[target] = f"--mount={','.join(options)}"
        if owner.text and managers()[step.manager].beside:
            _keep_parents(made, planned, step, target)


def _own(site: Site, made: Plan, planned: RunPlan, need: Need) -> None:
    """Give the mounts that the step cannot write to its user."""
    owner = _owner(site, planned.seen, need.step)
    for mount in need.shut:
        span = mount.flag.span
        flag = given(site.dockerfile.content[span.start : span.end].decode("utf-8", "surrogateescape"), owner.text)
        if flag is None:
            made.blockers.append(f"line {need.run.line}: `{owner.text}` has to be written into its cache mount by hand")
            continue
        planned.owners[span] = (flag, owner.text)
        if owner.reason:
            made.reasons.append(f"line {need.run.line}: {owner.reason}")
        target = next((target for target, other in mounted(need.run) if other is mount), None)
        if target is not None and managers()[need.step.manager].beside:
            _keep_parents(made, planned, need.step, target)


def _same_cache(site: Site, target: str) -> list[str]:
    """The ``id`` by which the file's other mounts on ``target`` name their cache, so that this one is the same."""
    for run in site.runs:
        for place, mount in mounted(run):
            name = mount.options.get("id", "")
            if place == target and name and "$" not in name and name != target:
                return [f"id={name}"]
    return []


@dataclass(frozen=True)
class _Owner:
    """Mount options for a user other than root, and what is not sure about them."""

    text: str = ""
    reason: str = ""


def _owner(site: Site, one: Seen, step: PackageStep) -> _Owner:
    user = step.command.user if step.command.user is not None else one.state.user
    named = who(user, one.accounts, site.graph.root_image(one.run.stage))
    if named is None:
        return _Owner(reason="nobody says as which user it runs; the mount suits root")
    if named.root or named.uid is not None:
        return _Owner(named.options)
    # writable for whoever it is; the number of a user that the system chose is not in the repository
    return _Owner(
        "mode=0777", f"the number of user {named.name} is not known, so the mount is made writable for everyone"
    )


def _unfit(planned: RunPlan, target: str) -> str:
    """Why ``target`` cannot be mounted over in that RUN; "" when it can."""
    run = planned.run
    line = run.line
    if re.search(r"[\s,\"'$\\]", target) or target.count("/") < 2:
        return f"line {line}: {target} is no path to put a mount on"
    for mount in run.mounts:
        text = run.state.expand(mount.target or "").text
        place = posixpath.normpath(posixpath.join(run.state.workdir or "/", text)) if text else None
        if place is not None and place != "/" and (place + "/").startswith(target + "/"):
            return f"line {line}: another mount lies in {target}"
    if run.state.workdir is not None and (run.state.workdir + "/").startswith(target + "/"):
        return f"line {line}: the working directory lies in {target}"
    if any(path.startswith(target + "/") for path in run.files):
        return f"line {line}: files of the repository are copied into {target}, where a mount would hide them"
    return ""


def _keep_parents(made: Plan, planned: RunPlan, step: PackageStep, target: str) -> None:
    """Directories between home and ``target`` would be made for root while the mount is there; make them before."""
    one = planned.seen
    home = one.state.env.get("HOME")
    if home is None or step.command.user is not None or not target.startswith(home + "/"):
        if home is not None and target.startswith(home + "/"):
            made.blockers.append(f"line {one.run.line}: {step.manager} runs as {step.command.user} inside this RUN")
        return
    parent = posixpath.dirname(target)
    if parent != home and not any(path.startswith(parent + "/") for path in one.run.files):
        planned.directories[parent] = None


# -- other readers of a cache --------------------------------------------------------------------------------------


def _clusters(made: Plan) -> Iterator[tuple[RunPlan, PackageStep, CacheDir]]:
    for planned in list(made.runs.values()):
        for step in planned.seen.steps:
            for cache in step.caches:
                if cache.path is not None and cache.role != "live" and set(cache.mounts) & set(planned.mounts):
                    yield planned, step, cache


def _offline_partners(site: Site, made: Plan, seen: dict[int, Seen]) -> None:
    """An offline step, or one that compiles, reads what an earlier one fetched: it gets the same mount."""
    for planned, step, cache in list(_clusters(made)):
        for one in seen.values():
            if not one.steps or not _after(site, planned.run, one.run):
                continue
            for other in one.steps:
                same = other.manager == step.manager and not other.vendored and not other.nothing
                twin = next((item for item in other.caches if item.path == cache.path), None)
                reads = other.action in {Action.INSTALL, Action.FETCH} or cache.role == "shared"
                compiles = other.action is Action.BUILD  # perhaps with a mount for what it compiles only
                done = twin is not None and set(twin.mounts) <= set(_planned_mounts(made, one))
                if same and twin is not None and reads and (other.offline or (compiles and not done)):
                    partner = _planned(made, one)
                    partner.why.append(f"`{other.label}`, which reads what line {planned.run.line} fetched")
                    _add(site, made, partner, other, twin, required=True)
                    _settings(made, partner, other)


def _after(site: Site, first: Run, then: Run) -> bool:
    """Whether ``then`` runs on top of ``first``, or is the same RUN."""
    chain = {stage.index for stage in site.graph.chain(then.stage)}
    return first.stage.index in chain and first.instruction.span.start <= then.instruction.span.start


def _later_readers(site: Site, made: Plan, seen: dict[int, Seen]) -> None:
    for planned, step, cache in list(_clusters(made)):
        assert cache.path is not None
        _copies(site, made, planned, cache.path)
        if step.action is Action.NAMED:
            cache = replace(cache, role="download")  # what it made is complete; nobody reads its sources again
        for one in seen.values():
            if _after(site, planned.run, one.run) and one.run is not planned.run:
                _commands(site, made, planned, step, cache, one)
        if cache.role == "shared" and any(stage.index == planned.run.stage.index for stage in _final(site)):
            _started(site, made, planned, step)


def _final(site: Site) -> Sequence[Stage]:
    return site.graph.chain(site.final)


def _copies(site: Site, made: Plan, planned: RunPlan, path: str) -> None:
    """COPY --from and bind mounts that take the cache directory out of a stage."""
    line = planned.run.line
    for stage in site.graph.reachable:
        for instruction in stage.body:
            for origin, sources in _taken(site, instruction):
                source = site.graph.source(origin, stage)
                if not isinstance(source, Stage):
                    continue
                if all(link.index != planned.run.stage.index for link in site.graph.chain(source)):
                    continue
                for word in sources:
                    if word is None:
                        made.reasons.append(f"line {instruction.line} copies something out of the stage of line {line}")
                        continue
                    place = posixpath.normpath("/" + word.lstrip("/"))
                    if (place + "/").startswith(path + "/") or (
                        path.startswith(place + "/") and place not in _STANDING and posixpath.dirname(place) != "/home"
                    ):
                        made.blockers.append(f"line {instruction.line} copies {word}, which a mount would take away")
                    elif path.startswith(place.rstrip("/") + "/"):
                        made.reasons.append(
                            f"line {instruction.line} copies {word}; {path} in it would no longer come along"
                        )


def _taken(site: Site, instruction: Instruction) -> Iterator[tuple[str, list[str | None]]]:
    if instruction.name in {"COPY", "ADD"}:
        flag = instruction.flag("from")
        if flag is not None and flag.value:
            state = site.graph.state(instruction)
            origin = state.expand(flag.value).text
            yield origin or flag.value, [state.expand(word).text for word in instruction.words[:-1]]
    elif instruction.name == "RUN":
        for mount in mounts(instruction):
            if mount.type == "bind" and mount.options.get("from"):
                state = site.graph.state(instruction)
                origin = state.expand(mount.options["from"]).text
                yield origin or "", [state.expand(mount.options.get("source", "/")).text]


def _commands(site: Site, made: Plan, planned: RunPlan, step: PackageStep, cache: CacheDir, one: Seen) -> None:
    """What a later RUN on the same layers does with the cache."""
    assert cache.path is not None
    held = any(target is not None and holds(target, cache) for target, _ in mounted(one.run))
    held = held or bool(set(cache.mounts) & set(_planned_mounts(made, one)))
    if held:
        return
    for command in one.script.commands:
        name = command.name or ""
        if name not in _MAY_NAME_A_CACHE and any(_names(word, cache.path) for word in command.words[1:]):
            made.blockers.append(
                f"line {one.run.line}: `{name}` uses {cache.path}, which would be empty behind the mount of line "
                f"{planned.run.line}"
            )
        if cache.role != "shared":
            continue
        called = program(command)
        if called is not None and called[0] == step.manager:
            operands = [word for word in called[1][1:] if word is not None]
            if operands and operands[0] not in _IDLE and not operands[0].endswith(".dll"):
                partner = _planned(made, one)
                partner.why.append(f"`{' '.join([name, *operands[:1]])}`, which reads them too")
                _add(site, made, partner, step, cache, required=True)
                return
        elif called is None and not _harmless(command, one):
            made.reasons.append(
                f"line {one.run.line}: `{name or 'a command'}` may use the packages that line {planned.run.line} "
                "downloads; then it needs the same mount"
            )


def _planned_mounts(made: Plan, one: Seen) -> dict[str, str]:
    planned = made.runs.get(one.run.instruction.span.start)
    return planned.mounts if planned is not None else {}


def _names(word: str | None, path: str) -> bool:
    return word is not None and re.search(rf"(^|[=:\"']){re.escape(path)}(/|$|[:\"'])", word) is not None


def _harmless(command: Command, one: Seen) -> bool:
    if command.name in _PLAIN:
        return True
    # what was followed into a file is judged by the steps found there
    return any(step.via and step.command.start == command.start for step in one.steps)


def _started(site: Site, made: Plan, planned: RunPlan, step: PackageStep) -> None:
    """The image that is shipped is the stage itself: does its program use the packages when it starts?"""
    line = planned.run.line
    said = [item for stage in _final(site) for item in stage.body if item.name in {"CMD", "ENTRYPOINT"}]
    last = {item.name: item for item in said}
    commands = [command for item in last.values() for command in _start_commands(item)]
    if not commands:
        made.reasons.append(
            f"the image is the stage of line {line} itself and says not what it starts: whoever runs {step.manager} in "
            "it finds no packages"
        )
    for command in commands:
        called = program(command)
        if called is not None and called[0] == step.manager:
            operands = [word for word in called[1][1:] if word is not None]
            if not (operands and operands[0].endswith(".dll")):
                made.blockers.append(f"the container starts `{command.name}`, which needs the packages in the image")
        elif command.name is None or command.name in _RUNS_OTHERS or command.name.endswith(".sh"):
            made.reasons.append(f"the container starts `{command.name or '?'}`, which may use {step.manager}")


def _start_commands(instruction: Instruction) -> Sequence[Command]:
    return (parse_argv(instruction.words) if instruction.json else parse(instruction.value)).commands


# -- what defeats the mounts ---------------------------------------------------------------------------------------


def _fights_of(site: Site, made: Plan, planned: RunPlan) -> None:
    run = planned.run
    names = {
        step.manager
        for step in planned.seen.steps
        if any(set(cache.mounts) & set(planned.mounts) for cache in step.caches)
        or any(target is not None and holds(target, cache) for target, _ in mounted(run) for cache in step.caches)
    }
    for step in planned.seen.steps:
        if step.manager not in names or step.action is Action.OS:
            continue
        for fight in step.fights:
            if fight.start < fight.end:
                planned.cuts[(fight.start, fight.end)] = fight
                if fight.wide:
                    made.reasons.append(
                        f"line {run.line}: without `{fight.text.strip()}` whatever else lies there stays in the image"
                    )
            elif fight.env:
                _unset(site, made, planned, fight)
            else:
                made.blockers.append(f"line {run.line}: `{fight.text}` has to go first, since {fight.why}")


def _unset(site: Site, made: Plan, planned: RunPlan, fight: Fight) -> None:
    """Take a variable out of the ENV that sets it."""
    setters = env_setters(site, planned.run, fight.env)
    if not setters:
        made.blockers.append(f"line {planned.run.line}: {fight.env} is not set by an ENV of this file, and {fight.why}")
        return
    for item in setters:
        span = _env_span(site, item, fight.env)
        if span is None:
            made.blockers.append(f"line {item.line}: {fight.env} has to go, since {fight.why}")
            continue
        edit = Edit(site.path, span, b"")
        if edit not in made.edits:
            made.edits.append(edit)
            made.reasons.append(
                f"line {item.line} no longer sets {fight.env}, so an install without a mount would leave its "
                "cache in the image"
            )


def _env_span(site: Site, item: Instruction, name: str) -> Span | None:
    if len(item.pairs) == 1:
        return site.dockerfile.line_span(item.line, item.end_line)
    match = re.search(rf"(?:^|(?<=\s)){re.escape(name)}=(?:\"[^\"\\]*\"|'[^']*'|[^\s\"'\\]*)(?=\s|$)", item.value)
    if match is None:
        return None
    start, end = match.span()
    if start == 0:
        rest = item.value[end:]
        return Span(item.offset(0), item.offset(end + len(rest) - len(rest.lstrip())))
    before = len(item.value[:start].rstrip())
    return Span(item.span_of(before - 1, before).end, item.span_of(end - 1, end).end)


# -- bytes ---------------------------------------------------------------------------------------------------------


def _edits(site: Site, made: Plan) -> list[Edit]:
    edits = list(made.edits)
    directories: set[tuple[int, str]] = set()
    for planned in made.runs.values():
        run = planned.run
        fresh = [item for item in planned.directories if (run.stage.index, item) not in directories]
        if fresh:
            directories |= {(run.stage.index, item) for item in fresh}
            eol = site.dockerfile.eol
            at = site.dockerfile.line_span(run.line, run.line).start
            edits.append(Edit(site.path, Span(at, at), b"RUN mkdir -p " + " ".join(sorted(fresh)).encode() + eol))
            made.notes.append(
                f"line {run.line}: {', '.join(f'`{item}`' for item in sorted(fresh))} is made first, because a mount "
                "below a directory that is missing makes it root's while the RUN runs"
            )
        if planned.mounts:
            edits.append(_mount_edit(site, planned))
        for span, (flag, _) in planned.owners.items():
            edits.append(Edit(site.path, span, flag.encode("utf-8", "surrogateescape")))
        edits += [Edit(site.path, Span(at, at), text.encode()) for at, text in _inserted(run, planned)]
        for (start, end), fight in _merged(made, planned).items():
            span = _cut_span(run, start, end)
            if re.search(rb"\n[ \t]*#", site.dockerfile.content[span.start : span.end]):
                made.reasons.append(f"line {run.line}: a comment goes together with `{fight.text.strip()}`")
            edits.append(Edit(site.path, span, b""))
    return edits


def _inserted(run: Run, planned: RunPlan) -> Iterator[tuple[int, str]]:
    for at, text in planned.inserts.items():
        yield run.offset(at), text


def _merged(made: Plan, planned: RunPlan) -> dict[tuple[int, int], Fight]:
    """Cuts without those that lie in another one; two that overlap by halves cannot both be made."""
    kept: dict[tuple[int, int], Fight] = {}
    for (start, end), fight in sorted(planned.cuts.items(), key=lambda item: (item[0][0], -item[0][1])):
        last = next(reversed(kept), None)
        if last is not None and start < last[1]:
            if end > last[1]:
                made.blockers.append(f"line {planned.run.line}: `{fight.text.strip()}` cannot be cut out on its own")
            continue
        kept[(start, end)] = fight
    return kept


def _cut_span(run: Run, start: int, end: int) -> Span:
    source = run.script.source

    def after(at: int) -> int:
        return run.offset(at) + len(source[at].encode("utf-8", "surrogateescape"))

    # what precedes a cut may end its line with a continuation, which has to stay in front of whatever follows
    first = after(start - 1) if start and (source[start].isspace() or source[start] in "&;|") else run.offset(start)
    last = run.offset(end) if end < len(source) and source[end - 1].isspace() else after(end - 1)
    return Span(first, last)


def _mount_edit(site: Site, planned: RunPlan) -> Edit:
    """The mounts in front of the first flag, or of the command, in the style of the instruction."""
    run = planned.run
    instruction = run.instruction
    content = site.dockerfile.content
    at = min([flag.span.start for flag in instruction.flags] or [_command_start(content, instruction)])
    flags = list(planned.mounts.values())
    line_start = content.rfind(b"\n", 0, at) + 1
    lead = content[line_start:at]
    own_line = not lead.strip()
    single = instruction.line == instruction.end_line or bool(instruction.heredocs)
    line_end = content.find(b"\n", at)
    width = (line_end if line_end >= 0 else len(content)) - line_start
    if len(flags) == 1 and single and not own_line and width + len(flags[0]) < 100:
        return Edit(site.path, Span(at, at), f"{flags[0]} ".encode())
    indent = lead if own_line else _indent(content, instruction)
    joint = b" " + site.dockerfile.escape.encode() + site.dockerfile.eol + indent
    return Edit(site.path, Span(at, at), b"".join(flag.encode() + joint for flag in flags))


def _command_start(content: bytes, instruction: Instruction) -> int:
    if instruction.value:
        return instruction.offset(0)
    match = re.match(rb"\S+[ \t]+", content[instruction.span.start : instruction.span.end])
    return instruction.span.start + (match.end() if match is not None else 0)


def _indent(content: bytes, instruction: Instruction) -> bytes:
    """The indentation of the instruction's second line when it has one, else four blanks."""
    if not instruction.heredocs:
        lines = content[instruction.span.start : instruction.span.end].split(b"\n")[1:]
        for line in lines:
            stripped = line.strip()
            if stripped and not stripped.startswith(b"#"):
                return line[: len(line) - len(line.lstrip(b" \t"))] or b"    "
    return b"    "


def _system_packages(site: Site, made: Plan, seen: dict[int, Seen]) -> None:
    """Where others get their mounts, those that system packages have already are made to work."""
    for one in seen.values() if made.runs else ():
        found = ride(site, one)
        if found.cuts or found.inserts:
            planned = _planned(made, one)
            planned.cuts |= {(fight.start, fight.end): fight for fight in found.cuts}
            for at, text in found.inserts.items():
                planned.inserts[at] = planned.inserts.get(at, "") + text
        made.reasons += found.reasons
        made.notes += found.notes


def _mention_system_packages(made: Plan, seen: dict[int, Seen]) -> None:
    lines = [
        str(one.run.line)
        for one in seen.values()
        if any(step.action is Action.OS for step in one.steps) and not list(mounted(one.run))
    ]
    if lines and made.runs:
        made.notes.append(
            f"system packages (line {', '.join(dict.fromkeys(lines))}) are left as they are: they can have mounts of "
            "their own, but their images delete what was downloaded unless told otherwise"
        )
