"""Does an ignore file keep junk out of the build context?"""

from __future__ import annotations

import posixpath

from coach import dockerignore
from coach.errors import CoachError
from coach.junk import Junk, junk, named, uses_git, wide_copies
from coach.model import Answer, Edit, Evidence, Remedy, Safety, Span, certain, likely, unknown
from coach.site import Site

NODE = "context"
FIX = "F8"
SECTION = "`.dockerignore`"
ANTI_PATTERN = "Missing `.dockerignore`"

_SHOWN = 4


def probe(site: Site) -> Answer:
    """``no`` when a step takes the whole context and junk gets in, or would on a developer's machine."""
    wide = wide_copies(site)
    if not wide:
        shipped = site.cite(site.final.head.line, "no step of this build takes the whole context")
        return certain("yes", "only named files leave the context, so nothing else gets in", shipped)
    first = wide[0]
    blind = [build for build in site.builds if build.context is None]
    if blind and len(blind) == len(site.builds):
        note = blind[0].unsure("context")
        where = site.cite(blind[0].line, "builds from a context that is not spelled out", path=blind[0].path)
        return unknown(
            f"the build context cannot be told: {note.reason if note else 'it is made up while the job runs'}",
            "look up which folder that build sends, and run coach with --dockerfile and --context",
            where,
            site.cite(first.line, "takes the whole context", first.end_line),
        )
    found = [item for item in junk(site) if item.decides]
    if not found:
        if site.ignore is None:
            where = site.cite(
                first.line, "takes the whole context, and no ignore file stands in the way", first.end_line
            )
            return likely("no", "there is no ignore file, so whatever lies around is copied", where)
        where = site.cite(1, "this ignore file applies", path=site.ignore.path)
        return certain("yes", "what is there, and what this project makes, is ignored", where)
    there = [item for item in found if item.there]
    told = there or found
    evidence = [site.cite(first.line, f"takes {_list(told)} along", first.end_line), *_near_misses(site, found)]
    if site.ignore is None:
        reason = f"no ignore file: {_list(told)} {'gets' if len(told) == 1 else 'get'} into the context"
    else:
        reason = f"{site.ignore.path} lets {_list(told)} through"
    if there:
        return certain("no", reason, *evidence)
    return likely("no", f"{reason} once a developer has built locally", *evidence)


def _list(found: list[Junk]) -> str:
    ordered = sorted(found, key=lambda item: (-item.size, item.path))
    parts = [f"{item.path} ({_human(item.size)})" if item.size else item.path for item in ordered[:_SHOWN]]
    more = len(ordered) - _SHOWN
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "")


def _human(size: int) -> str:
    return f"{size / 1_000_000:.0f} MB" if size >= 1_000_000 else f"{max(size // 1000, 1)} kB"


def _near_misses(site: Site, found: list[Junk]) -> list[Evidence]:
    """Patterns that look as if they dropped the junk, and do not."""
    if site.ignore is None:
        return []
    cited: list[Evidence] = []
    names = {posixpath.basename(item.path): item.path for item in found}
    for pattern in site.ignore.patterns:
        for name, path in names.items():
            if not pattern.negated and posixpath.basename(pattern.text.rstrip("/")) == name:
                says = f"matches from the root of the context only as written, so not {path}"
                cited.append(site.cite(pattern.line, says, path=site.ignore.path))
    return cited[:_SHOWN]


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """Ignore lines for what is there and what is to be expected; nothing that the build names is ignored."""
    if answer.choice != "no":
        return None
    found = junk(site)
    patterns = list(dict.fromkeys((*(_pattern(site, item, found) for item in found), *_always(site))))
    kept = [pattern for pattern in patterns if not _needed(site, pattern)]
    dropped = [pattern for pattern in patterns if pattern not in kept]
    if not kept:
        return Remedy(
            Safety.SHOW,
            reasons=(f"the build names files that {', '.join(dropped)} would drop",),
            guidance="Copy only the folders that each step reads, instead of the whole context.",
        )
    edit = _edit(site, kept)
    reasons = [f"{item.path} no longer reaches the image" for item in found if item.there and item.pattern in kept]
    git = uses_git(site)
    if ".git" in kept:
        reasons.append("nothing in the Dockerfile or its scripts was seen to read .git; make sure that nothing does")
    if not reasons:
        reasons.append("files on a developer's machine that match these lines no longer reach the image")
    guidance = "Keeps " + ", ".join(f"`{pattern}`" for pattern in kept) + " out of the build context."
    if git is not None and ".git" not in kept:
        guidance += f" `.git` stays in: {git[0]}:{git[1]} reads it."
    if dropped:
        guidance += " Left alone, because the build names files there: " + ", ".join(f"`{p}`" for p in dropped) + "."
    try:
        if probe(site.after((edit,))).choice == "no":
            return Remedy(Safety.SHOW, reasons=("earlier lines of the ignore file win",), guidance=guidance)
    except CoachError as error:
        return Remedy(Safety.SHOW, reasons=(error.says,), guidance=guidance)
    return Remedy(Safety.REVIEW, (edit,), tuple(reasons), guidance)


def _pattern(site: Site, item: Junk, found: tuple[Junk, ...]) -> str:
    """The ignore line for ``item``: its short pattern, or its own path where the pattern would drop something else."""
    if "*" not in item.pattern:
        return item.pattern
    only = dockerignore.parse(item.pattern.encode(), "pattern")
    junk_paths = {other.path for other in found}
    for relative, entry in site.layers.entries:
        if only.ignores(relative) and relative not in junk_paths and not entry.opaque:
            return item.path
    return item.pattern


# What no image wants, whatever the project; each line is left out where the ignore file covers it already.
_COMMON = ((".git", ".git"), ("**/.env", "a/.env"), ("**/*.log", "a/debug.log"))


def _always(site: Site) -> list[str]:
    return [
        pattern
        for pattern, example in _COMMON
        if (site.ignore is None or not site.ignore.ignores(example)) and (pattern != ".git" or uses_git(site) is None)
    ]


def _needed(site: Site, pattern: str) -> bool:
    """Whether ``pattern`` would drop a file that a COPY names, or that an earlier ``!`` line lets in on purpose."""
    try:
        only = dockerignore.parse(pattern.encode(), "pattern")
    except CoachError:
        return True
    if site.ignore is not None and any(
        item.negated and only.ignores(item.text.lstrip("!/").rstrip("/")) for item in site.ignore.patterns
    ):
        return True
    if any(only.ignores(relative) and named(site, relative) for relative, _ in site.layers.entries):
        return True
    lead = f"{site.context}/" if site.context else ""
    for stage in site.graph.reachable:
        for item in stage.body:
            if item.name not in ("COPY", "ADD") or item.flag("from") is not None:
                continue
            for word in item.words[:-1]:
                name = posixpath.normpath("/" + word).lstrip("/")
                if name and only.ignores(name):
                    return True
                if name and any(
                    only.ignores(placed.source.removeprefix(lead))
                    for placed in site.layers.brought(item, stage).placed
                    if not only.ignores(posixpath.basename(placed.source)) and len(item.words) == 2 and name != ""
                ):
                    return True
    return False


def _edit(site: Site, patterns: list[str]) -> Edit:
    lines = "".join(f"{pattern}\n" for pattern in patterns).encode()
    if site.ignore is None:
        return Edit(posixpath.join(site.context, ".dockerignore"), Span(0, 0), lines)
    content = site.ignore.content
    if b"\r\n" in content:
        lines = lines.replace(b"\n", b"\r\n")
    if content and not content.endswith(b"\n"):
        lines = (b"\r\n" if b"\r\n" in content else b"\n") + lines.rstrip(b"\r\n")
    return Edit(site.ignore.path, Span(len(content), len(content)), lines)
