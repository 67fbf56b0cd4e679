"""One build command as it stands in a file: options put in, replaced, taken out, whatever is written around it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from coach import edits
from coach.ci import AddCache, SecretArgs, Want, build_sites, change
from coach.model import Remedy, Safety
from coach.tree import MemoryTree, Overlay

SECRET = SecretArgs({"NPM_TOKEN": "npm_token"})


def changed(files: Mapping[str, str], want: Want) -> tuple[Remedy, dict[str, str]]:
    """The remedy for the first build and the files after it; the builds after it have what was wanted."""
    tree = MemoryTree({"Dockerfile": b"FROM a\n", **{path: text.encode() for path, text in files.items()}})
    build = build_sites(tree).builds[0]
    remedy = change(tree, build, want)
    before = {edit.path: tree.read(edit.path) for edit in remedy.edits}
    after = edits.apply_all(before, remedy.edits)
    assert remedy.reasons
    assert remedy.guidance
    if remedy.safety is not Safety.SHOW:
        again = build_sites(Overlay(tree, after)).builds[0]
        assert (again.dockerfile, again.context, again.target) == (build.dockerfile, build.context, build.target)
        if isinstance(want, SecretArgs):
            assert set(want.names.values()) <= set(again.secrets)
            assert not [arg for arg in again.build_args if arg.name in want.names]
        if isinstance(want, AddCache):
            assert again.keeps_cache or (again.cache_from and again.cache_to)
    return remedy, {path: content.decode() for path, content in after.items()}


def script_after(script: str, want: Want) -> str:
    _, files = changed({".travis.yml": script}, want)
    return files[".travis.yml"]


CACHE = "--cache-from type=registry,ref=a/b:buildcache --cache-to type=registry,ref=a/b:buildcache,mode=max"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "script:\n  - docker build -t a/b .  # ours\n  - docker push a/b\n",
            "script:\n  - docker buildx create --use --driver docker-container\n"
            f"  - docker buildx build {CACHE} --load -t a/b .  # ours\n  - docker push a/b\n",
        ),
        (
            "script: docker build -t a/b:$T . && docker push a/b:$T\n",
            "script: docker buildx create --use --driver docker-container && "
            f"docker buildx build {CACHE} --load -t a/b:$T . && docker push a/b:$T\n",
        ),
        (
            "script:\n  - 'docker buildx build --push -t a/b .'\n",
            "script:\n  - 'docker buildx create --use --driver docker-container'\n"
            f"  - 'docker buildx build {CACHE} --push -t a/b .'\n",
        ),
        (
            "script: |\r\n  docker build . \\\r\n    -t a/b\r\n  docker push a/b\r\n",
            "script: |\r\n  docker buildx create --use --driver docker-container\r\n"
            f"  docker buildx build {CACHE} --load . \\\r\n    -t a/b\r\n  docker push a/b\r\n",
        ),
        (
            "script:\n  - docker buildx create --use\n  - |\n    docker buildx build \\\n      --push -t a/b .\n",
            "script:\n  - docker buildx create --use\n  - |\n    docker buildx build \\\n"
            + "      "
            + CACHE.replace(" --cache-to", " \\\n      --cache-to")
            + " \\\n      --push -t a/b .\n",
        ),
    ],
)
def test_a_cache_fits_into_the_way_the_command_is_written(before: str, after: str) -> None:
    assert script_after(before, AddCache()) == after


REF = "type=registry,ref=a/b:c"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "docker build --cache-from a/b:latest -t a/b .; docker push a/b",
            f"docker buildx build {CACHE} --load -t a/b .; docker push a/b",
        ),
        (
            "docker buildx build --push --cache-to type=inline --cache-from a/b -t a/b .",
            f"docker buildx build {CACHE} --push -t a/b .",
        ),
        (
            f'docker buildx build --push --cache-to "{REF}" --cache-from {REF} -t a/b .',
            f'docker buildx build --push --cache-to "{REF},mode=max" --cache-from {REF} -t a/b .',
        ),
        (
            f"docker buildx build --push --cache-to={REF},mode=min -t a/b .",
            f"docker buildx build --cache-from {REF} --push --cache-to={REF},mode=max -t a/b .",
        ),
    ],
)
def test_a_cache_that_holds_too_little_is_made_whole(before: str, after: str) -> None:
    create = "  - docker buildx create --use --driver docker-container\n"
    made = script_after(f"script:\n{create}  - {before}\n", AddCache())

    assert made == f"script:\n{create}  - {after}\n"


@pytest.mark.parametrize(
    ("tag", "place"),
    [
        ("a/b:1", "a/b:buildcache"),
        ("a/b", "a/b:buildcache"),
        ('"$IMAGE:$TAG"', "$IMAGE:buildcache"),
        ("${HOST:-ghcr.io}/b:${TAG:-x}", "${HOST:-ghcr.io}/b:buildcache"),
        ("host:5000/a", "host:5000/a:buildcache"),
        ("host:5000/a:2", "host:5000/a:buildcache"),
        ("$IMAGE", ""),
        ("$HOST/$IMAGE", ""),
        ("$(name):1", ""),
    ],
)
def test_the_cache_lies_beside_the_image(tag: str, place: str) -> None:
    remedy, files = changed({".travis.yml": f"script:\n  - docker buildx build --push -t {tag} .\n"}, AddCache())

    assert (f"ref={place}," in files.get(".travis.yml", "")) == bool(place)
    assert (remedy.safety is Safety.SHOW) == (not place)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("docker buildx build --build-arg NPM_TOKEN .", "docker buildx build --secret id=npm_token,env=NPM_TOKEN ."),
        (
            'docker buildx build --build-arg "NPM_TOKEN=${OTHER}" .',
            "docker buildx build --secret id=npm_token,env=OTHER .",
        ),
        (
            "docker buildx build --build-arg=NPM_TOKEN='$OTHER' .",
            "docker buildx build --secret id=npm_token,env=OTHER .",
        ),
        (
            "docker build --build-arg NPM_TOKEN=$NPM_TOKEN .",
            "DOCKER_BUILDKIT=1 docker build --secret id=npm_token,env=NPM_TOKEN .",
        ),
        (
            "NPM_TOKEN=$(get); docker buildx build --build-arg NPM_TOKEN=$NPM_TOKEN .",
            "NPM_TOKEN=$(get); NPM_TOKEN=$NPM_TOKEN docker buildx build --secret id=npm_token,env=NPM_TOKEN .",
        ),
        (
            "export NPM_TOKEN=$(get); docker buildx build --build-arg NPM_TOKEN=$NPM_TOKEN .",
            "export NPM_TOKEN=$(get); docker buildx build --secret id=npm_token,env=NPM_TOKEN .",
        ),
    ],
)
def test_an_argument_becomes_a_secret(before: str, after: str) -> None:
    assert script_after(f"script:\n  - {before}\n", SECRET) == f"script:\n  - {after}\n"


@pytest.mark.parametrize(
    "command",
    [
        "sudo docker buildx build --build-arg NPM_TOKEN=$NPM_TOKEN .",
        "retry docker build --build-arg NPM_TOKEN=$NPM_TOKEN .",
        "docker build --build-arg NPM_TOKEN=$(get) .",
        "docker build --build-arg NPM_TOKEN=x$NPM_TOKEN .",
        "docker build --build-arg NPM_TOKEN=$NPM_TOKEN a && docker build --build-arg NPM_TOKEN=$NPM_TOKEN .",
    ],
)
def test_what_would_lose_the_value_is_shown(command: str) -> None:
    tree = MemoryTree({"Dockerfile": b"FROM a\n", ".travis.yml": f"script:\n  - {command}\n".encode()})

    assert all(change(tree, build, SECRET).safety is Safety.SHOW for build in build_sites(tree).builds)


@pytest.mark.parametrize(
    "script",
    [
        "script: [docker build -t a/b ., docker push a/b]\n",
        "script:\n  - if ! docker buildx build --push -t a/b .; then exit 1; fi\n",
        "script:\n  - docker buildx build --push --cache-to type=local,dest=x -t a/b .\n",
        "script:\n  - docker buildx build --push -t a/b $OPTIONS .\n",
        "script:\n  - tar c . | docker buildx build --push -t a/b -\n",
        "script:\n  - ID=$(docker buildx build -q --push -t a/b .)\n",
        "script:\n  - make image\n",
    ],
)
def test_a_command_that_is_not_understood_stays(script: str) -> None:
    files = {".travis.yml": script, "Makefile": "image:\n\tdocker buildx build --push -t a/b .\n"}
    remedy, after = changed(files, AddCache())

    assert (remedy.safety, after) == (Safety.SHOW, {})


@pytest.mark.parametrize("value", ["${NPM_TOKEN}", "$NPM_TOKEN", "${NPM_TOKEN:-}", "${NPM_TOKEN:?give one}", ""])
def test_an_argument_of_a_service_that_only_passes_a_variable_on(value: str) -> None:
    text = f"services:\n  a:\n    build:\n      context: .\n      args:\n        NPM_TOKEN: {value}\n        A: 1\n"
    remedy, files = changed({"compose.yml": text}, SECRET)

    assert remedy.safety is Safety.REVIEW
    assert "NPM_TOKEN:" not in files["compose.yml"]
    assert files["compose.yml"].endswith("secrets:\n  npm_token:\n    environment: NPM_TOKEN\n")


@pytest.mark.parametrize("value", ["${OTHER}", "${NPM_TOKEN:-default}", "x-${NPM_TOKEN}"])
def test_an_argument_of_a_service_that_says_more_stays(value: str) -> None:
    text = f"services:\n  a:\n    build:\n      context: .\n      args:\n        NPM_TOKEN: {value}\n        A: 1\n"

    assert changed({"compose.yml": text}, SECRET)[0].safety is Safety.SHOW


def test_a_builds_section_that_is_shared_by_an_anchor_stays() -> None:
    text = """\
x-build: &build
  context: .
  args: {NPM_TOKEN: "$NPM_TOKEN"}
services:
  a:
    build: *build
  b:
    build:
      <<: *build
      target: x
"""

    assert changed({"compose.yml": text}, SECRET)[0].safety is Safety.SHOW
