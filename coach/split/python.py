"""Python: an environment that the build fills and the runtime stage gets whole, at the same path."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from coach.dockerfile import Instruction
from coach.errors import InputError
from coach.knowledge import native
from coach.linkage import locked
from coach.model import Edit, Span
from coach.shipped import Shipped, dev_installs
from coach.site import Run
from coach.split.draft import (
    WORK,
    CannotSplitError,
    Draft,
    build_name,
    inserted,
    insertion,
    last_work,
    owner_of,
    refuse_downloads,
    smaller_base,
)
from coach.split.runtime import runtime_packages
from coach.steps import PackageStep

VENV = "/opt/venv"
_PLACED = frozenset({"--user", "--target", "-t", "--prefix", "--root"})
_WITHOUT_DEV = {"uv": ("sync", " --no-dev"), "poetry": ("install", " --only main"), "pdm": ("install", " --prod")}
_MOST_LOCK = 4 * 1024 * 1024
_LOCKS = ("requirements.txt", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock")


def python(shipped: Shipped, workdir: str) -> Draft:
    """An environment from pip, uv or poetry, on an image with the same interpreter and no compiler."""
    base = shipped.base
    assert base is not None
    if base.family != "python" or workdir == "/":
        raise CannotSplitError(f"{shipped.base_named} is not an image of Python with a working directory of its own")
    refuse_downloads(shipped)
    installs = [(run, step) for run, step in shipped.installs if step.ecosystem == "python"]
    if not installs:
        raise CannotSplitError("nothing is installed that a runtime stage could take over")
    if any(run.state.user not in ("root", "0") for run, _ in installs):
        raise CannotSplitError("the packages are installed by a user who may not write outside of a home directory")
    _same_interpreter(shipped, workdir)
    build = build_name(shipped)
    draft = Draft(smaller_base(shipped), last_work(shipped.stage), build, build)
    venv = _environment(shipped, installs) or _own_environment(shipped, installs, draft, workdir)
    _without_dev(shipped, draft)
    _from(shipped, draft, installs, venv, workdir)
    compiled = _compiled(shipped)
    libraries = list(dict.fromkeys(library for package in compiled for library in package.run))
    if base.packages == "apt":
        draft.packages += [name for name in libraries if name not in runtime_packages(shipped)[0]]
    unsure = [package.name for package in compiled if not package.run or base.packages != "apt"]
    if unsure:
        named = ", ".join(unsure[:3])
        draft.reasons.append(f"{named}: compiled here, so {draft.base} must hold the libraries that it links against")
    draft.reasons.append(f"the runtime stage has {venv} and no compiler: nothing can be built when the program runs")
    draft.says = f"{draft.base} gets the environment that was built, and the sources; the compiler stays behind."
    return draft


def _own_environment(shipped: Shipped, installs: Sequence[tuple[Run, PackageStep]], draft: Draft, workdir: str) -> str:
    """The environment of the package manager's own choice, or one that is made for it."""
    managers = {step.manager for _, step in installs} - {"pip"}
    if not managers:
        _made_for_pip(shipped, installs, draft)
        return VENV
    if managers == {"poetry"} and _into_the_system(shipped):
        _made_for_poetry(shipped, installs, draft)
        return VENV
    return _project_environment(shipped, managers, workdir)


def _from(shipped: Shipped, draft: Draft, installs: Sequence[tuple[Run, PackageStep]], venv: str, workdir: str) -> None:
    """What is copied: the environment alone where the source can be copied to the runtime stage itself."""
    final = max((run.instruction for run, _ in installs), key=lambda found: found.span.start)
    after = [found for found in shipped.stage.body if found.name in WORK and found.span.start > final.span.start]
    plain = all(found.name in ("COPY", "ADD") and found.flag("from") is None for found in after)
    if plain and not any(_reads_source(step) for _, step in installs):
        draft.last = final
        draft.all_files = True
        draft.take(venv)
        return
    if not (venv + "/").startswith(workdir.rstrip("/") + "/"):
        draft.take(venv)
    draft.take(workdir, owner=owner_of(shipped, workdir, shipped.runs[-1], copied=True))
    draft.reasons.append(f"all of {workdir} is copied, since it runs from its sources")


def _reads_source(step: PackageStep) -> bool:
    """Whether the install takes in the project itself, beside what it depends on."""
    words = [word or "" for word in step.command.words]
    if step.manager == "pip":
        return any(word in ("-e", "--editable", ".") or word.startswith((".[", "./", "../", "-e")) for word in words)
    return not {"--no-root", "--no-install-project", "--no-directory"} & set(words)


def _same_interpreter(shipped: Shipped, workdir: str) -> None:
    """uv fetches another Python when ``.python-version`` asks for one; that would stay behind."""
    view = shipped.site.layers.view(shipped.stage)
    path = view.get(posixpath.join(workdir, ".python-version"))
    assert shipped.base is not None
    has = re.match(r"(\d+\.\d+)", shipped.base.reference.tag)
    if path is None or not any(step.manager == "uv" for _, step in shipped.installs):
        return
    try:
        wanted = re.match(rb"\s*(\d+\.\d+)", shipped.site.read(path))
    except InputError:
        return
    if wanted is not None and (has is None or wanted[1].decode() != has[1]):
        raise CannotSplitError(f".python-version asks for Python {wanted[1].decode()}, which is not that of the image")


def _environment(shipped: Shipped, installs: Sequence[tuple[Run, PackageStep]]) -> str | None:
    """The virtual environment that the user's own lines make and enter, if they do."""
    found = {
        run.state.names().get("VIRTUAL_ENV") or run.state.names().get("UV_PROJECT_ENVIRONMENT") for run, _ in installs
    }
    made = {
        posixpath.normpath(posixpath.join(command.cwd or "/", word))
        for run in shipped.runs
        for command in run.script.commands
        for word in [next((word for word in reversed(command.words) if word and not word.startswith("-")), "")]
        if (command.words[1:3] == ("-m", "venv") or command.name == "virtualenv" or command.words[:2] == ("uv", "venv"))
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


def _enters(shipped: Shipped, run: Run, environment: str) -> bool:
    """Whether an ENV above ``run`` puts the environment's commands first."""
    return any(
        key == "PATH" and (value or "").strip("\"'").startswith(f"{environment}/bin:")
        for found in shipped.stage.body
        if found.name == "ENV" and found.span.start < run.instruction.span.start
        for key, value in found.pairs
    )


def _made_for_pip(shipped: Shipped, installs: Sequence[tuple[Run, PackageStep]], draft: Draft) -> None:
    """A virtual environment above the first use of pip."""
    for run, step in installs:
        words = {word or "" for word in step.command.words}
        absolute = any(word.startswith("/") for word in step.command.words[:1] if word)
        if absolute or _PLACED & words:
            raise CannotSplitError(f"line {run.line} installs to a place of its own")
    used = [run.instruction for run in shipped.runs if any(step.manager == "pip" for step in run.steps)]
    _insert_environment(shipped, min(used, key=lambda found: found.span.start), draft, ())


def _made_for_poetry(shipped: Shipped, installs: Sequence[tuple[Run, PackageStep]], draft: Draft) -> None:
    """A virtual environment above poetry's install, but below the install of poetry itself, which is not shipped."""
    first = min((run.instruction for run, step in installs if step.manager == "poetry"), key=lambda f: f.span.start)
    if any(step.manager == "pip" and run.instruction.span.start >= first.span.start for run, step in installs):
        raise CannotSplitError("pip and poetry fill one environment together")
    _insert_environment(shipped, first, draft, (f"ENV VIRTUAL_ENV={VENV}",))


def _insert_environment(shipped: Shipped, first: Instruction, draft: Draft, more: Sequence[str]) -> None:
    lines = [f"RUN python -m venv {VENV}", *more, f'ENV PATH="{VENV}/bin:$PATH"']
    draft.edits.append(inserted(shipped, insertion(shipped, first), lines))
    draft.env.append(f'ENV PATH="{VENV}/bin:$PATH"')


def _into_the_system(shipped: Shipped) -> bool:
    """Whether poetry was told to make no virtual environment."""
    for run in shipped.runs:
        if run.state.names().get("POETRY_VIRTUALENVS_CREATE") in ("false", "0"):
            return True
        for command in run.script.commands:
            if command.name == "poetry" and command.words[1:4] == ("config", "virtualenvs.create", "false"):
                return True
    return False


def _project_environment(shipped: Shipped, managers: set[str], workdir: str) -> str:
    """``.venv`` in the working directory, where uv always and poetry when told puts it."""
    here = posixpath.join(workdir, ".venv")
    if len(managers) != 1 or any(step.directory != workdir for _, step in shipped.installs if step.manager in managers):
        raise CannotSplitError("where the packages are installed cannot be told")
    if managers == {"uv"}:
        if any("--system" in command.words for run in shipped.runs for command in run.script.commands):
            raise CannotSplitError("uv installs into the system's own Python: let it fill a virtual environment")
        return here
    if managers == {"poetry"}:
        told = any(
            run.state.names().get("POETRY_VIRTUALENVS_IN_PROJECT") in ("true", "1")
            or any(
                command.name == "poetry" and command.words[1:4] == ("config", "virtualenvs.in-project", "true")
                for command in run.script.commands
            )
            for run in shipped.runs
        )
        if told:
            return here
    raise CannotSplitError(
        f"where {' and '.join(sorted(managers))} installs is named after a hash of the project's path"
        if managers == {"poetry"}
        else f"environments of {' and '.join(sorted(managers))} are not moved by a patch"
    )


def _without_dev(shipped: Shipped, draft: Draft) -> None:
    """Leave development dependencies out of what is installed: nothing is compiled by them."""
    for dev in dev_installs(shipped):
        if dev.through is not None:
            continue
        step, run = dev.step, dev.run
        verb, flag = _WITHOUT_DEV.get(step.manager, ("", ""))
        word = next((word for word in step.command.peeled if word.text == verb), None)
        if not verb or word is None or step.via or not step.command.exact:
            raise CannotSplitError(f"line {run.line} installs development dependencies, and how to leave them out")
        at = run.offset(word.end - 1) + 1
        draft.edits.append(Edit(shipped.site.path, Span(at, at), flag.encode()))
        draft.reasons.append(
            f"`{flag.strip()}`: the program, and tests that run in this image, lose what it leaves out"
        )


def _compiled(shipped: Shipped) -> list[native.Compiled]:
    """Dependencies that are compiled when they are installed."""
    known = native.compiled("python")
    found: set[str] = set()
    for path in shipped.site.context_files():
        name = posixpath.basename(path)
        if name not in _LOCKS:
            beside = posixpath.basename(posixpath.dirname(path)) == "requirements" and name.endswith(".txt")
            if not beside and not re.fullmatch(r"[\w.-]*requirements[\w.-]*\.txt", name):
                continue
            name = "requirements.txt"
        try:
            content = shipped.site.read(path)
        except InputError:
            continue
        if len(content) <= _MOST_LOCK:
            found |= locked(name, content.decode("utf-8", "replace")) & set(known)
    return [known[name] for name in sorted(found)]
