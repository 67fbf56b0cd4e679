"""Command lines as people write them."""

from __future__ import annotations

import shlex

import pytest

from coach.ci import docker_cli
from coach.ci.docker_cli import Arg, Invocation, Place
from coach.ci.nouns import Value, static
from coach.model import BuildSite
from coach.tree import MemoryTree

TREE = MemoryTree({"Dockerfile": b"FROM a\n", "api/Dockerfile": b"FROM a\n", "api/Containerfile": b"FROM a\n"})


def argv(line: str) -> list[Arg]:
    return [Arg(static(word), word, at, at) for at, word in enumerate(shlex.split(line))]


def read(line: str) -> Invocation:
    found = docker_cli.read(argv(line))
    assert found is not None, line
    return found


def site(line: str, cwd: str | None = "", env: dict[str, Value] | None = None) -> BuildSite:
    place = Place(TREE, "script", "build.sh", 7, 7, cwd=cwd)
    return docker_cli.site(place, read(line), {}, env)


@pytest.mark.parametrize(
    ("line", "tool", "verb"),
    [
        ("docker build .", "docker", "build"),
        ("docker image build .", "docker", "build"),
        ("docker builder build .", "docker", "build"),
        ("docker --context remote -H tcp://x build .", "docker", "build"),
        ("/usr/bin/docker buildx build .", "buildx", "build"),
        ("docker buildx b .", "buildx", "build"),
        ("docker-buildx build .", "buildx", "build"),
        ("docker buildx bake app", "bake", "bake"),
        ("docker compose -f a.yml build", "compose", "compose"),
        ("docker compose --profile x up -d --build", "compose", "compose"),
        ("docker-compose build", "docker-compose", "compose"),
        ("podman build .", "podman", "build"),
        ("podman buildx build .", "podman", "build"),
        ("buildah bud .", "buildah", "build"),
        ("buildah build-using-dockerfile .", "buildah", "build"),
        ("nerdctl -n k8s.io build .", "nerdctl", "build"),
        ("finch build .", "nerdctl", "build"),
        ("depot build .", "depot", "build"),
        ("depot bake", "depot", "bake"),
        ("img build .", "img", "build"),
        ("/kaniko/executor --context .", "kaniko", "build"),
        ("docker run -v x:/w gcr.io/kaniko-project/executor:latest --context=/w", "kaniko", "build"),
        ("gcloud builds submit --tag x .", "cloud-build", "build"),
        ("az acr build -r reg -t app:1 .", "acr", "build"),
        ("docker push x", "docker", "push"),
        ("docker compose push", "compose", "compose-push"),
        ("docker manifest push x", "podman", ""),
        ("docker buildx imagetools create -t a b", "buildx", "push"),
        ("docker buildx create --use", "buildx", "create"),
        ("docker run --privileged tonistiigi/binfmt --install all", "docker", "emulate"),
        ("docker run --rm --privileged multiarch/qemu-user-static --reset -p yes", "docker", "emulate"),
        ("cosign sign --yes x@sha256:1", "cosign", "sign"),
        ("notation sign x", "notation", "sign"),
        ('xargs -I {} cosign sign --yes "{}"', "cosign", "sign"),
    ],
)
def test_what_a_command_does(line: str, tool: str, verb: str) -> None:
    found = docker_cli.read(argv(line))

    if not verb:
        assert found is None
        return
    assert found is not None
    assert (found.tool, found.verb) == (tool, verb)


@pytest.mark.parametrize(
    "line", ["docker run x", "docker ps", "docker compose down", "cosign verify x", "echo docker build .", "docker", ""]
)
def test_what_is_no_business_of_ours(line: str) -> None:
    assert docker_cli.read(argv(line)) is None


@pytest.mark.parametrize(
    "line",
    [
        "docker build -f api/Dockerfile --target=final --build-arg A=1 -t x:1 api",
        "docker build api --target final -fapi/Dockerfile --build-arg=A=1 -t=x:1",
        "docker build --progress plain --target final --file=api/Dockerfile api --build-arg A=1 --tag x:1 --pull",
        "docker buildx build --builder b --target final --file api/Dockerfile --build-arg A=1 -t x:1 -- api",
    ],
)
def test_options_stand_anywhere_and_take_their_value_either_way(line: str) -> None:
    found = site(line)

    assert (found.dockerfile, found.context, found.target, found.tags) == ("api/Dockerfile", "api", "final", ("x:1",))
    assert [(arg.name, arg.value) for arg in found.build_args] == [("A", "1")]


def test_switches_do_not_swallow_the_context() -> None:
    found = site("docker build --no-cache --pull --rm api")

    assert found.context == "api"
    assert found.no_cache


def test_no_cache_false_is_not_no_cache() -> None:
    assert not site("docker build --no-cache=false .").no_cache


def test_caches_are_typed() -> None:
    found = site(
        "docker buildx build --cache-from app:latest --cache-from type=registry,ref=r/c:x "
        "--cache-to 'type=gha,mode=max,scope=a b' --build-arg BUILDKIT_INLINE_CACHE=1 ."
    )

    assert [(ref.type, ref.attrs) for ref in found.cache_from] == [
        ("registry", {"ref": "app:latest"}),
        ("registry", {"ref": "r/c:x"}),
    ]
    assert [(ref.type, ref.mode) for ref in found.cache_to] == [("gha", "max"), ("inline", "min")]


def test_platforms_are_collected() -> None:
    found = site("docker buildx build --platform linux/amd64,linux/arm64 --platform=linux/arm/v7 .")

    assert found.platforms == ("linux/amd64", "linux/arm64", "linux/arm/v7")


def test_pushing_is_seen_in_flags_and_outputs() -> None:
    assert site("docker buildx build --push .").push is True
    assert site("docker buildx build -o type=registry .").push is True
    assert site("docker buildx build --output type=image,name=x,push=true .").push is True
    assert site("docker buildx build -o type=docker,dest=x.tar .").push is False
    assert site("/kaniko/executor --context . --destination r/x").push is True
    assert site("/kaniko/executor --context . --destination r/x --no-push").push is False


def test_paths_are_those_of_the_working_directory() -> None:
    assert site("docker build .", cwd="api").dockerfile == "api/Dockerfile"
    assert site("docker build -f Dockerfile ..", cwd="api").context == ""
    assert site("docker build -f Dockerfile ..", cwd="api").dockerfile == "api/Dockerfile"


@pytest.mark.parametrize(
    "line", ["docker build ../..", "docker build /srv", "docker build -", "docker build https://e.x/y.git"]
)
def test_a_context_outside_the_repository_is_unknown(line: str) -> None:
    found = site(line)

    assert found.context is None
    assert found.unsure("context") is not None


def test_an_unknown_working_directory_is_said() -> None:
    found = site("docker build .", cwd=None)

    assert found.dockerfile is None
    assert found.unsure("dockerfile") is not None


def test_buildah_looks_for_a_containerfile_first() -> None:
    assert site("buildah bud api").dockerfile == "api/Containerfile"


def test_kaniko_names_its_file_inside_the_context() -> None:
    found = site("/kaniko/executor --context dir:///github/workspace/api --dockerfile Containerfile --cache=true")

    assert found.dockerfile == "api/Containerfile"
    assert found.buildkit is False
    assert "cache" in found.keeps_cache


@pytest.mark.parametrize(
    ("line", "env", "expected"),
    [
        ("docker build .", {}, None),
        ("docker build .", {"DOCKER_BUILDKIT": "0"}, False),
        ("docker build .", {"DOCKER_BUILDKIT": "1"}, True),
        ("docker buildx build .", {"DOCKER_BUILDKIT": "0"}, True),
        ("docker-compose build", {}, None),
        ("docker-compose build", {"DOCKER_BUILDKIT": "1", "COMPOSE_DOCKER_CLI_BUILD": "1"}, True),
        ("docker compose build", {}, True),
        ("docker compose build", {"DOCKER_BUILDKIT": "0"}, False),
        ("/kaniko/executor --context .", {}, False),
        ("buildah bud .", {}, None),
    ],
)
def test_which_builder_that_is(line: str, env: dict[str, str], expected: bool | None) -> None:
    values = {name: static(value) for name, value in env.items()}

    assert docker_cli.buildkit_of(read(line), values)[0] is expected


def test_an_open_word_leaves_what_it_may_hold_unknown() -> None:
    hole = Arg(Value(None, "$OPTS", "it is set when the job runs"), "$OPTS", 2, 2)
    call = docker_cli.read([*argv("docker build"), hole, Arg(static("."), ".", 3, 3)])
    assert call is not None

    found = docker_cli.site(Place(TREE, "script", "build.sh", 7, 7), call)

    assert found.context == ""
    assert found.unsure("cache_to") is not None
    assert found.unsure("no_cache") is not None


def test_an_open_tag_says_nothing_about_the_cache() -> None:
    hole = Arg(Value(None, "$TAGS", "it is set when the job runs"), "$TAGS", 2, 2)
    call = docker_cli.read([*argv("docker build"), hole, Arg(static("."), ".", 3, 3)])
    assert call is not None

    assert docker_cli.site(Place(TREE, "script", "build.sh", 7, 7), call).unresolved == ()


def test_a_known_variable_with_blanks_is_several_words() -> None:
    held = Arg(static("-t a -t b"), "$TAGS", 2, 2)
    call = docker_cli.read([*argv("docker build"), held, Arg(static("api"), "api", 3, 3)])
    assert call is not None

    found = docker_cli.site(Place(TREE, "script", "build.sh", 7, 7), call)

    assert (found.tags, found.context) == (("a", "b"), "api")


def test_a_secret_literal_is_never_kept() -> None:
    found = site("docker build --build-arg NPM_TOKEN=npm_abcdefghijklmnopqrstuvwxyz0123456789 .")

    assert found.build_args[0].value == "***"
    assert "abcdefgh" not in repr(found)


def test_a_per_commit_value_is_marked() -> None:
    value = Value(None, "SHA=${{ github.sha }}", "github.sha differs on every commit", per_commit=True)

    made = docker_cli.build_arg(value, 3)

    assert made is not None
    assert (made.name, made.value, made.per_commit) == ("SHA", None, True)


def test_commas_inside_expressions_do_not_part_a_cache_entry() -> None:
    ref = docker_cli.cache_ref("type=gha,scope=${{ format('a,{0}', matrix.x) }},mode=max", 1)

    assert ref is not None
    assert ref.attrs == {"scope": "${{ format('a,{0}', matrix.x) }}", "mode": "max"}
