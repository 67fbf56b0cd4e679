"""Facts about base images: references are taken apart, the knowledge is sound, the unknown stays unknown."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest

from coach import images
from coach.images import Libc, Role, lookup


@pytest.mark.parametrize(
    ("ref", "repository", "tag", "digest"),
    [
        ("node", "node", "", ""),
        ("node:22-slim", "node", "22-slim", ""),
        ("docker.io/library/node:22", "node", "22", ""),
        ("index.docker.io/node:22", "node", "22", ""),
        ("public.ecr.aws/docker/library/node:22", "node", "22", ""),
        ("mirror.example:5000/hub/library/node:22", "node", "22", ""),
        ("arm64v8/node:22", "node", "22", ""),
        ("localhost:5000/node:22", "localhost:5000/node", "22", ""),
        ("gcr.io/distroless/static@sha256:0a1b", "gcr.io/distroless/static", "", "sha256:0a1b"),
        ("node:22@sha256:0a1b", "node", "22", "sha256:0a1b"),
    ],
)
def test_a_reference_is_taken_apart(ref: str, repository: str, tag: str, digest: str) -> None:
    found = images.parse_reference(ref)

    assert found is not None
    assert (found.repository, found.tag, found.digest) == (repository, tag, digest)


@pytest.mark.parametrize("ref", ["", "$BASE", "node:${V}", "a b", "node:", "UPPER CASE", "-x", "x" * 5_000_000])
def test_what_is_no_reference_is_unknown(ref: str) -> None:
    assert images.parse_reference(ref) is None
    assert lookup(ref) is None
    assert images.base_config(ref) is None
    assert images.users(ref) == {}


@pytest.mark.parametrize("ref", ["acme/app:1", "localhost:5000/node:22", "node@sha256:0a1b", "nodejs:22"])
def test_an_image_that_is_not_known_stays_unknown(ref: str) -> None:
    assert lookup(ref) is None


@pytest.mark.parametrize(
    ("ref", "libc", "role"),
    [
        ("node:22", Libc.GLIBC, Role.LANGUAGE),
        ("node", Libc.GLIBC, Role.LANGUAGE),
        ("node:22-bookworm-slim", Libc.GLIBC, Role.SLIM),
        ("node:lts-alpine3.20", Libc.MUSL, Role.SLIM),
        ("python:3.12-alpine3.20", Libc.MUSL, Role.SLIM),
        ("python:3.12-slim-bookworm", Libc.GLIBC, Role.SLIM),
        ("golang:1.22-alpine", Libc.MUSL, Role.SDK),
        ("rust:1-slim", Libc.GLIBC, Role.SDK),
        ("eclipse-temurin:21", Libc.GLIBC, Role.SDK),
        ("eclipse-temurin:21-jre", Libc.GLIBC, Role.RUNTIME),
        ("eclipse-temurin:21-jre-alpine", Libc.MUSL, Role.RUNTIME),
        ("maven:3.9-eclipse-temurin-21-alpine", Libc.MUSL, Role.SDK),
        ("mcr.microsoft.com/dotnet/sdk:8.0", Libc.GLIBC, Role.SDK),
        ("mcr.microsoft.com/dotnet/aspnet:8.0-alpine", Libc.MUSL, Role.RUNTIME),
        ("gcr.io/distroless/static:nonroot", Libc.NONE, Role.STATIC),
        ("gcr.io/distroless/nodejs22-debian12", Libc.GLIBC, Role.RUNTIME),
        ("scratch", Libc.NONE, Role.STATIC),
        ("debian:13-slim", Libc.GLIBC, Role.OS),
        ("alpine", Libc.MUSL, Role.OS),
        ("ghcr.io/astral-sh/uv:0.7.6", Libc.NONE, Role.STATIC),
        ("ghcr.io/astral-sh/uv:python3.12-bookworm", Libc.GLIBC, Role.LANGUAGE),
        ("swift:6.0-slim", Libc.GLIBC, Role.RUNTIME),
        ("nvidia/cuda:12.4.1-devel-ubuntu22.04", Libc.GLIBC, Role.SDK),
        ("nginx:alpine", Libc.MUSL, Role.SERVER),
    ],
)
def test_tags_tell_libc_and_role(ref: str, libc: Libc, role: Role) -> None:
    facts = lookup(ref)

    assert facts is not None
    assert (facts.libc, facts.role) == (libc, role)


@pytest.mark.parametrize(
    ("ref", "first"),
    [
        ("node:22", "node:22-slim"),
        ("node:22-bookworm", "node:22-bookworm-slim"),
        ("node", "node:slim"),
        ("public.ecr.aws/docker/library/node:22", "public.ecr.aws/docker/library/node:22-slim"),
        ("python:3.12-bookworm", "python:3.12-slim-bookworm"),
        ("ruby:3.3", "ruby:3.3-slim"),
        ("eclipse-temurin:17-jdk-jammy", "eclipse-temurin:17-jre-jammy"),
        ("eclipse-temurin:21", "eclipse-temurin:21-jre"),
        ("mcr.microsoft.com/dotnet/sdk:8.0", "mcr.microsoft.com/dotnet/aspnet:8.0"),
        ("mcr.microsoft.com/dotnet/sdk:8.0-alpine3.20", "mcr.microsoft.com/dotnet/aspnet:8.0-alpine3.20"),
        ("maven:3.9-eclipse-temurin-21", "eclipse-temurin:21-jre"),
        ("ghcr.io/astral-sh/uv:python3.12-bookworm", "python:3.12-slim-bookworm"),
        ("swift:5.9-jammy", "swift:5.9-jammy-slim"),
    ],
)
def test_the_runtime_counterpart_keeps_version_distribution_and_mirror(ref: str, first: str) -> None:
    facts = lookup(ref)

    assert facts is not None
    assert facts.runtime[0] == first


def test_every_counterpart_is_known_and_smaller_in_kind() -> None:
    refs = ["node:22", "node:24-bookworm", "python:3.12", "golang:1.22", "golang:1.22-alpine3.20", "rust:1", "ruby:3.3"]
    refs += ["eclipse-temurin:21", "openjdk:17-jdk-slim", "amazoncorretto:17", "gradle:8-jdk21", "swift:6.0"]
    refs += ["elixir:1.17", "mcr.microsoft.com/dotnet/sdk:8.0", "nvidia/cuda:12.4.1-devel-ubuntu22.04"]
    for ref in refs:
        facts = lookup(ref)
        assert facts is not None
        assert facts.ships_build_tools, ref
        assert facts.runtime, ref
        for counterpart in facts.runtime:
            smaller = lookup(counterpart)
            assert smaller is not None, counterpart
            assert not smaller.ships_build_tools, counterpart
            assert Libc.NONE in (smaller.libc, facts.libc) or smaller.libc is facts.libc, (ref, counterpart)


def test_distroless_counterparts_exist_only_for_published_versions() -> None:
    old, new = lookup("node:18"), lookup("node:22")

    assert old is not None
    assert new is not None
    assert not any("distroless" in image for image in old.runtime)
    assert "gcr.io/distroless/nodejs22-debian13" in new.runtime


def test_users_and_defaults() -> None:
    assert images.users("node:22-slim")["node"] == (1000, "/home/node")
    assert images.users("oven/bun:1")["bun"][0] == 1000
    for ref, user in [
        ("node:22", "0"),
        ("gcr.io/distroless/base:nonroot", "65532"),
        ("gcr.io/distroless/base", "0"),
        ("mcr.microsoft.com/dotnet/aspnet:8.0-jammy-chiseled", "1654"),
        ("nginxinc/nginx-unprivileged:alpine", "101"),
        ("cgr.dev/chainguard/wolfi-base", None),
    ]:
        facts = lookup(ref)
        assert facts is not None
        assert facts.user == user, ref


def test_base_config_brings_what_moves_caches() -> None:
    golang, rust, ruby = (images.base_config(ref) for ref in ("golang:1.22", "rust:1", "ruby:3.3-slim"))

    assert golang is not None
    assert rust is not None
    assert ruby is not None
    assert golang.env["GOPATH"] == "/go"
    assert golang.workdir == "/go"
    assert rust.env["CARGO_HOME"] == "/usr/local/cargo"
    assert ruby.env["GEM_HOME"] == "/usr/local/bundle"


def test_the_c_library_has_a_version_only_where_the_tag_spells_the_release() -> None:
    found = {ref: lookup(ref) for ref in ("debian:bookworm-slim", "debian:13", "node:22", "python:3.12-alpine")}
    versions = {ref: images.glibc_version(facts) for ref, facts in found.items() if facts is not None}

    assert versions == {
        "debian:bookworm-slim": (2, 36),
        "debian:13": (2, 41),
        "node:22": None,
        "python:3.12-alpine": None,
    }


def test_only_golang_on_alpine_is_known_to_lack_cgo() -> None:
    with_gcc, without = lookup("golang:1.22"), lookup("golang:1.22-alpine")

    assert with_gcc is not None
    assert without is not None
    assert (with_gcc.cgo, without.cgo) == (True, False)


def _table(**changes: object) -> dict[str, object]:
    variant = {"tags": ".*", "libc": "glibc", "role": "os"}
    return {"family": "x", "names": ["x"], "source": "s", "date": "2026-11-23", "variant": [variant], **changes}


@pytest.mark.parametrize(
    "data",
    [
        {"image": [_table(date="yesterday")]},
        {"image": [_table(source=3)]},
        {"image": [_table(names=[])]},
        {"image": [_table(colour="red")]},
        {"image": [_table(mb=[3, 1])]},
        {"image": [_table(shell="yes")]},
        {"image": [_table(variant=[])]},
        {"image": [_table(variant=[{"tags": "(", "libc": "glibc", "role": "os"}])]},
        {"image": [_table(variant=[{"tags": ".*", "libc": "uclibc", "role": "os"}])]},
        {"image": [_table(variant=[{"tags": ".*", "libc": "glibc", "role": "toy"}])]},
        {"image": [_table(variant=[{"tags": ".*", "libc": "glibc"}])]},
        {"image": [_table(), _table()]},
        {"image": [_table()], "other": 1},
        {},
    ],
)
def test_the_loader_refuses_unsound_knowledge(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"images\.toml"):
        images.index(data)


def test_every_fact_says_where_and_when_it_was_read() -> None:
    data = tomllib.loads((files("coach") / "knowledge" / "images.toml").read_text("utf-8"))

    exact, wild = images.index(data)

    assert len(exact) > 60
    assert wild
