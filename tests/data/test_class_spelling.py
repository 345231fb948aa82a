"""Classes that a reader cannot tell apart are named, with what cannot be seen in them spelt out."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dlkit.data.class_spelling import look_alikes, quoted_name, visible
from dlkit.data.images.image_folder import image_folder
from dlkit.data.images.imagenet import imagenet
from dlkit.data.tables.table_data import csv, jsonl, parquet
from dlkit.data.text.labelled import labelled_texts
from dlkit.errors import DlkitError

ALIKE = {
    "zero-width space": ("cat\u200b", r"'cat\u200b'"),
    "byte-order mark": ("ca\ufefft", r"'ca\ufefft'"),
    "soft hyphen": ("c\u00adat", r"'c\xadat'"),
    "left-to-right mark": ("\u200ecat", r"'\u200ecat'"),
    "override of direction": ("\u202ecat\u202c", r"'\u202ecat\u202c'"),
    "variation selector": ("cat\ufe0f", r"'cat\ufe0f'"),
    "null": ("cat\0", r"'cat\x00'"),
    "filler": ("cat\u3164", r"'cat\u3164'"),
    "capital": ("Cat", "'Cat'"),
    "full width": ("\uff43at", "'\uff43at'"),
}


@pytest.mark.parametrize(("name", "shown"), ALIKE.values(), ids=ALIKE)
def test_what_looks_like_a_cat(name: str, shown: str) -> None:
    assert look_alikes(["cat", "dog", name]) == [sorted(["cat", name])]
    assert quoted_name(name) == shown


def test_accents_have_two_codings() -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert look_alikes([composed, apart]) == [sorted([composed, apart])]
    assert quoted_name(composed) == "'café'"
    assert quoted_name(apart) == r"'cafe\u0301'"


def test_what_is_seen_to_differ_differs() -> None:
    assert not look_alikes(["cat", "cats", "c at", "cät", "\u0441at", "1", "2", "٣"])
    assert visible("\u200b\ufeff \u00ad") == ""
    assert look_alikes(["a b", "a\u00a0b", "a\tb"]) == [["a\tb", "a b", "a\u00a0b"]]


@pytest.mark.parametrize(
    "alike",
    [
        ["5%", "5.0%", "5 %"], ["1,000", "1000", "1000.0"], ["-1", "\u22121"], ['"cat"', "cat", "\u201ccat\u201d"],
        ["1", "true", "TRUE"], ["0", "False"], ["no", "n"], ["Yes", "y"], ["0x1F", "0x1f"],
    ],
)  # fmt: skip
def test_spellings_of_one_value_look_alike(alike: list[str]) -> None:
    others = ["cats", "7", "7%", "1,00", "maybe", "-2", "0x2a"]
    assert look_alikes([*others, *alike]) == [sorted(alike)]


def test_numbers_look_alike_by_their_value() -> None:
    one = ["1", "01", "1.0", "+1", "10e-1", "1.00e0", "0.1e1"]
    assert look_alikes(one) == [sorted(one)]
    assert look_alikes(["0", "-0", "0.00", "0e7"]) == [sorted(["0", "-0", "0.00", "0e7"])]
    assert look_alikes(["inf", "Infinity", "+inf"]) == [sorted(["inf", "Infinity", "+inf"])]
    apart = ["9007199254740992", "9007199254740993", "1e23", "100000000000000000000001", "-1", "1", "10", "-inf", "inf"]
    assert not look_alikes(apart)
    assert not look_alikes(["naninity", "nan", "1e99999999999999999999", "1" * 5000, "2" * 5000])


def _csv(file: Path, labels: list[str]) -> Any:
    file.write_text("x,label\n" + "".join(f"{i},{name}\n" for i, name in enumerate(labels)), encoding="utf-8")
    return csv(path=file, label="label")


def _jsonl(file: Path, labels: list[str]) -> Any:
    file.write_text("".join(json.dumps({"x": i, "label": name}) + "\n" for i, name in enumerate(labels)))
    return jsonl(path=file, label="label")


def _parquet(file: Path, labels: list[str]) -> Any:
    column = pa.array(labels).dictionary_encode()
    pq.write_table(pa.table({"x": list(range(len(labels))), "label": column}), file)
    return parquet(path=file, label="label")


def _texts(file: Path, labels: list[str]) -> Any:
    file.write_text("".join(json.dumps({"text": f"t{i}", "label": name}) + "\n" for i, name in enumerate(labels)))
    return labelled_texts(path=file.rename(file.with_suffix(".jsonl")), text="text", label="label")


@pytest.mark.parametrize("read", [_csv, _jsonl, _parquet, _texts])
def test_every_table_remarks_on_classes_that_look_alike(read: Callable[[Path, list[str]], Any], tmp_path: Path) -> None:
    data = read(tmp_path / "file", ["cat", "cat\u200b", "dog"] * 8)
    assert data.classes == ("cat", "cat\u200b", "dog")
    assert data.sources["remarks"] == [r"label 'label': 'cat', 'cat\u200b' are 2 classes, as they are written"]


@pytest.mark.parametrize("read", [_csv, _jsonl, _parquet, _texts])
def test_a_label_that_shows_nothing_is_missing(read: Callable[[Path, list[str]], Any], tmp_path: Path) -> None:
    with pytest.raises(DlkitError, match="a missing value in column 'label'"):
        read(tmp_path / "file", ["cat", "\u200b", "dog"] * 8)


@pytest.mark.parametrize("read", [image_folder, imagenet])
def test_folders_of_classes_that_look_alike(read: Callable[..., Any], tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "cat\u200b"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / split / name / "0.png")
    shown = rf"{tmp_path}: 'cat', 'cat\u200b' are 2 classes, as they are written"
    assert shown in read(path=tmp_path).sources["remarks"]
    shutil.move(tmp_path / "test" / "cat", tmp_path / "test" / "ca\u00adt")
    with pytest.raises(DlkitError, match=r"the class 'ca\\xadt' is not in train"):
        read(path=tmp_path)


def test_shards_of_classes_that_look_alike(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    image = {"bytes": (tmp_path / "0.png").read_bytes(), "path": "0.png"}
    for split in ("train", "validation"):
        table = pa.table({"image": [image, image], "label": ["caf\u00e9", "cafe\u0301"]})
        pq.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    remark = rf"{tmp_path}: 'cafe\u0301', 'café' are 2 classes, as they are written"
    assert remark in imagenet(path=tmp_path).sources["remarks"]


@pytest.mark.parametrize("odd", ["naninity", "1" * 5000])
def test_what_is_no_number_is_text(tmp_path: Path, odd: str) -> None:
    assert _csv(tmp_path / "rows.csv", ["1", "1", odd, odd] * 9).classes == ("1", odd)
