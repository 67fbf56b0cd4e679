"""The virtual environment that a Python build fills: the user's own, the package manager's, or one made for it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from coach.dockerfile import Instruction
from coach.model import Edit, Span
from coach.shell import Command
from coach.shipped import Shipped
from coach.site import Run
from coach.split.draft import CannotSplitError, Draft, inserted, insertion
from coach.steps import Action, PackageStep

VENV = "/opt/venv"
_PIP = frozenset({"pip", "pip-tools"})  # pip-sync fills the environment that it lives in itself
_PLACED = frozenset({"--user", "--target", "-t", "--prefix", "--root"})
_ELSEWHERE = frozenset({"VIRTUAL_ENV", "POETRY_VIRTUALENVS_PATH", "POETRY_CACHE_DIR", "WORKON_HOME", "XDG_CACHE_HOME"})
_ON = frozenset({"true", "1", "yes", "on"})
_OFF = frozenset({"false", "0", "no", "off"})

Installs = Sequence[tuple[Run, PackageStep]]


def environment(shipped: Shipped, installs: Installs, draft: Draft, workdir: str) -> str:
    """Where the packages are installed, ``draft`` having what is needed to make it so. Raises ``CannotSplitError``."""
    return _users_own(shipped, installs) or _managers_own(shipped, installs, draft, workdir)


def _managers_own(shipped: Shipped, installs: Installs, draft: Draft, workdir: str) -> str:
    managers = {step.manager for _, step in installs}
    if managers <= _PIP:
        _made_for_pip(shipped, installs, draft)
        return VENV
    if len(managers) > 1:
        raise CannotSplitError(f"{' and '.join(sorted(managers))} fill one environment together")
    (manager,) = managers
    if manager == "uv":
        return _of_uv(shipped, installs, draft, workdir)
    if manager in ("poetry", "pipenv"):
        if _in_project(shipped, manager, workdir):
            return _beside(installs, manager, workdir)
        if any(command.words[:3] == (manager, "env", "use") for command in _commands(shipped)):
            raise CannotSplitError(f"`{manager} env use` picks an environment of its own")
        _made_for(shipped, installs, draft)
        return VENV
    if manager == "pdm":
        return _of_pdm(shipped, installs, workdir)
    raise CannotSplitError(f"environments of {manager} are not moved by a patch")


def _commands(shipped: Shipped) -> list[Command]:
    return [command for run in shipped.runs for command in run.script.commands]


def by_hash(shipped: Shipped, manager: str, workdir: str) -> Instruction | None:
    """The RUN in which root lets poetry or pipenv make an environment below its home, under a name with a hash."""
    for run, step in shipped.installs:
        names = run.state.names()
        told = {"VIRTUAL_ENV", "POETRY_VIRTUALENVS_PATH", "POETRY_CACHE_DIR", "WORKON_HOME", "XDG_CACHE_HOME"} & {
            *names
        }
        system = "--system" in step.command.words or _into_the_system(shipped, manager)
        if step.manager == manager and run.home == "/root" and not told and not system:
            return None if _in_project(shipped, manager, workdir) else run.instruction
    return None


# ---- the user's own


def _users_own(shipped: Shipped, installs: Installs) -> str | None:
    """The virtual environment that the user's own lines make and enter, if they do."""
    found = {
        run.state.names().get("VIRTUAL_ENV") or run.state.names().get("UV_PROJECT_ENVIRONMENT") for run, _ in installs
    }
    made = {
        posixpath.normpath(posixpath.join(command.cwd or "/", place))
        for command in _commands(shipped)
        for place in [_makes(command)]
        if place
    }
    if found == {None} and not made:
        return None
    if found == {None} and len(made) == 1:
        (own,) = made
        for run, _ in installs:
            if not _enters(shipped, run, own):
                raise CannotSplitError(f"whether line {run.line} installs into {own} cannot be told")
        return own
    if len(found) == 1 and (venv := next(iter(found))) and venv.startswith("/"):
        return posixpath.normpath(venv)
    raise CannotSplitError("which virtual environment is filled cannot be told")


def _makes(command: Command) -> str:
    """Where a command makes a virtual environment, "" when it does not."""
    plain = [word for word in command.words if word and not word.startswith("-")]
    if command.words[1:3] == ("-m", "venv") or command.name == "virtualenv":
        return plain[-1]
    if command.words[:2] == ("uv", "venv"):
        return plain[2] if len(plain) > 2 else ".venv"
    return ""


def _enters(shipped: Shipped, run: Run, environment: str) -> bool:
    """Whether an ENV above ``run`` puts the environment's commands first."""
    return any(
        key == "PATH" and (value or "").strip("\"'").startswith(f"{environment}/bin:")
        for found in shipped.stage.body
        if found.name == "ENV" and found.span.start < run.instruction.span.start
        for key, value in found.pairs
    )


# ---- one that is made


def _made_for_pip(shipped: Shipped, installs: Installs, draft: Draft) -> None:
    """A virtual environment above the first use of pip."""
    for run, step in installs:
        words = {word or "" for word in step.command.words}
        absolute = any(word.startswith("/") for word in step.command.words[:1] if word)
        if absolute or _PLACED & words:
            raise CannotSplitError(f"line {run.line} installs to a place of its own")
    used = [run.instruction for run in shipped.runs if any(step.manager in _PIP for step in run.steps)]
    first = min(used, key=lambda found: found.span.start)
    _insert(shipped, draft, [f"RUN python -m venv {VENV}", f'ENV PATH="{VENV}/bin:$PATH"'], first)


def _made_for(shipped: Shipped, installs: Installs, draft: Draft) -> None:
    """A virtual environment above the first install, but below the package manager's own, which is not shipped."""
    run, step = min(installs, key=lambda found: (found[0].instruction.span.start, found[1].command.start))
    lines = [f"RUN python -m venv {VENV}", f"ENV VIRTUAL_ENV={VENV}", f'ENV PATH="{VENV}/bin:$PATH"']
    tools = [found for found in run.steps if found.action is Action.TOOL and found.command.item < step.command.item]
    if not tools or step.via:
        _insert(shipped, draft, lines, run.instruction)
        return
    pieces, item = run.script.items, step.command.item
    between = [command for command in run.script.commands if command.item < item]
    awkward = run.instruction.heredocs or run.instruction.json or run.script.broken or pieces[item].joiner != "&&"
    if awkward or any(command.name in ("cd", "export", "set", None) for command in between):
        raise CannotSplitError(f"line {run.line} installs the package manager and uses it, and cannot be cut in two")
    doc = shipped.site.dockerfile
    head = doc.content[run.instruction.span.start : run.instruction.offset(0)].decode("utf-8", "surrogateescape")
    start, end = run.offset(pieces[item - 1].end - 1) + 1, run.offset(pieces[item].start)
    eol = doc.eol.decode("ascii")
    text = eol + "".join(f"{line}{eol}" for line in lines) + head
    draft.edits.append(Edit(shipped.site.path, Span(start, end), text.encode("utf-8", "surrogateescape")))
    draft.env.append(lines[-1])


def _insert(shipped: Shipped, draft: Draft, lines: Sequence[str], first: Instruction) -> None:
    draft.edits.append(inserted(shipped, insertion(shipped, first), lines))
    draft.env.append(lines[-1])


# ---- the package manager's own


def _of_uv(shipped: Shipped, installs: Installs, draft: Draft, workdir: str) -> str:
    system = [(run, step) for run, step in installs if _system(run, step)]
    if not system:
        return _beside(installs, "uv", workdir)
    if len(system) != len(installs):
        raise CannotSplitError("uv fills the system's own Python and an environment besides")
    for run, step in system:
        words = step.command.peeled
        taken = {"--python", "-p", "--target", "--prefix"} & {word.text for word in words}
        if step.via or not step.command.exact or taken or words[1].text != "pip":
            raise CannotSplitError(f"line {run.line} installs into the system's own Python, and cannot be rewritten")
        flag = next((word for word in words if word.text == "--system"), None)
        where = f"--python {VENV}"
        # --python outdoes both --system and UV_SYSTEM_PYTHON; neither would look at a virtual environment
        if flag is not None:
            span = Span(run.offset(flag.start), run.offset(flag.end - 1) + 1)
            draft.edits.append(Edit(shipped.site.path, span, where.encode()))
        else:
            at = run.offset(words[2].end - 1) + 1
            draft.edits.append(Edit(shipped.site.path, Span(at, at), f" {where}".encode()))
    _made_for(shipped, installs, draft)
    return VENV


def _system(run: Run, step: PackageStep) -> bool:
    asked = (run.state.names().get("UV_SYSTEM_PYTHON") or "").lower() in _ON
    return "--system" in step.command.words or (asked and step.command.words[1:2] == ("pip",))


def _of_pdm(shipped: Shipped, installs: Installs, workdir: str) -> str:
    told = {
        "use_venv": _told(shipped, "PDM_USE_VENV", ("pdm", "config", "python.use_venv")),
        "in_project": _told(shipped, "PDM_VENV_IN_PROJECT", ("pdm", "config", "venv.in_project")),
    }
    if any(value in _OFF for value in told.values()) or any(
        {"-g", "--global"} & set(step.command.words) for _, step in installs
    ):
        raise CannotSplitError("pdm is told to install elsewhere than in .venv of the project")
    return _beside(installs, "pdm", workdir)


def _told(shipped: Shipped, variable: str, command: tuple[str, ...]) -> str:
    """What a variable or a `config` command sets, in lower case; "" when neither does."""
    for run in shipped.runs:
        value = run.state.names().get(variable)
        if value:
            return value.lower()
    for found in _commands(shipped):
        words = tuple(word for word in found.words if word not in ("--local", "-l"))
        if words[: len(command)] == command and len(words) > len(command):
            return (words[len(command)] or "").lower()
    return ""


def _into_the_system(shipped: Shipped, manager: str) -> bool:
    """Whether poetry is told to make no environment."""
    told = ("poetry", "config", "virtualenvs.create")
    return manager == "poetry" and _told(shipped, "POETRY_VIRTUALENVS_CREATE", told) in _OFF


def _in_project(shipped: Shipped, manager: str, workdir: str) -> bool:
    """Whether poetry or pipenv is told to put the environment beside the project."""
    if manager == "pipenv":
        return _told(shipped, "PIPENV_VENV_IN_PROJECT", ("pipenv", "config")) in _ON
    if _into_the_system(shipped, manager):
        return False
    if _told(shipped, "POETRY_VIRTUALENVS_IN_PROJECT", ("poetry", "config", "virtualenvs.in-project")) in _ON:
        return True
    path = shipped.site.layers.view(shipped.stage).get(posixpath.join(workdir, "poetry.toml"))
    return path is not None and re.search(rb"\bin-project\s*=\s*true", shipped.site.read(path)) is not None


def _beside(installs: Installs, manager: str, workdir: str) -> str:
    """``.venv`` in the working directory, where uv and pdm always and the others when told put it."""
    if any(step.directory != workdir for _, step in installs if step.manager == manager):
        raise CannotSplitError("where the packages are installed cannot be told")
    return posixpath.join(workdir, ".venv")
