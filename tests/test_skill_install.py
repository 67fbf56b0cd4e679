"""Planning an install, and judging whether something is a skill; checked against the reference validator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from skills_ref.validator import validate as reference

from coach.errors import ChartError, SkillError, UsageError
from coach.skill_install import (
    DIRECTORIES,
    MANIFEST,
    Plan,
    Problem,
    Scope,
    body_of,
    plan_export,
    plan_install,
    targets,
    validate,
)

CHART = b"```mermaid\nflowchart TD\n  A{On?} -->|no| F1[FIX F1: plug it in]\n  A -->|yes| Z[Done]\n```\n"
HEAD = b"---\nname: toaster\ndescription: Use when toast is cold.\n---\n"
FILES = {"SKILL.md": HEAD + CHART, "references/bread.md": b"# Bread\n"}


class Disk:
    """Files that a plan is carried out on."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def carry_out(self, plan: Plan) -> None:
        self.files.update({write.path: write.content for write in plan.writes})
        for path in plan.deletes:
            del self.files[path]


@pytest.fixture
def disk() -> Disk:
    return Disk()


def errors(problems: tuple[Problem, ...]) -> list[str]:
    return [problem.says for problem in problems if problem.error]


def test_a_project_gets_the_cross_client_directory() -> None:
    assert targets("toaster") == (".agents/skills/toaster",)


def test_claude_is_added_where_it_is_used_already() -> None:
    assert targets("toaster", present=lambda path: path == ".claude") == (
        ".agents/skills/toaster",
        ".claude/skills/toaster",
    )
    assert targets("toaster", scope=Scope.USER, present=lambda path: path == "~/.claude") == (
        "~/.agents/skills/toaster",
        "~/.claude/skills/toaster",
    )


def test_agents_that_share_a_directory_get_it_once() -> None:
    assert targets("toaster", ["codex", "gemini", "claude"]) == (".agents/skills/toaster", ".claude/skills/toaster")
    assert targets("toaster", ["all"]) == targets("toaster", DIRECTORIES)


def test_every_user_directory_is_below_home() -> None:
    for path in targets("toaster", ["all"], Scope.USER):
        assert path.startswith("~/.")
        assert path.endswith("/skills/toaster")


def test_a_destination_overrides_agents_and_scope() -> None:
    assert targets("toaster", ["claude"], Scope.USER, dest="out") == ("out/toaster",)


def test_an_unknown_agent_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'emacs' \(known: agents, claude, .*, all\)"):
        targets("toaster", ["emacs"])


def test_an_install_writes_the_files_as_they_are_and_a_manifest(disk: Disk) -> None:
    plan = plan_install(FILES, disk.read)
    disk.carry_out(plan)

    assert plan.refused == ()
    directory = ".agents/skills/toaster"
    assert {path: content for path, content in disk.files.items() if not path.endswith(MANIFEST)} == {
        f"{directory}/{path}": content for path, content in FILES.items()
    }
    assert json.loads(disk.files[f"{directory}/{MANIFEST}"])["files"].keys() == FILES.keys()


def test_a_second_install_has_nothing_to_do(disk: Disk) -> None:
    disk.carry_out(plan_install(FILES, disk.read, ["all"]))

    again = plan_install(FILES, disk.read, ["all"])

    assert (again.writes, again.deletes, again.refused) == ((), (), ())
    assert all("up to date" in note for note in again.notes)


def test_a_new_version_replaces_files_nobody_edited_and_removes_those_it_dropped(disk: Disk) -> None:
    disk.carry_out(plan_install(FILES, disk.read))
    newer = {"SKILL.md": HEAD + b"New words.\n\n" + CHART}

    disk.carry_out(plan_install(newer, disk.read))

    assert disk.files[".agents/skills/toaster/SKILL.md"] == newer["SKILL.md"]
    assert ".agents/skills/toaster/references/bread.md" not in disk.files


def test_a_local_edit_keeps_its_whole_directory_back(disk: Disk) -> None:
    disk.carry_out(plan_install(FILES, disk.read, ["codex", "claude"]))
    disk.files[".claude/skills/toaster/SKILL.md"] += b"mine\n"
    newer = {path: content + b"\nnewer\n" for path, content in FILES.items()}

    plan = plan_install(newer, disk.read, ["codex", "claude"])

    assert [refused.path for refused in plan.refused] == [".claude/skills/toaster/SKILL.md"]
    assert {write.path.split("/")[0] for write in plan.writes} == {".agents"}


def test_force_overwrites_and_says_so(disk: Disk) -> None:
    disk.carry_out(plan_install(FILES, disk.read))
    disk.files[".agents/skills/toaster/SKILL.md"] += b"mine\n"

    plan = plan_install(FILES, disk.read, force=True)
    disk.carry_out(plan)

    assert disk.files[".agents/skills/toaster/SKILL.md"] == FILES["SKILL.md"]
    assert any("local edits are overwritten" in note for note in plan.notes)


def test_a_file_that_coach_did_not_write_is_refused(disk: Disk) -> None:
    disk.files[".agents/skills/toaster/SKILL.md"] = b"somebody else's"

    plan = plan_install(FILES, disk.read)

    assert plan.writes == ()
    assert "not installed by coach" in plan.refused[0].reason


def test_an_edited_file_that_the_skill_dropped_is_kept(disk: Disk) -> None:
    disk.carry_out(plan_install(FILES, disk.read))
    disk.files[".agents/skills/toaster/references/bread.md"] += b"mine\n"

    plan = plan_install({"SKILL.md": FILES["SKILL.md"]}, disk.read)

    assert plan.deletes == ()
    assert any("kept because it was edited" in note for note in plan.notes)


@pytest.mark.parametrize(
    "manifest",
    [
        b"not json",
        b"[]",
        b'{"files": []}',
        b'{"files": {"SKILL.md": 1}}',
        b"[" * 100_000,
        b'{"files": {"../../etc/passwd": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}}',
    ],
)
def test_a_manifest_that_makes_no_sense_vouches_for_nothing(disk: Disk, manifest: bytes) -> None:
    disk.files[f".agents/skills/toaster/{MANIFEST}"] = manifest
    disk.files[".agents/skills/toaster/SKILL.md"] = b"edited"
    disk.files["../../etc/passwd"] = disk.files[".agents/skills/toaster/../../etc/passwd"] = b"foo"

    plan = plan_install(FILES, disk.read)

    assert [refused.path for refused in plan.refused] == [".agents/skills/toaster/SKILL.md"]
    assert plan_install(FILES, disk.read, force=True).deletes == ()


def test_an_export_is_the_skill_and_nothing_besides(disk: Disk) -> None:
    disk.carry_out(plan_export(FILES, disk.read, "out"))

    assert disk.files == {f"out/toaster/{path}": content for path, content in FILES.items()}
    assert plan_export(FILES, disk.read, "out").writes == ()
    disk.files["out/toaster/SKILL.md"] = b"edited"
    assert plan_export(FILES, disk.read, "out").refused != ()
    assert plan_export(FILES, disk.read, "out", force=True).refused == ()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"SKILL.md": CHART},
        {"SKILL.md": HEAD.replace(b"toaster", b"../toaster") + CHART},
        {"SKILL.md": HEAD.replace(b"toaster", b"..") + CHART},
        {"SKILL.md": b"\xff" + CHART},
        {**FILES, "../evil.md": b""},
        {**FILES, "/etc/evil": b""},
        {**FILES, "a/../../evil": b""},
        {**FILES, MANIFEST: b""},
    ],
)
def test_what_is_no_skill_is_not_installed(disk: Disk, files: dict[str, bytes]) -> None:
    with pytest.raises(SkillError):
        plan_install(files, disk.read)


BASE = "name: toaster\ndescription: Use when toast is cold.\n"
FRONTMATTERS = {
    "least": BASE,
    "all fields": BASE + "license: MIT\ncompatibility: Needs bread.\nallowed-tools: Read Bash(coach:*)\n"
    "metadata:\n  author: me\n  version: '1'\n",
    "block text": "name: toaster\ndescription: >\n  Use when\n  toast is cold.\n",
    "quoted": "name: 'toaster'\ndescription: \"a: b\"\n",
    "number for text": "name: toaster\ndescription: 12\n",
    "comment": "# hello\n" + BASE,
    "longest": f"name: toaster\ndescription: {'x' * 1024}\ncompatibility: {'y' * 500}\n",
    "no name": "description: x\n",
    "no description": "name: toaster\n",
    "empty name": "name:\ndescription: x\n",
    "empty description": "name: toaster\ndescription: ''\n",
    "blank description": "name: toaster\ndescription: '  '\n",
    "list as name": "name:\n  - toaster\ndescription: x\n",
    "long description": f"name: toaster\ndescription: {'x' * 1025}\n",
    "long compatibility": BASE + f"compatibility: {'x' * 501}\n",
    "list as compatibility": BASE + "compatibility:\n  - x\n",
    "unknown field": BASE + "category: kitchen\n",
    "two unknown fields": BASE + "category: kitchen\ntags: x\n",
    "flow list": BASE + "allowed-tools: [Read, Grep]\n",
    "flow mapping": BASE + "metadata: {a: b}\n",
    "anchor": BASE.replace("Use", "&a Use"),
    "alias": BASE + "license: &a MIT\ncompatibility: *a\n",
    "tag": BASE + "license: !!str MIT\n",
    "twice": BASE + "name: toaster\n",
    "list": "- name\n",
    "text": "just text\n",
    "colon": "name: toaster\ndescription: a: b\n",
    "tab": "name: toaster\ndescription:\n\tx\n",
    "unclosed quote": 'name: toaster\ndescription: "x\n',
    "dashes inside": "name: toaster\ndescription: a --- b\n",
    "dashes too early": "name: toaster --- x\ndescription: x\n",
    "upper case": BASE.replace("toaster", "Toaster"),
    "other name": BASE.replace("toaster", "kettle"),
    "two hyphens": BASE.replace("toaster", "toa--ster"),
    "leading hyphen": BASE.replace("toaster", "-toaster"),
    "trailing hyphen": BASE.replace("toaster", "toaster-"),
    "underscore": BASE.replace("toaster", "toa_ster"),
    "space": BASE.replace("toaster", "toa ster"),
    "long name": BASE.replace("toaster", "t" * 65),
    "nothing": "",
}
VALID = {"least", "all fields", "block text", "quoted", "number for text", "comment", "longest", "dashes inside"}


@pytest.mark.parametrize("frontmatter", FRONTMATTERS.values(), ids=FRONTMATTERS.keys())
def test_the_verdict_on_a_frontmatter_is_that_of_the_reference(frontmatter: str, tmp_path: Path) -> None:
    directory = tmp_path / "toaster"
    directory.mkdir()
    content = f"---\n{frontmatter}---\n".encode() + CHART
    (directory / "SKILL.md").write_bytes(content)

    found = errors(validate("toaster", {"SKILL.md": content}))

    assert bool(found) == bool(reference(directory)), (found, reference(directory))


def test_both_verdicts_are_among_them() -> None:
    good = {name for name, text in FRONTMATTERS.items() if not errors(validate("toaster", {"SKILL.md": whole(text)}))}

    assert good == VALID


def whole(frontmatter: str) -> bytes:
    return f"---\n{frontmatter}---\n".encode() + CHART


@pytest.mark.parametrize("content", [b"", CHART, b"\xef\xbb\xbf" + HEAD + CHART, HEAD[:-4] + CHART])
def test_a_missing_frontmatter_is_refused_as_the_reference_does(content: bytes, tmp_path: Path) -> None:
    directory = tmp_path / "toaster"
    directory.mkdir()
    (directory / "SKILL.md").write_bytes(content)

    assert errors(validate("toaster", {"SKILL.md": content}))
    assert reference(directory)


def test_a_name_and_its_directory_are_compared_in_one_normal_form(tmp_path: Path) -> None:
    directory = tmp_path / "to\u0061\u0308ster"
    directory.mkdir()
    content = whole(BASE.replace("toaster", "toäster"))
    (directory / "SKILL.md").write_bytes(content)

    assert errors(validate(directory.name, {"SKILL.md": content})) == reference(directory) == []


def test_a_problem_names_its_line() -> None:
    text = BASE + "license: MIT\ncategory: kitchen\n"

    (problem,) = validate("toaster", {"SKILL.md": whole(text)})

    assert (problem.path, problem.line) == ("SKILL.md", 5)


@pytest.mark.parametrize(
    ("extra", "says"),
    [("metadata:\n  tags:\n    - a\n", "metadata should"), ("allowed-tools: Read,Grep\n", "separated by spaces")],
)
def test_what_the_specification_wants_but_nobody_enforces_is_advice(extra: str, says: str) -> None:
    (problem,) = validate("toaster", {"SKILL.md": whole(BASE + extra)})

    assert says in problem.says
    assert not problem.error


def test_a_long_body_is_advised_against() -> None:
    problems = validate("toaster", {"SKILL.md": HEAD + CHART + b"x y\n\n" * 6000})

    assert len(problems) == 2
    assert not errors(problems)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("[a](references/bread.md)", ""),
        ("[a](references/bread.md#rye-bread)", ""),
        ("[a](#toast)", ""),
        ("[a](https://example.com/x#y)", ""),
        ("[a](references/butter.md)", "leads nowhere"),
        ("[a](references/bread.md#white-bread)", "#white-bread"),
        ("[a](#jam)", "#jam"),
        ("[a](../other/SKILL.md)", "leads nowhere"),
    ],
)
def test_links_have_to_lead_somewhere_within_the_skill(link: str, says: str) -> None:
    files = {
        "SKILL.md": HEAD + CHART + f"## Toast\n\n{link}\n".encode(),
        "references/bread.md": b"# Rye bread\n\n[back](../SKILL.md#toast)\n",
    }

    problems = validate("toaster", files)

    assert [says in problem.says for problem in problems] == ([True] if says else [])
    assert all(problem.line == 12 for problem in problems)


def test_the_chart_is_judged_by_what_the_caller_hands_in() -> None:
    line = (HEAD + CHART).split(b"\n").index(b"flowchart TD") + 1
    lint: Callable[[str], list[tuple[int, str]]] = lambda text: [(2, text.split("\n")[1].strip())]  # noqa: E731

    (problem,) = validate("toaster", FILES, lint)

    assert (problem.line, problem.says) == (line + 1, "A{On?} -->|no| F1[FIX F1: plug it in]")


def test_a_chart_that_mermaid_refuses_is_a_problem_not_an_end() -> None:
    def refuse(text: str) -> list[tuple[int, str]]:
        raise ChartError("no such arrow", line=3)

    (problem,) = validate("toaster", FILES, refuse)

    assert (problem.line, problem.says) == (8, "no such arrow")


def test_a_skill_without_a_chart_is_no_skill_here() -> None:
    assert errors(validate("toaster", {"SKILL.md": HEAD + b"# Toast\n"})) == ["there is no Mermaid flowchart to walk"]


def test_the_body_is_what_follows_the_frontmatter() -> None:
    assert body_of("---\nname: x\n---\n\n# y\n\nz\n") == "# y\n\nz"
    assert body_of("# y\n---\nz\n") == "# y\n---\nz"
