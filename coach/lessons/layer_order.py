"""Are dependencies installed before the source is copied?"""

from __future__ import annotations

from coach import hoist
from coach.model import Answer, Evidence, Remedy, Safety, certain, likely, unknown
from coach.movable import movable
from coach.order import Culprit, Verdict, verdicts
from coach.platforms import strangers, triggers
from coach.site import Site
from coach.steps import Action

NODE = "layer_order"
FIX = "F2"
SECTION = "Layer ordering for cache"
ANTI_PATTERN = "`COPY . .` before `npm install`"


def probe(site: Site) -> Answer:
    """``no`` when an install stands below files it does not need and that ordinary commits touch."""
    judged = verdicts(site)
    wrong = [verdict for verdict in judged if verdict.wrong]
    if wrong:
        evidence = _cite(site, wrong)
        first = wrong[0]
        reason = f"`{first.says}` reruns whenever {_cause(first)} changes"
        if any(not verdict.kept and _sure(verdict) for verdict in wrong):
            return certain("no", reason, *evidence)
        return likely("no", reason, *evidence)
    doubtful = [verdict for verdict in judged if verdict.doubt]
    if doubtful:
        first = doubtful[0]
        return unknown(
            f"`{first.says}`: {first.doubt}",
            f"look at what line {first.run.line} of {site.path} reads, and whether the source is copied above it",
            site.cite(first.run.line, "what it needs cannot be told"),
        )
    if not judged:
        where = site.cite(site.final.head.line, "no step of this build installs from a manifest")
        unread = [run for run in site.runs if run.script.broken or site.hidden(run)]
        if unread:
            dark = site.cite(unread[0].line, "a command here cannot be followed", unread[0].instruction.end_line)
            return likely("yes", "nothing was seen to install from a manifest", where, dark)
        strange = next(((run, name) for run in site.runs for name in strangers(run)), None)
        if strange is not None:
            dark = site.cite(
                strange[0].line, f"nothing is known of what `{strange[1]}` installs", strange[0].instruction.end_line
            )
            return likely("yes", "nothing was seen to install from a manifest", where, dark)
        blank = triggers(site)
        if blank:
            dark = site.cite(site.final.head.line, f"what {blank} does by ONBUILD is not known")
            return likely("yes", "nothing here installs from a manifest", where, dark)
        return certain("yes", "nothing is installed from a manifest, so nothing can stand in the wrong order", where)
    right = tuple(site.cite(v.run.line, f"`{v.says}` sees {_seen(v)}", v.run.instruction.end_line) for v in judged)
    if any(verdict.steady or verdict.closure is None or verdict.closure.uncertain for verdict in judged):
        return likely("yes", "each install stands above the source", *right)
    return certain("yes", "each install sees only its manifests", *right)


def _sure(verdict: Verdict) -> bool:
    if verdict.step.command.guarded:
        return False  # it may not run at all
    if verdict.culprits:
        return verdict.closure is not None or verdict.step.via != ""
    return any(passed.build is not None for passed in verdict.passed)


def _cause(verdict: Verdict) -> str:
    if verdict.culprits:
        return f"any of {sum(len(culprit.files) for culprit in verdict.culprits)} files that it does not need"
    return f"{verdict.passed[0].name} (on every commit)"


def _seen(verdict: Verdict) -> str:
    if verdict.steady:
        return f"its manifests and {len(verdict.steady)} files that seldom change"
    return "nothing but its manifests"


def _cite(site: Site, wrong: list[Verdict]) -> list[Evidence]:
    """Each culprit once, then each install below it, in file order; then the builds that pass a changing value."""
    culprits: dict[int, Culprit] = {}
    for verdict in wrong:
        for culprit in verdict.culprits:
            known = culprits.get(culprit.instruction.span.start)
            if known is None or len(culprit.files) > len(known.files):
                culprits[culprit.instruction.span.start] = culprit
    found: list[Evidence] = []
    for _, culprit in sorted(culprits.items()):
        verb = "binds" if culprit.instruction.name == "RUN" else "brings"
        line, end = culprit.instruction.line, culprit.instruction.end_line
        found.append(site.cite(line, f"{verb} {culprit.examples()}", end))
    for verdict in wrong:
        via = f" (in {verdict.step.via})" if verdict.step.via else ""
        what = "compiles and downloads" if verdict.step.action is Action.BUILD else "installs"
        saved = "; its downloads stay in a cache mount" if verdict.kept else ""
        line, end = verdict.run.line, verdict.run.instruction.end_line
        found.append(site.cite(line, f"`{verdict.says}`{via} {what} below that{saved}", end))
    for verdict in wrong:
        for passed in verdict.passed:
            line = passed.instruction.line
            found.append(site.cite(line, f"{passed.name} is in scope of the install and changes on every commit"))
            if passed.build is not None:
                found.append(site.cite(passed.line, f"passes {passed.name}", path=passed.build.path))
    return list(dict.fromkeys(found))


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """Manifests first, then the install, then the source. What no patch can move is told, with the reason.

    Where only some of the installs can be moved, the rest still stand too low: the answer stays, and is theirs alone.
    """
    if answer.choice != "no":
        return None
    wrong = [verdict for verdict in verdicts(site) if verdict.wrong]
    found = movable(site, wrong)
    alike = found.made is None and len({left.why for left in found.left}) == 1
    stays = tuple(
        dict.fromkeys(left.why if alike else f"line {left.verdict.run.line}: {left.why}" for left in found.left)
    )
    by_hand = _sketch(site, [left.verdict for left in found.left])
    if found.made is None:
        return Remedy(Safety.SHOW, reasons=stays, guidance=by_hand)
    done = " ".join(dict.fromkeys(found.made.says)) or "The source is copied below the install."
    if not stays:
        return Remedy(found.made.safety, tuple(found.made.edits), tuple(found.made.reasons), done)
    listed = "\n".join(f"- {why}" for why in stays)
    guidance = f"{done}\n\nOther installs keep their place, and this question its answer:\n\n{listed}\n\n{by_hand}"
    return Remedy(found.made.safety, tuple(found.made.edits), tuple(found.made.reasons), guidance, stays)


def _sketch(site: Site, wrong: list[Verdict]) -> str:
    """The lines to write by hand, for this repository."""
    parts = []
    for verdict in wrong:
        lead = f"{site.context}/" if site.context else ""
        closure = verdict.closure
        needed = [] if closure is None else [*closure.files, *(f"{folder}/" for folder in closure.directories)]
        names = " ".join(path.removeprefix(lead) for path in needed) or "<the manifest and the lockfile>"
        copies = "\n".join(
            f"{site.dockerfile.text(c.instruction.line, c.instruction.end_line)}" for c in verdict.culprits
        )
        raw = [word.raw for word in verdict.step.command.peeled]
        split = hoist.hoist(site.tree, verdict.step.manager, verdict.words, verdict.directory, site.context, raw)
        first = split.first or f"<the part of `{verdict.says}` that only downloads>"
        rest = (
            "" if split.unchanged else f"\n{site.dockerfile.text(verdict.run.line, verdict.run.instruction.end_line)}"
        )
        parts.append(
            f"Line {verdict.run.line}: copy only what `{verdict.says}` reads, download, then copy the rest.\n\n"
            f"```dockerfile\nCOPY {names} ./\nRUN {first}\n{copies}{rest}\n```"
        )
    return "\n\n".join(parts)
