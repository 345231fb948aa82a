"""Weights of others' networks, each written here as its authors define it: the same logits in dlkit's models."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.errors import DlkitError, RequestError
from dlkit.models import resnet
from dlkit.models.convnext import ConvNeXt
from dlkit.models.resnet import ResNet
from dlkit.pretrained.vision import load_pretrained
from dlkit.training.weights import load_weights
from tests.pretrained.shaken_weights import shaken


class CifarBlock(nn.Module):
    """Two convolutions. `zeros` before and behind the channels of the shortcut, or a projection called `projection`."""

    def __init__(self, channels: int, width: int, stride: int, zeros: tuple[int, int], projection: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.zeros, self.projection, self.changes = zeros, projection, stride != 1 or channels != width
        if projection and self.changes:
            layers = nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            self.add_module(projection, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.changes and self.projection:
            x = getattr(self, self.projection)(x)
        elif self.changes:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, *self.zeros))
        return F.relu(y + x)


class CifarNet(nn.Module):
    """A CIFAR ResNet: `last` is the name of its last layer, `zeros` "both" or "end" of the shortcut's zeros."""

    def __init__(
        self,
        depth: int,
        classes: int = 10,
        *,
        last: str = "linear",
        zeros: str = "both",
        projection: str = "",
        widths: tuple[int, ...] = (16, 32, 64),
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        channels, self.names, self.last = widths[0], [f"layer{i + 1}" for i in range(len(widths))], last
        for i, (name, width) in enumerate(zip(self.names, widths, strict=True)):
            new = width - channels
            pad = (new // 2, new // 2) if zeros == "both" else (0, new)
            blocks = [CifarBlock(channels, width, 2 if i else 1, pad, projection)]
            blocks += [CifarBlock(width, width, 1, (0, 0), projection) for _ in range(depth - 1)]
            self.add_module(name, nn.Sequential(*blocks))
            channels = width
        self.add_module(last, nn.Linear(channels, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for name in self.names:
            x = getattr(self, name)(x)
        return getattr(self, self.last)(x.mean((2, 3)))


class AuthorsNorm(nn.Module):
    """Layer norm over channels that come first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        deviation = x - x.mean(1, keepdim=True)
        x = deviation / (deviation.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class AuthorsBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).movedim(1, -1))
        return x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))).movedim(-1, 1)


class AuthorsConvNeXt(nn.Module):
    """The network of the paper's own code (Liu et al. 2022), with the names that it has there."""

    def __init__(self, depths: tuple[int, ...], widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), AuthorsNorm(widths[0]))
        halving = [nn.Sequential(AuthorsNorm(a), nn.Conv2d(a, b, 2, 2)) for a, b in pairwise(widths)]
        self.downsample_layers = nn.ModuleList([stem, *halving])
        self.stages = nn.ModuleList(
            nn.Sequential(*(AuthorsBlock(width) for _ in range(depth)))
            for depth, width in zip(depths, widths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        for before, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(before(x))
        return self.head(self.norm(x.mean((2, 3))))


def loaded(ours: Any, theirs: nn.Module, file: Path, **options: Any) -> tuple[float, list[str]]:
    """The largest difference of logits, relative to the largest logit; and the remarks."""
    model = ours((3, 32, 32), 10).eval()
    remarks = load_pretrained(model, load_weights, weights=file, **options)
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        right = theirs(x)
        return ((model(x) - right).abs().max() / right.abs().max()).item(), remarks


@pytest.mark.parametrize("layers", [20, 32, 44, 56, 110])
def test_public_cifar_resnets_compute_what_they_compute(layers: int, tmp_path: Path) -> None:
    theirs = shaken(CifarNet((layers - 2) // 6))
    state = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 92.6}, tmp_path / "resnet.th")
    difference, (remark,) = loaded(getattr(resnet, f"resnet{layers}"), theirs, tmp_path / "resnet.th")
    assert difference < 1e-5
    assert "pad zeros on both sides (else model.shortcut_zeros=end)" in remark


@pytest.mark.parametrize("wrap", ["{}", "module.{}", "_orig_mod.module.{}", "module._orig_mod.{}", "model.{}"])
def test_wrappers_of_names_come_off(wrap: str, tmp_path: Path) -> None:
    theirs = shaken(CifarNet(1, widths=(4, 8, 24)))
    torch.save({wrap.format(name): value for name, value in theirs.state_dict().items()}, tmp_path / "r.pt")
    assert loaded(partial(ResNet, depths=(1, 1, 1), widths=(4, 8, 24)), theirs, tmp_path / "r.pt")[0] < 1e-5


@pytest.mark.parametrize(
    ("network", "zeros"),
    [({"last": "fc", "zeros": "end"}, "auto"), ({"zeros": "end"}, "end"), ({"last": "fc", "zeros": "both"}, "both")],
)
def test_zeros_may_be_said_to_be_elsewhere(network: dict[str, str], zeros: Any, tmp_path: Path) -> None:
    theirs = shaken(CifarNet(2, **network))  # pyright: ignore[reportArgumentType]
    torch.save(theirs.state_dict(), tmp_path / "r.pt")
    ours = partial(ResNet, depths=(2, 2, 2))
    difference, remarks = loaded(ours, theirs, tmp_path / "r.pt", shortcut_zeros=zeros)
    assert difference < 1e-5
    assert len(remarks) == (zeros == "auto")
    if zeros == "both":
        with pytest.raises(RequestError, match="odd number of channels"):
            load_pretrained(
                ResNet((3, 8, 8), 10, widths=(3, 6, 13)),
                load_weights,
                weights=tmp_path / "r.pt",
                shortcut_zeros="both",
            )
        with pytest.raises(RequestError, match="no shortcut of this model pads"):
            loaded(partial(ResNet, shortcut="B"), theirs, tmp_path / "r.pt", shortcut_zeros="end")


@pytest.mark.parametrize("names", [("fc", "downsample"), ("linear", "shortcut")])
def test_networks_with_projections(names: tuple[str, str], tmp_path: Path) -> None:
    theirs = shaken(CifarNet(3, last=names[0], projection=names[1]))
    torch.save({"net": theirs.state_dict(), "acc": 95.0, "epoch": 3}, tmp_path / "r.pth")
    assert loaded(partial(resnet.resnet20, shortcut="B"), theirs, tmp_path / "r.pth")[0] < 1e-5
    with pytest.raises(DlkitError, match=r"surplus layer2\.0\.downsample\.0\.weight"):
        loaded(resnet.resnet20, theirs, tmp_path / "r.pth")


def test_the_authors_convnext(tmp_path: Path) -> None:
    theirs = shaken(AuthorsConvNeXt((1, 2, 1), (8, 12, 16), 10))
    torch.save({"model": theirs.state_dict()}, tmp_path / "convnext.pth")
    difference, remarks = loaded(
        partial(ConvNeXt, depths=(1, 2, 1), widths=(8, 12, 16)), theirs, tmp_path / "convnext.pth"
    )
    assert (difference < 1e-5, remarks) == (True, [])
