"""Windows of tokens: no position wasted, each token predicted once, masks as in the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dlkit.data.batch import Batch, MaskedBatch
from dlkit.data.text.masked_windows import MaskedWindows, MaskingVocabulary
from dlkit.data.text.windows import IGNORED, TokenWindows
from dlkit.errors import DlkitError
from dlkit.losses import CrossEntropy

CPU = torch.device("cpu")


def ascending(n: int) -> Any:
    return np.arange(n, dtype=np.uint16)


def test_an_epoch_of_training_wastes_no_position() -> None:
    data = TokenWindows(ascending(10_001), CPU, 3, True, batch_size=7, context=32)
    batches = list(map(Batch.tensors, data.epoch(0)))
    seen = torch.cat([targets for _, targets in batches])
    assert len(seen) == data.samples * 32
    assert len(seen) > 0.98 * 10_000
    assert len(seen.unique()) == len(seen)
    for inputs, targets in batches:
        assert torch.equal(inputs.reshape(-1) + 1, targets)
    assert [len(inputs) for inputs, _ in batches] == [7] * (data.samples // 7) + [data.samples % 7] * (
        data.samples % 7 > 0
    )


def test_epochs_differ_and_resume_anywhere() -> None:
    data = TokenWindows(ascending(2_000), CPU, 3, True, batch_size=4, context=16)
    first, second = (list(map(Batch.tensors, data.epoch(number))) for number in (0, 1))
    assert not torch.equal(first[0][0], second[0][0])
    assert {int(x) % 16 for x in torch.cat([i[:, 0] for i, _ in first])} != {
        int(x) % 16 for x in torch.cat([i[:, 0] for i, _ in second])
    }
    for (a, _), (b, _) in zip(first[5:], map(Batch.tensors, data.epoch(0, 5)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("stride", [None, 16, 5, 1])
@pytest.mark.parametrize("n", [2, 15, 17, 33, 100, 113])
def test_evaluation_predicts_each_token_once(n: int, stride: int | None) -> None:
    data = TokenWindows(ascending(n), CPU, 0, False, batch_size=3, context=16, stride=stride)
    seen: list[int] = []
    for inputs, targets in map(Batch.tensors, data.epoch(0)):
        counted = targets.view_as(inputs)
        assert torch.equal(counted[counted != IGNORED], (inputs + 1)[counted != IGNORED])
        seen += counted[counted != IGNORED].tolist()
    assert sorted(seen) == list(range(1, n))


def test_a_smaller_stride_gives_more_to_look_back_on() -> None:
    data = TokenWindows(ascending(200), CPU, 0, False, batch_size=3, context=16, stride=4)
    for inputs, targets in map(Batch.tensors, data.epoch(0)):
        position = (targets.view_as(inputs) != IGNORED).long().argmax(1)
        assert ((position >= 12) | (inputs[:, 0] == 0)).all()


def test_too_short_a_text() -> None:
    with pytest.raises(DlkitError, match="a text of 1 tokens is too short"):
        TokenWindows(ascending(1), CPU, 0, True, context=8)
    with pytest.raises(DlkitError, match="no room"):
        MaskedWindows(ascending(9), CPU, 0, True, SPECIAL, context=2)


SPECIAL = MaskingVocabulary(1000, 1001, 1002, 1003, np.arange(1003) % 3 == 1)  # words 0 1, 3 4, ...; 2, 5 alone


def masked(**keys: Any) -> MaskedWindows:
    keys = {"batch_size": 8, "context": 42, **keys}
    return MaskedWindows(np.arange(2, 1000, dtype=np.uint16), CPU, 0, keys.pop("training", True), SPECIAL, **keys)


def test_masks_are_the_papers() -> None:
    data = masked(mask=0.15)
    kept = noise = hidden = total = 0
    for epoch in range(40):
        for inputs, targets, positions in map(Batch.tensors, data.epoch(epoch)):
            assert (inputs[:, 0] == 1000).all()
            assert (inputs[:, -1] == 1001).all()
            assert len(targets) == len(inputs) * 6  # 15 % of 40
            row, column = positions // 42, positions % 42
            assert (torch.bincount(row) == 6).all()
            assert ((column > 0) & (column < 41)).all()
            shown = inputs.flatten()[positions]
            kept += int((shown == targets).sum())
            hidden += int((shown == 1002).sum())
            noise += int(((shown != targets) & (shown != 1002)).sum())
            total += len(targets)
            rest = torch.ones(inputs.numel(), dtype=torch.bool).index_fill(0, positions, False).view_as(inputs)
            rest[:, [0, -1]] = False
            flat = inputs.clone().flatten()
            flat[positions] = targets
            assert (flat.view_as(inputs)[:, 1:-1].diff(dim=1) == 1).all()
    assert hidden / total == pytest.approx(0.8, abs=0.02)
    assert kept / total == pytest.approx(0.1, abs=0.015)
    assert noise / total == pytest.approx(0.1, abs=0.015)


def test_masks_change_with_the_epoch_in_training_only() -> None:
    training, evaluation = masked(), masked(training=False)
    positions = [next(training.epoch(number)).tensors()[2] for number in (0, 1)]
    assert not torch.equal(*positions)
    for (a, b, c), (d, e, f) in zip(
        map(Batch.tensors, evaluation.epoch(0)), map(Batch.tensors, masked(training=False).epoch(0)), strict=True
    ):
        assert torch.equal(a, d)
        assert torch.equal(b, e)
        assert torch.equal(c, f)
    late = list(map(Batch.tensors, training.epoch(3, 2)))
    assert all(
        torch.equal(a[0], b[0]) for a, b in zip(list(map(Batch.tensors, training.epoch(3)))[2:], late, strict=True)
    )


def test_whole_words_are_masked_with_all_their_pieces() -> None:
    data = masked(whole_words=True)
    for inputs, targets, positions in map(Batch.tensors, data.epoch(0)):
        chosen = torch.zeros(inputs.numel(), dtype=torch.bool).index_fill(0, positions, True).view_as(inputs)[:, 1:-1]
        whole = inputs.flatten().index_copy(0, positions, targets).view_as(inputs)[:, 1:-1]
        follows = torch.from_numpy(SPECIAL.continues)[whole][:, 1:]
        assert (chosen[:, 1:] == chosen[:, :-1])[follows].all()
        assert (chosen.sum(1) <= 6).all()
        assert chosen.sum() > 4 * len(inputs)


def test_padded_whole_words_have_one_shape_and_the_same_loss() -> None:
    plain, padded = masked(whole_words=True), masked(whole_words=True)
    padded.padded = True  # as on another device
    shapes: set[Any] = set()
    batches = [pair for epoch in range(3) for pair in zip(plain.epoch(epoch), padded.epoch(epoch), strict=True)]
    for whole, batch in batches:
        assert isinstance(batch, MaskedBatch)
        inputs, targets, positions = whole.tensors()
        count = batch.predictions
        shapes.add((batch.token_ids.shape, batch.targets.shape, batch.positions.shape))
        assert count == len(targets)
        assert torch.equal(inputs, batch.token_ids)
        assert torch.equal(targets, batch.targets[:count])
        assert torch.equal(positions, batch.positions[:count])
        assert (batch.targets[count:] == IGNORED).all()
        logits = torch.randn(inputs.numel(), 1003, dtype=torch.float64)
        expected = torch.nn.functional.cross_entropy(logits[positions], targets)
        loss = CrossEntropy()(logits[batch.positions], batch.targets)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    assert len({len(whole.targets) for whole, _ in batches}) > 2
    assert len({shape for shape in shapes if shape[0][0] == plain.batch_size}) == 1
