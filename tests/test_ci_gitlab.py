"""Builds of GitLab pipelines."""

from __future__ import annotations

import pytest

from coach.ci import gitlab
from coach.model import BuildSite
from coach.tree import MemoryTree


def builds(content: str, **files: str) -> list[BuildSite]:
    named = {path.replace("__", "/"): text.encode() for path, text in files.items()}
    tree = MemoryTree(
        {".gitlab-ci.yml": content.encode(), "Dockerfile": b"FROM a\n", "api/Dockerfile": b"FROM a\n", **named}
    )
    return list(gitlab.read(tree).builds)


def one(content: str, **files: str) -> BuildSite:
    found = builds(content, **files)
    assert len(found) == 1, found
    return found[0]


def test_extends_defaults_variables_and_references() -> None:
    build = one("""\
variables: {ROOT: $CI_REGISTRY_IMAGE, DIR: .}
default:
  image: docker:27
  before_script: [docker login -u x -p "$CI_REGISTRY_PASSWORD" $CI_REGISTRY]
.shared:
  enter:
    - cd $DIR
.build:
  services: [docker:27-dind]
  variables: {DIR: api}
publish:
  extends: .build
  script:
    - !reference [.shared, enter]
    - docker build
        --build-arg SHA=$CI_COMMIT_SHORT_SHA
        --build-arg NPM_TOKEN=$NPM_TOKEN
        -t $ROOT:1 .
    - docker push $ROOT:1
""")

    assert (build.dockerfile, build.job, build.line, build.end_line) == ("api/Dockerfile", "publish", 15, 18)
    assert [(arg.name, arg.line, arg.secret, arg.per_commit) for arg in build.build_args] == [
        ("SHA", 16, False, True),
        ("NPM_TOKEN", 17, True, False),
    ]
    assert (build.push, build.push_line) == (True, 19)
    assert build.unresolved == ()


def test_local_includes_keep_their_own_lines() -> None:
    build = one(
        "include:\n  - local: /ci/*.yml\npublish:\n  extends: .docker\n",
        **{"ci__docker.yml": ".docker:\n  services: [docker:dind]\n  script:\n    - docker build api\n"},
    )

    assert (build.path, build.line, build.dockerfile) == ("ci/docker.yml", 4, "api/Dockerfile")


def test_an_old_engine_builds_without_buildkit() -> None:
    build = one("image: docker:20.10.16\nservices: [docker:20.10.16-dind]\na:\n  script: [docker build .]\n")

    assert (build.buildkit, build.buildkit_line) == (False, 1)
    assert one("image: docker:24\nservices: [docker:24-dind]\na:\n  script: [docker build .]\n").buildkit is True


def test_an_engine_behind_a_client_that_is_not_known_says_nothing() -> None:
    build = one("image: acme/tools\nservices: [docker:20.10-dind]\na:\n  script: [docker build .]\n")

    assert build.buildkit is None
    assert one("image: docker:20.10\na:\n  script: [docker build .]\n").buildkit is None


def test_kaniko_and_buildah() -> None:
    found = builds("""\
kaniko:
  image: {name: gcr.io/kaniko-project/executor:debug, entrypoint: [""]}
  script:
    - /kaniko/executor --context "$CI_PROJECT_DIR/api" --destination "$CI_REGISTRY_IMAGE" --cache=true
buildah:
  image: quay.io/buildah/stable
  script:
    - buildah bud -f Dockerfile .
    - buildah push x
""")

    assert [(build.tool, build.context, build.push) for build in found] == [
        ("kaniko", "api", True),
        ("buildah", "", True),
    ]
    assert "kaniko" in found[0].keeps_cache


def test_the_runners_own_engine_may_keep_its_cache() -> None:
    assert one("a:\n  script: [docker build .]\n").unsure("keeps_cache") is not None


def test_a_parallel_matrix() -> None:
    found = builds("""\
a:
  services: [docker:dind]
  parallel:
    matrix:
      - DIR: [., api]
  script:
    - docker build $DIR
""")

    assert sorted(build.context or "" for build in found) == ["", "api"]


def test_the_stable_tag_is_an_old_engine() -> None:
    assert (
        one("image: docker:stable\nservices: [docker:stable-dind]\na:\n  script: [docker build .]\n").buildkit is False
    )


def test_what_is_included_from_elsewhere_is_told_by_its_name() -> None:
    found = builds(
        "include:\n"
        "  - component: $CI_SERVER_FQDN/acme/ci/build-push-image@~latest\n    inputs: {dockerfile: api/Dockerfile}\n"
        "  - component: $CI_SERVER_FQDN/acme/ci/get-image-ref@~latest\n"
        "  - template: Security/Container-Scanning.gitlab-ci.yml\n"
        "  - project: acme/ci\n    file: [/docker.yml]\n"
    )

    assert [(build.line, build.dockerfile, build.push) for build in found] == [
        (2, "api/Dockerfile", None),
        (6, "Dockerfile", None),
    ]
    assert all(build.unsure("cache_to") and build.unsure("signed") for build in found)


@pytest.mark.parametrize(
    "content",
    ["docker: [", "- docker", "a: docker", "a: {script: {docker: 1}}", "a: {extends: a, script: [docker build .]}"],
)
def test_odd_pipelines_raise_nothing(content: str) -> None:
    assert all(build.path == ".gitlab-ci.yml" for build in builds(content))


def test_jobs_that_extend_each_other_many_times_are_read_quickly() -> None:
    names = [f".j{number}" for number in range(12)]
    lines = [f"{name}:\n  extends: [{', '.join(names[number + 1 :] * 5)}]\n" for number, name in enumerate(names[:-1])]

    found = builds(f"include: {{remote: 'https://example.test/docker.yml'}}\n{''.join(lines)}a:\n  extends: .j0\n")

    assert [build.tool for build in found] == ["workflow"]
