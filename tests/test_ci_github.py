"""Builds of GitHub workflows."""

from __future__ import annotations

import textwrap
import time

import pytest

from coach.ci import build_sites
from coach.ci.expressions import Hole, evaluate
from coach.ci.github_scope import Scope
from coach.model import BuildSite
from coach.tree import MemoryTree

WORKFLOW = ".github/workflows/ci.yml"
FILES = {"Dockerfile": "FROM a\n", "api/Dockerfile": "FROM a\n", "docker/web": "FROM a\n"}


def builds(workflow: str, **files: str) -> list[BuildSite]:
    named = {path.replace("__", "/"): text for path, text in files.items()}
    tree = MemoryTree({path: text.encode() for path, text in {**FILES, WORKFLOW: workflow, **named}.items()})
    return [build for build in build_sites(tree).builds if build.ci]


def steps(text: str, job: str = "") -> str:
    head = "on: push\njobs:\n  build:\n"
    lines = textwrap.indent(textwrap.dedent(job or "runs-on: ubuntu-latest\n"), "    ")
    return f"{head}{lines}    steps:\n{textwrap.indent(textwrap.dedent(text).strip(), '      ')}\n"


def one(workflow: str, **files: str) -> BuildSite:
    found = builds(workflow, **files)
    assert len(found) == 1, found
    return found[0]


def test_the_action_with_everything() -> None:
    build = one(
        steps("""
        - uses: docker/setup-qemu-action@v3
        - uses: docker/setup-buildx-action@v3
        - name: Build
          uses: docker/build-push-action@v6
          with:
            context: api
            target: final
            platforms: |
              linux/amd64
              linux/arm64
            build-args: |
              A=1
              TOKEN=${{ secrets.TOKEN }}
              SHA=${{ github.sha }}
            secrets: |
              "npm=${{ secrets.NPM }}"
            cache-from: |
              type=gha,scope=x
              type=registry,ref=r/x:cache
            cache-to: type=gha,mode=max,scope=x
            no-cache: false
            push: ${{ github.event_name != 'pull_request' }}
            tags: r/x:1,r/x:2
        """)
    )

    assert (build.dockerfile, build.context, build.target) == ("api/Dockerfile", "api", "final")
    assert (build.line, build.end_line) == (9, 28)
    assert build.platforms == ("linux/amd64", "linux/arm64")
    assert [(arg.name, arg.line, arg.secret, arg.per_commit) for arg in build.build_args] == [
        ("A", 17, False, False),
        ("TOKEN", 18, True, False),
        ("SHA", 19, False, True),
    ]
    assert [(ref.type, ref.line) for ref in build.cache_from] == [("gha", 23), ("registry", 24)]
    assert (build.cache_to[0].mode, build.cache_to[0].line) == ("max", 25)
    assert (build.push, build.push_line, build.no_cache) == (True, 27, False)
    assert (build.driver, build.emulation_line, build.buildkit) == ("docker-container", 6, True)
    assert build.tags == ("r/x:1", "r/x:2")


@pytest.mark.parametrize(
    "context", ["", "context: .", 'context: "{{defaultContext}}"', "context: ${{ github.workspace }}"]
)
def test_the_root_has_many_names(context: str) -> None:
    build = one(steps(f"- uses: docker/build-push-action@v6\n  with:\n    push: false\n    {context}"))

    assert (build.dockerfile, build.context) == ("Dockerfile", "")


def test_a_git_context_with_a_folder() -> None:
    build = one(steps('- uses: docker/build-push-action@v6\n  with:\n    context: "{{defaultContext}}:api"'))

    assert (build.dockerfile, build.context) == ("api/Dockerfile", "api")


def test_a_foreign_git_context_is_unknown() -> None:
    build = one(steps("- uses: docker/build-push-action@v6\n  with:\n    context: https://example.org/x.git"))

    assert build.context is None
    assert build.unsure("context") is not None


def test_a_matrix_with_include_and_exclude() -> None:
    found = builds(
        steps(
            """
            - uses: docker/build-push-action@v6
              with:
                file: ${{ matrix.file }}
                platforms: ${{ matrix.platform }}
            """,
            """
            runs-on: ${{ matrix.runner || 'ubuntu-latest' }}
            strategy:
              matrix:
                file: [Dockerfile, api/Dockerfile]
                platform: [linux/amd64, linux/arm64]
                include:
                  - platform: linux/arm64
                    runner: ubuntu-24.04-arm
                exclude:
                  - file: api/Dockerfile
                    platform: linux/amd64
            """,
        )
    )

    assert sorted((build.dockerfile, build.platforms[0], build.runner) for build in found) == [
        ("Dockerfile", "linux/amd64", "ubuntu-latest"),
        ("Dockerfile", "linux/arm64", "ubuntu-24.04-arm"),
        ("api/Dockerfile", "linux/arm64", "ubuntu-24.04-arm"),
    ]


def test_a_computed_matrix_stays_open() -> None:
    build = one(
        steps(
            "- uses: docker/build-push-action@v6\n  with:\n    file: ${{ matrix.file }}",
            "runs-on: ubuntu-latest\nneeds: plan\nstrategy:\n  matrix: ${{ fromJSON(needs.plan.outputs.matrix) }}\n",
        )
    )

    assert build.dockerfile is None
    assert "matrix" in (build.unsure("dockerfile") or build.unsure("context")).reason  # type: ignore[union-attr]


def test_environment_at_three_levels_and_through_the_file() -> None:
    build = one(
        """\
on: push
env: {A: workflow, B: workflow, C: workflow}
jobs:
  build:
    runs-on: ubuntu-latest
    env: {B: job, C: job}
    steps:
      - run: echo "D=written" >> "$GITHUB_ENV"
      - run: docker build -t "$A-$B-$C-$D-${{ env.C }}" .
        env: {C: step}
"""
    )

    assert build.tags == ("workflow-job-step-written-step",)


def test_outputs_of_steps_and_jobs() -> None:
    build = one(
        """\
on: push
jobs:
  plan:
    runs-on: ubuntu-latest
    outputs:
      file: ${{ steps.it.outputs.file }}
      sha: ${{ steps.it.outputs.short }}
    steps:
      - id: it
        run: |
          echo "file=api/Dockerfile" >> $GITHUB_OUTPUT
          echo "short=$(git rev-parse --short HEAD)" >> $GITHUB_OUTPUT
  build:
    needs: plan
    runs-on: ubuntu-latest
    steps:
      - run: docker build -f ${{ needs.plan.outputs.file }} --build-arg SHA=${{ needs.plan.outputs.sha }} .
"""
    )

    assert build.dockerfile == "api/Dockerfile"
    assert build.build_args[0].per_commit


def test_working_directories_add_up() -> None:
    build = one(steps("- working-directory: api/deep\n  run: |\n    cd ..\n    docker build ."))

    assert (build.context, build.line) == ("api", 9)


def test_commands_keep_their_lines() -> None:
    build = one(
        steps("""
        - run: |
            # first
            docker buildx build \\
              --platform linux/amd64,linux/arm64 \\
              --no-cache \\
              --push api
        """)
    )

    assert (build.line, build.end_line) == (8, 11)
    assert (build.platforms_line, build.no_cache_line, build.push_line) == (9, 10, 11)


def test_a_folded_command_keeps_its_lines() -> None:
    build = one(steps("- run: >-\n    docker build\n    --no-cache\n    api"))

    assert (build.line, build.no_cache_line, build.context) == (7, 8, "api")


def test_a_later_push_belongs_to_the_build_before_it() -> None:
    build = one(steps("- run: docker build -t r/x:1 .\n- run: docker push r/x:1"))

    assert (build.push, build.push_line) == (True, 7)


def test_the_push_of_another_image_does_not() -> None:
    assert one(steps("- run: docker build -t r/x:1 .\n- run: docker push r/y:1")).push is False


def test_a_composite_action_of_the_repository() -> None:
    build = one(
        steps("- uses: ./.github/actions/image\n  with:\n    name: web"),
        **{
            ".github__actions__image__action.yml": textwrap.dedent("""
                inputs:
                  name: {required: true}
                  push: {default: "true"}
                runs:
                  using: composite
                  steps:
                    - uses: docker/build-push-action@v6
                      with:
                        file: docker/${{ inputs.name }}
                        push: ${{ inputs.push }}
                """)
        },
    )

    assert (build.path, build.line, build.dockerfile) == (".github/actions/image/action.yml", 8, "docker/web")
    assert (build.called_from, build.called_line, build.push) == (WORKFLOW, 6, True)


def test_a_reusable_workflow_of_the_repository() -> None:
    build = one(
        "on: push\njobs:\n  call:\n    uses: ./.github/workflows/image.yml\n    with: {context: api}\n",
        **{
            ".github__workflows__image.yml": textwrap.dedent("""
                on:
                  workflow_call:
                    inputs:
                      context: {type: string, default: .}
                jobs:
                  image:
                    runs-on: ubuntu-latest
                    steps:
                      - uses: docker/build-push-action@v6
                        with:
                          context: ${{ inputs.context }}
                """)
        },
    )

    assert (build.path, build.context, build.called_from) == (".github/workflows/image.yml", "api", WORKFLOW)


def test_a_workflow_of_another_repository_is_unresolved() -> None:
    build = one(
        "on: push\njobs:\n  call:\n    uses: acme/x/.github/workflows/docker.yml@v1\n"
        "    with:\n      context: api\n      platforms: linux/arm64\n"
    )

    assert (build.tool, build.dockerfile, build.platforms) == ("workflow", "api/Dockerfile", ("linux/arm64",))
    assert "not in this repository" in build.unsure("cache_to").reason  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["lint.yml", "test.yml"])
def test_other_workflows_of_other_repositories_build_nothing(name: str) -> None:
    assert (
        builds(f"on: push\njobs:\n  call:\n    uses: acme/x/.github/workflows/{name}@v1\n    with: {{go: '1'}}\n") == []
    )


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("depot/build-push-action@v1", "Depot"),
        ("useblacksmith/build-push-action@v2", "Blacksmith"),
    ],
)
def test_managed_builders_keep_the_cache(action: str, says: str) -> None:
    assert says in one(steps(f"- uses: {action}\n  with:\n    context: .")).keeps_cache


def test_a_cloud_driver_keeps_the_cache() -> None:
    build = one(
        steps("- uses: docker/setup-buildx-action@v3\n  with:\n    driver: cloud\n- uses: docker/build-push-action@v6")
    )

    assert "Docker Build Cloud" in build.keeps_cache


def test_a_self_hosted_engine_may_keep_it() -> None:
    build = one(steps("- run: docker build .", "runs-on: [self-hosted, linux]\n"))

    assert "self-hosted" in build.keeps_cache
    assert build.unsure("keeps_cache") is not None


def test_a_fresh_builder_on_a_self_hosted_machine_is_empty() -> None:
    build = one(
        steps("- run: |\n    docker buildx create --use\n    docker buildx build .", "runs-on: [self-hosted]\n")
    )

    assert build.keeps_cache == ""


def test_signing_is_found_in_a_later_job() -> None:
    build = one(
        """\
on: push
jobs:
  image:
    runs-on: ubuntu-latest
    steps:
      - uses: docker/build-push-action@v6
        with: {push: true, tags: r/x}
  sign:
    needs: image
    runs-on: ubuntu-latest
    steps:
      - run: cosign sign --yes r/x
"""
    )

    assert (build.signed_line, build.signed_path) == (12, "")


def test_signing_another_image_does_not_count() -> None:
    build = one(steps("- run: docker buildx build --push -t r/x .\n- run: cosign sign --yes r/y"))

    assert build.signed_line == 0


def test_attestations_count_and_unsigned_provenance_is_told_apart() -> None:
    build = one(
        steps("""
        - uses: docker/build-push-action@v6
          with: {push: true, provenance: mode=max}
        - uses: actions/attest-build-provenance@v3
        """)
    )

    assert build.attested_line == 8
    assert one(steps("- uses: docker/build-push-action@v6\n  with: {provenance: mode=max}")).attested_line == 0


def test_an_optional_cache_counts_as_one() -> None:
    build = one(
        steps(
            "- uses: docker/build-push-action@v6\n  with:\n"
            "    cache-to: ${{ github.event_name == 'push' && 'type=gha,mode=max' || '' }}"
        )
    )

    assert [ref.type for ref in build.cache_to] == ["gha"]


def test_an_unknown_cache_is_said_to_be_unknown() -> None:
    build = one(steps("- uses: docker/build-push-action@v6\n  with:\n    cache-to: ${{ vars.CACHE }}"))

    assert build.unsure("cache_to") is not None


def test_a_scheduled_rebuild_says_why() -> None:
    build = one("on:\n  schedule: [{cron: '0 4 * * 1'}]\n" + steps("- run: docker build --no-cache .")[9:])

    assert "schedule" in build.no_cache_why


def test_bake_with_overrides() -> None:
    found = builds(
        steps("""
        - uses: docker/bake-action@v6
          with:
            targets: web
            set: |
              *.cache-from=type=gha
              web.cache-to=type=gha,mode=max
              *.platform=linux/amd64,linux/arm64
            push: true
        """),
        **{
            "docker-bake.hcl": 'group "default" { targets = ["api", "web"] }\ntarget "api" { context = "api" }\n'
            'target "web" { dockerfile = "docker/web" }\n'
        },
    )

    assert [(build.dockerfile, build.push, build.platforms) for build in found] == [
        ("docker/web", True, ("linux/amd64", "linux/arm64"))
    ]
    assert [(ref.type, ref.line) for ref in (*found[0].cache_from, *found[0].cache_to)] == [("gha", 10), ("gha", 11)]
    assert (found[0].defined_in, found[0].defined_line) == ("docker-bake.hcl", 3)


def test_scripts_and_makefiles_are_followed() -> None:
    found = builds(
        steps("- run: make image TAG=1\n- run: ./build.sh api\n- run: npm run image"),
        Makefile="TAG ?= dev\nimage: deps\n\tdocker build -t x:$(TAG) \\\n\t  api\ndeps:\n\techo\n",
        **{
            "build.sh": '#!/bin/sh\nhere=$(cd "$(dirname "$0")" && pwd)\ndocker build -f "$here/Dockerfile" "$here"\n',
            "package.json": '{"scripts": {"image": "docker build -t y ."}}',
        },
    )

    assert [(build.path, build.line, build.dockerfile, build.tags, build.called_line) for build in found] == [
        ("Makefile", 3, "api/Dockerfile", ("x:1",), 6),
        ("build.sh", 3, "Dockerfile", (), 7),
        ("package.json", 1, "Dockerfile", ("y",), 8),
    ]


def test_a_checkout_elsewhere_moves_the_paths() -> None:
    found = builds(
        steps("""
        - uses: actions/checkout@v4
          with: {path: src}
        - uses: actions/checkout@v4
          with: {repository: acme/other, path: other}
        - run: docker build src/api
        - run: docker build other
        """)
    )

    assert [build.context for build in found] == ["api", None]
    assert "acme/other" in found[1].unsure("context").reason  # type: ignore[union-attr]


def test_disabled_jobs_and_steps_do_not_build() -> None:
    assert builds(steps("- if: false\n  run: docker build .")) == []
    assert builds(steps("- run: docker build .", "if: ${{ false }}\nruns-on: ubuntu-latest\n")) == []


def test_a_broken_workflow_is_skipped_with_its_line() -> None:
    tree = MemoryTree({WORKFLOW: b"jobs:\n  docker: [\n"})

    skipped = build_sites(tree).skipped

    assert [(item.path, item.line > 0) for item in skipped] == [(WORKFLOW, True)]


@pytest.mark.parametrize(
    "workflow",
    [
        "docker",
        "jobs: docker",
        "jobs: {docker: 1}",
        "jobs: {a: {steps: docker}}",
        "jobs: {a: {steps: [docker, {uses: 1}, {run: [docker build]}]}}",
        "jobs: {a: {runs-on: {x: 1}, strategy: docker, steps: [{run: docker build .}]}}",
        "jobs: {a: {uses: ./docker, with: docker}}",
        "jobs: {a: {needs: a, steps: [{uses: docker/build-push-action@v6, with: [1]}]}}",
        "jobs: {a: &a {strategy: {matrix: {x: [&b [*b2]], include: docker}}, steps: []}}".replace("*b2", "1"),
    ],
)
def test_wrong_shapes_are_no_errors(workflow: str) -> None:
    tree = MemoryTree({WORKFLOW: workflow.encode(), "Dockerfile": b"FROM a\n"})

    assert all(build.path == WORKFLOW for build in build_sites(tree).builds)


def test_a_composite_action_that_calls_itself_ends() -> None:
    action = "runs:\n  using: composite\n  steps:\n    - uses: ./.github/actions/docker\n"
    assert builds(steps("- uses: ./.github/actions/docker"), **{".github__actions__docker__action.yml": action}) == []


def test_a_large_repository_is_read_in_a_second_or_two() -> None:
    text = steps("\n".join(f"- uses: actions/step{n}@v1\n- run: |\n    echo {n}\n    make test" for n in range(20)))
    text += "      - uses: docker/build-push-action@v6\n        with:\n          context: api\n"
    tree = MemoryTree(
        {**{f".github/workflows/w{n}.yml": text.encode() for n in range(300)}, "api/Dockerfile": b"FROM a\n"}
    )

    start = time.perf_counter()
    found = build_sites(tree).builds

    assert len(found) == 300
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'a' == 'A'", True),
        ("1 < 2 && 'yes' || 'no'", "yes"),
        ("format('{0}-{{x}}', 'a')", "a-{x}"),
        ("contains(fromJSON('[\"a\",\"b\"]'), 'b')", True),
        ("startsWith('refs/tags/v1', 'refs/tags/')", True),
        ("join(fromJSON('[\"a\",\"b\"]'), '-')", "a-b"),
        ("!true", False),
        ("inputs.missing", ""),
        ('fromJSON(\'{"a": {"b": 2}}\').a.b', 2.0),
    ],
)
def test_expressions(source: str, expected: object) -> None:
    assert evaluate(source, Scope().lookup) == expected


@pytest.mark.parametrize("source", ["(((", "a b", "'open", "x(", "&&", "[", "a.", "!" * 500, "(" * 500 + ")" * 500])
def test_expressions_that_cannot_be_read_are_open(source: str) -> None:
    assert isinstance(evaluate(source, Scope().lookup), Hole)


def test_open_conditions_keep_their_answers() -> None:
    found = evaluate("github.ref == 'x' && 'a' || 'b'", Scope().lookup)

    assert isinstance(found, Hole)
    assert set(found.options) == {"a", "b"}


def test_secrets_stay_marked_through_functions() -> None:
    found = evaluate("format('{0}', secrets.X)", Scope().lookup)

    assert isinstance(found, Hole)
    assert found.secret
