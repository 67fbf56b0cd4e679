"""The house rules: imports point one way, lessons and chart agree, heavy libraries stay where they are used."""

from __future__ import annotations

import ast
from pathlib import Path

import coach
from coach import lessons
from coach.flowchart import load_chart
from coach.skill import load

ROOT = Path(coach.__file__).parent
SKILL = ROOT.parent / "skill" / "SKILL.md"

# Lower floors never import higher ones. A name stands for a module or a package.
FLOORS: list[set[str]] = [
    {"errors", "model", "__init__"},
    {"tree", "redact", "goregex"},
    {"measured"},
    {"knowledge", "edits", "safe_yaml", "mermaid_data", "mermaid_lexer", "mermaid_grammar", "flowchart", "skill"},
    {"expansion", "instructions", "stages", "dockerfile", "dockerignore", "shell", "makefile", "images"},
    {"accounts", "remedies", "manifests"},
    {"hoist", "parents", "steps", "ci", "layers", "buildlog", "rawlog"},
    {"site"},
    {"targets", "order", "platforms", "leaks", "shipped", "cache_needs", "mount_owner", "replay", "verify", "misses"},
    {"junk", "reorder", "movable", "mountable", "linkage", "system_packages", "cache_edits"},
    {"split"},
    {"lessons"},
    {"session", "gates"},
    {"engine", "repo", "config", "skill_install", "history"},
    {"course", "state", "render", "hunks", "explain", "project"},
    {"memory", "ask", "skill_command", "verify_command", "replay_command"},
    {"log_command"},
    {"gates_command"},
    {"cli", "__main__"},
]
OWNERS = {
    "rich": {"render/text.py", "render/chart.py"},
    "prompt_toolkit": {"ask.py"},
    "dockerfile_parse": {"dockerfile.py"},
    "subprocess": {"repo.py", "engine.py"},
}


def modules() -> dict[str, ast.Module]:
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def imported(tree: ast.Module) -> set[str]:
    """Names of all modules a file imports, wherever the import stands; type-checking imports do not count."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "coach" else {node.module}
            )
    return found


def floor(name: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if name in names)


def test_every_module_has_a_floor() -> None:
    names = {path.split("/")[0].removesuffix(".py") for path in modules()}

    assert names - set().union(*FLOORS) - {"_skill"} == set()


def test_imports_point_one_way() -> None:
    for path, tree in modules().items():
        here = path.split("/")[0].removesuffix(".py")
        for name in imported(tree):
            if name.startswith("coach.") and name.split(".")[1] != here:
                there = name.split(".")[1]
                if there in {"__version__"}:
                    continue
                assert floor(there) <= floor(here), f"{path} imports {name}"


def test_lessons_never_import_lessons() -> None:
    for path, tree in modules().items():
        if path.startswith("lessons/") and path != "lessons/__init__.py":
            assert not [name for name in imported(tree) if name.startswith("coach.lessons")], path


def test_heavy_libraries_have_one_owner() -> None:
    for path, tree in modules().items():
        for name in imported(tree):
            owners = OWNERS.get(name.split(".")[0])
            assert owners is None or path in owners, f"{path} imports {name}"


def test_nothing_but_its_owners_touches_the_disk() -> None:
    rooms = {"repo.py", "ask.py", "cli.py", "state.py", "memory.py", "skill_command.py", "project.py", "engine.py"}
    rooms |= {"replay_command.py"}
    for path, tree in modules().items():
        if path in rooms or path.startswith("knowledge/"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                assert name not in {
                    "open",
                    "read_text",
                    "read_bytes",
                    "write_text",
                    "write_bytes",
                    "unlink",
                    "Popen",
                } or ("importlib" in ast.unparse(tree) and name in {"read_text", "read_bytes"}), (
                    f"{path}:{node.lineno} calls {name}"
                )


def test_lessons_and_chart_are_the_same_set() -> None:
    skill = load(SKILL.read_text(), "skill/SKILL.md")
    chart = load_chart(skill.chart_text)
    found = {lesson.NODE: lesson for lesson in lessons.discover()}
    questions = {node for node, data in chart.nodes(data=True) if data["shape"] == "diamond"}

    assert set(found) == questions
    assert {lesson.FIX for lesson in found.values()} == {
        node for node in chart if node[0] == "F" and node[1:].isdigit()
    }
    for node, lesson in found.items():
        assert any(target == lesson.FIX for _, target in chart.out_edges(node)), node
        assert lesson.SECTION in skill.sections, lesson.SECTION
        assert lesson.ANTI_PATTERN in skill.anti_patterns, lesson.ANTI_PATTERN
    assert {lesson.ANTI_PATTERN for lesson in found.values()} == set(skill.anti_patterns)


def test_the_choices_that_lead_to_a_fix_are_those_the_cases_expect() -> None:
    from tests.test_cases import FIX_CHOICE

    chart = load_chart(load(SKILL.read_text(), "skill/SKILL.md").chart_text)
    fixing = {
        source: data["label"]
        for source, target, data in chart.edges(data=True)
        if target[0] == "F" and target[1:].isdigit()
    }

    assert fixing == FIX_CHOICE
