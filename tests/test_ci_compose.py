"""Compose files as build sites."""

from __future__ import annotations

import pytest

from coach.ci import compose
from coach.ci.nouns import Value, static
from coach.model import BuildSite
from coach.tree import MemoryTree


def sites(content: str, path: str = "compose.yaml", **files: str) -> list[BuildSite]:
    named = {name.replace("__", "/"): text.encode() for name, text in files.items()}
    return list(compose.read(MemoryTree({path: content.encode(), **named})).builds)


def one(content: str, path: str = "compose.yaml", **files: str) -> BuildSite:
    found = sites(content, path, **files)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    "path",
    [
        "compose.yml",
        "docker-compose.yaml",
        "docker-compose.prod.yml",
        "deploy/compose.override.yaml",
        "dev.docker-compose.yml",
        ".devcontainer/docker-compose.yml",
    ],
)
def test_names_of_compose_files(path: str) -> None:
    assert one("services: {web: {build: .}}", path).job == "web"


def test_the_short_form() -> None:
    build = one("services:\n  web:\n    build: ./web\n    image: acme/web\n", "deploy/compose.yaml")

    assert (build.dockerfile, build.context, build.line, build.end_line) == (
        "deploy/web/Dockerfile",
        "deploy/web",
        3,
        3,
    )
    assert build.tags == ("acme/web",)


def test_the_long_form() -> None:
    build = one(
        """\
services:
  web:
    build:
      context: ..
      dockerfile: docker/web.Dockerfile
      target: final
      no_cache: true
      args:
        - A=1
        - SHA=$GIT_SHA
        - TOKEN=${NPM_TOKEN:-}
      platforms: [linux/amd64, linux/arm64]
      cache_from:
        - type=registry,ref=r/x
      cache_to: [type=gha]
      secrets: [npm]
""",
        "deploy/compose.yaml",
    )

    assert (build.dockerfile, build.context, build.target) == ("docker/web.Dockerfile", "", "final")
    assert (build.line, build.end_line, build.no_cache_line, build.platforms_line) == (3, 16, 7, 12)
    assert [(arg.name, arg.value, arg.per_commit) for arg in build.build_args] == [
        ("A", "1", False),
        ("SHA", None, True),
        ("TOKEN", "", False),
    ]
    assert [(ref.type, ref.line) for ref in (*build.cache_from, *build.cache_to)] == [("registry", 14), ("gha", 15)]
    assert build.secrets == ("npm",)


def test_anchors_and_merge_keys() -> None:
    found = sites("""\
x-build: &build
  context: .
  args: {A: x}
services:
  a:
    build:
      <<: *build
      target: a
  b:
    build: *build
""")

    assert [(build.job, build.target, [arg.value for arg in build.build_args]) for build in found] == [
        ("a", "a", ["x"]),
        ("b", None, ["x"]),
    ]


def test_extends_across_files() -> None:
    build = next(
        build
        for build in sites(
            "services:\n  web:\n    extends: {file: base/compose.yaml, service: base}\n    build: {target: prod}\n",
            base__compose__yaml="",
            **{"base/compose.yaml": "services:\n  base:\n    build: {context: app, args: {A: 1}}\n"},
        )
        if build.job == "web"
    )

    assert (build.context, build.target, build.build_args[0].value) == ("base/app", "prod", "1")


def test_extends_in_a_circle_ends() -> None:
    found = sites("services:\n  a: {extends: b, build: .}\n  b: {extends: a, build: .}\n")

    assert {build.job for build in found} == {"a", "b"}


def test_an_inline_dockerfile_has_no_path() -> None:
    build = one("services:\n  web:\n    build:\n      context: .\n      dockerfile_inline: |\n        FROM a\n")

    assert build.dockerfile is None
    assert "inline" in build.unsure("dockerfile").reason  # type: ignore[union-attr]


def test_services_without_a_build_are_none() -> None:
    assert sites("services:\n  db:\n    image: postgres\n  x: {build: }\n") == []


def test_values_of_the_env_file() -> None:
    build = one(
        "services:\n  web:\n    build: {context: ., target: $STAGE, args: {K: $API_KEY}}\n",
        **{".env": "STAGE=prod\nAPI_KEY=abcdefghij1234567890\n"},
    )

    assert build.target == "prod"
    assert (build.build_args[0].value, build.build_args[0].secret) == (None, True)


def test_the_version_one_layout() -> None:
    assert one("web:\n  build: .\n", "docker-compose.yml").dockerfile == "Dockerfile"


@pytest.mark.parametrize(
    "content", ["build: [", "- build", "services: build", "services: {a: {build: [1]}}", "\x00 build"]
)
def test_odd_files_raise_nothing(content: str) -> None:
    assert sites(content) == [] or sites(content)


def test_a_broken_file_is_skipped() -> None:
    skipped = compose.read(MemoryTree({"compose.yaml": b"services:\n  a: {build: [\n"})).skipped

    assert [(item.path, item.line > 0) for item in skipped] == [("compose.yaml", True)]


@pytest.mark.parametrize(
    ("text", "env", "expected"),
    [
        ("$A-${B}", {"A": "1", "B": "2"}, "1-2"),
        ("${A:-x}", {"A": ""}, "x"),
        ("${A-x}", {"A": ""}, ""),
        ("${A:+x}", {"A": "1"}, "x"),
        ("${A:+x}", {}, ""),
        ("${A:-${B:-c}}", {}, "c"),
        ("$$A", {"A": "1"}, "$A"),
        ("${A}", {}, None),
        ("${A:?needed}", {}, None),
    ],
)
def test_interpolation(text: str, env: dict[str, str], expected: str | None) -> None:
    values: dict[str, Value] = {name: static(value) for name, value in env.items()}

    assert compose.interpolate(text, values).text == expected
