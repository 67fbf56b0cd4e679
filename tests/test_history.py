"""Reading git: every kind of commit a replay meets, in real repositories made for the test."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from coach.cli import main
from coach.errors import UsageError
from coach.history import GitHistory
from coach.replay.commits import MissingError, Node


class Repository:
    """A git repository that is written to commit by commit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str, date: str = "2026-01-01T00:00:00Z") -> str:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *settings, "-C", str(self.root), *words],
            check=True,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.root), "GIT_COMMITTER_DATE": date}
            | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_DATE": date},
        )
        return done.stdout.strip()

    def commit(self, subject: str, files: dict[str, str | None], date: str = "2026-01-01T00:00:00Z") -> str:
        for path, text in files.items():
            full = self.root / path
            if text is None:
                full.unlink()
                continue
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject, date=date)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def made(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


def test_commits_come_oldest_first_and_the_first_is_a_whole_tree(made: Repository) -> None:
    made.commit("one", {"a": "1", "b/ü x": "1"})
    made.commit("two", {"a": "2"})
    last = made.commit("three", {"b/ü x": None})

    history = GitHistory(made.root, 10)

    assert [commit.subject for commit in history.commits] == ["one", "two", "three"]
    assert set(history.commits[0].changes) == {"a", "b/ü x"}
    assert set(history.commits[1].changes) == {"a"}
    assert history.commits[2].changes == {"b/ü x": None}
    assert history.commits[2].id == last
    node = history.commits[1].changes["a"]
    assert node is not None
    assert history.blob(node.id) == b"2"
    assert history.notes == ()


def test_only_as_many_as_asked_and_one_to_start_from(made: Repository) -> None:
    for number in range(6):
        made.commit(f"c{number}", {"a": str(number), f"f{number}": ""})

    history = GitHistory(made.root, 2)

    assert [commit.subject for commit in history.commits] == ["c3", "c4", "c5"]
    assert set(history.commits[0].changes) == {"a", "f0", "f1", "f2", "f3"}


def test_since_takes_the_commit_before_along(made: Repository) -> None:
    for number in range(1, 5):
        made.commit(f"c{number}", {"a": str(number)}, date=f"2026-01-0{number}T00:00:00Z")

    history = GitHistory(made.root, 100, "2026-01-03T00:00:00Z")

    assert [commit.subject for commit in history.commits] == ["c2", "c3", "c4"]
    assert set(history.commits[0].changes) == {"a"}


def test_a_merge_is_one_commit_of_the_main_line(made: Repository) -> None:
    made.commit("base", {"a": "1"})
    made.git("checkout", "-q", "-b", "side")
    made.commit("side 1", {"s": "1"})
    made.commit("side 2", {"s": "2", "t": "1"})
    made.git("checkout", "-q", "main")
    made.commit("main", {"a": "2"})
    made.git("merge", "-q", "--no-ff", "-m", "merged", "side")

    history = GitHistory(made.root, 10)

    assert [commit.subject for commit in history.commits] == ["base", "main", "merged"]
    assert set(history.commits[-1].changes) == {"s", "t"}


def test_modes_links_and_submodules_are_told_apart(made: Repository) -> None:
    made.commit("one", {"run": "#!/bin/sh"})
    (made.root / "run").chmod(0o755)
    (made.root / "link").symlink_to("run")
    module = "1" * 40
    made.git("update-index", "--add", "--cacheinfo", f"160000,{module},mod")
    made.git("add", "run", "link")
    made.git("commit", "-q", "-m", "two")

    history = GitHistory(made.root, 10)
    found = history.commits[-1].changes

    assert {path: node.mode for path, node in found.items() if node is not None} == {
        "run": "100755",
        "link": "120000",
        "mod": "160000",
    }
    assert found["mod"] == Node("160000", module)
    assert any("mod" in note for note in history.notes)


def test_a_folder_of_a_repository_is_read_as_if_it_were_one(made: Repository) -> None:
    made.commit("one", {"app/Dockerfile": "FROM a", "other": "1"})
    made.commit("two", {"other": "2"})
    made.commit("three", {"app/x": "1"})

    history = GitHistory(made.root / "app", 10)

    assert [set(commit.changes) for commit in history.commits] == [{"Dockerfile"}, set(), {"x"}]


def test_a_shallow_clone_is_named(made: Repository, tmp_path: Path) -> None:
    for number in range(5):
        made.commit(f"c{number}", {"a": str(number)})
    made.git("clone", "-q", "--depth", "2", f"file://{made.root}", str(tmp_path / "shallow"))

    history = GitHistory(tmp_path / "shallow", 10)

    assert [commit.subject for commit in history.commits] == ["c3", "c4"]
    assert set(history.commits[0].changes) == {"a"}
    assert any("shallow" in note for note in history.notes)


def test_files_in_lfs_are_named(made: Repository) -> None:
    made.commit("one", {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "a": "1"})

    assert any("LFS" in note for note in GitHistory(made.root, 10).notes)


def test_content_that_is_not_there_is_missing_and_nothing_is_fetched(made: Repository, tmp_path: Path) -> None:
    made.git("config", "uploadpack.allowFilter", "true")
    made.commit("one", {"a": "1", "Dockerfile": "FROM a"})
    made.commit("two", {"a": "2"})
    partial = tmp_path / "partial"
    made.git("clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{made.root}", str(partial))

    history = GitHistory(partial, 10)
    node = history.commits[0].changes["a"]

    assert node is not None
    with pytest.raises(MissingError):
        history.blob(node.id)


def test_without_a_history_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="history"):
        GitHistory(tmp_path, 10)


DOCKERFILE = "FROM node:22\nWORKDIR /app\nCOPY . .\nRUN npm ci\n"
PACKAGE = '{"name": "app", "version": "1.0.0", "dependencies": {"left-pad": "1.3.0"}}'
LOCK = (
    '{"name": "app", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": '
    '{"": {"name": "app", "version": "1.0.0", "dependencies": {"left-pad": "1.3.0"}}}}'
)


@pytest.fixture
def project(made: Repository) -> Repository:
    made.commit("one", {"Dockerfile": DOCKERFILE, "package.json": PACKAGE, "package-lock.json": LOCK, "index.js": "1"})
    for number in range(2, 5):
        made.commit(f"c{number}", {"index.js": str(number)})
    made.commit("lock", {"package-lock.json": LOCK + "\n"})
    return made


def test_replay_on_the_command_line(project: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(project.root), "--only", "F2", "--json"]) == 0
    target = json.loads(capsys.readouterr().out)["targets"][0]
    install = next(step for step in target["steps"] if step["install"])

    assert target["patch"] == ["F2"]
    assert (install["now"], install["with_patch"], install["floor"]) == (
        {"ran": 4, "at_most": 4},
        {"ran": 1, "at_most": 1},
        1,
    )
    assert install["strip"] == "RRRR"
    assert install["strip_with_patch"] == "---R"

    assert main(["replay", str(project.root), "--only", "F2"]) == 0
    page = capsys.readouterr().out
    assert page.rstrip().endswith("`npm ci` reran on 4 of your last 4 commits; with this patch, 1")


def test_replay_in_seconds(project: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "build.log"
    log.write_text("#1 [3/4] COPY . .\n#1 DONE 1.0s\n#2 [4/4] RUN npm ci\n#2 DONE 40.0s\n")

    assert main(["replay", str(project.root), "--only", "F2", "--log", str(log), "--json"]) == 0
    target = json.loads(capsys.readouterr().out)["targets"][0]
    local = next(one for one in target["per_commit"] if one["policy"] == "local")

    assert local["seconds"]["at_most"] == 41.0
    assert local["seconds_with_patch"]["at_most"] == 11.0, "the copy every time, the install once in four"


def test_a_finding_says_what_the_history_says(project: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(project.root), "--json", "--replay"]) == 1
    fix = json.loads(capsys.readouterr().out)["targets"][0]["fix"]
    assert main(["diagnose", str(project.root), "--json"]) == 1
    without = json.loads(capsys.readouterr().out)["targets"][0]["fix"]

    assert fix["id"] == "F2"
    assert fix["replay"][0]["says"] == "`npm ci` reran on 4 of your last 4 commits; with this patch, 1"
    assert "replay" not in without


def test_a_log_is_evidence_in_diagnose(project: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "build.log"
    log.write_text("#1 [3/4] COPY . .\n#1 DONE 1.0s\n#2 [4/4] RUN npm ci\n#2 DONE 40.0s\n")

    assert main(["diagnose", str(project.root), "--json", "--log", str(log)]) == 1
    fix = json.loads(capsys.readouterr().out)["targets"][0]["fix"]

    assert {"path": "build.log", "line": 3, "end_line": 3, "text": "#2 [4/4] RUN npm ci"}.items() <= fix["evidence"][
        -1
    ].items()


def test_log_on_the_command_line(project: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "build.log"
    log.write_text(
        "#1 [2/4] WORKDIR /app\n#1 CACHED\n#2 [3/4] COPY . .\n#2 DONE 1.0s\n#3 [4/4] RUN npm ci\n#3 DONE 40.0s\n"
    )

    assert main(["log", str(log), "--repo", str(project.root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    build = found["builds"][0]
    assert found["dockerfile"] == "Dockerfile"
    assert [step["line"] for step in build["steps"]] == [2, 3, 4]
    assert build["first_miss"]["line"] == 3
    assert build["points_to"][0] == {
        "fix": "F2",
        "why": "`npm ci` ran again because Dockerfile:3 brings files it does not need",
        "log_line": 5,
        "saves_at_most": 40.0,
    }

    assert main(["log", str(log), "--repo", str(tmp_path)]) == 0
    assert "first miss" in capsys.readouterr().out

    log.write_text("nothing of a build\n")
    assert main(["log", str(log), "--repo", str(project.root)]) == 2


@pytest.mark.parametrize(
    "words", [["replay", "--commits", "0"], ["replay", "--policy", "maybe"], ["log", "no-such-file"], ["log"]]
)
def test_bad_usage_is_one_line(
    words: list[str], project: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)

    assert main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
