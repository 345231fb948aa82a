"""`dlkit data`: what a model will see."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from dlkit import recipe
from dlkit.assemble import load_data
from tests.cli.conftest import Here


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two splits of two classes of noise; an image of train/cat is in val/dog too, and a text file lies beside it."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    shutil.copy(tmp_path / "photos/train/cat/3.png", tmp_path / "photos/val/dog/copy.png")
    (tmp_path / "photos/train/cat/notes.txt").write_text("x")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    "kind", [["images-resnet20", "data.validation=0", "data.test=0"], ["imagenet-resnet50", "data.workers=0"]]
)
def test_images_in_class_folders(here: Here, photos: Path, tmp_path: Path, kind: list[str]) -> None:
    sheet = tmp_path / "sheet.png"
    record = here("data", *kind, f"data.path={photos}", "data.size=8", "--png", str(sheet)).record
    there = {split: Counter(path.parent.name for path in (photos / split).rglob("*.png")) for split in ("train", "val")}
    assert {split: values["classes"] for split, values in record["splits"].items()} == there
    assert record["left_out"] == {".txt": 1}
    assert record["image"]["shape"] == [3, 8, 8]
    (across,) = record["duplicates"]["across"]
    assert across["splits"] == ["train", "val"]
    assert across["examples"] == [[str(photos / "train/cat/3.png"), str(photos / "val/dog/copy.png")]]
    assert (across["count"], across["answers_differ"]) == (1, 1)
    assert Image.open(sheet).size[0] > 1000
    assert here("data", *kind, f"data.path={photos}", "-q").out == "1\n"


def test_evaluated_images_on_the_sheet_are_those_of_the_files(photos: Path) -> None:
    loaded = recipe.load("images-resnet20", [f"data.path={photos}", "data.validation=0", "data.test=0", "data.size=8"])
    found = load_data(loaded).sheet_images(loaded, "val", False, 36)
    files = sorted((photos / "val").rglob("*.png"))
    expected = torch.stack([torch.from_numpy(np.array(Image.open(file))) for file in files]).permute(0, 3, 1, 2)
    assert torch.allclose(found.pixels * 255, expected.float(), atol=1e-3)
    assert found.labels == [file.parent.name for file in files]


def test_embedded_digits_are_whole(here: Here) -> None:
    record = here("data", "digits-mlp").record
    digits: Any = load_digits()
    counted = Counter[str]()
    for values in record["splits"].values():
        counted.update(values["classes"])
    assert counted == Counter(map(str, digits.target))
    assert record["duplicates"] == {"unit": "rows", "within": {"train": 0, "test": 0}, "across": []}
    assert len(np.unique(digits.data, axis=0)) == len(digits.data)


def test_rows_of_a_table(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [(i % 7, i * i, "xy"[i % 2]) for i in range(60)] + [(3, 3481, "x")]  # row 61 is row 60 with another label
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("a", "b", "kind"), *rows])
    arguments = [f"data.path={path}", "data.label=kind", "data.test=0.5", "data.validation=0", "data.columns=[a, b]"]
    record = here("data", "csv-mlp", *arguments, "seed=0").record
    assert [(one["name"], one["type"]) for one in record["columns"]] == [("a", "number"), ("b", "number")]
    assert record["columns"][0]["distinct"] == 7
    assert sum(values["rows"] for values in record["splits"].values()) == 61
    found = record["duplicates"]  # whichever split the two rows are in
    assert sum(found["within"].values()) + sum(pair["count"] for pair in found["across"]) == 1
    for pair in found["across"]:
        assert sorted(pair["examples"][0]) == ["rows.csv, row 60", "rows.csv, row 61"]
    refused = here("data", "csv-mlp", *arguments, "--png", str(tmp_path / "x.png"))
    assert (refused.code, refused.err.splitlines()[0]) == (2, "error: rows holds no images to draw")


def test_lengths_of_texts(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    words = [" ".join(["word"] * (1 + i % 9)) + f" {i}" for i in range(40)]
    path.write_text("text,label\n" + "".join(f"{text},{'ab'[i % 2]}\n" for i, text in enumerate(words)))
    arguments = [f"data.path={path}", "data.text=text", "data.label=label", "tokenizer.name=byte", "data.context=1024"]
    record = here("data", "texts-bert", *arguments).record
    tokens = [values["tokens"] for values in record["tokens"].values()]
    assert sum(tokens) == sum(len(text.encode()) + 2 for text in words)  # [CLS] and [SEP]
    assert record["tokens"]["train"]["longest"] == max(len(text) for text in words) + 2
    short = here("data", "texts-bert", *arguments[:-1], "data.context=8").record["tokens"]["train"]
    assert short["longest"] == 8
    assert short["share_cut"] > 0.5


def test_training_says_what_its_data_is(here: Here, tmp_path: Path) -> None:
    arguments = ("train", "digits-mlp", "train.epochs=1", "model.hidden=[4]", "--run-dir", str(tmp_path / "r"))
    line = "data: digits: train 1,437, test 360 rows; 10 classes, from 139 of '8' to 146 of '3' in train"
    assert line in here(*arguments).err.splitlines()
    assert here(*arguments, "--overwrite", "-q").err == ""
