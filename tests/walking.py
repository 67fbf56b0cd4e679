"""A small chart, lessons that read one file, and sites over trees in memory: a course to walk in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from coach import skill
from coach.flowchart import load_chart
from coach.lessons import Lesson
from coach.model import Answer, Edit, Evidence, Remedy, Safety, Span, Tree, certain, likely, unknown
from coach.skill import Skill
from coach.tree import MemoryTree

if TYPE_CHECKING:
    from coach.flowchart import Chart
    from coach.site import Site

CHART = """\
flowchart TD
  start(["What hurts?"]) -->|slow| order
  start -->|not_sure| engine
  engine{"Modern engine?"} -->|no| F1["FIX F1: turn the engine on"]
  engine -->|yes| order
  F1 -. fixed .-> order
  order{"Right order?"} -->|no| F2["FIX F2: put it in order"]
  order -->|yes| arch
  F2 -. fixed .-> arch
  arch{"How is arm64 built?"} -->|qemu| F7["FIX F7: build natively"]
  arch -->|no| root
  arch -->|native| root
  F7 -. fixed .-> root
  root{"Runs as root?"} -->|yes| F12["FIX F12: name a user"]
  root -->|no| done(["Done"])
  F12 -. fixed .-> done
"""

SKILL = f"""\
---
name: small
description: A small skill for tests.
---
# Small

```mermaid
{CHART}```

## Core capabilities

### Engine
Turn it on.

### Order
Sort it.

### Arch
Build natively.

### User
Name one.

## Anti-patterns

### Off

**Symptom:** slow.
**Diagnosis:** it is off.
**Fix:** F1. Turn it on.

### Mixed up

**Symptom:** reruns.
**Diagnosis:** wrong order.
**Fix:** F2. Sort it.
"""


def chart(text: str = CHART) -> Chart:
    return load_chart(text)


def read_skill() -> Skill:
    return skill.load(SKILL)


@dataclass
class Word:
    """A lesson that looks for ``word=value`` in the Dockerfile and whose fix rewrites the value.

    ``fixed`` maps a bad value to the good one. A value "?" is unknown; "maybe-x" is a likely x.
    """

    NODE: str
    FIX: str
    SECTION: str
    bad: str
    good: str
    safety: Safety = Safety.SAFE
    ANTI_PATTERN: str = "Mixed up"

    def probe(self, site: Site, /) -> Answer:
        found = _find(site, self.NODE)
        if found is None:
            return certain(self.good, f"{self.NODE} is not mentioned")
        line, _, value = found
        evidence = Evidence(site.dockerfile.path, line, line, f"{self.NODE}={value}", "the word itself")
        if value == "?":
            return unknown(f"{self.NODE} cannot be told", "look at the machine", evidence)
        if value.startswith("maybe-"):
            return likely(value.removeprefix("maybe-"), "a guess", evidence)
        return certain(value, f"{self.NODE} says {value}", evidence)

    def remedy(self, site: Site, answer: Answer, /) -> Remedy | None:
        found = _find(site, self.NODE)
        if found is None:
            return None
        if self.safety is Safety.SHOW:
            return Remedy(Safety.SHOW, reasons=("nothing can be written",), guidance="Do it by hand.")
        _, at, value = found
        start = at + len(self.NODE) + 1
        reasons = ("look at it",) if self.safety is Safety.REVIEW else ()
        path = site.dockerfile.path
        return Remedy(self.safety, (Edit(path, Span(start, start + len(value)), self.good.encode()),), reasons)


def _find(site: Site, node: str) -> tuple[int, int, str] | None:
    content = site.tree.read(site.dockerfile.path)
    at = 0
    for number, row in enumerate(content.split(b"\n"), 1):
        if row.startswith(f"{node}=".encode()):
            return number, at, row[len(node) + 1 :].decode()
        at += len(row) + 1
    return None


LESSONS: tuple[Lesson, ...] = (
    Word("engine", "F1", "Engine", "no", "yes", ANTI_PATTERN="Off"),
    Word("order", "F2", "Order", "no", "yes"),
    Word("arch", "F7", "Arch", "qemu", "native", Safety.REVIEW),
    Word("root", "F12", "User", "yes", "no", Safety.SHOW),
)


def site(tree: Tree | Mapping[str, bytes] | str, path: str = "Dockerfile", target: str | None = None) -> Site:
    """A stand-in with just what a walk reads."""
    if isinstance(tree, str):
        tree = {path: tree.encode()}
    over = MemoryTree(tree) if isinstance(tree, Mapping) else tree
    bare: Any = SimpleNamespace(
        tree=over, dockerfile=SimpleNamespace(path=path), path=path, context="", target=target, builds=(), observed={}
    )
    return cast("Site", bare)


def discover(*paths: str) -> Callable[[Tree], tuple[Site, ...]]:
    """Sites at ``paths`` of whatever tree is given; ``path@target`` names a target."""

    def found(tree: Tree) -> tuple[Site, ...]:
        made = []
        for path in paths or ("Dockerfile",):
            name, _, target = path.partition("@")
            made.append(site(tree, name, target or None))
        return tuple(made)

    return found
