"""Numbers in files: what `uniq -c`, editors and spreadsheets write, against scipy's entropy of the same counts."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from scipy.stats import entropy

from dlkit.errors import RequestError
from dlkit.information import rows

SYMBOLS = ["7", "9", "", "two words", "7 up", "3 4", "A=3", "# no comment", "a;b", "1,5", "nan", "é", " indented", "\t"]


def read(path: Path, text: str | bytes, counts: bool = True) -> rows.Rows:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return rows.read_rows(str(path), "p", counts=counts)


@pytest.mark.skipif(shutil.which("uniq") is None, reason="there is no uniq here")
@pytest.mark.parametrize("symbols", [["7", "9"], SYMBOLS, [str(n) for n in range(50)], [f"{n:4d}" for n in range(50)]])
def test_what_uniq_counts_is_read_as_symbols_and_their_counts(tmp_path: Path, symbols: list[str]) -> None:
    draw = random.Random(len(symbols))
    lines = sorted(draw.choices(symbols, k=400))
    counted = subprocess.run(["uniq", "-c"], input="".join(f"{line}\n" for line in lines).encode(), capture_output=True)
    table = read(tmp_path / "counted", counted.stdout)
    assert dict(zip(table.columns or (), table.values[0].tolist(), strict=True)) == {
        s: lines.count(s) for s in set(lines)
    }
    p = table.values[0] / table.values.sum()
    assert entropy(p, base=2) == pytest.approx(entropy([lines.count(s) for s in set(lines)], base=2))


@pytest.mark.parametrize(
    "text",
    [
        "      3 7\n      1 9\n",
        "\ufeff      3 7\r\n      1 9\r\n\r\n\n",  # as an editor saves it
        "   3 7\n   1 9",  # BSD
        "      3 7\n00000001 9\n",  # a count that fills its place
        "3\n1\n",
        "\ufeff3\r\n1\r\n",
        "3,1\n",
        "\ufeff3;1",
        "a 3\nb 1\n\n",
        "3 a\n1 b\n",
    ],
)
def test_every_form_of_three_to_one(tmp_path: Path, text: str) -> None:
    table = read(tmp_path / "counts", text)
    assert table.values.tolist() == [[3, 1]]
    assert table.form is not None


def test_the_empty_line_is_a_symbol(tmp_path: Path) -> None:
    for text in ("     12 \n      3 a\n", "     12\n      3 a\n"):
        table = read(tmp_path / "counted", text)
        assert table.columns == ("", "a")
        assert table.values.tolist() == [[12, 3]]


def test_rows_of_numbers_stay_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "table", "3 7\n1 9\n").values.tolist() == [[3, 7], [1, 9]]
    assert read(tmp_path / "table", "3, 7\n1, 9\n").values.tolist() == [[3, 7], [1, 9]]
    assert read(tmp_path / "table", "\ufeff0.1,0.2,0.7\n", counts=False).values.tolist() == [[0.1, 0.2, 0.7]]
    assert read(tmp_path / "table", "1 2 x\fy\n3 4 z\n").values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "counts", "message"),
    [
        ("  3 7\n  1 9\n", True, "'  3 7' may be a count and a symbol, or 2 numbers of a table"),
        ("      3       7\n     11      19\n", True, "may be a count and a symbol"),
        ("      3 a\n      1 b\n      1 a\n", True, "lines 1 and 3 both count 'a'"),
        ("a 0.5\na 0.5\n", False, "lines 1 and 2 both count 'a'"),
        ("0,5;0,5\n", True, "'0,5;0,5': are these decimal commas"),
        ("0,5 0,5\n", True, "decimal commas"),
        ("0,05\n0,95\n", True, "decimal commas"),
        ("0,25\n0,75\n", False, ":1: '0,25': are these decimal commas, or counts?"),
        (b"\xff\xfe3\x00", True, "is UTF-16, not UTF-8"),
        ("3\n1\n".encode("utf-16-le"), True, "byte 1 is 0"),
        (b"3 a\0001 b\0", True, "byte 3 is 0"),
        ("3 7 up\n1 hello\n", True, ":2: 1 numbers, but 2"),
        ("1 a\n2\n3\n", True, "some lines have a label and 2 have none"),
        ("\n\n", True, "holds no numbers"),
    ],
)
def test_what_may_mean_two_things_is_refused(tmp_path: Path, text: str | bytes, counts: bool, message: str) -> None:
    with pytest.raises(RequestError) as error:
        read(tmp_path / "numbers", text, counts)
    assert message in error.value.message


def test_an_endless_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_BYTES", 100)
    with pytest.raises(RequestError, match="larger than 100 bytes"):
        read(tmp_path / "long", "1\n" * 51)
