"""The edits that put an install above the source: manifests first, then the install, then the rest.

What moves is the COPY of the source; installs that can stay, stay, so that a reader sees the smallest change that
is right. An install that itself reads the source keeps its place, and one that only downloads is put above it.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

from coach import hoist, manifests, parents
from coach.dockerfile import Instruction, Stage
from coach.layers import SOMEWHERE, Placed, clean
from coach.manifests import Closure
from coach.model import Edit, Safety, Span
from coach.order import Verdict, is_manifest, place
from coach.shell import Command
from coach.site import Run, Site
from coach.steps import Action, PackageStep

# Instructions that neither read the source nor are changed by where it stands.
_SETUP = frozenset(
    "ENV ARG WORKDIR USER SHELL LABEL EXPOSE VOLUME STOPSIGNAL HEALTHCHECK CMD ENTRYPOINT MAINTAINER".split()
)
_DESCRIBES = _SETUP - {"WORKDIR", "USER", "SHELL"}
# What stands beside the packages in a RUN that installs them.
_PROVIDING = frozenset(
    "rm mkdir echo printf set export true : groupadd useradd adduser addgroup usermod update-ca-certificates "
    "locale-gen apt-get apt apk dnf yum microdnf".split()
)
_STATE = frozenset({"ENV", "ARG", "WORKDIR", "USER", "SHELL"})
# Commands that only touch the system or the package manager's own files.
_HARMLESS = frozenset(
    "rm mkdir echo printf set cd export true : ln corepack useradd groupadd adduser addgroup usermod umask unset test "
    "[ apt-get apt apk dnf yum microdnf update-ca-certificates curl wget tar unzip gpg sleep which locale-gen".split()
)
_HARMLESS_PAIRS = {
    ("npm", "cache"), ("npm", "config"), ("yarn", "cache"), ("yarn", "config"), ("pnpm", "store"), ("pnpm", "config"),
    ("pip", "cache"), ("pip", "config"), ("pip3", "cache"), ("poetry", "config"), ("git", "config"), ("go", "env"),
    ("go", "clean"), ("go", "version"), ("node", "-v"), ("node", "--version"), ("npm", "-v"), ("npm", "--version"),
    ("python", "--version"), ("uv", "cache"), ("bundle", "config"), ("npm", "set"), ("yarn", "set"), ("npm", "prune"),
    ("conan", "profile"), ("conan", "remote"), ("conan", "config"), ("composer", "config"), ("dotnet", "nuget"),
    ("conda", "clean"), ("mamba", "clean"), ("micromamba", "clean"), ("conda", "config"), ("conda", "--version"),
    ("pdm", "config"), ("pdm", "cache"), ("pipenv", "--clear"),
}  # fmt: skip
# Folders that hold what a build made, by their usual names.
_OUTPUTS = frozenset(
    "dist build out public static assets www html _site .next .output bundle release target bin".split()
)
# Variables that change what is compiled, not what is downloaded: in a download they would only split its cache.
_COMPILES_ONLY = frozenset({"CGO_ENABLED", "GOOS", "GOARCH", "GOARM", "GOAMD64", "GOARM64", "CC", "CXX", "RUSTFLAGS"})
_CONFIGURED = frozenset({"npm", "pnpm", "yarn", "pip", "pip3", "poetry", "pdm", "bundle", "composer", "conda"})
_ITEM_STATE = frozenset({"cd", "export", "set", "umask", "source", ".", "unset"})


_LONGEST_LINE = 140

_OF_SOURCE = re.compile(r"\b(?:whole|sources?|code|everything|all|rest|repo(?:sitory)?|project|application)\b", re.I)
_OF_INSTALLS = re.compile(r"\b(?:install|dependenc(?:y|ies)|manifests?|lockfiles?|packages?)\b", re.I)
_REFERENCE = re.compile(r"\$\{?(\w+)")


def _brings_tool(item: Instruction, site: Site, stage: Stage) -> bool:
    """Whether a COPY or ADD takes something that an install may run: out of another image, or from an address."""
    if item.name == "ADD" and any("://" in word for word in item.words[:-1]):
        return True
    origin = item.flag("from") if item.name == "COPY" else None
    return origin is not None and not isinstance(site.graph.source(origin.value or "", stage), Stage)


def _setting(command: Command) -> bool:
    """Whether a command only tells a package manager where to look and what to keep (``pnpm config set …``)."""
    return command.words[1:2] == ("config",) and command.name in _CONFIGURED


class CannotReorderError(Exception):
    """No patch can be written; the message says why, as one phrase."""


@dataclass
class Plan:
    """Edits in the making, with what a reviewer must know."""

    edits: list[Edit] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    says: list[str] = field(default_factory=list)
    safety: Safety = Safety.SAFE


def plan(site: Site, wrong: Iterable[Verdict]) -> Plan:
    """Edits that mend every verdict of ``wrong``. Raises ``CannotReorderError`` when one cannot be mended."""
    made = Plan()
    by_stage: dict[int, list[Verdict]] = {}
    for verdict in wrong:
        by_stage.setdefault(verdict.run.stage.index, []).append(verdict)
    for index, verdicts in sorted(by_stage.items()):
        _Window(site, site.dockerfile.stages[index], verdicts, made).edit()
    _keep_host_files_out(site, [verdict for group in by_stage.values() for verdict in group], made)
    if made.reasons:
        made.safety = Safety.REVIEW
    return made


class _Window:
    """The instructions of one stage from the first culprit to the last install that stands too low."""

    def __init__(self, site: Site, stage: Stage, verdicts: list[Verdict], made: Plan) -> None:
        self.site, self.stage, self.verdicts, self.made = site, stage, verdicts, made
        self.doc = site.dockerfile
        self.eol = self.doc.eol.decode("ascii")
        self.runs = {run.instruction.span.start: run for run in site.runs}
        self.closures: dict[int, Closure] = {}
        self.downloads_at: int | None = None  # where the new download steps land

    def edit(self) -> None:
        copies = {
            culprit.instruction.span.start: culprit.instruction
            for verdict in self.verdicts
            for culprit in verdict.culprits
        }
        if copies:
            self._check(list(copies.values()))
            copies |= {item.span.start: item for item in self._outputs(min(copies))}
            self._move_copies([copies[start] for start in sorted(copies)])
        self._sink_args()

    def _outputs(self, first: int) -> list[Instruction]:
        """COPYs of another stage's build output above an install: they change with the source too, so they follow."""
        last = max(verdict.run.instruction.span.start for verdict in self.verdicts if verdict.culprits)
        return [
            item
            for item in self.stage.body
            if first < item.span.start < last
            and item.name == "COPY"
            and item.flag("from") is not None
            and isinstance(self.site.graph.source(item.flag_values("from")[0], self.stage), Stage)
            and all(posixpath.basename(clean(word)) in _OUTPUTS for word in item.words[:-1])
        ]

    def _check(self, copies: list[Instruction]) -> None:
        for copy in copies:
            if copy.stage != self.stage.index:
                raise CannotReorderError("the source is copied in a stage that this one is built from")
            if copy.name == "RUN":
                raise CannotReorderError("the source is bind-mounted into the install")
            if copy.flag("from") is not None:
                raise CannotReorderError("the source comes out of another stage")
            if copy.heredocs:
                raise CannotReorderError("the source is copied together with a heredoc")
        for verdict in self.verdicts:
            if verdict.culprits and verdict.closure is None:
                raise CannotReorderError(f"the manifests of `{verdict.says}` were not found in the repository")

    # --- moving the COPY -------------------------------------------------------------------------------------------

    def _move_copies(self, copies: list[Instruction]) -> None:
        verdicts = [verdict for verdict in self.verdicts if verdict.culprits]
        by_run: dict[int, list[Verdict]] = {}
        for verdict in verdicts:
            by_run.setdefault(verdict.run.instruction.span.start, []).append(verdict)
        last = max(by_run)
        first = copies[0].span.start
        window = [item for item in self.stage.body if first <= item.span.start <= last]
        starts = {copy.span.start for copy in copies}

        flush: int | None = None  # index in the window before which the held COPYs have to stand again
        split: tuple[Run, int] | None = None  # or a RUN that is cut in two, and the item its second half starts with
        fetches: list[str] = []
        late: list[Instruction] = []
        for index, item in enumerate(window):
            run = self.runs.get(item.span.start)
            if item.span.start in starts:
                continue
            here = by_run.get(item.span.start)
            if here is None:
                if flush is None and split is None and not self._is_setup(item, run):
                    flush = index
                continue
            assert run is not None
            stays = self._first_halves(run, here, fetches, later=flush is not None or split is not None)
            if not stays:
                if flush is None and split is None:
                    flush = index
                continue
            cut = self._cut_at(run, here)
            if flush is not None or split is not None:
                if cut is not None:
                    raise CannotReorderError(f"line {run.line} installs and builds in one RUN, below another build")
                if self._state_changes(window, flush, index):
                    raise CannotReorderError(f"ENV, USER or WORKDIR change between the source and line {run.line}")
                tool = next(
                    (item for item in window[flush or 0 : index] if _brings_tool(item, self.site, self.stage)), None
                )
                if tool is not None:
                    raise CannotReorderError(
                        f"line {tool.line} brings a file of another image that line {run.line} may need"
                    )
                late += [*self._manifests_for(window, flush, index, here, starts), item]
            elif cut is not None:
                split = (run, cut)
        self._write(window, copies, flush, split, fetches, late, verdicts)

    def _first_halves(self, run: Run, here: list[Verdict], fetches: list[str], *, later: bool) -> bool:
        """Whether the install itself can stand above the source; else the command that downloads is noted."""
        stays = True
        for verdict in here:
            assert verdict.closure is not None
            command = verdict.step.command
            mine = (command.start, verdict.step.via)
            if any((step.command.start, step.via) == mine and step is not verdict.step for step in run.steps):
                raise CannotReorderError(f"one command of line {run.line} downloads and builds")
            raw = [word.raw for word in command.peeled]
            found = hoist.hoist(
                self.site.tree,
                verdict.step.manager,
                verdict.words,
                verdict.directory,
                self.site.context,
                raw,
                ahead=self._may_compile(run, verdict),
                fetched=not later and self._crowded(verdict),
            )
            if verdict.step.manager == "deno" and re.search(
                r"[:-]1(?:\.|$)", self.site.graph.root_image(self.stage) or ""
            ):
                raise CannotReorderError("Deno 1 has no `deno install` that reads deno.json")
            self._note(found.reasons)
            if found.first is None:
                raise CannotReorderError(found.reasons[0] if found.reasons else f"`{verdict.says}` needs the source")
            if found.unchanged:
                if verdict.step.via:
                    raise CannotReorderError(f"the install hides in {verdict.step.via}")
                if command.guarded:
                    raise CannotReorderError(f"`{verdict.says}` runs only under a condition")
                continue
            stays = False
            self._note(self._lost(run, verdict))
            self.closures[id(verdict)] = self._closure_of(verdict, found)
            before, joiner, last = found.first.rpartition(" && ")
            lead, own = self._lead_of(run, verdict, compiles=last == " ".join(raw))
            fetches.append(self._folded(f"{self._head_of(run)}{lead}{before}{joiner}{own}{last}"))
            if len(here) == 1:
                self._drop_brought(run, verdict)
            self.made.says.append(
                f"`{last}` compiles the dependencies before the source is there; line {run.line} compiles the rest."
                if found.reads
                else f"`{found.first}` downloads before the source is there; line {run.line} does the rest."
            )
            if found.later is not None and found.later != " ".join(raw):
                if not command.exact or not command.peeled or verdict.step.via:
                    raise CannotReorderError(f"the command in line {run.line} cannot be replaced")
                lead = run.script.source[command.start : command.peeled[0].start]  # assignments, sudo
                pieces = [piece if piece.startswith("touch ") else lead + piece for piece in found.later.split(" && ")]
                start, end = run.offset(command.start), run.offset(command.peeled[-1].end)
                self.made.edits.append(Edit(self.doc.path, Span(start, end), " && ".join(pieces).encode()))
            if later:
                raise CannotReorderError(f"another step stands between the source and line {run.line}")
        if stays is False and any(verdict.step.action is Action.INSTALL for verdict in here) and len(here) > 1:
            raise CannotReorderError(f"line {run.line} chains several installs that read the source")
        return stays

    def _folded(self, line: str) -> str:
        """A RUN of several commands with each on a line of its own, where one line would be too long to read."""
        if len(line) <= _LONGEST_LINE or "\n" in line:
            return line
        return line.replace(" && ", f" {self.doc.escape}{self.eol} && ")

    def _may_compile(self, run: Run, verdict: Verdict) -> bool:
        """Whether the command itself, on its own in its RUN, may stand above the source as well as below it."""
        command = verdict.step.command
        tools = any(step.action in (Action.OS, Action.TOOL, Action.NAMED) for step in run.steps)
        kept = any(
            mount.type == "cache" and (mount.target or "").rstrip("/").endswith("target") for mount in run.mounts
        )
        return command.exact and not command.guarded and not verdict.step.via and not tools and not kept

    def _crowded(self, verdict: Verdict) -> bool:
        """Whether the manifests of a workspace would fill too many lines, in a stage that is not shipped itself.

        The shipped stage keeps its lines: with the whole install above the source it can be split further.
        """
        closure = verdict.closure
        if closure is None or closure.directories or parents.known(self.doc.syntax):
            return False  # `pnpm fetch` takes nothing from folders of the repository
        if verdict.step.via or verdict.step.command.guarded:
            return False
        shipped = any(stage.index == self.stage.index for stage in self.site.graph.chain(self.site.final))
        return not shipped and len({posixpath.dirname(path) for path in closure.files}) > parents.MANY

    def _lost(self, run: Run, verdict: Verdict) -> list[str]:
        """What the command that only downloads does without, though it stands before the install in its RUN."""
        command = verdict.step.command
        reasons = []
        if command.guarded:
            reasons.append(f"`{verdict.says}` runs only under a condition, its download always")
        tools = [step for step in run.steps if step.action is Action.OS and step.command.item < command.item]
        if tools and verdict.step.action is Action.INSTALL and verdict.step.ecosystem == "python":
            reasons.append(
                f"line {run.line} installs system packages before its install, which the one above it would not "
                "have: a dependency that has to be compiled would not build there"
            )
        return reasons

    def _closure_of(self, verdict: Verdict, made: hoist.Hoist) -> Closure:
        """What the command that goes first reads: often less than the whole install."""
        assert verdict.closure is not None
        assert made.first is not None
        try:
            words = list(made.reads) or shlex.split(made.first)
        except ValueError:
            return verdict.closure
        found = manifests.closure(self.site.tree, verdict.step.manager, words, verdict.directory, self.site.context)
        if found is None or "&&" in words or (found.reads_source and not made.reads):
            return verdict.closure
        return found

    def _note(self, reasons: Iterable[str]) -> None:
        for reason in reasons:
            if reason not in self.made.reasons:
                self.made.reasons.append(reason)

    def _head_of(self, run: Run) -> str:
        """``RUN`` with the flags as the user wrote them, up to the command."""
        start, end = run.instruction.span.start, run.instruction.offset(0)
        if run.instruction.heredocs or run.instruction.json:
            return "RUN "
        return self.doc.content[start:end].decode("utf-8", "surrogateescape")

    def _lead_of(self, run: Run, verdict: Verdict, *, compiles: bool = False) -> tuple[str, str]:
        """``cd`` and ``export`` items that stand before the command in its RUN, and its own assignments."""
        command = verdict.step.command
        if verdict.step.via:
            here = self.site.graph.state(run.instruction).workdir
            return (f"cd {shlex.quote(command.cwd)} && " if command.cwd not in (None, here) else ""), ""
        return self._prefix(run, command.item, self._brings(run, verdict)), "".join(
            f"{name}={word.raw} " for name, word in command.assignments if compiles or name not in _COMPILES_ONLY
        )

    def _drop_brought(self, run: Run, verdict: Verdict) -> None:
        """Take out of an install's RUN what its first half above now does, where that outlasts its RUN."""
        tools, item = self._brings(run, verdict), verdict.step.command.item
        before = [command for command in run.script.commands if command.item < item]
        if not tools or verdict.step.via or run.instruction.heredocs or run.instruction.json:
            return
        joined = all(piece.joiner == "&&" for piece in run.script.items[1 : item + 1])
        if joined and all(id(command) in tools or _setting(command) for command in before):
            start, end = run.offset(run.script.items[0].start), run.offset(run.script.items[item].start)
            self.made.edits.append(Edit(self.doc.path, Span(start, end), b""))

    def _brings(self, run: Run, verdict: Verdict) -> frozenset[int]:
        """Commands before an install in its RUN that install the package manager itself."""
        name = verdict.step.manager
        return frozenset(
            id(step.command)
            for step in run.steps
            if step.command.item < verdict.step.command.item
            and (
                step.action is Action.TOOL
                or (
                    step.action is Action.NAMED
                    and any((word or "").startswith(name) for word in step.command.words[1:])
                )
            )
        )

    def _prefix(self, run: Run, item: int, tools: frozenset[int] = frozenset()) -> str:
        kept = []
        for index, piece in enumerate(run.script.items[:item]):
            commands = [command for command in run.script.commands if command.item == index]
            if commands and all(
                command.name in _ITEM_STATE or _setting(command) or id(command) in tools for command in commands
            ):
                kept.append(run.script.source[piece.start : piece.end])
        return "".join(f"{text} && " for text in kept)

    def _is_setup(self, item: Instruction, run: Run | None) -> bool:
        if item.name in _SETUP or item.name in ("COPY", "ADD"):
            return True
        if run is None or run.script.broken:
            return False
        stepped = {id(step.command) for step in run.steps if step.action in (Action.OS, Action.TOOL, Action.NAMED)}
        return all(id(command) in stepped or self._harmless(run, command) for command in run.script.commands)

    def _harmless(self, run: Run, command: Command) -> bool:
        words = [word for word in command.words if word is not None]
        pair = (words[0].rsplit("/", 1)[-1], words[1]) if len(words) > 1 else ("", "")
        venv = command.name == "virtualenv" or words[1:3] == ["-m", "venv"] or pair == ("uv", "venv")
        if command.name not in _HARMLESS and pair not in _HARMLESS_PAIRS and not venv:
            return bool(command.name is None and command.assignments)
        cwd = command.cwd or "/"
        for word in words[1:]:
            full = posixpath.normpath(posixpath.join(cwd, word))
            if command.name != "cd" and full != "/" and full in run.files:
                return False
        return True

    def _cut_at(self, run: Run, here: list[Verdict]) -> int | None:
        """The item that starts the second half of an install-and-build RUN; ``None`` when it holds installs only."""
        installs = {verdict.step.command.item for verdict in here}
        last = max(installs)
        stepped = [
            step
            for step in run.steps
            if step.action in (Action.OS, Action.TOOL, Action.NAMED)
            or step.command.item in installs
            or self._same_install(run, step, here)
        ]
        known = {id(step.command) for step in stepped}
        # `python -m pip` is read as a command of its own, at the place of the one that stands there
        places = {step.command.start for step in stepped if not step.via and step.command.exact}

        def plain(index: int) -> bool:
            mine = [command for command in run.script.commands if command.item == index]
            return all(id(one) in known or one.start in places or self._harmless(run, one) for one in mine)

        count = len(run.script.items)
        for index in range(last):
            if index not in installs and not plain(index):
                raise CannotReorderError(f"line {run.line} runs something else before its install")
        if run.script.broken or not run.script.commands:
            raise CannotReorderError(f"the shell text of line {run.line} cannot be parsed")
        cut = next((index for index in range(last + 1, count) if not plain(index)), None)
        if cut is None:
            return None
        if run.instruction.heredocs or run.instruction.json:
            raise CannotReorderError(f"line {run.line} installs and builds in one heredoc")
        if run.script.items[cut].joiner != "&&" and not (run.script.items[cut].joiner == ";" and _stops(run, cut)):
            raise CannotReorderError(f"line {run.line} chains install and build by something else than &&")
        return cut

    def _manifests_for(
        self, window: list[Instruction], flush: int | None, index: int, here: list[Verdict], starts: set[int]
    ) -> list[Instruction]:
        """The COPYs between the first build and an install below it that bring its manifests: they go up with it."""
        needed = {source for verdict in here if verdict.closure for source in verdict.closure.files}
        found = []
        for item in window[flush or 0 : index]:
            run = self.runs.get(item.span.start)
            if run is not None and any(step.action in (Action.OS, Action.TOOL) for step in run.steps):
                raise CannotReorderError(f"line {run.line} sets up what the install in line {window[index].line} needs")
            if item.name in ("COPY", "ADD") and item.span.start not in starts:
                brought = {placed.source for placed in self.site.layers.brought(item, self.stage).placed}
                if brought & needed:
                    found.append(item)
        return found

    def _same_install(self, run: Run, step: PackageStep, here: list[Verdict]) -> bool:
        """Whether ``step`` installs once more what one of ``here`` does, reading no more than that (``focus``)."""
        if step.action not in (Action.INSTALL, Action.FETCH) or step.via:
            return False
        for verdict in here:
            first = verdict.step
            if (step.manager, step.directory) != (first.manager, first.directory) or verdict.closure is None:
                continue
            directory, words = place(self.site, run, step)
            read = manifests.closure(self.site.tree, step.manager, words, directory or "", self.site.context)
            if read is not None and not read.reads_source and set(read.files) <= set(verdict.closure.files):
                return True
        return False

    def _state_changes(self, window: list[Instruction], flush: int | None, index: int) -> bool:
        return any(item.name in _STATE for item in window[flush or 0 : index])

    # --- writing ---------------------------------------------------------------------------------------------------

    def _lines(self, item: Instruction) -> Span:
        """The whole lines of an instruction with the comment block that stands directly above it."""
        first = item.line
        while first > 1 and self.doc.text(first - 1).lstrip().startswith("#") and not self._directive(first - 1):
            first -= 1
        return self.doc.line_span(first, item.end_line)

    def _directive(self, line: int) -> bool:
        return line < self.doc.instructions[0].line and bool(
            re.match(r"#\s*(?:syntax|escape|check)\s*=", self.doc.text(line).strip(), re.I)
        )

    def _text(self, span: Span) -> str:
        text = self.doc.content[span.start : span.end].decode("utf-8", "surrogateescape")
        return text if text.endswith("\n") else text + self.eol

    def _write(
        self,
        window: list[Instruction],
        copies: list[Instruction],
        flush: int | None,
        split: tuple[Run, int] | None,
        fetches: list[str],
        late: list[Instruction],
        verdicts: list[Verdict],
    ) -> None:
        manifests = {copy.span.start: self._manifest_lines(copy, verdicts) for copy in copies}
        starts = {copy.span.start for copy in copies}
        stop = flush if flush is not None else len(window)
        if split is not None:
            stop = next(i for i, item in enumerate(window) if item.span.start == split[0].instruction.span.start)
        before = [copy for copy in copies if any(copy is item for item in window[:stop])]
        # COPYs with nothing to pass on their way down stay where they are
        staying: list[Instruction] = []
        if split is None and flush is not None:
            for item in reversed(window[:stop]):
                if item.span.start not in starts:
                    break
                staying.insert(0, item)
        moving = [copy for copy in before if all(copy is not item for item in staying)]
        downloads = "".join(f"{fetch}{self.eol}" for fetch in fetches)
        cut_out = "".join(self._text(self._lines(item)) for item in late)
        for span in _joined([self._lines(item) for item in late]):
            self._replace(span, "")
        landing = window[stop] if stop < len(window) else window[-1]
        moved = "".join(self._landed(copy, landing, self._without_manifests(copy, verdicts)) for copy in moving)
        lower = {} if flush is not None or fetches or late else self._resting(window, moving, verdicts)
        sunk: dict[int, str] = {}
        for copy in moving:
            below = lower.get(copy.span.start)
            self._replace(self._block(copy), manifests[copy.span.start] if below is None else "")
            if below is not None:
                start = self._lines(below).start
                sunk[start] = sunk.get(start, "") + manifests[copy.span.start]
        for start, text in sunk.items():
            self._insert(start, text)
        here = "".join(manifests[copy.span.start] for copy in staying) + downloads + cut_out + moved
        if staying:
            self.downloads_at = self._lines(staying[0]).start
            self._insert(self.downloads_at, here)
        elif split is not None:
            self._split(split[0], split[1], moved, downloads + cut_out)
        elif flush is not None:
            self.downloads_at = self._lines(window[flush]).start
            self._insert(self.downloads_at, here)
        else:
            end = self.doc.line_span(window[-1].line, window[-1].end_line).end
            self._insert_after(end, here)
        after = [copy for copy in copies if all(copy is not item for item in before)]
        if after and any(manifests[copy.span.start] for copy in after):
            raise CannotReorderError("manifests are copied below another build")
        if all(not text for text in manifests.values()) and not fetches and not moving and not late:
            raise CannotReorderError("the manifests are already there, yet the install stands too low")

    def _resting(
        self, window: list[Instruction], moving: list[Instruction], verdicts: list[Verdict]
    ) -> dict[int, Instruction]:
        """Above which instruction the manifests of a COPY come to stand, where that is not the place of the COPY.

        System packages and tools that stand above the install are then kept when a dependency changes.
        """
        installs = {verdict.run.instruction.span.start for verdict in verdicts}
        starts = {copy.span.start for copy in moving}
        found: dict[int, Instruction] = {}
        for copy in moving:
            if self._block(copy) != self._lines(copy) or any("$" in (flag.value or "") for flag in copy.flags):
                continue
            passed = False
            for item in window[window.index(copy) + 1 :]:
                run = self.runs.get(item.span.start)
                if item.span.start not in starts | installs and (item.name in _DESCRIBES or self._provides(run)):
                    passed = passed or run is not None
                elif item.span.start not in starts:
                    if passed:
                        found[copy.span.start] = item
                    break
        return found

    def _provides(self, run: Run | None) -> bool:
        """Whether a RUN only installs system packages or named tools, by commands that look at no file of ours."""
        if run is None or run.script.broken or any(mount.type == "bind" for mount in run.mounts):
            return False
        named = {
            id(step.command)
            for step in run.steps
            if not step.via
            and (
                step.action is Action.OS or (step.action in (Action.TOOL, Action.NAMED) and self._global(step.command))
            )
        }
        if not named:
            return False
        for command in run.script.commands:
            if id(command) not in named and command.name not in _PROVIDING:
                return False
            places = {
                posixpath.normpath(posixpath.join(command.cwd or "/", word)) for word in command.words[1:] if word
            }
            if places & run.files.keys():
                return False
        return True

    def _global(self, command: Command) -> bool:
        """Whether a tool is installed without a look at the project: ``npm install -g``, ``pip install NAME``."""
        return command.name in ("pip", "pip3") or (
            command.name == "npm" and bool({"-g", "--global"}.intersection(command.words))
        )

    def _block(self, copy: Instruction) -> Span:
        """What moves with a COPY: a comment that speaks of the install stays with the install."""
        span = self._lines(copy)
        own = self.doc.line_span(copy.line, copy.end_line)
        above = self.doc.content[span.start : own.start].decode("utf-8", "surrogateescape")
        return own if _OF_INSTALLS.search(above) and not _OF_SOURCE.search(above) else span

    def _landed(self, copy: Instruction, landing: Instruction, text: str) -> str:
        """``text`` as it has to read where ``landing`` stands, so that the same files come to the same place."""
        before, after = self.site.graph.state(copy), self.site.graph.state(landing)
        names, later = before.names(), after.names()
        for word in (*copy.words, *(flag.value or "" for flag in copy.flags)):
            for name in _REFERENCE.findall(word):
                if names.get(name, "") != later.get(name, ""):
                    raise CannotReorderError(f"{name} changes between the source and the install")
        target = copy.words[-1]
        if before.workdir == after.workdir or target.startswith("/"):
            return text
        if before.workdir is None or "$" in target or target not in text or re.search(r"[\s\"'\\]", target):
            raise CannotReorderError("WORKDIR changes between the source and the install")
        full = posixpath.normpath(posixpath.join(before.workdir, target))
        if target.endswith(("/", "/.")) or target == "." or len(copy.words) > 2:
            full = full.rstrip("/") + "/"
        head, _, tail = text.rpartition(target)
        return f"{head}{full}{tail}"

    def _without_manifests(self, copy: Instruction, verdicts: list[Verdict]) -> str:
        """The text of a COPY that moves down, less the files it names that now have a line of their own above."""
        text = self._text(self._block(copy))
        needed = {source for verdict in verdicts if verdict.closure for source in verdict.closure.files}
        lead = f"{self.site.context}/" if self.site.context else ""
        named = [word for word in copy.words[:-1] if f"{lead}{clean(word)}" in needed]
        rest = len(copy.words) - 1 - len(named)
        if copy.json or not named or rest < 1 or not copy.words[-1].endswith("/"):
            return text
        for word in named:
            text, found = re.subn(rf"(?<=\s){re.escape(word)}[ \t]+(?=\S)", "", text, count=1)
            if not found:
                return self._text(self._block(copy))
        return text

    def _replace(self, span: Span, text: str) -> None:
        if not text:
            span = self._with_blank(span)
        if not self.doc.content[span.start : span.end].endswith(b"\n") and text.endswith(self.eol):
            text = text[: -len(self.eol)]
        self.made.edits.append(Edit(self.doc.path, span, text.encode("utf-8", "surrogateescape")))

    def _with_blank(self, span: Span) -> Span:
        """Of two blank lines that would meet where lines are taken out, the lower goes too."""
        content = self.doc.content
        above = content[: span.start].rpartition(b"\n")[0].rpartition(b"\n")[2]
        below, newline, _ = content[span.end :].partition(b"\n")
        if newline and not below.strip() and span.start and not above.strip():
            return Span(span.start, span.end + len(below) + 1)
        return span

    def _insert(self, at: int, text: str) -> None:
        above = self.doc.content[:at].rpartition(b"\n")[0].rpartition(b"\n")[2]
        if text.lstrip("\r\n").startswith("#") and above.strip() and not above.lstrip().startswith(b"#"):
            text = self.eol + text
        self.made.edits.append(Edit(self.doc.path, Span(at, at), text.encode("utf-8", "surrogateescape")))

    def _insert_after(self, at: int, text: str) -> None:
        if at and not self.doc.content[:at].endswith(b"\n"):
            text = self.eol + text.removesuffix(self.eol)
        self._insert(at, text)

    def _split(self, run: Run, item: int, moved: str, downloads: str) -> None:
        """Cut ``RUN install && build`` at the joiner: install, the source, build. The user's own text stays."""
        pieces = run.script.items
        start, end = run.offset(pieces[item - 1].end), run.offset(pieces[item].start)
        head = self._head_of(run) + self._prefix(run, item)
        text = f"{self.eol}{downloads}{moved}{head}"
        self.made.edits.append(Edit(self.doc.path, Span(start, end), text.encode("utf-8", "surrogateescape")))
        self.made.says.append(
            f"Line {run.line} installs and builds in one RUN; it is split so that the install can be cached."
        )

    def _manifest_lines(self, copy: Instruction, verdicts: list[Verdict]) -> str:
        """COPY lines for the manifests that ``copy`` used to bring, with its ownership flags."""
        brought = {placed.source: placed for placed in self.site.layers.brought(copy, self.stage).placed}
        above = {placed.target for placed in self.site.layers.before(self.stage, copy)}
        folders: dict[str, list[Placed]] = {}
        needed: dict[str, Placed] = {}
        lockfiles = set()
        for verdict in verdicts:
            closure = self.closures.get(id(verdict), verdict.closure)
            if closure is None:
                continue
            lockfiles.add(closure.lockfile)
            whole = [folder for folder in closure.directories if any(s.startswith(f"{folder}/") for s in brought)]
            for folder in whole:
                folders[folder] = [placed for s, placed in brought.items() if s.startswith(f"{folder}/")]
            for source in closure.files:
                placed = brought.get(source)
                inside = any(source.startswith(f"{folder}/") for folder in whole)
                if placed is not None and placed.target not in above and not inside:
                    needed[source] = placed
            self._note(closure.uncertain)
        flags = "".join(
            self.doc.content[flag.span.start : flag.span.end].decode("utf-8", "surrogateescape") + " "
            for flag in copy.flags
            if flag.name in ("chown", "chmod", "link")
        )
        keyword = "copy" if self.doc.content[copy.span.start : copy.span.start + 1].islower() else "COPY"
        known = self.site.graph.state(copy).workdir
        workdir = known if known is not None else SOMEWHERE
        groups: dict[str, list[Placed]] = {}
        for placed in needed.values():
            if posixpath.basename(placed.source) != posixpath.basename(placed.target):
                raise CannotReorderError(f"{placed.source} is renamed on its way into the image")
            groups.setdefault(posixpath.dirname(placed.target), []).append(placed)
        lines = []
        order = sorted(groups, key=lambda folder: (folder != workdir, folder.count("/"), folder))
        last: list[str] = []
        if len(order) > parents.MANY and parents.known(self.doc.syntax):
            order, text = self._with_parents(groups, order, workdir)
            last = [f"{keyword} --parents {flags}{text}"]
        for folder in order:
            sources = sorted(
                groups[folder], key=lambda placed: (placed.source in lockfiles, _rank(placed.source), placed.source)
            )
            lines.append(self._copy_line(keyword, flags, [p.source for p in sources], _seen(folder, workdir) + "/"))
        lines += last
        for folder, placed_in in sorted(folders.items()):
            inner = placed_in[0].source[len(folder) :]
            target = placed_in[0].target.removesuffix(inner)
            if target not in {posixpath.dirname(path) for path in above}:
                lines.append(self._copy_line(keyword, flags, [f"{folder}/"], _seen(target, workdir) + "/"))
        if lines:
            names = ", ".join(sorted({posixpath.basename(source) for source in needed}))
            self.made.says.append(
                f"Only what the install reads is copied above it: {names or ', '.join(sorted(folders))}."
            )
        return "".join(line + self.eol for line in lines)

    def _with_parents(self, groups: dict[str, list[Placed]], order: list[str], workdir: str) -> tuple[list[str], str]:
        """Folders that need a line of their own, and the words of one COPY that brings the files of all others."""
        lead = f"{self.site.context}/" if self.site.context else ""

        def kept(folder: str) -> bool:
            return all(
                posixpath.join(workdir, placed.source.removeprefix(lead)) == placed.target for placed in groups[folder]
            )

        inside = [folder for folder in order if folder != workdir and kept(folder)]
        sources = [placed.source.removeprefix(lead) for folder in inside for placed in groups[folder]]
        files = [path.removeprefix(lead) for path in self.site.context_files()]
        named = parents.words(sources, files)
        if any(re.search(r"[\s\"'\\$\[]", word) for word in named):
            raise CannotReorderError("a manifest's name holds a special character")
        joint = f" {self.doc.escape}{self.eol}    " if len(named) > 4 else " "
        return [folder for folder in order if folder not in inside], joint.join([*named, "./"])

    def _copy_line(self, keyword: str, flags: str, sources: list[str], target: str) -> str:
        lead = f"{self.site.context}/" if self.site.context else ""
        words = [source.removeprefix(lead) for source in sources] + [target]
        if any(re.search(r"[\s\"'\\$*?\[]", word) for word in words):
            if any(re.search(r"[\"\\$*?\[\n]", word) for word in words):
                raise CannotReorderError("a manifest's name holds a special character")
            return f"{keyword} {flags}[" + ", ".join(f'"{word}"' for word in words) + "]"
        return f"{keyword} {flags}{' '.join(words)}"

    # --- build arguments that change on every commit -----------------------------------------------------------------

    def _sink_args(self) -> None:
        found: dict[int, tuple[Instruction, dict[str, None]]] = {}
        for verdict in self.verdicts:
            for passed in verdict.passed:
                arg = passed.instruction
                found.setdefault(arg.span.start, (arg, {}))[1][passed.name] = None
        for arg, names in found.values():
            self._sink(arg, list(names))

    def _sink(self, arg: Instruction, names: list[str]) -> None:
        if any(edit.span.start <= arg.span.start < max(edit.span.end, edit.span.start + 1) for edit in self.made.edits):
            return
        inside = [one for one in self.verdicts if any(passed.instruction is arg for passed in one.passed)]
        building = [one for one in inside if id(one) in self.closures or one.step.action is Action.BUILD]
        if building and self.downloads_at is not None and self.downloads_at < arg.span.start:
            return
        stays, sinks = self._parted(arg, names)
        # what compiles may read it, so it stays above that; what only installs does not ask for it
        last = (min if building else max)(one.run.instruction.span.start for one in building or self.verdicts)
        if building and any(one not in building and one.run.instruction.span.start >= last for one in inside):
            raise CannotReorderError(f"{' and '.join(names)} stand above a build, and an install follows that")
        reference = re.compile(rf"\$\{{?(?:{'|'.join(map(re.escape, names))})\b")
        moved = []
        for item in self.stage.body:
            reached = item.span.start < last if building else item.span.start <= last
            if (
                arg.span.start < item.span.start
                and reached
                and reference.search(self.doc.text(item.line, item.end_line))
            ):
                if item.name not in ("ENV", "LABEL"):
                    raise CannotReorderError(f"line {item.line} uses {' and '.join(names)} above the install")
                moved.append(item)
        end_item = next(item for item in self.stage.body if item.span.start == last)
        if not building and any(
            end_item.span.start < edit.span.start < end_item.span.end for edit in self.made.edits if edit.new
        ):
            raise CannotReorderError(f"line {end_item.line} builds as well, and may read {' and '.join(names)}")
        text = sinks + "".join(self._text(self.doc.line_span(item.line, item.end_line)) for item in moved)
        self._replace(self.doc.line_span(arg.line, arg.end_line), stays)
        for item in moved:
            self._replace(self.doc.line_span(item.line, item.end_line), "")
        if building:
            self._insert(self._lines(end_item).start, text)
        else:
            self._insert_after(self.doc.line_span(end_item.line, end_item.end_line).end, text)
        verb = "changes on every commit, so it is" if len(names) == 1 else "change on every commit, so they are"
        self.made.says.append(f"{', '.join(names)} {verb} declared below the install.")

    def _parted(self, arg: Instruction, names: list[str]) -> tuple[str, str]:
        """The line of ``arg`` without ``names``, and a line with them alone."""
        line = self._text(self.doc.line_span(arg.line, arg.end_line))
        if len(arg.pairs) == len(names):
            return "", line
        words = arg.value.split()
        if arg.line != arg.end_line or len(words) != len(arg.pairs) or re.search(r"[\"'\\]", arg.value):
            raise CannotReorderError(f"line {arg.line} declares several arguments at once")
        head = line[: len(line) - len(line.lstrip())] + line.split()[0]
        mine = [word for word in words if word.partition("=")[0] in names]
        rest = [word for word in words if word not in mine]
        return f"{head} {' '.join(rest)}{self.eol}", f"{head} {' '.join(mine)}{self.eol}"


def _stops(run: Run, item: int) -> bool:
    """Whether a failure ends the RUN before ``item``, as it does after ``&&``: its shell was told ``set -e``."""
    return any(
        command.name == "set" and not command.guarded and any(re.match(r"-\w*e", word or "") for word in command.words)
        for command in run.script.commands
        if command.item < item
    )


def _joined(spans: Iterable[Span]) -> list[Span]:
    """``spans`` in order, those that touch made one."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and found[-1].end == span.start:
            span = Span(found.pop().start, span.end)
        found.append(span)
    return found


def _rank(path: str) -> int:
    """Manifests before the files they include, those before the files that only configure the tool."""
    name = posixpath.basename(path)
    return 2 if name.startswith(".") else 0 if is_manifest(name) else 1


def _seen(folder: str, workdir: str | None) -> str:
    """``folder`` as one would write it with ``workdir`` in force, without a final slash."""
    if workdir is None or (workdir == "/" and folder != "/"):
        return folder.rstrip("/")
    if folder == workdir:
        return "."
    lead = workdir.rstrip("/") + "/"
    return folder[len(lead) :] if folder.startswith(lead) else folder.rstrip("/")


# Where an install puts its result beside the manifest: a later COPY of the source must not bring the host's own.
_RESULTS = {"node": "node_modules", "python": ".venv", "php": "vendor"}
_IN_PROJECT = frozenset({"uv", "pdm", "poetry"})


def _keep_host_files_out(site: Site, wrong: list[Verdict], made: Plan) -> None:
    """Ignore what the install makes, where the COPY that now comes after it would lay the host's over it."""
    patterns: list[str] = []
    for verdict in wrong:
        result = _RESULTS.get(verdict.step.ecosystem)
        if result is None or not verdict.culprits or (result == ".venv" and verdict.step.manager not in _IN_PROJECT):
            continue
        relative = verdict.directory[len(site.context) :].lstrip("/")
        inside = posixpath.join(relative, result)
        if site.ignore is not None and site.ignore.ignores(inside):
            continue
        members = verdict.closure.members if verdict.closure else ()
        pattern = f"**/{result}" if members else inside
        if pattern not in patterns:
            patterns.append(pattern)
        entry = site.tree.entries().get(posixpath.join(site.context, inside))
        if entry is not None and not entry.opaque:
            made.reasons.append(f"{inside} is in the repository and would no longer reach the image")
    if not patterns:
        return
    lines = "".join(f"{pattern}\n" for pattern in patterns)
    said = ", ".join(patterns)
    if site.ignore is None:
        path = posixpath.join(site.context, ".dockerignore")
        made.edits.append(Edit(path, Span(0, 0), lines.encode()))
        made.says.append(f"A new .dockerignore keeps the host's {said} from covering what the install made.")
        return
    content = site.ignore.content
    eol = b"\r\n" if b"\r\n" in content else b"\n"
    new = lines.encode().replace(b"\n", eol)
    if content and not content.endswith(b"\n"):
        new = eol + new.removesuffix(eol)
    made.edits.append(Edit(site.ignore.path, Span(len(content), len(content)), new))
    made.says.append(f"{site.ignore.path} now keeps the host's {said} from covering what the install made.")
