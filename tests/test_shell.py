"""What ``coach.shell`` makes of shell text: commands, their place, their characters."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach.shell import Command, parse, parse_argv, without


def words(source: str, **env: str | None) -> list[tuple[str | None, ...]]:
    return [command.words for command in parse(source, env, "/app").commands]


def named(source: str, name: str, **env: str | None) -> Command:
    return next(command for command in parse(source, env, "/app").commands if command.name == name)


def test_a_list_is_split_into_items_with_their_joiners() -> None:
    source = "set -eux; a && b || c\nd & e"

    items = parse(source).items

    assert [(source[item.start : item.end], item.joiner) for item in items] == [
        ("set -eux", ""),
        ("a", ";"),
        ("b", "&&"),
        ("c", "||"),
        ("d", "\n"),
        ("e", "&"),
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("npm ci --x='a b'", ("npm", "ci", "--x=a b")),
        ('npm ci "--x=$V"', ("npm", "ci", "--x=one two")),
        ("npm ci $V", ("npm", "ci", "one", "two")),
        ("npm ci $EMPTY", ("npm", "ci")),
        ("npm ci ${NOT_THERE:-dev}", ("npm", "ci", "dev")),
        ("npm ci ${V:+--with}", ("npm", "ci", "--with")),
        ('npm ci "a\\"b" c\\ d', ("npm", "ci", 'a"b', "c d")),
        ("rm -rf ~/.npm $HOME/.cache", ("rm", "-rf", "~/.npm", "~/.cache")),
        ("npm ci $NOT_THERE", ("npm", "ci", None)),
        ('npm ci "$(cat x)"', ("npm", "ci", None)),
    ],
)
def test_words_are_evaluated_as_far_as_they_are_static(source: str, expected: tuple[str | None, ...]) -> None:
    assert words(source, V="one two", EMPTY="")[-1] == expected


def test_home_is_used_where_it_is_known() -> None:
    assert words("rm -rf ~/.npm ${HOME}/x", HOME="/home/node") == [("rm", "-rf", "/home/node/.npm", "/home/node/x")]


@pytest.mark.parametrize(
    "source",
    [
        "env A=1 B=2 npm ci",
        "sudo -E -u node npm ci",
        "exec npm ci",
        "time -p npm ci",
        "nice -n 10 npm ci",
        "timeout -k 5 60 npm ci",
        "command npm ci",
        "gosu node:node npm ci",
        "/usr/bin/env npm ci",
        "bash -ec 'npm ci'",
        'sh -c "npm ci"',
        "su - node -c 'npm ci'",
        "eval 'npm ci'",
        "bash <<EOF\nnpm ci\nEOF",
        "${SLOW:+env SLOW=1} npm ci",
    ],
)
def test_wrappers_are_peeled(source: str) -> None:
    assert words(source) == [("npm", "ci")]


def test_a_wrapper_says_who_runs_the_command() -> None:
    assert named("su - app -c 'npm ci'", "npm").user == "app"
    assert named("sudo npm ci", "npm").user == "root"
    assert named("npm ci", "npm").user is None


def test_the_directory_is_followed_and_forgotten_where_it_belongs() -> None:
    source = "cd web && a; (cd sub && b); c; cd /srv; d; cd $X; e; if f; then cd y; fi; g"

    found = {command.name: command.cwd for command in parse(source, {}, "/app").commands}

    assert (found["a"], found["b"], found["c"], found["d"]) == ("/app/web", "/app/web/sub", "/app/web", "/srv")
    assert found["e"] is None
    assert found["g"] is None


def test_only_exported_variables_reach_a_command() -> None:
    source = "A=1; export B=2; C=3 x; export A; y; unset B; z"

    env = {command.name: command.env for command in parse(source).commands}

    assert env["x"] == {"B": "2", "C": "3"}
    assert env["y"] == {"A": "1", "B": "2"}
    assert env["z"] == {"A": "1"}


def test_what_a_branch_changes_is_unknown_after_it() -> None:
    commands = parse("export A=1; if t; then export A=2; else cd /x; fi; x", {}, "/app").commands

    assert commands[-1].env["A"] is None
    assert commands[-1].cwd is None


@pytest.mark.parametrize(
    ("source", "guarded"),
    [
        ("a && x", False),
        ("a || x", True),
        ("a || b && x", False),
        ("test -f f && x", True),
        ("[ -f f ] && b && x", True),
        ("[[ -f f ]] || exit 1; x", False),
        ("if a; then x; fi", True),
        ("if x; then a; fi", False),
        ("for i in 1 2; do x; done", True),
        ("case $y in a) x;; esac", True),
        ("f() { x; }", True),
        ("( x )", False),
        ("{ x; }", False),
        ("a | x", False),
        ("y=$(x)", False),
    ],
)
def test_a_command_that_may_not_run_is_guarded(source: str, guarded: bool) -> None:
    assert named(source, "x").guarded is guarded


@pytest.mark.parametrize(
    ("source", "rest"),
    [
        ("a && x && b", "a && b"),
        ("a && x", "a"),
        ("x && a", "a"),
        ("a; x; b", "a; b"),
        ("a\nx\nb", "a\nb"),
        ("a && x || true && b", "a && b"),
        ("if c; then a; x; fi", "if c; then a; fi"),
        ("(a && x) | tee log", "(a) | tee log"),
        ("bash -c 'a && x'; b", "bash -c 'a'; b"),
        ("a \\\n  && x >/dev/null 2>&1 \\\n  && b", "a \\\n  && b"),
        ("é && x && b", "é && b"),
    ],
)
def test_cutting_a_command_leaves_a_valid_script(source: str, rest: str) -> None:
    cut = named(source, "x").cut

    assert cut is not None
    assert without(source, [cut]) == rest
    assert not parse(rest).broken


@pytest.mark.parametrize(
    "source", ["x", "a || x", "if c; then x; fi", "a | x", "x & a", "y=$(x)", "case a in b) x;; esac"]
)
def test_a_command_that_holds_its_place_has_no_cut(source: str) -> None:
    assert named(source, "x").cut is None


@pytest.mark.parametrize("lead", ["", "é", "日本 ", "\U0001f433", "# ü\n"])
def test_offsets_are_characters_of_the_source(lead: str) -> None:
    source = f"{lead and lead + ' ; '}npm ci --x='ü'" if "\n" not in lead else f"{lead}npm ci --x='ü'"

    command = named(source, "npm")

    assert source[command.start : command.end] == "npm ci --x='ü'"
    assert [source[word.start : word.end] for word in command.argv] == ["npm", "ci", "--x='ü'"]


def test_a_nested_script_keeps_its_offsets_when_it_stands_there_unchanged() -> None:
    source = "bash -c 'a && npm ci'"

    command = named(source, "npm")

    assert command.exact
    assert source[command.start : command.end] == "npm ci"
    assert not named('bash -c "a && npm ci $V"', "npm", V="x").exact


def test_a_heredoc_is_no_command_but_what_follows_its_head_is() -> None:
    source = "cat <<EOF >/f && npm ci\npip install x\nEOF\ngo build"

    assert [command.name for command in parse(source).commands] == ["cat", "npm", "go"]


def test_redirects_name_their_targets() -> None:
    (command,) = parse("echo x >> /etc/f").commands

    assert [(redirect.operator, redirect.target.text) for redirect in command.redirects] == [(">>", "/etc/f")]


def test_exec_form() -> None:
    script = parse_argv(["sh", "-c", "cd web && npm ci"], {}, "/app")

    assert [(command.words, command.cwd) for command in script.commands][-1] == (("npm", "ci"), "/app/web")
    assert not any(command.exact for command in script.commands)
    assert parse_argv(["npm", "ci"]).commands[0].words == ("npm", "ci")
    assert parse_argv([]).commands == ()


def test_a_syntax_error_is_said() -> None:
    assert parse("if a; then").broken
    assert parse("a\0b").broken
    assert not parse("a").broken


@pytest.mark.parametrize(
    "piece",
    [
        "(",
        "$(",
        "a && ",
        '"',
        "a;",
        "if a; then ",
        "`",
        "${",
        "<<EOF ",
        "a|",
        "((",
        "[[ ",
        "x\n",
        "<<A\n",
        "cd x;",
        "é ",
        "|",
    ],
)
@pytest.mark.parametrize("size", [30_000, 5_000_000])
def test_hostile_text_is_answered_soon(piece: str, size: int) -> None:
    source = (piece * (size // len(piece) + 1))[:size]
    began = time.perf_counter()

    script = parse(source)

    assert time.perf_counter() - began < 5
    assert script.source == source


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="ab &|;(){}'\"$`\\<>#=\n\t~*é-/[]!", max_size=80))
def test_any_text_is_read_without_an_error_and_within_its_bounds(source: str) -> None:
    for command in parse(source, {"A": "1"}, "/").commands:
        assert 0 <= command.start <= command.end <= len(source)
        for word in command.argv:
            assert 0 <= word.start <= word.end <= len(source)
        if command.cut is not None:
            assert 0 <= command.cut[0] < command.cut[1] <= len(source)


@pytest.mark.parametrize(
    ("env", "text"), [({}, None), ({"A": "r"}, None), ({"A": "r", "B": "main"}, "ref=r/x:main,mode=max")]
)
def test_a_word_that_the_grammar_tears_apart_is_one(env: dict[str, str], text: str | None) -> None:
    words = parse("build ref=$A/x:$B,mode=max .", {"A": None, "B": None, **env}).commands[0].argv

    assert [(word.raw, word.text) for word in words[1:]] == [("ref=$A/x:$B,mode=max", text), (".", ".")]
