"""Which steps of a build run, given what a cache holds: BuildKit's solver in two bounds.

``COPY --from`` and mounts of other stages are matched by *content* when their source had to be built again, and
git does not know what a command writes. So every build is judged twice: in the worst case no such content is ever
equal, in the best case it always is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from coach.replay.context import Context, digest
from coach.replay.plan import Plan


class Policy(StrEnum):
    """What a build finds in its cache.

    ``LOCAL``: everything ever built (a developer's machine, a builder that stays). ``MAX``: all steps of the commit
    before (``mode=max``). ``MIN``: the layers of the image of the commit before (``mode=min``, and inline).
    ``NONE``: nothing (a runner that is thrown away).
    """

    LOCAL = "local"
    MAX = "max"
    MIN = "min"
    NONE = "none"


class Outcome(StrEnum):
    """What became of a step at one commit. ``MAYBE``: it ran unless another stage gave the same bytes as before.

    ``FAILED``: it could not be built, because a file it copies is not in that commit. ``ABSENT``: no such step then.
    """

    RAN = "ran"
    MAYBE = "maybe"
    CACHED = "cached"
    FAILED = "failed"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Keys:
    """Cache keys of every vertex at one commit: ``None`` where it cannot be built."""

    worst: tuple[str | None, ...]
    best: tuple[str | None, ...]
    missing: tuple[str, ...] = ()


def keys(plan: Plan, context: Context, commit: str) -> Keys:
    """The keys of all vertices of ``plan`` in ``context``."""
    worst: list[str | None] = []
    best: list[str | None] = []
    missing: list[str] = []
    for vertex in plan.vertices:
        parts = [vertex.token, commit if vertex.per_commit else ""]
        broken = False
        for selection in vertex.reads:
            found = context.content(selection)
            if found is None:
                broken = True
                missing += selection.words
            parts.append(found or "")
        sources = [input_.vertex for input_ in vertex.inputs]
        below = [index for index in (vertex.parent, *sources) if index is not None]
        if broken or any(worst[index] is None for index in below):
            worst.append(None)
            best.append(None)
            continue
        low = "" if vertex.parent is None else worst[vertex.parent] or ""
        high = "" if vertex.parent is None else best[vertex.parent] or ""
        copied = [("" if one.vertex is None else worst[one.vertex] or "") + one.path for one in vertex.inputs]
        if vertex.kind == "merge":
            inner = [best[index] or "" for index in sources if index is not None]
            worst.append(digest(*parts, low, *copied))
            best.append(digest(*parts, high, *inner))
            continue
        worst.append(digest(*parts, low, *copied))
        best.append(digest(*parts, high, *("same" for _ in copied)))
    return Keys(tuple(worst), tuple(best), tuple(missing))


@dataclass
class Cache:
    """What one builder remembers."""

    policy: Policy
    worst: set[str] = field(default_factory=set)
    best: set[str] = field(default_factory=set)

    def build(self, plan: Plan, now: Keys) -> list[Outcome]:
        """Outcomes by vertex; afterwards the cache holds what the policy keeps of this build."""
        low = _ran(plan, now, self.worst, None)
        high = _ran(plan, now, self.worst, self.best) - _twins(plan, now)
        outcomes = [
            Outcome.FAILED
            if now.worst[index] is None
            else Outcome.RAN
            if index in low and index in high
            else Outcome.MAYBE
            if index in low
            else Outcome.CACHED
            for index in range(len(plan.vertices))
        ]
        self._keep(plan, now)
        return outcomes

    def _keep(self, plan: Plan, now: Keys) -> None:
        kept: Iterable[int] = range(len(plan.vertices))
        if self.policy in (Policy.MAX, Policy.MIN):
            if plan.final is not None and now.worst[plan.final] is None:
                return  # a build that fails exports nothing
            self.worst, self.best = set(), set()
        if self.policy is Policy.MIN:
            kept = plan.chain
        if self.policy is not Policy.NONE:
            self.worst |= {key for index in kept if (key := now.worst[index]) is not None}
            self.best |= {key for index in kept if (key := now.best[index]) is not None}


def _twins(plan: Plan, now: Keys) -> set[int]:
    """Vertices that may come to the same key within one build: one of them runs, and the others may be spared."""
    alike: dict[str, list[int]] = {}
    for index, key in enumerate(now.best):
        if key is not None:
            alike.setdefault(key, []).append(index)
    return {
        index
        for group in alike.values()
        if len(group) > 1 and len({plan.definitions[index] for index in group}) > 1
        for index in group
    }


def _ran(plan: Plan, now: Keys, known: set[str], alike: set[str] | None) -> set[int]:
    """Vertices that run: the final one, and whatever a running one needs.

    ``alike`` are the keys known when content of other stages is taken to be what it was; ``None``: it never is.
    """
    vertices = plan.vertices
    ran: set[int] = set()
    done: set[int] = set()
    # a build that fails still runs what does not hang on the failure
    wanted = [] if plan.final is None else [plan.final]
    if plan.final is not None and now.worst[plan.final] is None:
        wanted = [index for index in range(len(vertices)) if now.worst[index] is not None]
    while wanted:
        index = wanted.pop()
        if index in done:
            continue
        done.add(index)
        key, best = now.worst[index], now.best[index]
        if key is None or key in known:
            continue
        vertex = vertices[index]
        below = [one for one in (vertex.parent, *(input_.vertex for input_ in vertex.inputs)) if one is not None]
        if alike is None or best not in alike:
            ran.add(index)
            wanted += below
            continue
        # cached because copied bytes are the same: known only after those were built, here or further down
        wanted += below
    return ran
