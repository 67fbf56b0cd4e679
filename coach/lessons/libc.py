"""Does code that was built against one C library run on another?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coach import images
from coach.dockerfile import Stage
from coach.errors import CoachError, InputError
from coach.images import ImageFacts, Libc, Role
from coach.linkage import Linker, Native, facts_of
from coach.model import Answer, Edit, Evidence, Remedy, Safety, Span, certain, likely, unknown
from coach.shipped import Copy, copies_of, os_packages
from coach.site import Site

NODE = "libc"
FIX = "F11"
SECTION = "One libc from build to runtime"
ANTI_PATTERN = "Alpine for compiled languages without testing"

_ENOUGH = 12  # mixes that are cited; more would not change the answer
_SHIMS = frozenset({"gcompat", "libc6-compat"})
_CGO_MODULES = ("mattn/go-sqlite3", "confluentinc/confluent-kafka-go", "h2non/bimg", "godror/godror")


@dataclass(frozen=True)
class _Mix:
    """A copy that carries compiled code to another C library (``why`` says how it differs)."""

    copy: Copy
    native: Native
    into: ImageFacts
    why: str


def probe(site: Site) -> Answer:
    """``yes`` when compiled code is copied to a stage whose C library it was not linked against."""
    mixes, doubts, crossings, open_ends = _walk(site)
    if mixes:
        evidence = [found for mix in mixes for found in _cite(site, mix)]
        sure = any(
            mix.native.sure and mix.into.libc is not mix.native.libc and not _shimmed(site, mix) for mix in mixes
        )
        first = mixes[0]
        answer = certain if sure else likely
        return answer("yes", f"{first.native.says}; {first.why}", *dict.fromkeys(evidence))
    if doubts:
        copy, native, reason = doubts[0]
        return unknown(
            reason,
            "run `ldd` on the program in the build stage, and `ldd --version` in the final image",
            site.cite(native.line, native.says),
            site.cite(copy.instruction.line, "copies it", copy.instruction.end_line),
        )
    if crossings:
        copy = crossings[0]
        where = site.cite(
            copy.instruction.line, "copies between two C libraries, but no compiled code", copy.instruction.end_line
        )
        return likely("no", "what crosses from one C library to the other holds no compiled code", where)
    base = site.graph.chain(site.final)[0].head.line
    says = "nothing that was built against one C library runs on another"
    if open_ends:
        return likely("no", says, site.cite(base, "no compiled code was seen to travel between C libraries"))
    return certain("no", says, site.cite(base, "all that is copied stays with one C library"))


def _walk(site: Site) -> tuple[list[_Mix], list[tuple[Copy, Native, str]], list[Copy], bool]:
    """Mixes; copies of which it cannot be told; copies that cross; whether any other copy leaves known ground."""
    mixes: list[_Mix] = []
    doubts: list[tuple[Copy, Native, str]] = []
    crossings: list[Copy] = []
    linker = Linker(site)
    open_ends = False
    for stage in site.graph.reachable:
        into = facts_of(site, stage)
        for copy in copies_of(site, stage):
            origin = _origin(site, copy)
            if _same_image(site, copy, stage):
                continue
            crosses = origin is not None and into is not None and {origin.libc, into.libc} == {Libc.GLIBC, Libc.MUSL}
            known = origin is not None and into is not None and origin.libc is not None
            same = known and origin is not None and into is not None and origin.libc is into.libc
            open_ends = open_ends or not (same or (known and origin is not None and origin.libc is Libc.NONE))
            found = linker.natives(copy)
            if crosses:
                crossings.append(copy)
            for native in found:
                why = _clash(native, origin, into)
                if why is None:
                    continue
                if into is None or into.libc is None or native.libc is None or native.guess:
                    doubts.append((copy, native, why))
                elif len(mixes) < _ENOUGH:
                    mixes.append(_Mix(copy, native, into, why))
    return mixes, doubts, crossings, open_ends


def _origin(site: Site, copy: Copy) -> ImageFacts | None:
    if isinstance(copy.source, str):
        return images.lookup(copy.source)
    return facts_of(site, copy.source) if isinstance(copy.source, Stage) else None


def _same_image(site: Site, copy: Copy, stage: Stage) -> bool:
    ref = site.graph.root_image(stage)
    return ref is not None and isinstance(copy.source, Stage) and site.graph.root_image(copy.source) == ref


def _clash(native: Native, origin: ImageFacts | None, into: ImageFacts | None) -> str | None:
    """Why ``native`` may not run in ``into``; ``None`` when nothing speaks against it."""
    if into is None or into.libc is None:
        return f"it is copied to an image whose C library is not known ({native.says})"
    if native.libc is None:
        return f"it is copied to {into.reference.written} ({into.libc}), and its own C library is not known"
    if into.libc is Libc.NONE:
        return f"{into.reference.written} has no C library"
    if native.libc is not into.libc:
        return f"{_named(into)} has {into.libc}"
    if native.kind in ("python", "node", "ruby"):
        return None
    built = images.glibc_version(origin) if origin is not None else None
    runs = images.glibc_version(into)
    if built is not None and runs is not None and built > runs:
        return f"{_named(into)} has glibc {runs[0]}.{runs[1]}, older than the {built[0]}.{built[1]} it was built with"
    return None


def _named(facts: ImageFacts) -> str:
    reference = facts.reference
    return f"{reference.written}:{reference.tag}" if reference.tag else reference.written


def _shimmed(site: Site, mix: _Mix) -> bool:
    inside = {stage.index for stage in site.graph.chain(mix.copy.stage)}
    return any(
        name in _SHIMS
        for run in site.runs
        if run.stage.index in inside
        for install in os_packages(run)
        for name in install.names
    )


def _cite(site: Site, mix: _Mix) -> Iterator[Evidence]:
    if mix.native.line != mix.copy.instruction.line:
        yield site.cite(mix.native.line, mix.native.says)
    instruction = mix.copy.instruction
    yield site.cite(instruction.line, f"carries it to where {mix.why}", instruction.end_line)


def remedy(site: Site, answer: Answer) -> Remedy | None:
    """One C library on both sides: cgo off, or one FROM on the other distribution."""
    if answer.choice != "yes":
        return None
    mixes = _walk(site)[0]
    if not mixes:
        return None
    mix = mixes[0]
    for edits, reason, says in _options(site, mix):
        try:
            if probe(site.after(edits)).choice == "no":
                return Remedy(Safety.REVIEW, tuple(edits), (reason,), says)
        except CoachError:
            continue
    built, runs = _line_of(site, mix.copy.source), _line_of(site, mix.copy.stage)
    says = f"Build (line {built}) and run (line {runs}) on one C library: {mix.native.says}, and {mix.why}."
    return Remedy(Safety.SHOW, reasons=("neither base can be swapped by a tag alone",), guidance=says)


def _line_of(site: Site, stage: object) -> int:
    return site.graph.chain(stage)[0].head.line if isinstance(stage, Stage) else site.final.head.line


def _options(site: Site, mix: _Mix) -> Iterator[tuple[list[Edit], str, str]]:
    """Edits that may settle it, best first, each with the reason to look at it and what it does."""
    native, command = mix.native, mix.native.command
    if native.kind == "go" and native.run is not None and command is not None and command.exact:
        cgo = _needs_cgo(site)
        if cgo is None and "CGO_ENABLED" not in {name for name, _ in command.assignments}:
            at = native.run.offset(command.argv[0].start)
            says = "Without cgo Go links nothing, and the program runs anywhere."
            reason = "a dependency that needs cgo would no longer build; no import of C was found in the repository"
            yield [Edit(site.path, Span(at, at), b"CGO_ENABLED=0 ")], reason, says
    source = mix.copy.source
    runtime = _base_stage(site, mix.copy.stage)
    builder = _base_stage(site, source) if isinstance(source, Stage) else None
    if builder is not None and native.libc is not None and mix.into.libc in (Libc.GLIBC, Libc.MUSL):
        swap = _swap(site, builder, images.twin(_ref(site, builder), mix.into.libc, full=True))
        if swap is not None and native.kind != "go":
            reason = f"the build must work on {mix.into.libc} too, with the packages that image brings"
            yield [swap], reason, f"Builds on {mix.into.libc}, where it will run."
    if runtime is not None and native.libc is not None:
        made = _runtime(site, runtime, mix)
        swap = _swap(site, runtime, made)
        if swap is not None:
            reason = f"the image starts from {made} instead of {_ref(site, runtime)}: check what else it runs"
            yield [swap], reason, f"Runs on {native.libc}, which it was built for."


def _runtime(site: Site, stage: Stage, mix: _Mix) -> str | None:
    """An image for the final stage that has the C library of the build."""
    assert mix.native.libc is not None
    ref = _ref(site, stage)
    made = images.twin(ref, mix.native.libc, full=False)
    if made is not None:
        return made
    if mix.native.libc is Libc.GLIBC and mix.into.role in (Role.OS, Role.STATIC):
        if not mix.into.shell:
            nonroot = ":nonroot" if "nonroot" in mix.into.reference.tag else ""
            return f"gcr.io/distroless/cc-debian13{nonroot}"
        origin = _origin(site, mix.copy)
        release = origin.release if origin is not None and images.glibc_version(origin) is not None else ""
        debian = release if release in ("bullseye", "bookworm", "trixie") else "trixie"
        return f"debian:{debian}-slim"
    if mix.native.libc is Libc.MUSL and mix.into.role is Role.OS and mix.into.shell:
        return "alpine"
    return None


def _ref(site: Site, stage: Stage) -> str:
    return site.graph.image(stage) or ""


def _base_stage(site: Site, stage: Stage) -> Stage | None:
    base = site.graph.chain(stage)[0]
    return base if site.graph.image(base) else None


def _swap(site: Site, stage: Stage, made: str | None) -> Edit | None:
    """The FROM of ``stage`` naming ``made``, unless a layer on it speaks to the other distribution."""
    if made is None or site.graph.image(stage) != stage.base:
        return None
    facts, old = images.lookup(made), images.lookup(stage.base)
    if facts is None:
        return None
    below = [one for one in site.graph.reachable if stage in site.graph.chain(one)]
    inside = {one.index for one in below}
    for run in site.runs:
        if run.stage.index not in inside:
            continue
        if not facts.shell or any(True for _ in os_packages(run)):
            return None
        names = {command.name for command in run.script.commands}
        if names & {"adduser", "addgroup", "useradd", "groupadd"}:
            return None
    if not facts.shell and old is not None and old.shell:
        return None
    head = stage.head
    at = head.value.find(stage.base)
    return Edit(site.path, Span(head.offset(at), head.offset(at + len(stage.base) - 1) + 1), made.encode())


def _needs_cgo(site: Site) -> str | None:
    """The repository file that shows that cgo is needed, if any."""
    budget = 8 * 1024 * 1024
    for path in site.context_files():
        if not path.endswith((".go", "go.mod")):
            continue
        try:
            content = site.read(path)
        except InputError:
            continue
        budget -= len(content)
        if budget < 0:
            return path
        if path.endswith("go.mod"):
            if any(name.encode() in content for name in _CGO_MODULES):
                return path
        elif b'import "C"' in content or b'\t"C"\n' in content:
            return path
    return None
