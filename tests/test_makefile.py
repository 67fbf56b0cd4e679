"""Makefiles are followed from a target to the lines it runs."""

from __future__ import annotations

import time

import pytest

from coach.makefile import UNKNOWN, parse

TEXT = """\
# comment
BIN ?= app
FLAGS := -v
FLAGS += -x
GO = go
export CGO_ENABLED = 0

.PHONY: all
all: $(BIN)

$(BIN): deps ; echo start
\t@$(GO) build $(FLAGS) \\
\t    -o $@ .
\t-echo $$HOME ${BIN}

deps: go.sum
\t+go mod download

%.o: %.c
\tcc $(shell pkg-config x) -c $<
"""


def test_a_target_runs_what_it_needs_first() -> None:
    recipes = parse(TEXT).recipes(["app"], {})

    assert recipes is not None
    assert [(recipe.line, recipe.text) for recipe in recipes] == [
        (17, "go mod download"),
        (11, "echo start"),
        (12, "go build -v -x \\\n    -o app ."),
        (14, "echo $HOME app"),
    ]


def test_the_first_target_is_the_default_and_given_variables_win() -> None:
    recipes = parse(TEXT).recipes([], {"GO": "go1.22", "FLAGS": None})

    assert recipes is not None
    assert recipes[2].text.startswith(f"go1.22 build {UNKNOWN}")


def test_a_pattern_rule_and_what_make_computes() -> None:
    recipes = parse(TEXT).recipes(["x.o"], {})

    assert recipes is not None
    assert recipes[0].text == f"cc {UNKNOWN} -c {UNKNOWN}"


def test_a_target_without_a_rule_is_not_followed() -> None:
    assert parse(TEXT).recipes(["nothing"], {}) is None
    assert parse("").recipes([], {}) is None


@pytest.mark.parametrize(
    "text", ["A = $(A)\nx:\n\techo $(A)\n", "A = $(B)\nB = $(A)\nx:\n\techo $(A)\n", "x: x\n\techo $(A\n"]
)
def test_circles_end(text: str) -> None:
    assert parse(text).recipes(["x"], {}) is not None


@pytest.mark.parametrize("piece", ["a:\n", "a: b\n", "\tx\n", "A += x\n", "A = $(A)$(A)\n", "$(", "a%: b\n", "x \\\n"])
def test_hostile_text_is_answered_soon(piece: str) -> None:
    began = time.perf_counter()

    parse("x: a\n" + piece * (200_000 // len(piece))).recipes(["x"], {})

    assert time.perf_counter() - began < 5
