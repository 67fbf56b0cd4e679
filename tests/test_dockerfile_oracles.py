"""The parser against two others: ``dockerfile`` (BuildKit's own Go parser, an older one) and e2b-dockerfile-utils.

Where they differ from the parser on purpose, the file and the reason stand here, so that a new difference shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dockerfile as go_parser
import e2b_dockerfile_utils as e2b
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach.dockerfile import Dockerfile, Instruction, parse
from coach.errors import InputError

CORPUS = Path(__file__).parent / "dockerfiles"

# files whose bytes are not UTF-8: both oracles take text only
NOT_TEXT = {"latin-1", "latin-1-heredoc"}

GO_DIFFERS = {
    "escape-after-check": "does not know the check directive, so the escape directive below it is lost",
    "heredoc-onbuild": "reports no heredocs for ONBUILD",
    "heredoc-substitution": "is older than the word buffer that a nested substitution empties",
    "heredoc-space": "is older than blanks between << and the name",
    "exec-form-broken": "marks `RUN` as JSON although the text is none",
}
E2B_DIFFERS = {
    "heredoc-onbuild": "does not parse what ONBUILD carries",
    "heredoc-substitution": "keeps a word's start across a nested substitution, which the build loses",
}
# what only the second stage of a build's parsing refuses, which neither oracle has
REFUSED_LATER = {
    "arg-blank-name",
    "arg-nothing",
    "copy-nothing",
    "copy-one-word",
    "env-blank-name",
    "env-nothing",
    "expose-nothing",
    "from-four-words",
    "from-nothing",
    "from-two-words",
    "healthcheck-kind",
    "healthcheck-no-command",
    "healthcheck-none-more",
    "healthcheck-nothing",
    "heredoc-destination",
    "no-from",
    "onbuild-from",
    "onbuild-nothing",
    "onbuild-onbuild",
    "run-before-from",
    "shell-not-json",
    "stage-name",
    "user-nothing",
    "volume-empty",
    "workdir-nothing",
}
GO_ACCEPTS_TOO = {"unknown-instruction", "unknown-after-comment", "name-glued-by-nbsp", "lone-continuation"}
E2B_ACCEPTS_TOO = {"empty", "only-comments", "only-directive"}


def go_differences(made: Dockerfile, text: str) -> Iterator[str]:
    try:
        theirs = go_parser.parse_string(text)
    except go_parser.GoParseError as refused:
        yield str(refused)
        return
    if len(theirs) != len(made.instructions):
        yield f"{len(made.instructions)} instructions, they have {len(theirs)}"
        return
    for ours, other in zip(made.instructions, theirs, strict=True):
        mine = (
            ours.name,
            ours.line,
            ours.end_line,
            ours.json or (ours.child is not None and ours.child.json),
            [(h.name, h.body) for h in ours.heredocs],
            [f"--{flag.name}" + ("" if flag.value is None else f"={flag.value}") for flag in ours.flags],
        )
        heredocs = [(h.name, h.content) for h in other.heredocs]
        theirs_too = (
            other.cmd.upper(),
            other.start_line,
            other.end_line,
            other.json,
            heredocs,
            list(other.flags) if other.sub_cmd is None else [],
        )
        if mine != theirs_too:
            yield f"{mine} != {theirs_too}"


def e2b_words(ours: Instruction, arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our words and theirs, brought to one shape."""
    if ours.name in ("ENV", "LABEL"):
        # theirs come as name, value, separator
        kept = [text for at, text in enumerate(arguments) if at % 3 != 2]
        return [text or "" for pair in ours.pairs for text in pair], kept
    if ours.name in ("COPY", "ADD", "ONBUILD") and not ours.json:
        return [], []  # quote-aware by design, or left as text
    if ours.name in ("RUN", "CMD", "ENTRYPOINT") and not ours.json:
        return [ours.value] if ours.value else [], arguments
    return list(ours.words), arguments


def e2b_differences(made: Dockerfile, text: str) -> Iterator[str]:
    theirs = e2b.parse_dockerfile_ast(text)
    if theirs.escape_token != made.escape:
        yield f"escape {made.escape} != {theirs.escape_token}"
    if len(theirs.instructions) != len(made.instructions):
        yield f"{len(made.instructions)} instructions, they have {len(theirs.instructions)}"
        return
    for ours, other in zip(made.instructions, theirs.instructions, strict=True):
        words, arguments = e2b_words(ours, other.args)
        mine = (
            ours.name,
            ours.line,
            ours.end_line,
            ours.json,
            [f"--{flag.name}" + ("" if flag.value is None else f"={flag.value}") for flag in ours.flags],
            [(h.name, h.body, h.expand, h.strip_tabs) for h in ours.heredocs],
            words,
        )
        theirs_too = (
            other.name.upper(),
            other.start_line,
            other.end_line,
            other.json,
            other.flags,
            [(h.name, h.content, h.expand, h.chomp) for h in other.heredocs],
            arguments,
        )
        if mine != theirs_too:
            yield f"{mine} != {theirs_too}"


FILES = [path for path in sorted(CORPUS.glob("*.Dockerfile")) if path.stem not in NOT_TEXT]


def test_the_corpus_is_large() -> None:
    assert len(FILES) >= 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_agrees_with_the_go_parser(path: Path) -> None:
    content = path.read_bytes()
    found = list(go_differences(parse(content), content.decode()))
    assert bool(found) == (path.stem in GO_DIFFERS), found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_agrees_with_e2b(path: Path) -> None:
    content = path.read_bytes()
    try:
        found = list(e2b_differences(parse(content), content.decode()))
    except e2b.DockerfileSyntaxError as refused:
        found = [str(refused)]
    assert bool(found) == (path.stem in E2B_DIFFERS), found


@pytest.mark.parametrize("path", sorted((CORPUS / "refused").glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_refusals_agree(path: Path) -> None:
    text = path.read_bytes().decode()
    refused = []
    for accept in (go_parser.parse_string, e2b.parse_dockerfile_ast):
        try:
            accept(text)
        except (ValueError, go_parser.GoParseError):
            refused.append(True)
        else:
            refused.append(False)
    later = path.stem in REFUSED_LATER
    assert refused == [not (later or path.stem in GO_ACCEPTS_TOO), not (later or path.stem in E2B_ACCEPTS_TOO)]


INSTRUCTIONS = st.sampled_from(
    "RUN,COPY,ADD,ENV,ARG,LABEL,WORKDIR,USER,CMD,ENTRYPOINT,EXPOSE,VOLUME,SHELL,run,Copy,env".split(",")
)
WORDS = st.sampled_from(
    [
        *("a", "b=c", "a=b", "x/y", '"q w"', "'s t'", "e\\ f", "&&", "|", ";", "$A", "${B:-c}", "#x", "[", "]"),
        *('["a", "b"]', '["a"', "--flag=v", "--f", '--g="h i"', "\\", "\\\\", '"', "'", "=", "-", "ü", "<", "<<<"),
        *("<<EOF", "<<-EOF", "<<'EOF'", '<<"E F"', "3<<EOF", "<<EOF<<X"),
    ]
)
BREAKS = st.sampled_from([" ", "  ", "\t", " \\\n", "\\\n  ", " \\\n# note\n", " \\\n\n", " \\ \n", "\\\r\n"])
ENDS = st.sampled_from(["\n", "\n\n", "\n# comment\n", "\r\n", "\nEOF\n", "\nbody\nEOF\n", "\n\tEOF\n", "\nE F\n"])


@st.composite
def files(draw: st.DrawFn) -> str:
    out = [draw(st.sampled_from(["", "", "# escape=`\n", "# syntax=a/b\n", "# note\n", "\ufeff"])), "FROM a\n"]
    for _ in range(draw(st.integers(1, 4))):
        out.append(draw(INSTRUCTIONS))
        for _ in range(draw(st.integers(0, 4))):
            out += [draw(BREAKS), draw(WORDS)]
        out.append(draw(ENDS))
    return "".join(out)


@settings(max_examples=300, deadline=None)
@given(files())
def test_agrees_with_e2b_on_generated_files(text: str) -> None:
    try:
        made = parse(text.encode())
    except InputError:
        return  # it refuses more than the oracle does
    assert list(e2b_differences(made, text)) == []


@settings(max_examples=300, deadline=None)
@given(files())
def test_agrees_with_the_go_parser_on_generated_files(text: str) -> None:
    try:
        made = parse(text.encode())
    except InputError:
        return
    # it marks text that merely begins like an array as JSON in some cases
    odd_json = any(each.value.startswith("[") and not each.json for each in made.instructions)
    if not odd_json:
        assert list(go_differences(made, text)) == []
