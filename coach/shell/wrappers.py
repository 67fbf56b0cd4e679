"""Commands that run another command: ``env``, ``sudo``, ``timeout``, ``su -c``, ``bash -c`` …"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coach.shell.nouns import Word

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh"})


@dataclass(slots=True)
class Peel:
    """A command line without its wrappers. ``script`` is the text that a shell runs, if that is all it does."""

    words: list[Word]
    env: dict[str, str | None] = field(default_factory=dict)
    user: str | None = None
    chdir: Word | None = None
    script: Word | None = None


# wrapper -> its options that take a value, and how many operands stand before the command
_WRAPPERS: Mapping[str, tuple[frozenset[str], int]] = {
    "env": (frozenset({"-u", "--unset", "-C", "--chdir"}), 0),
    "sudo": (frozenset({"-u", "-g", "-h", "-p", "-C", "-T", "-r", "-t", "-U", "-D", "-R", "--user", "--group"}), 0),
    "doas": (frozenset({"-u", "-C"}), 0),
    "exec": (frozenset({"-a"}), 0),
    "time": (frozenset({"-f", "-o", "--format", "--output"}), 0),
    "nice": (frozenset({"-n", "--adjustment"}), 0),
    "ionice": (frozenset({"-c", "-n", "--class", "--classdata"}), 0),
    "nohup": (frozenset(), 0),
    "setsid": (frozenset(), 0),
    "command": (frozenset(), 0),
    "builtin": (frozenset(), 0),
    "timeout": (frozenset({"-k", "-s", "--kill-after", "--signal"}), 1),
    "stdbuf": (frozenset({"-i", "-o", "-e"}), 0),
    "eatmydata": (frozenset(), 0),
    "fakeroot": (frozenset(), 0),
    "linux32": (frozenset(), 0),
    "linux64": (frozenset(), 0),
    "setarch": (frozenset(), 1),
    "busybox": (frozenset(), 0),
    "gosu": (frozenset(), 1),
    "su-exec": (frozenset(), 1),
    "setuser": (frozenset(), 1),
    "s6-setuidgid": (frozenset(), 1),
    "runuser": (frozenset({"-u", "-g", "-G", "-s", "--user", "--group", "--shell"}), 0),
    "tini": (frozenset({"-p", "-e"}), 0),
    "dumb-init": (frozenset({"-r"}), 0),
    "xvfb-run": (frozenset({"-n", "-s", "-e", "-f", "-p"}), 0),
}  # fmt: skip
_USER_FIRST = frozenset({"gosu", "su-exec", "setuser", "s6-setuidgid"})
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL | re.ASCII)


_OPTIONAL = re.compile(r"\$\{\w+:?\+", re.ASCII)


def peel(words: Sequence[Word]) -> Peel:
    peel = Peel(list(words))
    # `${X:+env X="$X"} cmd`: whatever becomes of it, the command is what follows
    while len(peel.words) > 1 and peel.words[0].text is None and _OPTIONAL.match(peel.words[0].raw):
        del peel.words[0]
    for _ in range(12):
        first = peel.words[0].text if peel.words else None
        name = posixpath.basename(first) if first else ""
        if name in SHELLS or name == "eval":
            peel.script = _script_of(name, peel.words)
            return peel
        if name == "su" or (name == "runuser" and any(word.text in {"-c", "--command"} for word in peel.words)):
            _peel_su(peel)
            return peel
        if name not in _WRAPPERS or not _peel_one(peel, name):
            return peel
    return peel


def _peel_one(peel: Peel, name: str) -> bool:
    """Drop one wrapper; false when what follows it cannot be told."""
    valued, operands = _WRAPPERS[name]
    rest = peel.words[1:]
    at = 0
    user: Word | None = None
    while at < len(rest):
        text = rest[at].text
        if text is None:
            break
        assigned = _ASSIGNMENT.fullmatch(text) if name in {"env", "sudo", "doas"} else None
        if text == "--":
            at += 1
            break
        if name == "command" and text in {"-v", "-V"}:
            return False
        if text.startswith("-") and len(text) > 1:
            flag, _, value = text.partition("=")
            takes = flag in valued and not value
            operand = rest[at + 1] if takes and at + 1 < len(rest) else None
            if flag in {"-u", "--user"} and name in {"sudo", "doas", "runuser"}:
                user = operand
            if flag in {"-C", "--chdir"} and name == "env":
                peel.chdir = operand
            at += 2 if takes else 1
        elif assigned is not None:
            peel.env[assigned[1]] = assigned[2]
            at += 1
        else:
            break
    # `env A="$X" cmd`: an assignment whose value is not known is still an assignment
    while name in {"env", "sudo"} and at < len(rest) and rest[at].text is None and _ASSIGNMENT.match(rest[at].raw):
        peel.env[rest[at].raw.partition("=")[0]] = None
        at += 1
        while at < len(rest) and (found := _ASSIGNMENT.fullmatch(rest[at].text or "")) is not None:
            peel.env[found[1]] = found[2]
            at += 1
    if name in _USER_FIRST and at < len(rest):
        user = rest[at]
    at += operands
    if at >= len(rest):
        return False
    if name in {"sudo", "doas"} and user is None:
        peel.user = "root"
    if user is not None:
        peel.user = (user.text or "").partition(":")[0] or "?"
    peel.words = rest[at:]
    return True


def _peel_su(peel: Peel) -> None:
    """``su [-] [user] -c '…'``: the script runs as that user."""
    user = "root"
    script: Word | None = None
    at = 1
    while at < len(peel.words):
        word = peel.words[at]
        if word.text in {"-c", "--command", "-lc"}:
            script = peel.words[at + 1] if at + 1 < len(peel.words) else None
            at += 2
        elif word.text in {"-s", "--shell", "-g", "-G"}:
            at += 2
        else:
            if word.text is None or not word.text.startswith("-"):
                user = word.text or "?"
            at += 1
    peel.user = user
    peel.script = script


def _script_of(name: str, words: Sequence[Word]) -> Word | None:
    """The text behind ``-c``, or behind ``eval`` when it is one word."""
    if name == "eval":
        return words[1] if len(words) == 2 else None
    at = 1
    wanted = False
    while at < len(words):
        text = words[at].text
        if text is None or not text.startswith(("-", "+")) or text in {"-", "--"}:
            break
        cluster = text[1:] if not text.startswith("--") else ""
        wanted = wanted or ("c" in cluster and text.startswith("-"))
        at += 2 if cluster.endswith(("o", "O")) or text in {"--rcfile", "--init-file"} else 1
    return words[at] if wanted and at < len(words) else None
