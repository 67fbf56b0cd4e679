"""``coach gates``: hold a repository, and an image or a build of it, to the quality gates."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from coach import gates, repo, session, verify
from coach.engine import BuildFailedError, Recipe, Workshop
from coach.errors import CoachError, UsageError
from coach.gates import Look, Measured, Result, Status
from coach.measured import Image
from coach.model import Answer, certain, unknown
from coach.project import Narrow, Project, open_project
from coach.render import gates as shown
from coach.site import Site, build_args
from coach.verify_command import (
    Say,
    above,
    agree,
    build_flags,
    clear,
    needs_engine,
    one_site,
    reporter,
    scratch,
    syntax_line,
    without_syntax,
)

if TYPE_CHECKING:
    from coach.render.text import Style

PASSED, FAILED, OPEN = 0, 1, 3
_BUILD = ""  # what --engine means without an image

NOTES = """\
Without --engine the gates are judged by the files alone; what only a build shows is then unknown. --engine IMAGE reads
an existing image and builds nothing. --engine alone builds the Dockerfile in a scratch copy (cold, unchanged, with a
changed lockfile), which runs the repository's code, so it asks first unless --yes is given.
A verdict marked likely is what an expert would bet on; --answer NODE=CHOICE overrules the probe behind a gate.

here exit code 0 means that every gate passes or does not apply, 1 that one fails, 3 that none fails but something is
unknown (0 with --allow-unknown).
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``coach gates`` takes."""
    parser.add_argument("path", nargs="?", default=None, metavar="PATH", help="the repository (default: here)")
    parser.add_argument("--dockerfile", metavar="P", help="this Dockerfile (path in the repository)")
    parser.add_argument("--context", metavar="C", help="its build context")
    parser.add_argument("--target", metavar="T", help="the stage that is built")
    parser.add_argument("--answer", action="append", default=[], metavar="NODE=CHOICE", help="as for diagnose")
    parser.add_argument("--engine", nargs="?", const=_BUILD, metavar="IMAGE", help="inspect IMAGE; without it, build")
    parser.add_argument("--gate", action="append", default=[], metavar="ID", help="this gate only; may be repeated")
    parser.add_argument("--skip", action="append", default=[], metavar="ID", help="not this gate; may be repeated")
    parser.add_argument("--allow-unknown", action="store_true", help="exit 0 although something is unknown")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="as JSON")
    form.add_argument("--markdown", dest="form", action="store_const", const="markdown", help="as a Markdown table")
    parser.add_argument("--junit", metavar="FILE", help="write a JUnit XML report too")
    parser.add_argument("--timeout", type=float, default=900, metavar="S", help="seconds for one build (default: 900)")
    parser.add_argument(
        "--size-limit", type=int, default=1000, metavar="MB", help="largest scratch copy (default: 1000)"
    )
    build_flags(parser)
    parser.add_argument("--no-color", action="store_true", help="no colours (so does NO_COLOR=1)")


def run(args: argparse.Namespace, say: Say, root: Path, dockerfile: str | None, style: Callable[[], Style]) -> int:
    """Check, print, and give the exit code."""
    for word in (*args.gate, *args.skip):
        if word not in known():
            raise UsageError(f"there is no gate {word!r}{session.did_you_mean(word, known())}")
    say = above(say)
    project, sites = _opened(root, dockerfile, args)
    checked: list[tuple[Site | None, Sequence[Result]]]
    image = ""
    if args.engine is None:
        assert project is not None
        checked = [(site, _checked(project, site, Measured(), args)) for site in sites]
    else:
        needs_engine()
        site = one_site(project) if project is not None else None
        if args.engine == _BUILD:
            assert project is not None
            assert site is not None
            measured = _built(site, root, say, args)
        else:
            image = args.engine
            with Workshop(reporter(), args.timeout) as shop:
                measured = Measured(image=_inspected(shop, image))
        checked = [(site, _checked(project, site, measured, args))]
    clear()
    _print(checked, image, args, style)
    statuses = {one.status for _, results in checked for one in results}
    if Status.FAIL in statuses:
        return FAILED
    return OPEN if Status.UNKNOWN in statuses and not args.allow_unknown else PASSED


def known() -> tuple[str, ...]:
    """The ids of all gates."""
    return tuple(gate.id for gate in gates.GATES)


def _opened(root: Path, dockerfile: str | None, args: argparse.Namespace) -> tuple[Project | None, Sequence[Site]]:
    """The repository and its targets; neither where an image is looked at in a folder that has no Dockerfile."""
    try:
        project = open_project(root, narrow=Narrow(dockerfile, args.context, args.target), answers=args.answer)
        sites = project.found().sites
    except CoachError:
        if args.engine and args.path is None and dockerfile is None:
            return None, ()
        raise
    if not sites:
        raise UsageError("every Dockerfile is excluded by the configuration")
    return project, sites


def _checked(
    project: Project | None, site: Site | None, measured: Measured, args: argparse.Namespace
) -> tuple[Result, ...]:
    def nothing(node: str) -> Answer:
        return unknown(f"nothing answers {node} without a Dockerfile", "")

    answer = nothing if project is None or site is None else answers(project, site)
    return gates.check(Look(site, answer, measured), args.gate, args.skip)


def answers(project: Project, site: Site) -> Callable[[str], Answer]:
    """What is known of each decision: an answer given beforehand, else the probe's."""
    taught = project.course
    given: Mapping[str, session.Given] = project.answers(site)
    walk = session.Walk(site, taught.chart, taught.lessons, taught.skill, given)

    def answer(node: str) -> Answer:
        if node in given:
            return certain(given[node].choice, f"{given[node].choice}, says the {given[node].source}")
        return walk.probe(node) or unknown(f"no probe answers {node}", f"--answer {node}=…")

    return answer


def _inspected(shop: Workshop, name: str) -> Image:
    return replace(shop.image(name), platforms=shop.platforms(name))


def _built(site: Site, root: Path, say: Say, args: argparse.Namespace) -> Measured:
    """Cold, unchanged and with a changed lockfile, in a scratch copy that is gone afterwards."""
    agree(args, say, f"coach gates --engine builds {site.path}")
    passed = {name: value for name, value in build_args(site.builds).items() if value is not None}
    passed |= dict(word.split("=", 1) for word in args.build_arg if "=" in word)
    recipe = Recipe(site.path, site.context, site.target, passed, tuple(args.secret))
    lockfile = verify.touches([site]).lockfile
    with Workshop(reporter(), args.timeout) as shop:
        folder = scratch(shop, "gates", root, (site,), {}, args.size_limit * 1_000_000, bare=False)
        try:
            try:
                cold = shop.build(folder, recipe, "g", cold=True)
            except BuildFailedError as error:
                line = syntax_line(site)
                if not error.no_frontend or line is None:
                    raise
                if not args.drop_syntax:
                    raise UsageError(
                        f"the image of `{line}` cannot be fetched: --drop-syntax builds without that line"
                    ) from None
                say(f"the image of `{line}` cannot be fetched: built without that line")
                full = folder / site.path
                shop.write(full, without_syntax(shop.read(full)))
                cold = shop.build(folder, recipe, "g", cold=True)
            say(f"cold build: {cold.seconds:.1f} s")
            unchanged = shop.build(folder, recipe, "g")
            say(f"unchanged: {unchanged.seconds:.1f} s")
            tag = shop.tag("gates")
            shop.build(folder, recipe, "g", tag=tag)
            image = shop.image(tag)
            changed = None
            if lockfile is not None:
                content = verify.touched(lockfile, shop.read(folder / lockfile), shop.name.replace("-", ""))
                assert content is not None
                shop.write(folder / lockfile, content)
                changed = shop.build(folder, recipe, "g")
                say(f"lockfile change: {changed.seconds:.1f} s")
        except BuildFailedError as error:
            for line in error.tail:
                say(f"| {line}")
            return Measured(failed=error.says)
    return Measured(image, cold, unchanged, changed, lockfile or "")


def _print(
    checked: Sequence[tuple[Site | None, Sequence[Result]]],
    image: str,
    args: argparse.Namespace,
    style: Callable[[], Style],
) -> None:
    if args.junit is not None:
        target = Path(args.junit)
        try:
            repo.write_files(target.parent, {target.name: shown.junit(checked, image).encode()})
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}", args.junit) from None
    if args.form == "json":
        sys.stdout.write(shown.json_text(checked, image))
    elif args.form == "markdown":
        sys.stdout.write(shown.markdown(checked, image))
    else:
        sys.stdout.write(shown.plain(checked, image, style()))
