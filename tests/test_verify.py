from __future__ import annotations

import json
from hashlib import sha256

import pytest
from jsonschema import Draft202012Validator

from coach import targets, verify
from coach.measured import Build, BuildStep, File, Image, Start
from coach.render import verify as shown
from coach.site import Site
from coach.tree import MemoryTree
from coach.verify import Difference, Proof, Scenario, Touches, Verdict, differences, judge, touched, touches

INSTALL = "RUN npm ci"


def build(seconds: float, install: bool, *, context: int = 1000, mounts: str = "") -> Build:
    """A build whose install was (not) taken from the cache."""
    return Build(
        (
            BuildStep("[2/4] COPY . .", False, 0.1),
            BuildStep(f"[3/4] RUN {mounts}npm ci", install, 0.0 if install else seconds - 0.5),
        ),
        seconds,
        context,
    )


def image(size: int = 200_000_000, user: str = "", history: tuple[str, ...] = ()) -> Image:
    return Image("x:1", size, user, ("PATH=/bin",), history, (), ("node",), "/app", "linux/amd64")


UP = Start("running")


def proof(
    source: float = 10.0,
    cached: bool = False,
    lockfile: float = 10.0,
    *,
    cold: Build | None = None,
    made: Image | None = None,
    start: Start | None = UP,
    failed: str = "",
) -> Proof:
    builds = {
        Scenario.COLD: (cold or build(30, False),),
        Scenario.SOURCE: (build(source, cached),),
        Scenario.LOCKFILE: (build(lockfile, False),),
    }
    return Proof("x", {} if failed else builds, made or image(), start, failed, ("the end",) if failed else ())


def site(files: dict[str, str]) -> Site:
    (found,) = targets.discover(MemoryTree({path: text.encode() for path, text in files.items()})).sites
    return found


# -- verdicts


def test_an_install_that_no_longer_reruns_confirms_the_order() -> None:
    said = judge("F2", "order", proof(10), proof(1, cached=True))

    assert said.verdict is Verdict.CONFIRMED
    assert "source change 10.0 s → 1.0 s" in said.says


def test_equal_times_are_no_gain() -> None:
    said = judge("F2", "order", proof(10), proof(9.8))

    assert said.verdict is Verdict.NO_GAIN
    assert "--runs" in said.says


def test_a_gain_within_the_spread_of_the_runs_is_no_gain() -> None:
    slow = Proof("x", {Scenario.SOURCE: (build(10, False), build(14, False))}, image(), UP)
    fast = Proof("x", {Scenario.SOURCE: (build(9, False), build(12, False))}, image(), UP)

    assert judge("F2", "order", slow, fast).verdict is Verdict.NO_GAIN


def test_the_cache_mount_is_judged_by_what_a_changed_lockfile_costs() -> None:
    assert judge("F3", "mounts", proof(lockfile=10), proof(lockfile=4)).verdict is Verdict.CONFIRMED
    assert judge("F3", "mounts", proof(lockfile=10), proof(lockfile=10)).verdict is Verdict.NO_GAIN


def test_a_step_is_the_same_command_with_and_without_mounts() -> None:
    bare, mounted = (
        BuildStep("[3/4] RUN npm ci", False, 1),
        BuildStep("[deps 2/9] RUN --mount=type=cache,target=/x npm ci", True, 0),
    )

    assert bare.command == mounted.command == "RUN npm ci"
    assert (bare.stage, mounted.stage) == ("", "deps")


def test_a_difference_changes_the_image() -> None:
    found = (Difference("app/x", "content", "a", "b"),)
    said = judge("F2", "order", proof(10), proof(1, cached=True), found)

    assert (said.verdict, said.differences) == (Verdict.CHANGES, found)


def test_a_build_that_breaks_is_said_with_the_end_of_its_log() -> None:
    said = judge("F2", "order", proof(), proof(failed="the build fails at RUN npm ci"))

    assert (said.verdict, said.tail) == (Verdict.BREAKS, ("the end",))


def test_a_build_that_lacks_a_secret_is_not_held_against_the_fix() -> None:
    said = judge("F10", "secret", proof(), proof(failed="the build fails"), lacks=["npmrc"])

    assert said.verdict is Verdict.NOT_MEASURED
    assert "--secret id=npmrc" in said.says


def test_nothing_is_judged_against_a_build_that_fails_by_itself() -> None:
    assert judge("F2", "order", proof(failed="the build fails"), proof()).verdict is Verdict.NOT_MEASURED


@pytest.mark.parametrize("fix", ["F1", "F5", "F9", "F13"])
def test_what_only_ci_reads_is_not_measured(fix: str) -> None:
    said = judge(fix, "ci", proof(), None)

    assert said.verdict is Verdict.NOT_MEASURED
    assert said.says


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (UP, Start("exited", 1, says="boom")),
        (UP, Start("exited", 0)),
        (Start("exited", 0), Start("refused")),
        (Start("running", http=200), Start("running", http=502)),
        (Start("running", http=404), Start("running")),
    ],
)
def test_a_container_that_starts_worse_changes_the_image(before: Start, after: Start) -> None:
    said = judge("F4", "stages", proof(start=before), proof(made=image(1_000_000), start=after))

    assert said.verdict is Verdict.CHANGES
    assert "the container" in said.says


def test_a_container_that_never_started_may_go_on_not_starting() -> None:
    ended = Start("exited", 1)

    assert judge("F2", "order", proof(10, start=ended), proof(1, cached=True, start=ended)).verdict is Verdict.CONFIRMED


def test_size_decides_over_a_smaller_base() -> None:
    old, new = proof(made=image(900_000_000)), proof(made=image(200_000_000))

    assert judge("F6", "base", old, new).verdict is Verdict.CONFIRMED
    assert judge("F4", "stages", new, new).verdict is Verdict.NO_GAIN


def test_the_context_decides_over_an_ignore_file() -> None:
    old, new = proof(cold=build(9, False, context=90_000_000)), proof(cold=build(9, False, context=9_000))

    assert judge("F8", "ignore", old, new).verdict is Verdict.CONFIRMED
    assert judge("F8", "ignore", new, new).verdict is Verdict.NO_GAIN


def test_the_user_decides_over_a_user() -> None:
    root, other = proof(made=image(user="")), proof(made=image(user="65532:65532"))

    assert judge("F12", "user", root, other).verdict is Verdict.CONFIRMED
    assert judge("F12", "user", root, root).verdict is Verdict.NO_GAIN


def test_the_history_decides_over_a_secret_and_its_value_is_not_said() -> None:
    value = "ghp_" + "a1B2" * 9
    old, new = proof(made=image(history=(f"|1 NPM_TOKEN={value} /bin/sh -c npm ci",))), proof(made=image())
    said = judge("F10", "secret", old, new)

    assert said.verdict is Verdict.CONFIRMED
    assert "NPM_TOKEN" in said.says
    assert value not in said.says
    assert judge("F10", "secret", old, old).verdict is Verdict.NO_GAIN
    assert judge("F10", "secret", new, new).verdict is Verdict.NOT_MEASURED


# -- comparing


def file(content: bytes = b"x", mode: int = 0o644, uid: int = 0) -> File:
    return File(mode, uid, 0, sha256(content).hexdigest(), len(content))


FOLDER = File(0o755, 0, 0, "directory")


def test_paths_bytes_modes_and_owners_are_compared() -> None:
    before = {"a": file(), "b": file(), "c": file(), "d": file(), "same": file()}
    after = {"a": file(b"y"), "b": file(mode=0o755), "c": file(uid=5), "e": file(), "same": file()}

    assert [(one.path, one.what) for one in differences(before, after)] == [
        ("a", "content"),
        ("b", "mode"),
        ("c", "owner"),
        ("d", "gone"),
        ("e", "new"),
    ]


def test_what_is_volatile_is_not_compared() -> None:
    volatile = ("tmp/x", "root/.npm/_cacache/a", "app/__pycache__/m.pyc", "app/node_modules/.package-lock.json")

    assert differences({}, {path: file() for path in volatile}) == ()


def test_the_target_of_a_cache_mount_is_not_compared_but_its_neighbours_are() -> None:
    after = {"opt": FOLDER, "opt/cache": FOLDER, "opt/cache/x": file(), "opt/other": file()}

    assert [one.path for one in differences({}, after, ("opt/cache",))] == ["opt/other"]


def test_the_patchs_own_files_account_for_their_copies_in_the_image_and_no_others() -> None:
    own: dict[str, tuple[bytes | None, bytes]] = {"Dockerfile": (b"old", b"new"), ".dockerignore": (None, b"x")}
    before = {"app/Dockerfile": file(b"old"), "app/other": file(b"old")}
    after = {"app/Dockerfile": file(b"new"), "app/other": file(b"else"), "app/.dockerignore": file(b"x")}

    assert [one.path for one in differences(before, after, (), own)] == ["app/other"]


NODE = {
    "Dockerfile": "FROM node:22-slim\nWORKDIR /app\nCOPY . .\nRUN --mount=type=cache,target=/root/.npm npm ci\n",
    "package.json": '{"name": "a"}\n',
    "package-lock.json": '{"lockfileVersion": 3}\n',
    "src/index.js": "1\n",
    "src/index.test.js": "1\n",
    "README.md": "# a\n",
    "logo.png": "\0\0",
}


def test_the_folders_of_caches_come_from_the_mounts() -> None:
    assert "root/.npm" in verify.caches([site(NODE)])


def test_files_that_an_ignore_file_now_keeps_out_may_go() -> None:
    before = site({**NODE, "dist/x.js": "1"})
    after = site({**NODE, "dist/x.js": "1", ".dockerignore": "dist\n"})
    junk, own = Difference("app/dist/x.js", "gone"), Difference("app/src/index.js", "gone")
    old, new = proof(cold=build(9, False, context=90_000)), proof(cold=build(9, False, context=9))

    assert judge("F8", "ignore", old, new, (junk,), sites=(before, after)).verdict is Verdict.CONFIRMED
    assert judge("F8", "ignore", old, new, (junk, own), sites=(before, after)).differences == (own,)


# -- touching


def test_the_source_to_change_is_no_file_that_an_install_needs() -> None:
    found = touches([site(NODE)])

    assert (found.source, found.lockfile) == ("src/index.js", "package-lock.json")


def test_the_source_to_change_reaches_the_build_before_and_after() -> None:
    after = site({**NODE, ".dockerignore": "src/index.js\n"})

    assert touches([site(NODE), after]).source == "src/index.test.js"


def test_without_an_install_there_is_no_lockfile_to_change() -> None:
    found = touches([site({"Dockerfile": "FROM nginx\nCOPY index.html /x/\n", "index.html": "<p>\n"})])

    assert (found.source, found.lockfile) == ("index.html", None)
    assert found.no_lockfile


def test_json_stays_the_same_document_and_changes_its_size() -> None:
    content = b'{"a": 1}\n'
    one, two = touched("package-lock.json", content, "ab1"), touched("package-lock.json", content, "ab2")

    assert one is not None
    assert two is not None
    assert len({content, one, two}) == 3
    assert json.loads(one) == json.loads(two) == json.loads(content)
    assert len(one) > len(content)


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        ("a.py", b"\n# m1\n"),
        ("a.go", b"\n// m1\n"),
        ("go.mod", b"\n// m1\n"),
        ("uv.lock", b"\n# m1\n"),
        ("requirements.txt", b"\n# m1\n"),
        ("pom.xml", b"\n<!-- m1 -->\n"),
        ("a.css", b"\n/* m1 */\n"),
    ],
)
def test_a_remark_is_written_in_the_files_own_language(path: str, mark: bytes) -> None:
    assert touched(path, b"x", "m1") == b"x" + mark


@pytest.mark.parametrize("path", ["Cargo.lock", "Gemfile.lock", "go.sum", "a.unknown"])
def test_what_cannot_be_touched_without_a_meaning_is_left_alone(path: str) -> None:
    assert touched(path, b"x", "m1") is None


def test_binary_content_is_left_alone() -> None:
    assert touched("a.py", b"\0", "m1") is None


def test_line_ends_are_kept() -> None:
    assert touched("a.py", b"x\r\n", "m1") == b"x\r\n\r\n# m1\r\n"


# -- what a build reads


def test_only_what_the_build_reads_is_copied() -> None:
    files = {**NODE, ".dockerignore": "README.md\ndocs\n", "docs/a.md": "", "deploy/x.yml": ""}
    paths, wholes = verify.copied([site(files)])

    assert "README.md" not in paths
    assert "docs" not in paths
    assert "docs/a.md" not in paths
    assert {"Dockerfile", ".dockerignore", "src", "src/index.js", "package.json"} <= set(paths)
    assert wholes == ()


def test_a_workflow_shows_in_no_local_build() -> None:
    one = site(NODE)

    assert not verify.shows(one, one, [".github/workflows/ci.yml"])
    assert verify.shows(one, one, ["Dockerfile"])
    assert verify.shows(one, one, [".dockerignore"])
    assert verify.shows(one, one, ["src/index.js"])


# -- showing


def test_the_document_fits_its_schema_and_the_text_says_the_verdict() -> None:
    found = (Difference("app/\x1b[31mx", "new", "", "3 bytes"),)
    judged = (judge("F2", "order", proof(10), proof(1, cached=True), found, noise=2),)
    states = (proof(10), proof(failed="the build fails"))
    document = json.loads(shown.json_text(site(NODE), states, judged, Touches("a", None, "", "none"), ("a note",)))
    text = shown.text(site(NODE), states, judged, Touches("a", None, "", "none"), ("a note",))

    assert list(Draft202012Validator(json.loads(shown.schema())).iter_errors(document)) == []
    assert document["verdicts"][0]["differences"][0]["what"] == "new"
    assert "F2   changes the image" in text
    assert "\x1b" not in text
    assert text.endswith("0 of 1 confirmed\n")
