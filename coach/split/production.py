"""The production install of a Node project: the user's own command once more, without development dependencies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from coach.errors import InputError
from coach.manifests import Closure
from coach.manifests.node import MEMBER_STAGES, ROOT_STAGES
from coach.manifests.node_facts import NodeFacts, node_facts
from coach.model import Tree
from coach.order import Verdict
from coach.shell import parse
from coach.shipped import Shipped, builds_of
from coach.site import Run
from coach.split.draft import CannotSplitError
from coach.steps import Action, PackageStep

_VERBS = {
    "npm": ("ci", "clean-install", "install", "i"),
    "pnpm": ("install", "i"),
    "yarn": ("install",),
    "bun": ("install", "i", "ci"),
}
_FLAG = {"npm": "--omit=dev", "pnpm": "--prod", "yarn": "--production", "bun": "--production"}
_FOCUS = "yarn workspaces focus --production --all"
_AGAINST = re.compile(r"--include=dev|--production=false|--prod=false|--no-production|--dev|-D|--only=.*|--also=.*")
_HARMLESS = frozenset(": [ true echo exit test mkdir rm touch chmod cd export set only-allow".split())
_PLAIN = frozenset("npm npx pnpm yarn corepack bun rm mkdir echo set cd export true : node".split())
_MANAGERS = frozenset({"npm", "pnpm", "yarn", "bun"})
_SCRIPTS = {"yarn-berry": "berry"}
_DEEPEST = 6
# Scripts for a working copy or for publishing; what an install script does belongs to what is installed.
_FOR_PEOPLE = frozenset({"prepare", "preprepare", "postprepare", "prepublish", "preinstall", "pnpm:devPreinstall"})


class LifecycleError(Exception):
    """A script that the production install would run needs what that install leaves out.

    ``made`` says that the script's work is needed, so that switching scripts off is no way around.
    """

    def __init__(self, says: str, *, made: bool = False) -> None:
        super().__init__(says)
        self.made = made


@dataclass(frozen=True)
class Edited:
    """Characters ``start`` to ``end`` of the RUN's shell text become ``text``."""

    start: int
    end: int
    text: str


def edited(shipped: Shipped, run: Run, step: PackageStep, facts: NodeFacts) -> Edited:
    """What to change in the install command so that it leaves development dependencies out."""
    command = step.command
    words = [word.text for word in command.peeled]
    if step.via or not command.exact or not words:
        raise CannotSplitError(f"the install hides in {step.via or 'the shell text of line ' + str(run.line)}")
    if any(word is None or _AGAINST.fullmatch(word) for word in words):
        raise CannotSplitError(f"line {run.line} says itself which dependencies it wants")
    if step.manager == "yarn-berry":
        _focusable(shipped, facts)
        return Edited(command.peeled[0].start, command.peeled[-1].end, _FOCUS)
    if step.manager == "bun" and not facts.lockfile:
        raise CannotSplitError("`bun install --production` insists on a lockfile, which the repository does not hold")
    if step.manager not in _FLAG:
        raise CannotSplitError(f"how {step.manager} leaves out development dependencies here is not certain")
    verb = next((word for word in command.peeled[1:] if word.text in _VERBS[step.manager]), None)
    if verb is None and step.manager != "yarn":
        raise CannotSplitError(f"how `{step.label}` leaves out development dependencies is not certain")
    at = (verb or command.peeled[0]).end
    return Edited(at, at, f" {_FLAG[step.manager]}")


def _yarnrc(shipped: Shipped, facts: NodeFacts) -> str:
    lead = f"{facts.directory}/" if facts.directory else ""
    try:
        return shipped.site.read(f"{lead}.yarnrc.yml").decode("utf-8", "replace")
    except InputError:
        return ""


def _focusable(shipped: Shipped, facts: NodeFacts) -> None:
    """Raise unless this release of yarn has ``workspaces focus``."""
    settings = _yarnrc(shipped, facts)
    if _release(settings, facts) < 4 and "workspace-tools" not in settings:
        raise CannotSplitError("this release of yarn has no `workspaces focus` without a plugin")


def _release(settings: str, facts: NodeFacts) -> int:
    """The major release of yarn that the project pins, 0 when it pins none."""
    pinned = re.search(r"yarn@(\d+)", facts.package_manager) or re.search(r"yarnPath:.*yarn-(\d+)", settings)
    return int(pinned[1]) if pinned is not None else 0


def plugged(shipped: Shipped, run: Run, step: PackageStep, facts: NodeFacts) -> bool:
    """Whether yarn installs for Plug'n'Play, its default: ``.pnp.cjs`` and archives in place of node_modules."""
    settings = f"{_yarnrc(shipped, facts)}\nnodeLinker: {run.state.names().get('YARN_NODE_LINKER') or ''}"
    return step.manager == "yarn-berry" and not re.search(r"^nodeLinker:\s*['\"]?(?:node-modules|pnpm)", settings, re.M)


def cache_apart(shipped: Shipped, facts: NodeFacts) -> bool:
    """Whether yarn keeps archives outside of the project, as it does by default from release 4 on.

    Source: https://yarnpkg.com/configuration/yarnrc#enableGlobalCache
    """
    settings = _yarnrc(shipped, facts)
    if re.search(r"^(?:enableGlobalCache:\s*['\"]?false|cacheFolder:\s*['\"]?\.)", settings, re.M):
        return False
    return _release(settings, facts) >= 4 or "enableGlobalCache" in settings


def repeatable(run: Run, step: PackageStep) -> bool:
    """Whether the whole RUN can stand once more in another stage: nothing in it but installs."""
    if run.script.broken or run.instruction.heredocs or run.instruction.json or any(builds_of(run)):
        return False
    own = [
        one
        for one in run.steps
        if one.action in (Action.INSTALL, Action.FETCH) and one.command.start != step.command.start
    ]
    known = {id(one.command) for one in run.steps if one.action in (Action.TOOL, Action.NAMED, Action.OS)}
    return not own and all(id(command) in known or command.name in _PLAIN for command in run.script.commands)


# ---- scripts that run when a production install does


def packages_of(tree: Tree, verdict: Verdict) -> dict[str, NodeFacts]:
    """The project and the packages of its workspace, by directory, the project first."""
    closure: Closure | None = verdict.closure
    members = closure.members if closure is not None else ()
    return {directory: node_facts(tree, directory) for directory in (verdict.directory, *members)}


def check_scripts(shipped: Shipped, step: PackageStep, packages: Mapping[str, NodeFacts]) -> None:
    """Raise ``LifecycleError`` when a script of the project needs more than production dependencies to run."""
    words = {word or "" for word in step.command.words}
    if "--ignore-scripts" in words:
        return
    family = _SCRIPTS.get(step.manager, step.manager)
    production = {name for facts in packages.values() for name in facts.dependencies}
    development = {name for facts in packages.values() for name in facts.dev_dependencies} - production
    if {"prisma", "@prisma/client"} & production:
        says = "Prisma's generated client lies in node_modules, where a second install would not have it"
        raise LifecycleError(says, made=True)
    for number, facts in enumerate(packages.values()):
        stages = (MEMBER_STAGES if number else ROOT_STAGES).get(family, ())
        if family == "yarn":
            stages = tuple(stage for stage in stages if stage not in ("prepare", "prepublish"))
        for stage in stages:
            text = facts.scripts.get(stage, "")
            for program in _needed(shipped, facts, text, production, development, 0):
                says = (
                    f"the script `{stage}` of {facts.path} runs `{program}`, which production dependencies do not bring"
                )
                raise LifecycleError(says, made=stage not in _FOR_PEOPLE)


def _needed(
    shipped: Shipped, facts: NodeFacts, text: str, production: set[str], development: set[str], depth: int
) -> Iterator[str]:
    """Programs in a script that only development dependencies, or nobody, provide."""
    script = parse(text)
    if script.broken or depth > _DEEPEST:
        yield text[:40]
        return
    last = script.items[-1] if script.items else None
    if last is not None and last.joiner == "||":
        names = {command.name for command in script.commands if command.item == len(script.items) - 1}
        if names <= {"true", ":", "exit", "echo"}:
            return  # a failure is forgiven
    for command in script.commands:
        words = [word or "" for word in command.words]
        name = command.name or ""
        if name in ("npx", "cross-env") and len(words) > 1:
            words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
            name = words[0] if words else ""
        if not name or name in _HARMLESS:
            continue
        if name in _MANAGERS:
            plain = [word for word in words[1:] if not word.startswith("-")]
            script_name = plain[1] if plain[:1] in (["run"], ["run-script"]) and len(plain) > 1 else "".join(plain[:1])
            inner = facts.scripts.get(script_name)
            if inner is None:
                yield f"{name} {script_name}"
            else:
                yield from _needed(shipped, facts, inner, production, development, depth + 1)
        elif name == "node":
            if _mentions(shipped, facts, words[1:], development):
                yield " ".join(words[:2])
        elif not any(package == name or package.endswith(f"/{name}") for package in production):
            yield name


def _mentions(shipped: Shipped, facts: NodeFacts, words: Sequence[str], development: set[str]) -> bool:
    """Whether a script for node names a development dependency, or cannot be read."""
    lead = f"{facts.directory}/" if facts.directory else ""
    file = next((word for word in words if not word.startswith("-")), "")
    text = " ".join(words)
    if not {"-e", "--eval", "-p", "--print"} & set(words):
        try:
            text = shipped.site.read(lead + file.removeprefix("./")).decode("utf-8", "replace")
        except InputError:
            return True
    return bool(development.intersection(re.findall(r"['\"]((?:@[\w.-]{1,200}/)?[\w.-]{1,200})['\"/]", text)))


def scriptless(shipped: Shipped, step: PackageStep, facts: NodeFacts) -> bool:
    """Whether no production dependency needs its install script, so that all scripts can be switched off."""
    if step.manager == "npm":
        locked = _npm_scripts(shipped, facts.lockfile)
        return locked is not None and not locked
    if step.manager == "pnpm":
        # https://pnpm.io/settings#onlybuiltdependencies: from 10.0 on, no script of a dependency runs unless listed
        major = re.search(r"pnpm@(\d+)", facts.package_manager)
        lead = f"{facts.directory}/" if facts.directory else ""
        listed = ""
        for name in ("package.json", "pnpm-workspace.yaml", ".npmrc"):
            try:
                listed += shipped.site.read(lead + name).decode("utf-8", "replace")
            except InputError:
                continue
        allowed = re.search(
            r"onlyBuiltDependencies|allowBuilds|dangerouslyAllowAllBuilds|neverBuiltDependencies", listed
        )
        return major is not None and int(major[1]) >= 10 and allowed is None
    return False


def _npm_scripts(shipped: Shipped, lockfile: str) -> list[str] | None:
    """Locked production packages with an install script; ``None`` when the lockfile does not tell."""
    try:
        data = json.loads(shipped.site.read(lockfile)) if lockfile else None
    except (InputError, ValueError, RecursionError):
        return None
    packages = data.get("packages") if isinstance(data, dict) else None
    if not isinstance(packages, dict):
        return None
    return [
        path
        for path, entry in packages.items()
        if path and isinstance(entry, dict) and entry.get("hasInstallScript") is True and entry.get("dev") is not True
    ]
