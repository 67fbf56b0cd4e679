"""Yarn's Plug'n'Play in two stages: archives that travel with the project, and a program that finds them.

Source: https://yarnpkg.com/features/pnp and https://yarnpkg.com/configuration/yarnrc#enableGlobalCache
"""

from __future__ import annotations

from dataclasses import replace

from coach.manifests.node_facts import NodeFacts
from coach.shipped import Shipped
from coach.site import Run
from coach.split import production
from coach.split.draft import CannotSplitError, Draft, inserted, insertion
from coach.split.entry import Entry

_SETTING = "YARN_ENABLE_GLOBAL_CACHE"


def archives(shipped: Shipped, draft: Draft, run: Run, facts: NodeFacts) -> None:
    """Let the install keep its archives in the project's folder, which is copied to the runtime stage."""
    names = run.state.names()
    if names.get("YARN_CACHE_FOLDER"):
        raise CannotSplitError("YARN_CACHE_FOLDER keeps the packages that run outside of the project")
    if names.get(_SETTING) not in ("false", "0") and production.cache_apart(shipped, facts):
        at = insertion(shipped, run.instruction)
        draft.edits.insert(0, inserted(shipped, at, [f"ENV {_SETTING}=false"]))
        draft.reasons.append(f"`{_SETTING}=false` keeps the archives that the program runs from in the project")


def started(start: Entry, workdir: str, facts: NodeFacts) -> Entry:
    """``start`` with the loader that ``yarn node`` gives to it. Raises ``CannotSplitError``."""
    if not start.through:
        if not any(".pnp." in word for word in start.words):
            raise CannotSplitError("the command starts node without yarn's Plug'n'Play, by which it finds its packages")
        return start
    if start.words[0] != "node":
        raise CannotSplitError(f"yarn's Plug'n'Play has no file for {start.words[0]} that could be started")
    loader = ["-r", f"{workdir}/.pnp.cjs"]
    if facts.module == "module":
        loader += ["--experimental-loader", f"file://{workdir}/.pnp.loader.mjs"]
    return replace(start, words=("node", *loader, *start.words[1:]))
