"""Which Dockerfiles there are, and how each is built."""

from __future__ import annotations

import pytest

from coach import targets
from coach.errors import InputError, UsageError
from coach.targets import looks_like_dockerfile
from coach.tree import MemoryTree

ONE = b"FROM node:22 AS build\nCOPY . .\nRUN npm ci\nFROM node:22-slim AS app\nCOPY --from=build /x /x\n"


@pytest.mark.parametrize(
    "name",
    [
        "Dockerfile",
        "dockerfile",
        "Dockerfile.arm64",
        "buildx.Dockerfile",
        "a/api.dockerfile",
        "Containerfile",
        "Dockerfile-dev",
    ],
)
def test_names_that_people_give_to_dockerfiles(name: str) -> None:
    assert looks_like_dockerfile(name)


@pytest.mark.parametrize(
    "name", ["Dockerfile.dockerignore", "Dockerfile.j2", "dockerfile.md", "mydockerfilething", "dockerfile.go"]
)
def test_names_that_are_something_else(name: str) -> None:
    assert not looks_like_dockerfile(name)


def found(files: dict[str, bytes], **narrow: str) -> list[tuple[str, str, str | None]]:
    return [(site.path, site.context, site.target) for site in targets.discover(MemoryTree(files), **narrow).sites]


def test_without_any_build_the_own_folder_is_the_context_unless_the_sources_are_further_up() -> None:
    assert found({"svc/Dockerfile": ONE, "svc/a": b""}) == [("svc/Dockerfile", "svc", None)]
    nested = {"docker/Dockerfile": b"FROM scratch\nCOPY package.json ./\nCOPY . .\n", "package.json": b"{}"}
    assert found(nested) == [("docker/Dockerfile", "", None)]
    wide = {"docker/Dockerfile": b"FROM node\nCOPY . .\nRUN npm ci\n", "package.json": b"{}"}
    assert found(wide) == [("docker/Dockerfile", "", None)]


def test_each_way_of_building_is_a_target() -> None:
    compose = b"services:\n  dev:\n    build: {context: ., target: build}\n  app:\n    build: .\n"

    assert found({"Dockerfile": ONE, "compose.yaml": compose}) == [
        ("Dockerfile", "", "build"),
        ("Dockerfile", "", None),
    ]


def test_naming_the_last_stage_is_the_same_target_as_naming_none() -> None:
    compose = b"services:\n  one:\n    build: {context: ., target: app}\n  two:\n    build: .\n"

    assert len(found({"Dockerfile": ONE, "compose.yaml": compose})) == 1


def test_narrowing_gives_exactly_one() -> None:
    compose = b"services:\n  dev:\n    build: {context: ., target: build}\n"
    files = {"Dockerfile": ONE, "other/Dockerfile": ONE, "compose.yaml": compose}

    assert found(files, dockerfile="Dockerfile") == [("Dockerfile", "", "build")]
    assert found(files, dockerfile="./Dockerfile", context=".", target="app") == [("Dockerfile", "", "app")]
    assert found(files, dockerfile="other/Dockerfile") == [("other/Dockerfile", "other", None)]


def test_a_broken_file_among_good_ones_is_passed_over_by_name_and_alone_it_is_an_error() -> None:
    both = targets.discover(MemoryTree({"Dockerfile": ONE, "bad/Dockerfile": b"FRM x\n"}))

    assert [site.path for site in both.sites] == ["Dockerfile"]
    assert [(item.path, item.line) for item in both.skipped] == [("bad/Dockerfile", 1)]
    with pytest.raises(InputError, match="Dockerfile:1:"):
        targets.discover(MemoryTree({"Dockerfile": b"FRM x\n"}))


def test_vendored_and_templated_files_are_not_ours() -> None:
    files = {"Dockerfile": ONE, "vendor/x/Dockerfile": ONE, "Dockerfile.tmpl": b"{{ x }}"}

    assert found(files) == [("Dockerfile", "", None)]


@pytest.mark.parametrize(
    "narrow",
    [
        {"dockerfile": "nope"},
        {"dockerfile": "Dockerfile", "context": "nope"},
        {"dockerfile": "Dockerfile", "context": "a"},
    ],
)
def test_what_is_not_there_is_a_usage_error(narrow: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        found({"Dockerfile": ONE, "a": b""}, **narrow)


def test_a_repository_without_dockerfile_says_so() -> None:
    with pytest.raises(InputError, match="no Dockerfile"):
        found({"a": b""})
    with pytest.raises(InputError):
        found({"Dockerfile": ONE}, dockerfile="Dockerfile", target="none")
