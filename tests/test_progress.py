"""Whoever listens hears of each image that is read or cached and of each token; nobody has to listen."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlkit.data.images.image_folder import image_folder
from dlkit.data.images.imagenet import imagenet
from dlkit.data.text.plain_text import plain_text
from dlkit.data.text.token_ids import token_array
from dlkit.data.text.tokenizer import bpe, wordpiece
from dlkit.progress import report_to, stage

Stages = list[tuple[str, int | None, int]]  # of each stage: its title, its total, the sum of its counts


@contextmanager
def listening() -> Generator[Stages]:
    stages: Stages = []

    @contextmanager
    def listener(title: str, total: int | None) -> Generator[Callable[[int], None]]:
        counts: list[int] = []
        yield counts.append
        stages.append((title, total, sum(counts)))

    with report_to(listener):
        yield stages


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for split, count in (("train", 5), ("val", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "tree" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.full((8, 8, 3), i, dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "tree"


def test_images_that_are_found_read_and_cached(tree: Path, tmp_path: Path) -> None:
    with listening() as stages:
        image_folder(path=tree, size=8, test=0.2)
    # a fifth of the 10 images in train is held out as "test"
    assert stages == [("looking for images", None, 14), *(("reading images", n, n) for n in (8, 4, 2))]
    with listening() as stages:
        imagenet(path=tree, size=8, cache=tmp_path / "cache")
    assert stages == [("looking for images", None, 14), ("caching images", 10, 10), ("caching images", 4, 4)]
    with listening() as stages:
        imagenet(path=tree, size=8, cache=tmp_path / "cache")
    assert stages == [("looking for images", None, 14)]


def test_tokens_and_what_their_tokenizer_is_learned_from(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a few words, and a few words more\n" * 50, encoding="utf-8")
    train = plain_text(path=tmp_path / "a.txt").splits["train"]
    letters = len(train.read())
    with listening() as stages:
        tokenizer = bpe([train], (), vocab_size=300)
        tokens = token_array(train, tokenizer, tmp_path)
    assert stages == [("letters read for the tokenizer", None, letters), ("tokens encoded", None, len(tokens))]
    with listening() as stages:
        wordpiece([train], (), vocab_size=100)
    assert stages == [("letters counted", None, letters), ("letters read for the tokenizer", None, letters)]


def test_nobody_listens_any_more() -> None:
    with listening() as stages, stage("reading", 3) as advance:
        advance(3)
    with stage("unheard", 3) as advance:
        advance(3)
    assert stages == [("reading", 3, 3)]
