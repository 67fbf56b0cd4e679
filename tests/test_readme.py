"""The README shows what really happens: its session, its table, its commands, its exit codes.

``COACH_WRITE=1 pytest tests/test_readme.py`` writes the session anew.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from coach.cli import main
from coach.flowchart import load_chart, text_of
from coach.skill import load

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SESSION = re.compile(
    r"(<!-- session: coach (?P<words>[^\n]*) -->\n```console\n)(?P<shown>.*?)(```\n<!-- end of session -->)", re.S
)


def printed(words: list[str]) -> str:
    """What coach prints for ``words`` at the top of the repository, in a terminal of 100 columns without colours."""
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "coach", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return f"$ coach {shlex.join(words)}\n" + "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


def test_the_session_is_what_coach_prints() -> None:
    text = README.read_text()
    found = list(SESSION.finditer(text))
    assert found
    for match in found:
        real = printed(shlex.split(match["words"]))
        if os.environ.get("COACH_WRITE"):
            README.write_text(text.replace(match[0], f"{match[1]}{real}{match[4]}"))
            continue

        assert match["shown"] == real


def test_the_table_holds_every_decision_of_the_chart_in_its_order() -> None:
    chart = load_chart(load((ROOT / "skill/SKILL.md").read_text(), "skill/SKILL.md").chart_text)
    rows = re.findall(r"^\| `(\w+)` ([^|]*) \| (\w+) \| (F\d+) \|", README.read_text(), re.M)
    wanted = [
        (source, text_of(chart, source), data["label"], target)
        for source, target, data in chart.edges(data=True)
        if re.fullmatch(r"F\d+", target)
    ]

    assert sorted(rows) == sorted(wanted)
    assert [row[3] for row in rows] == [f"F{number}" for number in range(1, len(rows) + 1)]


COMMANDS: list[str] = sorted(set(re.findall(r"^\$ (coach[^#\n]*?)\s*(?:#.*)?$", README.read_text(), re.M)))


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_shown_is_one_that_coach_knows(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    parts = shlex.split(words)[1:]
    known = [part for part in parts if part.startswith("-")]
    command = next((part for part in parts if not part.startswith("-") and re.fullmatch("[a-z]+", part)), "")

    assert main([command, "--help"] if command else ["--help"]) == 0
    shown = capsys.readouterr().out
    for flag in known:
        assert flag in shown, flag
