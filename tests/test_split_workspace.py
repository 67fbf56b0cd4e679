"""Which packages a task runner or a filter builds, and what a container's command starts in the end."""

from __future__ import annotations

import json

import pytest

from coach.dockerfile import parse
from coach.manifests.node_facts import NodeFacts, node_facts
from coach.site import Site
from coach.split.draft import CannotSplitError
from coach.split.entry import Entry, entry
from coach.split.workspace import Job, UntoldError, Workspace, nx, turbo
from coach.tree import MemoryTree

SCRIPTS = {"build": "tsc", "types": "gen", "start": "node out/a.js", "serve": "cross-env A=1 node out/a.js"}


def space(**files: str) -> Workspace:
    """``app`` needs ``lib``, ``lib`` needs ``base``; ``other`` stands alone. ``__`` in a name of ``files`` is ``/``."""
    needs = {"app": ["lib"], "lib": ["base"], "base": [], "other": []}
    tree = {"Dockerfile": b"FROM node:22\n", "package.json": b'{"name": "root", "scripts": {"build": "x"}}'}
    for name, wanted in needs.items():
        own = {"name": f"@w/{name}", "scripts": SCRIPTS, "dependencies": {f"@w/{one}": "*" for one in wanted}}
        tree[f"p/{name}/package.json"] = json.dumps(own).encode()
    tree |= {name.replace("__", "/").replace("_json", ".json"): text.encode() for name, text in files.items()}
    memory = MemoryTree(tree)
    packages: dict[str, NodeFacts] = {
        directory: node_facts(memory, directory) for directory in ("", *(f"p/{name}" for name in needs))
    }
    return Workspace(Site(memory, parse(tree["Dockerfile"], "Dockerfile"), ""), packages)


def built(jobs: list[Job]) -> set[str]:
    return {f"{job.directory.removeprefix('p/')} {job.script or ' '.join(job.fills)}" for job in jobs}


AFTER = '{"tasks": {"build": {"dependsOn": ["^build", "$ENV"]}}}'


@pytest.mark.parametrize(
    ("words", "config", "expected"),
    [
        ("run build", "", {"app build", "lib build", "base build", "other build"}),
        ("build --filter=@w/app", "", {"app build"}),
        ("build --filter @w/lib...", "", {"lib build", "base build"}),
        ("run build -F ./p/other --concurrency 2", "", {"other build"}),
        ("run build --filter=@w/app", AFTER, {"app build", "lib build", "base build"}),
        (
            "run build --filter=@w/base",
            '{"pipeline": {"build": {"dependsOn": ["types"]}}}',
            {"base build", "base types"},
        ),
        (
            "run build --filter=@w/base",
            '{"tasks": {"build": {"dependsOn": ["@w/other#types"]}}}',
            {"base build", "other types"},
        ),
        (
            "run build --filter=@w/base",
            '{"tasks": {"@w/base#build": {"dependsOn": ["types"]}}}',
            {"base build", "base types"},
        ),
    ],
)
def test_turbo_builds_what_is_chosen_and_what_that_needs(words: str, config: str, expected: set[str]) -> None:
    assert built(turbo(space(turbo_json=config), words.split())) == expected


@pytest.mark.parametrize(
    "words", ["run", "build --filter=...[main]", "build --filter=@w/*", "build --filter=nobody", "build --affected"]
)
def test_turbo_is_not_guessed(words: str) -> None:
    with pytest.raises(UntoldError):
        turbo(space(), words.split())


WEB = '{"name": "web", "targets": {"build": {"executor": "%s", "options": {"outputPath": %s}}}}'
BEFORE = '{"targetDefaults": {"build": {"dependsOn": ["^build"], "outputs": ["{projectRoot}/out"]}}}'


@pytest.mark.parametrize(
    ("words", "files", "expected"),
    [
        ("build @w/app", {"nx_json": BEFORE}, {"app build", "lib build", "base build"}),
        ("build app", {}, {"app build"}),
        ("run @w/lib:build:production", {}, {"lib build"}),
        ("run-many -t build -p @w/app,@w/other", {}, {"app build", "other build"}),
        ("run-many --target=types", {}, {"app types", "lib types", "base types", "other types"}),
        ("build web", {"web__project_json": WEB % ("@nx/webpack:webpack", '"dist/web"')}, {"web dist/web"}),
        (
            "build web",
            {"web__project_json": WEB % ("@angular/build:application", '{"base": "dist/w"}')},
            {"web dist/w"},
        ),
        (
            "build web",
            {"nx_json": BEFORE, "web__project_json": '{"targets": {"build": {"command": "x"}}}'},
            {"web web/out"},
        ),
    ],
)
def test_nx_builds_what_is_named_and_what_that_needs(words: str, files: dict[str, str], expected: set[str]) -> None:
    assert built(nx(space(**files), words.split())) == expected


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("affected -t build", {}),
        ("build", {}),
        ("build nobody", {}),
        ("run-many -t build -p tag:x", {}),
        ("test app", {}),
        ("build web", {"web__project_json": '{"name": "web"}'}),
        ("build web", {"web__project_json": WEB % ("@nx/js:tsc", '"dist/web"')}),
        ("build web", {"web__project_json": WEB % ("@nx/webpack:webpack", '"../out"')}),
        ("build app", {"nx_json": '{"targetDefaults": {"build": {"dependsOn": [{"target": "types"}]}}}'}),
    ],
)
def test_nx_is_not_guessed(words: str, files: dict[str, str]) -> None:
    with pytest.raises(UntoldError):
        nx(space(**files), words.split())


def starts(words: str, directory: str = "") -> Entry:
    one = space()
    return entry(words.split(), one.site, one.packages, directory)


@pytest.mark.parametrize(
    ("words", "directory", "place", "file", "plain"),
    [
        ("node out/a.js", "", "", "out/a.js", True),
        ("npm start -w @w/app", "", "p/app", "out/a.js", True),
        ("npm run start --workspace=@w/app", "", "p/app", "out/a.js", True),
        ("npm start", "p/lib", "p/lib", "out/a.js", True),
        ("npm --prefix p/lib start", "", "p/lib", "out/a.js", True),
        ("pnpm --filter @w/app start", "", "p/app", "out/a.js", True),
        ("pnpm -C p/app run start --port 1", "", "p/app", "out/a.js", False),
        ("yarn workspace @w/app start", "", "p/app", "out/a.js", True),
        ("yarn node --enable-source-maps x.js", "", "", "x.js", True),
        ("pnpm exec node x.js", "p/app", "p/app", "x.js", True),
        ("bun run src/a.ts", "", "", "src/a.ts", True),
        ("bun --cwd p/app start", "", "p/app", "out/a.js", True),
        ("npx --yes node x.js", "", "", "x.js", True),
    ],
)
def test_a_command_is_followed_to_its_program(words: str, directory: str, place: str, file: str, plain: bool) -> None:
    found = starts(words, directory)

    assert (found.directory, found.file, found.plain) == (place, file, plain)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("npm run nothing", "no script"),
        ("npm run", "not written"),
        ("npx --yes", "not written"),
        ("npm start -w nobody", "not the name"),
        ("pnpm --filter @w/app... start", "cannot be told"),
        ("npx tsx a.ts", "development tool"),
    ],
)
def test_a_command_that_cannot_be_followed_says_why(words: str, says: str) -> None:
    with pytest.raises(CannotSplitError, match=says):
        starts(words)
