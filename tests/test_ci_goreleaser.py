"""Images that GoReleaser builds."""

from __future__ import annotations

from coach.ci import build_sites
from coach.model import BuildSite
from coach.tree import MemoryTree

WORKFLOW = "on: push\njobs:\n  r:\n    steps:\n      - uses: goreleaser/goreleaser-action@v6\n"


def builds(config: str, **files: str) -> list[BuildSite]:
    named = {"Dockerfile": "FROM scratch\n", ".goreleaser.yml": config, **files}
    found = build_sites(MemoryTree({path: text.encode() for path, text in named.items()}))
    assert found.skipped == ()
    return [build for build in found.builds if build.system == "goreleaser"]


def test_each_image_is_a_build_with_its_flags() -> None:
    found = builds(
        """\
dockers:
  - use: buildx
    dockerfile: docker/Dockerfile
    image_templates: ["ghcr.io/acme/kite:{{ .Version }}-arm64"]
    build_flag_templates:
      - "--platform=linux/arm64"
      - "--build-arg=REV={{ .FullCommit }}"
  - image_templates: ["acme/kite"]
    skip_push: true
""",
        **{"docker/Dockerfile": "FROM scratch\n", ".github/workflows/r.yml": WORKFLOW},
    )

    assert [(build.dockerfile, build.tool, build.platforms, build.push) for build in found] == [
        ("docker/Dockerfile", "buildx", ("linux/arm64",), True),
        ("Dockerfile", "docker", (), False),
    ]
    assert [(arg.name, arg.value, arg.per_commit) for arg in found[0].build_args] == [("REV", None, True)]
    assert (found[0].platforms_line, found[0].buildkit) == (6, True)
    assert found[0].unsure("context")
    assert (found[0].ci, found[0].called_from, found[0].called_line) == (True, ".github/workflows/r.yml", 5)


def test_the_second_form_is_for_both_platforms_and_signed() -> None:
    found = builds(
        "dockers_v2:\n  - images: [acme/kite]\n    build_args:\n      A: b\ndocker_signs:\n  - cmd: cosign\n"
    )

    assert [(build.platforms, build.signed_line, build.ci) for build in found] == [
        (("linux/amd64", "linux/arm64"), 6, False)
    ]
    assert [(arg.name, arg.value, arg.line) for arg in found[0].build_args] == [("A", "b", 4)]


def test_the_first_form_is_not_signed_unless_it_says_so() -> None:
    plain = "dockers:\n  - image_templates: [acme/kite]\ndocker_signs:\n  - cmd: cosign\n"

    assert [build.signed_line for build in builds(plain)] == [0]
    assert [build.signed_line for build in builds(plain + "    artifacts: images\n")] == [4]


def test_odd_configurations_hold_no_builds() -> None:
    assert builds("dockers: 3\n") == []
    assert builds("dockers: [1, [2]]\ndockers_v2: {}\n") == []
    assert builds("dockers:\n") == []
