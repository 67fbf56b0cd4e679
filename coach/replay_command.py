"""``coach replay``: what every commit of the history would cost, today and with coach's patch."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from coach import misses
from coach.buildlog import Log, read
from coach.errors import CoachError, InputError, UsageError
from coach.history import GitHistory
from coach.model import Answer, Finding, Safety
from coach.project import Narrow, Project, open_project
from coach.replay import Patched, Policy, Replay, replay, reruns
from coach.site import Site
from coach.tree import Overlay

Say = Callable[[str], None]

COMMITS = 200
_LAYER_ORDER = "layer_order"  # the decision whose findings are about installs that rerun
_MOST = 100_000
_LARGEST_LOG = 200_000_000

NOTES = """\
Every commit of the main line (first parents) is built in memory, oldest first; the commit before the first one only
warms the cache. No checkout, no engine. Three Dockerfiles are compared, each with the files of the commit:
  as it was  the Dockerfile and the ignore file of each commit
  today      those in the work tree, held constant
  patched    those after the patch that `coach fix` would make, held constant
`floor` is how often something changed that an install truly needs. `a–b` is an interval: bytes written by other
stages are not in git. Base images are taken to stay what they are.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``coach replay`` takes."""
    parser.add_argument("path", nargs="?", default=".", metavar="PATH", help="the repository (default: here)")
    parser.add_argument("--commits", type=int, default=None, metavar="N", help=f"how many (default: {COMMITS})")
    parser.add_argument("--since", metavar="D", help='only commits since then ("2 weeks ago", 2026-01-31)')
    parser.add_argument("--dockerfile", metavar="P", help="this Dockerfile only (path in the repository)")
    parser.add_argument("--context", metavar="C", help="its build context")
    parser.add_argument("--target", metavar="T", help="the stage that is built")
    parser.add_argument(
        "--policy", choices=[policy.value for policy in Policy], default="local", help="the cache (default: local)"
    )
    parser.add_argument("--safety", choices=("safe", "review"), default="review", help="fixes in the patch")
    parser.add_argument("--only", metavar="F2,F3", default="", help="these FIX codes only")
    parser.add_argument("--answer", action="append", default=[], metavar="NODE=CHOICE", help="as for diagnose")
    parser.add_argument("--log", action="append", default=[], metavar="FILE", help="a build log, for seconds")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--no-color", action="store_true", help="no colours (so does NO_COLOR=1)")


def run(args: argparse.Namespace, say: Say, root: Path, dockerfile: str | None) -> str:
    """What to print."""
    if args.commits is not None and not 1 <= args.commits <= _MOST:
        raise UsageError(f"--commits takes a number from 1 to {_MOST}")
    narrow = Narrow(dockerfile, args.context, args.target)
    project = open_project(root, narrow=narrow, answers=args.answer)
    most = args.commits or (_MOST if args.since else COMMITS)
    history = GitHistory(root, most, args.since)
    logs = [read_log(path)[0] for path in args.log]
    only = tuple(code.strip().upper() for code in args.only.split(",") if code.strip())
    sites, after, fixes = patched(project, Safety(args.safety), only, say)
    made: list[Replay] = []
    show = _progress()
    for key, site in sites.items():
        other = after.get(key)
        with_patch = Patched(other, fixes.get(key, ())) if other is not None and fixes.get(key) else None
        try:
            found = replay(
                history,
                site,
                with_patch,
                policy=Policy(args.policy),
                seconds=misses.seconds(logs, site),
                progress=show,
            )
        except InputError as error:
            say(f"passed over: {error}")
            continue
        made.append(found)
    _clear()
    if not made:
        raise InputError("no Dockerfile here could be replayed")
    if args.json:
        from coach.render import json
        from coach.render.replay import document

        return json.dump(document(made))
    from coach.render.replay import Marks, render

    return render(made, args.style, Marks.for_encoding(sys.stdout.encoding))


Key = tuple[str, str, str | None]


def patched(
    project: Project, safety: Safety, only: tuple[str, ...], say: Say
) -> tuple[Mapping[Key, Site], Mapping[Key, Site], Mapping[Key, tuple[str, ...]]]:
    """The targets as they are, as they are with the patch laid over, and the FIX codes that touched each."""
    from coach import session

    sites = {session.key(site): site for site in project.found().sites}
    try:
        patch = project.fix(safety, only)
    except CoachError as error:
        say(f"without a patch: {error}")
        return sites, {}, {}
    if not patch.files:
        return sites, {}, {}
    over = Overlay(project.tree, {path: content for path, (_, content) in patch.files.items()})
    after = {session.key(site): site for site in project.found(over).sites}
    codes: dict[Key, list[str]] = {}
    for applied in patch.applied:
        for key, site in sites.items():
            ignore = after[key].ignore if key in after else None
            mine = {site.path, ignore.path if ignore is not None else ""}
            if mine & set(applied.finding.files) and applied.finding.id not in codes.setdefault(key, []):
                codes[key].append(applied.finding.id)
    return sites, after, {key: tuple(sorted(found, key=lambda code: (len(code), code))) for key, found in codes.items()}


class _TooLongError(Exception):
    """What was allowed has been used up."""


def counting(root: Path, seconds: float | None = None) -> Callable[[Site, Finding], Finding]:
    """A function that gives a finding on layer order the counts of its installs.

    It changes nothing without git, or where counting takes longer than ``seconds``.
    """
    known: list[GitHistory | None] = []

    def count(site: Site, found: Finding) -> Finding:
        if found.node != _LAYER_ORDER:
            return found
        if not known:
            try:
                known.append(GitHistory(root, COMMITS))
            except CoachError:
                known.append(None)
        history = known[0]
        if history is None or len(history.commits) < 2:
            return found
        end = None if seconds is None else time.monotonic() + seconds

        def check(what: str, number: int, total: int) -> None:  # noqa: ARG001 - the shape of a progress call
            if end is not None and time.monotonic() > end:
                raise _TooLongError

        try:
            edits = found.remedy.edits
            with_patch = Patched(site.after(edits), (found.id,)) if edits else None
            return dataclasses.replace(found, replay=reruns(history, site, with_patch, check))
        except (CoachError, _TooLongError):
            return found

    return count


def observing(logs: Sequence[str]) -> Callable[[Site], Mapping[str, Answer]]:
    """A function that says what build logs prove about the decisions on a target; later logs add to earlier ones."""
    opened = [("standard input" if path == "-" else Path(path).name, *read_log(path)) for path in logs]

    def observe(site: Site) -> Mapping[str, Answer]:
        found: dict[str, Answer] = {}
        for path, log, content in opened:
            found |= misses.observed(log, content, path, site)
        return found

    return observe


def read_log(path: str) -> tuple[Log, bytes]:
    """A log and its bytes, from a file or, for ``-``, from standard input. Raises ``UsageError``."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(_LARGEST_LOG)
        else:
            with Path(path).open("rb") as file:
                content = file.read(_LARGEST_LOG)
    except OSError as error:
        raise UsageError(f"the log cannot be read: {error.strerror}", path) from None
    return read(content), content


def _progress() -> Callable[[str, int, int], None]:
    """A line on stderr that is drawn over, on a terminal only."""

    def show(what: str, number: int, total: int) -> None:
        if number % 10 == 0 and sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[Kcoach: {what}: commit {number} of {total}")
            sys.stderr.flush()

    return show


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
