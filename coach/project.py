"""A repository opened for a walk: its tree, its configuration, and every answer that was given beforehand."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from coach import config, repo, session, targets
from coach.config import Config
from coach.course import Course, course, flags
from coach.model import Answer, Finding, Report, Safety, Skipped, Source, Status, Tree
from coach.session import Choose, Cumulative, Given
from coach.site import Site
from coach.targets import Targets


@dataclass(frozen=True)
class Narrow:
    """What was asked for: one Dockerfile, its context, the stage to build. ``None`` leaves it to the repository."""

    dockerfile: str | None = None
    context: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class Project:
    """A tree with the course to walk over it. ``start`` is the node to begin at, ``None`` the chart's own entry.

    ``observe`` is what was seen of real builds of a target, ``count`` adds to a finding what the history says.
    """

    tree: Tree
    course: Course
    config: Config = field(default_factory=Config)
    flags: Mapping[str, Given] = field(default_factory=dict)
    start: str | None = None
    narrow: Narrow = Narrow()
    observe: Callable[[Site], Mapping[str, Answer]] = lambda _: {}
    count: Callable[[Site, Finding], Finding] = lambda _, found: found

    def over(self, tree: Tree) -> Project:
        """The same project over another state of its files."""
        return replace(self, tree=tree)

    def found(self, tree: Tree | None = None) -> Targets:
        """The targets of ``tree`` (its own by default) that the arguments and the configuration leave."""
        found = targets.discover(
            self.tree if tree is None else tree, self.narrow.dockerfile, self.narrow.context, self.narrow.target
        )
        if self.narrow.dockerfile is not None:
            return found
        kept, skipped = [], dict.fromkeys(found.skipped)
        for site in found.sites:
            pattern = self.config.excludes(site.path)
            if pattern is None:
                kept.append(site)
            else:
                where = f"{self.config.path}:{self.config.lines.get(pattern, 0)}"
                skipped[Skipped(site.path, 0, f"excluded by {where}")] = None
        return Targets(tuple(kept), tuple(skipped), found.notes)

    def answers(self, site: Site) -> dict[str, Given]:
        """Answers from the configuration, overruled by those of the command line."""
        said = self.config.answers_for(site.path)
        return {**{node: Given(choice, Source.CONFIG) for node, choice in said.items()}, **self.flags}

    def report(self) -> Report:
        """The diagnosis of every target."""
        found, taught = self.found(), self.course
        diagnoses = []
        for site in found.sites:
            site.observed = self.observe(site)
            made = session.diagnose(site, taught.chart, taught.lessons, taught.skill, self.answers(site), self.start)
            fix = self.count(site, made.fix) if made.fix is not None else None
            further = tuple(self.count(site, one) for one in made.further)
            diagnoses.append(replace(made, fix=fix, further=further))
        return Report(tuple(diagnoses), found.skipped, found.notes)

    def fix(
        self,
        safety: Safety = Safety.SAFE,
        only: Sequence[str] = (),
        printable: bool = False,
        choose: Choose = session.take_all,
    ) -> Cumulative:
        """All fixes that ``safety`` and ``only`` allow, one upon another; nothing is written."""
        return session.cumulative_fix(
            self.tree,
            lambda tree: self.found(tree).sites,
            self.course.chart,
            self.course.lessons,
            self.course.skill,
            self.answers,
            safety=safety,
            only=only,
            start=self.start,
            printable=printable,
            choose=choose,
        )


def open_project(
    root: Path,
    *,
    narrow: Narrow = Narrow(),
    answers: Sequence[str] = (),
    symptom: str | None = None,
    skill_file: str | None = None,
) -> Project:
    """The repository at ``root`` with its configuration. Raises ``CoachError`` for whatever does not fit."""
    taught = course(skill_file)
    tree = repo.open_tree(root)
    settings = Config()
    if skill_file is None:  # the configuration speaks of the shipped chart's questions
        settings = config.load(tree, lambda node, choice: session.check_answer(taught.chart, node, choice))
    start = session.check_symptom(taught.chart, symptom) if symptom else None
    return Project(tree, taught, settings, flags(taught, answers), start, narrow)


def larger_repository(root: Path) -> bool:
    """Whether ``root`` is only a part of a git repository, whose CI files then stay unseen."""
    full = Path(os.path.realpath(root))
    return not (full / ".git").exists() and any((above / ".git").exists() for above in full.parents)


def exit_code(report: Report) -> int:
    """0 when every walk is done, 1 when one found a FIX, else 3."""
    statuses = {target.status for target in report.targets}
    return 1 if Status.FIX in statuses else 3 if Status.UNDECIDED in statuses else 0
