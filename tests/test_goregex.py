"""Go's expressions, in the two ways they are matched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach.goregex import BadExpressionError, matcher


@pytest.mark.parametrize(
    ("go", "text", "expected"),
    [
        ("^a[^/]*$", "ab", True),
        ("^a[^/]*$", "a/b", False),
        ("^(.*/)?a$", "x/y/a", True),
        ("^(.*/)?a$", "xa", False),
        ("^a|b$", "ax", True),
        ("^a|b$", "xb", True),
        ("^a|b$", "xax", False),
        ("^x|^y$", "zy", False),
        ("^a{2}$", "aa", True),
        ("^a{2,}$", "a", False),
        ("^a{0,1}b$", "b", True),
        ("^a{,2}$", "a{,2}", True),
        ("^a{01}$", "a{01}", True),
        ("^[]a]$", "]", True),
        ("^[a^]$", "^", True),
        ("^[^[:digit:]]$", "5", False),
        ("^[[:^digit:]]$", "x", True),
        ("^[\\d-z]$", "-", True),
        ("^[\\D]$", "5", False),
        ("^\\x41\\101\\t$", "AA\t", True),
        ("^\\pL\\PL$", "é1", True),
        ("^[\\pN]$", "7", True),
        ("^a\\Q.*\\E$", "a.*", True),
        ("^a\\b.b$", "a-b", True),
        ("^a\\Bb$", "ab", True),
        ("^\\Aa\\z$", "a", True),
        ("^a^b$", "ab", False),
        ("^[^/]*[^/]*[^/]*^a$", "a", True),
        ("^[^/]*[^/]*[^/]*\\b/\\B[^/]*$", "a/-", True),
        ("^[^/]*[^/]*[^/]*\\b/\\B[^/]*$", "a/b", False),
    ],
)
def test_matches(go: str, text: str, expected: bool) -> None:
    assert matcher(go)(text) is expected


@pytest.mark.parametrize(
    "go", ["^\\8$", "^\\z\\", "^[b-a]$", "^[[:x:]]$", "^a{2}{3}$", "^\\pX$", "^\\x4$", "^a{1001}$"]
)
def test_refused(go: str) -> None:
    with pytest.raises(BadExpressionError):
        matcher(go)


ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "/",
        "[^/]",
        "[^/]*",
        "a*",
        ".*",
        "[ab]",
        "[^a]*",
        "(.*/)?",
        "a{2}",
        "b{0,2}",
        "a{1,}",
        "\\b",
        "\\B",
        "|",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(ATOMS, max_size=7), st.text("ab/-", min_size=1, max_size=8))
def test_agrees_with_python_where_the_notations_agree(atoms: list[str], text: str) -> None:
    go = f"^{''.join(atoms)}$"
    assert matcher(go)(text) is (re.search(go, text, re.ASCII) is not None)
