"""Edits that look alike in every build file: taking a flag out, switching BuildKit on."""

from __future__ import annotations

import re

from coach.ci.command_edit import cut
from coach.edits import split_lines
from coach.errors import InputError
from coach.model import BuildSite, Edit, Remedy, Safety, Span, Tree

# Behind a quote only where more words follow in it: what is quoted alone may be a word of a list.
_FLAG = re.compile(
    rb"(?<![ \t])(?P<lead>[ \t]+|(?<=[\"'])(?=\S+[ \t]))--no-cache(?:=(?:true|1|\"true\"|'true'))?(?=[\s\\\"'`);&|]|$)"
)
_KEY = re.compile(rb"^\s*[\"']?no[-_]?cache[\"']?\s*[:=]\s*[\"']?true[\"']?\s*(?P<comma>,?)\s*(?:#.*)?\r?\n?$", re.I)
_ITEM = re.compile(
    rb"^\s*(?:-\s+(?P<quote>[\"']?)--no-cache(?:=true)?(?P=quote)\s*(?:#.*)?|[\"']--no-cache(?:=true)?[\"'],?\s*)\r?\n?$"
)
_LISTED = re.compile(
    rb"[\"']--no-cache(?:=true)?[\"']\s*,\s*|,\s*[\"']--no-cache(?:=true)?[\"']"
    rb"|,[ \t]*--no-cache(?:=true)?(?=[ \t]*[,\]])|(?<=\[)[ \t]*--no-cache(?:=true)?[ \t]*,[ \t]*"
)
_INLINE = re.compile(
    rb",\s*[\"']?no[-_]?cache[\"']?\s*[:=]\s*true(?=\s*[,}])|(?<=\{)\s*[\"']?no[-_]?cache[\"']?\s*[:=]\s*true\s*,", re.I
)
# bake-action's `set`: on the line of its key, or one line of its block
_SET = re.compile(rb"^\s*(?P<key>set:\s*)?[\"']?[\w*.-]+\.no-cache=true[\"']?\s*(?:\s#.*)?\r?\n?$")
_OPENS = re.compile(rb"^(?P<lead>\s*(?:- +)?)(?:with:|set:\s*[|>][+-]?)\s*(?:\s#.*)?\r?\n?$")
_OFF = re.compile(rb"(?P<head>DOCKER_BUILDKIT[\"']?\s*[:=]\s*[\"']?)(?P<value>0|false)(?=[\"'\s\\;&|}),]|$)", re.I)
_VERSION_ONE = re.compile(rb"\bdocker-compose(?=[ \t])(?![ \t]*\.ya?ml)")
_PLAIN_BUILD = re.compile(rb"\bdocker[ \t]+(?:image[ \t]+|builder[ \t]+)?build\b")


def drop_no_cache(tree: Tree, build: BuildSite) -> Remedy:
    """Take ``--no-cache`` or ``no-cache: true`` out of the line that holds it."""
    found = _no_cache(tree, build.path, build.no_cache_line or build.line)
    if found is None and (build.defined_in or build.system in ("bake", "compose")):
        found = _no_cache_in_block(tree, build.defined_in or build.path, build.defined_line or build.line)
    if found is None and (build.defined_in or build.path).endswith((".hcl", ".json")):
        from coach.ci import bake

        inherited = bake.written(tree, build, "no-cache")
        found = _no_cache(tree, *inherited) if inherited is not None else None
    where = f"`{build.path}` line {build.no_cache_line or build.line}"
    if found is None:
        source = _filled_from(tree, build.path, build.no_cache_line)
        if source:
            given = f" in `{build.called_from}`" if build.called_from and source.startswith("inputs.") else ""
            return Remedy(
                Safety.SHOW,
                reasons=(f"{where} takes it from `{source}`, which is set{given or ' elsewhere'}",),
                guidance=f"Let `{source}` be false where it is set{given}.",
            )
        return Remedy(
            Safety.SHOW,
            reasons=(f"how {where} switches the cache off is not written as a flag or key that can be taken out",),
            guidance=f"Take `--no-cache` (or `no-cache: true`) out of {where}.",
        )
    guidance = (
        f"{where} no longer rebuilds every layer. For fresh base images and packages use `--pull` (`pull: true`) and "
        "a scheduled build without cache beside this one."
    )
    if build.no_cache_why:
        reason = f"{build.no_cache_why}: a deliberate rebuild of base images and packages should stay as it is"
        return Remedy(Safety.REVIEW, (found,), (reason,), guidance)
    return Remedy(Safety.SAFE, (found,), (), guidance)


def _filled_from(tree: Tree, path: str, number: int) -> str:
    """The one name in an expression of GitHub's that line ``number`` takes its value from, "" for none."""
    read = _lines(tree, path)
    line = read[0][number - 1] if read is not None and 0 < number <= len(read[0]) else b""
    match = re.search(rb"no[-_]cache[\"']?\s*:\s*[\"']?\$\{\{\s*([\w.-]+)\s*\}\}", line)
    return match[1].decode("ascii", "replace") if match is not None else ""


def _lines(tree: Tree, path: str) -> tuple[list[bytes], list[int]] | None:
    try:
        lines = split_lines(tree.read(path))
    except InputError:
        return None
    starts, at = [], 0
    for line in lines:
        starts.append(at)
        at += len(line)
    return lines, starts


def _no_cache(tree: Tree, path: str, number: int) -> Edit | None:
    read = _lines(tree, path)
    if read is None or not 0 < number <= len(read[0]):
        return None
    lines, starts = read
    line, start = lines[number - 1], starts[number - 1]
    key = _KEY.match(line)
    if key is not None or (path.endswith((".yml", ".yaml")) and _SET.match(line)):
        first = _emptied(lines, number)
        if first is None:
            return None
        if first < number or key is None:
            return Edit(path, Span(starts[first - 1], start + len(line)), b"")
        return _without_key(path, b"".join(lines), Span(start, start + len(line)), key)
    if _ITEM.match(line):
        return Edit(path, Span(start, start + len(line)), b"")
    listed = _LISTED.search(line) or _INLINE.search(line)
    if listed is not None:
        return Edit(path, Span(start + listed.start(), start + listed.end()), b"")
    match = _FLAG.search(line)
    if match is None:
        return None
    flag = Span(start + match.end("lead"), start + match.end())
    return Edit(path, cut(b"".join(lines), flag), b"")


def _emptied(lines: list[bytes], number: int) -> int | None:
    """The first line that has to go with line ``number``: a ``with:`` or ``set:`` that nothing else is left of.

    ``None`` where that one starts an item of a list, and so cannot go.
    """
    first = number
    while True:
        above = first - 1
        while above > 0 and (not lines[above - 1].strip() or lines[above - 1].lstrip().startswith(b"#")):
            above -= 1
        opens = _OPENS.match(lines[above - 1]) if above > 0 else None
        if opens is None or opens.end("lead") >= _blank(lines[first - 1]):
            return first
        below = next((line for line in lines[number:] if line.strip() and not line.lstrip().startswith(b"#")), b"")
        if below and _blank(below) >= _blank(lines[first - 1]):
            return first
        if opens["lead"].strip():
            return None
        first = above


def _blank(text: bytes) -> int:
    return len(text) - len(text.lstrip(b" \t"))


def _no_cache_in_block(tree: Tree, path: str, first: int) -> Edit | None:
    """The key in the block that starts at line ``first`` of a compose or bake file, as its indentation tells."""
    read = _lines(tree, path)
    if read is None or not 0 < first <= len(read[0]):
        return None
    lines = read[0]
    head = _blank(lines[first - 1])
    for number in range(first, len(lines) + 1):
        line = lines[number - 1]
        if number > first and line.strip() and _blank(line) <= head:
            return None
        if _KEY.match(line) or _INLINE.search(line):
            return _no_cache(tree, path, number)
    return None


def _without_key(path: str, content: bytes, span: Span, key: re.Match[bytes]) -> Edit:
    """The file without the key's line; in JSON the comma above goes with the last key of an object."""
    above = content[: span.start].rstrip()
    if path.endswith(".json") and not key["comma"] and above.endswith(b","):
        return Edit(path, Span(len(above) - 1, span.start + len(key[0].rstrip())), b"")
    return Edit(path, span, b"")


def buildkit_on(tree: Tree, build: BuildSite) -> Remedy:
    """Switch BuildKit on where a variable, Compose v1 or an old engine keeps it off."""
    where = f"`{build.path}` line {build.line}"
    if build.tool == "kaniko":
        return Remedy(
            Safety.SHOW,
            reasons=("another builder has to take kaniko's place, which depends on what the runners may do",),
            guidance=(
                f"{where} builds with kaniko, which is no longer maintained and ignores cache mounts. Build with "
                "`docker buildx build` against a rootless or remote BuildKit "
                "(`docker buildx create --driver kubernetes --driver-opt rootless=true`), or with `buildah`."
            ),
        )
    read = _lines(tree, build.path)
    if read is None:
        return Remedy(Safety.SHOW, reasons=(f"{build.path} cannot be read",), guidance="Set `DOCKER_BUILDKIT=1`.")
    lines, starts = read
    own = range(build.line, build.end_line + 1)
    edits = _switches(build.path, lines, starts, own)
    if not edits:
        edits = _switches(build.path, lines, starts, range(1, len(lines) + 1))
    if edits:
        return Remedy(
            Safety.REVIEW,
            tuple(edits),
            ("somebody switched BuildKit off here: check that the reason is gone",),
            f"{where} builds with BuildKit again.",
        )
    if build.called_from and build.called_from != build.path:
        outer = _lines(tree, build.called_from)
        edits = _switches(build.called_from, *outer, range(1, len(outer[0]) + 1)) if outer is not None else []
        if edits:
            return Remedy(
                Safety.REVIEW,
                tuple(edits),
                ("somebody switched BuildKit off here: check that the reason is gone",),
                f"`{build.called_from}` builds with BuildKit again.",
            )
    if build.tool == "docker-compose":
        edits = [
            Edit(
                build.path,
                Span(starts[number - 1] + match.start(), starts[number - 1] + match.end()),
                b"docker compose",
            )
            for number in own
            for match in _VERSION_ONE.finditer(lines[number - 1])
        ]
        if edits:
            return Remedy(
                Safety.REVIEW,
                tuple(edits),
                ("the machine needs the Compose plug-in, and containers are named with `-` instead of `_`",),
                f"{where} uses Compose v2, which builds with BuildKit.",
            )
    if build.tool == "docker":
        for number in own:
            match = _PLAIN_BUILD.search(lines[number - 1])
            if match is not None:
                at = starts[number - 1] + match.start()
                return Remedy(
                    Safety.REVIEW,
                    (Edit(build.path, Span(at, at), b"DOCKER_BUILDKIT=1 "),),
                    (_why_by_hand(build),),
                    f"{where} asks the engine for BuildKit.",
                )
    return Remedy(
        Safety.SHOW,
        reasons=("what keeps BuildKit off is not written in a file that can be edited",),
        guidance=f"Set `DOCKER_BUILDKIT=1` for {where}, or build with `docker buildx build`.",
    )


def _why_by_hand(build: BuildSite) -> str:
    if build.system == "bitbucket":
        return f"{build.buildkit_why}, and its `docker` cache keeps layers of the legacy builder alone"
    return f"{build.buildkit_why or 'the engine is old'}: a newer engine is the better fix"


def _switches(path: str, lines: list[bytes], starts: list[int], numbers: range) -> list[Edit]:
    return [
        Edit(path, Span(starts[number - 1] + match.start("value"), starts[number - 1] + match.end("value")), b"1")
        for number in numbers
        if 0 < number <= len(lines)
        for match in _OFF.finditer(lines[number - 1])
    ]


def _shifted(match: re.Match[bytes], start: int) -> Span:
    return Span(start + match.start(), start + match.end())
