"""dlkit entropy from the shell: streams, distributions, codes, figures and mistakes."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def test_a_stream_and_its_record(here: Any, stdin: Any, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8
    stdin(data)
    record = here("entropy").record
    assert (record["symbols"], record["n"], record["distinct"], record["base"]) == ("bytes", 2048, 256, 2.0)
    assert record["entropy"] == pytest.approx(8.0)
    assert record["mean"] == 127.5
    assert record["chi_square"] == 0.0
    (tmp_path / "data").write_bytes(data)
    assert here("entropy", str(tmp_path / "data")).record == record
    assert here("entropy", str(tmp_path / "data"), "-q", "--order", "1").out == "0.0\n"
    assert here("entropy", str(tmp_path / "data"), "--base", "e").record["entropy"] == pytest.approx(math.log(256))


def test_other_symbols_orders_codecs_and_codes(here: Any, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("to be or not to be\n" * 50, encoding="utf-8")
    words = here("entropy", str(path), "--symbols", "words", "--order", "2").record
    assert (words["n"], words["distinct"], len(words["orders"])) == (300, 4, 3)
    assert words["orders"][1]["entropy"] < words["orders"][0]["entropy"] < 2
    assert here("entropy", str(path), "--symbols", "lines").record["entropy"] == 0.0
    if find_spec("zstandard") is not None:
        assert set(here("entropy", str(path), "--codecs").record["codecs"]) == {"gzip", "bzip2", "xz", "zstd"}
    code = here("entropy", str(path), "--symbols", "chars", "--code", "huffman").record["code"]
    assert code["entropy_bits"] <= code["expected_length"] < code["entropy_bits"] + 1
    assert {word["symbol"] for word in code["words"]} == set("tobern \n")


def test_the_measures_of_two_distributions(here: Any) -> None:
    record = here("entropy", "--p", "0.4,0.4,0.2", "--q", "0.5,0.3,0.2").record
    p, q = np.array([0.4, 0.4, 0.2]), np.array([0.5, 0.3, 0.2])
    assert record["cross_entropy"] == pytest.approx(-(p * np.log2(q)).sum())
    assert record["kl"] == pytest.approx((p * np.log2(p / q)).sum())
    assert record["kl"] == pytest.approx(record["cross_entropy"] - record["entropy"])
    infinite = here("entropy", "--p", "0.5,0.5", "--q", "1,0").record
    assert (infinite["kl"], infinite["infinite"]) == (None, ["cross_entropy", "kl"])
    assert here("entropy", "--p", "0.5,0.5", "-q").out == "1.0\n"


def test_counts_from_a_pipe_with_labels(here: Any, stdin: Any) -> None:
    stdin(b"      2 a\n      1 b c\n      1 d\n")
    record = here("entropy", "--p", "-", "--counts", "--code", "huffman").record
    assert record["entropy"] == 1.5
    assert [(word["symbol"], word["word"]) for word in record["code"]["words"]] == [
        ("a", "0"),
        ("b c", "10"),
        ("d", "11"),
    ]


def test_rows_of_a_file(here: Any, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("# three coins\nfair,0.5,0.5\nbent,0.9,0.1\nsure,1,0\n")
    lines = here("entropy", "--p", str(tmp_path / "p.csv"), "--q", "0.5,0.5").out.splitlines()
    records = [json.loads(line) for line in lines]
    assert [(r["row"], r["label"]) for r in records] == [(1, "fair"), (2, "bent"), (3, "sure")]
    assert [r["entropy"] for r in records] == pytest.approx([1.0, 0.4689955935892812, 0.0])
    assert all(r["kl"] == pytest.approx(1 - r["entropy"]) for r in records)


def test_many_rows(here: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(1, 100, (200_000, 4))
    np.savetxt(tmp_path / "rows.txt", rows, fmt="%d")
    result = here("entropy", "--p", str(tmp_path / "rows.txt"), "--counts", "-q")
    values = [float(line) for line in result.out.splitlines()]
    p = rows / rows.sum(1, keepdims=True)
    np.testing.assert_allclose(values, -(p * np.log2(p)).sum(1), rtol=1e-12)


def test_mutual_information_of_a_joint_table(here: Any, tmp_path: Path) -> None:
    (tmp_path / "table").write_text("10 0\n0 10\n")
    record = here("entropy", "--joint", "--p", str(tmp_path / "table"), "--counts").record
    assert (record["mutual_information"], record["entropy_rows_given_columns"]) == (1.0, 0.0)
    (tmp_path / "table").write_text("1\n3\n")
    assert here("entropy", "--joint", "--p", str(tmp_path / "table"), "--counts", "-q").out == "0.0\n"


def test_the_reviews_code_is_found_out(here: Any) -> None:
    record = here("entropy", "--p", "0.4,0.4,0.2", "--check-code", "A=0,B=1,C=00").record
    assert (record["prefix_free"], record["uniquely_decodable"], record["kraft_sum"]) == (False, False, 1.25)
    assert record["ambiguous"] == {"bits": "00", "first": ["C"], "second": ["A", "A"]}
    assert record["expected_length"] == pytest.approx(1.2)
    good = here("entropy", "--p", "C=0.2,A=0.4,B=0.4", "--check-code", "A=0,B=10,C=11").record
    assert (good["uniquely_decodable"], good["expected_length"]) == (True, pytest.approx(1.6))
    assert here("entropy", "--check-code", "A=0,B=1,C=00", "-q").out == "no\n"


@pytest.mark.parametrize("name", ["shannon", "huffman", "shannon-fano-elias", "range"])
def test_every_code_of_a_distribution(here: Any, name: str) -> None:
    code = here("entropy", "--p", "0.5,0.25,0.25", "--code", name).record["code"]
    expected = 2.5 if name == "shannon-fano-elias" else 1.5
    assert code["expected_length"] == pytest.approx(expected, abs=1e-6)
    assert ("word" in code["words"][0]) == (name != "range")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--p", "0.3,0.7"],
        ["--p", "0.5,0.3,0.2"],
        ["--p", "0.5,0.3,0.2", "--code", "huffman"],
        ["--p", "0.3,0.7", "--q", "0.5,0.5"],
        ["--p", "0.5,0.3,0.2,0", "--q", "A=0.2,B=0.2,C=0.6,D=0", "--code", "huffman"],
        [__file__, "--order", "2"],
        [__file__, "--code", "shannon"],
    ],
)
def test_figures(here: Any, tmp_path: Path, arguments: list[str]) -> None:
    target = tmp_path / "figure.svg"
    result = here("entropy", *arguments, "--plot", str(target))
    assert result.code == 0, result.err
    assert target.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--p 0.4,0.4", "the sum of p is 0.8, but must be 1"),
        ("--p 0.4,x", "p[2] is not a number: 'x'"),
        ("--p=-0.1,1.1", "p[1] is negative"),
        ("--p nan,1", "not a finite number"),
        ("--p 0.5,0.5 --q 1", "p has 2 outcomes, q has 1"),
        ("--p A=0.5,0.5", "some numbers have a label"),
        ("--p A=0.5,A=0.5", "a label appears twice"),
        ("--p A=0.5,B=0.5 --q B=0.5,A=0.5", "label their outcomes differently"),
        ("--p absent.csv", "neither numbers nor a file"),
        ("--p 1 --joint --q 1", "--joint goes with"),
        ("--p 1 --order 1", "--order is about a stream"),
        ("--p 1 --codecs", "--codecs is about a stream"),
        ("--q 1", "--q needs --p"),
        ("--counts", "--counts needs --p"),
        ("--p 1 --base 1", "a base is a number above 1"),
        ("--p 1 --base x", "a base is a number above 1"),
        ("--p 1 --plot figure.jpg", "--plot figure.jpg does not end in .svg, .png or .pdf"),
        ("--p 1 --code morse", "Invalid value for '--code'"),
        ("--check-code A=0,B", "'B' has no word"),
        ("--check-code A=0,A=1", "'A' appears twice"),
        ("--check-code A=2", "the code word of A is '2'"),
        ("--check-code A=0,B=1 --p 1", "the code has 2 words, p has 1 numbers"),
        ("--order -1", "Invalid value for '--order'"),
    ],
)
def test_mistakes_are_one_line(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = here("entropy", *arguments.split())
    assert (result.code, result.out) == (2, "")
    assert expected in result.err.splitlines()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "holds no numbers"),
        ("0.5 0.5\n1\n", ":2: 1 numbers, but 2"),
        ("a 1\nb x y\n", ":2: no number"),
        ("# 1\n", "no numbers"),
    ],
)
def test_mistakes_in_a_file_name_their_line(here: Any, tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "p.txt").write_text(text)
    result = here("entropy", "--p", str(tmp_path / "p.txt"))
    assert result.code == 2
    assert expected in result.err.splitlines()[0]


def test_files_that_cannot_be_read(here: Any, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        result = here("entropy", str(path))
        assert result.code == 1
        assert str(path) in result.err.splitlines()[0]
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    result = here("entropy", str(tmp_path / "binary"), "--symbols", "chars")
    assert (result.code, "not UTF-8" in result.err) == (2, True)


def test_an_empty_stream(here: Any, stdin: Any) -> None:
    stdin(b"")
    record = here("entropy").record
    assert (record["n"], record["entropy"], record["mean"]) == (0, 0.0, None)


def test_an_order_beyond_the_stream_is_refused(here: Any, tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert here("entropy", str(tmp_path / "abc"), "--order", "2").record["orders"][2]["contexts"] == 1
    for order in ("3", "100000", "9" * 20):
        result = here("entropy", str(tmp_path / "abc"), "--order", order)
        assert result.code == 2
        assert f"--order {order}: 3 bytes hold no sequence" in result.err


def test_numeric_symbols_of_uniq_are_understood_and_said(here: Any, stdin: Any) -> None:
    for mark in (b"", b"\xef\xbb\xbf"):
        stdin(mark + b"      3 7\n      1 9\n")
        result = here("entropy", "--p", "-", "--counts", "--code", "huffman")
        assert result.record["entropy"] == pytest.approx(0.8112781244591328)
        assert result.record["form"] == "2 symbols with their counts, as `uniq -c` writes them"
        assert [word["symbol"] for word in result.record["code"]["words"]] == ["7", "9"]
        assert result.err.splitlines() == ["p: 2 symbols with their counts, as `uniq -c` writes them"]


def test_symbols_that_are_no_text_leave_the_record_json(here: Any, stdin: Any, tmp_path: Path) -> None:
    stdin(b"      3 \xff\n      1 \xfe$x^$\n")
    words = here("entropy", "--p", "-", "--counts", "--code", "huffman", "--plot", str(tmp_path / "p.svg")).record
    assert [len(word["symbol"]) for word in words["code"]["words"]] == [1, 5]
    stdin(b"\xff 1 3\n\xfe 2 2\n")
    records = here("entropy", "--p", "-", "--counts").records
    assert [record["entropy"] for record in records] == pytest.approx([0.8112781244591328, 1.0])


def test_a_dash_is_standard_input(piped: Any) -> None:
    result = piped(b"abca", "entropy", "-", "-q")  # 1/2, 1/4, 1/4
    assert (result.code, result.out) == (0, "1.5\n")
