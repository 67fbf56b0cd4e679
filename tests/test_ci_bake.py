"""Bake files, in HCL and JSON."""

from __future__ import annotations

import time
from contextlib import suppress

import hcl2
import pytest

from coach.ci import bake, hcl
from coach.ci.nouns import Value, static
from coach.errors import InputError
from coach.model import BuildSite
from coach.tree import MemoryTree


def sites(content: str, path: str = "docker-bake.hcl") -> dict[str, BuildSite]:
    tree = MemoryTree({path: content.encode(), "Dockerfile": b"FROM a\n", "api/Dockerfile": b"FROM a\n"})
    found = bake.read(tree)
    assert found.skipped == ()
    return {build.job: build for build in found.builds}


def test_targets_inherit_and_merge() -> None:
    found = sites("""\
variable "TAG" { default = "dev" }
target "_base" {
  args = { A = 1, B = "x" }
  platforms = ["linux/amd64"]
}
target "app" {
  inherits = ["_base"]
  context = "api"
  target = "final"
  args = { B = "y", TAG = TAG }
  tags = ["acme/app:${TAG}"]
  cache-from = ["type=gha"]
  cache-to = [{ type = "registry", ref = "acme/app:cache", mode = "max" }]
  no-cache = true
}
""")

    assert list(found) == ["app"]
    app = found["app"]
    assert (app.dockerfile, app.context, app.target, app.tags) == ("api/Dockerfile", "api", "final", ("acme/app:dev",))
    assert {arg.name: arg.value for arg in app.build_args} == {"A": "1", "B": "y", "TAG": "dev"}
    assert app.platforms == ("linux/amd64",)
    assert [(ref.type, ref.mode, ref.line) for ref in (*app.cache_from, *app.cache_to)] == [
        ("gha", "min", 12),
        ("registry", "max", 13),
    ]
    assert (app.line, app.end_line, app.no_cache_line) == (6, 15, 14)


def test_a_matrix_makes_targets() -> None:
    found = sites("""\
target "app" {
  name = "app-${item.name}"
  matrix = { item = [{ name = "a", dir = "." }, { name = "b", dir = "api" }] }
  context = item.dir
}
""")

    assert {name: build.context for name, build in found.items()} == {"app-a": "", "app-b": "api"}


def test_functions_and_conditions() -> None:
    found = sites("""\
variable "RELEASE" { default = "" }
function "tag" {
  params = [name]
  result = ["acme/${name}:${equal("", RELEASE) ? "edge" : RELEASE}"]
}
target "app" {
  output = ["type=registry"]
  platforms = RELEASE != "" ? ["linux/arm64"] : []
  tags = concat(tag("app"), [for n in ["x", "y"] : upper(n)])
}
""")

    assert found["app"].tags == ("acme/app:edge", "X", "Y")
    assert found["app"].platforms == ()
    assert found["app"].push is True


def test_what_comes_from_outside_stays_open() -> None:
    found = sites("""\
variable "GIT_SHA" {}
variable "NPM_TOKEN" {}
target "app" {
  context = "."
  args = { SHA = GIT_SHA, NPM = NPM_TOKEN, AT = timestamp() }
}
""")

    assert [(arg.name, arg.secret, arg.per_commit) for arg in found["app"].build_args] == [
        ("SHA", False, True),
        ("NPM", True, False),
        ("AT", False, True),
    ]


def test_environment_overrides_variables() -> None:
    tree = MemoryTree({"docker-bake.hcl": b'variable "F" { default = "Dockerfile" }\ntarget "a" { dockerfile = F }\n'})
    env: dict[str, Value] = {"F": static("other")}
    project = bake.Project(tree, ("docker-bake.hcl",), env)

    assert project.pick(["a"])[0].values["dockerfile"] == "other"


def test_groups_of_groups() -> None:
    tree = MemoryTree(
        {
            "b.hcl": b'group "default" { targets = ["all"] }\ngroup "all" { targets = ["a", "b", "default"] }\n'
            b'target "a" {}\ntarget "b" {}\ntarget "c" {}\n'
        }
    )

    assert [target.name for target in bake.Project(tree, ("b.hcl",), {}).pick([])] == ["a", "b"]


def test_json() -> None:
    found = sites('{"target": {"app": {"context": "api", "args": {"A": "1"}}}}', "docker-bake.json")

    assert (found["app"].dockerfile, found["app"].build_args[0].value) == ("api/Dockerfile", "1")


def test_inherits_in_a_circle_ends() -> None:
    assert set(
        sites('target "a" {\n inherits = ["b"]\n context = "."\n}\ntarget "b" {\n inherits = ["a"]\n context = "."\n}')
    ) == {
        "a",
        "b",
    }


def test_a_variable_of_itself_ends() -> None:
    assert sites('variable "A" { default = A }\ntarget "a" {\n  context = A\n}')["a"].context is None


@pytest.mark.parametrize(
    "content",
    ['target "a" {', "target a b c", 'x = "${"', "= 1", "x = <<EOF\n", 'x = "\\', "}", "x = [1, 2", "\xff", "x = 1 2"],
)
def test_what_is_no_hcl_raises_the_line(content: str) -> None:
    with pytest.raises(InputError):
        hcl.parse(content.encode("latin-1"), "b.hcl")


@pytest.mark.parametrize(
    "content",
    ["x = " + "(" * 5000, "x = " + "[" * 5000, "x { " * 5000, 'x = "' + '${"' * 5000, "x = " + "!" * 50_000 + "1"],
)
def test_depth_is_bounded(content: str) -> None:
    start = time.perf_counter()
    with suppress(InputError):
        hcl.parse(content.encode(), "b.hcl")

    assert time.perf_counter() - start < 5


def test_a_broken_file_is_skipped() -> None:
    skipped = bake.read(MemoryTree({"docker-bake.hcl": b'target "a" {\n  x = \n}\n'})).skipped

    assert [(item.path, item.line) for item in skipped] == [("docker-bake.hcl", 2)]


def test_structure_agrees_with_python_hcl2() -> None:
    content = """\
# comment
variable "A" { default = "x" } // another
/* and
   a third */
group "default" { targets = ["app", "web"] }
target "app" {
  args = {
    one = 1
    "two" = "t",
    three : true
  }
  tags = [
    "a:${A}",
    "b",
  ]
  labels = { "x.y" = <<EOT
text
EOT
  }
}
target "web" { inherits = ["app"] }
"""
    ours = hcl.parse(content.encode(), "b.hcl")
    theirs = hcl2.loads(content)

    assert [block.labels[0] for block in ours.blocks if block.type == "target"] == [
        name.strip('"') for block in theirs["target"] for name in block
    ]
    app = next(block for block in ours.blocks if block.labels == ("app",))
    assert set(app.attributes) == {key for key in theirs["target"][0]['"app"'] if not key.startswith("__")}
