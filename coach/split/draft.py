"""What a split consists of while it is being drawn up, and what every language asks of the repository."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from coach import ci
from coach.dockerfile import Instruction, Stage
from coach.errors import InputError
from coach.model import Edit, Span
from coach.shipped import Shipped
from coach.site import Run

WORK = frozenset({"RUN", "COPY", "ADD"})
_DOWNLOADERS = frozenset({"curl", "wget", "add-apt-repository", "gpg", "aria2c"})


class CannotSplitError(Exception):
    """Why the stage cannot be split by a patch; the text is for the user."""


@dataclass
class Split:
    """Edits that split the stage, what must be looked at, and what they do."""

    edits: list[Edit] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    says: str = ""


@dataclass(frozen=True)
class Take:
    """One COPY of the runtime stage: ``path`` of stage ``stage`` to ``target``, owned by ``owner`` ("" is root)."""

    stage: str
    path: str
    target: str
    owner: str = ""

    def __str__(self) -> str:
        chown = f"--chown={self.owner} " if self.owner else ""
        return f"COPY --from={self.stage} {chown}{self.path} {self.target}"


@dataclass
class Draft:
    """The runtime stage as it grows.

    ``last`` is the last instruction that stays in the build; what follows it is the runtime stage's own. ``head`` and
    ``name`` are the names of the stage that the FROM of the file begins and of the one that ends with ``last``: the
    same, unless ``edits`` put further stages between them. ``before`` are lines that end the build, ``env`` lines that
    the runtime stage needs besides the user's own, ``packages`` what it installs besides what the user installed.
    ``all_files`` says that every file of the context ships that the build had, not only what ``takes`` names.
    ``command`` are the words that take the place of the user's command, where they have to.
    """

    base: str
    last: Instruction
    head: str
    name: str
    takes: list[Take] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    says: str = ""
    all_files: bool = False
    command: list[str] | None = None

    def take(self, path: str, target: str = "", owner: str = "") -> None:
        """Copy ``path`` out of the stage that ends the build."""
        self.takes.append(Take(self.name, path, target or path, owner))


def free_name(shipped: Shipped, *wanted: str) -> str:
    """The first of ``wanted`` that no stage has."""
    taken = {stage.name for stage in shipped.site.dockerfile.stages}
    return next(name for name in (*wanted, *(f"{wanted[0]}-{n}" for n in range(2, 99))) if name not in taken)


def asked_for(shipped: Shipped) -> str:
    """The name by which builds ask for the stage ("" when none does): the stage that ships takes it over."""
    site, name = shipped.site, shipped.stage.name
    asked = {build.target for build in ci.build_sites(site.tree).builds if build.dockerfile == site.path}
    return name if name and name in {*asked, site.target} else ""


def kept_name(shipped: Shipped) -> str | None:
    """The name that the user's stage keeps, if it has one that no build asks for."""
    return None if asked_for(shipped) else shipped.stage.name


def build_name(shipped: Shipped) -> str:
    """The name that the user's stage has, or gets."""
    return kept_name(shipped) or free_name(shipped, "build", "builder", "compile", "build-stage", "coach-build")


def last_work(stage: Stage) -> Instruction:
    """The last instruction that changes files."""
    return [found for found in stage.body if found.name in WORK][-1]


def text_of(shipped: Shipped, found: Instruction) -> str:
    return shipped.site.dockerfile.text(found.line, found.end_line)


def below(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def smaller_base(shipped: Shipped) -> str:
    """A slim image of the same language, as it should be written in FROM. Raises ``CannotSplitError``."""
    base = shipped.base
    assert base is not None
    if not base.ships_build_tools:
        return shipped.lineage[0].base  # as the user wrote it, variables and digest included
    if not base.runtime:
        raise CannotSplitError(f"no smaller variant of {shipped.base_named} is known")
    return base.runtime[0]


def relative_files(shipped: Shipped) -> set[str]:
    """Files of the build context, by their path in it."""
    context = shipped.site.context
    lead = f"{context}/" if context else ""
    return {path[len(lead) :] for path in shipped.site.context_files()}


def manifest_at(shipped: Shipped, place: str) -> tuple[str, dict[str, object]]:
    """Repository path and content of the package.json that stands at ``place`` of the container."""
    path = shipped.site.layers.view(shipped.stage).get(place)
    if path is None:
        raise CannotSplitError("package.json is not among the files that are copied")
    return path, json_of(shipped, path)


def json_of(shipped: Shipped, path: str) -> dict[str, object]:
    """An object in a JSON file of the repository. Raises ``CannotSplitError``."""
    try:
        data = json.loads(shipped.site.read(path))
    except (InputError, ValueError, RecursionError):
        raise CannotSplitError(f"{posixpath.basename(path)} cannot be read") from None
    if not isinstance(data, dict):
        raise CannotSplitError(f"{posixpath.basename(path)} cannot be read")
    return data


def refuse_downloads(shipped: Shipped, tools: Sequence[str] = ()) -> None:
    """Raise where a RUN fetches something by hand: nobody knows whether it is for building or for running.

    ``tools`` are parts of addresses that only a package manager, which stays behind, is installed from.
    """
    for run in shipped.runs:
        for command in run.script.commands:
            if any(tool in (word or "") for tool in tools for word in command.words):
                continue
            if command.name in _DOWNLOADERS:
                raise CannotSplitError(f"line {run.line} downloads something that the runtime stage may need")


def plain_words(text: str) -> list[str] | None:
    """The words of a shell-form command that needs no shell, ``None`` when it does."""
    if re.search(r"[$`|&;<>()*?~#\\\n\"'{}=]|\[|\]", text):
        return None
    words = text.split()
    if words[:1] == ["exec"]:
        words = words[1:]
    return words or None


def owner_of(shipped: Shipped, workdir: str, run: Run | None, *, copied: bool = False) -> str:
    """Who owns what ``run`` made in ``workdir``, as a value for ``--chown``; "" for root.

    COPY between stages makes everything root's again. With ``copied`` the files that COPY brought count as well: the
    last one that fills ``workdir`` decides.
    """
    owner = ""
    for found in shipped.stage.body:
        if copied and found.name in ("COPY", "ADD") and found.words:
            state = shipped.site.graph.state(found)
            target = state.expand(found.words[-1]).text
            if target is not None and posixpath.normpath(posixpath.join(state.workdir or "/", target)) == workdir:
                flag = found.flag("chown")
                owner = (flag.value if flag is not None else None) or ""
    if run is not None and run.state.user not in (None, "", "root", "0"):
        owner = run.state.user or ""
    for other in shipped.runs:
        for command in other.script.commands:
            words = [word or "" for word in command.words]
            plain = [word for word in words[1:] if not word.startswith("-")]
            places = {posixpath.normpath(posixpath.join(command.cwd or "/", word)) for word in plain[1:]}
            if command.name == "chown" and workdir in places and any(w in ("-R", "--recursive") for w in words):
                owner = plain[0]
    return "" if owner.split(":")[0] in ("root", "0") or "$" in owner else owner


def insertion(shipped: Shipped, found: Instruction) -> int:
    """Where a line above ``found`` goes: above the comments that speak of it."""
    doc = shipped.site.dockerfile
    floor = max((one.end_line for one in [shipped.stage.head, *shipped.stage.body] if one.line < found.line), default=0)
    line = found.line
    while line - 1 > floor and doc.text(line - 1).lstrip().startswith("#"):
        line -= 1
    return doc.line_span(line, line).start


def inserted(shipped: Shipped, at: int, lines: Iterable[str]) -> Edit:
    """Whole lines at the start of the line at byte ``at``."""
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    eol = shipped.site.dockerfile.eol
    return Edit(shipped.site.path, Span(at, at), text.replace(b"\r\n", b"\n").replace(b"\n", eol))
