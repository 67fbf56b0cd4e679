"""The stage graph and the state of each instruction."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from coach.dockerfile import BaseConfig, Dockerfile, Graph, Instruction, Stage, State, mounts, parse
from coach.errors import InputError


def graph(text: str, target: str | None = None, **build_args: str | None) -> Graph:
    return Graph(parse(text.encode()), target, build_args)


def at_end(text: str, **build_args: str | None) -> State:
    made = graph(text, **build_args)
    return made.state_at_end(made.final)


def names(stages: tuple[Stage, ...]) -> list[str]:
    return [stage.name or str(stage.index) for stage in stages]


def at_line(made: Graph, line: int) -> State:
    return made.state(next(each for each in made.dockerfile.instructions if each.line == line))


class TestBases:
    def test_default_of_an_argument(self) -> None:
        made = graph("ARG V=20\nFROM node:${V}-alpine\n")
        assert made.image(made.final) == "node:20-alpine"
        assert made.root_image(made.final) == "node:20-alpine"

    def test_build_argument_wins(self) -> None:
        made = graph("ARG V=20\nFROM node:$V\n", V="22")
        assert made.image(made.final) == "node:22"

    def test_an_argument_made_of_another(self) -> None:
        made = graph("ARG V=20\nARG BASE=node:${V}\nFROM ${BASE}-slim\n")
        assert made.image(made.final) == "node:20-slim"

    def test_a_later_argument_of_one_line_sees_the_earlier(self) -> None:
        made = graph("ARG V=1 W=$V.2\nFROM a:$W\n")
        assert made.image(made.final) == "a:1.2"

    @pytest.mark.parametrize("text", ["ARG V\nFROM a:$V\n", "FROM a:$V\n", "FROM $V\n", "ARG V=\nFROM $V\n"])
    def test_what_no_default_fills_is_not_resolved(self, text: str) -> None:
        made = graph(text)
        assert made.image(made.final) is None
        assert made.parent(made.final) is None

    def test_an_alternative_in_the_word(self) -> None:
        for text in ("ARG V\nFROM a:${V:-3}\n", "FROM a:${V:-3}\n", "ARG V=\nFROM a:${V:-3}\n"):
            made = graph(text)
            assert made.image(made.final) == "a:3"

    def test_a_value_that_is_passed_but_not_known(self) -> None:
        made = graph("ARG V=1\nFROM a:${V:-3}\n", V=None)
        assert made.image(made.final) is None

    def test_scratch(self) -> None:
        made = graph("FROM scratch\n")
        assert made.image(made.final) == "scratch"

    def test_an_argument_of_a_stage_does_not_reach_from(self) -> None:
        made = graph("FROM a\nARG V=1\nFROM b:$V\n")
        assert made.image(made.final) is None

    def test_stage_as_base_by_plain_name_and_by_variable(self) -> None:
        made = graph("ARG B=one\nFROM a AS one\nFROM $B AS two\nFROM two\n")
        assert names(made.chain(made.final)) == ["one", "two", "2"]
        assert made.image(made.final) is None
        assert made.root_image(made.final) == "a"

    def test_a_name_counts_from_its_definition_on(self) -> None:
        made = graph("FROM b AS a\nFROM a AS b\n")
        assert made.image(made.dockerfile.stages[0]) == "b"
        assert names(made.chain(made.final)) == ["a", "b"]

    def test_an_image_may_share_the_name_of_its_stage(self) -> None:
        made = graph("FROM alpine AS alpine\nRUN a\n")
        assert made.image(made.final) == "alpine"

    def test_stage_names_ignore_case_only_where_builds_do(self) -> None:
        made = graph("FROM a AS Base\nFROM Base AS x\nCOPY --from=BASE a b\n")
        assert made.image(made.final) == "Base"
        assert names(made.needs(made.final)) == ["base"]

    def test_an_unknown_variable_may_pick_among_stages(self) -> None:
        made = graph(
            "FROM a AS build-amd64\nFROM b AS build-arm64\nFROM c AS other\nARG TARGETARCH\nFROM build-${TARGETARCH}\n"
        )
        assert made.parent(made.final) is None
        assert made.image(made.final) is None
        assert names(made.candidates(made.final)) == ["build-amd64", "build-arm64"]
        assert names(made.reachable) == ["build-amd64", "build-arm64", "3"]
        known = Graph(made.dockerfile, build_args={"TARGETARCH": "arm64"})
        assert names(known.chain(known.final)) == ["build-arm64", "3"]
        assert names(known.reachable) == ["build-arm64", "3"]

    def test_an_argument_nobody_passed_may_pick_too(self) -> None:
        stages = "FROM a AS x-linux\nFROM b AS x-linux-debug\nFROM c AS y\n"
        made = graph(f"ARG DEBUG\n{stages}FROM x-$TARGETOS${{DEBUG:+-debug}}\n")
        assert names(made.candidates(made.final)) == ["x-linux", "x-linux-debug"]
        made = graph(f"ARG KIND\n{stages}FROM x-$KIND\n")
        assert names(made.reachable) == ["x-linux", "x-linux-debug", "3"]
        assert graph(f"{stages}FROM x-$UNDECLARED\n").candidates(made.final) == ()

    def test_platform(self) -> None:
        made = graph("ARG P=linux/arm64\nFROM --platform=$P a\nFROM --platform=$BUILDPLATFORM b\nFROM c\n")
        assert [made.platform(stage) for stage in made.dockerfile.stages] == ["linux/arm64", "$BUILDPLATFORM", None]


class TestReach:
    TEXT = (
        "FROM a AS base\nFROM base AS deps\nFROM base AS lint\nRUN x\nFROM b AS tool\nFROM base AS app\n"
        "COPY --from=deps /a /a\nRUN --mount=from=tool,target=/t x\n"
    )

    def test_only_what_the_target_needs(self) -> None:
        made = graph(self.TEXT)
        assert names(made.reachable) == ["base", "deps", "tool", "app"]
        assert not made.is_reachable(made.dockerfile.stages[2])
        assert names(graph(self.TEXT, "lint").reachable) == ["base", "lint"]

    def test_the_target_decides_which_stage_is_final(self) -> None:
        assert graph(self.TEXT).final.name == "app"
        assert graph(self.TEXT, "DEPS").final.name == "deps"

    def test_an_unknown_target(self) -> None:
        with pytest.raises(InputError) as caught:
            graph(self.TEXT, "nope")
        assert caught.value.line == 6

    def test_sources(self) -> None:
        made = graph(
            "FROM a AS one\nFROM b\nCOPY --from=0 a b\nCOPY --from=ONE a b\nCOPY --from=busybox:1 a b\n"
            "COPY --from=$X a b\nCOPY a b\n"
            "RUN --mount=from=one,target=/a --mount=from=0,target=/b --mount=target=/c x\n"
        )
        body = made.final.body
        one = made.dockerfile.stages[0]
        assert [made.source(each, made.final) for each in body[:5]] == [one, one, "busybox:1", None, None]
        assert [made.source(each, made.final) for each in mounts(body[5])] == [one, "0", None]
        assert made.source("one", made.final) == one

    def test_the_last_stage_of_a_name_is_copied_from(self) -> None:
        made = graph("FROM a AS x\nFROM b AS x\nFROM c\nCOPY --from=x a b\n")
        assert made.needs(made.final) == (made.dockerfile.stages[1],)

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("FROM a AS x\nCOPY --from=x a b\n", 2),
            ("FROM a AS x\nCOPY --from=y a b\nFROM b AS y\nCOPY --from=x a b\nFROM c\n", 4),
            ("FROM a AS x\nRUN --mount=from=y,target=/y z\nFROM b AS y\nRUN --mount=from=x,target=/x z\n", 4),
            ("FROM a AS x\nCOPY --from=y a b\nFROM b AS y\nFROM x\n", 2),
            ("FROM a AS x\nCOPY --from=y a b\nFROM x AS y\n", 2),
            ("FROM a\nCOPY --from=3 a b\n", 2),
            ("FROM a\nCOPY --from=-1 a b\n", 2),
        ],
        ids=["itself", "circle", "mounts", "later", "later-child", "number", "negative"],
    )
    def test_impossible_graphs(self, text: str, line: int) -> None:
        with pytest.raises(InputError) as caught:
            graph(text)
        assert caught.value.line == line

    def test_a_forward_reference_outside_the_build_does_not_matter(self) -> None:
        assert names(graph("FROM a AS x\nCOPY --from=y a b\nFROM b AS y\nFROM c AS z\n").reachable) == ["z"]

    def test_a_chain_of_many_stages(self) -> None:
        text = "FROM a AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\nCOPY --from=s{n} a b\n" for n in range(900))
        made = graph(text)
        assert len(made.reachable) == len(made.chain(made.final)) == 901
        assert made.root_image(made.final) == "a"


class TestState:
    def test_env_expands_with_the_values_before_it(self) -> None:
        state = at_end("FROM scratch\nENV A=old\nENV A=new B=$A\nENV C=$A$B\n")
        assert {name: state.env[name] for name in "ABC"} == {"A": "new", "B": "old", "C": "newold"}

    def test_arguments_of_one_line_see_each_other(self) -> None:
        assert at_end("FROM scratch\nARG A=1 B=${A}2\n").args["B"] == "12"

    def test_an_argument_before_from_needs_declaring_again(self) -> None:
        made = graph("ARG V=1\nFROM scratch\nENV A=$V\nARG V\nENV B=$V\nARG V=2\nENV C=$V\n")
        env = made.state_at_end(made.final).env
        assert [env[name] for name in "ABC"] == ["", "1", "2"]

    def test_a_build_argument_wins_over_both_defaults(self) -> None:
        assert at_end("ARG V=1\nFROM scratch\nARG V=2\nENV A=$V\n", V="3").env["A"] == "3"

    def test_a_build_argument_counts_only_where_declared(self) -> None:
        assert at_end("FROM scratch\nENV A=x$V\n", V="3").env["A"] == "x"

    def test_an_argument_nobody_filled(self) -> None:
        state = at_end("FROM scratch\nARG V\nENV A=$V B=${V:-d}\nWORKDIR /x/$V\nUSER ${V:-7}\n")
        assert (state.env["A"], state.env["B"], state.workdir, state.user) == (None, "d", None, "7")
        assert state.names()["V"] is None
        assert "V" not in state.args

    def test_the_later_of_argument_and_env_is_what_commands_see(self) -> None:
        made = graph("FROM scratch AS one\nENV A=/env\nARG A=/arg\nWORKDIR $A\nFROM one\nWORKDIR $A\n")
        one, two = made.dockerfile.stages
        assert made.state_at_end(one).workdir == "/arg"
        assert made.state_at_end(one).env["A"] == "/env"
        # a child stage starts from the image, in which only ENV is left
        assert made.state_at_end(two).workdir == "/env"
        assert at_end("FROM scratch\nARG A=/arg\nENV A=/env\nWORKDIR $A\n").workdir == "/env"

    def test_arguments_reach_child_stages(self) -> None:
        assert at_end("FROM scratch AS one\nARG Q=1\nFROM one\nENV A=$Q\n").env["A"] == "1"
        assert at_end("FROM scratch AS one\nARG Q=1\nFROM scratch\nENV A=$Q\n").env["A"] == ""

    def test_platform_arguments_have_a_value_that_is_not_known(self) -> None:
        text = "FROM scratch\nENV A=x$TARGETARCH\nARG TARGETARCH\nENV B=x$TARGETARCH C=${TARGETARCH:-y}\n"
        env = at_end(text).env
        assert (env["A"], env["B"], env["C"]) == ("x", None, None)
        assert at_end(text, TARGETARCH="arm64").env["B"] == "xarm64"

    def test_a_default_hides_the_platform(self) -> None:
        assert at_end("FROM scratch\nARG TARGETARCH=amd64\n").args["TARGETARCH"] == "amd64"
        assert at_end("ARG TARGETARCH=amd64\nFROM scratch\nARG TARGETARCH\n").args["TARGETARCH"] == "amd64"
        assert at_end("ARG TARGETARCH\nFROM scratch\nARG TARGETARCH\n").args["TARGETARCH"] is None

    def test_target_stage(self) -> None:
        text = "FROM scratch AS one\nARG TARGETSTAGE\nFROM one\n"
        assert graph(text).state_at_end(graph(text).final).args["TARGETSTAGE"] == "default"
        made = graph(text, "one")
        assert made.state_at_end(made.final).args["TARGETSTAGE"] == "one"

    @pytest.mark.parametrize(
        ("steps", "workdir"),
        [
            ("", "/"),
            ("WORKDIR a\n", "/a"),
            ("WORKDIR /a/\nWORKDIR b/../c/.\n", "/a/c"),
            ("WORKDIR /a\nWORKDIR //b//c\n", "/b/c"),
            ("WORKDIR /a\nWORKDIR ../../..\n", "/"),
            ('WORKDIR "/a b"\n', "/a b"),
            ("WORKDIR /a\\ b\n", "/a b"),
            ('WORKDIR /a\nWORKDIR ""\n', "/a"),
            ("ENV D=/d\nWORKDIR ${D}/x\nWORKDIR y\n", "/d/x/y"),
            ("WORKDIR /a\nWORKDIR C:\\\\x\n", "C:\\x"),
        ],
    )
    def test_workdir(self, steps: str, workdir: str) -> None:
        assert at_end("FROM scratch\n" + steps).workdir == workdir

    def test_user(self) -> None:
        assert at_end("FROM scratch\n").user == "root"
        assert at_end("FROM scratch\nUSER app:grp\n").user == "app:grp"
        assert at_end('FROM scratch\nUSER app\nUSER ""\n').user == "root"
        assert at_end("FROM scratch\nARG UID=0\nUSER $UID\n").user == "0"

    def test_shell_reaches_child_stages(self) -> None:
        text = 'FROM scratch AS a\nSHELL ["/bin/bash", "-ec"]\nFROM a\nRUN x\n'
        assert at_end(text).shell == ("/bin/bash", "-ec")
        assert at_end("FROM scratch\n").shell == ("/bin/sh", "-c")

    def test_the_state_is_the_one_before_the_instruction(self) -> None:
        made = graph("FROM scratch\nENV A=1\nRUN x\nENV A=2\nUSER u\nWORKDIR /w\n")
        assert at_line(made, 2).env.get("A") is None
        assert at_line(made, 3).env["A"] == "1"
        assert at_line(made, 5).env["A"] == "2"
        assert (at_line(made, 5).user, at_line(made, 6).user) == ("root", "u")
        assert at_line(made, 6).workdir == "/"

    def test_before_the_first_stage(self) -> None:
        made = graph("ARG A=1\nARG B=$A\nFROM scratch\nARG B=7\nFROM x:$B\n")
        assert "A" not in at_line(made, 1).args
        assert at_line(made, 2).args["A"] == "1"
        assert at_line(made, 5).expand("$B").text == "1"

    def test_an_undescribed_image_leaves_things_open(self) -> None:
        made = graph("FROM debian\nRUN x\nENV A=$HOME_OF_APP B=1\nWORKDIR $APP\n")
        first, last = at_line(made, 2), made.state_at_end(made.final)
        assert (first.workdir, first.user) == (None, None)
        assert (last.env["A"], last.env["B"], last.workdir) == (None, "1", None)
        assert at_end("FROM debian\nWORKDIR x\n").workdir is None
        assert at_end("FROM debian\nWORKDIR /x\nWORKDIR y\n").workdir == "/x/y"

    def test_a_described_image(self) -> None:
        described: Mapping[str, BaseConfig] = {
            "node:20": BaseConfig({"NODE_VERSION": "20.1"}, "/srv", "node", complete=True),
            "part:1": BaseConfig({"A": "1"}, "", ""),
        }
        made = Graph(
            parse(b"FROM node:20 AS n\nWORKDIR app\nENV A=$NODE_VERSION$X\nFROM part:1\nENV B=$A C=$X\n"),
            base_config=described.get,
        )
        one, two = (made.state_at_end(stage) for stage in made.dockerfile.stages)
        assert (one.workdir, one.user, one.env["A"]) == ("/srv/app", "node", "20.1")
        assert (two.workdir, two.user, two.env["B"], two.env["C"]) == ("/", "root", "1", None)

    def test_onbuild_of_a_parent_runs_first(self) -> None:
        made = graph(
            "FROM scratch AS base\nONBUILD ARG X=1\nONBUILD WORKDIR /trig\nRUN a\n"
            "FROM base AS mid\nWORKDIR rel-$X\nFROM mid\nWORKDIR r2\n"
        )
        base, mid, last = made.dockerfile.stages
        assert [made.state_at_end(stage).workdir for stage in (base, mid, last)] == [
            "/",
            "/trig/rel-1",
            "/trig/rel-1/r2",
        ]
        assert [each.name for each in made.inherited(mid)] == ["ARG", "WORKDIR"]
        assert made.inherited(last) == ()
        assert made.state(made.inherited(mid)[1], mid).args["X"] == "1"

    def test_onbuild_copies_are_needed_by_the_child_only(self) -> None:
        made = graph("FROM a AS tool\nFROM b AS base\nONBUILD COPY --from=tool a b\nFROM base\nFROM base AS x\n")
        assert names(made.needs(made.final)) == ["tool", "base"]
        assert names(graph("FROM a AS tool\nFROM b AS base\nONBUILD COPY --from=tool a b\n").reachable) == ["base"]

    def test_a_name_out_of_a_variable(self) -> None:
        assert at_end("FROM scratch\nENV K=NAME\nENV $K=v\n").env["NAME"] == "v"

    def test_the_escape_of_the_file_is_used(self) -> None:
        made = graph("# escape=`\nFROM scratch\nENV A=1\nENV B=`$A C=\\$A\n")
        env = made.state_at_end(made.final).env
        assert (env["B"], env["C"]) == ("$A", "\\1")

    def test_views_behave_as_mappings(self) -> None:
        state = at_end("FROM scratch AS a\nENV B=1\nFROM a\nENV A=2 B=3\n")
        assert {name: value for name, value in state.env.items() if name != "PATH"} == {"A": "2", "B": "3"}
        assert len(state.env) == 3
        assert list(state.names()) == sorted(state.names())


def test_states_of_a_huge_file_are_quick() -> None:
    text = "FROM a AS s0\n" + "".join(f"ENV A{n}=$A{n - 1}x\nRUN true\n" for n in range(700))
    made = Graph(parse(text.encode()))
    began = time.process_time()
    for instruction in made.dockerfile.instructions:
        made.state(instruction).names().get("A1")
    assert time.process_time() - began < 3


def test_every_instruction_of_a_graph_has_a_state() -> None:
    made: Dockerfile = parse(b"ARG A\nFROM a AS x\nONBUILD RUN y\nRUN z\nFROM x\nARG A\nCMD q\n")
    walked: list[Instruction] = list(made.instructions)
    built = Graph(made)
    assert [isinstance(built.state(each), State) for each in walked] == [True] * 7
