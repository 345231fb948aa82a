"""Data sets in the Hub's layout, written by `datasets` itself."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

datasets: Any = pytest.importorskip("datasets")

NAMES = ("cat", "dog", "owl")
CARD = """---
configs:
- config_name: reviews
  data_files:
  - {split: train, path: reviews/train-*}
  - {split: validation, path: reviews/validation-*}
  - {split: test, path: reviews/test-*}
- config_name: pairs
  data_files:
  - {split: train, path: pairs/train-*}
---
# A card
"""


@pytest.fixture(autouse=True)
def _own_caches(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    for name in ("HF_HOME", "HF_DATASETS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    shared = tmp_path_factory.getbasetemp() / "hub-data"
    monkeypatch.setenv("DLKIT_DATA", str(shared))
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
    datasets.disable_progress_bars()
    yield


def picture(row: int) -> bytes:
    """A JPEG of two colours which EXIF turns upright: 24 wide and 16 high as stored."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:, :12] = (row * 7 % 256, 40, 200)
    pixels[:, 12:] = (250, row * 3 % 256, 10)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn clockwise
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif, quality=95)
    return stream.getvalue()


def pictures(first: int, count: int) -> Any:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES)), "idx": datasets.Value("int32")}
    )
    rows = range(first, first + count)
    images = [{"bytes": picture(row), "path": None} for row in rows]
    columns = {"image": images, "label": [row % 3 for row in rows], "idx": list(rows)}
    return datasets.Dataset.from_dict(columns, features=features)


def reviews(count: int, hidden: bool = False) -> Any:
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["negative", "positive"])}
    )
    words = ("dull", "fine")
    columns = {
        "sentence": [f"a {words[row % 2]} film, number {row}" for row in range(count)],
        "label": [-1 if hidden else row % 2 for row in range(count)],
    }
    return datasets.Dataset.from_dict(columns, features=features)


def written(folder: Path, splits: dict[str, Any], shards: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        for shard in range(shards):
            rows.shard(shards, shard, contiguous=True).to_parquet(folder / f"{split}-{shard:05}-of-{shards:05}.parquet")
    return folder


@pytest.fixture(scope="session")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in two Parquet shards a split: 30 of train, 9 of validation."""
    root = tmp_path_factory.mktemp("hub") / "animals"
    written(root / "data", {"train": pictures(0, 30), "validation": pictures(30, 9)}, shards=2)
    return root


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two configurations by the card: labelled reviews, whose test labels are hidden, and pairs with a number."""
    root = tmp_path_factory.mktemp("hub") / "texts"
    splits = {"train": reviews(40), "validation": reviews(10), "test": reviews(6, hidden=True)}
    written(root / "reviews", splits)
    pairs = {"s1": ["one"] * 20, "s2": ["two"] * 20, "label": [row / 8 for row in range(20)]}
    written(root / "pairs", {"train": datasets.Dataset.from_dict(pairs)})
    (root / "README.md").write_text(CARD)
    return root


@pytest.fixture
def save() -> Callable[[Path, dict[str, Any]], Path]:
    return written
