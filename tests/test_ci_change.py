"""Edits of build files: what is written, what is left alone, and what is only shown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import pytest

from coach import edits
from coach.ci import AddCache, BuildkitOn, DropNoCache, NativeArm, SecretArgs, Sign, Want, build_sites, change
from coach.model import BuildSite, Remedy, Safety
from coach.tree import MemoryTree, Overlay

WORKFLOW = ".github/workflows/ci.yml"


def workflow(steps: str) -> str:
    head = "on: push\njobs:\n  build:\n    runs-on: ubuntu-latest\n    steps:\n"
    return head + textwrap.indent(textwrap.dedent(steps).strip("\n"), "      ") + "\n"


def changed(files: Mapping[str, str], want: Want) -> tuple[Remedy, dict[str, str], list[BuildSite]]:
    """The remedy for the first CI build (or the first build), the files after it, and the builds after it."""
    tree = MemoryTree({"Dockerfile": b"FROM a\n", **{path: text.encode() for path, text in files.items()}})
    build = build_sites(tree).builds[0]
    remedy = change(tree, build, want)
    before = {edit.path: tree.read(edit.path) for edit in remedy.edits}
    after = edits.apply_all(before, remedy.edits)
    assert bool(after) == (remedy.safety is not Safety.SHOW)
    assert remedy.guidance
    assert remedy.reasons or remedy.safety is Safety.SAFE
    again = list(build_sites(Overlay(tree, after)).builds)
    return remedy, {path: content.decode() for path, content in after.items()}, again


def steps_after(steps: str, want: Want) -> tuple[str, list[BuildSite]]:
    _, files, builds = changed({WORKFLOW: workflow(steps)}, want)
    text = files[WORKFLOW].split("    steps:\n")[1]
    return textwrap.dedent(text), builds


SECRET = SecretArgs({"NPM_TOKEN": "npm_token"})


def test_a_secret_argument_of_the_action_moves() -> None:
    text, builds = steps_after(
        """
        - uses: docker/build-push-action@v6
          with:
            build-args: |
              A=1
              NPM_TOKEN=${{ secrets.NPM_TOKEN }}
            push: true
        """,
        SECRET,
    )

    assert text == textwrap.dedent("""\
        - uses: docker/build-push-action@v6
          with:
            build-args: |
              A=1
            secrets: |
              npm_token=${{ secrets.NPM_TOKEN }}
            push: true
        """)
    assert (builds[0].secrets, [arg.name for arg in builds[0].build_args]) == (("npm_token",), ["A"])


def test_the_only_argument_takes_its_key_along_and_joins_other_secrets() -> None:
    text, builds = steps_after(
        """
        - uses: docker/build-push-action@v6
          with:
            secrets: |
              other=${{ secrets.OTHER }}
            build-args: NPM_TOKEN=${{ secrets.NPM_TOKEN }}
            push: true
        """,
        SECRET,
    )

    assert "build-args" not in text
    assert builds[0].secrets == ("other", "npm_token")


def test_a_secret_argument_of_a_command_moves_into_its_environment() -> None:
    text, builds = steps_after(
        """
        - name: Build
          run: docker build --build-arg NPM_TOKEN=${{ secrets.NPM_TOKEN }} --build-arg A=1 .
        """,
        SECRET,
    )

    assert text == textwrap.dedent("""\
        - name: Build
          env:
            NPM_TOKEN: ${{ secrets.NPM_TOKEN }}
          run: docker build --secret id=npm_token,env=NPM_TOKEN --build-arg A=1 .
        """)
    assert builds[0].secrets == ("npm_token",)


@pytest.mark.parametrize(
    "argument", ["--build-arg NPM_TOKEN", "--build-arg=NPM_TOKEN=$NPM_TOKEN", '--build-arg NPM_TOKEN="${NPM_TOKEN}"']
)
def test_a_variable_stays_where_it_is(argument: str) -> None:
    text, _ = steps_after(f"- run: docker build {argument} .\n  env: {{NPM_TOKEN: x}}", SECRET)

    assert text == "- run: docker build --secret id=npm_token,env=NPM_TOKEN .\n  env: {NPM_TOKEN: x}\n"


def test_a_secret_argument_of_a_compose_service_moves() -> None:
    _, files, builds = changed(
        {
            "compose.yaml": "services:\n  web:\n    build:\n      context: .\n      args:\n"
            "        A: 1\n        NPM_TOKEN: ${NPM_TOKEN}  # private\n    ports: [80]\n"
        },
        SECRET,
    )

    assert files["compose.yaml"] == (
        "services:\n  web:\n    build:\n      context: .\n      secrets:\n        - npm_token\n      args:\n"
        "        A: 1\n    ports: [80]\n\nsecrets:\n  npm_token:\n    environment: NPM_TOKEN\n"
    )
    assert builds[0].secrets == ("npm_token",)


def test_line_ends_comments_and_quotes_survive() -> None:
    text = workflow("""
        # what we ship
        - uses: docker/setup-buildx-action@v3 # pinned by hand
        - name: 'Build'   # really
          uses: "docker/build-push-action@v6"
          with:
            push: 'true' # yes
            tags: "r/x:1"
        """).replace("\n", "\r\n")

    _, files, builds = changed({WORKFLOW: text}, AddCache())

    added = "          cache-from: type=gha\r\n          cache-to: type=gha,mode=max\r\n"
    assert files[WORKFLOW] == text + added
    assert builds[0].cache_to[0].mode == "max"


def test_braces_on_one_line_are_kept_on_one_line() -> None:
    text, builds = steps_after(
        "- uses: docker/setup-buildx-action@v3\n- uses: docker/build-push-action@v6\n  with: {push: true, tags: x}",
        AddCache(),
    )

    assert '{push: true, tags: x, cache-from: "type=gha", cache-to: "type=gha,mode=max"}' in text
    assert builds[0].cache_to[0].mode == "max"


def test_inputs_that_are_an_alias_are_only_shown() -> None:
    text = workflow("""
        - uses: docker/setup-buildx-action@v3
        - uses: docker/build-push-action@v6
          with: &inputs {push: true}
        - uses: docker/build-push-action@v6
          with: *inputs
        """)
    tree = MemoryTree({"Dockerfile": b"FROM a\n", WORKFLOW: text.encode()})
    second = build_sites(tree).builds[1]

    assert change(tree, second, AddCache()).safety is Safety.SHOW


def test_pins_of_the_repository_are_followed() -> None:
    _, files, _ = changed(
        {
            WORKFLOW: workflow("- uses: docker/build-push-action@v6\n  with: {load: true}"),
            ".github/workflows/other.yml": workflow("- uses: docker/setup-buildx-action@0123abc # v3.1.0"),
        },
        AddCache(),
    )

    assert (
        "- name: Set up Docker Buildx\n        uses: docker/setup-buildx-action@0123abc # v3.1.0\n" in files[WORKFLOW]
    )


def test_two_builds_of_a_job_share_one_new_builder() -> None:
    text = workflow("- run: docker build -t a .\n- run: docker build -t b --build-arg X=1 .")
    tree = MemoryTree({"Dockerfile": b"FROM a\n", WORKFLOW: text.encode()})
    made = {edit for build in build_sites(tree).builds for edit in change(tree, build, AddCache()).edits}

    after = edits.apply(text.encode(), made).decode()

    assert after.count("setup-buildx-action") == 1
    assert [
        ref.attrs["scope"]
        for build in build_sites(Overlay(tree, {WORKFLOW: after.encode()})).builds
        for ref in build.cache_to
    ] == [
        "image",
        "image-1",
    ]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("    machine: true\n", "    machine:\n      image: default\n      docker_layer_caching: true\n"),
        ("    machine:\n      image: x\n", "    machine:\n      image: x\n      docker_layer_caching: true\n"),
        ("    machine: {image: x}\n", "    machine: {image: x, docker_layer_caching: true}\n"),
    ],
)
def test_layer_caching_of_a_machine(machine: str, expected: str) -> None:
    config = f"version: 2.1\njobs:\n  a:\n{machine}    steps:\n      - run: docker build .\n"

    _, files, builds = changed({".circleci/config.yml": config}, AddCache())

    assert expected in files[".circleci/config.yml"]
    assert builds[0].keeps_cache


def test_kaniko_on_gitlab_gets_its_cache() -> None:
    pipeline = "a:\n  image: gcr.io/kaniko-project/executor\n  script:\n    - /kaniko/executor --context . -d x/y:1\n"

    _, files, builds = changed({".gitlab-ci.yml": pipeline}, AddCache())

    assert "- /kaniko/executor --cache=true --context . -d x/y:1\n" in files[".gitlab-ci.yml"]
    assert builds[0].keeps_cache


@pytest.mark.parametrize("want", [AddCache(), Sign(), NativeArm(), SECRET])
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Jenkinsfile", "sh 'docker build --build-arg NPM_TOKEN=$(cat token) .'"),
        (".travis.yml", "script: docker build --build-arg NPM_TOKEN=$(cat token) .\n"),
        ("bitbucket-pipelines.yml", "pipelines: {default: [{step: {script: [docker build .]}}]}\n"),
        ("Makefile", "a:\n\tdocker build .\n"),
    ],
)
def test_other_systems_are_shown_what_to_write(path: str, text: str, want: Want) -> None:
    remedy, files, _ = changed({path: text}, want)

    assert (remedy.safety, files) == (Safety.SHOW, {})
    assert path in remedy.guidance


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("docker build --no-cache .", "docker build ."),
        ("docker build . --no-cache", "docker build ."),
        ("docker build --no-cache=true .", "docker build ."),
        ("docker build . --no-cache; echo --no-cache-dir", "docker build .; echo --no-cache-dir"),
        ("docker build \\\n  --no-cache \\\n  .", "docker build \\\n  ."),
        ("docker build . \\\n  --no-cache\necho", "docker build .\necho"),
        ("docker build \\\n  --no-cache .", "docker build \\\n  ."),
    ],
)
def test_no_cache_is_taken_out_of_a_script(before: str, after: str) -> None:
    _, files, builds = changed({"build.sh": f"#!/bin/sh\n{before}\n"}, DropNoCache())

    assert files["build.sh"] == f"#!/bin/sh\n{after}\n"
    assert not builds[0].no_cache


def test_no_cache_of_a_list_of_words() -> None:
    _, files, _ = changed(
        {"cloudbuild.yaml": "steps:\n  - name: gcr.io/cloud-builders/docker\n    args: ['build', '--no-cache', '.']\n"},
        DropNoCache(),
    )

    assert "args: ['build', '.']" in files["cloudbuild.yaml"]


def test_no_cache_in_a_bake_file() -> None:
    _, files, builds = changed(
        {"docker-bake.hcl": 'target "a" {\n  context = "."\n  no-cache = true\n}\n'}, DropNoCache()
    )

    assert files["docker-bake.hcl"] == 'target "a" {\n  context = "."\n}\n'
    assert not builds[0].no_cache


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DOCKER_BUILDKIT=0 docker build .", "DOCKER_BUILDKIT=1 docker build ."),
        ("export DOCKER_BUILDKIT='0'\ndocker build .", "export DOCKER_BUILDKIT='1'\ndocker build ."),
        ("docker-compose -f docker-compose.yml build", "docker compose -f docker-compose.yml build"),
    ],
)
def test_buildkit_is_switched_on(before: str, after: str) -> None:
    remedy, files, _ = changed(
        {
            "build.sh": f"#!/bin/sh\n{before}\n",
            "docker-compose.yml": "services: {a: {build: .}}\n",
            "Dockerfile": "FROM a\n",
        },
        BuildkitOn(),
    )

    assert files["build.sh"] == f"#!/bin/sh\n{after}\n"
    assert remedy.safety is Safety.REVIEW


def test_signing_takes_over_the_permissions_of_the_workflow() -> None:
    text = workflow("- uses: docker/build-push-action@v6\n  with:\n    push: true\n    tags: r/x:1,r/x:2")
    text = "permissions:\n  contents: read\n  packages: write\n" + text

    _, files, builds = changed({WORKFLOW: text}, Sign())

    granted = "    permissions:\n      contents: read\n      packages: write\n      id-token: write\n"
    assert f"    runs-on: ubuntu-latest\n{granted}" in files[WORKFLOW]
    assert "tr ',' '\\n'" in files[WORKFLOW]
    assert builds[0].signed_line


@pytest.mark.parametrize("permission", ["read-all", "{}", "{id-token: none}"])
def test_permissions_that_say_no_are_not_overruled(permission: str) -> None:
    text = workflow("- uses: docker/build-push-action@v6\n  with:\n    push: true\n    tags: r/x:1")
    text = text.replace("    steps:", f"    permissions: {permission}\n    steps:")

    remedy, _, _ = changed({WORKFLOW: text}, Sign())

    assert (remedy.safety is Safety.SHOW) == (permission != "{}")


@pytest.mark.parametrize(
    ("path", "text", "want", "reason"),
    [
        (
            "azure-pipelines.yml",
            "steps:\n  - script: docker build --build-arg NPM_TOKEN=$(t) .\n    env: {NPM_TOKEN: x}\n",
            SECRET,
            "has a variable NPM_TOKEN already",
        ),
        (
            "azure-pipelines.yml",
            "steps:\n  - script: sudo docker build --build-arg NPM_TOKEN=$(t) .\n",
            SECRET,
            "sudo keeps the variable",
        ),
        (
            "azure-pipelines.yml",
            "pool: {vmImage: windows-latest}\nsteps:\n  - script: docker build .\n",
            AddCache(),
            "a Windows engine builds without BuildKit",
        ),
        (
            "azure-pipelines.yml",
            "strategy: {matrix: {a: {V: 1}, b: {V: 2}}}\nsteps:\n  - script: docker build --build-arg V=$(V) .\n",
            AddCache(),
            "builds several images",
        ),
        (
            ".circleci/config.yml",
            "version: 2.1\njobs:\n  a:\n    parameters: {t: {type: string}}\n    machine: true\n    steps:\n"
            "      - run: docker build --build-arg NPM_TOKEN=<< parameters.t >> --build-arg A=$NPM_TOKEN .\n",
            SECRET,
            "is put together in the command",
        ),
        (
            ".gitlab-ci.yml",
            "a:\n  services: [docker:dind]\n  script:\n    - docker build -t $CI_REGISTRY_IMAGE . ; docker build api\n",
            AddCache(),
            "several builds stand on one line",
        ),
        (
            ".gitlab-ci.yml",
            "a:\n  services: [docker:dind]\n  script:\n    - docker build -t app .\n",
            AddCache(),
            "where else the image goes is not written",
        ),
    ],
)
def test_what_cannot_be_written_is_shown_with_its_reason(path: str, text: str, want: Want, reason: str) -> None:
    remedy, files, _ = changed({path: text}, want)

    assert not files
    assert reason in remedy.reasons[0]
    assert "```yaml" in remedy.guidance


def test_two_builds_of_an_azure_job_share_one_builder() -> None:
    tree = MemoryTree(
        {
            "Dockerfile": b"FROM a\n",
            "azure-pipelines.yml": b"steps:\n- script: docker build -t x/a:1 --target a .\n"
            b"- script: docker build -t x/b:1 --target b .\n- script: docker push x/a:1; docker push x/b:1\n",
        }
    )

    remedies = [change(tree, build, AddCache(True, build.target or "")) for build in build_sites(tree).builds]

    whole = {edit: None for remedy in remedies for edit in remedy.edits}
    after = edits.apply(tree.read("azure-pipelines.yml"), whole).decode()
    assert after.count("docker buildx create") == 1
    assert after.index("docker buildx create") < after.index("docker buildx build")
    assert "ref=x/a:buildcache-a,mode=max" in after
    assert "ref=x/b:buildcache-b,mode=max" in after


@pytest.mark.parametrize(
    ("inputs", "left"),
    [
        ("        with:\n          no-cache: true\n", ""),
        ("        with:\n          # since the move\n          no-cache: true\n", ""),
        ("        with:\n          no-cache: true\n          push: false\n", "        with:\n          push: false\n"),
        ("        with:\n          set: |\n            *.no-cache=true\n", ""),
        (
            "        with:\n          set: |\n            *.no-cache=true\n            *.pull=true\n",
            "        with:\n          set: |\n            *.pull=true\n",
        ),
    ],
)
def test_no_cache_leaves_no_empty_inputs(inputs: str, left: str) -> None:
    action = "docker/bake-action@v6" if "set:" in inputs else "docker/build-push-action@v6"
    before = f"on: push\njobs:\n  image:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: {action}\n{inputs}"
    before += "      - run: docker image ls\n"
    files = {WORKFLOW: before, "Dockerfile": "FROM scratch\n", "docker-bake.hcl": 'target "default" {}\n'}

    _, after, builds = changed(files, DropNoCache())

    assert after[WORKFLOW] == before.replace(inputs, left)
    assert not any(build.no_cache for build in builds)
