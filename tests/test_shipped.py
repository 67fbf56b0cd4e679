"""What an image consists of: packages that stay, steps that build, dependencies that come along."""

from __future__ import annotations

import pytest

from coach import shipped
from coach.dockerfile import parse
from coach.model import certain, unknown
from coach.shipped import Shipped
from coach.site import Site
from coach.tree import MemoryTree

MANIFEST = '{"name": "shop", "dependencies": {"a": "1"}, "devDependencies": {"b": "1"}}'


def site(text: str, files: dict[str, str] | None = None, target: str | None = None) -> Site:
    tree = MemoryTree({"Dockerfile": text.encode(), **{path: body.encode() for path, body in (files or {}).items()}})
    return Site(tree, parse(text.encode(), "Dockerfile"), "", target=target)


@pytest.mark.parametrize(
    ("run", "kept"),
    [
        ("apt-get update && apt-get install -y --no-install-recommends gcc=4:12 libpq5", ("gcc", "libpq5")),
        ("apt-get install -y gcc && make && apt-get purge -y --auto-remove gcc", ()),
        ("apt-get -o Acquire::Retries=3 install -t bookworm curl", ("curl",)),
        ("apk add --no-cache --virtual .deps gcc && make && apk del .deps", ()),
        ("apk add --no-cache -t .deps gcc && apk del .other", ("gcc",)),
        ("apk add --no-cache 'postgresql-dev>15' tzdata@edge", ("postgresql-dev", "tzdata@edge")),
        ("dnf install -y gcc-c++ && dnf clean all", ("gcc-c++",)),
        ("apt-get install -y $PACKAGES curl", ("curl",)),
        ("echo apt-get install gcc", ()),
    ],
)
def test_system_packages_that_stay(run: str, kept: tuple[str, ...]) -> None:
    found = Shipped(site(f"FROM debian:12\nRUN {run}\n")).packages

    assert tuple(name for install in found for name in install.names) == kept


def test_packages_behind_a_condition_are_for_a_build_that_asks() -> None:
    image = Shipped(site('FROM debian:12\nRUN if [ -n "$X" ]; then apt-get install -y gcc; fi\n'))

    assert image.packages
    assert image.packages_like("compilers") == []


@pytest.mark.parametrize("name", ["gcc", "g++-12", "build-essential", "make", "openjdk-17-jdk-headless", "cmake", "go"])
def test_compilers(name: str) -> None:
    assert shipped.is_compiler(name)


@pytest.mark.parametrize("name", ["gcc-12-base", "libgcc-s1", "python3", "curl", "openjdk17-jre-headless", "golden"])
def test_no_compilers(name: str) -> None:
    assert not shipped.is_compiler(name)


def test_headers_have_a_library_for_each_distribution() -> None:
    assert shipped.is_header("libpq-dev")
    assert shipped.runtime_library("libpq-dev", "apt-get") == "libpq5"
    assert shipped.runtime_library("postgresql-dev", "apk") == "libpq"
    assert shipped.runtime_library("libicu-dev", "apt-get") is None


@pytest.mark.parametrize(
    "command",
    [
        "npm run build",
        "yarn build",
        "pnpm --filter shop run build:prod",
        "yarn workspace shop build",
        "npm --prefix web run build",
        "npx tsc -p .",
        "gcc -o a a.c",
        "go build ./...",
        "cmake --build out",
        "./gradlew bootJar",
        "python -m build",
        "make app",
    ],
)
def test_commands_that_build(command: str) -> None:
    assert Shipped(site(f"FROM debian:12\nRUN {command}\n")).builds


@pytest.mark.parametrize(
    "command", ["npm ci", "npm build", "gcc --version", "go version", "echo npm run build", "cmake -S . -B out", "true"]
)
def test_commands_that_build_nothing(command: str) -> None:
    assert not Shipped(site(f"FROM debian:12\nRUN {command}\n")).builds


def test_a_copy_from_an_ancestor_is_no_artefact() -> None:
    text = "FROM node:22 AS a\nFROM a AS b\nFROM golang AS c\nFROM b\nCOPY --from=a /x /x\nCOPY --from=c /y sub/\n"

    image = Shipped(site(text))

    assert [copy.instruction.line for copy in image.copies] == [5, 6]
    assert [(copy.paths, copy.target) for copy in image.artefacts] == [(("/y",), "/sub/")]


@pytest.mark.parametrize(
    ("tail", "words", "shell"),
    [
        ('ENTRYPOINT ["a"]\nCMD ["b", "c"]', ("a", "b", "c"), False),
        ("CMD a && b", (), True),
        ('ENTRYPOINT a b\nCMD ["c"]', (), True),
        ('ENTRYPOINT ["/run.sh"]', ("/run.sh",), True),
        ("", (), False),
    ],
)
def test_what_the_container_starts(tail: str, words: tuple[str, ...], shell: bool) -> None:
    start = Shipped(site(f"FROM debian:12\nWORKDIR /app\n{tail}\n")).start

    assert (start.words, start.shell) == (words, shell)


def test_a_new_entrypoint_drops_the_command_of_the_parent() -> None:
    text = 'FROM debian:12 AS a\nCMD ["old"]\nFROM a\nENTRYPOINT ["new"]\n'

    assert Shipped(site(text)).start.words == ("new",)


@pytest.mark.parametrize(
    ("install", "later", "ships"),
    [
        ("npm ci", "", True),
        ("npm ci --omit=dev", "", False),
        ("npm ci", "RUN npm prune --omit=dev\n", False),
        ("npm ci", "RUN npm ci --omit=dev\n", False),
        ("npm ci && npm prune --omit=dev", "", False),
    ],
)
def test_development_dependencies_that_a_copy_carries(install: str, later: str, ships: bool) -> None:
    text = (
        f"FROM node:22 AS build\nWORKDIR /app\nCOPY . .\nRUN {install}\n{later}"
        "FROM node:22-slim\nCOPY --from=build /app/node_modules /app/node_modules\n"
    )
    found = list(shipped.dev_installs(Shipped(site(text, {"package.json": MANIFEST}))))

    assert bool(found) is ships


def test_development_dependencies_need_a_declaration_and_a_copy() -> None:
    text = "FROM node:22 AS build\nWORKDIR /app\nCOPY . .\nRUN npm ci\nFROM node:22-slim\nCOPY --from=build {} /app/\n"
    plain = '{"name": "shop", "dependencies": {"a": "1"}}'

    assert not list(shipped.dev_installs(Shipped(site(text.format("/app"), {"package.json": plain}))))
    assert not list(shipped.dev_installs(Shipped(site(text.format("/app/dist"), {"package.json": MANIFEST}))))
    assert list(shipped.dev_installs(Shipped(site(text.format("/app"), {"package.json": MANIFEST}))))


def test_a_prune_in_a_later_layer_does_not_make_the_image_smaller() -> None:
    text = "FROM node:22\nWORKDIR /app\nCOPY . .\nRUN npm ci\nRUN npm prune --omit=dev\n"

    assert list(shipped.dev_installs(Shipped(site(text, {"package.json": MANIFEST}))))


def test_the_small_stage_behind_a_target() -> None:
    text = "FROM golang AS build\nRUN go build\nFROM build AS dev\nFROM scratch\nCOPY --from=build /a /a\n"

    assert shipped.later_runtime(site(text)) is None
    for target in ("build", "dev"):
        found = shipped.later_runtime(site(text, target=target))
        assert found is not None
        assert found[0].head.line == 4
    assert (
        shipped.later_runtime(site("FROM golang AS a\nFROM golang AS b\nFROM scratch\nCOPY x /\n", target="a")) is None
    )


def test_stages_that_an_unknown_variable_may_pick() -> None:
    text = "FROM scratch AS out-linux\nFROM scratch AS out-darwin\nFROM out-$TARGETOS\n"

    assert [image.base_ref for image in shipped.variants(site(text))] == ["scratch", "scratch"]
    assert len(shipped.variants(site("FROM debian:12\n"))) == 1


def test_variants_agree_or_the_answer_is_unknown() -> None:
    yes, no = certain("yes", "a"), certain("no", "b")

    assert shipped.agreed([yes]) == yes
    assert shipped.agreed([yes, yes]).choice == "yes"
    assert shipped.agreed([yes, yes]).certainty == "likely"
    assert shipped.agreed([yes, no]).choice is None
    assert shipped.agreed([unknown("a", "b"), no]).choice is None
