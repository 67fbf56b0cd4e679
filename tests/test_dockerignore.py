"""Ignore files: reading, matching and pruning."""

from __future__ import annotations

import time
from typing import ClassVar

import e2b_dockerfile_utils as e2b
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from coach.dockerignore import IgnoreFile, find, parse
from coach.errors import InputError
from coach.tree import MemoryTree


def ignore(*lines: str) -> IgnoreFile:
    return parse("\n".join(lines).encode(), ".dockerignore")


# observed on an engine with `COPY . /`: what a file leaves of these paths
TREE = (
    *("a/b", "a/c", "bin/Debug/x", "binDebug", "bin/ebug", "foo", "fow", "fo1", "fo\\w", "^]", "a]", "x*]", "a^b"),
    *("b^b", "!foo", "a.b", "a/.b/c", "é", "[x]", "x]", "d/é"),
)


@pytest.mark.parametrize(
    ("lines", "ignored"),
    [
        (["bin\\Debug"], {"binDebug", "bin/ebug"}),
        (["fo\\w"], {"foo", "fow", "fo1"}),
        (["[a*]"], {"^]", "a]"}),
        (["[?]"], {"^]"}),
        (["a^*"], set()),
        (["*", "/!foo"], set(TREE) - {"foo"}),
        (["\\!foo"], {"!foo"}),
        (["[[:alpha:]]*"], set(TREE) - {"!foo", "[x]", "^]", "é"}),
        (["\\pLoo"], {"foo"}),
        (["fo\\Qo"], set()),
        (["**/é"], {"é", "d/é"}),
        (["[^b-d]*"], set(TREE) - {"b^b", "bin/Debug/x", "bin/ebug", "binDebug", "d/é"}),
        (["a/*", "!a/b"], {"a/c", "a/.b/c"}),
        (["*/b"], {"a/b"}),
        (["  a/b  ", " # x"], {"a/b"}),
        (["[*]"], {"^]"}),
        (["! a/b"], set()),
        (["."], set()),
        (["/"], set()),
        ([".."], set()),
        (["*", "!a"], set(TREE) - {"a/b", "a/c", "a/.b/c"}),
        (["a/b", "!a"], {"a/b"}),
        (["\ufeffa/b"], {"a/b"}),
        (["a/b\r", "foo\r"], {"a/b", "foo"}),
        (["é|*"], set(TREE)),
        (["*o|*1"], {"foo", "fow", "fo1", "fo\\w", "!foo"}),
        (["fo{2}", "fo?{1}"], {"foo", "fow", "fo1"}),
        (["*{a,b}"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_as_on_an_engine(lines: list[str], ignored: set[str]) -> None:
    made = ignore(*lines)
    assert {path for path in TREE if made.ignores(path)} == ignored


@pytest.mark.parametrize(
    ("lines", "path", "expected"),
    [
        (["node_modules"], "node_modules", True),
        (["node_modules"], "node_modules/x/y.js", True),
        (["node_modules"], "a/node_modules", False),
        (["node_modules/"], "node_modules", True),
        (["/node_modules"], "node_modules", True),
        (["./node_modules"], "node_modules", True),
        (["a/../node_modules"], "node_modules", True),
        (["**/node_modules"], "a/b/node_modules/c", True),
        (["**/node_modules"], "node_modules", True),
        (["**/node_modules"], "my_node_modules", False),
        (["**node_modules"], "my_node_modules", True),
        (["foo/**"], "foo", False),
        (["foo/**"], "foo/a", True),
        (["foo/**"], "foobar", False),
        (["foo**"], "foobar", True),
        (["**"], "anything/at/all", True),
        (["*"], "a/b", True),
        (["*.log"], "a.log", True),
        (["*.log"], "d/a.log", False),
        (["**/*.log"], "a.log", True),
        (["**/*.log"], "d/e/a.log", True),
        (["*/*.log"], "d/e/a.log", False),
        (["a/**/b"], "a/b", True),
        (["a/**/b"], "a/x/y/b", True),
        (["a/**/b"], "a/x/y/bb", False),
        (["?"], "a", True),
        (["?"], "/", False),
        (["a.b"], "axb", False),
        (["*.b"], "axb", False),
        (["(a)+$"], "(a)+$", True),
        (["*(a)+$"], "x(a)+$", True),
        (["*.md", "!README.md"], "README.md", False),
        (["*.md", "!README.md"], "OTHER.md", True),
        (["!README.md", "*.md"], "README.md", True),
        (["*", "!src", "src/tmp"], "src/main.c", False),
        (["*", "!src", "src/tmp"], "src/tmp/x", True),
        (["*", "!src/keep"], "src/keep/x", False),
        (["*", "!src/keep"], "src/other", True),
        (["src", "!src/a/*.c"], "src/a/x.c", False),
        (["src", "!src/a/*.c"], "src/a/x.h", True),
        (["# node_modules"], "node_modules", False),
        ([" # text"], "# text", True),
        (["// text"], "text", True),
        (["a b"], "a b", True),
        (["*/bin"], "x/bin", True),
        (["*/bin"], "x/y/bin", False),
        (["a"], "./a", True),
        (["a"], "/a/", True),
        (["*"], "", False),
        (["*"], ".", False),
    ],
)
def test_rules(lines: list[str], path: str, expected: bool) -> None:
    assert ignore(*lines).ignores(path) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        *("[", "[a", "[]", "[]a]", "[^]", "a\\", "[a-]", "[-a]", "[z-a]x", "!", "! ", "!/", "!/..", "\\1", "\\é"),
        *("*{2}", "[[:no:]]x", "?{2}{2}", "*|{2}", "?{1001}", "?{2,1}"),
    ],
)
def test_refused_patterns_name_the_line(pattern: str) -> None:
    with pytest.raises(InputError) as caught:
        ignore("fine", "", pattern, "also fine")
    assert (caught.value.path, caught.value.line) == (".dockerignore", 3)


def test_a_line_that_is_too_long() -> None:
    with pytest.raises(InputError) as caught:
        ignore("a", "x" * 70_000)
    assert caught.value.line == 2


def test_patterns_keep_their_text_and_line() -> None:
    made = ignore("# c", "", "  node_modules/ ", "!/keep", "/!odd", "\\#x")
    assert [(each.text, each.line, each.negated) for each in made.patterns] == [
        ("node_modules/", 3, False),
        ("!/keep", 4, True),
        ("/!odd", 5, True),
        ("\\#x", 6, False),
    ]


def test_the_deciding_pattern() -> None:
    made = ignore("*", "!src", "src/*.tmp", "!src/a.tmp")
    for path, line in (("x", 1), ("src", 2), ("src/x", 2), ("src/b.tmp", 3), ("src/a.tmp", 4)):
        found = made.match(path)
        assert found is not None
        assert found.line == line
    assert ignore("a").match("b") is None


@pytest.mark.parametrize(
    ("lines", "path", "expected"),
    [
        (["node_modules"], "node_modules", True),
        (["node_modules"], "src", False),
        (["*", "!src"], "docs", True),
        (["*", "!src"], "src", False),
        (["*", "!src/a/b"], "src", False),
        (["*", "!src/a/b"], "src/a", False),
        (["*", "!src/a/b"], "src/x", True),
        (["*", "!**/*.md"], "docs", False),
        (["*", "!*/keep"], "docs", False),
        (["*", "!*/keep"], "docs/x", True),
        (["*", "!docs/keep", "docs"], "docs", False),
        (["!docs/keep", "docs", "!x"], "docs", True),
        (["docs/**"], "docs", False),
        (["docs/**"], "docs/a", True),
        (["*", "![^/]"], "docs", False),
        (["*"], "", False),
    ],
)
def test_a_directory_that_is_wholly_ignored(lines: list[str], path: str, expected: bool) -> None:
    assert ignore(*lines).ignores_dir_wholly(path) is expected


def test_undecodable_bytes_match_themselves() -> None:
    made = parse(b"caf\xe9\n", ".dockerignore")
    assert made.ignores(b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert made.patterns[0].text.isprintable()


class TestFind:
    FILES: ClassVar = {".dockerignore": b"root", "app/.dockerignore": b"app", "app/web.Dockerfile.dockerignore": b"web"}

    @pytest.mark.parametrize(
        ("dockerfile", "context", "path"),
        [
            ("Dockerfile", "", ".dockerignore"),
            ("Dockerfile", ".", ".dockerignore"),
            ("app/Dockerfile", "", ".dockerignore"),
            ("app/Dockerfile", "app", "app/.dockerignore"),
            ("app/Dockerfile", "app/", "app/.dockerignore"),
            ("app/web.Dockerfile", "", "app/web.Dockerfile.dockerignore"),
            ("app/web.Dockerfile", "app", "app/web.Dockerfile.dockerignore"),
        ],
    )
    def test_which_file_is_in_force(self, dockerfile: str, context: str, path: str) -> None:
        found = find(MemoryTree(self.FILES), dockerfile, context)
        assert found is not None
        assert (found.path, found.content) == (path, self.FILES[path])

    def test_none(self) -> None:
        assert find(MemoryTree(self.FILES), "lib/Dockerfile", "lib") is None

    def test_an_empty_file_beside_the_dockerfile_still_replaces_the_other(self) -> None:
        found = find(MemoryTree({**self.FILES, "Dockerfile.dockerignore": b""}), "Dockerfile", "")
        assert found is not None
        assert found.patterns == ()


PATTERNS = st.lists(
    st.lists(
        st.sampled_from(
            [
                *("a", "b", "c", "ab", "a.b", "/", "/", "*", "**", "?", ".", "!", "[ab]", "[^a]", "[a-c]", "\\*"),
                *("\\[", " ", "#", "$", "+", "(", "]", "-", "..", "**/", "/**", "a/b"),
            ]
        ),
        min_size=1,
        max_size=6,
    ).map("".join),
    min_size=1,
    max_size=5,
)
PATHS = ["a", "b", "c", "ab", "a.b", "a/b", "a/b/c", "b/a", "a/ab", "c/a.b/a", "ab/b/ab", "a*", "a/[", "#", "a b", "-"]


@settings(max_examples=300, deadline=None)
@given(PATTERNS)
def test_agrees_with_e2b(patterns: list[str]) -> None:
    # Go trims and cleans a second time below a leading slash or "!", which theirs does not
    assume(not any(text.strip().startswith(("/", "!", ".")) for text in patterns))
    try:
        theirs = e2b.PatternMatcher(patterns)
    except ValueError:
        with pytest.raises(InputError):
            ignore(*patterns)
        return
    made = ignore(*patterns)
    assert [made.ignores(path) for path in PATHS] == [theirs.matches(path) for path in PATHS]


@settings(max_examples=150, deadline=None)
@given(PATTERNS, st.permutations(PATHS))
def test_the_order_of_questions_does_not_matter(patterns: list[str], paths: list[str]) -> None:
    try:
        made, again = ignore(*patterns), ignore(*patterns)
    except InputError:
        assume(False)
    answers = {path: made.ignores(path) for path in paths}
    assert answers == {path: again.ignores(path) for path in PATHS}
    for path in PATHS:
        if made.ignores_dir_wholly(path):
            assert all(made.ignores(other) for other in PATHS if other.startswith(path + "/"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        made = parse(content, ".dockerignore")
    except InputError as refused:
        line = refused.line
    else:
        line = 1
        assert isinstance(made.ignores("a/b/c"), bool)
    assert 1 <= line <= content.count(b"\n") + 1


def test_ten_thousand_files_are_quick() -> None:
    made = ignore(
        *("**/*.log", "node_modules", "**/__pycache__", "*.md", "!README.md", "build/**", "*~", "**/*test*/**/*.x"),
        *(f"path{n}" for n in range(200)),
        *(f"**/x{n}/y{n}" for n in range(50)),
    )
    began = time.process_time()
    found = sum(made.ignores(f"d{n % 50}/sub{n % 7}/file{n}.{'log' if n % 2 else 'py'}") for n in range(10_000))
    assert found == 5_000
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 40 + "b", "a" * 255),
        ("**/a*" * 20 + "b", "a/" * 1_000 + "a"),
        ("?|" * 200 + "*a*a*a*a*b", "a" * 255),
        ("*a{0,9}*a{0,9}*a{0,9}*b", "a" * 255),
        ("*\\b*\\b*\\b*\\b*b/", "a" * 255),
    ],
)
def test_no_pattern_is_slow(pattern: str, path: str) -> None:
    began = time.process_time()
    assert ignore(pattern).ignores(path) in (True, False)
    assert time.process_time() - began < 2


def test_many_names_are_quick() -> None:
    began = time.process_time()
    made = ignore(*(f"exact{n}" for n in range(50_000)))
    assert made.ignores("exact49999/x")
    assert time.process_time() - began < 4


def test_too_many_wildcards_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        ignore(*(f"file{n}*" for n in range(5_002)))
    assert caught.value.line == 5_001
