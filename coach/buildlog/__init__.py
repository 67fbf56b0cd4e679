"""Build logs: what each step cost, what came from the cache, and what broke it."""

from __future__ import annotations

from coach.buildlog import plain, rawjson
from coach.buildlog.lines import lines
from coach.buildlog.values import Build, CacheUse, Log, State, Step, Unread

__all__ = ["Build", "CacheUse", "Log", "State", "Step", "Unread", "read"]

MOST_UNREAD = 50


def read(content: bytes) -> Log:
    """A log in any of BuildKit's formats, also out of a GitHub or GitLab job. Never raises.

    What is not a build's is counted; what is, but cannot be read, is listed in ``unread``.
    """
    text, objects = plain.Reader(), rawjson.Reader()
    stamped = 0
    for line in lines(content):
        stamped += line.when is not None
        if not objects.take(line):
            text.take(line)
    builds = (*objects.builds(), *text.builds())
    if objects.seen:
        form = "rawjson"
    elif text.old:
        form = "plain of 2019"
    elif text.numbered:
        form = "plain"
    else:
        form = "tty" if text.screens else "unknown"
    unread = sorted((*objects.unread, *text.unread), key=lambda one: one.line)
    if len(unread) > MOST_UNREAD:
        more = Unread(unread[MOST_UNREAD].line, f"and {len(unread) - MOST_UNREAD} more like these")
        unread = [*unread[:MOST_UNREAD], more]
    return Log(builds, form, text.foreign, tuple(unread), stamped > 0)
