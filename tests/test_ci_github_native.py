"""A build for several platforms becomes one job on machines of their own kind, and a job that joins the platforms."""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from coach import edits
from coach.ci import NativeArm, build_sites, change
from coach.model import Remedy, Safety
from coach.tree import MemoryTree
from tests.test_cases import WITH_PATCH, Case, originals, patched

WORKFLOW = ".github/workflows/ci.yml"
HEAD = """
on: push
jobs:
  image:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: docker/build-push-action@v6
        id: push
        with:
          platforms: linux/amd64,linux/arm64
          push: true
          tags: acme/app:latest
"""
WORKFLOWS = [
    case
    for case in WITH_PATCH
    if any(b"+++ b/.github/workflows/" in line for line in (case.folder / "expect.diff").read_bytes().splitlines())
]


def spread(text: str) -> tuple[Remedy, dict[str, Any]]:
    """The remedy for the first build of a workflow, and the jobs after it."""
    tree = MemoryTree({"Dockerfile": b"FROM a\n", WORKFLOW: text.encode()})
    remedy = change(tree, build_sites(tree).builds[0], NativeArm())
    after = edits.apply(text.encode(), remedy.edits)
    return remedy, yaml.safe_load(after)["jobs"]


@pytest.mark.parametrize("case", WORKFLOWS, ids=[f"{case.node}/{case.folder.name}" for case in WORKFLOWS])
def test_a_patched_workflow_is_read_as_before_but_for_what_was_meant(case: Case) -> None:
    tree = case.tree()
    _, _, remedy = case.remedy(tree)
    assert remedy is not None
    for path, content in originals(tree, remedy).items():
        if not path.startswith(".github/workflows/") or content is None:
            continue
        before, after = yaml.safe_load(content), yaml.safe_load(patched(tree, remedy).read(path))
        assert {key: value for key, value in before.items() if key != "jobs"} == {
            key: value for key, value in after.items() if key != "jobs"
        }
        assert list(before["jobs"]) == [name for name in after["jobs"] if name in before["jobs"]]
        for name, job in before["jobs"].items():
            then = after["jobs"][name]
            assert {key for key in job if key not in then} == set()
            if case.node == "arm64" and "merge" in after["jobs"] and then.get("steps") == job.get("steps"):
                same = {key: value for key, value in then.items() if key != "needs"}
                assert same == {key: value for key, value in job.items() if key != "needs"}


def _run(script: str, folder: Path, **env: str) -> str:
    """What a step's script prints, with a docker that prints its words."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "docker").write_text('#!/bin/sh\necho "docker $*"\n')
    (tools / "docker").chmod(0o755)
    work = folder / "digests"
    work.mkdir(exist_ok=True)
    path = f"{tools}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=work,
        env={"PATH": path, "RUNNER_TEMP": str(folder), **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_scripts_join_what_the_machines_wrote_down(tmp_path: Path) -> None:
    _, jobs = spread(HEAD)
    written = jobs["image"]["steps"][-2]["run"]
    joining = jobs["merge"]["steps"][-1]["run"]

    for digest in ("sha256:aa", "sha256:bb"):
        _run(written, tmp_path, DIGEST=digest)
    said = _run(joining, tmp_path, TAGS="acme/app:latest,reg.example:5000/app:1\nghcr.io/acme/app:2\n")

    assert said.splitlines() == [
        "docker buildx imagetools create --tag acme/app:latest acme/app@sha256:aa acme/app@sha256:bb",
        "docker buildx imagetools create --tag reg.example:5000/app:1"
        " reg.example:5000/app@sha256:aa reg.example:5000/app@sha256:bb",
        "docker buildx imagetools create --tag ghcr.io/acme/app:2"
        " ghcr.io/acme/app@sha256:aa ghcr.io/acme/app@sha256:bb",
    ]


def test_names_that_only_a_run_tells_are_taken_from_its_tags(tmp_path: Path) -> None:
    _, jobs = spread(HEAD.replace("acme/app:latest", "${{ vars.TAGS }}"))
    naming = next(step for step in jobs["image"]["steps"] if step.get("id") == "names")
    output = tmp_path / "output"

    _run(naming["run"], tmp_path, TAGS="ghcr.io/a/b:1\nghcr.io/a/b:2\nd/e:1", GITHUB_OUTPUT=str(output))

    assert output.read_text() == "names=d/e,ghcr.io/a/b\n"
    assert naming["env"] == {"TAGS": "${{ vars.TAGS }}"}
    pushed = next(step for step in jobs["image"]["steps"] if step.get("id") == "push")["with"]["outputs"]
    assert pushed.startswith('type=image,"name=${{ steps.names.outputs.names }}",push-by-digest=true')


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ("acme/app", "name=acme/app"),
        ("acme/app:1,acme/app:latest", "name=acme/app"),
        ("acme/app:${{ github.sha }}, ghcr.io/acme/app:1", '"name=acme/app,ghcr.io/acme/app"'),
        ("reg.example:5000/app:${{ format('a,b:{0}', github.sha) }}", "name=reg.example:5000/app"),
        ("${{ vars.REGISTRY }}/app:${{ github.ref_name }}", "name=${{ vars.REGISTRY }}/app"),
        ("ghcr.io/${{ github.repository }}:1", "name=ghcr.io/${{ github.repository }}"),
        ("acme/${{ github.event.inputs.tag }}", '"name=${{ steps.names.outputs.names }}"'),
    ],
)
def test_names_without_tags(tags: str, names: str) -> None:
    _, jobs = spread(HEAD.replace("acme/app:latest", tags))

    build = next(step for step in jobs["image"]["steps"] if step.get("id") == "push")
    assert build["with"]["outputs"] == f"type=image,{names},push-by-digest=true,name-canonical=true,push=true"
    assert "tags" not in build["with"]
    assert jobs["merge"]["steps"][-1]["env"]["TAGS"] == tags


@pytest.mark.parametrize(
    ("push", "condition"),
    [
        ("${{ github.event_name != 'pull_request' }}", "github.event_name != 'pull_request'"),
        ("${{ startsWith(github.ref, 'refs/tags/') }}", "startsWith(github.ref, 'refs/tags/')"),
        ("${{ !(github.ref == 'a' || github.ref == 'b') }}", "${{ !(github.ref == 'a' || github.ref == 'b') }}"),
    ],
)
def test_nothing_is_joined_where_nothing_is_pushed(push: str, condition: str) -> None:
    _, jobs = spread(HEAD.replace("push: true", f"push: {push}"))

    assert jobs["merge"]["if"] == condition
    assert [step.get("if") for step in jobs["image"]["steps"]] == [None, None, condition, condition]
    assert jobs["image"]["steps"][1]["with"]["outputs"].endswith(f",push={push}")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("push: true", "push: ${{ inputs.push }}", "true or false"),
        ("push: true", "push: ${{ env.PUSH == 'yes' }}", "env"),
        ("push: true", "push: ${{ steps.x.outputs.push == 'yes' }}", "steps"),
        ("push: true", "push: true\n          load: true", "load"),
        ("push: true", "push: true\n          outputs: type=oci,dest=x", "outputs"),
        ("push: true", "push: true\n          cache-to: type=local,dest=/tmp/x", "local"),
        ("push: true", "push: true\n          cache-to: ${{ vars.CACHE }}", "caches"),
        ("acme/app:latest", "${{ steps.gone.outputs.tags }}", "gone"),
        ("acme/app:latest", "acme/app:${{ env.GONE }}", "env.GONE"),
        ("acme/app:latest", "reg.example:5000/app", "port"),
        ("linux/amd64,linux/arm64", "linux/arm64,${{ vars.MORE }}", "platforms"),
        ("ubuntu-latest", "ubuntu-24.04-16core", "machine"),
        ("ubuntu-latest", "[self-hosted, linux]", "machine"),
        ("    steps:", "    concurrency: image\n    steps:", "one run"),
        ("    steps:", "    container: node:22\n    steps:", "container"),
        ("    steps:", "    defaults: {run: {shell: pwsh}}\n    steps:", "shell"),
        ("    steps:", "    outputs:\n      d: ${{ steps.push.outputs.digest }}\n    steps:", "other jobs"),
        ("- uses: actions/checkout@v4", "- uses: softprops/action-gh-release@v2", "softprops"),
        ("- uses: actions/checkout@v4", "- run: git tag v1", "git tag"),
        ("- uses: actions/checkout@v4", "- run: npm publish", "npm publish"),
        ("acme/app:latest", "acme/app:latest\n      - run: docker build -t base .", "several times"),
        ("docker/build-push-action@v6", "docker/bake-action@v6", "bake-action"),
    ],
)
def test_what_cannot_be_spread_is_shown_with_the_reason(old: str, new: str, why: str) -> None:
    text = HEAD.replace(old, new)
    assert text != HEAD
    tree = MemoryTree(
        {
            "Dockerfile": b"FROM a\n",
            WORKFLOW: text.encode(),
            "docker-bake.hcl": b'target "default" {\n  context = "."\n  platforms = ["linux/arm64"]\n}\n',
        }
    )
    build = next(build for build in build_sites(tree).builds if build.ci)

    remedy = change(tree, build, NativeArm())

    assert (remedy.safety, remedy.edits) == (Safety.SHOW, ())
    assert why in remedy.reasons[0]
    assert "push-by-digest=true" in remedy.guidance


def test_two_jobs_of_one_file_get_a_joining_job_each() -> None:
    second = textwrap.dedent(HEAD).split("jobs:\n")[1].replace("  image:", "  other:").replace("acme/app", "acme/other")
    text = HEAD + second
    tree = MemoryTree({"Dockerfile": b"FROM a\n", WORKFLOW: text.encode()})

    made = [edit for build in build_sites(tree).builds for edit in change(tree, build, NativeArm()).edits]
    jobs = yaml.safe_load(edits.apply(text.encode(), made))["jobs"]

    assert list(jobs) == ["image", "merge-image", "other", "merge-other"]
    assert jobs["merge-other"]["steps"][0]["with"]["pattern"] == "digests-other-*"


def test_a_file_without_a_last_line_end_and_with_the_build_at_its_end() -> None:
    _, jobs = spread(HEAD.rstrip("\n"))

    assert list(jobs) == ["image", "merge"]
    assert jobs["merge"]["needs"] == "image"


def test_letters_of_several_bytes_stay_whole() -> None:
    cache = "cache-to: type=gha,scope=größe\n          cache-from: |\n            type=gha,scope=größe\n"
    _, jobs = spread(HEAD.replace("push: true\n", f"push: true\n          {cache}"))

    assert jobs["image"]["steps"][1]["with"]["cache-to"] == "type=gha,scope=größe-${{ runner.arch }}"
    assert jobs["image"]["steps"][1]["with"]["cache-from"] == "type=gha,scope=größe-${{ runner.arch }}\n"


def test_old_versions_of_the_artifact_actions_are_not_followed() -> None:
    _, jobs = spread(HEAD + "  other:\n    runs-on: x\n    steps:\n      - uses: actions/upload-artifact@v3\n")

    assert jobs["image"]["steps"][-1]["uses"] == "actions/upload-artifact@v4"
