"""Images of the Hub's layouts against `datasets` and PIL."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from dlkit.data.hub.images import hub_images
from dlkit.data.known import Known
from dlkit.errors import DlkitError, RequestError

datasets: Any = pytest.importorskip("datasets")


def upright(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def pixels_of(data: Any, split: str, row: int) -> np.ndarray:
    return np.asarray(data.splits[split].inputs.image(row))


def stored(folder: Path, split: str) -> Any:
    loaded = datasets.load_dataset(str(folder), split=split, cache_dir=str(folder / "cache"))
    return loaded.cast_column("image", datasets.Image(decode=False))


@pytest.fixture(scope="module")
def saved(animals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "animals"
    splits = {split: stored(animals, split) for split in ("train", "validation")}
    datasets.DatasetDict(splits).cast_column("image", datasets.Image()).save_to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def folders(animals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of an imagefolder: SPLIT/CLASS/FILE."""
    root = tmp_path_factory.mktemp("folders") / "animals"
    for split in ("train", "validation"):
        rows = stored(animals, split)
        for row, name in zip(rows, rows.features["label"].int2str(rows["label"]), strict=True):
            place = root / split / name
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{row['idx']:04}.jpg").write_bytes(row["image"]["bytes"])
    return root


@pytest.mark.parametrize("layout", ["animals", "saved", "folders"])
def test_every_layout_has_the_rows_and_classes_of_datasets(layout: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(layout)
    data = hub_images(path=str(folder), size=16)
    assert data.classes == ("cat", "dog", "owl")
    assert {name: len(split.targets) for name, split in data.splits.items()} == {"train": 30, "val": 9}
    reference = datasets.load_from_disk(folder) if layout == "saved" else None
    for ours, theirs in (("train", "train"), ("val", "validation")):
        rows = reference[theirs] if reference is not None else stored(folder, theirs)
        rows = rows.cast_column("image", datasets.Image(decode=False))
        assert data.splits[ours].targets.tolist() == rows["label"]
        for row in (0, 4, len(rows) - 1):
            value = rows[row]["image"]
            expected = upright(value["bytes"] or Path(value["path"]).read_bytes())
            assert expected.shape == (24, 16, 3)
            np.testing.assert_array_equal(pixels_of(data, ours, row), expected)


def test_parquet_is_read_in_place_and_what_is_left_out_is_said(animals: Path) -> None:
    data = hub_images(path=str(animals), size=16)
    assert data.sources["left_out"] == ["column 'idx'"]
    assert data.sources["taken"] == (
        f"{animals}: train 30, val 9 (validation); image 'image', label 'label': 3 classes (cat, dog, owl); "
        "left out: column 'idx'"
    )
    again: Any = pickle.loads(pickle.dumps(data.splits["train"].inputs))  # as a worker process gets it
    np.testing.assert_array_equal(np.asarray(again.image(17)), pixels_of(data, "train", 17))


def test_validation_is_held_out_by_class_where_there_is_none(animals: Path) -> None:
    data = hub_images(path=str(animals), size=16, split="train", validation=0.2)
    counts = {name: sorted(torch.bincount(split.targets).tolist()) for name, split in data.splits.items()}
    assert counts == {"train": [6, 6, 7], "val": [1, 2, 2], "test": [2, 2, 2]}
    sources: dict[str, Any] = {name: split.inputs for name, split in data.splits.items()}
    assert len({source.name(row) for source in sources.values() for row in range(source.shape[0])}) == 30
    order = sources["train"].order(torch.Generator().manual_seed(1))
    assert sorted(order.tolist()) == list(range(19))


def test_classes_are_matched_by_name_for_a_trained_model(animals: Path) -> None:
    own = hub_images(path=str(animals), size=16)
    data = hub_images(Known(("owl", "cat", "dog")), path=str(animals), size=16)
    place = [1, 2, 0]  # of cat, dog and owl
    assert data.splits["val"].targets.tolist() == [place[label] for label in own.splits["val"].targets.tolist()]
    with pytest.raises(DlkitError, match="class 'dog'"):
        hub_images(Known(("owl", "cat")), path=str(animals), size=16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "picture"}, "has no column 'picture'"),
        ({"image": "label"}, "column 'label' holds class label; data.image needs image or binary"),
        ({"label": "image"}, "column 'image' holds image; data.label needs"),
        ({"split": "dev"}, "has no split 'dev'"),
        ({"config": "large"}, "has no configuration 'large'"),
        ({"validation": 0.1}, "data.validation is 0.1, but .* has the split 'validation'"),
    ],
)
def test_a_wrong_request_is_refused(animals: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        hub_images(path=str(animals), **changes)
    assert caught.value.hint


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path, save: Any) -> None:
    from dlkit.data.images.decoding import DamagedImageError

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    rows = {"image": [{"bytes": b"no image", "path": None}] * 4, "label": ["a", "b"] * 2}
    save(tmp_path / "data", {"train": datasets.Dataset.from_dict(rows, features=features)})
    data = hub_images(path=str(tmp_path), size=16, test=0.0)
    assert data.classes == ("a", "b")
    with pytest.raises(DamagedImageError, match=r"row group 0, row 3: cannot identify image file$"):
        data.splits["train"].inputs.image(2)  # type: ignore[attr-defined]
