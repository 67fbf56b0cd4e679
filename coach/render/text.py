"""What people read: a report, a question, a FIX, a page of the skill, laid out with rich.

Everything that comes from a file is put into rich ``Text``, never into markup, with control characters written out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from coach.model import Certainty, Diagnosis, Evidence, Finding, Question, Report, Safety, Source, Status, Step
from coach.redact import visible
from coach.render.words import place, target_name
from coach.skill import AntiPattern

MAX_PATCH_LINES = 200

_SAFETY = {
    Safety.SAFE: ("safe", "green", "same image content; only order, mounts or CI caching change"),
    Safety.REVIEW: ("review", "yellow", "look at these before you take it"),
    Safety.SHOW: ("show", "cyan", "guidance, nothing is written"),
}
_WHO = {Source.PROBE: "", Source.USER: "you", Source.FLAG: "--answer", Source.CONFIG: "configuration"}


@dataclass(frozen=True, slots=True)
class Style:
    """How wide and how colourful. ``width`` ``None`` never wraps, which is right for pipes and files."""

    width: int | None = None
    color: bool = False


class Page:
    """Lines gathered for one screen; each call adds one, wrapped under its own indent."""

    def __init__(self, style: Style) -> None:
        self.style = style
        self._out = io.StringIO()
        self._console = Console(
            file=self._out,
            width=max(style.width or 100_000, 20),
            force_terminal=style.color,
            no_color=not style.color,
            color_system="standard" if style.color else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    @property
    def narrow(self) -> bool:
        """Whether every column counts."""
        return self.style.width is not None and self.style.width < 60

    def line(self, indent: int, *parts: str | tuple[str, str]) -> None:
        """One paragraph from plain strings and ``(string, style)`` pairs."""
        text = Text(no_wrap=False)
        for part in parts:
            words, style = part if isinstance(part, tuple) else (part, "")
            text.append(visible(words), style)
        if not text.plain.strip():
            self.gap()
            return
        # a narrow terminal needs its columns for words more than for depth
        indent = min(indent, 2) if self.narrow else indent
        if self.style.width is None:
            wrapped: Iterable[Text] = text.split("\n")
        else:
            wrapped = text.wrap(self._console, max(self.style.width - indent, 16))
        for piece in wrapped:
            piece.rstrip()
            self._console.print(Text(" " * indent).append_text(piece), soft_wrap=True)

    def raw(self, indent: int, text: str, style: str = "") -> None:
        """One line that is never wrapped or cut, such as a line of a patch."""
        self._console.print(Text(" " * indent).append(visible(text), style), soft_wrap=True)

    def gap(self) -> None:
        """An empty line."""
        self._console.print()

    def markdown(self, source: str) -> None:
        """A piece of the skill, or guidance."""
        if self.style.width is None:
            for row in source.strip("\n").split("\n"):
                self.raw(0, row)
            return
        theme = "ansi_dark" if self.style.color else "bw"
        with self._console.capture() as printed:
            self._console.print(Markdown(visible(source), code_theme=theme, hyperlinks=False))
        self._out.write(printed.get().strip("\n") + "\n")

    def done(self) -> str:
        """Everything so far, without trailing blanks."""
        return "\n".join(row.rstrip() for row in self._out.getvalue().split("\n"))


def evidence(page: Page, indent: int, cited: Iterable[Evidence]) -> None:
    """Each place with what stands there and what that shows."""
    for one in cited:
        page.line(indent, (place(one), "bold"), "  ", (one.text, "cyan"))
        if one.says:
            page.line(indent + 4, one.says)


def patch(page: Page, text: str, indent: int = 2, most: int | None = None) -> None:
    """A unified diff in the colours people know."""
    rows = text.removesuffix("\n").split("\n")
    for row in rows[:most]:
        style = (
            "bold"
            if row.startswith(("diff --git", "--- ", "+++ ", "new file"))
            else "cyan"
            if row.startswith("@@")
            else "green"
            if row.startswith("+")
            else "red"
            if row.startswith("-")
            else ""
        )
        page.raw(indent, row, style)
    if most is not None and len(rows) > most:
        page.line(indent, (f"… {len(rows) - most} more lines: coach fix --diff", "dim"))


def _aside(step: Step) -> str:
    said = []
    if step.certainty is Certainty.LIKELY and not step.assumed:
        said.append("likely")
    if step.assumed:
        said.append("assumed")
    if _WHO[step.source] and not step.assumed:
        said.append(_WHO[step.source])
    if step.overridden:
        said.append(f"overrides the probe's {step.overridden}")
    return f" ({', '.join(said)})" if said else ""


def trail(page: Page, steps: Iterable[Step]) -> None:
    """Every decision on one line, with the first place that proves it."""
    taken = list(steps)
    widest = max((len(step.node) for step in taken), default=0) if not page.narrow else 0
    for step in taken:
        proof = f"  {place(step.evidence[0])}" if step.evidence else ""
        why = f"  {step.reason}" if step.reason else ""
        page.line(2, (f"{step.node:<{widest}} ", "bold"), f"{step.choice}{_aside(step)}", (proof, "cyan"), (why, "dim"))


def finding(page: Page, found: Finding, pattern: AntiPattern | None = None, *, most: int | None = None) -> None:
    """The FIX with its proof and its patch; ``pattern`` spells its anti-pattern out."""
    word, colour, meaning = _SAFETY[found.remedy.safety]
    page.line(0, (f"FIX {found.id}  ", "bold yellow"), (found.title, "bold"))
    page.line(2, "safety: ", (word, colour), f" ({meaning})")
    for reason in found.remedy.reasons:
        page.line(4, f"- {reason}")
    if found.reason:
        sure = "" if found.certainty is Certainty.CERTAIN else "likely: "
        page.line(2, f"why: {sure}{found.reason}")
    evidence(page, 4, found.evidence)
    for one in found.replay:
        page.line(2, ("history: ", "bold"), one.says)
    if found.section:
        # a FIX of another skill has its section as guidance, and no page of ours
        hint = f"  (coach explain {found.id})" if found.anti_pattern else ""
        page.line(2, f"section: {found.section}{hint}")
        for line in found.explanation.splitlines():
            page.line(4, line)
    if found.anti_pattern:
        page.line(2, f"anti-pattern: {found.anti_pattern}")
    if pattern is not None:
        for name, words in (("symptom", pattern.symptom), ("diagnosis", pattern.diagnosis), ("fix", pattern.fix)):
            page.line(4, (f"{name}: ", "bold"), words)
    if found.remedy.guidance:
        page.gap()
        page.markdown(found.remedy.guidance)
    if found.patch:
        page.gap()
        patch(page, found.patch, most=most)


def question(page: Page, asked: Question) -> None:
    """An open question and how to close it."""
    page.line(2, (asked.node, "bold"), f"  {asked.question}")
    if asked.reason:
        page.line(4, f"unknown: {asked.reason}")
    if asked.how_to_find_out:
        page.line(4, f"find out: {asked.how_to_find_out}")
    page.line(4, f"answer: --answer {asked.node}={'|'.join(asked.choices)}")


def render(report: Report, style: Style = Style()) -> str:
    """The whole report; the most important line comes last."""
    page = Page(style)
    for diagnosis in report.targets:
        _target(page, diagnosis)
        page.gap()
    if report.skipped:
        page.line(0, ("Passed over", "bold"))
        for skipped in report.skipped:
            where = f"{skipped.path}:{skipped.line}" if skipped.line else skipped.path
            page.line(2, f"{where}  {skipped.reason}")
        page.gap()
    for note in report.notes:
        page.line(0, f"note: {note}")
    _closing(page, report)
    return page.done()


def _target(page: Page, diagnosis: Diagnosis) -> None:
    page.line(0, (target_name(diagnosis), "bold underline"))
    for build in diagnosis.built_by:
        job = f" ({build.job})" if build.job else ""
        page.line(2, (f"built by {build.system} {build.path}:{build.line}{job}", "dim"))
    trail(page, diagnosis.trail)
    if diagnosis.status is Status.UNDECIDED and diagnosis.pending is not None:
        page.gap()
        page.line(0, ("Undecided", "bold yellow"))
        question(page, diagnosis.pending)
    if diagnosis.fix is not None:
        page.gap()
        finding(page, diagnosis.fix, most=MAX_PATCH_LINES)
    if diagnosis.further:
        page.gap()
        page.line(0, ("Further", "bold"))
        for found in diagnosis.further:
            word, colour, _ = _SAFETY[found.remedy.safety]
            proof = f"  {place(found.evidence[0])}" if found.evidence else ""
            page.line(2, (f"{found.id} ", "bold"), (word, colour), f"  {found.title}", (proof, "cyan"))
            if found.reason:
                page.line(6, (found.reason, "dim"))
    later = [asked for asked in diagnosis.open_questions if asked != diagnosis.pending]
    if later:
        page.gap()
        page.line(0, ("Open questions", "bold"))
        for asked in later:
            question(page, asked)
    if diagnosis.status is Status.DONE:
        page.line(2, ("done: nothing to fix on this walk", "green"))


def _closing(page: Page, report: Report) -> None:
    """What to do next, on the last line."""
    count = {status: sum(target.status is status for target in report.targets) for status in Status}
    if len(report.targets) > 1:
        page.line(
            0,
            f"{len(report.targets)} targets: {count[Status.FIX]} with a FIX, "
            f"{count[Status.UNDECIDED]} undecided, {count[Status.DONE]} done",
        )
    findings = list(report.findings())
    if any(found.remedy.safety is Safety.SAFE for found in findings):
        page.line(0, "next: coach fix --diff")
    elif any(found.remedy.safety is Safety.REVIEW for found in findings):
        page.line(0, "next: coach fix --diff --safety review")
    elif findings and findings[0].anti_pattern:
        page.line(0, f"next: coach explain {findings[0].id}")
    elif findings:
        page.line(0, f"next: {findings[0].title}")
    elif count[Status.UNDECIDED]:
        first = next(target.pending for target in report.targets if target.pending is not None)
        page.line(0, f"next: coach diagnose --answer {first.node}={'|'.join(first.choices)}")
    elif report.targets:
        page.line(0, ("nothing to fix", "green"))


def made(style: Style, write: Callable[[Page], None]) -> str:
    """What ``write`` puts on a fresh page."""
    page = Page(style)
    write(page)
    return page.done()
