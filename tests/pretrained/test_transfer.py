"""Freezing, learning rates by layer, and what a frozen part does in training."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dlkit.errors import RequestError
from dlkit.models.cnn import CNN
from dlkit.models.convnext import ConvNeXt
from dlkit.models.mlp import MLPClassifier
from dlkit.models.resnet import ResNet
from dlkit.nn.stochastic_depth import StochasticDepth, rising, stochastic_depth_reference
from dlkit.optim.groups import parameter_groups
from dlkit.optim.momentum import Momentum
from dlkit.pretrained.vision import load_pretrained
from dlkit.training.weights import load_weights


def small_resnet() -> ResNet:
    return ResNet((3, 8, 8), 4, depths=(2, 1), widths=(4, 8), dropout=0.5, stochastic_depth=0.5)


def small_convnext() -> ConvNeXt:
    return ConvNeXt((3, 16, 16), 4, depths=(1, 2), widths=(4, 8), patch=2)


@pytest.mark.parametrize(
    ("build", "freeze", "trained"),
    [
        (small_resnet, 0, {"conv1", "bn1", "layer1", "layer2", "fc"}),
        (small_resnet, 1, {"layer1", "layer2", "fc"}),
        (small_resnet, 3, {"fc"}),
        (small_resnet, "backbone", {"fc"}),
        (small_convnext, 2, {"downsample2", "stage2", "norm", "fc"}),
        (small_convnext, "backbone", {"fc"}),
        (lambda: CNN((3, 8, 8), 4), 1, {"fc"}),
    ],
)
def test_what_is_frozen(build: Any, freeze: Any, trained: set[str]) -> None:
    model = build()
    load_pretrained(model, load_weights, freeze=freeze)
    assert {name.split(".")[0] for name, value in model.named_parameters() if value.requires_grad} == trained


def test_a_frozen_backbone_stays_as_it_is_and_acts_as_in_evaluation() -> None:
    torch.manual_seed(0)
    model = small_resnet()
    load_pretrained(model, load_weights, freeze="backbone")
    model.dropout.p = 0.0  # the last layer's own, which is not frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, targets = torch.randn(6, 3, 8, 8), torch.randint(0, 4, (6,))
    assert torch.equal(model.train()(x), model.eval()(x))
    model.train()
    optimizer = Momentum(parameter_groups(model), lr=0.1)
    torch.nn.functional.cross_entropy(model(x), targets).backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(("build", "freeze"), [(small_resnet, 4), (lambda: MLPClassifier((4,), 2), "backbone")])
def test_freezing_refuses(build: Any, freeze: Any) -> None:
    with pytest.raises(RequestError, match=rf"model\.freeze is {freeze}, but the model has"):
        load_pretrained(build(), load_weights, freeze=freeze)


def rates(model: torch.nn.Module, **options: Any) -> dict[str, float]:
    optimizer = Momentum(parameter_groups(model, **options), lr=2.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert found.keys() == dict(model.named_parameters()).keys()
    return found


def test_learning_rates_of_layers() -> None:
    found = rates(small_resnet(), layer_decay=0.5, head_factor=10.0, bias_factor=3.0)
    # layers from the head down: fc, layer2.0, layer1.1, layer1.0, the stem
    assert found["fc.weight"] == 20.0
    assert found["fc.bias"] == 60.0
    assert found["layer2.0.conv1.weight"] == 1.0
    assert found["layer1.1.conv2.weight"] == 0.5
    assert found["layer1.0.bn1.weight"] == 0.75
    assert found["conv1.weight"] == 0.125
    found = rates(small_convnext(), layer_decay=0.5)
    assert found["fc.weight"] == found["norm.bias"] == 2.0
    assert found["stage2.1.conv.weight"] == 1.0
    assert found["downsample2.1.weight"] == found["stage2.0.expand.bias"] == 0.5
    assert found["stage1.0.scale.gamma"] == 0.25
    assert found["stem.0.weight"] == 0.125


def test_groups_without_factors_are_as_ever() -> None:
    model = small_resnet()
    groups = parameter_groups(model)
    assert [set(group) for group in groups] == [{"params"}, {"params", "weight_decay"}]
    assert all(p.dim() > 1 for p in groups[0]["params"]) and all(p.dim() == 1 for p in groups[1]["params"])
    (group,) = parameter_groups(model, decay="all")
    assert len(group["params"]) == len(list(model.parameters()))


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(RequestError, match="MLPClassifier does not say what its layers are"):
        parameter_groups(MLPClassifier((4,), 2), layer_decay=0.9)


def test_stochastic_depth() -> None:
    torch.manual_seed(0)
    module, x = StochasticDepth(0.25), torch.randn(4000, 2, 3)
    y = module.train()(x)
    kept = (y[:, 0, 0] != 0).float()
    assert abs(kept.mean().item() - 0.75) < 5 * (0.25 * 0.75 / 4000) ** 0.5
    torch.testing.assert_close(y, stochastic_depth_reference(x, kept, 0.25))
    assert module.eval()(x) is x
    assert rising(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert rising(0.3, 1) == [0.0]
    with pytest.raises(RequestError, match=r"1\.5"):
        StochasticDepth(1.5)
