"""The engine room with a docker command that only pretends: copies, failures, timeouts, and leaving."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest

from coach.engine import BuildFailedError, EngineError, Recipe, Workshop, whole, why_not
from coach.errors import UsageError
from coach.measured import Image
from coach.verify_command import without_syntax

DOCKER = """\
#!/bin/sh
echo "$*" >> "$FAKE_LOG"
case "$1 $2" in
  "version --format") echo 28.0 ;;
  "buildx version") echo github.com/docker/buildx v0.29 ;;
  "buildx build") eval "$FAKE_BUILD" ;;
  "ps --all") echo c0ffee ;;
  "image ls") echo "$5:s1" ;;
  "buildx history") [ "$3" = ls ] && printf '{"name":"%s","ref":"default/default/r1"}\\n' "$FAKE_RECORD" ;;
  "run --detach") echo "no such file" >&2; exit 127 ;;
esac
exit 0
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files and a docker on the PATH; what it was asked stands in ``asked``."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "asked"))
    monkeypatch.setenv("FAKE_BUILD", "true")
    monkeypatch.setenv("FAKE_RECORD", "somebody-else")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.delenv("BUILDX_CONFIG", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path


def asked(world: Path) -> list[str]:
    return (world / "asked").read_text().splitlines()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "repo"
    (made / "sub").mkdir(parents=True)
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o750)
    os.utime(made / "run.sh", (1_000_000_000, 1_000_000_000))
    (made / "sub" / "a").write_text("a")
    (made / "link").symlink_to("sub/a")
    (made / "out").symlink_to("/etc/hostname")
    return made


def test_a_copy_keeps_modes_times_and_links(world: Path, root: Path) -> None:
    with Workshop() as shop:
        made = shop.copy("x", root, ["run.sh", "sub", "sub/a", "link", "out"], {"new/f": b"n", "sub/a": b"b"})
        status = (made / "run.sh").stat()

        assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o750, 1_000_000_000)
        assert [(made / name).readlink() for name in ("link", "out")] == [Path("sub/a"), Path("/etc/hostname")]
        assert ((made / "new/f").read_bytes(), (made / "sub/a").read_bytes()) == (b"n", b"b")
    assert (root / "sub/a").read_text() == "a"
    assert list((world / "tmp").iterdir()) == []


def test_a_change_never_leaves_the_scratch_copy(world: Path, root: Path) -> None:
    with Workshop() as shop, pytest.raises(UsageError):  # noqa: PT012
        made = shop.copy("x", root, ["out"], {})
        shop.write(made / "out", b"x")


def test_a_copy_stops_at_its_limit(world: Path, root: Path) -> None:
    with Workshop() as shop, pytest.raises(UsageError, match="--size-limit"):
        shop.copy("x", root, ["run.sh"], {}, limit=3)
    assert list((world / "tmp").iterdir()) == []


def test_the_whole_of_a_folder_is_listed_folders_first(root: Path) -> None:
    listed = list(whole(root, ""))

    assert set(listed) == {"run.sh", "sub", "sub/a", "link", "out"}
    assert listed.index("sub") < listed.index("sub/a")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_whatever_happens_inside_only_our_own_is_removed(
    world: Path, root: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    with pytest.raises(error), Workshop() as shop:  # noqa: PT012
        shop.copy("x", root, ["sub"], {})
        (shop.folder / "locked").mkdir(mode=0o500)
        monkeypatch.setenv("FAKE_RECORD", f"{shop.name}-x")
        shop._env["FAKE_RECORD"] = f"{shop.name}-x"
        raise error

    assert list((world / "tmp").iterdir()) == []
    said = asked(world)
    assert f"ps --all --quiet --filter label=coach.workshop={shop.name}" in said
    assert "rm --force --volumes c0ffee" in said
    assert f"image rm --force {shop.name}:s1" in said
    assert "buildx history rm r1" in said
    assert not any("prune" in line for line in said)


def test_records_of_others_stay(world: Path) -> None:
    with Workshop():
        pass

    assert not any("history rm" in line for line in asked(world))


def test_what_is_to_be_kept_stays(world: Path, root: Path) -> None:
    with Workshop(keep=True) as shop:
        made = shop.copy("x", root, ["run.sh"], {})
        shop.drop(made)

    assert (made / "run.sh").is_file()
    assert not any(line.startswith("image rm") for line in asked(world))


def test_signals_are_handled_as_before_afterwards(world: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Workshop():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    assert signal.getsignal(signal.SIGTERM) is before


def test_builds_use_the_users_builders_and_leave_their_records_alone(world: Path, root: Path) -> None:
    theirs = world / "home" / ".docker" / "buildx"
    (theirs / "instances").mkdir(parents=True)
    (theirs / "instances" / "mine").write_text("{}")
    (theirs / "current").write_text("{}")
    (theirs / "refs").mkdir()
    with Workshop() as shop:
        ours = Path(shop._env["BUILDX_CONFIG"])

        assert sorted(path.name for path in ours.iterdir()) == ["current", "instances"]
        assert ours.is_relative_to(shop.folder)


def test_a_build_is_kept_apart_from_all_others(world: Path, root: Path) -> None:
    with Workshop() as shop:
        made = shop.copy("x", root, ["sub"], {"Dockerfile": b"FROM a\n"})
        recipe = Recipe("Dockerfile", "sub", "final", {"A": "b"}, ("id=t,src=t",))
        shop.build(made, recipe, "s1", cold=True)
        shop.build(made, recipe, "s1", tag=shop.tag("s1"))
        name = shop.name
    cold, tagged = (line for line in asked(world) if line.startswith("buildx build"))

    for words in (
        f"BUILDKIT_SANDBOX_HOSTNAME={name}-s1",
        f"BUILDKIT_CACHE_MOUNT_NS={name}-s1",
        "--build-arg A=b",
        "--secret id=t,src=t",
        "--target=final",
        f"--file={made}/Dockerfile",
    ):
        assert words in cold
    assert cold.endswith(f"{made}/sub")
    assert ("--no-cache" in cold, "--output=type=cacheonly" in cold) == (True, True)
    assert ("--no-cache" in tagged, f"--load --tag={name}:s1" in tagged) == (False, True)


def test_a_failed_build_ends_with_its_log(world: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_BUILD", "echo 'ERROR: no such thing' >&2; exit 1")
    with Workshop() as shop, pytest.raises(BuildFailedError) as failed:
        shop.build(shop.copy("x", root, [], {"Dockerfile": b""}), Recipe("Dockerfile"), "s")

    assert failed.value.tail == ("ERROR: no such thing",)


def test_a_buildx_without_raw_progress_is_named(world: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_BUILD", "echo 'ERROR: invalid progress mode rawjson' >&2; exit 1")
    with Workshop() as shop, pytest.raises(EngineError, match="rawjson"):
        shop.build(shop.copy("x", root, [], {"Dockerfile": b""}), Recipe("Dockerfile"), "s")


def test_a_build_is_ended_when_its_time_is_up(world: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_BUILD", "exec sleep 60")
    began = time.monotonic()
    with Workshop(timeout=0.5) as shop, pytest.raises(BuildFailedError, match="longer than"):
        shop.build(shop.copy("x", root, [], {"Dockerfile": b""}), Recipe("Dockerfile"), "s")

    assert time.monotonic() - began < 30


def test_a_container_that_cannot_be_started_is_a_result(world: Path) -> None:
    image = Image("x:1", 1, "", (), (), (8080,), ("/nowhere",), "/", "linux/amd64")
    with Workshop() as shop:
        started = shop.start(image)

    assert (started.state, started.well) == ("refused", False)
    assert "no such file" in started.says


def test_why_there_is_no_engine(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not() == ""
    (world / "bin" / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    assert why_not() == "no engine: Cannot connect to the Docker daemon"
    (world / "bin" / "docker").write_text('#!/bin/sh\n[ "$1" = version ] && echo 20.10 && exit 0; exit 1\n')
    assert "buildx" in why_not()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"# syntax=docker/dockerfile:1\nFROM a\n", b"FROM a\n"),
        (b"\xef\xbb\xbf#syntax = x\r\nFROM a\r\n", b"FROM a\r\n"),
        (b"# check=skip=all\n# syntax=x\nFROM a\n", b"# check=skip=all\nFROM a\n"),
        (b"FROM a\n", b"FROM a\n"),
    ],
)
def test_only_the_line_that_names_a_frontend_is_dropped(before: bytes, after: bytes) -> None:
    assert without_syntax(before) == after
