"""Whole sessions in a real terminal: pexpect types, pyte shows what a person would see."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pyte
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from coach.ask import Command, Full, options, understand
from coach.render.text import Style
from tests.repository import OTHER_SKILL, WRONG_ORDER, commit, environment, git, write

TIMEOUT = 30
PROMPT = r"\[?q\s*\]?\s*u\s*i\s*t\s*>"
"""The end of a prompt, wherever the terminal breaks its lines."""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


class Session:
    """A ``coach`` in a terminal of its own."""

    def __init__(self, child: pexpect.spawn[str], columns: int, lines: int) -> None:
        self.child = child
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.Stream(self.screen)
        self.raw = ""
        self.seen = 0

    def _read(self) -> bool:
        try:
            new = self.child.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += new
        self.stream.feed(new)
        return True

    def expect(self, words: str) -> None:
        """Wait until ``words`` (a regular expression) are printed after what was waited for before."""
        end = time.monotonic() + TIMEOUT
        going = True
        while True:
            plain = ESCAPE.sub("", self.raw)
            found = re.compile(words).search(plain, self.seen)
            if found:
                self.seen = found.end()
                return
            assert going, f"{words!r} never came; ended with:\n{plain[self.seen :]}"
            assert time.monotonic() < end, f"{words!r} never came; waiting at:\n{plain[self.seen :]}"
            going = self._read()

    def say(self, line: str) -> None:
        self.child.send(line + "\r")

    def ask(self, prompt: str, line: str) -> None:
        self.expect(prompt)
        self.expect(PROMPT)
        self.say(line)

    def end(self) -> int:
        """Wait for the process; its exit code."""
        end = time.monotonic() + TIMEOUT
        while self._read():
            assert time.monotonic() < end, f"still running:\n{ESCAPE.sub('', self.raw)[-2000:]}"
        self.child.close()
        assert self.child.exitstatus is not None
        return self.child.exitstatus

    @property
    def plain(self) -> str:
        return ESCAPE.sub("", self.raw)


Start = Callable[..., Session]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts sessions in ``tmp_path / "repo"`` and ends them with the test."""
    started: list[pexpect.spawn[str]] = []

    def begin(*words: str, columns: int = 100, lines: int = 60, **more: str) -> Session:
        settings = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "LC_ALL": "C.UTF-8", **more}
        child = pexpect.spawn(
            sys.executable,
            ["-m", "coach", *words],
            cwd=str(tmp_path / "repo"),
            env=environment(tmp_path, **settings),
            encoding="utf-8",
            dimensions=(lines, columns),
            timeout=TIMEOUT,
        )
        started.append(child)
        return Session(child, columns, lines)

    yield begin
    for child in started:
        child.close(force=True)


@pytest.fixture
def coffee(tmp_path: Path) -> str:
    """A skill that only a person can walk, over a repository with one Dockerfile."""
    commit(tmp_path / "repo", WRONG_ORDER)
    return str(write(tmp_path / "skills", {"SKILL.md": OTHER_SKILL}) / "SKILL.md")


def test_from_the_symptom_to_an_applied_fix(start: Start, tmp_path: Path) -> None:
    repo = commit(tmp_path / "repo", WRONG_ORDER)
    session = start()

    session.ask("What hurts", "every_commit")
    session.expect(r"Dockerfile:3\s+COPY \. \.")
    session.ask("", "")
    session.expect(r"FIX F2")
    session.expect("symptom: ")
    session.expect(r"\+RUN npm ci")
    session.ask(r"\[a\]pply/\[s\]how", "a")
    session.expect(r"Write Dockerfile\? \[y/N\]")
    session.say("y")
    session.expect("Applied. layer_order now answers yes")
    session.ask(r"\[cache_mount\]", "quit")
    session.expect("--resume")

    assert session.end() == 3
    assert "COPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n" in (repo / "Dockerfile").read_text()


def test_back_dont_know_and_completion(start: Start, coffee: str) -> None:
    session = start("--skill", coffee)

    session.ask("Is there water", "yes")
    session.ask("Which beans", "back")
    session.ask("Is there water", "back")
    session.expect("first question")
    session.ask("Is there water", "n")
    session.ask("FIX F1", "back")
    session.ask("Is there water", "don't know")
    session.expect("to find out: ")
    session.expect("assumed")
    session.expect("Which beans")
    session.expect(PROMPT)
    session.child.send("rob\t")
    session.expect("robusta")
    session.say("")
    session.expect(r"water yes \(assumed\)")

    assert session.end() == 0


def test_why_help_and_a_fix_that_is_not_confirmed(start: Start, tmp_path: Path) -> None:
    repo = commit(tmp_path / "repo", WRONG_ORDER)
    write(repo, {"index.js": "mine"})
    session = start("--symptom", "every_commit")

    session.ask(r"\[layer_order\]", "why")
    session.expect("Layer ordering for cache")
    session.ask(r"\[layer_order\]", "?")
    session.expect("walks on")
    session.ask(r"\[layer_order\]", "perhaps")
    session.expect("one of: ")
    session.ask(r"\[layer_order\]", "no")
    session.ask(r"\[a\]pply", "a")
    session.expect(r"Not committed yet: index\.js")
    session.expect(r"\[y/N\]")
    session.say("")
    session.ask(r"\[a\]pply", "back")
    session.ask(r"\[layer_order\]", "yes")
    session.expect("overrides the probe's no")
    session.ask(r"\[cache_mount\]", "q")

    assert session.end() == 3
    assert git(repo, "status", "--porcelain").split() == ["M", "index.js"]


def test_a_fix_without_a_patch_is_passed_and_left(start: Start, coffee: str) -> None:
    session = start("--skill", coffee)

    session.ask("Is there water", "n")
    session.expect("FIX F1")
    session.expect("Water goes to the line")
    session.ask(r"\[n\]ext", "next")
    session.ask("Which beans", "a")
    session.expect("Enjoy")
    session.expect("F1 left")

    assert session.end() == 1
    assert re.search(r"\x1b\[[0-9;]*3[0-7]m", session.raw)


def test_a_session_goes_on_where_it_stopped(start: Start, coffee: str) -> None:
    first = start("--skill", coffee)
    first.ask("Is there water", "yes")
    first.ask("Which beans", "quit")
    assert first.end() == 3

    again = start("--skill", coffee)
    again.expect(r"session from before \(1 answer\)")
    again.say("y")
    again.expect(r"water yes \(you\)")
    again.ask("Which beans", "quit")
    assert again.end() == 3

    resumed = start("--skill", coffee, "--resume", NO_COLOR="1")
    resumed.ask("Which beans", "none")
    resumed.ask("FIX F2", "q")
    assert resumed.end() == 1
    assert re.search(r"\x1b\[[0-9;]*3[0-7]m", resumed.raw) is None


def test_a_fix_that_was_left_is_not_shown_again(start: Start, coffee: str) -> None:
    first = start("--skill", coffee)
    first.ask("Is there water", "n")
    first.ask("FIX F1", "n")
    first.ask("Which beans", "q")
    assert first.end() == 1

    resumed = start("--skill", coffee, "--resume")
    resumed.expect("F1 was left before")
    resumed.ask("Which beans", "arabica")
    assert resumed.end() == 1


def test_restart_and_a_new_chart_forget(start: Start, coffee: str) -> None:
    first = start("--skill", coffee)
    first.ask("Is there water", "yes")
    first.ask("Which beans", "quit")
    first.end()

    again = start("--skill", coffee, "--restart")
    again.ask("Is there water", "yes")
    again.ask("Which beans", "q")
    assert again.end() == 3
    assert "from before" not in again.plain

    Path(coffee).write_text(OTHER_SKILL.replace("Is there water?", "Is there any water?"))
    stale = start("--skill", coffee, "--resume")
    stale.expect("no session to resume")
    stale.ask("Is there any water", "q")
    assert stale.end() == 3


def test_ctrl_c_leaves_at_once(start: Start, coffee: str) -> None:
    session = start("--skill", coffee)
    session.expect("Is there water")
    session.expect(PROMPT)

    session.child.send("\x03")

    assert session.end() == 130


def test_ctrl_d_leaves_like_quit(start: Start, coffee: str) -> None:
    session = start("--skill", coffee)
    session.expect("Is there water")
    session.expect(PROMPT)

    session.child.send("\x04")

    assert session.end() == 3


def test_a_narrow_terminal_shows_everything(start: Start, tmp_path: Path) -> None:
    commit(tmp_path / "repo", WRONG_ORDER)
    session = start("--symptom", "every_commit", columns=40, lines=200)

    session.ask(r"\[layer_order\]", "")
    session.expect("FIX F2")
    session.ask(r"\[a\]pply", "q")

    assert session.end() == 1
    assert [row for row in ESCAPE.sub("", session.raw).split("\n") if len(row) > 60 and " " in row.strip()[:40]] == []
    assert any(row.startswith("FIX F2") for row in session.screen.display)


def test_a_dumb_terminal_gets_a_plain_loop(start: Start, coffee: str) -> None:
    session = start("--skill", coffee, TERM="dumb")

    session.ask("Is there water", "yes")
    session.ask("Which beans", "arabica")

    assert session.end() == 0
    assert "\x1b" not in session.raw


def test_no_input_diagnoses_instead(start: Start, coffee: str) -> None:
    session = start("--skill", coffee, "--no-input")

    assert session.end() == 3
    assert "coach diagnose" in session.plain


def test_one_of_several_targets_is_chosen(start: Start, coffee: str, tmp_path: Path) -> None:
    write(tmp_path / "repo", {"api/Dockerfile": "FROM scratch\n"})
    session = start("--skill", coffee)

    session.expect("Which one")
    session.expect(r"2\s+api/Dockerfile")
    session.expect(r"\[1\] ?>")
    session.say("7")
    session.expect("one of the numbers")
    session.expect(r"\[1\] ?>")
    session.say("2")
    session.ask("Is there water", "q")

    assert session.end() == 3


def test_escapes_in_a_file_stay_harmless(start: Start, tmp_path: Path) -> None:
    hostile = WRONG_ORDER["Dockerfile"].replace("COPY . .", "COPY . . # \x1b]0;owned\x07\x1b[2J")
    commit(tmp_path / "repo", {**WRONG_ORDER, "Dockerfile": hostile})
    session = start("--symptom", "every_commit")

    session.expect(PROMPT)
    session.say("q")
    session.end()

    assert "\x1b]0;owned" not in session.raw
    assert "\x1b[2J" not in session.raw


# -- what is typed


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", "no"),
        ("yes", "yes"),
        ("Y", "yes"),
        ("n", "no"),
        ("d", Command.DONT_KNOW),
        ("don't know", Command.DONT_KNOW),
        ("why", Command.WHY),
        ("w", Command.WHY),
        ("b", Command.BACK),
        ("?", Command.HELP),
        ("q", Command.QUIT),
        ("x", None),
    ],
)
def test_yes_and_no(said: str, meant: object) -> None:
    assert understand(said, ("yes", "no"), "no") == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [("q", None), ("qe", "qemu"), ("quit", Command.QUIT), ("n", None), ("no", "no"), ("na", "native")],
)
def test_what_could_be_two_things_is_asked_again(said: str, meant: object) -> None:
    assert understand(said, ("no", "native", "cross", "qemu"), None) == meant


def test_the_prompt_shows_letters_and_default() -> None:
    assert options(("yes", "no"), "yes") == "[Y]es/[n]o/don't know/why/back/?/quit"
    assert options(("no", "native"), None) == "[no]/[na]tive/don't know/why/back/?/quit"
    assert options(tuple("abcdef"), "b") == "one of these [b]/don't know/why/back/?/quit"


@contextmanager
def typing(text: str) -> Iterator[None]:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(text)
        yield


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("typed", "error"), [("\x03", KeyboardInterrupt), ("\x04", EOFError)])
def test_leaving_a_prompt(typed: str, error: type[BaseException]) -> None:
    with typing(typed), pytest.raises(error):
        Full(Style(80)).ask("> ", ["yes"])
