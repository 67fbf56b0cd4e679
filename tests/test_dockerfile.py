"""Instructions, spans, heredocs, flags, forms and refusals of the parser."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach import dockerfile
from coach.dockerfile import Dockerfile, Instruction, mounts, parse
from coach.errors import InputError
from coach.model import Span

CORPUS = Path(__file__).parent / "dockerfiles"
FILES = sorted(CORPUS.glob("*.Dockerfile"))
REFUSED = {
    "arg-blank-name": 2,
    "arg-nothing": 2,
    "copy-nothing": 2,
    "copy-one-word": 2,
    "empty": 1,
    "env-alone": 2,
    "env-blank-name": 2,
    "env-no-equals": 2,
    "env-nothing": 2,
    "escape-odd": 1,
    "escape-twice": 2,
    "expose-nothing": 2,
    "from-four-words": 1,
    "from-nothing": 1,
    "from-two-words": 1,
    "healthcheck-kind": 2,
    "healthcheck-no-command": 2,
    "healthcheck-none-more": 2,
    "healthcheck-nothing": 2,
    "heredoc-destination": 2,
    "heredoc-open": 2,
    "heredoc-second-open": 2,
    "json-numbers": 2,
    "lone-continuation": 2,
    "name-glued-by-nbsp": 2,
    "no-from": 2,
    "onbuild-from": 2,
    "onbuild-nothing": 2,
    "onbuild-onbuild": 2,
    "only-comments": 1,
    "only-directive": 1,
    "run-before-from": 2,
    "shell-not-json": 2,
    "stage-name": 1,
    "unknown-after-comment": 6,
    "unknown-instruction": 3,
    "user-nothing": 2,
    "volume-empty": 2,
    "workdir-nothing": 2,
}


def load(name: str) -> Dockerfile:
    path = CORPUS / f"{name}.Dockerfile"
    return parse(path.read_bytes(), path.name)


def lines(made: Dockerfile) -> list[tuple[str, int, int]]:
    return [(each.name, each.line, each.end_line) for each in made.instructions]


def one(text: bytes) -> Instruction:
    """The instruction that follows ``FROM a`` in a file."""
    return parse(b"FROM a\n" + text).instructions[1]


def raw(made: Dockerfile, span: Span) -> bytes:
    return made.content[span.start : span.end]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blank-lines", [("FROM", 4, 4), ("RUN", 8, 8)]),
        ("blank-in-continuation", [("FROM", 1, 1), ("RUN", 2, 7), ("USER", 8, 8)]),
        ("comment-in-continuation", [("FROM", 1, 1), ("RUN", 2, 8), ("USER", 9, 9)]),
        ("comment-ends-continuation", [("FROM", 1, 1), ("RUN", 2, 3)]),
        ("continuation-at-end", [("FROM", 1, 1), ("RUN", 2, 2)]),
        ("continuation-at-eof", [("FROM", 1, 1), ("RUN", 2, 2)]),
        ("continuation-first-line", [("FROM", 1, 1), ("RUN", 2, 3), ("RUN", 4, 5)]),
        ("double-backslash-end", [("FROM", 1, 1), ("RUN", 2, 2), ("RUN", 3, 3)]),
        ("triple-backslash-end", [("FROM", 1, 1), ("RUN", 2, 2), ("RUN", 3, 3)]),
        ("heredoc", [("FROM", 1, 1), ("RUN", 2, 7), ("USER", 8, 8)]),
        ("heredoc-several", [("FROM", 1, 1), ("RUN", 2, 6), ("COPY", 7, 11), ("USER", 12, 12)]),
        ("heredoc-onbuild", [("FROM", 1, 1), ("ONBUILD", 2, 4), ("ONBUILD", 5, 7), ("USER", 8, 8)]),
        ("heredoc-near-terminators", [("FROM", 1, 1), ("RUN", 2, 6), ("USER", 7, 7)]),
        ("heredoc-body-continuation", [("FROM", 1, 1), ("RUN", 2, 4), ("USER", 5, 5)]),
        ("heredoc-continuation", [("FROM", 1, 1), ("RUN", 2, 6), ("USER", 7, 7)]),
        ("here-string", [("FROM", 1, 1), ("RUN", 2, 2), ("RUN", 3, 3), ("USER", 4, 4)]),
        ("heredoc-unbalanced-quote", [("FROM", 1, 1), ("RUN", 2, 2), ("USER", 3, 3)]),
        ("heredoc-bad-substitution", [("FROM", 1, 1), ("RUN", 2, 2), ("USER", 3, 3)]),
        ("crlf-heredoc", [("FROM", 1, 1), ("RUN", 2, 5), ("USER", 6, 6)]),
        ("escape-backtick", [("FROM", 2, 2), ("RUN", 3, 5), ("COPY", 6, 6)]),
        ("separators-in-line", [("FROM", 1, 1), ("RUN", 2, 2), ("USER", 3, 3)]),
    ],
)
def test_where_instructions_begin_and_end(name: str, expected: list[tuple[str, int, int]]) -> None:
    assert lines(load(name)) == expected


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("blank-in-continuation", 1, "one &&     two &&     three"),
        ("comment-in-continuation", 1, "one &&     two     three"),
        ("continuation-at-eof", 1, "one"),
        ("continuation-splits-word", 1, "echo hi"),
        ("double-backslash-end", 1, "echo a\\\\"),
        ("escape-backtick", 1, "dir c:\\   && echo ``   && done"),
        ("latin-1", 1, "echo café   && echo grüße"),
        ("crlf", 1, "a &&     b"),
        ("quotes-across-lines", 2, 'A="x   y" B=z'),
    ],
)
def test_continuations_are_joined_as_the_build_does(name: str, index: int, value: str) -> None:
    assert load(name).instructions[index].value == value


@pytest.mark.parametrize(
    ("name", "syntax", "escape"),
    [
        ("plain", None, "\\"),
        ("crlf", "docker/dockerfile:1", "\\"),
        ("bom-directive", "docker/dockerfile:1", "\\"),
        ("escape-after-syntax", "docker/dockerfile:1", "`"),
        ("escape-after-check", "x/y:1", "`"),
        ("escape-after-comment", None, "\\"),
        ("escape-after-blank", None, "\\"),
        ("escape-after-unknown", None, "\\"),
        ("escape-mixed-case", None, "`"),
        ("syntax-too-late", None, "\\"),
        ("shebang", "docker/dockerfile:1", "\\"),
    ],
)
def test_directives_count_at_the_top_only(name: str, syntax: str | None, escape: str) -> None:
    made = load(name)
    assert (made.syntax, made.escape) == (syntax, escape)


def test_the_line_end_is_the_one_most_lines_have() -> None:
    assert load("crlf").eol == b"\r\n"
    assert load("plain").eol == b"\n"
    assert parse(b"FROM a\r\nRUN b\nRUN c\n").eol == b"\n"


def test_heredoc_bodies_names_and_kinds() -> None:
    first, second, third = load("heredoc-quoted").instructions[1:]
    assert [(h.name, h.body, h.expand) for h in first.heredocs] == [("EOF", "echo $HOME\n", False)]
    assert [(h.name, h.body, h.expand) for h in second.heredocs] == [("E O F", "x\n", False)]
    assert [(h.name, h.expand) for h in third.heredocs] == [("EOF", True)]
    tabs = load("heredoc-tabs").instructions[1].heredocs[0]
    assert (tabs.strip_tabs, tabs.body, tabs.line, tabs.end_line) == (True, "\techo one\n", 3, 4)
    several = load("heredoc-several").instructions[2]
    assert [(h.name, h.body, h.line, h.end_line) for h in several.heredocs] == [
        ("a.txt", "first\n", 8, 9),
        ("b.txt", "second\n", 10, 11),
    ]
    empty = load("heredoc-empty").instructions[1].heredocs[0]
    assert (empty.body, empty.line, empty.end_line) == ("", 3, 3)
    assert load("crlf-heredoc").instructions[1].heredocs[0].body == "one\r\ntwo\r\n"


def test_no_heredoc_in_exec_form_cmd_or_quotes() -> None:
    for name in ("shift-operator", "heredoc-in-quotes", "here-string"):
        assert [each.heredocs for each in load(name).instructions] == [()] * len(load(name).instructions)


def test_onbuild_carries_a_whole_instruction() -> None:
    run, copy, arg, entry = (each.child for each in load("onbuild").instructions[1:])
    assert run is not None
    assert (run.name, run.value, run.line, run.end_line) == ("RUN", "one   two", 2, 3)
    assert copy is not None
    assert (copy.name, copy.flag_values("from"), copy.words) == ("COPY", ("x",), ("a", "b"))
    assert arg is not None
    assert arg.pairs == (("V", "1"),)
    assert entry is not None
    assert (entry.json, entry.words) == (True, ("a",))
    with_body = load("heredoc-onbuild").instructions[1]
    assert with_body.child is not None
    assert with_body.child.heredocs == with_body.heredocs != ()


def test_exec_form_only_where_it_is_valid_json_of_strings() -> None:
    made = load("exec-form").instructions
    assert [each.json for each in made] == [False] + [True] * 7
    assert made[1].words == ("a", "b c", "A\n")
    assert made[6].words == ("a b", "/c")
    assert [each.json for each in load("exec-form-broken").instructions] == [False] * 7
    assert load("exec-form-continued").instructions[1].words == ("a", "b")
    assert [(each.json, each.words) for each in load("exec-form-empty").instructions[1:]] == [(True, ())] * 3


def test_shell_form_has_no_words() -> None:
    for text in (b"RUN a b", b"CMD a b", b"ENTRYPOINT a b"):
        assert one(text).words == ()
        assert one(text).value == "a b"


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (b"ENV a b  c", (("a", "b  c"),)),
        (b"ENV k=v", (("k", "v"),)),
        (
            b'ENV a="x y" b=\'p q\' c=r\\ s d= e=""',
            (("a", '"x y"'), ("b", "'p q'"), ("c", "r\\ s"), ("d", ""), ("e", '""')),
        ),
        (b"ENV u=a=b", (("u", "a=b"),)),
        (b"ARG A", (("A", None),)),
        (b'ARG B=1 C D="x y"', (("B", "1"), ("C", None), ("D", '"x y"'))),
        (b'LABEL "two words"=2', (('"two words"', "2"),)),
    ],
)
def test_pairs(text: bytes, pairs: tuple[tuple[str, str | None], ...]) -> None:
    assert one(text).pairs == pairs


def test_flags_with_quotes_escapes_and_their_place_in_the_file() -> None:
    made = load("flags-quoted")
    first = made.instructions[1]
    assert [flag.value for flag in first.flags] == ["type=bind,source=a b,target=/c", "type=cache,target=/d e"]
    assert raw(made, first.flags[0].span) == b'--mount="type=bind,source=a b,target=/c"'
    assert raw(made, first.flags[1].span) == b"--mount=type=cache,target='/d e'"
    assert first.value == "ls"
    assert made.instructions[3].flags[0].value == "type=bind,target=/a b"
    split = load("continuation-splits-word")
    copy = split.instructions[2]
    assert copy.flag_values("from") == ("x",)
    assert raw(split, copy.flags[0].span) == b"--fr\\\nom=x"


def test_flags_end_at_the_first_other_word_or_a_double_dash() -> None:
    made = load("flags-end").instructions
    assert [(each.flags, each.value) for each in made[1:]] == [((), "--from /b"), ((), "--x"), ((), "a --from=b")]


def test_stages() -> None:
    made = load("stages")
    assert [(s.index, s.name, s.base, len(s.body)) for s in made.stages] == [
        (0, "one", "debian:$V", 1),
        (1, "two.b-c_d", "one", 1),
        (2, None, "scratch", 3),
    ]
    assert [each.name for each in made.preamble] == ["ARG"]
    assert [each.stage for each in made.instructions] == [None, 0, 0, 1, 1, 2, 2, 2, 2]
    assert load("lower-case").stages[0].name == "base"
    assert load("flags").stages[0].platform == "$BUILDPLATFORM"


def test_mounts_in_any_order_with_every_alias() -> None:
    found = mounts(load("mounts").instructions[1])
    assert [mount.type for mount in found] == ["cache", "secret", "bind", "cache", "tmpfs", "ssh"]
    assert found[0].target == "/root/.cache"
    assert found[1].options["required"] == "true"
    assert dict(found[2].options) == {"target": "/src", "source": "a", "from": "build", "readwrite": "true"}
    assert (found[3].options["id"], found[3].target) == ("${ID:-x}", "$HOME/.npm")
    assert mounts(one(b"RUN --mount=type=cache,target=/a,ro b"))[0].options["readonly"] == "true"
    assert mounts(one(b'RUN --mount=type=bind,\\"source=a,b\\",dst=/c d'))[0].options["source"] == "a,b"
    assert mounts(one(b"COPY a b")) == ()


def test_a_mount_without_a_command_is_an_empty_run() -> None:
    made = load("mount-only").instructions
    assert (made[1].value, len(mounts(made[1])), made[2].value) == ("", 1, "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_spans_of_the_corpus(path: Path) -> None:
    made = parse(path.read_bytes(), path.name)
    check_spans(made)


def check_spans(made: Dockerfile) -> None:
    end = 0
    for each in made.instructions:
        whole = made.line_span(each.line, each.end_line)
        assert end <= whole.start <= each.span.start <= each.span.end <= whole.end
        # its last line's end only: a blank line after a backslash belongs to the instruction
        assert each.span.end == whole.start + len(re.sub(rb"\r*\n?\Z", b"", raw(made, whole)))
        end = whole.end
        for part in (each, each.child):
            if part is None:
                continue
            for at, char in enumerate(part.value):
                start = part.offset(at)
                assert any(made.content[start:].startswith(char.encode(codec)) for codec in ("utf-8", "latin-1"))
                assert whole.start <= start < whole.end
            offsets = [part.offset(at) for at in range(len(part.value) + 1)]
            assert offsets == sorted(set(offsets))
            for flag in part.flags:
                assert raw(made, flag.span).startswith(b"-")
                assert each.span.start < flag.span.start < flag.span.end <= each.span.end


def test_offsets_allow_edits_inside_a_command() -> None:
    content = b"FROM a\r\nRUN caf\xc3\xa9 && \\\r\n  # note\r\n  npm ci && \\\r\n  x\r\n"
    run = parse(content).instructions[1]
    at = run.value.index("npm ci")
    span = run.span_of(at, at + len("npm ci"))
    assert content[span.start : span.end] == b"npm ci"
    assert content[run.offset(len(run.value)) :] == b"\r\n"
    # a piece that ends a line ends there, not where the next line's text begins
    end = run.value.index("&&") + 2
    assert content[: run.span_of(0, end).end].endswith(b"&&")
    with pytest.raises(IndexError):
        run.offset(len(run.value) + 1)


def test_line_spans_and_text() -> None:
    made = load("crlf")
    assert raw(made, made.line_span(2, 3)) == b"FROM debian\r\nRUN a && \\\r\n"
    assert made.text(2) == "FROM debian"
    assert made.text(3, 5) == "RUN a && \\\n    # note\n    b"
    assert made.line_span(9, 12) == Span(len(made.content), len(made.content))
    assert load("no-final-newline").text(2) == "RUN echo hi"
    assert load("latin-1").text(2) == "# café"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_files_name_the_line(name: str) -> None:
    with pytest.raises(InputError) as caught:
        parse((CORPUS / "refused" / f"{name}.Dockerfile").read_bytes(), "d/Dockerfile")
    assert (caught.value.path, caught.value.line) == ("d/Dockerfile", REFUSED[name])


def test_every_refused_file_has_an_expectation() -> None:
    assert {path.stem for path in (CORPUS / "refused").glob("*.Dockerfile")} == set(REFUSED)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"FROM a\nRUN b\0c\n", 2),
        (b"\x7fELF\x02\x01\x01\0\0\0", 1),
        (b"FROM a\nRUN " + b"x" * 65532 + b"\n", 2),
        (b"FROM a\nRUN " + b"x" * 5_000_000, 2),
        (b"FROM a\nRUN <<E\n" + b"x" * 70_000 + b"\nE\n", 3),
        (b"FROM a\n" * 1_001, 1_001),
        ("FROM a\nRUN\u3000b\n".encode(), 2),
    ],
    ids=["nul", "binary", "long-line", "very-long-line", "long-body-line", "stages", "wide-space"],
)
def test_hostile_files_are_refused(content: bytes, line: int) -> None:
    with pytest.raises(InputError) as caught:
        parse(content)
    assert caught.value.line == line


def test_the_longest_line_that_is_read() -> None:
    assert len(parse(b"FROM a\nRUN " + b"x" * 65531 + b"\n").instructions[1].value) == 65531


def test_an_error_does_not_repeat_what_stands_in_the_file() -> None:
    with pytest.raises(InputError) as caught:
        parse(b"FROM a\nghp_0123456789abcdef=1\n")
    assert "ghp_" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"FROM a\n" + b"RUN echo hello\n" * 50_000,
        b"FROM a\nRUN " + b"echo hello \\\n" * 100_000 + b"x\n",
        b"FROM a\nRUN <<E " + b"'\" <<x \\\n" * 100_000 + b"\nE\n",
        b"FROM a\nRUN " + b"\\ " * 30_000 + b"\n",
        b"FROM a\nCMD " + b"[" * 60_000 + b"\n",
        b"FROM a\nENV A=" + b'"' * 60_000 + b"\n",
        b"# escape=" + b" " * 60_000 + b"x\nFROM a\n",
        b"FROM a\nRUN --" + b"a" * 30_000 + b" --" * 10_000 + b"\n",
    ],
    ids=["lines", "continuations", "quotes", "escapes", "brackets", "env", "directive", "flags"],
)
def test_time_grows_with_the_size_only(content: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(InputError):
        parse(content)
    assert time.process_time() - began < 5


PIECES = st.sampled_from(
    [
        *(b"FROM a", b"RUN ", b"COPY ", b"ENV ", b"ARG ", b"ONBUILD ", b"--mount=type=cache", b"--from=a"),
        *(b"<<EOF", b"EOF", b"<<-'x y'", b"# c", b"# escape=`\n", b'["a"]', b"a=b", b"${A:-"),
        *(b"\n", b"\\\n", b"\r\n", b" ", b"\t", b'"', b"'", b"\\", b"[", b"`", b"}", b"$", b"=", b"\x0c"),
        *("ü\u00a0".encode(), b"\xe9", b"\xef\xbb\xbf"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=25))
def test_whatever_is_accepted_has_exact_spans(pieces: list[bytes]) -> None:
    content = b"FROM a\n" + b"".join(pieces)
    try:
        made = parse(content)
    except InputError as error:
        line = error.line
    else:
        line = made.instructions[0].line
        check_spans(made)
    assert 1 <= line <= content.count(b"\n") + 1


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_file_or_an_input_error(content: bytes) -> None:
    with contextlib.suppress(InputError):
        parse(content)


def test_the_parts_are_reachable_through_one_module() -> None:
    assert all(hasattr(dockerfile, name) for name in dockerfile.__all__)
