"""Closures, over folders of real small repositories: ``tests/manifests/<case>/{repo/…, expect.toml}``.

``expect.toml`` holds ``touch`` (empty files that the repository also has) and one ``[[ask]]`` per question: ``run``
(the command; ``?`` is a word that is not static), ``manager``, ``directory``, ``context``, and what is expected.
``uncertain`` and ``reads`` list pieces of the reasons, one for each reason; left out, no doubt is expected and reading
is not judged.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach import manifests
from coach.manifests import HOMES, Closure, closure
from coach.manifests.compiled_facts import go_facts, rust_facts
from coach.manifests.files import Files, without_comments
from coach.manifests.globs import matches
from coach.manifests.node_facts import node_facts
from coach.manifests.python_facts import python_facts
from coach.tree import MemoryTree

CASES = Path(__file__).parent / "manifests"


class Ask(NamedTuple):
    case: str
    number: int
    expected: Mapping[str, Any]

    @property
    def words(self) -> tuple[str | None, ...]:
        return tuple(None if word == "?" else word for word in self.expected["run"].split())

    @property
    def manager(self) -> str:
        return str(self.expected.get("manager", self.expected["run"].split()[0]))


def files(case: str) -> dict[str, bytes]:
    root = CASES / case / "repo"
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    touched = tomllib.loads((CASES / case / "expect.toml").read_text()).get("touch", [])
    return {**dict.fromkeys(touched, b""), **found}


def asks() -> list[Ask]:
    found = []
    for folder in sorted(CASES.iterdir()):
        expected = tomllib.loads((folder / "expect.toml").read_text())
        found += [Ask(folder.name, number, ask) for number, ask in enumerate(expected["ask"], 1)]
    return found


def answer(ask: Ask, repo: Mapping[str, bytes]) -> Closure | None:
    expected = ask.expected
    return closure(MemoryTree(repo), ask.manager, ask.words, expected.get("directory", ""), expected.get("context", ""))


every_ask = pytest.mark.parametrize("ask", asks(), ids=lambda ask: f"{ask.case}-{ask.number}")


def named(pieces: list[str], reasons: tuple[str, ...]) -> bool:
    return all(any(piece in reason for reason in reasons) for piece in pieces)


@every_ask
def test_an_install_needs_exactly_these_files(ask: Ask) -> None:
    found = answer(ask, files(ask.case))
    expected = ask.expected

    if expected.get("none"):
        assert found is None
        return
    assert found is not None
    if "files" in expected:
        assert list(found.files) == expected["files"]
    for key in ("directories", "members"):
        if key in expected:
            assert list(getattr(found, key)) == expected[key]
    if "lockfile" in expected:
        assert found.lockfile == expected["lockfile"]
    doubts = expected.get("uncertain", [])
    assert named(doubts, found.uncertain), found.uncertain
    if "uncertain" in expected or "files" in expected:
        assert len(found.uncertain) == len(doubts), found.uncertain
    if "reads" in expected:
        assert named(expected["reads"], found.reads_source), found.reads_source
        assert bool(found.reads_source) == bool(expected["reads"]), found.reads_source


@every_ask
def test_a_closure_is_sorted_exists_and_stays_in_its_context(ask: Ask) -> None:
    repo = files(ask.case)
    found = answer(ask, repo)
    context = ask.expected.get("context", "")

    if found is not None:
        assert list(found.files) == sorted(set(found.files))
        assert set(found.files) <= repo.keys()
        assert all(path.startswith(f"{context}/") for path in (*found.files, *found.directories) if context)
        assert all(any(path.startswith(f"{directory}/") for path in repo) for directory in found.directories)
        assert not [path for path in found.files if path.startswith(tuple(f"{d}/" for d in found.directories))]
        assert found.lockfile is None or found.lockfile in found.files


@every_ask
def test_the_closure_alone_has_the_same_closure(ask: Ask) -> None:
    repo = files(ask.case)
    found = answer(ask, repo)

    if found is not None:
        whole = tuple(f"{directory}/" for directory in found.directories)
        alone = {path: content for path, content in repo.items() if path in found.files or path.startswith(whole)}
        again = answer(ask, alone)
        assert again is not None
        assert (again.files, again.directories) == (found.files, found.directories)


@every_ask
def test_line_endings_change_nothing(ask: Ask) -> None:
    repo = files(ask.case)
    windows = {path: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for path, content in repo.items()}

    assert answer(ask, windows) == answer(ask, repo)


@every_ask
def test_a_broken_file_is_a_doubt_and_never_an_error(ask: Ask) -> None:
    repo = files(ask.case)

    for path in sorted(repo):
        for content in (b"\xff\xfe\x00{[<", b"", b"[" * 3_000, b"{" * 3_000, b"<a>" * 3_000):
            answer(ask, {**repo, path: content})


@settings(max_examples=60)
@given(st.data())
def test_any_bytes_in_any_manifest_raise_nothing(data: st.DataObject) -> None:
    ask = data.draw(st.sampled_from(asks()))
    repo = files(ask.case)
    path = data.draw(st.sampled_from(sorted(repo)))
    cut = data.draw(st.integers(0, len(repo[path])))
    junk = data.draw(st.binary(max_size=30))

    answer(ask, {**repo, path: repo[path][:cut] + junk + repo[path][cut:]})


def test_an_unknown_manager_has_no_closure() -> None:
    assert closure(MemoryTree({"package.json": b"{}"}), "cobbler", ("cobbler", "mend"), "", "") is None


def test_every_manager_of_a_project_can_be_asked() -> None:
    known = manifests.managers()

    assert {"npm", "yarn", "pnpm", "pip", "uv", "poetry", "go", "cargo", "maven", "gradle", "bundler"} <= known.keys()
    homes = {name: str(vars(known[name])["__name__"]).rsplit(".", 1)[-1] for name in HOMES}

    assert homes == HOMES


def test_a_dot_is_the_root() -> None:
    tree = MemoryTree({"a/package.json": b"{}", "package.json": b"{}"})

    assert closure(tree, "npm", ("npm", "i"), ".", ".") == closure(tree, "npm", ("npm", "i"), "", "")
    assert closure(tree, "npm", ("npm", "i"), "./a/", "") == closure(tree, "npm", ("npm", "i"), "a", "")


def test_an_absolute_path_is_looked_up_in_the_container() -> None:
    tree = MemoryTree({"deploy/requirements.txt": b"-r more.txt\n", "deploy/more.txt": b""})
    words = ("pip", "install", "-r", "/tmp/requirements.txt")

    known = closure(tree, "pip", words, "", "", {"/tmp/requirements.txt": "deploy/requirements.txt"}.get)
    unknown = closure(tree, "pip", words, "", "")

    assert known is not None
    assert known.files == ("deploy/more.txt", "deploy/requirements.txt")
    assert unknown is None


def test_a_secret_in_a_manifest_is_not_repeated() -> None:
    token = "ghp_" + "a1B2" * 9
    manifest = f'{{"dependencies": {{"x": "file:../{token}"}}, "scripts": {{"postinstall": "run {token}"}}}}'

    found = closure(MemoryTree({"package.json": manifest.encode()}), "npm", ("npm", "i"), "", "")

    assert found is not None
    assert found.uncertain
    assert token not in repr(found)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("packages/*", "packages/a", True),
        ("packages/*", "packages/a/b", False),
        ("packages/**", "packages/a/b", True),
        ("packages/**", "packages", True),
        ("./packages/*/", "packages/a", True),
        ("*", ".hidden", False),
        ("{a,b}/*", "b/x", True),
        ("pkg{1..3}", "pkg2", True),
        ("@(a|b)", "a", True),
        ("!(a|b)", "c", True),
        ("!(a|b)", "a", False),
        ("a/?", "a/b", True),
        ("[ab]c", "bc", True),
        ("**/x", "x", True),
        ("a//b", "a/b", True),
    ],
)
def test_workspace_globs(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


def test_hostile_globs_take_no_time() -> None:
    assert not matches("*a" * 40 + "b", "a" * 250)
    assert not matches("**/" * 200 + "x", "/".join("a" * 200))
    assert not matches("{a,b}" * 40, "c")


def test_comments_and_trailing_commas_leave_json_and_strings_whole() -> None:
    assert (
        without_comments('{"a": "//x /* y */", // z\n "b": [1, 2,], /* , } */ }')
        == '{"a": "//x /* y */", \n "b": [1, 2]  }'
    )
    assert without_comments("/* " * 100_000) == ""


def test_many_local_dependencies_take_no_quadratic_time() -> None:
    entries = ",".join(f'"d{n}": "file:../gone{n}"' for n in range(20_000))
    tree = MemoryTree({"package.json": f'{{"dependencies": {{{entries}}}}}'.encode()})

    found = closure(tree, "npm", ("npm", "i"), "", "")

    assert found is not None
    assert 100 < len(found.uncertain) <= 1_000


def test_a_key_of_a_hundred_thousand_parts_is_refused_before_it_is_parsed() -> None:
    tree = MemoryTree({"pyproject.toml": b"a." * 100_000 + b"b=1\n"})

    found = closure(tree, "uv", ("uv", "sync"), "", "")

    assert found is not None
    assert found.uncertain == ("pyproject.toml: TOML with keys of too many parts, not read",)


def test_children_and_below_see_their_own_directory_only() -> None:
    listed = Files(MemoryTree({"a/x": b"", "a/b/y": b"", "a-b/z": b"", "ab": b""}))

    assert listed.children("a") == ["b", "x"]
    assert listed.below("a") == ["a/b", "a/b/y", "a/x"]
    assert listed.children("") == ["a", "a-b", "ab"]


# ------------------------------------------------------------------------------------------------------------- facts

LOCK = b"""{
  "lockfileVersion": 3,
  "packages": {
    "": {"name": "web"},
    "node_modules/esbuild": {
      "hasInstallScript": true
    },
    "node_modules/x/node_modules/bcrypt": {
      "hasInstallScript": true
    },
    "node_modules/sharp": {
      "version": "0.33.0"
    }
  }
}
"""


def test_a_next_project_is_known_with_its_addons_and_where_they_stand() -> None:
    package = (
        b'{\n  "name": "web",\n  "type": "module",\n  "scripts": {\n    "start": "next start"\n  },\n'
        b'  "engines": {"node": ">=20"},\n  "dependencies": {\n    "next": "14",\n    "sharp": "0.33.0"\n  },\n'
        b'  "devDependencies": {"typescript": "5"}\n}\n'
    )
    config = b"/** @type {import('next').NextConfig} */\nmodule.exports = {\n  output: 'standalone',\n}\n"
    tree = MemoryTree(
        {"package.json": package, "package-lock.json": LOCK, "next.config.js": config, "prisma/schema.prisma": b""}
    )

    facts = node_facts(tree, "")

    assert (facts.name, facts.module, facts.start, facts.manager) == ("web", "module", "next start", "npm")
    assert (facts.framework, facts.output, facts.output_line, facts.config) == (
        "next",
        "standalone",
        3,
        "next.config.js",
    )
    assert [(a.name, a.path, a.line, a.builds, a.direct) for a in facts.addons] == [
        ("bcrypt", "package-lock.json", 8, True, False),
        ("sharp", "package.json", 10, False, True),
    ]
    assert facts.scripted == ("bcrypt", "esbuild")
    assert facts.prisma == "prisma/schema.prisma"
    assert facts.lines == {"start": 5}
    assert facts.engines == {"node": ">=20"}


@pytest.mark.parametrize(
    ("name", "content", "builds"),
    [
        ("pnpm-lock.yaml", b"packages:\n\n  bcrypt@5.1.0:\n    requiresBuild: true\n\n  ms@2.1.3:\n", True),
        ("pnpm-lock.yaml", b"packages:\n\n  /bcrypt@5.1.0(x@1):\n    dev: false\n", False),
        ("yarn.lock", b'# yarn lockfile v1\n\nbcrypt@^5, bcrypt@5.1:\n  version "5.1.0"\n', False),
        ("yarn.lock", b'__metadata:\n  version: 8\n\n"bcrypt@npm:^5":\n  version: 5.1.0\n', False),
        ("bun.lock", b'{\n  "packages": {\n    "bcrypt": ["bcrypt@5.1.0", "", {}],\n  }\n}\n', False),
    ],
)
def test_addons_are_found_in_every_lockfile(name: str, content: bytes, builds: bool) -> None:
    facts = node_facts(MemoryTree({"package.json": b"{}", name: content}), "")

    assert [(addon.name, addon.path, addon.builds) for addon in facts.addons] == [("bcrypt", name, builds)]
    assert content.splitlines()[facts.addons[0].line - 1].lstrip(b'/" ').startswith(b"bcrypt")


def test_two_lockfiles_leave_the_manager_open_unless_one_is_pinned() -> None:
    both = {"package-lock.json": b"{}", "yarn.lock": b"__metadata:\n"}

    assert node_facts(MemoryTree({"package.json": b"{}", **both}), "").manager == ""
    pinned = node_facts(MemoryTree({"package.json": b'{"packageManager": "yarn@4.0.0"}', **both}), "")
    assert (pinned.manager, pinned.lockfile) == ("berry", "yarn.lock")


def test_a_bundler_without_a_server_leaves_plain_files() -> None:
    static = b'{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "5"}}'
    served = b'{"scripts": {"start": "node server.js"}, "devDependencies": {"vite": "5"}}'

    assert node_facts(MemoryTree({"package.json": static}), "").output == "static"
    assert node_facts(MemoryTree({"package.json": served}), "").output == ""


def test_a_python_project_is_known_with_what_needs_a_compiler() -> None:
    tree = MemoryTree(
        {
            "requirements.txt": b"Django==5.0 \\\n  --hash=sha256:a\npsycopg2==2.9\n# x\nnumpy\ngunicorn\n",
            "requirements/dev.txt": b"pytest\n",
            "src/manage.py": b"",
        }
    )

    facts = python_facts(tree, "")

    assert (facts.manager, facts.framework, facts.entry, facts.servers) == (
        "pip",
        "django",
        "src/manage.py",
        ("gunicorn",),
    )
    assert [(d.name, d.path, d.line) for d in facts.compiled] == [("psycopg2", "requirements.txt", 3)]
    assert [d.name for d in facts.native] == ["numpy", "psycopg2"]
    assert {d.name: d.line for d in facts.dependencies} == {
        "django": 1, "psycopg2": 3, "numpy": 5, "gunicorn": 6, "pytest": 1,
    }  # fmt: skip


def test_a_pyproject_says_its_python_backend_and_scripts() -> None:
    content = (
        b"[project]\nname = 'app'\nrequires-python = '>=3.11'\ndependencies = ['FastAPI>=0.1', 'uvicorn[standard]']\n"
        b"[project.scripts]\nserve = 'app:main'\n[build-system]\nbuild-backend = 'hatchling.build'\n"
    )

    facts = python_facts(MemoryTree({"pyproject.toml": content, "uv.lock": b""}), "")

    assert (facts.name, facts.manager, facts.framework, facts.requires_python) == ("app", "uv", "fastapi", ">=3.11")
    assert facts.scripts == {"serve": "app:main"}
    assert facts.build_backend == "hatchling.build"


def test_a_go_module_is_known_with_its_commands_and_cgo() -> None:
    tree = MemoryTree(
        {
            "go.mod": b"module example.org/app\n\ngo 1.22.3\n\nrequire (\n\tgithub.com/mattn/go-sqlite3 v1.14.0\n)\n",
            "cmd/app/main.go": b"package main\n\nfunc main() {}\n",
            "cmd/app/main_test.go": b"package main\n",
            "tool.go": b"//go:build ignore\n\npackage main\n\nfunc main() {}\n",
            "c/c.go": b'package c\n\nimport "C"\n',
            "other/go.mod": b"module other\n",
            "other/main.go": b"package main\n\nfunc main() {}\n",
            "vendor/v/main.go": b"package main\n\nfunc main() {}\n",
        }
    )

    facts = go_facts(tree, "")

    assert (facts.module, facts.version, facts.main_packages) == ("example.org/app", "1.22.3", ("cmd/app",))
    assert [(c.name, c.path, c.line) for c in facts.cgo] == [
        ("github.com/mattn/go-sqlite3", "go.mod", 6),
        ('import "C"', "c/c.go", 3),
    ]


def test_a_cargo_workspace_is_known_with_its_binaries() -> None:
    tree = MemoryTree(
        {
            "Cargo.toml": b"[workspace]\nmembers = ['a', 'b']\n",
            "Cargo.lock": b'[[package]]\nname = "openssl-sys"\n[[package]]\nname = "windows-sys"\n',
            "a/Cargo.toml": b"[package]\nname = 'a'\nedition = '2021'\n",
            "a/src/main.rs": b"",
            "b/Cargo.toml": b"[package]\nname = 'b'\n[[bin]]\nname = 'tool'\npath = 'tool.rs'\n",
            "b/src/bin/extra.rs": b"",
            "rust-toolchain.toml": b"",
        }
    )

    facts = rust_facts(tree, "")

    assert (facts.binaries, facts.members) == (("a", "extra", "tool"), ("a", "b"))
    assert (facts.lockfile, facts.toolchain) == ("Cargo.lock", "rust-toolchain.toml")
    assert [(c.name, c.line) for c in facts.native] == [("openssl-sys", 2)]
    assert rust_facts(tree, "a").edition == "2021"


def test_facts_of_nothing_are_unknown_and_of_broken_files_raise_nothing() -> None:
    junk = b"\xff{[<"
    empty = MemoryTree({})
    broken = MemoryTree(
        dict.fromkeys(("package.json", "pyproject.toml", "go.mod", "Cargo.toml", "package-lock.json"), junk)
    )

    for facts in (node_facts, python_facts, go_facts, rust_facts):
        assert not facts(empty, "").known
        facts(broken, "")
