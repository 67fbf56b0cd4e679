"""``coach log``: what a build log says, held against the Dockerfile it comes from."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from coach import misses
from coach.buildlog import Build, Log
from coach.errors import CoachError, UsageError
from coach.misses import Judgement
from coach.project import Narrow, open_project
from coach.replay_command import read_log
from coach.site import Site

Say = Callable[[str], None]

FOUND, NOTHING = 0, 2

NOTES = """\
Reads docker build --progress=plain and rawjson, the older formats and the screen of a terminal; also out of the log
of a GitHub or GitLab job. With the repository at --repo, steps are given their lines of the Dockerfile.
here exit code 2 also means that no line of the file is a build's.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``coach log`` takes."""
    parser.add_argument("file", metavar="FILE", help="the log; - reads standard input")
    parser.add_argument("--repo", default=".", metavar="PATH", help="the repository that was built (default: here)")
    parser.add_argument("--dockerfile", metavar="P", help="the Dockerfile that was built (path in the repository)")
    parser.add_argument("--context", metavar="C", help="its build context")
    parser.add_argument("--target", metavar="T", help="the stage that was built")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--no-color", action="store_true", help="no colours (so does NO_COLOR=1)")


def run(args: argparse.Namespace, say: Say) -> tuple[str, int]:
    """What to print, and the exit code."""
    log, _ = read_log(args.file)
    site = _site(args, log, say)
    judged = [misses.judge(build, site) for build in log.builds]
    dockerfile = site.path if site is not None else None
    code = FOUND if judged else NOTHING
    if args.json:
        from coach.render import json
        from coach.render.log import document

        return json.dump(document(log, judged, dockerfile)), code
    from coach.render.log import render

    return render(log, judged, dockerfile, args.style), code


def _site(args: argparse.Namespace, log: Log, say: Say) -> Site | None:
    """The target that the log's steps fit best; ``None`` where there is no repository or nothing fits."""
    try:
        narrow = Narrow(args.dockerfile, args.context, args.target)
        sites = open_project(Path(args.repo), narrow=narrow).found().sites
    except UsageError:
        if args.dockerfile is not None:
            raise
        return None
    except CoachError as error:
        say(f"without the Dockerfile: {error}")
        return None
    best = max(sites, key=lambda site: _fitting(log.builds, site), default=None)
    if best is None or not _fitting(log.builds, best):
        if sites and log.builds:
            say("no Dockerfile here has the steps of this log")
        return None
    return best


def _fitting(builds: Sequence[Build], site: Site) -> int:
    return sum(
        placed.instruction is not None
        for build in builds
        for placed in misses.place(build, site.dockerfile, site.graph)
    )


__all__ = ["NOTES", "Judgement", "arguments", "run"]
