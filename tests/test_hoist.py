"""Downloading before the source is there: the same command, or a pair that keeps the user's own words."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from coach.hoist import Hoist, hoist
from coach.manifests import closure
from coach.model import Safety
from coach.tree import MemoryTree

PACKAGE = {"scripts": {"build": "tsc", "prepare": "npm run build"}}
PYPROJECT = (
    "[project]\nname = 'app'\nversion = '0'\ndependencies = ['idna']\n[build-system]\nrequires = ['hatchling']\n"
)
UV_WORKSPACE = PYPROJECT.replace("['idna']", "['lib']") + "[tool.uv.workspace]\nmembers = ['lib']\n"

REPOS: Mapping[str, Mapping[str, str]] = {
    "npm": {"package.json": json.dumps(PACKAGE), "package-lock.json": "{}"},
    "npm quiet": {"package.json": "{}", "package-lock.json": "{}"},
    "yarn": {"package.json": json.dumps(PACKAGE), "yarn.lock": "# yarn lockfile v1\n"},
    "berry": {"package.json": '{"scripts": {"postinstall": "tsc"}}', "yarn.lock": "\n__metadata:\n", ".yarnrc.yml": ""},
    "pnpm": {"package.json": json.dumps(PACKAGE), "pnpm-lock.yaml": ""},
    "pnpm unlocked": {"package.json": json.dumps(PACKAGE)},
    "bun": {"package.json": json.dumps(PACKAGE), "bun.lock": "{}"},
    "deno": {"deno.json": "{}", "deno.lock": "{}", "main.ts": ""},
    "pip": {"requirements.txt": "idna\n", "pyproject.toml": PYPROJECT},
    "pip project": {"pyproject.toml": PYPROJECT},
    "pip editable": {"requirements.txt": "-e .\n", "setup.cfg": ""},
    "poetry": {"pyproject.toml": "[tool.poetry]\nname = 'a'\n", "poetry.lock": ""},
    "poetry plain": {"pyproject.toml": "[tool.poetry]\npackage-mode = false\n", "poetry.lock": ""},
    "uv": {"pyproject.toml": PYPROJECT, "uv.lock": ""},
    "uv workspace": {
        "pyproject.toml": UV_WORKSPACE,
        "uv.lock": "",
        "lib/pyproject.toml": PYPROJECT.replace("app", "lib"),
    },
    "pdm": {"pyproject.toml": PYPROJECT, "pdm.lock": ""},
    "pipenv": {"Pipfile": "[packages]\nself = {path = '.'}\n"},
    "go": {"go.mod": "module x\n", "go.sum": "", "main.go": "package main\n"},
    "go vendored": {"go.mod": "module x\n", "vendor/modules.txt": ""},
    "cargo": {"Cargo.toml": "[package]\nname = 'x'\n", "Cargo.lock": "", "src/main.rs": "", "src/lib.rs": ""},
    "cargo explicit": {"Cargo.toml": "[package]\nname = 'x'\n[[bin]]\nname = 'x'\npath = 'x.rs'\n", "x.rs": ""},
    "cargo workspace": {
        "Cargo.toml": "[workspace]\nmembers = ['a', 'b']\n",
        "a/Cargo.toml": "[package]\nname = 'a'\n[dependencies]\nb = {path = '../b'}\n",
        "a/src/main.rs": "",
        "b/Cargo.toml": "[package]\nname = 'b'\n",
        "b/src/lib.rs": "",
    },
    "maven": {"pom.xml": "<project/>"},
    "maven modules": {"pom.xml": "<project><modules><module>a</module></modules></project>", "a/pom.xml": "<project/>"},
    "gradle": {"build.gradle": "", "gradlew": ""},
    "sbt": {"build.sbt": ""},
    "composer": {"composer.json": '{"scripts": {"post-install-cmd": ["@php x"]}}', "composer.lock": "{}"},
    "dotnet": {"App.csproj": "<Project/>", "Program.cs": ""},
    "dotnet deep": {"src/Web/Web.csproj": "<Project/>"},
    "mix": {"mix.exs": "", "mix.lock": ""},
    "swift": {"Package.swift": "", "Package.resolved": "{}"},
}

# repository, command, first, later, safety
PAIRS = [
    ("npm", "npm ci --omit=dev", "npm ci --ignore-scripts --omit=dev", "npm rebuild && npm run prepare", Safety.REVIEW),
    ("yarn", "yarn", "yarn --ignore-scripts", "yarn", Safety.SAFE),
    (
        "yarn",
        "yarn install --frozen-lockfile",
        "yarn install --ignore-scripts --frozen-lockfile",
        "yarn install --frozen-lockfile",
        Safety.SAFE,
    ),
    (
        "berry",
        "yarn install --immutable",
        "yarn install --mode=skip-build --immutable",
        "yarn install --immutable",
        Safety.SAFE,
    ),
    (
        "pnpm",
        "pnpm install --prod --frozen-lockfile",
        "pnpm fetch --prod",
        "pnpm install --offline --prod --frozen-lockfile",
        Safety.SAFE,
    ),
    (
        "bun",
        "bun install --production",
        "bun install --ignore-scripts --production",
        "bun install --production",
        Safety.SAFE,
    ),
    ("deno", "deno cache main.ts", "deno install --frozen", "deno cache main.ts", Safety.REVIEW),
    (
        "pip",
        "pip install --no-cache-dir -r requirements.txt -e .",
        "pip install --no-cache-dir -r requirements.txt",
        "pip install --no-cache-dir -r requirements.txt -e .",
        Safety.SAFE,
    ),
    (
        "pip project",
        "uv pip install --system .[dev,test]",
        "uv pip install --system -r pyproject.toml --extra dev --extra test",
        "uv pip install --system '.[dev,test]'",
        Safety.SAFE,
    ),
    (
        "poetry",
        "poetry install --only main --no-interaction",
        "poetry install --no-root --only main --no-interaction",
        "poetry install --only main --no-interaction",
        Safety.SAFE,
    ),
    ("uv", "uv sync --locked", "uv sync --no-install-project --locked", "uv sync --locked", Safety.SAFE),
    ("uv workspace", "uv sync --frozen", "uv sync --no-install-workspace --frozen", "uv sync --frozen", Safety.SAFE),
    ("pdm", "pdm sync --prod", "pdm sync --no-self --prod", "pdm sync --prod", Safety.SAFE),
    ("go", "go build -o /app ./cmd/app", "go mod download", "go build -o /app ./cmd/app", Safety.SAFE),
    (
        "cargo",
        "cargo build --release --locked",
        "mkdir -p src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs && cargo build --release --locked",
        "touch src/main.rs src/lib.rs && cargo build --release --locked",
        Safety.REVIEW,
    ),
    (
        "cargo",
        "cargo test --locked",
        "mkdir -p src && touch src/main.rs src/lib.rs && cargo fetch --locked",
        "cargo test --locked",
        Safety.REVIEW,
    ),
    (
        "cargo explicit",
        "cargo build",
        "echo 'fn main() {}' > x.rs && cargo build",
        "touch x.rs && cargo build",
        Safety.REVIEW,
    ),
    (
        "cargo workspace",
        "cargo build -p a",
        "mkdir -p a/src b/src && echo 'fn main() {}' > a/src/main.rs && touch b/src/lib.rs && cargo build -p a",
        "touch a/src/main.rs b/src/lib.rs && cargo build -p a",
        Safety.REVIEW,
    ),
    (
        "maven",
        "./mvnw -B -s ci.xml package -DskipTests -Dx=1",
        "./mvnw dependency:go-offline -B -s ci.xml -Dx=1",
        "./mvnw -B -s ci.xml package -DskipTests -Dx=1",
        Safety.REVIEW,
    ),
    (
        "gradle",
        "./gradlew build --no-daemon",
        "./gradlew dependencies --no-daemon",
        "./gradlew build --no-daemon",
        Safety.REVIEW,
    ),
    ("sbt", "sbt assembly", "sbt update", "sbt assembly", Safety.REVIEW),
    (
        "composer",
        "composer install --no-dev -o",
        "composer install --no-scripts --no-autoloader --no-dev -o",
        "composer install --no-dev -o",
        Safety.SAFE,
    ),
    (
        "dotnet",
        "dotnet publish -c Release -r linux-x64 -p:A=1 -o /out",
        "dotnet restore -r linux-x64 -p:A=1",
        "dotnet publish -c Release -r linux-x64 -p:A=1 -o /out",
        Safety.SAFE,
    ),
    (
        "dotnet deep",
        "dotnet build src/Web/Web.csproj -c Release",
        "dotnet restore src/Web/Web.csproj",
        "dotnet build src/Web/Web.csproj -c Release",
        Safety.SAFE,
    ),
    ("dotnet deep", "dotnet build src/Web", "dotnet restore src/Web", "dotnet build src/Web", Safety.SAFE),
    ("mix", "mix release", "mix deps.get", "mix release", Safety.SAFE),
    ("swift", "swift build -c release", "swift package resolve", "swift build -c release", Safety.SAFE),
]

UNCHANGED = [
    ("npm quiet", "npm ci"),
    ("npm", "npm ci --ignore-scripts"),
    ("pnpm", "pnpm fetch"),
    ("pip", "pip install -r requirements.txt"),
    ("poetry plain", "poetry install"),
    ("poetry", "poetry install --no-root"),
    ("uv", "uv sync --no-install-project"),
    ("go", "go mod download"),
    ("maven", "mvn dependency:go-offline"),
    ("composer", "composer install --no-scripts"),
    ("dotnet", "dotnet restore"),
    ("cargo explicit", "cargo fetch"),
]

NOTHING = [
    ("pip project", "pip install ."),
    ("pip editable", "pip install -r requirements.txt"),
    ("pipenv", "pipenv install"),
    ("go vendored", "go build"),
    ("pnpm unlocked", "pnpm install"),
    ("dotnet", "dotnet publish --no-restore"),
    ("uv", "uv run app"),
    ("composer", "composer update"),
    ("npm", "npm ci --prefix ."),
    ("mix", "npm ci"),
]


def tree(repo: str) -> MemoryTree:
    return MemoryTree({path: content.encode() for path, content in REPOS[repo].items()})


def manager(command: str) -> str:
    program = command.split()[0].removeprefix("./")
    return {"mvn": "maven", "mvnw": "maven", "gradlew": "gradle"}.get(program, program)


def ask(repo: str, command: str) -> Hoist:
    return hoist(tree(repo), manager(command), command.split(), "", "")


@pytest.mark.parametrize(("repo", "command", "first", "later", "safety"), PAIRS, ids=lambda value: str(value)[:40])
def test_a_pair_downloads_first_and_does_the_rest_later(
    repo: str, command: str, first: str, later: str, safety: Safety
) -> None:
    found = ask(repo, command)

    assert (found.first, found.later, found.safety) == (first, later, safety)
    assert not found.unchanged
    assert bool(found.reasons) == (safety is Safety.REVIEW)


@pytest.mark.parametrize(("repo", "command", "first"), [pair[:3] for pair in PAIRS], ids=lambda value: str(value)[:40])
def test_the_first_half_reads_no_source(repo: str, command: str, first: str) -> None:
    stubs = [word for word in first.split() if word.endswith(".rs")]
    download = first.rpartition(" && ")[2]
    if "fn main" in first:
        download = "cargo fetch"  # it compiles what stands in, and needs no more files than a download
        stubs = [stub for stub in stubs if stub.startswith(("src/", "a/", "b/"))]
    found = closure(tree(repo), manager(command), download.split(), "", "")

    assert found is not None
    assert bool(found.reads_source) == bool(stubs)
    assert all("targets are not there" in reason for reason in found.reads_source)


@pytest.mark.parametrize(("repo", "command", "first"), [pair[:3] for pair in PAIRS], ids=lambda value: str(value)[:40])
def test_a_first_half_is_not_taken_apart_again(repo: str, command: str, first: str) -> None:
    if " && " not in first:
        assert ask(repo, first).unchanged


@pytest.mark.parametrize(("repo", "command"), UNCHANGED)
def test_a_command_that_reads_no_source_moves_as_it_is(repo: str, command: str) -> None:
    found = ask(repo, command)

    assert (found.first, found.later, found.unchanged, found.safety) == (command, None, True, Safety.SAFE)


@pytest.mark.parametrize(("repo", "command"), NOTHING)
def test_where_nothing_can_be_taken_out_a_reason_says_why(repo: str, command: str) -> None:
    found = ask(repo, command)

    assert (found.first, found.later, found.unchanged, found.safety) == (None, None, False, Safety.SHOW)
    assert found.reasons


def test_a_doubt_about_the_manifests_asks_for_a_look() -> None:
    repo = MemoryTree({"package.json": b'{"dependencies": {"x": "file:../x"}}', "package-lock.json": b"{}"})

    found = hoist(repo, "npm", ("npm", "ci"), "", "")

    assert (found.unchanged, found.safety) == (True, Safety.REVIEW)
    assert "outside the build context" in found.reasons[0]


def test_words_are_kept_as_they_are_spelled() -> None:
    words = ("poetry", "install", None, "--with", "a b")
    raw = ("poetry", "install", "$FLAGS", "--with", '"a b"')

    found = hoist(tree("poetry"), "poetry", words, "", "", raw)

    assert found.first == 'poetry install --no-root $FLAGS --with "a b"'
    assert found.safety is Safety.REVIEW


def test_an_unknown_word_without_its_spelling_cannot_be_written_again() -> None:
    found = hoist(tree("poetry"), "poetry", ("poetry", "install", None), "", "")

    assert (found.first, found.safety) == (None, Safety.SHOW)


def test_modules_of_one_another_are_named_as_a_reason() -> None:
    first = ask("maven modules", "mvn package").first
    found = closure(tree("maven modules"), "maven", (first or "").split(), "", "")

    assert found is not None
    assert any("modules" in reason for reason in found.uncertain)


def test_scripts_of_npm_run_later_in_their_order() -> None:
    scripts = {"prepare": "tsc", "preinstall": "tsc", "postinstall": "tsc"}
    repo = MemoryTree({"package.json": json.dumps({"scripts": scripts}).encode(), "package-lock.json": b"{}"})

    found = hoist(repo, "npm", ("npm", "ci"), "", "")

    assert found.later == "npm rebuild && npm run preinstall && npm run postinstall && npm run prepare"
