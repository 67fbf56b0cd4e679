"""What is taught: a skill with its chart, and the lessons that answer the chart's questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coach import repo, skill
from coach.errors import ChartError, SkillError, UsageError
from coach.model import Kind, Source
from coach.skill import Skill

if TYPE_CHECKING:
    from coach.flowchart import Chart
    from coach.lessons import Lesson
    from coach.session import Given


@dataclass(frozen=True)
class Course:
    """A skill with its chart."""

    skill: Skill
    chart: Chart

    @property
    def lessons(self) -> tuple[Lesson, ...]:
        """The lessons there are, imported when a walk begins."""
        from coach.lessons import discover

        return discover()


def shipped_folder() -> Path:
    """Where the shipped skill lies: inside the package, or beside it in a checkout. Raises ``SkillError``."""
    package = Path(__file__).parent
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
    file = shipped_folder() / "SKILL.md"
    return skill.load_shipped(_text(str(file), repo.read_if_there(file.parent, file.name) or b""), str(file))


def read_skill(file: str | None) -> Skill:
    """The SKILL.md at ``file`` (or in that folder), the shipped one for ``None``. Raises ``CoachError``."""
    if file is None:
        return own_skill()
    path = Path(file) / "SKILL.md" if Path(file).is_dir() else Path(file)
    content = repo.read_if_there(path.parent, path.name)
    if content is None:
        raise UsageError("no such file", file)
    return skill.load(_text(file, content), file)


def _text(file: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise SkillError("not UTF-8", file) from None


def course(file: str | None = None) -> Course:
    """The skill at ``file`` made ready to be walked. Raises ``ChartError`` with the line in the SKILL.md."""
    from coach.flowchart import load_chart

    found = read_skill(file)
    try:
        chart = load_chart(found.chart_text)
    except ChartError as error:
        raise ChartError(error.says, found.path, found.chart_line + max(error.line, 1) - 1) from None
    return Course(found, chart)


def flags(taught: Course, words: Sequence[str]) -> dict[str, Given]:
    """``NODE=CHOICE`` words as answers. Raises ``UsageError`` for what the chart does not know."""
    from coach import session

    found = {}
    for word in words:
        node, equals, choice = word.partition("=")
        if not equals:
            raise UsageError(f"--answer takes NODE=CHOICE, not {word!r}")
        found[node] = session.Given(session.check_answer(taught.chart, node, choice), Source.FLAG)
    return found
