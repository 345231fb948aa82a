"""Parquet shards of images: classes met by name, labels of every type, and rows that come mixed."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy import stats

from dlkit.data.images.imagenet import imagenet
from dlkit.data.images.parquet_shards import ParquetImages
from dlkit.data.images.stream_order import windowed_shuffle
from dlkit.errors import DlkitError

CATS, DOGS = (230, 20, 20), (20, 20, 230)


def encoded(colour: tuple[int, int, int]) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def shard(file: Path, label: pa.Array, kinds: str, names: Any = None, column: str = "label") -> None:
    """`kinds` has c for a picture of a cat and d for a dog; `names` are written as the hub does."""
    pictures = {"c": encoded(CATS), "d": encoded(DOGS)}
    table = pa.table({"image": [pictures[kind] for kind in kinds], column: label})
    if names is not None:
        info = {"info": {"features": {column: {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps(info).encode()})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)


def seen(folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes, and what each split calls its pictures, with the class's first letter."""
    data = imagenet(path=folder, size=8)
    found: dict[str, str] = {}
    for name, split in data.splits.items():
        source: Any = split.inputs
        kinds = ["c" if source.image(row).getpixel((0, 0)) == CATS else "d" for row in range(len(split.targets))]
        found[name] = " ".join(
            f"{kind}={data.classes[target]}" for kind, target in zip(kinds, split.targets.tolist(), strict=True)
        )
    return data.classes, found


def test_classes_of_shards_meet_by_name(tmp_path: Path) -> None:
    number = pa.array([0, 1], pa.int64())
    shard(tmp_path / "train-00000-of-00002.parquet", number, "cd", ["cat", "dog"])
    shard(tmp_path / "train-00001-of-00002.parquet", number, "dc", ["dog", "cat"])
    shard(tmp_path / "validation-00000-of-00001.parquet", number, "dc", {"1": "cat", "0": "dog"})
    shard(tmp_path / "test-00000-of-00001.parquet", pa.array(["dog", "cat"]), "dc")
    assert seen(tmp_path) == (
        ("cat", "dog"),
        {"train": "c=cat d=dog d=dog c=cat", "val": "d=dog c=cat", "test": "d=dog c=cat"},
    )


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array(["dog", "cat", "dog"]), ("cat", "dog")),
        (pa.array(["dog", "cat", "dog"], pa.large_string()), ("cat", "dog")),
        (pa.array(["dog", "cat", "dog"]).dictionary_encode(), ("cat", "dog")),
        (pa.array([True, False, True]), ("false", "true")),
        (pa.array([1.0, 0.0, 1.0], pa.float32()), ("0", "1")),
        (pa.array([1, 0, 1], pa.uint8()), ("0", "1")),
        (pa.array([1, 0, 1], pa.int8()), ("0", "1")),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_labels_of_every_type(labels: pa.Array, classes: tuple[str, ...], tmp_path: Path) -> None:
    shard(tmp_path / "train.parquet", labels, "dcd")
    c, d = classes
    assert seen(tmp_path) == (classes, {"train": f"d={d} c={c} d={d}"})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pa.array([0.5, 1.7]), r"train\.parquet: label 0\.5 in row 1, but a class is a whole number or text"),
        (pa.array([0.0, float("nan")]), "label nan in row 2"),
        (pa.array([0, None]), "1 rows of the train shards have no label, the first is row 2"),
        (pa.array(["cat", None]), "1 rows of the train shards have no label, the first is row 2"),
        (pa.array([0, -1]), "1 rows of the train shards have no label, the first is row 2"),
        (pa.array([[0], [1]]), r"labels are list<.*>; text, whole numbers or booleans are needed"),
        (pa.array([0, 10**10]), "label 10000000000 without names"),
        (pa.array(["cat", "cat"]), "only one class, 'cat'"),
    ],
)
def test_labels_that_are_no_classes(labels: pa.Array, message: str, tmp_path: Path) -> None:
    shard(tmp_path / "train.parquet", labels, "cd")
    with pytest.raises(DlkitError, match=message):
        imagenet(path=tmp_path, size=8)


def test_classes_that_cannot_meet(tmp_path: Path) -> None:
    number = pa.array([0, 1])
    shard(tmp_path / "train.parquet", number, "cd", ["cat", "dog"])
    shard(tmp_path / "test.parquet", pa.array(["cat", "wolf"]), "cd")
    with pytest.raises(DlkitError, match=r"test\.parquet: the class 'wolf' is not in train"):
        imagenet(path=tmp_path, size=8)
    shard(tmp_path / "test.parquet", number, "cd")
    assert seen(tmp_path)[1]["test"] == "c=cat d=dog"
    assert "does not name its classes" in imagenet(path=tmp_path, size=8).sources["remarks"][0]
    shard(tmp_path / "val.parquet", number, "dc", ["dog", "cat"])
    with pytest.raises(DlkitError, match=r"test\.parquet has numbers that it does not name"):
        imagenet(path=tmp_path, size=8)
    shard(tmp_path / "test.parquet", pa.array([0, 2]), "cd", ["cat", "dog"])
    with pytest.raises(DlkitError, match="label 2, but only 2 names"):
        imagenet(path=tmp_path, size=8)


def test_a_test_split_with_secret_labels_is_left_out_with_a_word(tmp_path: Path) -> None:
    shard(tmp_path / "train.parquet", pa.array([0, 1]), "cd", ["cat", "dog"])
    shard(tmp_path / "test.parquet", pa.array([-1, -1]), "cd", ["cat", "dog"])
    data = imagenet(path=tmp_path, size=8)
    assert list(data.splits) == ["train"]
    assert data.sources["remarks"] == [f"{tmp_path}: the test shards have no labels, and are left out"]


def test_shards_that_datasets_writes(tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets")  # which writes them as the hub does
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat"])})
    for split, kinds in (("train", "cdc"), ("validation", "dc")):
        pictures = [Image.new("RGB", (8, 8), CATS if kind == "c" else DOGS) for kind in kinds]
        rows = {"image": pictures, "label": ["cat" if kind == "c" else "dog" for kind in kinds]}
        datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    assert seen(tmp_path) == (("dog", "cat"), {"train": "c=cat d=dog c=cat", "val": "d=dog c=cat"})


@pytest.mark.parametrize(
    "names",
    [
        ("Train-00000-of-00001.parquet", "Validation-00000-of-00001.parquet"),
        ("TRAIN.PARQUET", "DEV.PARQUET"),
        ("training_0.parquet", "valid_0.parquet"),
        ("pets-train-00000-of-00001-1a2b3c.parquet", "pets-val-00000-of-00001-d4e5f6.parquet"),
        ("train/0000.parquet", "validation/0000.parquet"),
        ("data/Train/0000.parquet", "data/Dev/0000.parquet"),
    ],
)
def test_splits_of_shards_in_any_spelling(names: Sequence[str], tmp_path: Path) -> None:
    for name, kinds in zip(names, ("cd", "dc"), strict=True):
        shard(tmp_path / name, pa.array(["cat" if kind == "c" else "dog" for kind in kinds]), kinds)
    assert seen(tmp_path)[1] == {"train": "c=cat d=dog", "val": "d=dog c=cat"}


def test_shards_of_no_split_are_counted_and_of_two_refused(tmp_path: Path) -> None:
    for name in ("train.parquet", "extra.parquet"):
        shard(tmp_path / name, pa.array([0, 1]), "cd")
    data = imagenet(path=tmp_path, size=8)
    assert "; left out: 1 Parquet files of no split; each epoch in a uniformly random order" in data.sources["taken"]
    shard(tmp_path / "train-test.parquet", pa.array([0, 1]), "cd")
    with pytest.raises(DlkitError, match=r"train-test\.parquet: of which split, test or train\?"):
        imagenet(path=tmp_path, size=8)


# ---------------------------------------------------------------------- order


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sorted_rows_come_as_drawn_without_replacement() -> None:
    # ten classes of 140 rows, one after another, in row groups of 100
    classes, batch, found = torch.arange(1400) // 140, 50, list[np.ndarray]()
    for seed in range(40):
        order = windowed_shuffle([100] * 14, 1400, generator(seed))
        assert torch.equal(order.sort().values, torch.arange(1400))
        found += [torch.bincount(classes[rows], minlength=10).numpy() for rows in order.split(batch)]
    counts = np.concatenate(found)
    expected: Any = stats.hypergeom(1400, 140, batch)
    # how often a class has so many of a batch, beside what the hypergeometric distribution says
    kinds = np.arange(12)
    observed = np.array([(counts == kind).sum() for kind in kinds] + [(counts > 11).sum()])
    right = np.append(expected.pmf(kinds), expected.sf(11)) * len(counts)
    assert stats.chisquare(observed, right).pvalue > 1e-4


def test_a_window_bounds_what_is_kept_and_mixes_all_of_it() -> None:
    counts, window = [100] * 200, 1000
    order = windowed_shuffle(counts, window, generator(1))
    assert torch.equal(order.sort().values, torch.arange(20_000))
    assert torch.equal(order, windowed_shuffle(counts, window, generator(1)))
    assert not torch.equal(order, windowed_shuffle(counts, window, generator(2)))
    groups = [torch.bincount(rows // 100, minlength=200) for rows in order.split(100)]
    # a hundred rows come from about window / 100 groups, wherever in the epoch, and none has many of them
    assert min(int((group > 0).sum()) for group in groups) >= 8
    assert max(int(group.max()) for group in groups) <= 40


def test_a_shard_reads_each_group_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"image": encoded((i, 0, 0)), "label": 0} for i in range(240)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=10)
    source = ParquetImages([str(tmp_path / "x.parquet")], "image", [(0, group, 10) for group in range(24)], 8, 40)
    reads: list[int] = []
    whole = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, *rest: (reads.append(i), whole(self, i, *rest))[1]
    )
    order = source.order(generator(0)).tolist()
    assert [source.image(row).getpixel((0, 0))[0] for row in order] == order  # pyright: ignore
    # those around the seam of the epoch are read twice
    assert len(reads) <= 24 + 6
    held: Any = source
    assert sum(10 for _ in held._groups) <= 40 + 2 * 10


@pytest.mark.parametrize("window", [40, 1000])
def test_what_randomness_a_stream_has_is_said(window: int) -> None:
    said = ParquetImages([], "image", [(0, 0, 100), (0, 1, 100)], 8, window).randomness()
    assert said == (
        "each epoch in a uniformly random order"
        if window == 1000
        else "each epoch in a random order of row groups, each row mixed among the 40 around it"
    )
