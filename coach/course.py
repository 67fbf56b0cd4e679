"""What is taught: a skill with its chart, and the lessons that answer the chart's questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from coach import lessons, repo, session, skill
from coach.errors import ChartError, SkillError, UsageError
from coach.flowchart import load_chart
from coach.lessons import Lesson
from coach.model import Kind, Source
from coach.session import Given
from coach.skill import Skill

if TYPE_CHECKING:
    from coach.flowchart import Chart


@dataclass(frozen=True)
class Course:
    """A skill with its chart and the lessons there are."""

    skill: Skill
    chart: Chart
    lessons: tuple[Lesson, ...]


def shipped_folder() -> Path:
    """Where the shipped skill lies: inside the package, or beside it in a checkout. Raises ``SkillError``."""
    package = Path(str(resources.files("coach")))
    for folder in (package / "_skill", package.parent / "skill"):
        if (folder / "SKILL.md").is_file():
            return folder
    raise SkillError("the skill that belongs to coach is missing: the installation is broken")


def shipped_files() -> dict[str, bytes]:
    """Every file of the shipped skill by its path in the skill."""
    tree = repo.open_tree(shipped_folder())
    return {path: tree.read(path) for path, entry in tree.entries().items() if entry.kind is Kind.FILE}


def own_skill() -> Skill:
    """The skill that is shipped with coach."""
    return read_skill(str(shipped_folder()))


def read_skill(file: str | None) -> Skill:
    """The SKILL.md at ``file`` (or in that folder), the shipped one for ``None``. Raises ``CoachError``."""
    if file is None:
        return own_skill()
    path = Path(file) / "SKILL.md" if Path(file).is_dir() else Path(file)
    content = repo.read_if_there(path.parent, path.name)
    if content is None:
        raise UsageError("no such file", file)
    try:
        return skill.load(content.decode("utf-8"), file)
    except UnicodeDecodeError:
        raise SkillError("not UTF-8", file) from None


def course(file: str | None = None) -> Course:
    """The skill at ``file`` made ready to be walked. Raises ``ChartError`` with the line in the SKILL.md."""
    found = read_skill(file)
    try:
        chart = load_chart(found.chart_text)
    except ChartError as error:
        raise ChartError(error.says, found.path, found.chart_line + max(error.line, 1) - 1) from None
    return Course(found, chart, tuple(lessons.discover()))


def flags(taught: Course, words: Sequence[str]) -> dict[str, Given]:
    """``NODE=CHOICE`` words as answers. Raises ``UsageError`` for what the chart does not know."""
    found = {}
    for word in words:
        node, equals, choice = word.partition("=")
        if not equals:
            raise UsageError(f"--answer takes NODE=CHOICE, not {word!r}")
        found[node] = Given(session.check_answer(taught.chart, node, choice), Source.FLAG)
    return found
