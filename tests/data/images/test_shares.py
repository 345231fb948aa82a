"""The shares of several processes together are the batch of one, whatever the source and however it divides."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit import recipe as recipes
from dlkit.distributed.process_group import World
from dlkit.doctor.samples import write_corpus, write_rows, write_texts
from dlkit.tasks.task_data import load_data

CPU = torch.device("cpu")
_DIGITS = ("digits-resnet20", "data.batch_size=9", "data.per_class=3", "data.flip=true", "data.shift=2")
_LINES = ("data.name=text", "data.path={corpus}", "data.context=16", "data.batch_size=5")
SOURCES: dict[str, tuple[str, ...]] = {
    "rows": ("csv-mlp", "data.path={rows}", "data.batch_size=7"),
    "images": ("digits-mlp", "data.batch_size=7", "data.per_class=3"),
    "augmented": (*_DIGITS, "data.cutout=3"),
    "mixed": (*_DIGITS, "data.mixup=0.3", "data.cutmix=1.0"),
    "growing": (*_DIGITS, "data.start_size=4", "data.grow_epochs=3", "data.mixup=0.3"),
    "causal": ("pydoc-gpt", *_LINES, "tokenizer.name=byte"),
    "masked": ("pydoc-bert", *_LINES, "tokenizer.vocab_size=100"),
    "texts": ("texts-bert", "data.path={texts}", "data.batch_size=7"),
    "whole words": ("pydoc-bert", *_LINES, "tokenizer.vocab_size=100", "data.whole_words=true"),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("files")
    return {"corpus": str(write_corpus(folder, 40)), "rows": str(write_rows(folder)), "texts": str(write_texts(folder))}


def sources(name: str, files: dict[str, str], ranks: int, training: bool = True) -> tuple[Any, list[Any]]:
    recipe_name, *changes = (text.format(**files) for text in SOURCES[name])
    recipe = recipes.load(recipe_name, changes)
    data = load_data(recipe)
    split = "train" if training else data.evaluated_splits[0]
    whole, *parts = (data.batches(recipe, split, CPU, training) for _ in range(ranks + 1))
    for rank, part in enumerate(parts):
        part.shard(World(rank, rank, ranks))
    return whole, parts


@pytest.mark.parametrize("ranks", [2, 8])  # of which there are more than rows in the last batches
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "texts"])
def test_shares_are_blocks_of_the_batch(name: str, ranks: int, files: dict[str, str]) -> None:
    whole, parts = sources(name, files, ranks)
    batches = [list(itertools.islice(source.epoch(1), 30)) for source in (whole, *parts)]
    assert len(batches[0]) >= 3
    for one, *shares in zip(*batches, strict=True):
        assert one.whole is None and {share.whole for share in shares} == {one.predictions}
        assert sum(share.predictions for share in shares) == one.predictions
        for field, value in vars(one).items():
            own = [getattr(share, field) for share in shares]
            if field == "positions":  # in the flattened tokens of each share
                lengths = [share.token_ids.numel() for share in shares]
                begins = [0, *itertools.accumulate(lengths)][:-1]
                own = [places + begin for places, begin in zip(own, begins, strict=True)]
            if isinstance(value, torch.Tensor):
                joined = torch.cat(own) if value.dim() else own[0]
                assert torch.equal(joined, value), field


@pytest.mark.parametrize("name", ["rows", "images", "causal"])
def test_shares_of_an_evaluation_cover_it_once(name: str, files: dict[str, str]) -> None:
    whole, parts = sources(name, files, 3, training=False)
    for one, *shares in zip(whole.epoch(0), *(part.epoch(0) for part in parts), strict=True):
        assert torch.equal(torch.cat([share.targets for share in shares]), one.targets)


def test_texts_of_a_share_are_padded_to_its_own_longest(files: dict[str, str]) -> None:
    whole, parts = sources("texts", files, 2)
    shorter = 0
    for one, *shares in zip(whole.epoch(0), *(part.epoch(0) for part in parts), strict=True):
        assert torch.equal(torch.cat([share.targets for share in shares]), one.targets)
        assert {share.whole for share in shares} == {len(one.targets)}
        tokens = [row[mask].tolist() for s in shares for row, mask in zip(s.token_ids, s.attention_mask, strict=True)]
        assert tokens == [row[mask].tolist() for row, mask in zip(one.token_ids, one.attention_mask, strict=True)]
        shorter += min(share.token_ids.shape[1] for share in shares) < one.token_ids.shape[1]
    assert shorter
