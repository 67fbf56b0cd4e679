from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import pexpect
import pytest
from jsonschema import Draft202012Validator

from coach import gates, gates_command
from coach.cli import main
from coach.course import own_skill
from coach.gates import Look, Measured, Result, Status
from coach.measured import Build, BuildStep, File, Image, secrets_in
from coach.model import certain
from coach.project import open_project
from coach.render import gates as shown
from coach.render.text import Style
from tests.repository import coach, environment, write

NOTHING = Measured()
PASS, FAIL, UNKNOWN, NOT = Status.PASS, Status.FAIL, Status.UNKNOWN, Status.NOT_APPLICABLE

GOOD = {
    "Dockerfile": """\
FROM golang:1.24 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ENV CGO_ENABLED=0
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build go build -o /app .
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /app /app
USER 65532:65532
ENTRYPOINT ["/app"]
""",
    "go.mod": "module example.com/a\n\ngo 1.24\n\nrequire golang.org/x/text v0.3.0\n",
    "go.sum": "golang.org/x/text v0.3.0 h1:x\n",
    "main.go": "package main\n\nfunc main() {}\n",
    ".dockerignore": ".git\n.env\n",
    ".github/workflows/ci.yml": """\
on: push
jobs:
  image:
    runs-on: ubuntu-24.04
    permissions: {contents: read, packages: write, id-token: write}
    steps:
      - uses: actions/checkout@v4
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        id: push
        with:
          push: true
          tags: ghcr.io/a/b:1
          platforms: linux/amd64
          cache-from: type=gha
          cache-to: type=gha,mode=max
      - uses: sigstore/cosign-installer@v3
      - run: cosign sign --yes ghcr.io/a/b@${{ steps.push.outputs.digest }}
""",
}

INSTALL = "[build 4/6] RUN --mount=type=cache,target=/go/pkg/mod go mod download"


def image(**more: object) -> Image:
    made = Image("app:1", 20_000_000, "65532", (), (), (), ("/app",), "/", "linux/amd64", {"app": file()})
    return replace(made, **more)  # type: ignore[arg-type]


def file() -> File:
    return File(0o755, 0, 0, "x", 3)


def build(*steps: tuple[str, bool], seconds: float = 5, context: int = 1000) -> Build:
    return Build(tuple(BuildStep(name, cached, 1.0) for name, cached in steps), seconds, context)


class Judged(Protocol):
    def __call__(
        self, changed: Mapping[str, str | None] = ..., measured: Measured = ..., **answers: str
    ) -> Mapping[str, Result]: ...


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """The gates over files, with something put in place of some and something measured."""

    def run(
        changed: Mapping[str, str | None] = {}, measured: Measured = NOTHING, **answers: str
    ) -> Mapping[str, Result]:
        files = {path: text for path, text in {**GOOD, **changed}.items() if text is not None}
        project = open_project(write(tmp_path, files))
        (site,) = project.found().sites
        probed = gates_command.answers(project, site)
        look = Look(site, lambda node: certain(answers[node], "said") if node in answers else probed(node), measured)
        return {one.id: one for one in gates.check(look)}

    return run


# What makes each gate fail, and what it then cites: changed files, or measures.
FILE_FAILURES = {
    "buildkit-on": (
        {
            ".github/workflows/ci.yml": "jobs:\n  a:\n    runs-on: u\n    env: {DOCKER_BUILDKIT: 0}\n"
            "    steps: [{run: docker build .}]\n",
            "Dockerfile": "FROM alpine\nCOPY . .\n",
        },
        ".github/workflows/ci.yml",
    ),
    "ignore-file": ({".dockerignore": "*.log\n"}, ".dockerignore"),
    "context-small": ({"data.bin": "x" * 6_000_000}, "Dockerfile"),
    "multi-stage": ({"Dockerfile": "FROM golang:1.24\nCOPY . .\nRUN go build -o /app .\n"}, "Dockerfile"),
    "image-size": ({"Dockerfile": "FROM golang:1.24\nCOPY . .\nRUN go build -o /app .\n"}, "Dockerfile"),
    "copy-order": ({"Dockerfile": GOOD["Dockerfile"].replace("COPY go.mod go.sum ./", "COPY . .")}, "Dockerfile"),
    "cache-mounts": ({"Dockerfile": "FROM golang:1.24\nCOPY go.mod go.sum ./\nRUN go mod download\n"}, "Dockerfile"),
    "registry-cache": (
        {".github/workflows/ci.yml": GOOD[".github/workflows/ci.yml"].replace("cache-", "#")},
        ".github/workflows/ci.yml",
    ),
    "no-secrets": ({"Dockerfile": GOOD["Dockerfile"] + "ENV API_TOKEN=ghp_a1B2a1B2a1B2a1B2a1B2a1B2\n"}, "Dockerfile"),
    "non-root": ({"Dockerfile": GOOD["Dockerfile"].replace("USER 65532:65532", "USER root")}, "Dockerfile"),
    "signed": (
        {".github/workflows/ci.yml": GOOD[".github/workflows/ci.yml"].split("      - uses: sigstore")[0]},
        ".github/workflows/ci.yml",
    ),
    "multi-arch": (
        {"deploy.yaml": "spec:\n  nodeSelector:\n    kubernetes.io/arch: arm64\n"},
        "deploy.yaml",
    ),
}
MEASURED_FAILURES = {
    "noop-rebuild": Measured(unchanged=build((INSTALL, False), seconds=31)),
    "lockfile-rebuild": Measured(lockfile=build((INSTALL, True)), lockfile_path="go.sum"),
    "context-small": Measured(cold=build(context=5_000_001)),
    "multi-stage": Measured(image=image(files={"usr/bin/apt": file()})),
    "image-size": Measured(image=image(size=100_000_001)),
    "no-secrets": Measured(image=image(env=("DB_PASSWORD=hunter2hunter2",))),
    "non-root": Measured(image=image(user="0:0")),
}


def test_every_gate_of_the_skill_is_checked_and_no_other() -> None:
    listed = {gate.id: gate.fixes for gate in own_skill().gates}

    assert [gate.id for gate in gates.GATES] == list(listed)
    assert {gate.id: (gate.fix,) for gate in gates.GATES} == listed


def test_every_gate_can_fail() -> None:
    assert set(FILE_FAILURES) | set(MEASURED_FAILURES) == {gate.id for gate in gates.GATES}


def test_a_good_repository_passes(judged: Judged) -> None:
    found = judged()

    assert {one.id: one.status for one in found.values() if one.status is not PASS} == {
        "noop-rebuild": UNKNOWN,
        "lockfile-rebuild": UNKNOWN,
        "image-size": UNKNOWN,
        "multi-arch": NOT,
    }
    assert all(one.how for one in found.values() if one.status is UNKNOWN)


def test_good_measures_pass(judged: Judged) -> None:
    noop = build((INSTALL, True), ("[build 6/6] RUN go build", True), seconds=1)
    changed = build(("[build 3/6] COPY go.mod go.sum ./", False), (INSTALL, False), ("[build 5/6] COPY . .", False))
    found = judged(measured=Measured(image(), build((INSTALL, False)), noop, changed, "go.sum"))

    assert {one.status for one in found.values()} == {PASS, NOT}


@pytest.mark.parametrize("gate", sorted(FILE_FAILURES))
def test_a_gate_fails_by_the_files(judged: Judged, gate: str) -> None:
    changed, cited = FILE_FAILURES[gate]
    found = judged(changed)[gate]

    assert found.status is FAIL, found
    assert cited in {one.path for one in found.evidence}


@pytest.mark.parametrize("gate", sorted(MEASURED_FAILURES))
def test_a_gate_fails_by_what_was_measured(judged: Judged, gate: str) -> None:
    found = judged(measured=MEASURED_FAILURES[gate])[gate]

    assert found.status is FAIL, found
    assert "hunter2" not in found.says


def test_a_step_above_the_install_must_not_rerun_with_the_lockfile(judged: Judged) -> None:
    dockerfile = GOOD["Dockerfile"].replace(
        "RUN --mount=type=cache,target=/go/pkg/mod go mod", "RUN make tools\nRUN go mod"
    )
    log = build(("[build 4/7] RUN make tools", False), ("[build 5/7] RUN go mod download", False))
    found = judged({"Dockerfile": dockerfile}, Measured(lockfile=log, lockfile_path="go.sum"))["lockfile-rebuild"]

    assert found.status is FAIL
    assert "make tools" in found.says
    assert found.evidence[0].text == "RUN make tools"


def test_an_index_that_lacks_a_deployed_platform_fails(judged: Judged) -> None:
    both = "nodeSelector: {kubernetes.io/arch: arm64}\n---\nnodeSelector: {kubernetes.io/arch: amd64}\n"
    one, two = ("linux/amd64",), ("linux/amd64", "linux/arm64")

    for platforms, status in ((one, FAIL), (two, PASS)):
        measured = Measured(image=image(platforms=platforms))
        assert judged({"deploy.yaml": both}, measured)["multi-arch"].status is status


def test_a_match_expression_names_an_architecture_too(judged: Judged) -> None:
    text = "- key: kubernetes.io/arch\n  operator: In\n  values:\n    - arm64\n"

    assert judged({"deploy.yaml": text})["multi-arch"].status is FAIL


def test_nothing_to_install_nothing_to_hold(judged: Judged) -> None:
    files = {"Dockerfile": "FROM nginx:1.27\nCOPY index.html /usr/share/nginx/html/\n", "index.html": "x"}
    found = judged({**files, "go.mod": None, "go.sum": None, "main.go": None, ".github/workflows/ci.yml": None})

    ids = {one.id for one in found.values() if one.status is NOT}
    assert ids >= {
        "lockfile-rebuild",
        "ignore-file",
        "copy-order",
        "cache-mounts",
        "registry-cache",
        "signed",
        "multi-arch",
    }


def test_a_wide_context_only_counts_what_gets_through(judged: Judged) -> None:
    big = {"data/x.bin": "x" * 6_000_000}

    assert judged({**big, ".dockerignore": ".git\n.env\ndata\n"})["context-small"].status is PASS


def test_a_failed_build_leaves_its_gates_unknown(judged: Judged) -> None:
    found = judged(measured=Measured(failed="the build fails at RUN x"))

    for gate in ("noop-rebuild", "lockfile-rebuild", "image-size"):
        assert found[gate].status is UNKNOWN
        assert "the build fails at RUN x" in found[gate].says


def test_an_image_alone_is_judged_without_a_dockerfile() -> None:
    look = Look(None, lambda _: certain("yes", "never asked"), Measured(image=image(user="root")))
    found = {one.id: one.status for one in gates.check(look)}

    assert (found["non-root"], found["multi-stage"], found["no-secrets"]) == (FAIL, PASS, PASS)
    assert found["copy-order"] is UNKNOWN


def test_the_limit_follows_what_runs(tmp_path: Path) -> None:
    node = GOOD["Dockerfile"].replace("gcr.io/distroless/static-debian12:nonroot", "node:24-slim")
    limits = []
    for number, text in enumerate((GOOD["Dockerfile"], node)):
        (site,) = open_project(write(tmp_path / str(number), {**GOOD, "Dockerfile": text})).found().sites
        limits.append(gates.limit_mb(site))

    assert limits == [(100, "Go"), (300, "Node")]


def test_tools_are_found_by_where_they_stand() -> None:
    paths = ("usr/bin/apt-get", "usr/local/bin/npm", "app/bin-notes/gcc", "app/node_modules/typescript/package.json")
    found = gates.tools_in(image(files={path: file() for path in paths}))

    assert {path for _, path in found} == {"usr/bin/apt-get", "usr/local/bin/npm", "app/node_modules/typescript"}


def test_secrets_in_an_image_are_named_and_never_shown() -> None:
    value = "ghp_" + "a1B2" * 8
    seen = secrets_in(
        image(
            env=("PATH=/bin", "NODE_ENV=production", "DB_PASSWORD=s3cretS3cret99"),
            history=(f"RUN |1 T={value} /bin/sh -c true", f"RUN curl -H 'Authorization: Bearer {value}' x"),
        )
    )

    assert seen == ("DB_PASSWORD", "T", "a token")


# -- showing


def test_every_form_says_the_same(judged: Judged) -> None:
    project_results = list(judged({"Dockerfile": FILE_FAILURES["copy-order"][0]["Dockerfile"]}).values())
    checked = [(None, project_results)]
    document = json.loads(shown.json_text(checked, "app:1"))
    tree = ElementTree.fromstring(shown.junit(checked, "app:1"))
    suite = tree[0]
    text, table = shown.plain(checked, "app:1", Style()), shown.markdown(checked, "app:1")

    assert list(Draft202012Validator(json.loads(shown.schema())).iter_errors(document)) == []
    failed = [one.id for one in project_results if one.status is FAIL]
    assert [one["id"] for one in document["targets"][0]["gates"] if one["status"] == "fail"] == failed
    assert [case.get("name") for case in suite if case.find("failure") is not None] == failed
    skipped = [one for one in project_results if one.status in (UNKNOWN, NOT)]
    counts = (suite.get("tests"), suite.get("failures"), suite.get("skipped"))
    assert counts == (str(len(project_results)), str(len(failed)), str(len(skipped)))
    assert all(f"❌ fail | `{gate}`" in table for gate in failed)
    assert all(gate in text for gate in failed)
    assert text.endswith(f"{shown.summary(checked)}\n")


def test_no_text_of_a_file_can_break_the_report(judged: Judged) -> None:
    hostile = Result("copy-order", "x", "F2", FAIL, 'a "<b>|`\x00\x1b[31m\ufffe]]>')
    checked = [(None, [hostile])]

    assert "\x1b" not in shown.plain(checked, "", Style())
    assert "|`\x00" not in shown.markdown(checked, "")
    assert ElementTree.fromstring(shown.junit(checked, ""))[0][0][0].get("message")


# -- the command


def test_reports_for_programs_need_no_terminal_library(tmp_path: Path) -> None:
    script = "import sys; from coach.cli import main; main(['gates', '--json']); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=write(tmp_path, {"Dockerfile": "FROM alpine\n"}),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "'rich" not in done.stdout
    assert "'prompt_toolkit" not in done.stdout
    assert "'coach.gates'" in done.stdout


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = write(tmp_path / "repo", GOOD)
    monkeypatch.chdir(made)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return made


def test_unknown_gates_make_exit_code_three_unless_allowed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gates"]) == 3
    assert main(["gates", "--allow-unknown"]) == 0
    assert main(["gates", "--gate", "copy-order"]) == 0
    assert "copy-order" in capsys.readouterr().out


def test_a_failing_gate_makes_exit_code_one(root: Path) -> None:
    (root / ".dockerignore").write_text("x\n")

    assert main(["gates", "--allow-unknown"]) == 1
    assert main(["gates", "--skip", "ignore-file", "--skip", "noop-rebuild", "--allow-unknown"]) == 0


def test_an_answer_overrules_the_probe_behind_a_gate(root: Path) -> None:
    assert main(["gates", "--gate", "non-root", "--answer", "nonroot=yes"]) == 1


def test_a_gate_that_does_not_exist_is_bad_usage(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gates", "--gate", "copy-ordr"]) == 2
    assert "did you mean copy-order?" in capsys.readouterr().err


def test_a_report_is_written_beside_what_is_printed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gates", "--json", "--junit", "out.xml"]) == 3
    assert json.loads(capsys.readouterr().out)["targets"][0]["dockerfile"] == "Dockerfile"
    assert ElementTree.parse(root / "out.xml").getroot().tag == "testsuites"


def test_no_dockerfile_is_bad_input(tmp_path: Path) -> None:
    assert coach(write(tmp_path, {"a.txt": "x"}), "gates").returncode == 2


@pytest.mark.parametrize("words", [("verify", "--yes"), ("gates", "--engine"), ("gates", "--engine", "some:image")])
def test_without_an_engine_one_line_says_so(root: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    done = coach(root, *words, PATH=str(empty))

    assert done.returncode == 2
    assert done.stderr.splitlines() == ["coach: no engine: there is no docker command on this machine"]
    assert done.stdout == ""


FAKE = """\
#!/bin/sh
case "$1 $2" in
  "version --format") echo 28.0 ;;
  "buildx version") echo github.com/docker/buildx v0.29 ;;
  *) echo "asked for $*" >&2; exit 9 ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path) -> str:
    """A docker command that says it is there and does nothing else; the folder it is in."""
    folder = tmp_path / "fake"
    folder.mkdir()
    (folder / "docker").write_text(FAKE)
    (folder / "docker").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.parametrize("words", [("verify", "--safety", "review"), ("gates", "--engine")])
def test_nothing_is_built_unasked(root: Path, docker: str, words: tuple[str, ...]) -> None:
    (root / "Dockerfile").write_text(FILE_FAILURES["copy-order"][0]["Dockerfile"])
    done = coach(root, *words, PATH=docker)

    assert done.returncode == 2
    assert "--yes" in done.stderr.splitlines()[-1]
    assert "asked for" not in done.stderr


def test_a_folder_after_the_engine_flag_is_what_to_build(root: Path, docker: str) -> None:
    done = coach(root, "gates", "--engine", ".", PATH=docker)

    assert done.returncode == 2
    assert "coach gates --engine builds Dockerfile" in done.stderr


def test_a_no_at_the_terminal_builds_nothing(root: Path, docker: str) -> None:
    (root / "Dockerfile").write_text(FILE_FAILURES["copy-order"][0]["Dockerfile"])
    words = ["-m", "coach", "verify", "--fix", "F2"]
    child = pexpect.spawn(sys.executable, words, cwd=root, env=environment(root, PATH=docker), timeout=60, echo=False)
    child.expect_exact("Go on? [y/N] ")
    child.sendline("n")
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 2
    assert b"nothing was built" in (child.before or b"")


def test_nothing_to_prove_is_no_failure(root: Path, docker: str) -> None:
    done = coach(root, "verify", "--fix", "F9", PATH=docker)

    assert done.returncode == 0
    assert "nothing to prove" in done.stderr


def test_a_patch_that_leads_out_of_the_repository_is_refused(root: Path, docker: str, tmp_path: Path) -> None:
    patch = tmp_path / "p.patch"
    patch.write_text("--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+y\n")
    done = coach(root, "verify", "--patch", str(patch), "--yes", PATH=docker)

    assert done.returncode == 2
    assert "leads out of the repository" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_patch_that_does_not_apply_is_refused(root: Path, docker: str, tmp_path: Path) -> None:
    patch = tmp_path / "p.patch"
    patch.write_text("--- a/Dockerfile\n+++ b/Dockerfile\n@@ -1 +1 @@\n-FROM nothing\n+FROM scratch\n")
    done = coach(root, "verify", "--patch", str(patch), "--yes", PATH=docker)

    assert done.returncode == 2
    assert "does not apply" in done.stderr


def test_a_scratch_copy_that_would_be_too_large_is_refused(root: Path, docker: str) -> None:
    (root / "Dockerfile").write_text(FILE_FAILURES["copy-order"][0]["Dockerfile"])
    (root / "big.bin").write_bytes(b"x" * 2_000_000)
    done = coach(root, "verify", "--fix", "F2", "--size-limit", "1", "--yes", PATH=docker)

    assert done.returncode == 2
    assert "--size-limit" in done.stderr.splitlines()[-1]


def test_several_targets_must_be_told_apart(root: Path, docker: str) -> None:
    write(root, {"b.Dockerfile": "FROM alpine\n"})
    done = coach(root, "verify", PATH=docker)

    assert done.returncode == 2
    assert "--dockerfile" in done.stderr
    assert "b.Dockerfile" in done.stderr
