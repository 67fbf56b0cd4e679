"""Whose a cache mount is: uid 0's, gid 0's, mode 0755, unless ``uid``, ``gid`` and ``mode`` say otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from coach import images
from coach.accounts import Account
from coach.instructions import Mount


@dataclass(frozen=True)
class Who:
    """The user a command runs as. ``uid`` is ``None`` for a user by name whose number nobody told; it is not 0 then."""

    name: str
    uid: int | None
    gid: int | None = None

    @property
    def root(self) -> bool:
        return self.uid == 0

    @property
    def options(self) -> str:
        """The options of a mount that is this user's own; "" for root, and where the number is not known."""
        if self.root or self.uid is None:
            return ""
        return f"uid={self.uid}" + (f",gid={self.gid}" if self.gid is not None else "")


def who(user: str | None, accounts: Mapping[str, Account], image: str | None) -> Who | None:
    """Whom ``user`` (of ``USER``, or of a command) names in an image made from ``image``; ``None``: not known."""
    if user is None:
        return None
    name, _, group = user.partition(":")
    if name in {"root", "0", ""}:
        return Who("root", 0)
    gid = _number(group)
    uid = _number(name)
    if uid is not None:
        return Who(name, uid, gid)
    account = accounts.get(name)
    if account is not None and account.uid is not None:
        own = account.gid if account.gid is not None else account.uid
        return Who(name, account.uid, gid if gid is not None else own)
    facts = images.lookup(image or "")
    if account is None and facts is not None and name in facts.users:
        known = facts.users[name]
        return Who(name, known.uid, known.gid)
    return Who(name, None, gid)


def shut(mount: Mount, user: Who) -> bool:
    """Whether ``user`` can surely not write into a fresh cache mount; false wherever that is not told."""
    options = mount.options
    if user.root or "from" in options:
        return False
    uid, gid = (_number(options.get(key, "0")) for key in ("uid", "gid"))
    text = options.get("mode", "0755")
    if uid is None or gid is None or not re.fullmatch(r"[0-7]{1,5}", text):
        return False
    mode = int(text, 8)
    owner = uid == user.uid if user.uid is not None else uid != 0  # an unknown number may be that one
    member = user.gid is None or gid == user.gid
    return not (mode & 0o002 or (owner and mode & 0o200) or (member and mode & 0o020))


def given(flag: str, options: str) -> str | None:
    """``flag`` (as it stands in the file) with ``options`` in place of its own; ``None`` where it is quoted."""
    if re.search(r"[\"'\\\s]", flag):
        return None
    for option in options.split(","):
        key = option.partition("=")[0]
        changed, count = re.subn(rf"(?<=[,=]){key}=[^,]*", option, flag)
        flag = changed if count else f"{flag},{option}"
    return flag


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,10}", text, re.ASCII) else None
