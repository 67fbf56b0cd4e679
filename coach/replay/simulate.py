"""A history built commit by commit, in memory: what a cache would have saved at each."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coach import dockerignore
from coach.dockerfile import BaseConfig, parse
from coach.dockerignore import IgnoreFile
from coach.errors import InputError
from coach.replay.cache import Cache, Keys, Outcome, Policy, keys
from coach.replay.commits import PLAIN, SYMLINK, Commit, History, MissingError, Node
from coach.replay.context import Context, clean, digest
from coach.replay.plan import Plan, plan

_OWN = "coach:"  # in front of the id of content that no commit holds


@dataclass(frozen=True)
class Arguments:
    """How the image is built at every commit, whatever its Dockerfile: context, target and build arguments."""

    context: str = ""
    target: str | None = None
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    per_commit: frozenset[str] = frozenset()
    base_config: Callable[[str], BaseConfig | None] = lambda _: None

    def plan(self, content: bytes, path: str) -> Plan:
        """Raises ``InputError`` where BuildKit refuses the file or the target."""
        return plan(parse(content, path), self.target, self.build_args, self.per_commit, self.base_config)


@dataclass(frozen=True, slots=True)
class Build:
    """One commit as it would be built: ``changed`` are the paths that differ from the build before.

    ``plan`` is ``None`` where there is nothing to build; ``why`` says so.
    """

    commit: Commit
    plan: Plan | None
    context: Context
    changed: Collection[str] = ()
    why: str = ""


class Scenario(Protocol):
    """Which Dockerfile and which ignore file every commit is built with."""

    def builds(self, history: History) -> Iterator[Build]: ...


@dataclass(frozen=True)
class Fixed:
    """One Dockerfile, one ignore file and other ``files`` held constant over all commits; the rest is the commit's."""

    arguments: Arguments
    dockerfile: bytes
    path: str
    ignore: tuple[str, bytes] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def builds(self, history: History) -> Iterator[Build]:
        made = self.arguments.plan(self.dockerfile, self.path)
        ignore = dockerignore.parse(self.ignore[1], self.ignore[0]) if self.ignore is not None else None
        held = {**self.files, self.path: self.dockerfile}
        if self.ignore is not None:
            held[self.ignore[0]] = self.ignore[1]
        context = Context(self.arguments.context, ignore, history.blob)
        for number, commit in enumerate(history.commits):
            changes = {path: node for path, node in commit.changes.items() if path not in held}
            if number == 0:
                changes |= {path: own(content) for path, content in held.items()}
            context.update(changes)
            yield Build(commit, made, context, tuple(path for path in commit.changes if path not in held))


def own(content: bytes) -> Node:
    """A node for content that no commit holds."""
    return Node(PLAIN, _OWN + digest(content.decode("latin-1")))


@dataclass(frozen=True)
class AsItWas:
    """Every commit with its own Dockerfile and its own ignore file."""

    arguments: Arguments
    path: str

    def builds(self, history: History) -> Iterator[Build]:
        paths = dockerfile_paths(history.commits, self.path)
        tree: dict[str, Node] = {}
        plans: dict[tuple[str, str], Plan | str] = {}
        ignores: dict[tuple[str, str], IgnoreFile | str] = {}
        context = Context(self.arguments.context, None, history.blob)
        in_force: tuple[str, str] | None = None
        for commit, path in zip(history.commits, paths, strict=True):
            _bring_forward(tree, commit)
            if path is None:
                context.update(commit.changes)
                yield Build(commit, None, context, (), "it has no such Dockerfile")
                continue
            node, at = _file(tree, path, history)
            wanted = self._ignore(tree, path)
            if wanted != in_force:
                in_force = wanted
                ignore: IgnoreFile | str | None = None
                if wanted is not None:
                    if wanted not in ignores:
                        ignores[wanted] = _ignore_file(history, wanted)
                    ignore = ignores[wanted]
                if isinstance(ignore, str):
                    in_force = None
                    yield Build(commit, None, context, (), ignore)
                    continue
                context = Context(self.arguments.context, ignore, history.blob)
                context.update(tree)
            else:
                context.update(commit.changes)
            if node is None:
                yield Build(commit, None, context, (), "its Dockerfile is a link that leads nowhere")
                continue
            key = (at, node.id)
            if key not in plans:
                plans[key] = self._plan(history, at, node)
            made = plans[key]
            if isinstance(made, str):
                yield Build(commit, None, context, (), made)
            else:
                yield Build(commit, made, context, tuple(commit.changes))

    def _plan(self, history: History, path: str, node: Node) -> Plan | str:
        try:
            return self.arguments.plan(history.blob(node.id), path)
        except InputError as error:
            return f"its Dockerfile cannot be built: {error.says}"
        except MissingError:
            return "the clone does not hold its Dockerfile"

    def _ignore(self, tree: Mapping[str, Node], dockerfile: str) -> tuple[str, str] | None:
        for path in ignore_paths(dockerfile, self.arguments.context):
            node = tree.get(path)
            if node is not None and node.mode != SYMLINK:
                return path, node.id
        return None


def ignore_paths(dockerfile: str, context: str) -> tuple[str, str]:
    """Where an ignore file may stand, the one that wins first."""
    return f"{dockerfile}.dockerignore", posixpath.join(context, ".dockerignore")


def _ignore_file(history: History, which: tuple[str, str]) -> IgnoreFile | str:
    try:
        return dockerignore.parse(history.blob(which[1]), which[0])
    except InputError as error:
        return f"its ignore file cannot be read: {error.says}"
    except MissingError:
        return "the clone does not hold its ignore file"


def _file(tree: Mapping[str, Node], path: str, history: History) -> tuple[Node | None, str]:
    """The file at ``path``, through symlinks, and where it really stands."""
    for _ in range(10):
        node = tree.get(path)
        if node is None or node.mode != SYMLINK:
            return node, path
        try:
            target = history.blob(node.id).decode("utf-8", "surrogateescape")
        except MissingError:
            return None, path
        path = clean(posixpath.join(posixpath.dirname(path), target))
    return None, path


def _bring_forward(tree: dict[str, Node], commit: Commit) -> None:
    for path, node in commit.changes.items():
        if node is None:
            tree.pop(path, None)
        else:
            tree[path] = node


def dockerfile_paths(commits: Sequence[Commit], path: str) -> list[str | None]:
    """Where the Dockerfile that is now at ``path`` stood at each commit; ``None`` before it existed."""
    found: list[str | None] = [None] * len(commits)
    here: str | None = path
    for number in range(len(commits) - 1, -1, -1):
        found[number] = here
        node = commits[number].changes.get(here) if here is not None else None
        if node is None or number == 0 or not _is_new(commits, number, here or ""):
            continue
        here = _renamed_from(commits, number, node, here or "")
    if here is not None and commits and here not in commits[0].changes:
        # never added within what is seen: it was not there at the beginning
        first = next((n for n, commit in enumerate(commits) if commit.changes.get(here) is not None), len(commits))
        found[:first] = [None] * first
    return found


def _is_new(commits: Sequence[Commit], number: int, path: str) -> bool:
    for earlier in range(number - 1, -1, -1):
        if path in commits[earlier].changes:
            return commits[earlier].changes[path] is None
    return True


def _renamed_from(commits: Sequence[Commit], number: int, node: Node, path: str) -> str | None:
    """The path that a commit renamed to ``path``: same content, else a deleted file with the same kind of name."""
    gone = [old for old, left in commits[number].changes.items() if left is None]
    before: dict[str, Node | None] = {}
    for earlier in range(number):
        before.update((old, commits[earlier].changes[old]) for old in gone if old in commits[earlier].changes)
    same = [old for old in gone if (was := before.get(old)) is not None and was.id == node.id]
    alike = [old for old in gone if _looks_like_one(old) and _looks_like_one(path)]
    return min(same or alike, key=lambda old: (posixpath.basename(old) != posixpath.basename(path), old), default=None)


def _looks_like_one(path: str) -> bool:
    name = posixpath.basename(path).lower()
    return "dockerfile" in name or "containerfile" in name


@dataclass(frozen=True)
class Run:
    """One scenario simulated: for every commit the plan (``None``: nothing built), the outcomes by vertex, why not."""

    plans: tuple[Plan | None, ...]
    outcomes: tuple[tuple[Outcome, ...], ...]
    why: tuple[str, ...]
    missing: tuple[tuple[str, ...], ...]
    causes: tuple[Mapping[int, Collection[str]], ...]


def simulate(
    history: History, scenario: Scenario, policies: Sequence[Policy], progress: Callable[[int], None] = lambda _: None
) -> dict[Policy, Run]:
    """Build every commit in order under each policy. The first commit finds an empty cache."""
    caches = {policy: Cache(policy) for policy in policies}
    plans: list[Plan | None] = []
    why: list[str] = []
    missing: list[tuple[str, ...]] = []
    causes: list[Mapping[int, Collection[str]]] = []
    outcomes: dict[Policy, list[tuple[Outcome, ...]]] = {policy: [] for policy in policies}
    for number, build in enumerate(scenario.builds(history)):
        progress(number)
        plans.append(build.plan)
        why.append(build.why)
        if build.plan is None:
            missing.append(())
            causes.append({})
            for policy in policies:
                outcomes[policy].append(())
            continue
        now = keys(build.plan, build.context, build.commit.id)
        missing.append(now.missing)
        causes.append(_causes(build) if number else {})
        for policy, cache in caches.items():
            outcomes[policy].append(tuple(cache.build(build.plan, now)))
    return {
        policy: Run(tuple(plans), tuple(outcomes[policy]), tuple(why), tuple(missing), tuple(causes))
        for policy in policies
    }


def _causes(build: Build) -> dict[int, frozenset[str]]:
    """For every vertex, the changed files that it or something below it reads."""
    assert build.plan is not None
    changed = [(path, inner) for path in build.changed if (inner := build.context.inside(path)) is not None]
    found: dict[int, frozenset[str]] = {}
    for index, vertex in enumerate(build.plan.vertices):
        mine = {path for selection in vertex.reads for path, inner in changed if selection.touches(inner)} | {
            f"--build-arg {name}" for name in vertex.per_commit
        }
        below = [one for one in (vertex.parent, *(input_.vertex for input_ in vertex.inputs)) if one is not None]
        parts = [found[one] for one in below if found[one]]
        if not mine and len(parts) == 1:
            found[index] = parts[0]  # shared, not copied: most steps only pass on what is below them
        else:
            found[index] = frozenset(mine).union(*parts)
    return found


__all__ = ["Arguments", "AsItWas", "Build", "Fixed", "Keys", "Run", "Scenario", "dockerfile_paths", "own", "simulate"]
