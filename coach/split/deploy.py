"""``pnpm deploy``: one package of a workspace with all that it runs with, in a folder of its own."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from coach import order
from coach.model import Edit, Span
from coach.shipped import Shipped
from coach.site import Run
from coach.split import production
from coach.split.bare import settle
from coach.split.direct import direct
from coach.split.draft import (
    CannotSplitError,
    Draft,
    build_name,
    last_work,
    owner_of,
    smaller_base,
)
from coach.split.entry import entry
from coach.split.production import LifecycleError
from coach.split.workspace import UntoldError, Workspace
from coach.steps import PackageStep

_VALUED = frozenset({"--filter", "-F", "--filter-prod", "-C", "--dir", "--reporter", "--loglevel"})


def deployment(shipped: Shipped, workdir: str) -> tuple[Run, PackageStep, str] | None:
    """The last ``pnpm deploy`` whose folder is, or lies around, ``workdir``, and that folder."""
    for run, step in reversed(shipped.installs):
        words = [word or "" for word in step.command.words]
        if step.manager != "pnpm" or "deploy" not in words or step.directory is None or step.command.guarded:
            continue
        plain = [
            word for at, word in enumerate(words) if at and not word.startswith("-") and words[at - 1] not in _VALUED
        ]
        if len(plain) != 2 or plain[0] != "deploy":
            continue
        folder = posixpath.normpath(posixpath.join(step.directory, plain[1]))
        if (workdir + "/").startswith(folder + "/") and folder != "/":
            return run, step, folder
    return None


def deployed(shipped: Shipped, made: tuple[Run, PackageStep, str], words: Sequence[str], workdir: str) -> Draft:
    """A runtime stage with the folder that ``made`` fills. Raises ``CannotSplitError``."""
    run, step, folder = made
    verdict = next(
        (one for one in order.verdicts(shipped.site) if one.step.manager == "pnpm" and one.closure is not None), None
    )
    if verdict is None:
        raise CannotSplitError("the manifests of the workspace were not found in the repository")
    packages = production.packages_of(shipped.site.tree, verdict)
    package = _package(Workspace(shipped.site, packages), step)
    here = posixpath.normpath(posixpath.join(package or ".", posixpath.relpath(workdir, folder)))
    own = {package: packages[package]}
    start = entry(words, shipped.site, packages, "" if here == "." else here)
    start.check(own)
    if start.file.startswith("/") and not start.file.startswith(folder + "/"):
        raise CannotSplitError(f"the program lies outside of {folder}")
    name = build_name(shipped)
    draft = Draft(smaller_base(shipped), last_work(shipped.stage), name, name)
    if step.dev:
        draft.edits.append(_without_dev(shipped, run, step))
        try:
            production.check_scripts(shipped, step, own)
        except LifecycleError as error:
            raise CannotSplitError(str(error)) from None
        draft.reasons.append("every devDependency is left out: the program must not need one to run")
    draft.take(folder, owner=owner_of(shipped, folder, shipped.runs[-1]))
    draft.says = f"`pnpm deploy` fills {folder} as before; that folder alone is copied into {draft.base}."
    draft.reasons.append(f"only {folder} is copied: what the program reads from elsewhere must be copied too")
    inside = posixpath.relpath(start.directory or ".", package or ".")
    direct(shipped, draft, start, posixpath.normpath(posixpath.join(folder, inside)), step.manager)
    settle(shipped, draft, workdir, packages, package)
    return draft


def _package(space: Workspace, step: PackageStep) -> str:
    """The directory of the one package that is deployed."""
    words = [word or "\0" for word in step.command.words]
    filters = [word.partition("=")[2] for word in words if word.startswith(("--filter=", "--filter-prod=", "-F="))]
    filters += [words[at + 1] for at, word in enumerate(words[:-1]) if word in ("--filter", "-F", "--filter-prod")]
    try:
        picked = space.picked(filters)
    except UntoldError as error:
        raise CannotSplitError(str(error)) from None
    if len(picked) != 1:
        raise CannotSplitError("which package `pnpm deploy` takes cannot be told")
    return picked[0]


def _without_dev(shipped: Shipped, run: Run, step: PackageStep) -> Edit:
    verb = next((word for word in step.command.peeled if word.text == "deploy"), None)
    if verb is None or step.via or not step.command.exact:
        raise CannotSplitError(f"`pnpm deploy` on line {run.line} takes development dependencies along")
    at = run.offset(verb.end - 1) + 1
    return Edit(shipped.site.path, Span(at, at), b" --prod")
