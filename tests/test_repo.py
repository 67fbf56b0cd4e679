"""The folder on disk: what is listed, what may be read, what is written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from coach.errors import InputError, UsageError
from coach.model import Kind
from coach.repo import DiskTree, dirty, git_top, read_if_there, write_files


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.test")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_lists_files_and_weighs_what_nobody_edits(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("x")
    (tmp_path / "node_modules/x").mkdir(parents=True)
    (tmp_path / "node_modules/x/big").write_bytes(b"0" * 1000)
    (tmp_path / "env").mkdir()
    (tmp_path / "env/pyvenv.cfg").write_text("")

    entries = DiskTree(tmp_path).entries()

    assert list(entries) == ["env", "node_modules", "src", "src/a.py"]
    assert (entries["node_modules"].opaque, entries["node_modules"].size) == (True, 1000)
    assert entries["env"].opaque
    assert not entries["src"].opaque


def test_symlinks_are_resolved_and_never_lead_out(tmp_path: Path) -> None:
    root, secret = tmp_path / "repo", tmp_path / "secret"
    (root / "docker").mkdir(parents=True)
    secret.write_text("outside")
    (root / "docker/real").write_text("FROM scratch")
    (root / "Dockerfile").symlink_to("docker/real")
    (root / "out").symlink_to(secret)
    (root / "loop").symlink_to("loop")
    (root / "folder").symlink_to(tmp_path)

    tree = DiskTree(root)

    assert tree.entries()["Dockerfile"].target == "docker/real"
    assert tree.read("Dockerfile") == b"FROM scratch"
    for name in ("out", "loop", "folder"):
        assert tree.entries()[name].target is None
        with pytest.raises(InputError):
            tree.read(name)
    with pytest.raises(InputError):
        tree.read("folder/secret")
    with pytest.raises(InputError):
        tree.read("../secret")


def test_odd_files_are_listed_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    tree = DiskTree(tmp_path)

    assert tree.entries()["pipe"].kind is Kind.OTHER
    with pytest.raises(InputError):
        tree.read("pipe")
    with pytest.raises(UsageError):
        DiskTree(tmp_path / "none")


def test_git_says_what_is_dirty_and_runs_nothing_of_the_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    (tmp_path / "ü b").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    assert dirty(tmp_path) == []
    marker = tmp_path / "ran"
    (tmp_path / "monitor").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (tmp_path / "monitor").chmod(0o755)
    git(tmp_path, "config", "core.fsmonitor", str(tmp_path / "monitor"))

    (tmp_path / "ü b").write_text("2")
    git(tmp_path, "-c", "core.fsmonitor=false", "mv", "a", "c")

    assert dirty(tmp_path) == ["c", "monitor", "ü b"]
    assert not marker.exists()
    assert git_top(tmp_path) == tmp_path


def test_outside_git_nothing_is_known(tmp_path: Path) -> None:
    assert dirty(tmp_path) is None
    assert git_top(tmp_path) is None


def test_writing_is_atomic_keeps_modes_and_stays_inside(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    (root / "run.sh").write_text("old")
    (root / "run.sh").chmod(0o755)
    (root / "gone").write_text("x")
    (root / "link").symlink_to("run.sh")
    (root / "out").symlink_to(tmp_path / "elsewhere")

    write_files(root, {"link": b"new", "deep/er/file": b"1", "gone": None})

    assert (root / "run.sh").read_bytes() == b"new"
    assert (root / "link").is_symlink()
    assert (root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert read_if_there(root, "deep/er/file") == b"1"
    assert read_if_there(root, "gone") is None
    for path in ("../x", "out"):
        with pytest.raises(InputError):
            write_files(root, {"run.sh": b"never", path: b"bad"})
    assert (root / "run.sh").read_bytes() == b"new"
    assert sorted(path.name for path in root.iterdir()) == ["deep", "link", "out", "run.sh"]
