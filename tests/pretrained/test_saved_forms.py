"""The forms in which others' training scripts save a network: each is read as the network that it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dlkit.models.resnet import resnet18
from dlkit.pretrained.vision import load_pretrained
from dlkit.training.weights import load_weights

torchvision = pytest.importorskip("torchvision")


def averaged(net: nn.Module) -> dict[str, Any]:
    average = AveragedModel(net)
    average.update_parameters(net)
    return average.state_dict()


FORMS: dict[str, Callable[[nn.Module], Any]] = {
    "of DataParallel": lambda net: nn.DataParallel(net).state_dict(),
    "averaged by torch": averaged,
    "state_dict of DataParallel, with an optimizer's": lambda net: {
        "epoch": 3, "arch": "resnet18", "state_dict": nn.DataParallel(net).state_dict(), "best_acc1": torch.tensor(0.5),
        "optimizer": torch.optim.SGD(net.parameters(), 0.1, 0.9).state_dict(),
    },
    "the average alone": lambda net: {"epoch": 1, "ema": net.state_dict()},
    "timm's average alone": lambda net: {"state_dict_ema": net.state_dict()},
    "torchvision's average alone": lambda net: {"model_ema": averaged(net), "args": None},
    "compiled and distributed": lambda net: {
        "model": {f"_orig_mod.module.{name}": value for name, value in net.state_dict().items()}
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_network_is_read_from_any_form_that_holds_it(tmp_path: Path, form: str) -> None:
    torch.manual_seed(1)
    theirs = torchvision.models.resnet18(num_classes=7)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    torch.save(FORMS[form](theirs), tmp_path / "net.pth")
    ours = resnet18((3, 64, 64), 7)
    load_pretrained(ours, load_weights, weights=tmp_path / "net.pth")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-4, atol=1e-4)


def test_of_two_sets_of_weights_the_one_left_out_is_named(tmp_path: Path) -> None:
    net = torchvision.models.resnet18(num_classes=7)
    torch.save({"state_dict_ema": net.state_dict(), "state_dict": net.state_dict()}, tmp_path / "net.pth")
    remarks = load_pretrained(resnet18((3, 64, 64), 7), load_weights, weights=tmp_path / "net.pth")
    assert remarks == [f"{tmp_path / 'net.pth'} also holds state_dict_ema, which is left out"]
