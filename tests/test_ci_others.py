"""The smaller CI systems: each one's way to build an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from coach.ci import MARKS, TOOLS, Discovery, build_sites, systems
from coach.model import BuildSite
from coach.repo import open_tree
from coach.tree import MemoryTree

FILES = {"Dockerfile": "FROM a\n", "api/Dockerfile": "FROM a\n"}


def builds(**files: str) -> list[BuildSite]:
    tree = MemoryTree({path: text.encode() for path, text in {**FILES, **files}.items()})
    found = build_sites(tree)
    assert found.skipped == ()
    return [build for build in found.builds if build.ci]


def test_systems_are_found() -> None:
    assert set(systems()) >= {
        "azure", "bake", "bitbucket", "buildkite", "circleci", "cloudbuild", "codebuild", "compose", "drone", "github",
        "gitlab", "goreleaser", "jenkins", "scripts", "skaffold", "tilt", "travis",
    }  # fmt: skip
    assert not TOOLS & set(systems())
    assert set(MARKS) <= set(systems())


@pytest.mark.parametrize(
    ("system", "paths"),
    [
        ("azure", "azure-pipelines.yml .azurepipelines.yaml Azure_Pipelines-ci.yml .azure/a.yml"),
        ("azure", "azure-devops/a.yml azuredevops/x/a.yml ci/azdo/a.yml .pipelines/build.yaml"),
        ("bake", "docker-bake.hcl docker-bake.json sub/Docker-Bake.override.hcl bake.hcl"),
        ("bitbucket", "bitbucket-pipelines.yml"),
        ("buildkite", ".buildkite/pipeline.yml buildkite/a.yaml .buildkite/pipelines/a.yml"),
        ("circleci", ".circleci/config.yml .circleci/config.yaml circle.yml"),
        ("cloudbuild", "cloudbuild.yaml deploy/CloudBuild.prod.yml"),
        ("codebuild", "buildspec.yml ci/buildspec-prod.yaml"),
        ("compose", "compose.yaml docker-compose.yml a/Docker-Compose.dev.yml dockercompose.yml .devcontainer/dev.yml"),
        ("drone", ".drone.yml .woodpecker.yaml .woodpecker/a.yml .drone/a.yml"),
        ("github", ".github/workflows/a.yml .gitea/workflows/a.yaml .forgejo/workflows/a.yml"),
        ("gitlab", ".gitlab-ci.yml"),
        ("goreleaser", ".goreleaser.yml goreleaser.yaml a/.goreleaser-x.yaml"),
        ("jenkins", "Jenkinsfile Jenkinsfile.release a/jenkinsfile build.jenkinsfile"),
        ("skaffold", "skaffold.yaml deploy/skaffold-e2e.yml skaffold.dev.yaml"),
        ("tilt", "Tiltfile dev/Tiltfile.ci app.tiltfile"),
        ("travis", ".travis.yml"),
    ],
)
def test_a_system_is_imported_where_it_has_a_file(system: str, paths: str) -> None:
    for path in paths.split():
        assert system in systems(MemoryTree({path: b""})), path
    assert system not in systems(MemoryTree({"Dockerfile": b"", "src/main.go": b"", "README.md": b""}))


def test_systems_that_are_not_imported_would_have_found_nothing() -> None:
    for repository in sorted(Path(__file__).parent.glob("cases/*/*/repo")):
        tree = open_tree(repository)
        for name in set(systems()) - set(systems(tree)):
            found = systems()[name].read(tree)
            assert found == Discovery(), (repository, name)


def test_azure() -> None:
    found = builds(
        **{
            "azure-pipelines.yml": """\
parameters:
  - {name: dir, type: string, default: api}
variables:
  repository: acme/api
pool: {vmImage: ubuntu-latest}
steps:
  - task: Docker@2
    inputs:
      command: build
      repository: $(repository)
      Dockerfile: ${{ parameters.dir }}/Dockerfile
      arguments: --no-cache --build-arg SHA=$(Build.SourceVersion) --build-arg "KEY=$(apiToken)"
  - script: |
      docker build --target x .
    workingDirectory: $(Build.SourcesDirectory)/api
  - bash: DOCKER_BUILDKIT=0 docker build .
"""
        }
    )

    assert [(build.line, build.context, build.push, build.target) for build in found] == [
        (7, "api", False, None),
        (14, "api", False, "x"),
        (16, "", False, None),
    ]
    assert (found[0].no_cache_line, found[0].tags) == (12, ("acme/api",))
    assert [(arg.name, arg.per_commit, arg.secret) for arg in found[0].build_args] == [
        ("SHA", True, False),
        ("KEY", False, True),
    ]
    assert [build.buildkit for build in found] == [True, True, False]


def test_azure_builds_and_pushes_without_the_arguments() -> None:
    build = builds(
        **{
            "azure-pipelines.yml": "steps:\n  - task: Docker@2\n    inputs:\n      command: buildAndPush\n"
            "      repository: acme/api\n      dockerfile: api/Dockerfile\n      arguments: --no-cache --target x\n"
        }
    )[0]

    assert (build.no_cache, build.target, build.push, build.push_line) == (False, None, True, 2)


def test_azure_templates_get_the_parameters_of_their_callers() -> None:
    found = builds(
        **{
            "azure-pipelines.yml": """\
pool: own
variables:
  - group: secrets
  - template: ci/names.yml
stages:
  - ${{ if eq(variables['Build.Reason'], 'Manual') }}:
    - template: ci/stage.yml
      parameters:
        dir: api
        before:
          - script: docker build --build-arg TOKEN=$(System.AccessToken) .
""",
            "ci/names.yml": "variables: {repository: acme/x}\n",
            "ci/stage.yml": """\
parameters:
  - {name: dir, type: string}
  - {name: before, type: stepList, default: []}
stages:
  - stage: a
    jobs:
      - job: image
        pool: {vmImage: ubuntu-24.04}
        steps:
          - ${{ parameters.before }}
          - template: /ci/steps.yml
            parameters: {dir: "${{ parameters.dir }}", name: $(repository)}
""",
            "ci/steps.yml": """\
parameters: {dir: ., name: ""}
steps:
  - bash: docker build -t ${{ parameters.name }}:1 ${{ parameters.dir }}
""",
        }
    )

    assert [(build.path, build.line, build.context, build.tags, build.job) for build in found] == [
        ("azure-pipelines.yml", 11, "", (), "image"),
        ("ci/steps.yml", 3, "api", ("acme/x:1",), "image"),
    ]
    assert [(build.called_from, build.called_line, build.runner) for build in found] == [
        ("", 0, "ubuntu-24.04"),
        ("azure-pipelines.yml", 7, "ubuntu-24.04"),
    ]
    assert found[0].build_args[0].secret


def test_azure_templates_of_other_repositories_stay_unknown() -> None:
    found = builds(
        **{
            "azure-pipelines.yml": "steps:\n  - template: steps/docker-build.yml@templates\n    parameters:\n"
            "      dockerfile: api/Dockerfile\n  - template: steps/container-scan.yml@templates\n"
        }
    )

    assert [(build.dockerfile, build.tool, build.push) for build in found] == [("api/Dockerfile", "workflow", None)]
    assert found[0].unsure("signed") is not None


@pytest.mark.parametrize(
    "text",
    [
        "extends: {template: azure-pipelines.yml}\n",
        "steps:\n  - template: azure-pipelines.yml\n",
        "stages: [{stages: [{jobs: x}]}]\nsteps: {docker: 1}\n",
        "parameters: [1, {name: [], default: x}]\nsteps: ['${{ parameters.x }}', docker build .]\n",
    ],
)
def test_odd_azure_pipelines_raise_nothing(text: str) -> None:
    assert isinstance(builds(**{"azure-pipelines.yml": text}), list)


def test_bitbucket() -> None:
    build = builds(
        **{
            "bitbucket-pipelines.yml": """\
pipelines:
  default:
    - step:
        name: image
        services: [docker]
        caches: [docker]
        script:
          - docker build -t x --build-arg SHA=$BITBUCKET_COMMIT api
          - docker push x
"""
        }
    )[0]

    assert (build.job, build.line, build.context, build.push_line) == ("image", 8, "api", 9)
    assert build.keeps_cache
    assert build.build_args[0].per_commit


def test_cloud_build() -> None:
    found = builds(
        **{
            "cloudbuild.yaml": """\
substitutions: {_DIR: api}
steps:
  - name: gcr.io/cloud-builders/docker
    args: [build, -t, 'r/x:$SHORT_SHA', '--cache-from', 'r/x:latest', '$_DIR']
  - name: gcr.io/kaniko-project/executor
    args:
      - --destination=r/y
      - --cache=true
  - name: gcr.io/cloud-builders/docker
    entrypoint: bash
    args:
      - -c
      - docker build --no-cache .
images: ['r/x:$SHORT_SHA']
"""
        }
    )

    assert [(build.tool, build.line, build.context, build.push) for build in found] == [
        ("docker", 3, "api", True),
        ("kaniko", 5, "", True),
        ("docker", 13, "", True),
    ]
    assert found[0].cache_from[0].attrs == {"ref": "r/x:latest"}
    assert found[1].keeps_cache
    assert found[2].no_cache_line == 13


def test_codebuild() -> None:
    build = builds(
        **{
            "buildspec.yml": """\
version: 0.2
env:
  variables: {DIR: api}
  secrets-manager: {TOKEN: a/b}
phases:
  pre_build:
    commands:
      - cd $DIR
  build:
    commands:
      - docker build --build-arg TOKEN=$TOKEN -t x .
  post_build:
    commands: [docker push x]
"""
        }
    )[0]

    assert (build.line, build.context, build.push, build.build_args[0].secret) == (11, "api", True, True)
    assert build.unsure("keeps_cache") is not None


def test_travis() -> None:
    build = builds(
        **{
            ".travis.yml": """\
env:
  global: [DIR=api]
script:
  - docker build -t x $DIR
after_success: docker push x
"""
        }
    )[0]

    assert (build.line, build.context, build.push_line) == (4, "api", 5)


def test_buildkite() -> None:
    found = builds(
        **{
            ".buildkite/pipeline.yml": """\
steps:
  - label: image
    command: docker build api
  - plugins:
      - docker-compose#v5.0.0:
          build: web
          push: web
""",
            "docker-compose.yml": "services:\n  web:\n    build: .\n",
        }
    )

    assert [(build.tool, build.line, build.context, build.push) for build in found] == [
        ("docker", 3, "api", False),
        ("compose", 5, "", True),
    ]


def test_drone_and_woodpecker_plugins() -> None:
    found = builds(
        **{
            ".drone.yml": """\
kind: pipeline
name: image
platform: {arch: arm64}
steps:
  - name: publish
    image: plugins/docker
    settings:
      repo: acme/x
      dockerfile: api/Dockerfile
      context: api
      build_args: [SHA=$DRONE_COMMIT]
---
kind: pipeline
name: other
steps:
  - name: k
    image: plugins/kaniko
    settings: {repo: acme/y, enable_cache: true}
""",
            ".woodpecker.yml": """\
steps:
  publish:
    image: woodpeckerci/plugin-docker-buildx
    settings:
      repo: acme/z
      platforms: linux/amd64,linux/arm64
      dry-run: true
""",
        }
    )

    assert [(build.system, build.tool, build.line, build.dockerfile, build.push) for build in found] == [
        ("drone", "docker", 5, "api/Dockerfile", True),
        ("drone", "kaniko", 16, "Dockerfile", True),
        ("woodpecker", "buildx", 3, "Dockerfile", False),
    ]
    assert found[0].runner == "arm64"
    assert found[0].build_args[0].per_commit
    assert found[2].platforms == ("linux/amd64", "linux/arm64")


def test_jenkins() -> None:
    found = builds(
        Jenkinsfile="""\
pipeline {
  environment {
    DIR = 'api'
  }
  stages {
    stage('a') { steps {
      // sh 'docker build commented'
      sh "docker build --no-cache -t x ${DIR}"
      sh '''
        docker buildx build \\
          --push .
      '''
      script { docker.build("x:${env.BUILD_ID}", "--build-arg SHA=${GIT_COMMIT} api").push('latest') }
    } }
  }
}
"""
    )

    assert [(build.line, build.context, build.push) for build in found] == [
        (8, "api", True),
        (10, "", True),
        (13, "api", True),
    ]
    assert (found[0].no_cache_line, found[1].push_line) == (8, 11)
    assert found[2].build_args[0].per_commit
    assert all(build.unsure("keeps_cache") for build in found)


@pytest.mark.parametrize(
    "text",
    [
        *("sh '", 'sh """docker', "/*" * 20_000, "docker.build(" * 5_000, 'sh """' * 5_000, "sh(script:" * 5_000),
        *("dir('a') {" + '"\\' * 100_000, "dir('a') {" * 20_000, "dir('a') {'''" + "\\'" * 100_000),
    ],
)
def test_odd_jenkinsfiles_are_read_quickly(text: str) -> None:
    assert isinstance(builds(Jenkinsfile=text), list)


def test_jenkins_folders_credentials_and_escapes() -> None:
    found = builds(
        Jenkinsfile="""\
withCredentials([string(credentialsId: 'npm', variable: 'TOKEN_OF_NPM')]) {
    dir('api') {
        sh "docker build --build-arg A=\\$TOKEN_OF_NPM -t \\"a:1\\" . # }"
    }
    dir(folder) { sh 'docker build .' }
    docker.build('a', "--build-arg A=${TOKEN_OF_NPM} api")
}
"""
    )

    assert [(build.context, [arg.secret for arg in build.build_args]) for build in found] == [
        ("api", [True]),
        (None, []),
        ("api", [True]),
    ]
    assert found[0].tags == ("a:1",)


def test_options_of_the_compose_plugin_of_buildkite() -> None:
    found = builds(
        **{
            ".buildkite/pipeline.yml": """\
steps:
  - plugins:
      - docker-compose#v5.2.0:
          build: [web, api]
          push: [web:r/web, api:r/api]
          no-cache: true
          cache-from: ["web:type=registry,ref=r/web:c"]
          cache-to: ["web:type=registry,ref=r/web:c,mode=max"]
          builder: {driver: docker-container, create: true, use: true, name: ci}
""",
            "docker-compose.yml": "services:\n  web: {build: .}\n  api: {build: api}\n",
        }
    )

    assert [(build.context, bool(build.cache_to), build.no_cache_line, build.driver) for build in found] == [
        ("", True, 6, "docker-container"),
        ("api", False, 6, "docker-container"),
    ]


def test_secrets_of_drone_and_of_cloud_build() -> None:
    found = builds(
        **{
            ".drone.yml": """\
steps:
  - name: a
    image: plugins/buildx
    settings: {repo: "r/a, r/b", build_args_from_env: [A, B], secrets_from_env: [c=C]}
    environment: {A: {from_secret: a}, B: b}
""",
            "cloudbuild.yaml": """\
options: {secretEnv: [A]}
steps:
  - {name: docker, args: [build, --build-arg, A, .]}
  - {name: 'gcr.io/cloud-builders/docker', args: [build, .]}
  - {name: 'gcr.io/cloud-builders/docker:24.0.9', args: [build, .]}
""",
        }
    )

    assert [(arg.name, arg.secret) for arg in found[0].build_args] == [("A", True), ("B", False)]
    assert (found[0].secrets, found[0].tags) == (("c",), ("r/a", "r/b"))
    assert [arg.secret for arg in found[1].build_args] == [True]
    assert [build.buildkit for build in found[1:]] == [None, False, None]


def test_skaffold() -> None:
    config = """\
apiVersion: skaffold/v4beta11
build:
  platforms: [linux/amd64, linux/arm64]
  artifacts:
    - image: a
      context: api
      docker: {target: x, buildArgs: {T: "{{.API_TOKEN}}", N: }, secrets: [{id: s, env: S}], noCache: true}
    - image: b
      jib: {}
    - image: c
      kaniko: {cache: {}, dockerfile: api/Dockerfile}
profiles:
  - name: ci
    build:
      local: {useBuildkit: false, push: true}
      artifacts: [{image: d, context: api}]
"""
    ci = {".github/workflows/a.yml": "on: push\njobs:\n  a:\n    steps:\n      - run: skaffold build -p ci\n"}
    tree = MemoryTree({path: text.encode() for path, text in {**FILES, **ci, "skaffold.yaml": config}.items()})
    made = [build for build in build_sites(tree).builds if build.system == "skaffold"]
    last, first, kaniko = made

    assert (first.dockerfile, first.context, first.target, first.no_cache_line) == ("api/Dockerfile", "api", "x", 7)
    assert [(arg.name, arg.value, arg.secret) for arg in first.build_args] == [("T", None, True), ("N", None, False)]
    assert (first.secrets, first.platforms, first.ci) == (("s",), ("linux/amd64", "linux/arm64"), False)
    assert (kaniko.tool, kaniko.dockerfile, bool(kaniko.keeps_cache)) == ("kaniko", "api/Dockerfile", True)
    assert (last.ci, last.push, last.buildkit, last.called_from) == (True, True, False, ".github/workflows/a.yml")


def test_tilt() -> None:
    text = """\
FOLDER = 'api'
docker_build('r/a', FOLDER, build_args={'A': '1', 'B': os.environ['B']}, target='x', cache_from=['r/a:c'])
docker_build('r/b', '.', dockerfile=FOLDER + '/Dockerfile')
docker_build('r/c', '.', dockerfile_contents='FROM a')
docker_build('r/d', **options)
for name in names:
    docker_build('r/' + name, name)
"""
    tree = MemoryTree({path: content.encode() for path, content in {**FILES, "Tiltfile": text}.items()})
    found = build_sites(tree).builds

    assert [(build.job, build.dockerfile, build.context, build.line) for build in found] == [
        ("r/a", "api/Dockerfile", "api", 2),
        ("r/b", "api/Dockerfile", "", 3),
        ("r/c", None, "", 4),
        ("r/d", None, "", 5),
        ("image", None, None, 7),
    ]
    assert [(arg.name, arg.value) for arg in found[0].build_args] == [("A", "1"), ("B", None)]
    assert found[0].target == "x"
    assert all(note.reason for build in found[2:] for note in build.unresolved)
    assert not any(build.ci for build in found)


@pytest.mark.parametrize("text", ["(" * 50_000, "x = " + "1 + " * 20_000 + "1", "def\0", "docker_build(", "\xff\xfe"])
def test_odd_tiltfiles_are_skipped(text: str) -> None:
    tree = MemoryTree({"Tiltfile": text.encode("latin-1")})

    assert build_sites(tree).builds == ()
