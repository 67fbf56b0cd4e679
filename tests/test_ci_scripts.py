"""Makefiles and scripts that build images."""

from __future__ import annotations

from coach.ci import azure, scripts
from coach.ci.commands import Makefile
from coach.ci.nouns import static
from coach.tree import MemoryTree

FILES = {"Dockerfile": b"FROM a\n", "api/Dockerfile": b"FROM a\n"}


def test_a_makefile_target() -> None:
    text = (
        b"REPO := acme\nIMAGE ?= $(REPO)/app\nTAG := $(shell git rev-parse HEAD)\n\n.PHONY: image\n"
        b"image: build ## build\n\t@docker build --no-cache \\\n\t\t-t $(IMAGE):$(TAG) api\n"
    )

    build = scripts.read(MemoryTree({**FILES, "Makefile": text})).builds[0]

    assert (build.system, build.job, build.line, build.end_line, build.ci) == ("make", "image", 7, 8, False)
    assert (build.dockerfile, build.no_cache_line) == ("api/Dockerfile", 7)
    assert build.tags[0].startswith("acme/app:")


def test_a_script_knows_its_own_folder() -> None:
    text = (
        b"#!/usr/bin/env bash\nset -eu\n"
        b'ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"\ncd "$ROOT"\n'
        b'docker build -f "$ROOT/api/Dockerfile" .\n'
    )

    build = scripts.read(MemoryTree({**FILES, "scripts/image": text, "scripts/image.sh": text})).builds[0]

    assert (build.path, build.line, build.dockerfile, build.context) == ("scripts/image.sh", 5, "api/Dockerfile", "")


def test_package_scripts() -> None:
    build = scripts.read(
        MemoryTree({**FILES, "package.json": b'{\n "scripts": {\n  "image": "docker build api"\n }\n}'})
    ).builds[0]

    assert (build.path, build.line, build.job, build.context) == ("package.json", 3, "image", "api")


def test_vendored_files_do_not_count() -> None:
    assert scripts.read(MemoryTree({**FILES, "vendor/x/Makefile": b"a:\n\tdocker build .\n"})).builds == ()


def test_make_variables_given_on_the_command_line_win() -> None:
    makefile = Makefile("A = x\nB ?= y\nall:\n\techo $(A) $(B) $$HOME\n")

    assert makefile.fill("$(A) $(B) $$C $@", {"B": static("2")}, "all").text == "x 2 $C all"
    assert makefile.fill("$(A)", {"make A": static("1")}, "all").text == "1"


def test_a_makefile_variable_of_itself_ends() -> None:
    assert Makefile("A = $(A)\n").fill("$(A)", {}, "x").text


def test_a_command_kept_in_variables() -> None:
    text = (
        b"BUILDX := docker buildx build $(EXTRA) --pull\nCROSS := $(BUILDX) --platform linux/amd64,linux/arm64\n"
        b"all:\n\t$(CROSS) api\n"
    )

    build = scripts.read(MemoryTree({**FILES, "Makefile": text})).builds[0]

    assert (build.tool, build.context, build.platforms) == ("buildx", "api", ("linux/amd64", "linux/arm64"))
    assert build.unsure("cache_to") is not None


def test_a_recipe_of_an_included_makefile_keeps_its_own_lines() -> None:
    files = {
        "Makefile": b"include ./make/*.mk\n-include ./make/image.mk make/missing.mk\nall: image\n",
        "make/image.mk": b"DOCKER ?= docker\nimage:\n\t$(DOCKER) $(BUILDX) build -t acme/app $(FOLDER)\nFOLDER = api\n",
        "azure-pipelines.yml": b"steps:\n  - script: make all\n",
    }

    build = azure.read(MemoryTree({**FILES, **files})).builds[0]

    assert (build.path, build.line, build.context, build.called_from) == (
        "make/image.mk",
        3,
        "api",
        "azure-pipelines.yml",
    )
