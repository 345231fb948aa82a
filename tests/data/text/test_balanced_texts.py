"""Labelled texts of which an epoch has every class equally often."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dlkit.data.text.corpus import Text
from dlkit.data.text.labelled import Examples
from dlkit.data.text.padded_batches import SequenceBatches
from dlkit.data.text.tokenizer import MASKED, wordpiece
from dlkit.errors import RequestError

CPU = torch.device("cpu")
PIECES = wordpiece([Text.of("the cat sat on the mat; the dog sat on the log\n" * 20)], MASKED, vocab_size=60)
COUNTS = (230, 9, 61)  # of the classes 0, 1 and 2


def rare() -> Examples:
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(3), COUNTS))
    return Examples([" ".join(["cat"] * (1 + i % 7)) for i in range(300)], None, targets)


def test_a_text_is_drawn_as_often_as_its_class_has_it() -> None:
    examples, epochs = rare(), 60
    data = SequenceBatches(examples, PIECES, CPU, 0, True, batch_size=16, context=32, balance=True)
    times = np.zeros(300, dtype=np.int64)
    for number in range(epochs):
        chosen = np.concatenate(data.order(number))
        assert np.bincount(examples.targets[chosen]).tolist() == [100, 100, 100]
        times += np.bincount(chosen, minlength=300)
    # an example of a class of N_k is in N / (K N_k) epochs on average: 100 / 230, 100 / 9 and 100 / 61 here
    expected = epochs * 100 / np.array(COUNTS)[examples.targets]
    assert chisquare(times, expected).pvalue > 0.01
    # and not as the data has them
    assert chisquare(times, np.full(300, epochs)).pvalue < 1e-9


def test_the_batches_of_an_epoch_are_balanced_and_resume_and_evaluation_is_as_the_data_is() -> None:
    examples = rare()
    data = SequenceBatches(examples, PIECES, CPU, 0, True, batch_size=16, context=32, balance=True)
    seen = list(data.epoch(1))
    assert len(seen) == len(data) == 19
    assert torch.bincount(torch.cat([batch.targets for batch in seen])).tolist() == [100, 100, 100]
    for late, batch in zip(data.epoch(1, start=7), seen[7:], strict=True):
        torch.testing.assert_close(late.token_ids, batch.token_ids)
    held = SequenceBatches(examples, PIECES, CPU, 0, False, batch_size=16, context=32, balance=True)
    assert torch.bincount(torch.cat([batch.targets for batch in held.epoch(0)])).tolist() == list(COUNTS)


def test_numbers_and_candidates_have_no_classes() -> None:
    texts = ["the cat", "the dog", "the mat", "the log"]
    numbers = Examples(texts, None, np.arange(4, dtype=np.float32))
    with pytest.raises(RequestError, match=r"data.balance is set, and the label is a number"):
        next(SequenceBatches(numbers, PIECES, CPU, 0, True, balance=True).epoch(0))
    candidates = Examples(texts, None, np.array([0, 1]), counts=np.array([2, 2]))
    with pytest.raises(RequestError, match=r"one of an example's own candidates, not a class"):
        SequenceBatches(candidates, PIECES, CPU, 0, True, balance=True)
