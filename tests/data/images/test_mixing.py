"""Batches that flip in turn and mix in pairs: functions of seed and epoch, with labels that go with the images."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from dlkit.data.batch import Batch, ClassificationBatch
from dlkit.data.dataset import Split, imagenet_statistics, mean_and_deviation
from dlkit.data.images.image_batches import ImageBatches
from dlkit.errors import RequestError
from dlkit.losses import CrossEntropy
from dlkit.tasks.classification import Classification

CPU = torch.device("cpu")


def flat_images(count: int = 60) -> Split:
    """Image n is n everywhere, so that a mixture shows what it is made of."""
    return Split(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 8, 8), torch.arange(count))


def batches(split: Split, **keys: Any) -> ImageBatches:
    mean, std = torch.zeros(split.inputs.shape[1]), torch.ones(split.inputs.shape[1])
    return ImageBatches(split, mean, std, CPU, 0, True, **{"batch_size": 16, **keys})


@pytest.mark.parametrize("keys", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_labels_have_the_shares_of_the_pixels(keys: dict[str, Any]) -> None:
    kinds = set[str]()
    source = batches(flat_images(), **keys)
    for epoch in range(6):
        for images, first, second, share in map(Batch.tensors, source.epoch(epoch)):
            expected = share * first + (1 - share) * second
            torch.testing.assert_close(images.mean((1, 2, 3)), expected, rtol=1e-4, atol=1e-3)
            assert torch.equal(second, first.roll(1))
            kinds.add("mixup" if images[:, :, 0, 0].frac().any() else "cutmix")
    assert kinds >= {name for name, alpha in keys.items() if alpha}


@pytest.mark.parametrize("keys", [{"mixup": 0.4, "cutmix": 1.0, "flip": "alternating", "shift": 1, "border": "mirror"}])
def test_a_fresh_object_resumes_byte_for_byte(keys: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randint(0, 256, (50, 3, 9, 9), generator=generator, dtype=torch.uint8), torch.arange(50))
    whole = list(map(Batch.tensors, batches(split, **keys).epoch(3)))
    for start in (0, 2, 3):
        for a, b in zip(whole[start:], map(Batch.tensors, batches(split, **keys).epoch(3, start)), strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_evaluation_never_mixes() -> None:
    split = flat_images()
    source = ImageBatches(split, *mean_and_deviation(split.inputs), CPU, 0, False, mixup=1.0, cutmix=1.0)
    assert all(batch.mixed_targets is None for batch in source.epoch(0))


def test_alternating_flip_follows_the_image_and_not_its_place() -> None:
    images = torch.zeros(40, 1, 4, 4, dtype=torch.uint8)
    images[:, :, :, 0] = 200
    source = batches(Split(images, torch.arange(40)), flip="alternating")
    sides: list[dict[int, bool]] = []
    for epoch in range(4):
        seen: dict[int, bool] = {}
        for x, y in map(Batch.tensors, source.epoch(epoch)):
            seen |= dict(zip(y.tolist(), (x[:, 0, 0, 0] == 0).tolist(), strict=True))
        sides.append(seen)
    assert sides[0] == sides[2] and sides[1] == sides[3]
    assert all(sides[0][n] != sides[1][n] for n in range(40))
    assert 8 < sum(sides[0].values()) < 32


def test_the_loss_of_mixed_labels_is_that_of_blended_ones() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(5, 4)
    inputs, targets, share = torch.randn(6, 5), torch.randint(0, 4, (6, 2)), torch.tensor(0.3)
    batch = ClassificationBatch(inputs, *targets.unbind(1), share)
    loss, right = Classification(CrossEntropy(label_smoothing=0.1), ("a", "b", "c", "d")).forward(model, batch)
    blended = 0.3 * torch.eye(4)[targets[:, 0]] + 0.7 * torch.eye(4)[targets[:, 1]]
    expected = torch.nn.functional.cross_entropy(model(inputs), blended, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
    assert right == (model(inputs).argmax(1) == targets[:, 1]).sum()
    unmixed = dataclasses.replace(batch, mix_weight=torch.tensor(1.0))
    one = Classification(CrossEntropy(), ("a", "b", "c", "d")).forward(model, unmixed)[0]
    torch.testing.assert_close(one, torch.nn.functional.cross_entropy(model(inputs), targets[:, 0]))


def test_imagenets_statistics() -> None:
    split = Split(torch.full((4, 3, 2, 2), 255, dtype=torch.uint8), torch.arange(4))
    (batch,) = ImageBatches(split, *mean_and_deviation(split.inputs), CPU, 0, False, statistics="imagenet").epoch(0)
    images = batch.inputs
    torch.testing.assert_close(
        images[0, :, 0, 0], (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    )
    with pytest.raises(RequestError, match="3 channels, the images have 1"):
        imagenet_statistics(1)
