"""Bad input, over the whole command line: one clear line or a right answer, no secret, no wait, nothing written."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import stat
import string
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pexpect
import pytest

from coach import repo as disk
from coach.cli import main
from tests.repository import coach, commit, environment, git, write

SECONDS = 12
"""Of processor time: far more than any input below takes, far less than one that runs away."""

DOCKERFILE = 'FROM node:22-slim\nWORKDIR /app\nCOPY . .\nRUN npm ci\nCMD ["node", "x.js"]\n'
MANIFESTS = {
    "package.json": '{"name": "x", "dependencies": {"a": "1"}}\n',
    "package-lock.json": '{"lockfileVersion": 3, "packages": {}}\n',
}
PLAIN: Mapping[str, str | bytes] = {"Dockerfile": DOCKERFILE, **MANIFESTS}
EVERY_FORMAT = [["diagnose", "--format", form] for form in ("text", "json", "markdown", "sarif", "github")]
PATCH = ["fix", "--diff", "--safety", "review"]


class Ran:
    """What one run said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def all(self) -> str:
        return self.out + self.err


Look = Callable[..., Ran]


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Look:
    """Runs coach in a folder and holds it to what every run promises."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(root: Path, *words: str) -> Ran:
        monkeypatch.chdir(root)
        before, began = everything(root), time.process_time()
        code = main(words)
        spent = time.process_time() - began
        out, err = capfd.readouterr()
        assert code in (0, 1, 2, 3)
        assert "Traceback" not in out + err
        assert "defect of coach" not in out + err
        assert spent < SECONDS, f"{words} took {spent:.1f} s"
        assert everything(root) == before
        if code == 2:
            assert out == ""
            assert re.fullmatch(r"(?:coach: only a part of a git .*\n)?coach: .+\n", err)
        return Ran(code, out, err)

    return run


def everything(root: Path) -> dict[bytes, tuple[int, int, int]]:
    """Every path below ``root`` with its mode, size and time of change."""
    found = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in folders + files:
            path = folder + b"/" + name
            status = os.lstat(path)
            found[path] = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found


# -- Dockerfiles

NODE = "FROM node:22\n"
REFUSED: dict[str, tuple[str | bytes, int]] = {
    "empty": ("", 1),
    "only comments": ("# one\n# two\n", 1),
    "no FROM": ("RUN x\n", 1),
    "only ARG": ("ARG A=1\n", 1),
    "NUL": (b"FROM a\nRUN \0\n", 2),
    "binary": (bytes(range(256)) * 20, 1),
    "UTF-16": (DOCKERFILE.encode("utf-16"), 1),
    "CR alone": (DOCKERFILE.replace("\n", "\r"), 1),
    "open heredoc": (f"{NODE}RUN <<EOF\nnpm ci\n", 2),
    "5 MB in a line": (NODE + "RUN echo " + "a" * 5_000_000 + "\n", 2),
    "100,000 instructions": (NODE + "RUN a\n" * 100_000, 2501),
    "2,000 stages": ("FROM a\n" * 2_000, 1001),
    "unknown instruction": (f"{NODE}INSTALL x\n", 2),
    "a stage copies from itself": ("FROM x AS a\nCOPY --from=a / /\n", 2),
    "no such number": ("FROM x\nCOPY --from=7 / /\n", 2),
    "a huge number": ("FROM x\nCOPY --from=99999999999999999999999 / /\n", 2),
    "ONBUILD in ONBUILD": ("FROM x\nONBUILD ONBUILD RUN x\n", 2),
    "ONBUILD FROM": ("FROM x\nONBUILD FROM y\n", 2),
    "no shell": ("FROM x\nSHELL []\n", 2),
    "bad name": ("FROM x AS 1\n", 1),
    "bad escape": ("# escape=x\nFROM x\n", 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_dockerfile_that_cannot_be_built_is_one_line(name: str, look: Look, tmp_path: Path) -> None:
    content, line = REFUSED[name]
    root = write(tmp_path / "repo", {**MANIFESTS, "Dockerfile": content})

    said = look(root, "diagnose")

    assert said.code == 2
    assert said.err.startswith(f"coach: Dockerfile:{line}: ")
    assert len(said.err) < 200


def doubling(name: str) -> str:
    return f"{name} A=xxxxxxxxxx\n" + f"{name} A={'$A' * 10}\n" * 40


READ: dict[str, str | bytes] = {
    "latin-1": DOCKERFILE.encode() + b"RUN echo caf\xe9\n",
    "byte order mark": b"\xef\xbb\xbf" + DOCKERFILE.encode(),
    "CRLF": DOCKERFILE.replace("\n", "\r\n"),
    "continued at the end": DOCKERFILE + "RUN a \\",
    "FROM in a heredoc": DOCKERFILE + "RUN <<EOF\nFROM x\nEOF\n",
    "stages in a circle": "FROM b AS a\nFROM a AS b\nRUN npm ci\n",
    "its own base": "FROM a AS a\nRUN npm ci\n",
    "copy from nowhere": "FROM x\nCOPY --from=zzz / /\nRUN npm ci\n",
    "ONBUILD": "FROM x\nONBUILD COPY . .\nONBUILD RUN npm ci\n",
    "ARG doubles": NODE + doubling("ARG") + "RUN npm ci\n",
    "ARG doubles before FROM": doubling("ARG") + "FROM $A\nRUN npm ci\n",
    "ENV doubles": NODE + doubling("ENV") + "WORKDIR $A\nRUN echo $A && npm ci\n",
    "shell doubles": NODE + "RUN A=xxxxxxxxxx" + f" && A={'$A' * 10}" * 40 + " && npm ci --cache $A\n",
    "shell doubles in quotes": NODE + "RUN A=xxxxxxxxxx" + f' && A="{"$A" * 10}"' * 40 + ' && npm ci --cache "$A"\n',
    "deep defaults": NODE + "ENV A=" + "${A:-" * 2000 + "}" * 2000 + "\nRUN npm ci\n",
    "deep trims": NODE + "ENV B=" + "a" * 3000 + "\nENV C=${B##" + "*a" * 100 + "b}\nRUN npm ci\n",
    "deep folders": NODE + "WORKDIR aaaaaaaaaaaaaaaaaaaaaaaa\n" * 1400 + "RUN npm ci\n",
    "PATH grows": NODE + "ENV PATH=/a/b:$PATH\n" * 1400 + "RUN npm ci\n",
    "deep subshells": NODE + "RUN " + "( " * 5000 + "npm ci" + " )" * 5000 + "\n",
    "deep substitutions": NODE + "RUN echo " + "$( " * 3000 + "npm ci" + " )" * 3000 + "\n",
    "deep ifs": NODE + "RUN true" + "; if true; then \\\n" * 2500 + " npm ci" + "; fi \\\n" * 2500 + "\n",
    "deep sh -c": NODE + "RUN " + "sh -c " * 3000 + '"npm ci"\n',
    "deep sudo": NODE + "RUN " + "sudo " * 10_000 + "npm ci\n",
    "10,000 lines of RUN": NODE + "RUN true \\\n" + " && npm install foo \\\n" * 10_000 + " && true\n",
    "10,000 lines that set": NODE + "RUN true \\\n" + " && cd a && export X=$X:a \\\n" * 10_000 + " && npm ci\n",
    "10,000 lines of heredoc": NODE + "RUN <<EOF\n" + "npm install foo\n" * 10_000 + "EOF\n",
    "10,000 packages": "FROM debian:12\nRUN apt-get update && apt-get install -y \\\n"
    + " package \\\n" * 10_000
    + " x\n",
    "blank lines": NODE + "\n" * 100_000 + "RUN npm ci\n",
    "comments between": NODE + "RUN a \\\n" + "# x\n" * 100_000 + " && npm ci\n",
    "1,000 copies": NODE + "COPY . .\n" * 1_000 + "RUN npm ci\n",
    "many installs": NODE + "COPY a /a\nRUN npm ci && cd x\n" * 200,
    "open quote": NODE + 'ENV A="b\nRUN npm ci\n',
    "open variable": NODE + "ENV A=${b\nRUN npm ci\n",
    "open quote in shell": NODE + "RUN npm ci && echo 'x\n",
    "many mounts": NODE + "RUN " + "--mount=type=cache,target=/a " * 1_500 + "npm ci\n",
    "odd mounts": NODE + 'RUN --mount --mount= --mount=, --mount="a,b --mount=type=cache,target=$X npm ci\n',
    "odd ports and users": NODE + "EXPOSE 1-99999999\nUSER ${U:-${V:-$W}}\nRUN npm ci\n",
}


@pytest.mark.parametrize("name", READ)
def test_a_strange_dockerfile_gets_an_answer_in_time(name: str, look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", {**MANIFESTS, "Dockerfile": READ[name], "src/a.js": ""})

    said = look(root, "diagnose", "--json")

    assert json.loads(said.out)["targets"][0]["dockerfile"] == "Dockerfile"


def test_a_target_that_is_not_there(look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", PLAIN)

    said = look(root, "diagnose", "--dockerfile", "Dockerfile", "--target", "none\x1b[2J")

    assert said.code == 2
    assert "\x1b" not in said.err


# -- the files around it

DEEP = 20_000
BROKEN: dict[str, bytes] = {
    "NUL": b"\0" * 100,
    "bytes": bytes(range(256)) * 20,
    "UTF-16": "name: x\n".encode("utf-16"),
    "nothing": b"",
    "lists": b"[" * DEEP + b"]" * DEEP,
    "open lists": b"[" * DEEP,
    "objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a number": b"9" * 10_000,
    "a word": b"x",
    "null": b"null",
    "a list": b"[1, null, {}, [[]]]",
    "wrong kinds": b'{"name": [], "dependencies": 7, "workspaces": {"packages": {"a": 1}}, "scripts": [], '
    b'"packages": 3, "services": [], "jobs": 7, "on": {}, "target": [], "tool": "x", "project": 1, '
    b'"variables": [1], "steps": "x"}',
    "one line": b"a: " + b"x" * 200_000,
    "colons": b"a:" * 50_000,
    "many keys": b"".join(b"k%d: 1\n" % n for n in range(5_000)),
    "bomb": b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 20)),
    "loop": b"a: &a [*a]\n",
    "merge loop": b"a: &a {<<: *a}\n",
    "braces": b"{" * DEEP,
    "parentheses": b"(" * DEEP + b"\n",
    "expressions": b'target "a" { args = { x = ' + b"(" * 3_000 + b"1" + b")" * 3_000 + b" } }\n",
    "dollars": b"${" * 30_000 + b"}" * 30_000,
}
READERS = (
    *(
        "package.json",
        "package-lock.json",
        "pnpm-workspace.yaml",
        "pnpm-lock.yaml",
        "yarn.lock",
        ".npmrc",
        "lerna.json",
    ),
    *(
        "pyproject.toml",
        "poetry.lock",
        "uv.lock",
        "requirements.txt",
        "Pipfile",
        "environment.yml",
        "go.mod",
        "go.work",
    ),
    *("Cargo.toml", "pom.xml", "build.gradle", "Gemfile", "composer.json", "app.csproj", "mix.exs", "tsconfig.json"),
    *(".dockerignore", "compose.yaml", "docker-bake.hcl", "docker-bake.json", "Makefile", "build.sh", "Jenkinsfile"),
    *(".github/workflows/ci.yml", ".gitlab-ci.yml", ".circleci/config.yml", "azure-pipelines.yml", "cloudbuild.yaml"),
    *(
        "bitbucket-pipelines.yml",
        ".travis.yml",
        ".drone.yml",
        "buildspec.yml",
        ".buildkite/pipeline.yml",
        "skaffold.yaml",
    ),
)
ALL_ECOSYSTEMS = """\
FROM debian:12
COPY . .
RUN npm ci && pnpm install && yarn install
RUN pip install -r requirements.txt && poetry install && uv sync && pipenv install && conda env create
RUN go build ./... && cargo build && mvn package && gradle build && bundle install && composer install
RUN dotnet restore && mix deps.get && make build && ./build.sh
"""


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_everywhere(kind: str, look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", {"Dockerfile": ALL_ECOSYSTEMS, **dict.fromkeys(READERS, BROKEN[kind])})

    said = look(root, "diagnose", "--json")

    if said.code == 2:  # BuildKit refuses such a pattern too
        assert said.err.startswith("coach: .dockerignore:")
        (root / ".dockerignore").unlink()
        said = look(root, "diagnose", "--json")
    document = json.loads(said.out)
    assert [target["dockerfile"] for target in document["targets"]] == ["Dockerfile"]
    assert {skipped["path"] for skipped in document["skipped"]} <= set(READERS)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_configuration_is_one_line(kind: str, look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", {**PLAIN, ".coach.toml": BROKEN[kind]})

    said = look(root, "diagnose")

    if kind == "nothing":
        assert said.code == 1
    else:
        assert said.code == 2
        assert said.err.startswith("coach: .coach.toml")


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_skill_is_one_line(kind: str, look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", PLAIN)
    other = write(tmp_path / "skill", {"SKILL.md": BROKEN[kind]}) / "SKILL.md"

    for words in (
        ["diagnose", "--skill"],
        ["questions", "--skill"],
        ["chart", "--skill"],
        ["explain", "F1", "--skill"],
    ):
        assert look(root, *words, str(other)).code == 2


def test_workspace_patterns_over_many_folders(look: Look, tmp_path: Path) -> None:
    patterns = [
        "**/**/**/**/**/*",
        "*/**/*/**/*/**/x*",
        "{a,b}" * 18,
        "[a-z" * 300,
        "(" * 500,
        "*" * 3000 + "a",
        "+(" * 99,
    ]
    members = {f"p{n}/q{m}/package.json": json.dumps({"name": f"n{n}-{m}"}) for n in range(20) for m in range(20)}
    root = write(
        tmp_path / "repo",
        {
            **PLAIN,
            **members,
            "package.json": json.dumps({"name": "x", "workspaces": patterns}),
            "pnpm-workspace.yaml": f"packages: {json.dumps(patterns)}\n",
            "Cargo.toml": f"[workspace]\nmembers = {json.dumps(patterns)}\n",
            "pyproject.toml": f"[tool.uv.workspace]\nmembers = {json.dumps(patterns)}\n",
        },
    )

    assert look(root, "diagnose", "--json").code in (1, 3)


def test_ignore_patterns_over_many_files(look: Look, tmp_path: Path) -> None:
    patterns = ["**/**/**/a*b*c*d*e*f*g*h*", "*" * 2000 + "x", "!", "..", "+" * 500, "(a+)+$" * 99, "**/*a" * 2000]
    patterns += [f"**/x{n}/**" for n in range(500)]
    files = {f"d{n}/{'a' * 60}{m}": "" for n in range(20) for m in range(20)}
    root = write(tmp_path / "repo", {**PLAIN, **files, ".dockerignore": "\n".join(patterns)})

    look(root, "diagnose", "--json")


# -- strange places on disk


def linked_out(root: Path) -> None:
    (root / "Dockerfile").unlink()
    (root / "Dockerfile").symlink_to("/etc/hostname")


def linked_to_itself(root: Path) -> None:
    (root / "Dockerfile").unlink()
    (root / "Dockerfile").symlink_to("Dockerfile")


def pipe(root: Path) -> None:
    (root / "Dockerfile").unlink()
    os.mkfifo(root / "Dockerfile")


def listening(root: Path) -> None:
    (root / "Dockerfile").unlink()
    here = Path.cwd()
    os.chdir(root)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("Dockerfile")
    os.chdir(here)


def folder(root: Path) -> None:
    (root / "Dockerfile").unlink()
    (root / "Dockerfile").mkdir()


@pytest.mark.parametrize("put", [linked_out, linked_to_itself, pipe, listening])
def test_a_dockerfile_that_is_no_file_is_named(put: Callable[[Path], None], look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", PLAIN)
    put(root)

    said = look(root, "diagnose")

    assert said.code == 2
    assert said.err.startswith("coach: Dockerfile: ")
    assert look(root, "diagnose", "--dockerfile", "Dockerfile").err.startswith("coach: Dockerfile: ")


def test_a_folder_named_dockerfile_is_none(look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", PLAIN)
    folder(root)

    assert "no Dockerfile found" in look(root, "diagnose").err


def links(root: Path) -> None:
    (root / "up").symlink_to("..")
    (root / "here").symlink_to(".")
    (root / "slash").symlink_to("/")
    (root / "through").symlink_to("slash")
    (root / "compose.yaml").symlink_to("/etc/passwd")
    (root / "Makefile").symlink_to("Makefile")


def pipes(root: Path) -> None:
    for path in ("package.json", *READERS):
        full = root / path
        full.unlink(missing_ok=True)
        full.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(full)
    write(root, {"node_modules/a/x": "", "v/a": ""})
    os.mkfifo(root / "node_modules" / "a" / "pipe")
    os.mkfifo(root / "v" / "pyvenv.cfg")


def folders(root: Path) -> None:
    for path in READERS:
        full = root / path
        full.unlink(missing_ok=True)
        full.mkdir(parents=True)


def ten_thousand(root: Path) -> None:
    for n in range(100):
        (root / f"d{n}").mkdir()
        for m in range(100):
            (root / f"d{n}" / f"f{m}").touch()


def deep(root: Path) -> None:
    here = Path.cwd()
    os.chdir(root)
    for _ in range(700):
        Path("down").mkdir()
        os.chdir("down")
    Path("Dockerfile.deep").write_text(DOCKERFILE)
    os.chdir(here)


def git_file(root: Path) -> None:
    (root / ".git").write_bytes(b"gitdir: /nonexistent\n" + bytes(range(256)))


@pytest.mark.parametrize("put", [links, pipes, folders, ten_thousand, deep, git_file])
def test_strange_places_do_no_harm(put: Callable[[Path], None], look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", PLAIN)
    put(root)

    said = look(root, "diagnose", "--json", "--dockerfile", "Dockerfile")

    assert [target["dockerfile"] for target in json.loads(said.out)["targets"]] == ["Dockerfile"]
    assert "root:x:0" not in said.out
    assert look(root, *PATCH).code in (0, 1)


def test_a_file_that_may_not_be_read(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "repo", PLAIN)
    read = Path.read_bytes
    refused: list[str] = []

    def guarded(path: Path) -> bytes:
        if path.name in refused:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)

    refused[:] = ["Dockerfile"]
    assert look(root, "diagnose").err == "coach: Dockerfile: cannot be read: Permission denied\n"
    refused[:] = ["package.json"]
    assert look(root, "diagnose", "--json").code in (1, 3)


# -- what terminals and readers are shown

TRICKS = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\u200b\x9b31m[red]x[/red]"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def tricky() -> dict[str, str | bytes]:
    """A repository whose every name and text plays a trick."""
    t = TRICKS
    return {
        **MANIFESTS,
        "Dockerfile": f"# {t}\nFROM node:22 AS build\nARG A{t}={t}\nENV B={t}\nLABEL c={t}\nWORKDIR /app\nCOPY . .\n"
        f"RUN npm ci # {t}\nRUN npm run {t}\nFROM node:22-alpine\nCOPY --from=build /app /app\nCMD echo {t}\n",
        f"a{t.replace('/', '-')}b/Dockerfile": DOCKERFILE + f"RUN pip install {t}\n",
        "line\nbreak/Dockerfile": DOCKERFILE,
        "%0A::error::x/Dockerfile": DOCKERFILE,
        ".github/workflows/ci.yml": f"""\
name: "{t.encode("unicode_escape").decode().replace("x9b", "x9B")}"
on: push
jobs:
  "j[red]":
    name: "\\e[2J\\u202e"
    runs-on: ubuntu-latest
    steps:
      - run: "docker build --no-cache -t x --push . # \\e]0;owned\\a"
""",
        "compose.yaml": 'services:\n  "s\\e[2J\\u202e[red]":\n    build:\n      context: .\n      no_cache: true\n',
        "Makefile": f"build{t}:\n\tdocker build --no-cache . # {t}\n",
        ".coach.toml": 'exclude = ["*\\u001b[2J*"]\n',
    }


@pytest.mark.parametrize("words", [*EVERY_FORMAT, ["chart", "."], ["chart", ".", "--format", "text"]], ids=" ".join)
def test_tricks_are_written_out(words: list[str], look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", tricky())
    odd = Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe"))
    odd.mkdir()
    (odd / "Dockerfile").write_text(DOCKERFILE)

    said = look(root, *words)

    assert said.code in (0, 1, 3)
    assert RAW.findall(said.all) == []
    for line in said.out.splitlines():
        assert not line.startswith("::error::x")


def test_tricks_in_arguments_are_written_out(look: Look, tmp_path: Path) -> None:
    root = write(tmp_path / "repo", PLAIN)

    for words in (
        ["diagnose", TRICKS],
        ["diagnose", "--dockerfile", TRICKS],
        ["diagnose", "--context", TRICKS],
        ["diagnose", "--answer", f"{TRICKS}={TRICKS}"],
        ["diagnose", "--answer", f"buildkit={TRICKS}"],
        ["diagnose", "--symptom", TRICKS],
        ["diagnose", "--skill", TRICKS],
        ["fix", "--only", TRICKS],
        ["explain", TRICKS],
        ["diagnose", "--dockerfile", "a\0b"],
        ["diagnose", "a\0b"],
        ["diagnose", "--dockerfile", "../../etc/passwd"],
        ["diagnose", "--dockerfile", "/etc/passwd"],
        ["diagnose", "--dockerfile", "x" * 100_000],
        ["diagnose", "--context", "../.."],
        ["diagnose", "--context", "/"],
    ):
        said = look(root, *words)
        assert said.code == 2, words
        assert RAW.findall(said.err) == [], words


# -- secrets


class Secrets:
    """Makes values that nothing else could contain, and finds them again."""

    def __init__(self) -> None:
        self.placed: dict[str, str] = {}
        self._chance = random.Random(11)

    def _some(self, count: int, signs: str = string.ascii_letters + string.digits) -> str:
        return "".join(self._chance.choice(signs) for _ in range(count))

    def __call__(self, place: str, shape: str = "word") -> str:
        made = {
            "word": f"zq{self._some(14)}7",
            "github": f"ghp_{self._some(36)}",
            "aws": f"AKIA{self._some(16, string.ascii_uppercase + string.digits)}",
            "npm": f"npm_{self._some(36)}",
            "hex": self._some(40, "0123456789abcdef"),
            "base64": f"{self._some(30)}+/{self._some(6)}==",
        }[shape]
        self.placed[made] = place
        return made

    def found(self, text: str) -> list[str]:
        """Places whose value, or most of it, stands in ``text``."""
        return [place for value, place in self.placed.items() if value[4:-4] in text]


def one_liners(s: Secrets) -> list[str]:
    """Dockerfile lines, each with a secret that is there to be read."""
    return [
        f"# token: {s('comment', 'github')}",
        f"# password={s('comment with a password')}",
        f"ARG NPM_TOKEN={s('ARG', 'npm')}",
        f'ARG DB_PASSWORD="{s("ARG in quotes")}"',
        f"ENV API_KEY {s('ENV without =')}",
        f"ENV A=1 SECRET_KEY={s('ENV', 'base64')} B=2",
        f"ENV A=1 \\\n    MYSQL_ROOT_PASSWORD='{s('ENV continued')}'",
        f"ENV AWS_ACCESS_KEY_ID={s('AWS id', 'aws')} AWS_SECRET_ACCESS_KEY={s('AWS key', 'base64')}",
        f"ENV DATABASE_URL=postgres://app:{s('password in a URL')}@db.example.org:5432/app",
        f"ENV DB_PASSWORD=a,{s('after a comma')};{s('after a semicolon')}",
        f'LABEL maintainer=me api.token="{s("LABEL")}"',
        f"COPY <<EOF /root/.npmrc\n//registry.npmjs.org/:_authToken={s('COPY heredoc', 'hex')}\nEOF",
        f"COPY <<EOF /app/conf.ini\n[db]\npassword = {s('COPY heredoc with blanks')}\nEOF",
        f'RUN echo "//registry.npmjs.org/:_authToken={s("echo", "hex")}" > .npmrc && npm ci && npm cache clean --force',
        f"RUN npm config set //registry.npmjs.org/:_authToken {s('npm config set', 'hex')} && npm install",
        f"RUN NPM_TOKEN={s('assignment')} npm ci",
        f"RUN export GITHUB_TOKEN={s('export')} && npm ci",
        f"RUN curl -u admin:{s('curl -u')} https://example.com/x && npm ci",
        f'RUN curl -H "Authorization: token {s("header", "hex")}" https://example.com && npm ci',
        f"RUN curl -H 'X-Api-Key: {s('header of its own')}' https://example.com && npm ci",
        f"RUN git clone https://oauth2:{s('git URL')}@example.com/x.git && npm ci",
        f"RUN git clone https://{s('git URL without a password', 'github')}@example.com/x.git && npm ci",
        f"RUN docker login -u me -p {s('docker login')} && npm ci",
        f"RUN mysql -uroot -p{s('mysql')} -e x && npm ci",
        f"RUN pip install --index-url https://u:{s('pip index')}@pypi.example.org/simple flask",
        f"RUN pip config set global.extra-index-url https://u:{s('pip config')}@example.org && pip install flask",
        f'RUN ["npm", "install", "--token", "{s("exec form")}"]',
        f'RUN ["sh", "-c", "echo password={s("exec form of a shell")} && npm ci"]',
        f"RUN <<EOT\nexport TOKEN={s('RUN heredoc')}\nmachine x login me password {s('netrc')}\nnpm ci\nEOT",
        f"RUN sshpass -p {s('sshpass')} scp a b && npm ci",
        f"RUN openssl enc -k {s('openssl')} && npm ci",
        f"RUN echo 'root:{s('chpasswd')}' | chpasswd && npm ci",
        f"RUN echo {s('standard input')} | docker login -u me --password-stdin && npm ci",
        f"RUN npm ci --//registry/:_authToken={s('npm flag', 'hex')}",
        f"RUN bundle config set --global gems.example.org user:{s('bundle config')} && bundle install",
        f"RUN composer config http-basic.example.org user {s('composer config')} && composer install",
        f"RUN dotnet nuget add source https://x -u me -p {s('nuget')} && dotnet restore",
        f"RUN poetry config http-basic.corp user {s('poetry config')} && poetry install",
        f"RUN aws configure set aws_secret_access_key {s('aws configure', 'base64')} && npm ci",
        f"RUN psql -c \"CREATE USER x WITH PASSWORD '{s('SQL')}'\" && npm ci",
        f'HEALTHCHECK CMD curl -H "Authorization: Bearer {s("HEALTHCHECK")}" localhost || exit 1',
        f'CMD ["node", "x.js", "--api-key={s("CMD")}"]',
        f'ENTRYPOINT ["sh", "-c", "SECRET={s("ENTRYPOINT")} exec node x.js"]',
    ]


def around(s: Secrets) -> dict[str, str | bytes]:
    """Every other file a secret may stand in, each of which coach reads."""
    return {
        ".env": f"TOKEN={s('.env')}\nINNOCENT={s('.env without a name')}\n",
        ".npmrc": f"//registry.npmjs.org/:_authToken={s('.npmrc', 'npm')}\n",
        "id_rsa": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{s('key', 'base64')}\n-----END OPENSSH PRIVATE KEY-----\n",
        "package.json": json.dumps(
            {
                "name": "x",
                "dependencies": {"a": f"git+https://user:{s('package.json')}@example.com/a.git"},
                "scripts": {"postinstall": f"TOKEN={s('a script of package.json')} node x", "start": "node x.js"},
            }
        ),
        "requirements.txt": f"--extra-index-url https://u:{s('requirements.txt')}@example.org/simple\nflask\n",
        ".github/workflows/ci.yml": f"""\
on: push
env:
  DOCKER_PASSWORD: {s("workflow env")}
jobs:
  b:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: docker login -u me -p {s("workflow login")}
      - run: echo {s("workflow standard input")} | docker login -u me --password-stdin
      - uses: docker/login-action@v3
        with:
          username: me
          password: {s("login-action")}
      - uses: docker/build-push-action@v6
        with:
          context: .
          push: true
          no-cache: true
          tags: x/y:1
          platforms: linux/amd64,linux/arm64
          build-args: |
            NPM_TOKEN={s("build-args", "npm")}
            DB_PASSWORD={s("build-args with a password")}
            PLAIN=https://u:{s("build-args with a URL")}@h/x
      - run: docker build --no-cache --build-arg GITHUB_TOKEN={s("--build-arg", "github")} --push -t x .
        env:
          API_TOKEN: {s("step env")}
""",
        ".gitlab-ci.yml": f"""\
variables:
  CI_TOKEN: {s("GitLab variable")}
  REGISTRY_PASSWORD:
    value: "{s("GitLab variable with a value")}"
build:
  image: docker:24
  services: [docker:dind]
  script:
    - docker login -u me -p {s("GitLab login")} reg
    - docker build --no-cache --build-arg NPM_TOKEN=$CI_TOKEN --build-arg DB_PASSWORD={s("GitLab build-arg")} .
""",
        "compose.yaml": f"""\
services:
  app:
    build:
      context: .
      args:
        NPM_TOKEN: {s("compose map", "npm")}
        DB_PASSWORD: {s("compose map with a password")}
    environment:
      SECRET: {s("compose environment")}
  other:
    build:
      context: .
      no_cache: true
      args:
        - API_KEY={s("compose list")}
""",
        "docker-bake.hcl": f"""\
variable "TOKEN" {{ default = "{s("bake variable")}" }}
target "default" {{
  context = "."
  no-cache = true
  args = {{
    NPM_TOKEN = TOKEN
    DB_PASSWORD = "{s("bake args")}"
  }}
}}
""",
        "Makefile": f"TOKEN := {s('make variable')}\nbuild:\n\tDOCKER_BUILDKIT=0 docker build --no-cache"
        f" --build-arg NPM_TOKEN=$(TOKEN) --build-arg DB_PASSWORD={s('make build-arg')} .\n",
        "build.sh": f"#!/bin/sh\nexport GITHUB_TOKEN={s('script export', 'github')}\nPASSWORD={s('script variable')}\n"
        f"docker build --no-cache --build-arg NPM_TOKEN=$PASSWORD --build-arg API_KEY={s('script build-arg')} .\n",
        "Jenkinsfile": f"pipeline {{ agent any\n environment {{ TOKEN = '{s('Jenkins')}' }}\n stages {{"
        f" stage('b') {{ steps"
        f' {{ sh "docker build --no-cache --build-arg NPM_TOKEN={s("Jenkins build-arg")} ." }} }} }} }}\n',
        ".circleci/config.yml": f"""\
version: 2.1
jobs:
  b:
    docker: [{{image: cimg/base:2024.01}}]
    environment:
      TOKEN: {s("CircleCI")}
    steps:
      - checkout
      - setup_remote_docker
      - run: docker build --no-cache --build-arg NPM_TOKEN={s("CircleCI build-arg")} .
""",
        "azure-pipelines.yml": f"variables:\n  TOKEN: {s('Azure')}\nsteps:\n"
        f"- script: docker build --no-cache --build-arg NPM_TOKEN={s('Azure build-arg')} .\n",
        "cloudbuild.yaml": "steps:\n- name: gcr.io/cloud-builders/docker\n"
        f'  args: ["build", "--build-arg", "NPM_TOKEN={s("Cloud Build")}", "."]\n',
        "package-lock.json": MANIFESTS["package-lock.json"],
    }


def leaky(s: Secrets) -> dict[str, str | bytes]:
    body = "\n".join(one_liners(s))
    text = f"FROM node:22 AS build\nWORKDIR /app\nCOPY . .\n{body}\nCOPY .env .npmrc id_rsa ./\nRUN npm ci\n"
    return {**around(s), "Dockerfile": f"ARG BASE_TOKEN={s('ARG before FROM')}\n{text}"}


@pytest.mark.parametrize(
    "words",
    [
        *EVERY_FORMAT,
        PATCH,
        ["fix", "--diff"],
        ["chart", "."],
        ["chart", ".", "--format", "text"],
        ["diagnose", "--context", "."],
    ],
    ids=" ".join,
)
def test_no_output_shows_a_secret(words: list[str], look: Look, tmp_path: Path) -> None:
    s = Secrets()
    root = write(tmp_path / "repo", leaky(s))

    said = look(root, *words)

    assert s.found(said.all) == []


@pytest.mark.parametrize("number", range(len(one_liners(Secrets()))))
def test_no_patch_or_report_shows_the_secret_beside_it(number: int, look: Look, tmp_path: Path) -> None:
    s = Secrets()
    line = one_liners(s)[number]
    around_it = f"FROM node:22\nWORKDIR /app\nCOPY . .\n{line}\nRUN npm install\n{line}\nUSER 1000\n"
    root = write(tmp_path / "repo", {**MANIFESTS, "requirements.txt": "flask\n", "Dockerfile": around_it})

    assert s.found(look(root, *PATCH).all) == []
    assert s.found(look(root, "diagnose", "--json").all) == []


def test_no_error_shows_a_secret(look: Look, tmp_path: Path) -> None:
    s = Secrets()
    broken = {
        "Dockerfile": f"FROM x\nENV TOKEN={s('a broken Dockerfile', 'github')}\n"
        f"TOKEN={s('an unknown instruction')} npm ci\n",
        "a/Dockerfile": f"FROM x\nRUN <<{s('the name of an open heredoc', 'github')}\nx\n",
        "b/Dockerfile": f"FROM x\nSHELL {s('a bad SHELL')}\n",
        "compose.yaml": f"services: [\npassword: {s('a broken compose file')}\n",
        "docker-bake.hcl": f'target "x" {{ args = {{ TOKEN = "{s("a broken bake file")}" }}\n',
        ".github/workflows/a.yml": f'jobs: {{ a: "{s("an open quote", "github")}\n',
        "package.json": f'{{"token": "{s("a broken manifest")}"',
    }
    root = write(tmp_path / "repo", {**PLAIN, **broken})

    assert s.found(look(root, "diagnose", "--json").all) == []
    (root / ".coach.toml").write_text(f'token = "{s("the configuration")}\n')
    assert s.found(look(root, "diagnose").all) == []


def test_the_journal_is_for_its_owner_alone(tmp_path: Path) -> None:
    s = Secrets()
    root = commit(tmp_path / "repo", {**PLAIN, "Dockerfile": f"{DOCKERFILE}ENV API_TOKEN={s('ENV', 'github')}\n"})

    done = coach(root, "fix", "--apply", "--only", "F2,F3")

    assert done.returncode == 0, done.stderr
    assert s.found(done.stdout + done.stderr) == []
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert kept
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in kept} == {0o700}


def test_a_session_shows_and_keeps_no_secret(tmp_path: Path) -> None:
    s = Secrets()
    commit(tmp_path / "repo", leaky(s))
    child = pexpect.spawn(
        sys.executable,
        ["-m", "coach", "--dockerfile", "Dockerfile"],
        cwd=str(tmp_path / "repo"),
        env=environment(tmp_path, TERM="dumb", LC_ALL="C.UTF-8"),
        encoding="utf-8",
        dimensions=(50, 200),
        timeout=60,
    )
    seen = ""
    for typed in ("", "why", "", "s", "n", "quit", "quit", "quit"):
        if child.expect([r"\[?q\]?uit > ?$", pexpect.EOF]):
            break
        seen += f"{child.before}{child.after}"
        child.sendline(typed)
    child.expect(pexpect.EOF)
    seen += str(child.before)

    assert "FIX" in seen
    assert s.found(seen) == []
    assert s.found("".join(path.read_text() for path in (tmp_path / "state").rglob("*") if path.is_file())) == []


# -- nothing of the repository runs


def test_a_diagnosis_runs_nothing_and_writes_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    touch = f"touch {trap}"
    script = f"#!/bin/sh\n{touch}\n"
    files: dict[str, str | bytes] = {
        **PLAIN,
        "package.json": json.dumps(
            {"name": "x", "scripts": {"preinstall": touch, "postinstall": touch, "build": touch}}
        ),
        "Makefile": f"X := $(shell {touch})\nbuild:\n\tdocker build -t $(shell {touch}) .\n",
        "build.sh": f"docker build -t $({touch}) .\n",
        "docker-bake.hcl": f'target "default" {{\n  context = "."\n  tags = ["$({touch})"]\n}}\n',
        "setup.py": f"import os\nos.system({touch!r})\n",
        "conftest.py": f"import os\nos.system({touch!r})\n",
        "sitecustomize.py": f"import os\nos.system({touch!r})\n",
        "yaml.py": f"import os\nos.system({touch!r})\n",
        ".envrc": f"{touch}\n",
        ".gitattributes": "* filter=trap diff=trap\n",
        "build.gradle": f'"{touch}".execute()\n',
        **dict.fromkeys(("docker", "git", "buildctl", "mvnw", "gradlew"), script),
    }
    root = commit(tmp_path / "repo", files)
    for name in ("docker", "git", "buildctl", "mvnw", "gradlew"):
        (root / name).chmod(0o755)
    git(root, "commit", "-qam", "modes")
    for hook in ("post-checkout", "pre-commit", "post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (root / ".git" / "hooks" / hook).write_text(script)
        (root / ".git" / "hooks" / hook).chmod(0o755)
    for key in (
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "diff.external",
        "filter.trap.clean",
        "filter.trap.smudge",
    ):
        git(root, "config", key, touch)
    git(root, "config", "core.fsmonitor", str(root / ".git" / "hooks" / "fsmonitor-watchman"))
    git(root, "config", "diff.trap.textconv", touch)
    git(root, "config", "filter.trap.required", "true")
    write(root, {"index.js": "changed\n"})
    trap.unlink(missing_ok=True)
    before = everything(root)

    for words in (["diagnose", "--json"], PATCH):
        done = coach(root, *words)
        assert "Traceback" not in done.stderr
        assert not trap.exists(), words
    assert everything(root) == before


def test_the_tree_never_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")

    tree = disk.open_tree(tmp_path)

    for path in ("pipe", "link"):
        with pytest.raises(Exception, match="no such file"):
            tree.read(path)
