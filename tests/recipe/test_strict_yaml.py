"""The loader of strict YAML: what is read, and what is refused with a line number."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dlkit.recipe.strict_yaml import MAX_BYTES, AmbiguousWord, dump_yaml, parse_yaml


def problems(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [str(problem) for problem in parse_yaml(data, "r.yaml").problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("5.0e-4", 0.0005),
        ("12", 12),
        ("+3", 3),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("1_000", "1_000"),
        ("2001-01-01", "2001-01-01"),
        ("12:30", "12:30"),
        ("'1'", "1"),
        ('"no"', "no"),
        ("[1, 2e0]", [1, 2.0]),
        ("{a: {b: c}}", {"a": {"b": "c"}}),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    document = parse_yaml(text.encode(), "r.yaml")
    assert document.problems == []
    assert document.values == value
    assert type(document.values) is type(value)


@pytest.mark.parametrize("word", ["no", "yes", "on", "Off", "y", "N"])
def test_words_that_mean_a_boolean_to_some_are_marked(word: str) -> None:
    assert isinstance(parse_yaml(word.encode(), "r.yaml").values, AmbiguousWord)
    assert not isinstance(parse_yaml(f"'{word}'".encode(), "r.yaml").values, AmbiguousWord)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3: a: duplicate key: first set on line 1"),
        ("a:\n  b: 1\n  b: 2\n", "r.yaml:3: a.b: duplicate key: first set on line 2"),
        ("a: !!python/object/apply:os.system [ls]\n", "r.yaml:1: YAML tags are not allowed"),
        ("a: !!int 3\n", "r.yaml:1: YAML tags are not allowed"),
        ("a: .nan\n", "r.yaml:1: a: not a finite number: .nan"),
        ("a: 1\nb: -.inf\n", "r.yaml:2: b: not a finite number: -.inf"),
        ("a: 1e999\n", "r.yaml:1: a: not a finite number: 1e999"),
        ("base: &b {x: 1}\na:\n  <<: *b\n", "r.yaml:3: a.<<: merge keys are not allowed"),
        ("a: 1\n---\nb: 2\n", "r.yaml:2: a second document begins here"),
        ("a: [1, 2\nb: 3\n", "r.yaml:2: not YAML: "),
        ("a: b: c\n", "r.yaml:1: not YAML: "),
        ("a:\n\t- 1\n", "r.yaml:2: not YAML: "),
        ("? [a, b]\n: 1\n", "r.yaml:1: a key must be a word"),
        ("a: *missing\n", "r.yaml:1: not YAML: "),
        ("a: &x [*x]\n", "r.yaml:1: a[0]: an alias that contains itself"),
        (b"a: 1\nb: \xff\n", "r.yaml:2: not UTF-8: byte 0xff at offset 8"),
        (b"a: \x00\n", "r.yaml:1: not YAML: "),
        ("[" * 500, "r.yaml:1: nested more than 32 deep"),
        ("[" * 2000, "r.yaml:1: nested more than 32 deep"),
        ("a" * (MAX_BYTES + 1), "r.yaml: larger than 1,048,576 bytes: not a recipe"),
    ],
)
def test_traps_are_refused_with_their_line(text: str | bytes, expected: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_a_billion_laughs_are_not_funny() -> None:
    lines = ['a0: &a0 ["lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol"]']
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    found = problems("\n".join(lines))
    assert len(found) == 1
    assert "aliases unfold into more than 10,000 values" in found[0]


def test_every_problem_is_reported() -> None:
    assert len(problems("a: 1\na: 2\nb: .nan\nb: 3\n")) == 3


def test_lines_are_those_of_the_keys() -> None:
    document = parse_yaml(b"# comment\na:\n  - 1\n  - {b: 2}\nc: 3\n", "r.yaml")
    assert document.lines["a",] == 2
    assert document.lines["a", 1, "b"] == 4
    assert document.lines["c",] == 5


# without control characters and unusual line breaks, which the dumper itself does not keep
TEXT = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")))


@example("0E0")  # a float to YAML 1.2, and a string to PyYAML
@example({"1e3": ["0x1F", "+5", ".5"]})
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_dumped_is_read_back(value: object) -> None:
    document = parse_yaml(dump_yaml(value).encode(), "r.yaml")
    assert document.problems == []
    assert document.values == value


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_loader(data: bytes) -> None:
    parse_yaml(data, "r.yaml")
