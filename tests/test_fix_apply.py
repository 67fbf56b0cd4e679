from __future__ import annotations

import stat
from pathlib import Path

import pytest

from coach.cli import main
from coach.edits import diff_file
from coach.hunks import join, split
from coach.memory import Memory
from coach.state import load_journal, load_session
from tests.repository import WRONG_ORDER, coach, commit, git, write

FIXED = b"COPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n"
ONLY = ("--only", "F2", "--answer", "buildkit=yes")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # commits and status must not depend on who runs the tests
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = commit(tmp_path / "repo", WRONG_ORDER)
    monkeypatch.chdir(root)
    return root


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


# -- --diff


def test_the_printed_patch_is_what_apply_writes(repo: Path, tmp_path: Path) -> None:
    patch = coach(repo, "fix", *ONLY)
    assert patch.returncode == 0
    (tmp_path / "fix.patch").write_text(patch.stdout)

    git(repo, "apply", str(tmp_path / "fix.patch"))
    applied = (repo / "Dockerfile").read_bytes()
    git(repo, "checkout", "-q", ".")
    assert coach(repo, "fix", "--apply", *ONLY).returncode == 0

    assert FIXED in applied
    assert (repo / "Dockerfile").read_bytes() == applied


def test_diff_writes_nothing(repo: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["fix", *ONLY]) == 0

    assert b"+RUN npm ci" in capfdbinary.readouterr()[0]
    assert git(repo, "status", "--porcelain") == ""


def test_nothing_to_fix_prints_nothing(repo: Path) -> None:
    write(repo, {"Dockerfile": WRONG_ORDER["Dockerfile"].replace("COPY . .\n", "COPY package*.json ./\n")})

    done = coach(repo, "fix", *ONLY)

    assert (done.returncode, done.stdout) == (0, "")


def test_bytes_that_are_not_utf8_survive_the_patch(repo: Path) -> None:
    content = WRONG_ORDER["Dockerfile"].encode().replace(b"RUN npm ci", b"# caf\xe9\nRUN npm ci")
    commit_again(repo, {"Dockerfile": content})

    assert main(["fix", "--apply", *ONLY]) == 0

    assert b"# caf\xe9\n" in (repo / "Dockerfile").read_bytes()


def commit_again(root: Path, files: dict[str, bytes]) -> None:
    write(root, files)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "more")


def test_two_patches_of_one_file_apply_one_after_the_other(repo: Path, tmp_path: Path) -> None:
    first = diff_file("index.js", b"require('express')\n", b"one\n")
    second = diff_file("index.js", b"one\n", b"one\ntwo\n")
    assert first is not None
    assert second is not None
    (tmp_path / "both.patch").write_bytes(first + second)

    git(repo, "apply", str(tmp_path / "both.patch"))

    assert (repo / "index.js").read_text() == "one\ntwo\n"


SECRET = "npm_abcdefghijklmnopqrstuvwxyz0123456789"


def test_a_secret_is_never_printed(repo: Path) -> None:
    secret = f"ENV NPM_TOKEN={SECRET}\n"
    commit_again(repo, {"Dockerfile": WRONG_ORDER["Dockerfile"].replace("COPY . .\n", secret + "COPY . .\n").encode()})

    for words in (["diagnose"], ["diagnose", "--json"], ["fix", "--diff", "--safety", "review"]):
        done = coach(repo, *words)

        assert SECRET not in done.stdout + done.stderr
        assert done.returncode in (0, 1)


# -- --apply


def test_apply_writes_and_says_what(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "fix", "--apply", *ONLY)

    assert (code, out) == (0, "")
    assert "written: Dockerfile" in err
    assert FIXED in (repo / "Dockerfile").read_bytes()
    assert git(repo, "status", "--porcelain").split() == ["M", "Dockerfile"]


def test_a_second_apply_has_nothing_to_do(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "fix", "--apply", *ONLY)[0] == 0
    before = (repo / "Dockerfile").read_bytes()

    code, _, _ = run(capsys, "fix", "--apply", "--allow-dirty", *ONLY)

    assert code == 0
    assert (repo / "Dockerfile").read_bytes() == before


def test_line_ends_are_kept(repo: Path) -> None:
    commit_again(repo, {"Dockerfile": WRONG_ORDER["Dockerfile"].replace("\n", "\r\n").encode()})

    assert main(["fix", "--apply", *ONLY]) == 0

    content = (repo / "Dockerfile").read_bytes()
    assert FIXED.replace(b"\n", b"\r\n") in content
    assert content.count(b"\n") == content.count(b"\r\n")


def test_the_mode_of_a_file_is_kept(repo: Path) -> None:
    (repo / "Dockerfile").chmod(0o755)
    git(repo, "commit", "-qam", "mode")

    assert main(["fix", "--apply", *ONLY]) == 0

    assert stat.S_IMODE((repo / "Dockerfile").stat().st_mode) == 0o755


def test_a_dirty_tree_is_refused_with_files_and_flag(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repo, {"index.js": "changed", "new.js": "new"})
    before = (repo / "Dockerfile").read_bytes()

    code, _, err = run(capsys, "fix", "--apply", *ONLY)

    assert code == 2
    assert all(word in err for word in ("index.js", "new.js", "--allow-dirty"))
    assert (repo / "Dockerfile").read_bytes() == before
    assert run(capsys, "fix", "--apply", "--allow-dirty", *ONLY)[0] == 0
    assert (repo / "Dockerfile").read_bytes() != before


def test_a_folder_without_git_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "plain", WRONG_ORDER)
    monkeypatch.chdir(root)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    code, _, err = run(capsys, "fix", "--apply", *ONLY)

    assert code == 2
    assert "--allow-no-vcs" in err
    assert run(capsys, "fix", "--apply", "--allow-no-vcs", *ONLY)[0] == 0
    assert FIXED in (root / "Dockerfile").read_bytes()


def test_a_symlinked_dockerfile_stays_a_symlink(repo: Path) -> None:
    (repo / "build").mkdir()
    (repo / "Dockerfile").rename(repo / "build" / "app.Dockerfile")
    (repo / "Dockerfile").symlink_to("build/app.Dockerfile")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "link")

    assert main(["fix", "--apply", "--dockerfile", "Dockerfile", "--context", ".", *ONLY]) == 0

    assert (repo / "Dockerfile").is_symlink()
    assert FIXED in (repo / "build" / "app.Dockerfile").read_bytes()


def test_nothing_outside_the_repository_is_written(repo: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"Dockerfile": WRONG_ORDER["Dockerfile"]}) / "Dockerfile"
    (repo / "Dockerfile").unlink()
    (repo / "Dockerfile").symlink_to(outside)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "link")

    assert main(["fix", "--apply", *ONLY]) == 2

    assert outside.read_text() == WRONG_ORDER["Dockerfile"]


# -- undo


def test_undo_restores_every_byte(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (repo / "Dockerfile").read_bytes()
    assert run(capsys, "fix", "--apply", *ONLY)[0] == 0

    code, _, err = run(capsys, "undo")

    assert code == 0
    assert "Dockerfile" in err
    assert (repo / "Dockerfile").read_bytes() == before
    assert run(capsys, "undo")[0] == 2


def test_undo_refuses_to_lose_work(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "fix", "--apply", *ONLY)[0] == 0
    changed = (repo / "Dockerfile").read_bytes() + b"# mine\n"
    (repo / "Dockerfile").write_bytes(changed)

    code, _, err = run(capsys, "undo")

    assert code == 2
    assert "was changed since" in err
    assert (repo / "Dockerfile").read_bytes() == changed


def test_undo_removes_a_file_that_was_made(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.write({"a/new.txt": (None, b"x")})

    assert memory.undo() == ("a/new.txt",)

    assert not (tmp_path / "a" / "new.txt").exists()


def test_undo_goes_back_step_by_step(tmp_path: Path) -> None:
    write(tmp_path, {"f": b"0"})
    memory = Memory(tmp_path)
    memory.write({"f": (b"0", b"1")})
    memory.write({"f": (b"1", b"2")})

    memory.undo()
    assert (tmp_path / "f").read_bytes() == b"1"
    memory.undo()
    assert (tmp_path / "f").read_bytes() == b"0"


def test_a_file_changed_meanwhile_is_not_overwritten(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(repo)

    with pytest.raises(Exception, match="was changed while coach was running"):
        memory.write({"Dockerfile": (b"something else", b"new")})

    assert (repo / "Dockerfile").read_text() == WRONG_ORDER["Dockerfile"]


def test_the_state_directory_is_private(repo: Path, tmp_path: Path) -> None:
    assert main(["fix", "--apply", *ONLY]) == 0

    assert stat.S_IMODE((tmp_path / "state" / "coach").stat().st_mode) == 0o700


def test_without_a_state_directory_the_fix_is_written_and_said_to_be_final(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"blocked": "a file where the folder should be"})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "blocked"))

    code, _, err = run(capsys, "fix", "--apply", *ONLY)

    assert code == 0
    assert "undo will not know" in err
    assert FIXED in (repo / "Dockerfile").read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 99, "applied": []}', b"\xff"])
def test_a_damaged_state_file_is_as_none(content: bytes) -> None:
    assert load_journal(content) == []
    assert load_session(content, "chart") is None


# -- --interactive


def interactive(repo: Path, typed: str, *words: str) -> tuple[int, str]:
    done = coach(repo, "fix", "--interactive", *ONLY, *words, typed=typed)
    return done.returncode, done.stdout


def test_y_takes_hunks_and_n_leaves_them(repo: Path) -> None:
    code, out = interactive(repo, "y\nn\n")

    content = (repo / "Dockerfile").read_bytes()
    assert "(1/2)" in out
    assert (
        content
        == WRONG_ORDER["Dockerfile"]
        .replace("COPY . .\n", "COPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n")
        .encode()
    )
    assert code == 0


@pytest.mark.parametrize("typed", ["y\ny\n", "a\n"])
def test_everything_taken_is_the_whole_fix(typed: str, repo: Path) -> None:
    interactive(repo, typed)

    assert FIXED in (repo / "Dockerfile").read_bytes()
    assert (repo / "Dockerfile").read_bytes().count(b"RUN npm ci") == 1


@pytest.mark.parametrize("typed", ["n\nn\n", "d\n", "q\n", "", "?\nq\n"])
def test_nothing_taken_changes_nothing(typed: str, repo: Path) -> None:
    interactive(repo, typed)

    assert (repo / "Dockerfile").read_text() == WRONG_ORDER["Dockerfile"]


def test_q_keeps_what_was_taken(repo: Path) -> None:
    interactive(repo, "y\nq\n")

    assert (repo / "Dockerfile").read_bytes().count(b"RUN npm ci") == 2


def test_help_is_a_question_mark(repo: Path) -> None:
    _, out = interactive(repo, "?\nd\n")

    assert "take this hunk and all later ones" in out


def test_hunks_of_a_new_file_are_one() -> None:
    (hunk,) = split("a", None, b"x\ny\n")

    assert join(None, (hunk,), {0}) == b"x\ny\n"
    assert join(None, (hunk,), set()) is None


@pytest.mark.parametrize("taken", [set(), {0}, {1}, {0, 1}])
def test_hunks_join_to_what_was_chosen(taken: set[int]) -> None:
    hunks = split("a", b"1\n2\n3\n4\n5", b"one\n2\n3\n4\nfive\n")

    out = join(b"1\n2\n3\n4\n5", hunks, taken)

    first = b"one\n" if 0 in taken else b"1\n"
    last = b"five\n" if 1 in taken else b"5"
    assert out == first + b"2\n3\n4\n" + last


def test_a_hunk_with_a_secret_is_not_shown() -> None:
    (hunk,) = split("a", b"token=x\n", b"other\n", lambda line: b"token" in line)

    assert hunk.patch is None
