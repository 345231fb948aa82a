"""`dlkit.entropy` is what `dlkit entropy` prints, and what scipy computes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

import dlkit
from dlkit.cli.app import run as command

Shell = Callable[..., list[dict[str, Any]]]
TEXT = b"to be or not to be\n" * 50


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str]) -> Shell:
    """The records that the command prints."""

    def call(*arguments: str) -> list[dict[str, Any]]:
        assert command(["entropy", *arguments]) == 0
        return [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    return call


def records(**options: Any) -> list[dict[str, Any]]:
    """Those of the function, as JSON has them."""
    found = list(dlkit.entropy(**options).result().records)
    return json.loads(json.dumps(found).replace("Infinity", "null"))


def test_a_stream(shell: Shell, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    options: dict[str, Any] = {"symbols": "words", "order": 1, "code": "huffman"}
    found = records(file=path, **options)
    assert capfd.readouterr() == ("", "")
    assert found == shell(str(path), "--symbols", "words", "--order", "1", "--code", "huffman")
    (record,) = records(file=path, base=math.e)
    counts = np.unique(np.frombuffer(TEXT, dtype=np.uint8), return_counts=True)[1]
    assert record["entropy"] == pytest.approx(stats.entropy(counts))


def test_distributions_as_numbers_and_as_the_command_takes_them(shell: Shell, tmp_path: Path) -> None:
    p, q = [0.4, 0.4, 0.2], [0.5, 0.3, 0.2]
    printed = shell("--p", "0.4,0.4,0.2", "--q", "0.5,0.3,0.2")
    assert records(p=p, q=q) == records(p=np.array(p), q="0.5,0.3,0.2") == printed
    (record,) = printed
    assert record["kl"] == pytest.approx(stats.entropy(p, q, base=2))
    assert record["jensen_shannon"] == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    printed = shell("--p", "A=2,B=6", "--counts", "--code", "huffman")
    assert records(p={"A": 2, "B": 6}, counts=True, code="huffman") == printed

    path = tmp_path / "rows.csv"
    path.write_text("0.5,0.5\n0,1\n", encoding="utf-8")
    several = dlkit.entropy(p=str(path), q=[1, 0])
    assert [event.text for event in several] == ["p: 2 distributions, one a line, of 2 numbers"]
    assert len(several.result().records) == 2
    assert records(p=str(path), q=[1, 0]) == shell("--p", str(path), "--q", "1,0")
    assert several.result().records[1]["infinite"] == ["cross_entropy", "kl", "kl_reverse"]


def test_joint_tables_and_codes(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("1,2\n3,4\n", encoding="utf-8")
    table = [[1, 2], [3, 4]]
    (record,) = records(p=table, counts=True, joint=True)
    (printed,) = shell("--p", str(path), "--counts", "--joint")
    assert record == {key: value for key, value in printed.items() if key != "form"}
    x, y = np.sum(table, 1), np.sum(table, 0)
    separate = stats.entropy(x, base=2) + stats.entropy(y, base=2)
    assert record["mutual_information"] == pytest.approx(separate - stats.entropy(np.ravel(table), base=2))
    words = {"A": "0", "B": "1", "C": "00"}
    assert records(check_code=words, p=[0.4, 0.4, 0.2]) == shell("--check-code", "A=0,B=1,C=00", "--p", "0.4,0.4,0.2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": [0.4, 0.4]}, "the sum of p is 0.8"),
        ({"p": [[0.5, 0.5], [1]]}, "p is not a distribution"),
        ({"p": 0.5}, "p has the shape"),
        ({"p": [1.0], "symbols": "words"}, "is about a stream"),
        ({"q": [1.0]}, "needs"),
        ({"p": [1.0], "code": "morse"}, "no code 'morse'"),
        ({"file": __file__, "symbols": "pages"}, "no symbols 'pages'"),
        ({"file": __file__, "base": 1.0}, "a base is a number above 1"),
    ],
)
def test_wrong_requests(options: dict[str, Any], message: str) -> None:
    with pytest.raises(dlkit.RequestError, match=message):
        dlkit.entropy(**options).result()
