"""Small sample files for checks: rows, texts and images, the same each time."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("left", "right")
_WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven", "wizards", "box"]


def write_samples(folder: Path) -> dict[str, Path]:
    """Write all sample files, but for those that take long and exist; returns their paths by name."""
    return {
        "rows": write_rows(folder),
        "texts": write_texts(folder),
        "corpus": write_corpus(folder),
        "photographs": write_photographs(folder),
    }


def write_corpus(folder: Path, lines: int = 2500) -> Path:
    """A text of random words, one sentence a line."""
    path = folder / "corpus.txt"
    if not path.exists():
        random = np.random.default_rng(0)
        path.write_text("".join(" ".join(random.choice(_WORDS, 8)) + "\n" for _ in range(lines)))
    return path


def write_rows(folder: Path, count: int = 90) -> Path:
    """A CSV file with four numeric columns and a class."""
    values = np.random.default_rng(0).normal(size=(count, 4))
    return _table(folder / "rows.csv", "abcd", ([*row, CLASSES[int(row[0] > row[1])]] for row in values))


def write_texts(folder: Path, count: int = 90) -> Path:
    """A CSV file with sentences of various lengths and a class."""
    random = np.random.default_rng(0)
    sentences = (" ".join(random.choice(_WORDS, random.integers(3, 30))) for _ in range(count))
    return _table(folder / "texts.csv", ["text"], ([text, CLASSES[i % 2]] for i, text in enumerate(sentences)))


def _table(path: Path, columns: Iterable[str], rows: Iterable[list[Any]]) -> Path:
    """Write a CSV file whose last column is the label."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "label"])
        writer.writerows(rows)
    return path


def write_photographs(folder: Path, side: int = 40, count: int = 12) -> Path:
    """Class folders of smooth JPEG images."""
    random = np.random.default_rng(0)
    if (folder / "photographs").exists():
        return folder / "photographs"
    for split in ("train", "val"):
        for name in CLASSES:
            target = folder / "photographs" / split / name
            target.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
                coarse.resize((side, side), Image.Resampling.BICUBIC).save(target / f"{i}.jpg", quality=95)
    return folder / "photographs"
