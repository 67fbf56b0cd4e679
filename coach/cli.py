"""The command line: reads arguments, opens the repository, prints, writes. What to say is decided elsewhere.

Whatever is heavy (the chart's graph, the parsers, the renderers, the prompt) is imported by the command that needs it.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from coach import __version__
from coach.errors import CoachError, InputError, UsageError

if TYPE_CHECKING:
    from coach.ask import Terminal
    from coach.memory import Memory
    from coach.model import Finding, Report
    from coach.project import Project
    from coach.render.text import Style
    from coach.session import Choose, Cumulative, Walk
    from coach.site import Site

DONE, FIX, BAD, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES = """\
exit codes:
  0    done: nothing to fix, or what was asked for has been done
  1    a FIX was found
  2    bad usage, or input that cannot be read
  3    undecided: a question is open; answer it with --answer NODE=CHOICE
  130  interrupted
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


@dataclass(frozen=True)
class Command:
    """One subcommand: how it is called, what it takes, what it does. ``notes`` stand at the end of its help."""

    name: str
    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    notes: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``coach`` with ``argv`` (by default the process's own) and give its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # A run is short and keeps most of what it makes. Collecting at Python's usual pace, and once more on the way out
    # what the end of the process frees anyway, would cost a quarter of it.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    debug = bool(os.environ.get("COACH_DEBUG"))
    if debug:
        import logging

        logging.getLogger("coach").addHandler(logging.StreamHandler())
        logging.getLogger("coach").setLevel(logging.DEBUG)
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except SystemExit as leaving:  # argparse leaves this way after --help and --version
        return leaving.code if isinstance(leaving.code, int) else DONE
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has left; nothing is wrong, and nothing more can be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except CoachError as error:
        _say(str(error))
        return BAD
    except Exception as defect:
        if debug:
            raise
        _say(f"a defect of coach ({type(defect).__name__}): COACH_DEBUG=1 shows where; please report it")
        return BAD


def _dispatch(argv: list[str]) -> int:
    names = {command.name: command for command in COMMANDS}
    if argv and argv[0] in names:
        command = names[argv[0]]
        parser = Parser(
            prog=f"coach {command.name}",
            description=command.summary,
            epilog=f"{command.notes}\n{EXIT_CODES}".lstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.arguments(parser)
        return command.run(parser.parse_args(argv[1:]))
    if argv and not argv[0].startswith("-") and "/" not in argv[0] and not Path(argv[0]).exists():
        from coach.session import did_you_mean

        raise UsageError(f"{argv[0]!r} is neither a command nor a folder{did_you_mean(argv[0], names)}")
    return _interactive(_main_parser().parse_args(argv))


def _main_parser() -> argparse.ArgumentParser:
    class Main(Parser):
        def format_help(self) -> str:
            listed = "".join(f"  {command.name:<10} {command.summary}\n" for command in COMMANDS)
            return f"{super().format_help()}\ncommands (coach COMMAND --help):\n{listed}\n{_fix_table()}\n{EXIT_CODES}"

    parser = Main(
        prog="coach",
        usage="coach [PATH] [options]\n       coach COMMAND [options]",
        description=(
            "Says why a Docker build is slow, big or leaky, proves it from your repository and hands over a patch.\n"
            "Without a command: an interactive session over the repository at PATH."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _walk_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished session")
    parser.add_argument("--restart", action="store_true", help="forget the unfinished session")
    parser.add_argument("--version", action="version", version=f"coach {__version__}")
    return parser


def _fix_table() -> str:
    """The FIX codes with the mistake each one mends, as the skill names them."""
    from coach.course import own_skill

    rows = {}
    for pattern in own_skill().anti_patterns.values():
        code = pattern.fix.split(".")[0]
        if code[:1] == "F" and code[1:].isdigit():
            rows[int(code[1:])] = f"  {code:<4} {pattern.title}\n"
    return "FIX codes (coach explain CODE):\n" + "".join(rows[number] for number in sorted(rows))


# -- arguments


def _walk_arguments(parser: argparse.ArgumentParser) -> None:
    """What narrows a walk and answers its questions."""
    parser.add_argument("path", nargs="?", default=".", metavar="PATH", help="the repository (default: here)")
    parser.add_argument("--dockerfile", metavar="P", help="look at this Dockerfile only (path in the repository)")
    parser.add_argument("--context", metavar="C", help="its build context")
    parser.add_argument("--target", metavar="T", help="the stage that is built")
    parser.add_argument(
        "--answer", action="append", default=[], metavar="NODE=CHOICE", help="answer a question, or overrule a probe"
    )
    parser.add_argument("--symptom", metavar="S", help="start where it hurts: a symptom, or a question of the chart")
    parser.add_argument("--skill", metavar="FILE", help="walk the chart of another SKILL.md")
    _terminal_arguments(parser)


def _terminal_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-input", action="store_true", help="never ask anything")
    parser.add_argument("--no-color", action="store_true", help="no colours (so does NO_COLOR=1)")


def _open(args: argparse.Namespace) -> Project:
    from coach.project import Narrow, larger_repository, open_project

    root, dockerfile = _root(args)
    project = open_project(
        root,
        narrow=Narrow(dockerfile, args.context, args.target),
        answers=args.answer,
        symptom=args.symptom,
        skill_file=args.skill,
    )
    if larger_repository(root):
        _say("only a part of a git repository is read; CI files further up stay unseen")
    return project


def _root(args: argparse.Namespace) -> tuple[Path, str | None]:
    """The repository and the Dockerfile asked for; PATH may name the Dockerfile itself."""
    given = Path(args.path)
    if not given.is_file() or args.dockerfile is not None:
        return given, args.dockerfile
    full, here = Path(os.path.realpath(given)), Path(os.path.realpath("."))
    top = here if here in full.parents else full.parent
    return top, full.relative_to(top).as_posix()


# -- talking to the terminal


def _say(words: str) -> None:
    """One message on stderr, which is for people; stdout is for results."""
    from coach.redact import visible

    sys.stderr.write(f"coach: {visible(words)}\n")
    sys.stderr.flush()


def _style(args: argparse.Namespace) -> Style:
    """How to print on stdout: no colours and no wrapping unless a terminal shows it."""
    from coach.render.text import Style

    if not sys.stdout.isatty():
        return Style()
    color = not (args.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")
    try:
        width = os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        width = 0
    return Style(width or 80, color)


def _some(paths: Sequence[str], most: int = 5) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")


# -- coach diagnose


def _diagnose_arguments(parser: argparse.ArgumentParser) -> None:
    _walk_arguments(parser)
    parser.add_argument(
        "--format", choices=("text", "json", "markdown", "sarif", "github"), default="text", help="default: text"
    )
    parser.add_argument("--json", action="store_const", dest="format", const="json", help="same as --format json")
    parser.add_argument("--exit-zero", action="store_true", help="exit 0 whatever was found")
    parser.add_argument("--log", action="append", default=[], metavar="FILE", help="a build log, as evidence")
    parser.add_argument("--replay", action="store_true", help="say how often installs reran over the history")


def _diagnose(args: argparse.Namespace) -> int:
    from coach.project import exit_code

    project = _open(args)
    if args.log or args.replay:
        from dataclasses import replace

        from coach import replay_command

        if args.log:
            project = replace(project, observe=replay_command.observing(args.log))
        if args.replay:
            project = replace(project, count=replay_command.counting(_root(args)[0]))
    report = project.report()
    sys.stdout.write(_rendered(report, args))
    return DONE if args.exit_zero else exit_code(report)


def _rendered(report: Report, args: argparse.Namespace) -> str:
    match args.format:
        case "json":
            from coach.render import json

            return json.render(report)
        case "markdown":
            from coach.render import markdown

            return markdown.render(report)
        case "sarif":
            from coach.render import sarif

            return sarif.render(report)
        case "github":
            from coach.render import github

            return github.render(report)
    from coach.render import text

    return text.render(report, _style(args))


# -- coach (interactive)


def _interactive(args: argparse.Namespace) -> int:
    if args.no_input or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _say("not asking anything here: this is what `coach diagnose` prints")
        args.format, args.exit_zero, args.log, args.replay = "text", False, [], False
        return _diagnose(args)
    from coach import ask, replay_command, session, state
    from coach.memory import Memory

    project = _open(args)
    sites = {session.key(site): site for site in project.found().sites}
    if not sites:
        _say(f"every Dockerfile is excluded by {project.config.path}")
        return DONE
    screen, memory = ask.terminal(_style(args)), Memory(Path(args.path) if Path(args.path).is_dir() else _root(args)[0])
    chart = state.digest(project.course.skill.chart_text.encode())
    saved = None if args.restart else memory.session(chart)
    if saved is not None and saved.target not in sites:
        saved = None
    try:
        if saved is not None and not args.resume:
            answers = "1 answer" if len(saved.answers) == 1 else f"{len(saved.answers)} answers"
            saved = saved if ask.yes(screen, f"Go on with the session from before ({answers})?", default=True) else None
        elif saved is None and args.resume:
            _say("no session to resume for this repository and this chart: starting anew")
        site = sites[saved.target] if saved is not None else _pick(screen, list(sites.values()))
    except EOFError:
        return UNDECIDED
    start = saved.start if saved is not None else project.start
    given = {**project.answers(site), **(dict(saved.answers) if saved is not None else {})}
    taught = project.course
    walk = session.Walk(
        site,
        taught.chart,
        taught.lessons,
        taught.skill,
        given,
        start,
        ask_symptom=start is None,
        passed=saved.passed if saved is not None else (),
    )
    walk.count = replay_command.counting(memory.root, seconds=1.0)
    fresh = project.answers(site)

    def save(walk: Walk) -> None:
        mine = [(node, said) for node, said in walk.answers.items() if fresh.get(node) != said]
        passed = tuple(sorted(walk.passed))
        memory.save_session(state.Saved(chart, session.key(walk.site), start, tuple(mine), passed))

    writer = Writer(project, memory)
    code = ask.Conversation(walk, screen, save, lambda found, on: writer.offer(walk, found, on)).run()
    if not (walk.at_question or walk.at_fix):
        memory.forget_session()
    return code


def _pick(screen: Terminal, sites: Sequence[Site]) -> Site:
    from coach import ask
    from coach.render.words import named

    if len(sites) == 1:
        return sites[0]
    return sites[ask.pick(screen, "Which one?", [named(site.path, site.context, site.target) for site in sites])]


class Writer:
    """Writes fixes during a session: asks first, keeps the journal, reopens the repository."""

    def __init__(self, project: Project, memory: Memory) -> None:
        self.project = project
        self.memory = memory
        self.written: set[str] = set()

    def offer(self, walk: Walk, found: Finding, screen: Terminal) -> bool:
        """Write one finding's patch if the user agrees, and let the walk look at the result."""
        from coach import ask, edits, repo, session

        before = session.originals(walk.site.tree, found.remedy)
        after = edits.apply_all(before, found.remedy.edits)
        names = ", ".join(sorted(after))
        dirty = repo.dirty(self.memory.root)
        foreign = [path for path in dirty or () if path not in self.written]
        question = f"Write {names}?"
        if dirty is None:
            question = f"This folder is not under git. Write {names} all the same?"
        elif foreign:
            question = f"Not committed yet: {_some(foreign)}. Write {names} all the same?"
        if not ask.yes(screen, question):
            return False
        if not self.memory.write({path: (before[path], content) for path, content in after.items()}):
            _say(f"{self.memory.folder} cannot be written: coach undo will not know of this")
        self.written |= set(after)
        tree = repo.open_tree(self.memory.root)
        again = {session.key(site): site for site in self.project.found(tree).sites}
        site = again.get(session.key(walk.site))
        if site is None:
            raise InputError("could not be read any more after the fix; coach undo takes it back", walk.site.path)
        walk.renew(site)
        return True


# -- coach fix, coach undo


def _fix_arguments(parser: argparse.ArgumentParser) -> None:
    _walk_arguments(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--diff", action="store_const", dest="mode", const="diff", help="print the patch (default)")
    mode.add_argument("--apply", action="store_const", dest="mode", const="apply", help="write it")
    mode.add_argument("--interactive", action="store_const", dest="mode", const="pick", help="choose hunk by hunk")
    parser.set_defaults(mode="diff")
    parser.add_argument(
        "--safety", choices=("safe", "review"), default="safe", help="review takes in fixes that need eyes"
    )
    parser.add_argument("--only", metavar="F2,F3", default="", help="these FIX codes only")
    parser.add_argument("--allow-dirty", action="store_true", help="write although files are not committed")
    parser.add_argument("--allow-no-vcs", action="store_true", help="write although the folder is not under git")


_FIX_NOTES = """\
The first fix is applied in memory, the repository is looked at again, then the next, until quiet.
`safe` fixes leave the image's content as it is; `--safety review` adds those that need eyes.
Exit code 1 means that fixes are left which this run could not put into the patch.
"""


def _fix(args: argparse.Namespace) -> int:
    from coach import repo
    from coach.memory import Memory
    from coach.model import Safety
    from coach.session import take_all

    project = _open(args)
    root = _root(args)[0]
    only = _codes(project, args.only)
    if args.mode != "diff":
        _check_clean(repo.dirty(root), args)
    choose = _hunks(args) if args.mode == "pick" else take_all
    result = project.fix(Safety(args.safety), only, printable=args.mode == "diff", choose=choose)
    if args.mode == "diff":
        _print_patch(result, args)
    elif result.files:
        if not Memory(root).write(result.files):
            _say("the state directory cannot be written: coach undo will not know of this")
        _say(f"written: {', '.join(result.files)} (coach undo takes it back)")
    _tell(result, args.safety)
    return DONE if result.applied else _left(result, only, project)


def _hunks(args: argparse.Namespace) -> Choose:
    from coach import ask

    if args.no_input:
        raise UsageError("--interactive and --no-input exclude each other; use --apply")
    return ask.Hunks(ask.terminal(_style(args)))


def _left(result: Cumulative, only: Sequence[str], project: Project) -> int:
    """The exit code for a run that had nothing to put into its patch."""
    from coach import flowchart

    def about(node: str) -> bool:
        chart = project.course.chart
        return not only or any(flowchart.follow(chart, node, way) in only for way in flowchart.choices(chart, node))

    dropped = bool(result.notes)
    if dropped or any(not only or found.id in only for found in (*result.held, *result.shown)):
        return FIX
    return UNDECIDED if any(about(question.node) for question in result.open_questions) else DONE


def _codes(project: Project, only: str) -> tuple[str, ...]:
    from coach import flowchart
    from coach.session import did_you_mean

    chart = project.course.chart
    known = [node for node in chart if flowchart.is_fix(chart, node)]
    found = []
    for word in filter(None, (part.strip() for part in only.split(","))):
        code = next((code for code in known if code.casefold() == word.casefold()), None)
        if code is None:
            raise UsageError(f"the chart has no FIX {word!r}{did_you_mean(word, known)}")
        found.append(code)
    return tuple(found)


def _check_clean(dirty: Sequence[str] | None, args: argparse.Namespace) -> None:
    if dirty is None and not args.allow_no_vcs:
        raise UsageError(
            "not a git work tree, so nothing could be compared or taken back; --allow-no-vcs writes anyway"
        )
    if dirty and not args.allow_dirty:
        raise UsageError(f"uncommitted changes in {_some(dirty)}; commit or stash them, or use --allow-dirty")


def _print_patch(result: Cumulative, args: argparse.Namespace) -> None:
    patch = result.patch
    if patch is None:
        # together the changes meet a line that must not be shown; one upon another they do not
        patch = "".join(applied.patch for applied in result.applied).encode("utf-8", "surrogateescape")
    if not patch:
        return
    if sys.stdout.isatty():
        from coach.render import text

        shown = patch.decode("utf-8", "replace")
        sys.stdout.write(text.made(_style(args), lambda page: text.patch(page, shown, indent=0)))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(patch)
        sys.stdout.buffer.flush()


def _tell(result: Cumulative, safety: str) -> None:
    """On stderr: what the patch holds, what was left out and why."""
    from coach.session import named

    for applied in result.applied:
        found = applied.finding
        _say(f"{found.id} ({found.remedy.safety}) {named(applied.target)}: {found.title}")
        for reason in found.remedy.reasons:
            _say(f"  look at: {reason}")
    for note in result.notes:
        _say(note)

    def in_order(found: Iterable[Finding]) -> list[str]:
        return sorted({one.id for one in found}, key=lambda code: (len(code), code))

    unseen = in_order(found for found in result.held if not found.patch)
    if unseen:
        _say(f"not printed: the patch of {', '.join(unseen)} would show a secret; --apply writes it")
    review = in_order(found for found in result.held if found.remedy.safety == "review" and found.patch)
    if review and safety == "safe":
        _say(f"held back: {', '.join(review)} need eyes; --safety review takes them in")
    by_hand = in_order(result.shown)
    if by_hand:
        _say(f"by hand: {', '.join(by_hand)} (coach explain {by_hand[0]})")
    if not (result.applied or review or by_hand or result.notes):
        _say("nothing to fix")


def _undo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", default=".", metavar="PATH", help="the repository (default: here)")


def _undo(args: argparse.Namespace) -> int:
    from coach.memory import Memory

    _say(f"restored: {', '.join(Memory(_root(argparse.Namespace(path=args.path, dockerfile=None))[0]).undo())}")
    return DONE


# -- coach explain, chart, questions, schema


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", nargs="+", metavar="TOPIC", help="FIX code, question, section, anti-pattern or gate")
    parser.add_argument("--skill", metavar="FILE", help="explain from another SKILL.md")
    _terminal_arguments(parser)


def _explain(args: argparse.Namespace) -> int:
    from coach import explain, lessons
    from coach.course import course, read_skill
    from coach.render import text

    words = " ".join(args.topic)
    if args.skill is None:
        page = explain.topic(read_skill(None), lessons.discover(), words)
    else:
        other = course(args.skill)
        page = explain.topic(other.skill, (), words, explain.fixes(other.chart))
    sys.stdout.write(text.made(_style(args), lambda out: out.markdown(page)))
    return DONE


def _chart_arguments(parser: argparse.ArgumentParser) -> None:
    _walk_arguments(parser)
    parser.set_defaults(path=None)
    parser.add_argument("--format", choices=("mermaid", "dot", "text"), default="mermaid", help="default: mermaid")


def _chart(args: argparse.Namespace) -> int:
    from coach.course import course
    from coach.render import chart

    if args.path is None:
        sys.stdout.write(chart.render(course(args.skill).chart, (), args.format))
        return DONE
    project = _open(args)
    for target in project.report().targets:
        sys.stdout.write(chart.render(project.course.chart, chart.walked(target), args.format, target))
        if args.format != "text":  # one drawing per document
            break
    return DONE


def _questions_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--skill", metavar="FILE", help="the questions of another SKILL.md")
    _terminal_arguments(parser)


def _questions(args: argparse.Namespace) -> int:
    from coach.course import course
    from coach.render import chart
    from coach.render.json import dump

    asked = chart.questions(course(args.skill).chart)
    if args.json:
        sys.stdout.write(dump({"schema_version": "1", "questions": asked}))
        return DONE
    from coach.render import text

    def write(page: text.Page) -> None:
        for one in asked:
            page.line(0, (str(one["node"]), "bold"), f"  {one['question']}")
            page.line(4, " | ".join(one["choices"]))

    sys.stdout.write(text.made(_style(args), write))
    return DONE


def _schema_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "document", nargs="?", choices=("diagnose", "gates", "verify"), default="diagnose", help="default: diagnose"
    )


def _schema(args: argparse.Namespace) -> int:
    if args.document == "gates":
        from coach.render.gates import schema
    elif args.document == "verify":
        from coach.render.verify import schema
    else:
        from coach.render.json import schema
    sys.stdout.write(schema())
    return DONE


# -- coach skill


def _skill_arguments(parser: argparse.ArgumentParser) -> None:
    from coach import skill_command

    skill_command.arguments(parser)


def _skill(args: argparse.Namespace) -> int:
    from coach import skill_command

    return skill_command.run(args, _say)


# -- coach verify, coach gates


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    from coach import verify_command

    verify_command.arguments(parser)
    parser.epilog = f"{verify_command.NOTES}\n{parser.epilog}"


def _verify(args: argparse.Namespace) -> int:
    from coach import verify_command

    return verify_command.run(args, _say, *_root(args))


def _gates_arguments(parser: argparse.ArgumentParser) -> None:
    from coach import gates_command

    gates_command.arguments(parser)
    parser.epilog = f"{gates_command.NOTES}\n{parser.epilog}"


def _gates(args: argparse.Namespace) -> int:
    from coach import gates_command

    if args.engine and args.path is None and args.engine.startswith((".", "/")):
        args.path, args.engine = args.engine, ""  # `--engine .` means the folder: no image's name begins like that
    there = argparse.Namespace(path=args.path or ".", dockerfile=args.dockerfile)
    return gates_command.run(args, _say, *_root(there), lambda: _style(args))


# -- coach replay, coach log


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    from coach import replay_command

    replay_command.arguments(parser)
    parser.epilog = f"{replay_command.NOTES}\n{parser.epilog}"


def _replay(args: argparse.Namespace) -> int:
    from coach import replay_command

    root, args.dockerfile = _root(args)
    args.style = None if args.json else _style(args)
    sys.stdout.write(replay_command.run(args, _say, root, args.dockerfile))
    return DONE


def _log_arguments(parser: argparse.ArgumentParser) -> None:
    from coach import log_command

    log_command.arguments(parser)
    parser.epilog = f"{log_command.NOTES}\n{parser.epilog}"


def _log(args: argparse.Namespace) -> int:
    from coach import log_command

    args.style = None if args.json else _style(args)
    page, code = log_command.run(args, _say)
    sys.stdout.write(page)
    return code


COMMANDS: tuple[Command, ...] = (
    Command("diagnose", "walk the chart without asking, and print the diagnosis", _diagnose_arguments, _diagnose),
    Command("fix", "print, write or pick the patch for what was found", _fix_arguments, _fix, _FIX_NOTES),
    Command("undo", "take the last written fix back", _undo_arguments, _undo),
    Command("explain", "what a FIX code, a question or a section means", _explain_arguments, _explain),
    Command("chart", "print the decision chart, with the walked path when PATH is given", _chart_arguments, _chart),
    Command("questions", "list the questions of the chart and their answers", _questions_arguments, _questions),
    Command("schema", "print the JSON Schema of diagnose, gates or verify --json", _schema_arguments, _schema),
    Command("verify", "prove the fixes on a real engine: times, image, start", _verify_arguments, _verify),
    Command("gates", "hold the repository, a build or an image to the quality gates", _gates_arguments, _gates),
    Command("replay", "what each past commit would have rebuilt, today and patched", _replay_arguments, _replay),
    Command("log", "read a build log: what it cost, what missed the cache, why", _log_arguments, _log),
    Command("skill", "install, export, locate or validate the agent skill", _skill_arguments, _skill),
)
