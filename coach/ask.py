"""The conversation: one question at a time, with the proof, and every answer saved.

``Plain`` and ``Full`` terminals differ only in how a line is read; prompt_toolkit is imported by the second alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from coach import redact
from coach.hunks import Hunk, join, split
from coach.model import Answer, Certainty, Finding, Safety, Source
from coach.render import text
from coach.render.words import named
from coach.session import NOT_SURE, Key, StopFixing, Walk, match


class Terminal(Protocol):
    """What the conversation needs: something to print on, and lines typed by a person."""

    @property
    def style(self) -> text.Style: ...

    def show(self, words: str) -> None:
        """Print ``words`` as they are."""
        ...

    def ask(self, prompt: str, words: Sequence[str] = ()) -> str:
        """One line from the user; ``words`` may be completed. Raises ``EOFError`` and ``KeyboardInterrupt``."""
        ...


class Plain:
    """Reads with ``input``; for dumb terminals and pipes."""

    def __init__(self, style: text.Style) -> None:
        self.style = style

    def show(self, words: str) -> None:
        sys.stdout.write(words)
        sys.stdout.flush()

    def ask(self, prompt: str, words: Sequence[str] = ()) -> str:  # noqa: ARG002 - nothing completes here
        self.show(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.strip()


class Full(Plain):
    """Reads with prompt_toolkit: line editing, completion on Tab."""

    def ask(self, prompt: str, words: Sequence[str] = ()) -> str:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.output.color_depth import ColorDepth

        sys.stdout.flush()
        session: PromptSession[str] = PromptSession(
            completer=WordCompleter(list(words), sentence=True, ignore_case=True),
            complete_while_typing=False,
            color_depth=None if self.style.color else ColorDepth.DEPTH_1_BIT,
        )
        return session.prompt(prompt).strip()


def terminal(style: text.Style) -> Terminal:
    """The best terminal there is; prompt_toolkit would write cursor escapes into a pipe, so it is asked for a tty."""
    fit = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")
    return Full(style) if fit else Plain(style)


class Command(Enum):
    """What can be said instead of a choice."""

    DONT_KNOW = "don't know"
    WHY = "why"
    BACK = "back"
    HELP = "?"
    QUIT = "quit"


_ALIASES = {
    Command.DONT_KNOW: ("don't know", "dont know", "don't", "dont", "d", "dk", "unknown"),
    Command.WHY: ("why", "w"),
    Command.BACK: ("back", "b"),
    Command.HELP: ("?", "help", "h"),
    Command.QUIT: ("quit", "q", "exit"),
}


def understand(said: str, choices: Sequence[str], default: str | None) -> str | Command | None:
    """A choice, a command, or ``None`` for something that is neither or could be both."""
    said = said.strip().casefold()
    if not said:
        return default
    whole = [choice for choice in choices if choice.casefold() == said]
    if whole:
        return whole[0]
    commands = [command for command, aliases in _ALIASES.items() if said in aliases]
    choice = match(said, choices)
    if choice is not None and commands:
        return None
    return commands[0] if commands else choice


MOST_LISTED = 5


def options(choices: Sequence[str], default: str | None) -> str:
    """``[Y]es/[n]o/don't know/why/back/?/quit``: what suffices stands in brackets, the default in capitals."""
    shown = []
    if len(choices) > MOST_LISTED:
        shown, choices = [f"one of these{f' [{default}]' if default else ''}"], ()
    for choice in choices:
        size = next((n for n in range(1, len(choice)) if match(choice[:n], choices) == choice), len(choice))
        key, rest = choice[:size], choice[size:]
        shown.append(f"[{key.upper() if choice == default else key}]{rest}")
    return "/".join([*shown, *(command.value for command in Command)])


_HELP = """\
Type an answer or its first letters; Enter takes the one in capitals.
  don't know  says how to find out, and walks on with that question marked as assumed
  why         everything that speaks for the verdict, and what the skill says about it
  back        return to the last question
  quit        stop; your answers are saved, coach --resume goes on
"""


@dataclass
class Conversation:
    """One interactive session over one walk.

    ``save`` is called after every answer. ``apply`` writes a finding's patch (it may ask) and renews the walk's
    site; false when nothing was written.
    """

    walk: Walk
    screen: Terminal
    save: Callable[[Walk], None]
    apply: Callable[[Finding, Terminal], bool]
    left: list[Finding] = field(default_factory=list)
    done: list[Finding] = field(default_factory=list)

    def run(self) -> int:
        """Talk until the chart ends or the user leaves. The exit code: 0 done, 1 a FIX is left, 3 undecided."""
        try:
            while True:
                if self.walk.at_fix:
                    if not self._at_fix():
                        return self._leave()
                elif self.walk.at_question:
                    if not self._at_question():
                        return self._leave()
                else:
                    return self._end()
        except EOFError:
            self.screen.show("\n")
            return self._leave()

    def _page(self, write: Callable[[text.Page], None]) -> None:
        self.screen.show(text.made(self.screen.style, write))

    def _say(self, words: str) -> None:
        self._page(lambda page: page.line(0, words))

    # -- a question

    def _at_question(self) -> bool:
        """Ask one question; false when the user leaves."""
        walk = self.walk
        known = walk.answers.get(walk.here)
        if known is not None and not walk.came_back:
            step = walk.verdict()
            assert step is not None
            self._page(lambda page: text.trail(page, [step]))
            walk.take(step)
            return True
        answer = walk.probe(walk.here)
        default = answer.choice if answer is not None else self._default()
        self._page(lambda page: self._question(page, answer))
        prompt = f"{options(walk.choices(), default)} > "
        words = [*walk.choices(), *(command.value for command in Command)]
        said = understand(self.screen.ask(prompt, words), walk.choices(), default)
        return self._act(said, answer)

    def _default(self) -> str | None:
        """At the list of symptoms, "not sure"; elsewhere nothing is suggested."""
        return NOT_SURE if NOT_SURE in self.walk.choices() else None

    def _question(self, page: text.Page, answer: Answer | None) -> None:
        page.gap()
        page.line(0, (self.walk.text(), "bold"), (f"  [{self.walk.here}]", "dim"))
        if NOT_SURE in self.walk.choices():
            self._symptoms(page)
        elif answer is None:
            page.line(2, "nothing in the repository answers this: you decide")
        elif answer.choice is None:
            page.line(2, ("unknown", "yellow"), f": {answer.reason}")
            text.evidence(page, 4, answer.evidence[:3])
        else:
            colour = "green" if answer.certainty is Certainty.CERTAIN else "yellow"
            page.line(2, (answer.choice, f"bold {colour}"), f" ({answer.certainty}): {answer.reason}")
            text.evidence(page, 4, answer.evidence[:3])
            if len(answer.evidence) > 3:
                page.line(4, (f"{len(answer.evidence) - 3} more: why", "dim"))

    def _symptoms(self, page: text.Page) -> None:
        """The ways into the chart, in the words of the skill's own list."""
        told = {jump.node: jump.text for jump in self.walk.skill.jumps}
        ways = {choice: self.walk.ahead(choice) for choice in self.walk.choices()}
        widest = max(map(len, ways))
        for choice, node in ways.items():
            page.line(2, (f"{choice:<{widest}}", "bold"), f"  {told.get(node, self.walk.text(node))}")

    def _act(self, said: str | Command | None, answer: Answer | None) -> bool:
        walk = self.walk
        match said:
            case str():
                step = walk.answer(said, Source.USER)
                if step.overridden:
                    self._say(f"Noted: you say {said}, which overrides the probe's {step.overridden}.")
                self.save(walk)
            case Command.DONT_KNOW:
                question = walk.question()
                how = question.how_to_find_out
                step_taken = walk.assume()
                if step_taken is None:
                    self._say("Every way out of this question is a FIX: choose one, or quit.")
                    return True
                self._page(lambda page: page.line(2, "to find out: ", how))
                self._say(f"Walking on as if the answer were {step_taken.choice} (assumed).")
                self.save(walk)
            case Command.WHY:
                self._page(lambda page: self._why(page, answer))
            case Command.BACK:
                if not walk.back():
                    self._say("This is the first question.")
                self.save(walk)
            case Command.HELP:
                self.screen.show(_HELP)
            case Command.QUIT:
                return False
            case None:
                self._say(f"Please answer with one of: {', '.join(walk.choices())}; or ? for help.")
        return True

    def _why(self, page: text.Page, answer: Answer | None) -> None:
        if answer is not None:
            page.line(0, answer.reason)
            text.evidence(page, 2, answer.evidence)
            if answer.how_to_find_out:
                page.line(2, f"to find out: {answer.how_to_find_out}")
        lesson = self.walk.lessons.get(self.walk.here)
        section = self.walk.skill.sections.get(lesson.SECTION) if lesson is not None else None
        if section is not None:
            page.gap()
            page.line(0, (section.title, "bold"))
            page.markdown(section.markdown)
        elif answer is None:
            page.line(0, "The skill has no more to say about this question.")

    # -- a FIX

    def _at_fix(self) -> bool:
        """Show one FIX and offer what can be done; false when the user leaves."""
        found = self.walk.finding()
        if self.walk.here in self.walk.passed:
            self.left.append(found)
            self._say(f"{found.id} was left before: {found.title}")
            return self._next()
        writable = bool(found.remedy.edits)
        pattern = self.walk.skill.anti_patterns.get(found.anti_pattern)

        def write(page: text.Page) -> None:
            page.gap()
            text.finding(page, found, pattern, most=text.MAX_PATCH_LINES)
            page.gap()

        self._page(write)
        choices = ["apply", "show patch only", "next", "quit"] if writable else ["next", "quit"]
        while True:
            prompt = "/".join(f"[{word[0]}]{word[1:]}" for word in [*choices[:-1], "back", choices[-1]]) + " > "
            said = self.screen.ask(prompt, [*choices, "back"]).casefold()
            if said and "apply".startswith(said) and writable:
                if self.apply(found, self.screen):
                    self.done.append(found)
                    self._after_apply(found)
                    return self._next()
            elif said and "show patch only".startswith(said) and writable:
                self._page(lambda page: text.patch(page, found.patch, indent=0))
            elif said and "next".startswith(said):
                self.left.append(found)
                return self._next()
            elif said and "back".startswith(said):
                self.walk.back()
                return True
            elif said and "quit".startswith(said):
                self.left.append(found)
                return False
            else:
                self._say(f"Please say one of: {', '.join([*choices, 'back'])}.")

    def _after_apply(self, found: Finding) -> None:
        answer = self.walk.probe(found.node)
        if answer is not None and answer.choice is not None:
            self._say(f"Applied. {found.node} now answers {answer.choice}. coach undo takes it back.")
        else:
            self._say("Applied. coach undo takes it back.")

    def _next(self) -> bool:
        moved = self.walk.go_on()
        self.save(self.walk)
        if not moved:
            self._say("The chart ends here.")
        return moved

    # -- leaving

    def _leave(self) -> int:
        at_question = self.walk.at_question
        self._say("Your answers are saved: coach --resume goes on from here.")
        standing = self.walk.at_fix and all(found.id != self.walk.here for found in self.done)
        return 1 if self.left or standing else 3 if at_question else 0

    def _end(self) -> int:
        def write(page: text.Page) -> None:
            page.gap()
            page.line(0, (self.walk.text().replace("\n", " "), "bold green"))
            text.trail(page, self.walk.steps)
            for found in self.done:
                page.line(2, (f"{found.id} applied", "green"), f": {found.title}")
            for found in self.left:
                page.line(2, (f"{found.id} left", "yellow"), f": {found.title}")

        self._page(write)
        return 1 if self.left else 0


def yes(screen: Terminal, question: str, default: bool = False) -> bool:
    """A yes or no; anything unclear is the default, the end of input is no."""
    try:
        said = screen.ask(f"{question} [{'Y/n' if default else 'y/N'}] ", ["yes", "no"]).casefold()
    except EOFError:
        return False
    return default if not said else said in ("y", "yes")


def pick(screen: Terminal, question: str, names: Sequence[str]) -> int:
    """The number of one of ``names``, the first by default. Raises ``EOFError`` when the user leaves."""

    def write(page: text.Page) -> None:
        page.line(0, (question, "bold"))
        for number, name in enumerate(names, 1):
            page.line(2, f"{number}  {name}")

    screen.show(text.made(screen.style, write))
    while True:
        said = screen.ask(f"1-{len(names)} [1] > ") or "1"
        if said.casefold() in ("q", "quit"):
            raise EOFError
        if said.isascii() and said.isdigit() and 1 <= int(said) <= len(names):
            return int(said) - 1
        screen.show("Please type one of the numbers.\n")


_HUNK_HELP = """\
y - take this hunk
n - leave this hunk
a - take this hunk and all later ones of this fix
d - leave this hunk and all later ones of this fix
q - stop; what was taken so far stands
? - this help
"""


class Hunks:
    """Chooses hunk by hunk, fix by fix; an instance is a ``session.Choose``."""

    def __init__(self, screen: Terminal) -> None:
        self.screen = screen
        self.stopped = False

    def __call__(
        self, target: Key, found: Finding, before: Mapping[str, bytes | None], after: Mapping[str, bytes]
    ) -> Mapping[str, bytes] | None:
        if self.stopped:
            raise StopFixing

        def head(page: text.Page) -> None:
            page.gap()
            page.line(0, (f"FIX {found.id}  {found.title}", "bold yellow"), f"  ({named(*target)})")
            for reason in found.remedy.reasons if found.remedy.safety is Safety.REVIEW else ():
                page.line(2, f"look at: {reason}")

        self.screen.show(text.made(self.screen.style, head))
        pieces = {
            path: split(path, before.get(path), content, redact.holds_secret) for path, content in sorted(after.items())
        }
        total = sum(map(len, pieces.values()))
        taken: dict[str, set[int]] = {path: set() for path in pieces}
        number, rest = 0, ""
        for path, hunks in pieces.items():
            for index, hunk in enumerate(hunks):
                number += 1
                said = rest or self._ask(number, total, hunk, path)
                self.stopped = self.stopped or said == "q"
                if said in "adq":
                    rest = said
                if said in "ya":
                    taken[path].add(index)
        part = {path: join(before.get(path), hunks, taken[path]) for path, hunks in pieces.items()}
        chosen = {
            path: content for path, content in part.items() if content is not None and content != before.get(path)
        }
        return chosen or None

    def _ask(self, number: int, total: int, hunk: Hunk, path: str) -> str:
        shown = (
            hunk.patch.decode("utf-8", "surrogateescape")
            if hunk.patch is not None
            else (f"{path}:{hunk.first + 1}: not shown, because it holds a secret")
        )
        self.screen.show(text.made(self.screen.style, lambda page: text.patch(page, shown, indent=0)))
        while True:
            try:
                said = self.screen.ask(f"({number}/{total}) Take this hunk [y,n,q,a,d,?]? ").casefold()
            except EOFError:
                said = "q"
            if said in ("y", "n", "a", "d", "q"):
                return said
            self.screen.show(_HUNK_HELP)
