"""What arms are compared with: the entropy of a text's token frequencies, against scipy's and a model that is one."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import entropy

from dlkit.app.arm_runs import comparison_of_arms, recipes_of
from dlkit.app.data_quantities import quantities_of
from dlkit.errors import RequestError
from dlkit.review.claim import Arm, Experiment
from dlkit.review.expectation import parse_expectation


def quantities(recipe: str, measure: str, *changes: tuple[str, ...]) -> dict[str, float]:
    arms = tuple(Arm(f"arm_{i}", each, "mine.yaml:1", {}) for i, each in enumerate(changes))
    expect = parse_expectation("arm_0 < unigram_entropy", [arm.name for arm in arms])
    experiment = Experiment(recipe, arms, measure, "end", expect, 0.1, 2)
    return quantities_of(experiment, comparison_of_arms(recipes_of(experiment).arms, "cpu", lambda: False))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Its letters are drawn with frequencies that differ between its two halves."""
    dice = np.random.default_rng(0)
    halves = (dice.choice(list("abcd"), 4000, p=p) for p in ([0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.4, 0.1]))
    path = tmp_path / "text.txt"
    path.write_text("".join("".join(half) for half in halves))
    return path


@pytest.mark.parametrize("split", ["train", "val"])
def test_entropy_is_that_of_the_split_that_is_measured(text: Path, split: str) -> None:
    changes = (f"data.path={text}", "data.validation=0.25", "data.test=0.0", "data.context=8", "tokenizer.name=byte")
    whole = text.read_text()
    part = whole[:6000] if split == "train" else whole[6000:]
    expected = entropy(list(collections.Counter(part).values()))
    assert quantities("text-gpt", f"{split}/loss", changes)["unigram_entropy"] == pytest.approx(expected, rel=0.01)


def test_arms_on_other_tokens_have_no_entropy_in_common(text: Path) -> None:
    changes = (f"data.path={text}", "data.context=8", "tokenizer.name=byte")
    bpe = (*changes[:2], "tokenizer={name: bpe, vocab_size: 300}")
    with pytest.raises(RequestError, match="the arms have not the same unigram_entropy"):
        quantities("text-gpt", "val/loss", changes, bpe)


def test_images_have_no_unigrams() -> None:
    with pytest.raises(RequestError, match="unigram_entropy is of running text, and digits is none"):
        quantities("digits-mlp", "test/loss", ())
