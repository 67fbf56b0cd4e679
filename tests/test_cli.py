from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from coach import __version__, cli
from coach.cli import COMMANDS, main
from coach.render import json as wire
from tests.repository import OTHER_SKILL, ROOT, WRONG_ORDER, coach, environment, write

KNOWN = ("--answer", "buildkit=yes")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose install stands below its source; the working directory."""
    root = write(tmp_path / "repo", WRONG_ORDER)
    monkeypatch.chdir(root)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return root


@pytest.fixture
def coffee(tmp_path: Path) -> str:
    return str(write(tmp_path / "skills", {"SKILL.md": OTHER_SKILL}) / "SKILL.md")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def python(script: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env=environment(root.parent),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# -- diagnose


def test_a_fix_is_exit_code_one(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "diagnose", *KNOWN)

    assert code == 1
    assert "FIX F2" in out
    assert "Dockerfile:3" in out


def test_the_report_is_the_same_through_json(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "diagnose", "--json", *KNOWN)

    document = json.loads(out)
    assert code == 1
    assert err == ""
    assert list(Draft202012Validator(json.loads(wire.schema())).iter_errors(document)) == []
    target = document["targets"][0]
    assert (target["dockerfile"], target["context"], target["status"]) == ("Dockerfile", ".", "fix")
    assert target["fix"]["id"] == "F2"
    assert target["trail"][0]["source"] == "flag"
    assert str(repo) not in out


def test_two_runs_print_the_same(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "diagnose", "--json") == run(capsys, "diagnose", "--json")


def test_exit_zero_only_changes_the_code(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = run(capsys, "diagnose", "--json", *KNOWN)
    zero = run(capsys, "diagnose", "--json", "--exit-zero", *KNOWN)

    assert (plain[0], zero[0]) == (1, 0)
    assert plain[1] == zero[1]


def test_undecided_is_exit_code_three_and_says_how_to_answer(
    repo: Path, coffee: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "diagnose", "--skill", coffee)

    assert code == 3
    assert "--answer water=no|yes" in out


def test_answers_lead_through_a_foreign_chart(repo: Path, coffee: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "diagnose", "--json", "--skill", coffee, "--answer", "water=YES", "--answer", "beans=none"
    )

    fix = json.loads(out)["targets"][0]["fix"]
    assert code == 1
    assert (fix["id"], fix["title"], fix["section"], fix["safety"]) == ("F2", "buy beans", "Buy beans", "show")
    assert "shop is open" in fix["guidance"]


def test_done_is_exit_code_zero(repo: Path, coffee: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "diagnose", "--skill", coffee, "--answer", "water=yes", "--answer", "beans=arabica")

    assert code == 0
    assert "done" in out


def test_one_dockerfile_can_be_singled_out(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repo, {"other/Dockerfile": "FROM scratch\n"})

    _, both, _ = run(capsys, "diagnose", "--json")
    _, one, _ = run(capsys, "diagnose", "--json", "--dockerfile", "other/Dockerfile", "--context", ".")

    assert [target["dockerfile"] for target in json.loads(both)["targets"]] == ["Dockerfile", "other/Dockerfile"]
    assert [target["dockerfile"] for target in json.loads(one)["targets"]] == ["other/Dockerfile"]


def test_path_may_be_the_dockerfile_itself(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repo, {"other/Dockerfile": "FROM scratch\n"})

    _, out, _ = run(capsys, "diagnose", "other/Dockerfile", "--json")

    assert [target["dockerfile"] for target in json.loads(out)["targets"]] == ["other/Dockerfile"]


def test_a_symptom_starts_elsewhere(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "diagnose", "--json", "--symptom", "every_commit")

    target = json.loads(out)["targets"][0]
    assert target["trail"][0]["node"] == "layer_order"
    assert target["fix"]["id"] == "F2"


@pytest.mark.parametrize("form", ["text", "json", "markdown", "sarif", "github"])
def test_every_format_names_the_fix_and_keeps_the_code(
    form: str, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "diagnose", "--format", form, *KNOWN)

    assert code == 1
    assert "F2" in out


def test_heavy_libraries_stay_unloaded(repo: Path) -> None:
    script = (
        "import sys\nfrom coach.cli import main\ncode = main(['diagnose', '--json'])\n"
        "heavy = ('rich', 'prompt_toolkit', 'mcp', 'yaml', 'markdown_it', 'coach.ci.compose', 'coach.ci.github')\n"
        "loaded = [name for name in heavy if name in sys.modules]\n"
        "print(code, loaded, file=sys.stderr)\n"
    )

    done = python(script, repo)

    assert re.fullmatch(r"[013] \[\]", done.stderr.strip().split("\n")[-1]), done.stderr


@pytest.mark.parametrize("words", [["--help"], ["explain", "F2"], ["schema"]])
def test_what_needs_no_graph_loads_none(words: list[str], repo: Path) -> None:
    script = (
        f"import sys\nfrom coach.cli import main\nmain({words!r})\n"
        "print([name for name in ('networkx', 'prompt_toolkit') if name in sys.modules], file=sys.stderr)\n"
    )

    done = python(script, repo)

    assert done.stderr.strip().split("\n")[-1] == "[]"


@pytest.mark.parametrize("words", [["--help"], ["diagnose", "--help"], ["schema"], ["questions", "--json"]])
def test_what_reads_no_repository_loads_neither_parsers_nor_lessons(words: list[str], repo: Path) -> None:
    script = (
        f"import sys\nfrom coach.cli import main\nmain({words!r})\n"
        "heavy = ('yaml', 'markdown_it', 'rich', 'tree_sitter', 'coach.site', 'coach.lessons.buildkit')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )

    done = python(script, repo)

    assert done.stderr.strip().split("\n")[-1] == "[]"


# -- without a subcommand


def test_without_a_terminal_coach_diagnoses_and_says_so(repo: Path) -> None:
    done = coach(repo, *KNOWN)

    assert done.returncode == 1
    assert "coach diagnose" in done.stderr
    assert "FIX F2" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_reader_that_leaves_is_no_error(repo: Path) -> None:
    line = f"{sys.executable} -m coach diagnose --json | head -c 1; echo codes ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=repo, env=environment(repo.parent), capture_output=True, text=True, timeout=60
    )

    assert done.stdout.startswith("{")
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


# -- bad usage


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["diagnose", "--nonsense"], "--nonsense"),
        (["diagnose", "--answer", "buildkit"], "NODE=CHOICE"),
        (["diagnose", "--answer", "bulidkit=yes"], "did you mean buildkit?"),
        (["diagnose", "--answer", "buildkit=perhaps"], "it takes "),
        (["diagnose", "--symptom", "evry_commit"], "did you mean every_commit?"),
        (["diagnose", "nowhere"], "nowhere"),
        (["diagnose", "--dockerfile", "nowhere"], "nowhere"),
        (["diagnose", "--skill", "nowhere.md"], "nowhere.md"),
        (["diagnose", "--format", "xml"], "xml"),
        (["fix", "--diff", "--apply"], "not allowed with"),
        (["fix", "--only", "F99"], "F99"),
        (["diagnos"], "did you mean diagnose?"),
        (["explain"], "TOPIC"),
        (["explain", "cache", "mout"], "did you mean"),
        (["skill"], "install"),
        (["undo"], "nothing to undo"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_two(
    words: list[str], says: str, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *words)

    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("coach: ")
    assert says in err


def test_no_dockerfile_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "diagnose", "--json", str(tmp_path))

    assert (code, out) == (2, "")
    assert "no Dockerfile" in err


def test_a_broken_dockerfile_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"Dockerfile": "FROM scratch\nFORM x\n"})

    code, _, err = run(capsys, "diagnose", str(tmp_path))

    assert code == 2
    assert "Dockerfile:2: " in err


def test_a_chart_that_mermaid_refuses_is_named_with_its_line(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = OTHER_SKILL.replace('water{"Is there water?"} -->|no|', "water{{{ -->|no|")
    path = write(tmp_path, {"bad.md": bad}) / "bad.md"

    code, _, err = run(capsys, "diagnose", "--skill", str(path))

    assert code == 2
    assert re.search(r"bad\.md:\d+: ", err)


def test_a_defect_is_one_line(repo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "COMMANDS", tuple(cli.Command(c.name, c.summary, c.arguments, fail) for c in COMMANDS))

    code, _, err = run(capsys, "schema")

    assert code == 2
    assert err.count("\n") == 1
    assert "ZeroDivisionError" in err


def test_ctrl_c_is_exit_code_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        cli, "COMMANDS", tuple(cli.Command(c.name, c.summary, c.arguments, interrupt) for c in COMMANDS)
    )

    assert run(capsys, "schema")[0] == 130


# -- help


def test_help_lists_commands_codes_and_fixes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")

    assert code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command.name} ", out, re.M)
    for number in (0, 1, 2, 3, 130):
        assert re.search(rf"^  {number}\s", out, re.M)
    for number in range(1, 14):
        assert re.search(rf"^  F{number}\s+\S", out, re.M)


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_has_help_with_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")

    assert code == 0
    assert f"coach {command}" in out
    assert "exit codes:" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"coach {__version__}\n", "")


# -- explain, chart, questions, schema


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        ("F2", "COPY package.json"),
        ("f2", "COPY package.json"),
        ("layer_order", "COPY package.json"),
        ("Layer ordering for cache", "COPY package.json"),
        ("layer-ordering-for-cache", "COPY package.json"),
        (".dockerignore", ".git"),
        ("copy . . before npm install", "Symptom"),
        ("worked example", "14"),
        ("gate 1", "gate"),
    ],
)
def test_explain_finds_its_topic(topic: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "explain", topic)

    assert code == 0
    assert says in out


def test_explain_finds_a_fix_of_another_skill(coffee: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "explain", "f1", "--skill", coffee)

    assert code == 0
    assert "Water goes to the line." in out


@pytest.mark.parametrize(
    ("form", "says"), [("mermaid", "flowchart TD"), ("dot", "digraph chart {"), ("text", "layer_order: ")]
)
def test_the_chart_is_drawn(form: str, says: str, repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = run(capsys, "chart", "--format", form)
    walked = run(capsys, "chart", "--format", form, ".", *KNOWN)

    assert bare[0] == walked[0] == 0
    assert says in bare[1]
    assert bare[1] != walked[1]


def test_questions_name_choices_and_fixes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "questions", "--json")

    asked = {one["node"]: one for one in json.loads(out)["questions"]}
    assert code == 0
    assert list(asked)[:3] == ["start", "buildkit", "layer_order"]
    assert set(asked["arm64"]["choices"]) == {"qemu", "no", "native", "cross"}
    assert asked["arm64"]["fixes"] == {"qemu": "F7"}


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "schema")

    assert code == 0
    Draft202012Validator.check_schema(json.loads(out))


# -- configuration


def test_the_configuration_answers_and_excludes(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        repo,
        {
            ".coach.toml": 'exclude = ["examples/**"]\n[answers]\nbuildkit = "yes"\n'
            '[dockerfile."Dockerfile".answers]\nlayer_order = "yes"\n',
            "examples/a/Dockerfile": "FROM scratch\n",
        },
    )

    _, out, _ = run(capsys, "diagnose", "--json")

    document = json.loads(out)
    assert [target["dockerfile"] for target in document["targets"]] == ["Dockerfile"]
    trail = document["targets"][0]["trail"]
    assert [(step["node"], step["choice"], step["source"]) for step in trail][:2] == [
        ("buildkit", "yes", "config"),
        ("layer_order", "yes", "config"),
    ]
    assert trail[1]["overridden"] == "no"
    assert document["skipped"] == [{"path": "examples/a/Dockerfile", "line": 0, "reason": "excluded by .coach.toml:1"}]


def test_a_flag_beats_the_configuration(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repo, {"pyproject.toml": '[tool.coach.answers]\nbuildkit = "no"\n'})

    _, out, _ = run(capsys, "diagnose", "--json", "--answer", "buildkit=yes")

    assert json.loads(out)["targets"][0]["trail"][0]["source"] == "flag"


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        (".coach.toml", "[answers]\nbuildkit = \n", ".coach.toml:2: not valid TOML"),
        (".coach.toml", '\n[answers]\nbulidkit = "yes"\n', ".coach.toml:3: the chart has no question"),
        (".coach.toml", '[answers]\narm64 = "maybe"\n', ".coach.toml:2: arm64 has no answer"),
        (".coach.toml", 'exlude = ["x"]\n', ".coach.toml:1: unknown key 'exlude'"),
        (".coach.toml", "exclude = 3\n", ".coach.toml:1: exclude must be a list"),
        (".coach.toml", "answers = 3\n", ".coach.toml:1: answers must be a table"),
        (".coach.toml", "[answers]\narm64 = 3\n", ".coach.toml:2: the answer of arm64 must be a string"),
        (".coach.toml", '[dockerfile."a/Dockerfile"]\nexclude = "yes"\n', ".coach.toml:1: exclude of a/Dockerfile"),
        ("pyproject.toml", "[tool]\ncoach = 3\n", "pyproject.toml:2: tool.coach must be a table"),
        ("pyproject.toml", '[tool.coach]\nanswer = "x"\n', "pyproject.toml:2: unknown key 'answer'"),
    ],
)
def test_a_wrong_configuration_is_named_with_its_line(
    path: str, content: str, says: str, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(repo, {path: content})

    code, _, err = run(capsys, "diagnose")

    assert code == 2
    assert says in err
    assert err.count("\n") == 1


def test_a_pyproject_of_somebody_else_is_left_alone(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repo, {"pyproject.toml": "[tool.coach-potato]\nx = 1\n"})

    assert run(capsys, "diagnose", *KNOWN)[0] == 1


def test_everything_excluded_is_done(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repo, {".coach.toml": '[dockerfile."Dockerfile"]\nexclude = true\n'})

    code, out, _ = run(capsys, "diagnose", "--json")

    assert code == 0
    assert json.loads(out)["targets"] == []


# -- skill


def test_the_skill_is_exported_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "skill", "export", str(tmp_path))

    folder = tmp_path / "dockerfile-build-cache-mastery"
    assert code == 0
    assert (folder / "SKILL.md").read_bytes() == (ROOT / "skill" / "SKILL.md").read_bytes()
    assert "SKILL.md" in out
    assert main(["skill", "validate", str(folder)]) == 0


def test_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    code, out, _ = run(capsys, "skill", "install", "--dry-run")

    assert code == 0
    assert "would write .agents/skills/dockerfile-build-cache-mastery/SKILL.md" in out
    assert list(tmp_path.iterdir()) == []


def test_an_edited_skill_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "skill", "install")[0] == 0
    mine = tmp_path / ".agents/skills/dockerfile-build-cache-mastery/SKILL.md"
    mine.write_text("my own")

    code, _, err = run(capsys, "skill", "install")

    assert code == 2
    assert "--force" in err
    assert mine.read_text() == "my own"
    assert run(capsys, "skill", "install", "--force")[0] == 0
    assert mine.read_text() != "my own"


def test_the_path_of_the_skill_holds_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "skill", "path")

    assert code == 0
    assert (Path(out.strip()) / "SKILL.md").is_file()


def test_a_bad_skill_does_not_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "coffee", {"SKILL.md": OTHER_SKILL.replace("description:", "summary:")})

    code, out, _ = run(capsys, "skill", "validate", str(tmp_path / "coffee"))

    assert code == 1
    assert "description" in out


def test_output_survives_a_poor_encoding(repo: Path) -> None:
    done = coach(repo, "explain", "F2", PYTHONIOENCODING="ascii", LC_ALL="C")

    assert done.returncode == 0
    assert done.stdout.isascii()
    assert os.linesep in done.stdout
