"""Does every dependency install keep its package cache in a cache mount?"""

from __future__ import annotations

from coach.cache_needs import WRONG, Need, Standing, Survey, env_setters, survey
from coach.knowledge import managers
from coach.model import Answer, Evidence, Remedy, Safety, certain, likely, unknown
from coach.mountable import mountable
from coach.platforms import strangers, triggers
from coach.site import Site

NODE = "cache_mount"
FIX = "F3"
SECTION = "Cache mounts"
ANTI_PATTERN = "Package manager without a cache mount"


def probe(site: Site) -> Answer:
    """``no`` when a language-level install or compile step of a needed stage downloads into its layer."""
    found = survey(site)
    bad = found.standing(*WRONG)
    unsure = found.standing(Standing.UNSURE)
    if bad:
        evidence = [item for need in bad for item in _against(site, need)]
        answer = certain if any(_certain(need) for need in bad) else likely
        return answer("no", _summary(bad), *evidence)
    if unsure:
        return unknown(
            f"whether `{unsure[0].step.label}` on line {unsure[0].line} hits its cache mount cannot be told: "
            f"{unsure[0].reason}",
            "run the same command in the build and let it print its cache directory (npm config get cache, "
            "pip cache dir, go env GOMODCACHE …), then compare it with the mount's target",
            *(_at(site, need, f"`{need.step.label}`: {need.reason}") for need in unsure),
        )
    return _held(site, found)


def _certain(need: Need) -> bool:
    """A mount that belongs to somebody else is proof only where the tool has no way but through it."""
    if need.standing is Standing.SHUT:
        told = need.who is not None and need.who.uid is not None
        return told and managers()[need.step.manager].strict and not need.step.command.guarded
    return not need.step.command.guarded


def _held(site: Site, found: Survey) -> Answer:
    held = found.standing(Standing.HELD)
    doubts = [site.cite(run.line, item.reason) for run, item in found.hidden]
    doubts += [_at(site, need, need.reason) for need in held if need.reason]
    doubts += [site.cite(run.line, "this script could not be read to its end") for run in found.unread]
    answer = likely if doubts else certain
    if held:
        evidence = [_at(site, need, f"`{need.step.label}` keeps {_what(need)} in a cache mount") for need in held]
        return answer("yes", "every step that has a package cache keeps it in a cache mount", *evidence, *doubts)
    exempt = found.standing(Standing.EXEMPT)
    if exempt:
        evidence = [_at(site, need, f"`{need.step.label}`: {need.reason}") for need in exempt]
        return answer("yes", f"no step has a package cache to keep: {exempt[0].reason}", *evidence, *doubts)
    nothing = site.cite(site.final.head.line, "no stage that this one needs installs packages with a language's tools")
    strange = [
        site.cite(run.line, f"nothing is known of what `{name}` downloads")
        for run in site.runs
        for name in strangers(run)[:1]
    ]
    blank = triggers(site)
    if blank:
        strange.append(site.cite(site.final.head.line, f"what {blank} does by ONBUILD is not known"))
    answer = likely if strange else answer
    return answer("yes", "nothing is installed by a language's package manager", nothing, *doubts, *strange)


def _against(site: Site, need: Need) -> list[Evidence]:
    label = f"`{need.step.label}`"
    if need.step.via:
        label += f" (from {need.step.via})"
    found: list[Evidence] = []
    if need.standing is Standing.BARE:
        cache = need.missing[0]
        place = f"keeps {_what(need)} in {cache.path}" if cache.path else f"keeps {_what(need)} below its user's home"
        moved = f" ({cache.why})" if cache.path and cache.moved_by else ""
        if need.step.offline and not need.compiles:
            says = (
                f"{label} reads {cache.path or 'the cache'} offline, but what was fetched lies in another RUN's mount"
            )
        else:
            says = f"{label} {place}{moved}, and no cache mount holds that"
        found.append(_at(site, need, says))
        if need.mount is not None:
            line = _line_at(site, need.mount.flag.span.start)
            found.append(
                site.cite(line, f"the cache mount on {need.mount.target} is not where {need.step.manager} looks")
            )
        if need.step.via:
            found.append(site.cite(need.step.via_line, f"`{need.step.label}` stands here", path=need.step.via_path))
    for mount in need.shut:
        named = need.who.name if need.who is not None else "another user"
        line = _line_at(site, mount.flag.span.start)
        found.append(site.cite(line, f"{label} runs as {named}, which may not write to the mount on {mount.target}"))
    for fight in need.fights:
        setters = env_setters(site, need.run, fight.env) if fight.env else ()
        if setters:
            found.append(site.cite(setters[-1].line, f"`{fight.text}`: {fight.why}", setters[-1].end_line))
            continue
        line = need.line
        if fight.start < fight.end and not need.run.instruction.json:
            source = need.run.script.source
            line = _line_at(site, need.run.offset(max(source.find(fight.text, fight.start, fight.end), fight.start)))
        found.append(site.cite(line, f"`{_short(fight.text)}`: {fight.why}"))
    return found


def _what(need: Need) -> str:
    return "what it compiles" if need.compiles else "its packages"


def _at(site: Site, need: Need, says: str) -> Evidence:
    """The RUN, from its first line to the one on which the command stands."""
    return site.cite(need.run.line, says, max(need.line, need.run.line))


def _short(text: str) -> str:
    line = text.split("\n")[0]
    return line if len(line) <= 60 else line[:57] + "…"


def _line_at(site: Site, byte: int) -> int:
    return site.dockerfile.content.count(b"\n", 0, byte) + 1


def _summary(bad: tuple[Need, ...]) -> str:
    bare = [need for need in bad if need.standing is Standing.BARE and (need.compiles or not need.step.offline)]
    lost = [need for need in bad if need.standing is Standing.BARE and need not in bare]
    if lost and not bare:
        return f"`{lost[0].step.label}` works offline without the cache mount that its packages were fetched into"
    if bare:
        names = list(dict.fromkeys(f"`{need.step.label}`" for need in bare))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        verb = "compile" if all(need.compiles for need in bare) else "download"
        verb += "s" if len(names) == 1 else ""
        return f"{', '.join(names[:3])}{more} {verb} every package again whenever the layer is rebuilt"
    first = bad[0]
    if first.fights:
        return f"`{first.step.label}` has a cache mount, but {first.fights[0].why}"
    owner = first.shut[0].options.get("uid", "0")
    return f"`{first.step.label}` has a cache mount that belongs to user {owner}, and runs as another one"


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """Mounts for every bare step, and nothing left that defeats them; guidance alone where that could break a build.

    Where only some RUNs can be mended, the rest stay as they are: the answer stays, and is theirs alone.
    """
    if answer.choice != "no":
        return None
    found = mountable(site)
    if found.made is None:
        guidance = found.by_hand or "Mount the directory that the tool itself names as its cache."
        return Remedy(Safety.SHOW, (), found.blockers, guidance)
    reasons = tuple(dict.fromkeys(found.made.reasons))
    safety = Safety.REVIEW if reasons else Safety.SAFE
    guidance = found.made.guidance(shown=False)
    rest = tuple(f"line {left.line}: {left.why}" for left in found.left)
    if rest:
        listed = "\n".join(f"- {why}" for why in rest)
        guidance += f"\n\nOther RUNs stay as they are, and this question keeps its answer:\n\n{listed}"
        guidance += f"\n\n{found.by_hand}" if found.by_hand else ""
    return Remedy(safety, tuple(found.made.edits), reasons, guidance, rest)
