"""YAML from strangers: what it means, where it stands, and what it may cost."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from coach.errors import InputError
from coach.safe_yaml import MAX_BYTES, MAX_DEPTH, compose, compose_all, load, load_all, span


def fails(content: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        load(content, "ci.yml")
    assert caught.value.path == "ci.yml"
    return caught.value


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("12", 12),
        ("0755", 755),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("22:30", "22:30"),
        ("2026-01-02", "2026-01-02"),
        ("1_000", "1_000"),
        ("!Ref Bucket", "Bucket"),
        ("!!python/object/apply:os.system [id]", ["id"]),
        ("!!int x", "x"),
        ("! 12", "12"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_follow_the_core_schema(text: str, means: object) -> None:
    assert load(f"key: {text}\n".encode(), "x.yml") == {"key": means}


def test_the_names_of_infinity_are_floats() -> None:
    loaded = load(b"[.inf, -.INF, .nan]", "x.yml")

    assert isinstance(loaded, list)
    assert loaded[:2] == [math.inf, -math.inf]
    assert math.isnan(loaded[2])


def test_merge_keys_give_way_to_a_mappings_own_keys_and_to_earlier_sources() -> None:
    content = b"a: &a {k: 1, l: 1}\nb: &b {l: 2, m: 2}\nc: {k: 3, <<: [*a, *b]}\n"

    loaded = load(content, "x.yml")

    assert isinstance(loaded, dict)
    assert loaded["c"] == {"k": 3, "l": 1, "m": 2}


def test_an_alias_is_the_node_it_names() -> None:
    assert load(b"a: &x [1, 2]\nb: *x\n", "x.yml") == {"a": [1, 2], "b": [1, 2]}


def test_a_stream_has_one_node_per_document_and_an_empty_one_is_null() -> None:
    assert load_all(b"a\n---\nb: 1\n", "x.yml") == ("a", {"b": 1})
    assert load(b"", "x.yml") is None
    assert load(b"# nothing\n", "x.yml") is None
    assert len(compose_all(b"a: &x 1\n---\nb: 2\n", "x.yml")) == 2


def test_an_anchor_ends_with_its_document() -> None:
    with pytest.raises(InputError):
        load_all(b"a: &x 1\n---\nb: *x\n", "x.yml")


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_span_is_where_the_bytes_stand(bom: bytes, end: str) -> None:
    content = bom + end.join(["é: 'ü'", "b: [1, ä]", "plain: wörd # comment", ""]).encode()

    root = compose(content, "x.yml")

    assert isinstance(root, yaml.MappingNode)
    spans = [span(content, node) for _, node in root.value]
    assert [content[s.start : s.end].decode() for s in spans] == ["'ü'", "[1, ä]", "wörd"]


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"a: 1\nb: [\n", 3, "not YAML"),
        (b"a: 1\nb: *x\n", 2, "names no anchor"),
        (b"a: &a\n  b: *a\n", 2, "inside its own anchor"),
        (b"a: 1\n[1]: 2\n", 2, "key"),
        (b"a: 1\n<<: 3\n", 2, "merge"),
        (b"a: 1\nb: \xff\n", 2, "UTF-8"),
        (b"a: 1\n---\nb: 2\n", 3, "second YAML document"),
        (b"a: \x01\n", 1, "character"),
        (b"[" * 100_000, 1, "deeper"),
        (b"- " * 100_000, 1, "deeper"),
        (b"{a: " * 100_000, 1, "deeper"),
        (b"a" * (MAX_BYTES + 1), 0, "2 MB"),
    ],
)
def test_broken_and_hostile_text_is_refused_with_its_line(content: bytes, line: int, says: str) -> None:
    error = fails(content)

    assert (error.line, says in error.says) == (line, True), error


def test_fifty_levels_are_read_and_one_more_is_not() -> None:
    load(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, "x.yml")

    assert "deeper" in fails(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)).says


def test_aliases_that_write_out_to_billions_are_refused_before_they_do() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    error = fails("\n".join(lines).encode())

    assert "aliases" in error.says
    assert error.line <= 6


def test_a_big_node_named_often_is_refused_too() -> None:
    big = b"a: &a [" + b"x," * 10_000 + b"]\n"

    assert "aliases" in fails(big + b"b: [" + b"*a," * 200 + b"]\n").says


def test_ten_thousand_aliases_of_a_scalar_are_fine() -> None:
    loaded = load(b"a: &a x\nb: [" + b"*a," * 9_999 + b"]\n", "x.yml")

    assert isinstance(loaded, dict)
    assert loaded["b"] == ["x"] * 9_999


@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(content: bytes) -> None:
    with contextlib.suppress(InputError):
        assert load_all(content, "x.yml")


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(st.characters(codec="ascii"), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(json_like)
def test_json_is_yaml(data: object) -> None:
    assert load(json.dumps(data).encode(), "x.yml") == data
