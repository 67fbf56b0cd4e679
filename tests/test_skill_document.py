"""The shipped skill: what its ids, headings, links, examples and evaluations promise."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from skills_ref.validator import validate as reference

from coach import dockerfile, flowchart, safe_yaml, shell
from coach.course import own_skill
from coach.skill import Skill, load, load_shipped
from coach.skill_install import MAX_BODY_LINES, MAX_BODY_TOKENS, body_of, estimated_tokens, plan_export, validate

ROOT = Path(__file__).parent.parent / "skill"
FILES = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in sorted(ROOT.rglob("*")) if path.is_file()}
NAME = "dockerfile-build-cache-mastery"

CHART = {
    "start": {
        "every_commit": "layer_order",
        "reinstalls": "cache_mount",
        "too_big": "multi_stage",
        "arm64_slow": "arm64",
        "leaked_secret": "secrets",
        "cold_ci": "cold_ci",
        "alpine_crash": "libc",
        "not_sure": "buildkit",
    },
    "buildkit": {"no": "F1", "yes": "layer_order"},
    "layer_order": {"no": "F2", "yes": "cache_mount"},
    "cache_mount": {"no": "F3", "yes": "multi_stage"},
    "multi_stage": {"no": "F4", "yes": "cold_ci"},
    "cold_ci": {"yes": "F5", "no": "runtime_image"},
    "runtime_image": {"yes": "F6", "no": "arm64"},
    "arm64": {"qemu": "F7", "no": "context", "native": "context", "cross": "context"},
    "context": {"no": "F8", "yes": "no_cache"},
    "no_cache": {"yes": "F9", "no": "secrets"},
    "secrets": {"yes": "F10", "no": "libc"},
    "libc": {"yes": "F11", "no": "nonroot"},
    "nonroot": {"yes": "F12", "no": "signing"},
    "signing": {"yes": "F13", "no": "done"},
}
ADVICE = {
    # FIX: (section, anti-pattern)
    "F1": ("Enable BuildKit", "Building with the legacy builder"),
    "F2": ("Layer ordering for cache", "`COPY . .` before `npm install`"),
    "F3": ("Cache mounts", "Package manager without a cache mount"),
    "F4": ("Multi-stage builds", "Single-stage with build tools"),
    "F5": ("Inline cache + registry cache", "CI that starts cold"),
    "F6": ("Distroless vs Alpine", "A runtime base with a toolchain in it"),
    "F7": ("Multi-arch with buildx", "Compiling under QEMU"),
    "F8": ("`.dockerignore`", "Missing `.dockerignore`"),
    "F9": ("Keep the cache in CI", "`--no-cache` in CI by default"),
    "F10": ("Secret mounts", "Secret in `ENV` or `ARG`"),
    "F11": ("One libc from build to runtime", "Alpine for compiled languages without testing"),
    "F12": ("Run as a numeric user", "Root in the final stage"),
    "F13": ("Image signing with cosign", "Pushing unsigned images"),
}
WITHOUT_FIX = {"COPY ordering: separate concerns", "Build args vs env"}
GATES = {
    "noop-rebuild",
    "lockfile-rebuild",
    "buildkit-on",
    "ignore-file",
    "context-small",
    "multi-stage",
    "image-size",
    "copy-order",
    "cache-mounts",
    "registry-cache",
    "no-secrets",
    "non-root",
    "signed",
    "multi-arch",
}


@pytest.fixture(scope="module")
def skill() -> Skill:
    return load(FILES["SKILL.md"].decode(), "SKILL.md")


@pytest.fixture(scope="module")
def chart(skill: Skill) -> flowchart.Chart:
    return flowchart.load_chart(skill.chart_text)


def test_the_light_reading_of_the_shipped_skill_is_the_full_one(skill: Skill) -> None:
    light = load_shipped(FILES["SKILL.md"].decode(), "SKILL.md")

    assert light == skill
    assert light.prose() == skill.prose()
    assert own_skill().chart_text == skill.chart_text


def lint(text: str) -> Iterator[tuple[int, str]]:
    for problem in flowchart.lint(flowchart.load_chart(text)):
        yield problem.line, problem.says


def test_an_exported_copy_passes_the_reference_validator(tmp_path: Path) -> None:
    for write in plan_export(FILES, lambda path: None, str(tmp_path)).writes:
        Path(write.path).parent.mkdir(parents=True, exist_ok=True)
        Path(write.path).write_bytes(write.content)

    assert reference(tmp_path / NAME) == []


def test_no_rule_advice_link_anchor_or_lint_is_broken() -> None:
    assert validate(NAME, FILES, lint) == ()


def test_the_body_keeps_within_the_limits_of_the_specification() -> None:
    body = body_of(FILES["SKILL.md"].decode())

    assert body.count("\n") + 1 < MAX_BODY_LINES
    assert estimated_tokens(body) < MAX_BODY_TOKENS


def test_the_first_sentence_of_the_description_says_when_to_use_it(skill: Skill) -> None:
    first = re.split(r"[.:]", skill.description)[0]

    assert first.startswith("Use when")
    assert {"slow", "cache", "big", "secret"} <= set(re.findall(r"\w+", first))


def test_the_chart_asks_what_the_public_contract_says(chart: flowchart.Chart) -> None:
    questions = {node: flowchart.choices(chart, node) for node in chart if not flowchart.is_fix(chart, node)}
    asked = {
        node: {choice: flowchart.follow(chart, node, choice) for choice in choices}
        for node, choices in questions.items()
        if choices
    }

    assert asked == CHART
    assert flowchart.entry(chart) == "start"


def test_after_a_fix_the_walk_goes_on_where_it_would_have_gone_without_one(chart: flowchart.Chart) -> None:
    for node, choices in CHART.items():
        for target in choices.values():
            if target in ADVICE:
                onward = {other for other in choices.values() if other != target}
                assert {flowchart.after_fix(chart, target)} == onward, node


def test_every_fix_has_its_section_and_its_anti_pattern(skill: Skill, chart: flowchart.Chart) -> None:
    assert {node for node in chart if flowchart.is_fix(chart, node)} == set(ADVICE)
    assert set(skill.sections) == {section for section, _ in ADVICE.values()} | WITHOUT_FIX
    assert set(skill.anti_patterns) == {anti_pattern for _, anti_pattern in ADVICE.values()}


def test_an_anti_pattern_has_all_its_parts_and_names_its_fix(skill: Skill) -> None:
    for fix, (_, title) in ADVICE.items():
        anti_pattern = skill.anti_patterns[title]
        assert anti_pattern.symptom
        assert anti_pattern.diagnosis
        assert anti_pattern.fix.startswith(f"{fix}. ")


def test_every_section_explains_and_shows(skill: Skill) -> None:
    for section in skill.sections.values():
        assert "```" in section.markdown or "| libc |" in section.markdown, section.title
        assert re.search(r"^[A-Z`].{40,}", section.markdown, re.MULTILINE), section.title


def test_the_jump_list_and_the_start_of_the_chart_are_one_set(skill: Skill) -> None:
    assert {jump.symptom: jump.node for jump in skill.jumps} == CHART["start"]
    assert all(jump.section for jump in skill.jumps)


def test_a_jump_leads_to_the_section_of_the_fix_that_its_node_decides_on(skill: Skill) -> None:
    for jump in skill.jumps:
        fix = next(target for target in CHART[jump.node].values() if target in ADVICE)
        assert jump.section == ADVICE[fix][0]


def test_the_gates_are_known_each_once_and_name_the_fix_that_mends_them(skill: Skill) -> None:
    ids = [gate.id for gate in skill.gates]

    assert len(ids) == len(set(ids))
    assert set(ids) == GATES
    assert all(gate.fixes and set(gate.fixes) <= set(ADVICE) for gate in skill.gates)


def test_the_worked_example_tells_both_ways_and_what_they_cost(skill: Skill) -> None:
    assert skill.worked_example is not None
    for word in ("Novice", "Expert", "Timeline", "14", "220 MB"):
        assert word in skill.worked_example.markdown


def test_an_agent_is_told_how_to_drive_coach_and_what_to_do_without_it() -> None:
    body = body_of(FILES["SKILL.md"].decode())

    for words in ("coach diagnose --json", "`pending`", "--answer", "coach fix --diff", "coach fix --apply"):
        assert words in body
    assert re.search(r"Exit 0: done\. 1: .*FIX.* 2: .* 3: undecided", body)
    assert "Without coach" in body


def code_blocks() -> Iterator[tuple[str, str, str]]:
    for path, content in FILES.items():
        if path.endswith(".md"):
            for match in re.finditer(r"^```(\w+)\n(.*?)^```$", content.decode(), re.MULTILINE | re.DOTALL):
                line = content.decode().count("\n", 0, match.start()) + 1
                yield f"{path}:{line}", match[1], match[2]


BLOCKS = list(code_blocks())


@pytest.mark.parametrize(("place", "language", "code"), BLOCKS, ids=[f"{place}-{lang}" for place, lang, _ in BLOCKS])
def test_every_code_block_parses(place: str, language: str, code: str) -> None:
    if language == "dockerfile":
        text = code if re.search(r"^FROM ", code, re.MULTILINE) else f"FROM scratch\n{code}"
        parsed = dockerfile.parse(text.encode(), place)
        for instruction in parsed.instructions:
            if instruction.name == "RUN" and not instruction.json:
                assert not shell.parse(instruction.value).broken, instruction.value
    elif language == "yaml":
        assert isinstance(safe_yaml.load(code.encode(), place), dict)
    elif language == "bash":
        assert not shell.parse(code).broken
    else:
        assert language in ("mermaid", "text")


def test_examples_keep_their_own_rules() -> None:
    right = [code for _, language, code in BLOCKS if language == "dockerfile" and "wrong" not in code]

    for code in right:
        assert not re.search(r"sharing=private|libc\+\+|--no-cache-dir", code)
        assert not re.search(r"ARG TARGET(ARCH|OS|PLATFORM)=", code)
        assert not re.search(r"^USER [a-z]+$", code, re.MULTILINE) or "USER node" in code


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("references/")])
def test_a_reference_is_linked_from_the_skill_and_says_where_its_facts_come_from(path: str, skill: Skill) -> None:
    assert path in {link.target for link in skill.links}
    if "worked-example" not in path:
        assert re.search(r"^## Sources \(read 20\d\d-\d\d\)\n\n- \S", FILES[path].decode(), re.MULTILINE)


def test_the_table_of_cache_directories_agrees_with_what_coach_knows() -> None:
    table = FILES["references/cache-directories.md"].decode()

    for path in sorted((ROOT.parent / "coach" / "knowledge" / "managers").glob("*.toml")):
        for cache in tomllib.loads(path.read_text()).get("cache", ()):
            default = cache["paths"][-1]
            if default.startswith("~?"):
                continue  # where it lies is not known unless a variable says so

            assert f"`{default}`" in table, f"{path.stem}: {default}"


def test_the_trigger_set_is_balanced_over_both_splits() -> None:
    triggers = json.loads(FILES["evals/triggers.json"])
    queries = triggers["queries"]

    assert triggers["skill_name"] == NAME
    assert triggers["runs"] >= 1
    assert 0 < triggers["threshold"] < 1
    assert len(queries) >= 20
    assert len({query["query"] for query in queries}) == len(queries)
    assert sum(query["should_trigger"] for query in queries) * 2 == len(queries)
    for query in queries:
        assert set(query) == {"query", "should_trigger", "split"}
        assert len(query["query"]) > 20
    for split in ("train", "validation"):
        kinds = [query["should_trigger"] for query in queries if query["split"] == split]
        assert sum(kinds) * 2 == len(kinds) > 0


def test_the_evaluations_are_complete_and_their_files_are_what_they_claim() -> None:
    evals = json.loads(FILES["evals/evals.json"])

    assert evals["skill_name"] == NAME
    assert len(evals["evals"]) >= 6
    assert len({each["id"] for each in evals["evals"]}) == len(evals["evals"])
    for each in evals["evals"]:
        assert set(each) == {"id", "prompt", "expected_output", "files", "assertions"}
        assert each["prompt"]
        assert len(each["assertions"]) >= 3
        assert set(re.findall(r"\bF\d+\b", each["expected_output"])) <= set(ADVICE)
        dockerfile.parse(each["files"]["Dockerfile"].encode())
        for path, content in each["files"].items():
            if path.endswith(".json"):
                json.loads(content)
            elif path.endswith(".yml"):
                assert "jobs" in str(safe_yaml.load(content.encode(), path))
