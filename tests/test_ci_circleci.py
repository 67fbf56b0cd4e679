"""Builds of CircleCI."""

from __future__ import annotations

import pytest

from coach.ci import circleci
from coach.model import BuildSite
from coach.tree import MemoryTree


def builds(content: str) -> list[BuildSite]:
    files = {".circleci/config.yml": content.encode(), "Dockerfile": b"FROM a\n", "api/Dockerfile": b"FROM a\n"}
    return list(circleci.read(MemoryTree(files)).builds)


CONFIG = """\
version: 2.1
parameters:
  tag: {type: string, default: edge}
orbs:
  docker: circleci/docker@2.8
executors:
  vm:
    machine: {image: default, docker_layer_caching: true}
commands:
  image:
    parameters:
      dir: {type: string, default: .}
    steps:
      - run:
          working_directory: << parameters.dir >>
          command: |
            docker build \\
              --no-cache -t acme/x:<< pipeline.parameters.tag >> .
            docker push acme/x:<< pipeline.parameters.tag >>
jobs:
  plain:
    docker: [{image: cimg/base:current}]
    resource_class: arm.medium
    steps:
      - setup_remote_docker: {version: 20.10.24}
      - image: {dir: api}
  kept:
    parameters: {dir: {type: string}}
    executor: vm
    steps:
      - when:
          condition: true
          steps:
            - run: cd << parameters.dir >> && docker build .
workflows:
  all:
    jobs:
      - plain
      - kept:
          matrix: {parameters: {dir: [., api]}}
      - docker/publish: {image: acme/y, path: api}
"""


def test_commands_parameters_matrices_and_orbs() -> None:
    found = builds(CONFIG)

    assert [(build.job, build.tool, build.context) for build in found] == [
        ("plain", "docker", "api"),
        ("kept", "docker", ""),
        ("kept", "docker", "api"),
        ("docker/publish", "orb", "api"),
    ]
    plain = found[0]
    assert (plain.line, plain.no_cache_line, plain.push_line, plain.tags) == (17, 18, 19, ("acme/x:edge",))
    assert (plain.runner, plain.buildkit, plain.buildkit_line, plain.keeps_cache) == ("arm.medium", None, 0, "")
    assert "layer caching" in found[1].keeps_cache
    assert "orb circleci/docker@2.8" in found[3].unsure("cache_to").reason  # type: ignore[union-attr]


def test_an_old_engine_counts_where_its_client_is_old_too() -> None:
    plain = builds(CONFIG.replace("cimg/base:current", "docker:20.10-git"))[0]

    assert (plain.buildkit, plain.buildkit_line) == (False, 25)


def test_layer_caching_of_the_remote_engine() -> None:
    found = builds(CONFIG.replace("{version: 20.10.24}", "{docker_layer_caching: true}"))

    assert (found[0].keeps_cache_line, found[0].buildkit) == (25, None)


@pytest.mark.parametrize(
    "content",
    [
        "jobs: [",
        "jobs: {a: docker}",
        "jobs: {a: {steps: [{run: {command: [docker build]}}]}}",
        "workflows: {w: {jobs: [docker/build]}}",
    ],
)
def test_odd_configurations_raise_nothing(content: str) -> None:
    assert builds(content) == []
