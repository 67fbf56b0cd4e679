"""``coach skill``: put the shipped skill where agents find it, say where it is, or judge any skill."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from coach import repo, skill_install
from coach.course import own_skill, shipped_files, shipped_folder
from coach.errors import ChartError, UsageError
from coach.skill_install import Plan, Scope

Say = Callable[[str], None]


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``coach skill`` takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="install|export|path|validate")
    install = actions.add_parser("install", help="install the skill for agents", allow_abbrev=False)
    install.add_argument(
        "--agent",
        action="append",
        default=[],
        choices=[*skill_install.DIRECTORIES, "all"],
        help="for this agent (default: .agents/skills, and .claude/skills where .claude is there)",
    )
    scope = install.add_mutually_exclusive_group()
    scope.add_argument("--user", action="store_const", dest="scope", const=Scope.USER, help="under the home directory")
    scope.add_argument("--project", action="store_const", dest="scope", const=Scope.PROJECT, help="here (default)")
    install.set_defaults(scope=Scope.PROJECT)
    install.add_argument("--dest", metavar="DIR", help="into DIR/<name> instead")
    export = actions.add_parser("export", help="write the skill to DIR/<name>, to be published", allow_abbrev=False)
    export.add_argument("dest", metavar="DIR")
    for writer in (install, export):
        writer.add_argument("--dry-run", action="store_true", help="only say what would be written")
        writer.add_argument("--force", action="store_true", help="overwrite files that were edited")
    actions.add_parser("path", help="print where the shipped skill lies", allow_abbrev=False)
    validate = actions.add_parser("validate", help="check a skill, and the chart in it", allow_abbrev=False)
    validate.add_argument("skill", nargs="?", metavar="SKILL", help="a SKILL.md or its folder (default: the shipped)")


def run(args: argparse.Namespace, say: Say) -> int:
    """Do what ``arguments`` read; the exit code. Raises ``CoachError``."""
    match args.action:
        case "path":
            sys.stdout.write(f"{shipped_folder()}\n")
            return 0
        case "validate":
            return _validate(args.skill, say)
        case "export":
            plan = skill_install.plan_export(shipped_files(), _existing, args.dest, args.force)
        case _:
            plan = skill_install.plan_install(
                shipped_files(),
                _existing,
                args.agent,
                args.scope,
                args.dest,
                args.force,
                lambda path: _at(path).exists(),
            )
    return _carry_out(plan, args.dry_run, say)


def _at(path: str) -> Path:
    """A path as plans spell it, on disk."""
    return Path.home() / path[2:] if path.startswith("~/") else Path(path)


def _existing(path: str) -> bytes | None:
    full = _at(path)
    return repo.read_if_there(full.parent, full.name) if full.parent.is_dir() else None


def _carry_out(plan: Plan, dry: bool, say: Say) -> int:
    for note in plan.notes:
        say(note)
    for refused in plan.refused:
        say(f"{refused.path}: {refused.reason}")
    changes: list[tuple[str, bytes | None]] = [(write.path, write.content) for write in plan.writes]
    changes += [(path, None) for path in plan.deletes]
    for path, content in changes:
        if not dry:
            full = _at(path)
            repo.write_files(full.parent, {full.name: content})
        verb = "delete" if content is None else "write"
        sys.stdout.write(f"{'would ' if dry else ''}{verb} {path}\n")
    return 2 if plan.refused else 0


def _folder(path: Path) -> Mapping[str, bytes]:
    tree = repo.open_tree(path)
    return {name: tree.read(name) for name, entry in tree.entries().items() if entry.kind == "file"}


def _lint(text: str) -> Iterable[tuple[int, str]]:
    from coach import flowchart

    try:
        chart = flowchart.load_chart(text)
    except ChartError as error:
        return [(error.line, error.says)]
    return [(problem.line, problem.says) for problem in flowchart.lint(chart)]


def _validate(skill: str | None, say: Say) -> int:
    """Findings on stdout, one a line; 0 for a valid skill, 1 for one with errors."""
    files: Mapping[str, bytes]
    if skill is None:
        files = shipped_files()
        # the shipped folder is installed under the skill's own name, whatever it is called here
        name = own_skill().name
    else:
        path = Path(skill)
        folder = path if path.is_dir() else path.parent
        if not path.exists():
            raise UsageError("no such skill", skill)
        files, name = _folder(folder), folder.resolve().name
    problems = skill_install.validate(name, files, _lint)
    for problem in problems:
        place = f"{problem.path}:{problem.line}" if problem.line else problem.path
        sys.stdout.write(f"{place}: {'error' if problem.error else 'advice'}: {problem.says}\n")
    errors = sum(problem.error for problem in problems)
    say(f"{name}: {f'{errors} errors' if errors else 'valid'}")
    return 1 if errors else 0
