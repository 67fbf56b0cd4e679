"""``coach verify``: build before and after in scratch copies, measure, judge, and leave nothing behind."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from coach import engine, session, verify
from coach.engine import BuildFailedError, Recipe, Workshop
from coach.errors import UsageError
from coach.measured import Image, Start
from coach.model import Finding, Safety
from coach.project import Narrow, Project, open_project
from coach.render import verify as shown
from coach.site import Site, build_args
from coach.tree import Overlay
from coach.verify import Judgement, Proof, Scenario, State, Touches, Verdict

if TYPE_CHECKING:
    from coach.measured import Build

Say = Callable[[str], None]

PROVED, UNPROVED = 0, 1

NOTES = """\
verify builds the repository's own Dockerfile in scratch copies: before the fixes and after each one, cold, unchanged,
with a changed source file and with a changed lockfile; then it compares the images and starts a container of each.
That runs the repository's code on the engine that `docker` talks to, so it asks first; --yes answers beforehand.

It needs docker with buildx 0.13 or newer and builds for the engine's own platform. Your files, tags, layers in use and
builder configuration stay as they are; containers, images, build records and scratch copies are removed at the end.
The builder keeps cache records under a name of their own until its garbage collection takes them.

here exit code 0 means that every fix is confirmed (or that there is none), 1 that something is not.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``coach verify`` takes."""
    parser.add_argument("path", nargs="?", default=".", metavar="PATH", help="the repository (default: here)")
    parser.add_argument("--dockerfile", metavar="P", help="this Dockerfile (path in the repository)")
    parser.add_argument("--context", metavar="C", help="its build context")
    parser.add_argument("--target", metavar="T", help="the stage that is built")
    parser.add_argument("--answer", action="append", default=[], metavar="NODE=CHOICE", help="as for diagnose")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--fix", metavar="F2,F3", default="", help="these FIX codes, whatever their safety")
    what.add_argument("--all", action="store_true", help="every fix that has a patch, those that need eyes included")
    what.add_argument("--patch", metavar="FILE", help="prove this patch (a unified diff) instead of coach's own")
    parser.add_argument("--safety", choices=("safe", "review"), default=None, help="review takes in what needs eyes")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="repeat each rebuild N times (default: 1)")
    parser.add_argument("--timeout", type=float, default=900, metavar="S", help="seconds for one build (default: 900)")
    parser.add_argument(
        "--size-limit", type=int, default=1000, metavar="MB", help="largest scratch copy (default: 1000)"
    )
    build_flags(parser)
    parser.add_argument("--keep", action="store_true", help="keep the scratch copies and the images")
    parser.add_argument("--json", action="store_true", help="print the measures and verdicts as JSON")
    parser.add_argument("--no-color", action="store_true", help="no colours (so does NO_COLOR=1)")


def build_flags(parser: argparse.ArgumentParser) -> None:
    """What a build by coach may need from its user."""
    parser.add_argument("--build-arg", action="append", default=[], metavar="K=V", help="handed to the build")
    parser.add_argument("--secret", action="append", default=[], metavar="id=…,src=…", help="handed to the build")
    parser.add_argument(
        "--drop-syntax", action="store_true", help="build without the `# syntax=` line if its image cannot be fetched"
    )
    parser.add_argument("--yes", action="store_true", help="build without asking first")


def run(args: argparse.Namespace, say: Say, root: Path, dockerfile: str | None) -> int:
    """Measure and judge; ``root`` and ``dockerfile`` are what PATH names. The exit code."""
    if args.runs < 1 or args.timeout <= 0 or args.size_limit <= 0:
        raise UsageError("--runs, --timeout and --size-limit must be positive")
    say = above(say)
    project = open_project(root, narrow=Narrow(dockerfile, args.context, args.target), answers=args.answer)
    site = one_site(project)
    needs_engine()
    with Workshop(reporter(), args.timeout, keep=args.keep) as shop:
        states = _given(shop, root, project, site, args) if args.patch else _own(project, site, args)
        if len(states) < 2:
            more = "" if args.all or args.patch else "; --all takes in the fixes that need eyes"
            say(f"nothing to prove: no fix that could be written was found (coach fix --diff says what is left){more}")
            if args.json:
                sys.stdout.write(shown.json_text(site, (), (), Touches(None, None), ()))
            return PROVED
        local = sum(state.local for state in states)
        if local > 1:
            agree(args, say, f"coach verify builds {site.path} and runs its image, for {local} states of the files")
        bench = Bench(shop, root, site, say, args)
        proofs, judged = bench.prove(states)
        if args.keep:
            say(f"kept: {shop.folder} and images {shop.name}:*")
    clear()
    if args.json:
        sys.stdout.write(shown.json_text(site, proofs, judged, bench.touches, bench.notes))
    else:
        sys.stdout.write(shown.text(site, proofs, judged, bench.touches, bench.notes))
    return PROVED if all(one.verdict is Verdict.CONFIRMED for one in judged) else UNPROVED


def one_site(project: Project) -> Site:
    """The only target, or the one asked for. Raises ``UsageError`` when there is a choice."""
    sites = project.found().sites
    if len(sites) == 1:
        return sites[0]
    if not sites:
        raise UsageError("every Dockerfile is excluded by the configuration")
    names = ", ".join(dict.fromkeys(session.named(session.key(site)) for site in sites))
    raise UsageError(f"which one? name it with --dockerfile (--context, --target): {names}")


def needs_engine() -> None:
    """Raise ``EngineError`` with the one line that says why nothing can be built here."""
    why = engine.why_not()
    if why:
        raise engine.EngineError(why)


def agree(args: argparse.Namespace, say: Say, what: str) -> None:
    """Ask before the user's own build is run. Raises ``UsageError`` without a terminal or a yes."""
    if args.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{what}: agree to that with --yes (nobody can be asked here)")
    say(f"{what}.")
    if not _yes("Go on? [y/N] "):
        raise UsageError("nothing was built")


def _yes(question: str) -> bool:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def above(say: Say) -> Say:
    """``say`` that clears the line of progress first, where there is one."""

    def said(words: str) -> None:
        clear()
        say(words)

    return said


def clear() -> None:
    """Take the line of progress away, so that what follows starts on an empty one."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def reporter() -> Callable[[str], None]:
    """Progress within one build: one line that is written over on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda _: None

    def show(words: str) -> None:
        sys.stderr.write(f"\r\x1b[K  {words[:100]}")
        sys.stderr.flush()

    return show


# -- the states to build


def _own(project: Project, site: Site, args: argparse.Namespace) -> list[State]:
    """The files as they are, then after each fix that coach would write."""
    review = args.all or args.safety == "review" or (args.fix and args.safety is None)
    only = _codes(project, args.fix)
    states = [State("before", "", {}, site)]

    def take(
        _: session.Key, found: Finding, __: Mapping[str, bytes | None], after: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        changes = {**states[-1].changes, **after}
        states.append(_state(project, states, found.id, found.title, changes))
        return after

    here = replace(project, narrow=Narrow(*session.key(site)))
    here.fix(Safety.REVIEW if review else Safety.SAFE, only, choose=take)
    return states


def _state(project: Project, states: Sequence[State], label: str, title: str, changes: Mapping[str, bytes]) -> State:
    last = states[-1]
    key = session.key(states[0].site)
    there = replace(project, narrow=Narrow(*key))
    site = there.found(Overlay(project.tree, changes)).sites[0]
    changed = [path for path in changes if changes[path] != last.changes.get(path)]
    return State(label, title, changes, site, verify.shows(last.site, site, changed))


_NAMED = re.compile(rb"^(?:\+\+\+ b/|--- a/|rename (?:from|to) )([^\t\n]+)", re.M)


def _given(shop: Workshop, root: Path, project: Project, site: Site, args: argparse.Namespace) -> list[State]:
    """The files as they are, then after the patch the user gave."""
    from coach import repo

    file = Path(args.patch)
    patch = repo.read_if_there(file.parent, file.name)
    if patch is None:
        raise UsageError("no such file", args.patch)
    names = list(dict.fromkeys(name.decode("utf-8", "surrogateescape").strip('"') for name in _NAMED.findall(patch)))
    if not names:
        raise UsageError("not a unified diff with a/ and b/ prefixes", args.patch)
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            raise UsageError("a patch that leads out of the repository", name)
    changes = shop.patched(root, patch, names)
    states = [State("before", "", {}, site)]
    states.append(_state(project, states, "patch", f"the patch in {file.name}", changes))
    return states


def _codes(project: Project, words: str) -> tuple[str, ...]:
    from coach import flowchart

    known = [node for node in project.course.chart if flowchart.is_fix(project.course.chart, node)]
    found = []
    for word in filter(None, (part.strip() for part in words.split(","))):
        code = next((code for code in known if code.casefold() == word.casefold()), None)
        if code is None:
            raise UsageError(f"the chart has no FIX {word!r}{session.did_you_mean(word, known)}")
        found.append(code)
    return tuple(found)


# -- measuring


@dataclass
class Bench:
    """Builds states one after another in a workshop. ``notes`` say what a reader of the numbers has to know."""

    shop: Workshop
    root: Path
    site: Site
    say: Say
    args: argparse.Namespace
    touches: Touches = field(default_factory=lambda: Touches(None, None))
    notes: list[str] = field(default_factory=list)
    bare: bool = False  # without the `# syntax=` line
    _count: int = 0

    @property
    def recipe(self) -> Recipe:
        passed = {name: value for name, value in build_args(self.site.builds).items() if value is not None}
        for word in self.args.build_arg:
            name, equals, value = word.partition("=")
            if not equals:
                raise UsageError(f"--build-arg takes NAME=VALUE, not {name!r}")
            passed[name] = value
        return Recipe(self.site.path, self.site.context, self.site.target, passed, tuple(self.args.secret))

    def prove(self, states: Sequence[State]) -> tuple[tuple[Proof, ...], tuple[Judgement, ...]]:
        """Build every state that a local build can tell from the one before, and judge each fix by its own step."""
        local = [state for state in states if state.local]
        if len(local) == 1:
            return (), tuple(verify.judge(state.label, state.title, Proof(""), None) for state in states[1:])
        self.touches = verify.touches([state.site for state in local])
        proofs = [self.measure(local[0])]
        judged: list[Judgement] = []
        last = local[0]
        for state in states[1:]:
            if not state.local:
                judged.append(verify.judge(state.label, state.title, proofs[-1], None))
                continue
            if proofs[0].failed:
                judged.append(verify.judge(state.label, state.title, proofs[0], proofs[0]))
                continue
            proof = self.measure(state)
            judged.append(self._judge(last, state, proofs[-1], proof))
            proofs.append(proof)
            if not proof.failed:
                last = state
        return tuple(proofs), tuple(judged)

    def _judge(self, last: State, state: State, before: Proof, proof: Proof) -> Judgement:
        found: tuple[verify.Difference, ...] = ()
        noise = 0
        if before.image is not None and proof.image is not None:
            found = self._differences(last, state, before.image, proof.image)
            if found:
                self.say("the images differ: building the state before once more, to see what differs by itself")
                again = self._image(last, "control")
                if again is not None:
                    restless = {one.path for one in self._differences(last, last, before.image, again)}
                    noise = sum(one.path in restless for one in found)
                    found = tuple(one for one in found if one.path not in restless)
        given = {part.removeprefix("id=") for word in self.args.secret for part in word.split(",") if "id=" in part}
        asked = {
            mount.options.get("id", "") for run in state.site.runs for mount in run.mounts if mount.type == "secret"
        }
        return verify.judge(
            state.label,
            state.title,
            before,
            proof,
            found,
            noise=noise,
            sites=(last.site, state.site),
            lacks=sorted(asked - given),
        )

    def _differences(self, last: State, state: State, old: Image, new: Image) -> tuple[verify.Difference, ...]:
        changed = {
            path: (self._as_built(path, last.changes.get(path) or self._original(path)), self._as_built(path, content))
            for path, content in state.changes.items()
        }
        return verify.differences(old.files, new.files, verify.caches((last.site, state.site)), changed)

    def _as_built(self, path: str, content: bytes | None) -> bytes:
        content = content if content is not None else b""
        return without_syntax(content) if self.bare and path == self.site.path else content

    def _original(self, path: str) -> bytes | None:
        return self.site.tree.read(path) if self.site.has(path) else None

    def measure(self, state: State) -> Proof:
        """Every scenario of one state, its image and its start. A build that fails ends it."""
        folder = self._folder(state)
        scope = f"s{self._count}"
        builds: dict[Scenario, tuple[Build, ...]] = {}
        image: Image | None = None
        start: Start | None = None
        label = state.label if state.label == "before" else f"after {state.label}"
        try:
            first = self._cold(folder, scope, label)
            builds[Scenario.COLD] = (first,)
            builds[Scenario.UNCHANGED] = tuple(
                self._timed(label, Scenario.UNCHANGED, lambda: self._build(folder, scope))
                for _ in range(self.args.runs)
            )
            for scenario, path in ((Scenario.SOURCE, self.touches.source), (Scenario.LOCKFILE, self.touches.lockfile)):
                if path is not None:
                    builds[scenario] = self._touched(folder, scope, label, scenario, path)
            tag = self.shop.tag(scope)
            self._build(folder, scope, tag=tag)
            image = self.shop.image(tag)
            start = self.shop.start(image)
        except BuildFailedError as error:
            self.say(f"{label}: {error.says}")
            return Proof(state.label, builds, image, start, error.says, error.tail)
        finally:
            self.shop.drop(folder)
        return Proof(state.label, builds, image, start)

    def _folder(self, state: State) -> Path:
        self._count += 1
        limit = self.args.size_limit * 1_000_000
        return scratch(self.shop, f"{self._count}", self.root, (self.site, state.site), state.changes, limit, self.bare)

    def _cold(self, folder: Path, scope: str, label: str) -> Build:
        try:
            return self._timed(label, Scenario.COLD, lambda: self._build(folder, scope, cold=True))
        except BuildFailedError as error:
            line = syntax_line(self.site)
            if not error.no_frontend or line is None or self.bare:
                raise
            self._offer(line)
            self.bare = True
            full = folder / self.site.path
            self.shop.write(full, without_syntax(self.shop.read(full)))
            return self._timed(label, Scenario.COLD, lambda: self._build(folder, scope, cold=True))

    def _offer(self, line: str) -> None:
        says = f"the image of `{line}` cannot be fetched"
        if not self.args.drop_syntax:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise UsageError(f"{says}: --drop-syntax builds the scratch copies with the engine's own frontend")
            if not _yes(f"coach: {says}. Build the scratch copies without that line? [y/N] "):
                raise UsageError("nothing was measured")
        self.notes.append(f"{says}: built without that line, before and after")
        self.say(self.notes[-1])

    def _touched(self, folder: Path, scope: str, label: str, scenario: Scenario, path: str) -> tuple[Build, ...]:
        original = self.shop.read(folder / path)
        found = []
        for number in range(self.args.runs):
            content = verify.touched(path, original, f"{self.shop.name}{scope}{number}".replace("-", ""))
            assert content is not None
            self.shop.write(folder / path, content)
            found.append(self._timed(label, scenario, lambda: self._build(folder, scope)))
        self.shop.write(folder / path, original)
        return tuple(found)

    def _image(self, state: State, name: str) -> Image | None:
        """The image of a second, cold build of a state."""
        folder = self._folder(state)
        try:
            tag = self.shop.tag(f"{name}{self._count}")
            self._build(folder, f"c{self._count}", cold=True, tag=tag)
            return self.shop.image(tag)
        except BuildFailedError:
            return None
        finally:
            self.shop.drop(folder)

    def _build(self, folder: Path, scope: str, *, cold: bool = False, tag: str | None = None) -> Build:
        return self.shop.build(folder, self.recipe, scope, cold=cold, tag=tag)

    def _timed(self, label: str, scenario: Scenario, build: Callable[[], Build]) -> Build:
        done = build()
        self.say(f"{label}: {scenario} {done.seconds:.1f} s, {done.cached} of {len(done.steps)} steps cached")
        return done


def scratch(
    shop: Workshop,
    name: str,
    root: Path,
    sites: Sequence[Site],
    changes: Mapping[str, bytes],
    limit: int | None,
    bare: bool,
) -> Path:
    """A scratch copy of what the builds of ``sites`` read, with ``changes`` on top."""
    paths, wholes = verify.copied(sites)
    listed = [*paths, *wholes, *(inner for folder in wholes for inner in engine.whole(root, folder))]
    folder = shop.copy(name, root, listed, changes, limit)
    if bare:
        full = folder / sites[0].path
        shop.write(full, without_syntax(shop.read(full)))
    return folder


def syntax_line(site: Site) -> str | None:
    """The ``# syntax=`` line of a Dockerfile, if it has one."""
    if site.dockerfile.syntax is None:
        return None
    found = _SYNTAX.search(site.dockerfile.content)
    return found[0].decode("utf-8", "replace").strip() if found else None


_SYNTAX = re.compile(rb"^(?:\xef\xbb\xbf)?#[ \t]*syntax[ \t]*=[^\r\n]*(?:\r?\n)?", re.I | re.M)


def without_syntax(content: bytes) -> bytes:
    """A Dockerfile without its ``# syntax=`` line. A remark in its place would end the directives that follow it."""
    return _SYNTAX.sub(b"", content, count=1)
