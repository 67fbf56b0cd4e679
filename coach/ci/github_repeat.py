"""Which steps of a GitHub job can run a second time, on another machine, and which of them another job needs again."""

from __future__ import annotations

import re
from dataclasses import dataclass

from coach.ci import commands, yamledit
from coach.ci.commands import Text
from coach.ci.github_scope import Scope
from coach.ci.github_spot import Spot, text_of, uses
from coach.ci.yamldoc import Node
from coach.ci.yamledit import CannotEditError
from coach.shell import Command

# Actions that set up a machine, log in or work out a value, and leave nothing behind outside of it.
_SET_UP = re.compile(
    r"actions/(?:checkout|cache(?:/restore)?|setup-[\w-]+|download-artifact)"
    r"|docker/(?:setup-[\w-]+|login|metadata)-action|[\w-]+/(?:docker-)?(?:login|metadata)-action"
    r"|crazy-max/ghaction-(?:docker-meta|docker-status|github-runtime)|step-security/harden-runner"
    r"|sigstore/cosign-installer|aws-actions/(?:configure-aws-credentials|amazon-ecr-login)"
    r"|google-github-actions/(?:auth|setup-gcloud)|azure/(?:login|docker-login)"
    r"|rlespinasse/github-slug-action|haya14busa/action-cond|aszc/change-string-case-action|dorny/paths-filter"
)
# Those that tell a registry something which is the same on every machine.
_TWICE = re.compile(r"peter-evans/dockerhub-description|christian-korneck/update-container-description-action")
_LOG_IN = re.compile(r"[\w-]+/(?:docker-)?login-action|aws-actions/.*|google-github-actions/.*|azure/(?:docker-)?login")
_TEXT_TOOLS = frozenset(
    (
        "echo printf cat cut tr sed awk grep egrep head tail sort uniq wc date jq yq test [ [[ true : false export "
        "basename dirname expr read set shopt paste pwd env printenv exit rev seq ls find unset local declare return "
        "mkdir rm cp mv touch chmod ln tee sleep sha256sum"
    ).split()
)
_GIT_READS = frozenset(
    (
        "describe rev-parse log show rev-list config fetch status diff branch symbolic-ref name-rev ls-files submodule"
    ).split()
)
_SET_VARIABLE = re.compile(r"(?<![\w$])([A-Za-z_]\w*)=")


def repeats(step: Node) -> str:
    """What a step does that must not happen once more; "" for one that only sets up its machine or reads."""
    action = uses(step)
    if action:
        if _SET_UP.fullmatch(action) or _TWICE.fullmatch(action):
            return ""
        return f"uses {action}"
    for command in _commands(step):
        name = command.name if command is not None else None
        if command is None or name is None:
            return "runs a script that cannot be read"
        words = [word or "" for word in command.words]
        if name in _TEXT_TOOLS or (name == "git" and _reads(words)):
            continue
        if name == "docker" and words[1:2] in (["login"], ["logout"], ["version"], ["info"]):
            continue
        return f"runs `{' '.join(words[:2])[:40]}`"
    return ""


def signs(step: Node) -> bool:
    """Whether a step behind a push installs cosign, runs it or looks at the pushed image, and does nothing else."""
    if uses(step):
        return uses(step) == "sigstore/cosign-installer"
    found = [_program(command) if command is not None else None for command in _commands(step)]
    return "" in found and all(name == "" or name in _TEXT_TOOLS for name in found)


def _program(command: Command) -> str | None:
    """What a command runs; "" for cosign, behind ``xargs`` too, and for looking at what a registry holds."""
    words = command.words
    if "cosign" in (command.name, *(words if command.name == "xargs" else ())):
        return ""
    return "" if words[:4] == ("docker", "buildx", "imagetools", "inspect") else command.name


def _reads(words: list[str]) -> bool:
    verb = next((word for word in words[1:] if not word.startswith("-")), "")
    return verb in _GIT_READS or (verb == "tag" and any(re.match(r"-l|--list|--sort|--points-at", w) for w in words))


def _commands(step: Node) -> list[Command | None]:
    run = step.get("run")
    if run is None or run.text is None:
        return []
    script = commands.script_of(Text(Scope().shell(run.text), {}, ""))
    shell = text_of(step, "shell")
    return [None] if script.broken or shell not in ("", "bash", "sh") else list(script.commands)


@dataclass(frozen=True, slots=True)
class Origins:
    """Steps that make what a text refers to, in file order; ``environment``: the job's own variables are read too."""

    steps: tuple[Node, ...]
    environment: bool


def origins(spot: Spot, text: str, signing: bool = False) -> Origins:
    """Steps in front of the build that another job needs to know ``text``, to reach the registry and to sign.

    Raises ``CannotEditError`` where something it refers to is not found in the job.
    """
    before = [step for step in spot.steps[: spot.index] if step.is_map]
    own = spot.job.get("env") if spot.job is not None else None
    above = spot.doc.root.get("env")
    taken = {index for index, step in enumerate(before) if _serves(step) or (signing and signs(step))}
    known = {text_of(step, "id"): index for index, step in enumerate(before) if text_of(step, "id")}
    writers = {
        index: set(_SET_VARIABLE.findall(text_of(step, "run")))
        for index, step in enumerate(before)
        if "GITHUB_ENV" in text_of(step, "run")
    }
    environment = False
    todo = [text, *("\n".join(source_lines(before[index])) for index in sorted(taken))]
    while todo:
        part = todo.pop()
        found: set[int] = set()
        if re.search(r"\b(?:steps|env|needs)\[", part):
            raise CannotEditError("its tags are read in a way that is not followed")
        for identity in re.findall(r"\bsteps\.([\w-]+)\.", part):
            if identity not in known:
                raise CannotEditError(f"its tags come from the step `{identity}`, which was not found before the build")
            found.add(known[identity])
        for index, names in writers.items():
            if any(re.search(rf"(?<![\w-]){name}(?![\w-])", part) for name in names):
                found.add(index)
        written = set().union(*writers.values()) if writers else set()
        for name in re.findall(r"\benv\.(\w+)", part):
            homes = (own, above, *(step.get("env") for step in before))
            if name not in written and not any(home is not None and home.get(name) is not None for home in homes):
                raise CannotEditError(f"where env.{name} is set was not found")
        for name in own.entries() if own is not None else ():
            environment = environment or re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", part) is not None
        for index in sorted(found - taken):
            taken.add(index)
            todo.append("\n".join(source_lines(before[index])))
    if any(_reads_files(before[index]) for index in taken):
        taken |= {index for index, step in enumerate(before) if uses(step) == "actions/checkout"}
    return Origins(tuple(before[index] for index in sorted(taken)), environment)


def logs_in(step: Node) -> bool:
    """Whether a step opens a registry for those behind it."""
    return bool(_LOG_IN.fullmatch(uses(step))) or "docker login" in text_of(step, "run")


def _serves(step: Node) -> bool:
    """Whether a step opens a registry, or sets up the builder that talks to one."""
    return logs_in(step) or uses(step) == "docker/setup-buildx-action"


def _reads_files(step: Node) -> bool:
    """Whether a step may read files of the repository or its history."""
    inputs = step.get("with")
    return bool(text_of(step, "run")) or (inputs is not None and text_of(inputs, "context") == "git")


def source_lines(step: Node) -> list[str]:
    """The lines of a step as they are written. Raises ``CannotEditError`` where an alias stands in them."""
    lines = [step.doc.line_text(line) for line in range(yamledit.item_first_line(step), step.end_line + 1)]
    if any(re.search(r"(?::|-)\s+[&*][\w-]+\s*$|<<:", line) for line in lines):
        raise CannotEditError(f"line {step.line} shares a part with other places by an alias")
    return lines
