"""Which C library compiled files need, and whether a copy carries any."""

from __future__ import annotations

import pytest

from coach.dockerfile import parse
from coach.images import Libc
from coach.linkage import Linker, locked
from coach.shipped import Shipped
from coach.site import Site
from coach.tree import MemoryTree


def carried(text: str, files: dict[str, str] | None = None) -> list[tuple[str, Libc | None, bool]]:
    """``(kind, libc, sure)`` of all compiled code that the final stage copies."""
    tree = MemoryTree({"Dockerfile": text.encode(), **{path: body.encode() for path, body in (files or {}).items()}})
    site = Site(tree, parse(text.encode(), "Dockerfile"), "")
    linker = Linker(site)
    found = [native for copy in Shipped(site).copies for native in linker.natives(copy)]
    return [(native.kind, native.libc, native.sure) for native in found if not native.guess]


def build(base: str, run: str, path: str) -> str:
    return (
        f"FROM {base} AS build\nWORKDIR /src\nCOPY . .\nRUN {run}\nFROM debian:12-slim\nCOPY --from=build {path} /app\n"
    )


@pytest.mark.parametrize(
    ("base", "run", "path", "expected"),
    [
        ("golang:1.22", "go build -o /out/a .", "/out/a", [("go", Libc.GLIBC, False)]),
        ("golang:1.22", "CGO_ENABLED=0 go build -o /out/a .", "/out/a", []),
        ("golang:1.22", "export CGO_ENABLED=0; go build -o /out/a .", "/out/a", []),
        ("golang:1.22", "GOOS=windows go build -o /out/a .", "/out/a", []),
        ("golang:1.22", "go build -ldflags '-extldflags \"-static\"' -o /out/a .", "/out/a", []),
        ("golang:1.22-alpine", "go build -o /out/a .", "/out/a", []),
        ("golang:1.22-alpine", "apk add gcc musl-dev && go build -o /out/a .", "/out/a", [("go", Libc.MUSL, False)]),
        ("golang:1.22-alpine", "CGO_ENABLED=1 go build -o /out/a .", "/out/a", [("go", Libc.MUSL, True)]),
        ("rust:1", "cargo build --release", "/src/target/release/a", [("rust", Libc.GLIBC, True)]),
        ("rust:1", "cargo build --release --target x86_64-unknown-linux-musl", "/src/target", []),
        ("rust:1", "cargo build --target wasm32-wasi", "/src/target", []),
        ("rust:1-alpine", "cargo build --release", "/src/target/release/a", []),
        ("gcc:12", "gcc -o a a.c", "/src/a", [("c", Libc.GLIBC, True)]),
        ("gcc:12", "gcc -o a a.c && cp a /usr/bin/shop", "/usr/bin/shop", [("c", Libc.GLIBC, False)]),
        ("gcc:12", "gcc -static -o a a.c", "/src/a", []),
        ("gcc:12", "gcc -o a a.c", "/src/web/index.html", []),
        ("mcr.microsoft.com/dotnet/sdk:8.0", "dotnet publish -o /out", "/out", []),
        (
            "mcr.microsoft.com/dotnet/sdk:8.0",
            "dotnet publish -r linux-musl-x64 --self-contained -o /out",
            "/out",
            [("dotnet", Libc.MUSL, True)],
        ),
    ],
)
def test_compiled_programs(base: str, run: str, path: str, expected: list[tuple[str, Libc | None, bool]]) -> None:
    assert carried(build(base, run, path)) == expected


def test_a_cargo_configuration_may_set_the_target() -> None:
    text = build("rust:1", "cargo build --release", "/src/target/release/a")

    assert carried(text, {".cargo/config.toml": '[build]\ntarget = "x86_64-unknown-linux-musl"\n'}) == []


def test_context_files_are_no_programs() -> None:
    text = build("gcc:12", "gcc -o a a.c", "/src/settings")

    assert carried(text, {"settings": ""}) == []
    assert carried(text) == [("c", Libc.GLIBC, False)]


def test_node_modules_count_only_with_a_native_package() -> None:
    text = build("node:22-alpine", "npm ci", "/src/node_modules")
    lock = '{{"packages": {{"": {{}}, "node_modules/{0}": {{}}}}}}'

    assert carried(text, {"package.json": "{}", "package-lock.json": lock.format("express")}) == []
    assert carried(text, {"package.json": "{}", "package-lock.json": lock.format("sharp")}) == [
        ("node", Libc.MUSL, False)
    ]


def test_python_environments_may_hold_compiled_wheels() -> None:
    text = build("python:3.12-alpine", "pip install -r requirements.txt", "/usr/local")

    assert carried(text, {"requirements.txt": "numpy==2\n"}) == [("python", Libc.MUSL, True)]
    assert carried(text, {"requirements.txt": "flask\n"}) == [("python", Libc.MUSL, False)]


def test_interpreters_out_of_other_images() -> None:
    head = "FROM debian:12-slim\nCOPY --from="

    assert carried(f"{head}node:22-alpine /usr/local/bin/node /bin/\n") == [("image", Libc.MUSL, True)]
    assert carried(f"{head}ghcr.io/astral-sh/uv:0.8 /uv /bin/\n") == []
    assert carried(f"{head}acme/tool /usr/local/bin/node /bin/\n") == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("package-lock.json", '{"packages": {"": {}, "node_modules/a/node_modules/@b/c": {}}}', {"@b/c"}),
        ("package-lock.json", '{"dependencies": {"a": {}}}', {"a"}),
        ("package-lock.json", "[" * 100_000, set()),
        ("package-lock.json", "7", set()),
        ("pnpm-lock.yaml", "packages:\n\n  '@b/c@1.0.0':\n    x: 1\n  bcrypt@5.1.1:\n", {"@b/c", "bcrypt"}),
        ("pnpm-lock.yaml", "packages:\n  /bcrypt/5.0.0:\n", {"bcrypt"}),
        ("yarn.lock", '"@b/c@^1.0.0":\n  version "1"\nbcrypt@5:\n', {"@b/c", "bcrypt"}),
        ("requirements.txt", "NumPy==2 ; python_version > '3'\n# pandas\n-r other.txt\nuvloop\n", {"numpy", "uvloop"}),
        ("uv.lock", '[[package]]\nname = "numpy"\nversion = "2"\n', {"numpy"}),
    ],
)
def test_names_in_a_lockfile(name: str, text: str, expected: set[str]) -> None:
    assert locked(name, text) == expected


def test_a_lockfile_tells_development_dependencies_apart() -> None:
    text = '{"packages": {"node_modules/a": {}, "node_modules/b": {"dev": true}}}'

    assert locked("package-lock.json", text, production=True) == {"a"}
    assert locked("package-lock.json", text) == {"a", "b"}


@pytest.mark.parametrize("name", ["pnpm-lock.yaml", "yarn.lock", "requirements.txt", "uv.lock", "Pipfile.lock"])
def test_a_long_line_costs_no_more_than_it_is_long(name: str) -> None:
    assert locked(name, " " * 300_000 + "a" * 300_000) in (set(), {"a" * 300_000})
