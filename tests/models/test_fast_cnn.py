"""The fast network: whitened patches, identities at the start, frozen filters; views at test time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dlkit.errors import RequestError
from dlkit.models.fast_cnn import FastCNN
from dlkit.nn.whitening import whitening_filters
from dlkit.training import test_time_augmentation


def natural(count: int = 200) -> torch.Tensor:
    """Images whose neighbouring pixels and channels go together, as in photographs."""
    torch.manual_seed(0)
    return F.avg_pool2d(torch.randn(count, 3, 14, 14) @ torch.randn(14, 14), 3, 1) + torch.randn(count, 1, 1, 1)


def test_whitened_patches_are_uncorrelated_and_of_variance_one() -> None:
    images = natural().double()
    filters = whitening_filters(images, 2, 1e-9)
    assert filters.shape == (24, 3, 2, 2)
    assert torch.equal(filters[12:], -filters[:12])
    outputs = F.conv2d(images, filters[:12]).transpose(0, 1).flatten(1)  # (12, M)
    torch.testing.assert_close(outputs @ outputs.T / outputs.shape[1], torch.eye(12).double(), rtol=1e-5, atol=1e-5)
    # the largest eigenvalue, and so the smoothest filter, comes first
    norms = filters[:12].flatten(1).norm(dim=1)
    assert norms.argmin() == 0 and norms.argmax() == 11


def test_directions_without_variance_stay_finite() -> None:
    assert whitening_filters(torch.zeros(5, 3, 6, 6), 2, 5e-4).isfinite().all()


def test_the_network_begins_with_copies_of_its_channels() -> None:
    model = FastCNN((3, 16, 16), 10, widths=(32, 32))
    weight = model.get_parameter("group2.0.conv1.weight")
    x = torch.randn(2, 32, 5, 5)
    torch.testing.assert_close(F.conv2d(x, weight, padding=1), x)
    wider = model.get_parameter("group1.0.conv1.weight")  # 24 to 32 channels
    x = torch.randn(2, 24, 5, 5)
    out = F.conv2d(x, wider, padding=1)
    torch.testing.assert_close(out[:, :24], x)
    assert out[:, 24:].abs().sum() > 0
    plain = FastCNN((3, 16, 16), 10, widths=(32, 32), dirac=False)
    assert plain.get_parameter("group2.0.conv1.weight").count_nonzero() > 32


def test_what_learns_and_what_does_not() -> None:
    torch.manual_seed(0)
    model = FastCNN((3, 16, 16), 10, widths=(16, 16))
    model.whiten(natural())
    fixed = {name for name, value in model.named_parameters() if not value.requires_grad}
    norms = {f"group{group}.0.bn{norm}.weight" for group in (1, 2) for norm in (1, 2)}
    assert fixed == {"whitening.weight", *norms}
    F.cross_entropy(model(natural(8)[..., :12, :12]), torch.arange(8)).backward()
    for name, value in model.named_parameters():
        assert (value.grad is None) == (name in fixed), name


@pytest.mark.parametrize(
    ("shape", "widths", "message"),
    [
        ((3, 8, 8), (4, 4, 4), "8x8 image cannot be halved 3 times"),
        ((3, 32, 32), (), r"widths = \(\)"),
        ((5,), (4,), "needs images"),
    ],
)
def test_refusals(shape: tuple[int, ...], widths: tuple[int, ...], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        FastCNN(shape, 10, widths=widths)


@pytest.mark.slow  # it compiles
def test_gradients_of_compiled_bf16_are_those_of_eager() -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    targets, found = torch.arange(64) % 10, list[list[torch.Tensor]]()
    for compiled in (False, True):
        torch.manual_seed(0)
        model = FastCNN((3, 32, 32), 10, widths=(16, 32, 32)).to(memory_format=torch.channels_last)  # pyright: ignore
        forward = torch.compile(model, dynamic=False) if compiled else model
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(forward(images).float(), targets)
        loss.backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    for eager, other in zip(*found, strict=True):
        assert float((eager - other).norm() / eager.norm()) < 0.5  # in 8 bits another place may be the largest


def test_views_are_means_over_mirror_images_and_shifts() -> None:
    torch.manual_seed(0)
    model, images = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 36, 4)), torch.randn(5, 3, 6, 6)
    assert torch.equal(test_time_augmentation.averaged_logits(model, images, "one"), model(images))
    both = (model(images) + model(images.flip(-1))) / 2
    torch.testing.assert_close(test_time_augmentation.averaged_logits(model, images, "flip"), both)
    padded = F.pad(images, (1, 1, 1, 1), "reflect")
    shifted = [(model(x) + model(x.flip(-1))) / 2 for x in (padded[:, :, :6, :6], padded[:, :, 2:, 2:])]
    torch.testing.assert_close(
        test_time_augmentation.averaged_logits(model, images, "flip_shift"), both / 2 + sum(shifted) / 4
    )
