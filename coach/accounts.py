"""Accounts that shell commands make: ``useradd``, ``adduser`` (Debian's and BusyBox's), ``groupadd``, ``addgroup``."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from coach.shell import Command


@dataclass(frozen=True, slots=True)
class Account:
    """One user. Numbers are ``None`` where the command leaves them to the system; ``home`` where it cannot be told."""

    name: str
    uid: int | None
    gid: int | None
    home: str | None


_VALUED = frozenset(
    "-u --uid -g --gid -G --groups -d --home-dir --home -s --shell -c --comment -K --key -k --skel -b --base-dir -e -f "
    "-p --password --gecos --ingroup --firstuid --lastuid -h".split()
)


COMMANDS = frozenset({"groupadd", "addgroup", "useradd", "adduser", "usermod"})


def accounts(commands: Iterable[Command]) -> dict[str, Account]:
    """Users by name after ``commands`` have run, in that order. Users that exist before are not among them."""
    found: dict[str, Account] = {}
    groups: dict[str, int | None] = {"root": 0}
    for command in commands:
        words = command.words[1:]
        if command.name in {"groupadd", "addgroup"}:
            options, operands = _split(words)
            if operands:
                groups[operands[0]] = _number(_first(options, "-g", "--gid"))
        elif command.name in {"useradd", "adduser"}:
            account = _made(command.name, words, groups)
            if account is not None:
                unsure = command.guarded and account.name in found
                found[account.name] = Account(account.name, None, None, None) if unsure else account
        elif command.name == "usermod":
            options, operands = _split(words)
            for name in operands[-1:]:
                if name in found and _first(options, "-u", "--uid", "-g", "--gid", "-d", "--home"):
                    found[name] = replace(found[name], uid=None, gid=None, home=_first(options, "-d", "--home"))
    return found


def _made(program: str, words: Sequence[str | None], groups: dict[str, int | None]) -> Account | None:
    options, operands = _split(words)
    if not operands or (program == "adduser" and len(operands) > 1):
        return None  # `adduser name group` only adds a member
    name = operands[-1]
    uid = _number(_first(options, "-u", "--uid"))
    group = _first(options, "--gid", "--ingroup", "-G" if program == "adduser" else "-g")
    gid = _number(group) if group is None or group.isdigit() else groups.get(group)
    home = _first(options, "-d", "--home-dir", "--home", "-h")
    if home is None:
        base = _first(options, "-b", "--base-dir")
        # Debian's `adduser --system` gives /nonexistent from bookworm on and /home/name before
        system = program == "adduser" and any(flag == "--system" for flag, _ in options)
        home = None if system else posixpath.join(base or "/home", name)
    return Account(name, uid, gid, home if home is not None and home.startswith("/") else None)


def _split(words: Sequence[str | None]) -> tuple[list[tuple[str, str | None]], list[str]]:
    options: list[tuple[str, str | None]] = []
    operands: list[str] = []
    at = 0
    while at < len(words):
        text = words[at]
        at += 1
        if text is None:
            continue
        if not text.startswith("-") or text == "-":
            operands.append(text)
            continue
        flag, equals, value = text.partition("=")
        cluster = f"-{text[-1]}" if not text.startswith("--") and len(text) > 2 else text
        if equals:
            options.append((flag, value))
        elif cluster in _VALUED and at < len(words):
            options.append((cluster, words[at]))
            at += 1
        else:
            options.append((text, None))
    return options, operands


def _first(options: Sequence[tuple[str, str | None]], *flags: str) -> str | None:
    return next((value for flag, value in options if flag in flags and value), None)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 11 else None
