"""Each model against a twin built from torch.nn and torchvision alone: same weights, same three steps of training."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock

from dlkit.losses import CrossEntropy
from dlkit.models.cnn import CNN
from dlkit.models.mlp import MLPClassifier
from dlkit.models.resnet import ResNet

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "silu": nn.SiLU}


class ImageLayerNorm(nn.LayerNorm):
    def forward(self, input):
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


def torch_norm(name, channels, dims):
    return {
        "batch": (nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d),
        "layer": (nn.LayerNorm if dims == 1 else ImageLayerNorm),
        "group": lambda c: nn.GroupNorm(c // 4, c),
        "none": lambda c: nn.Identity(),
    }[name](channels)


class PadShortcut(nn.Module):
    """Option A by other means: average pooling of 1x1 windows, then a concatenation with zeros."""

    def __init__(self, extra, stride):
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x):
        x = F.avg_pool2d(x, 1, self.stride)
        return torch.cat([x, x.new_zeros(x.shape[0], self.extra, *x.shape[2:])], 1)


class PlainBlock(BasicBlock):
    """torchvision's block without its addition."""

    def forward(self, x):
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


class ResNetTwin(nn.Module):
    def __init__(self, depths, widths, *, shortcut, residual, norm="batch", activation="relu"):
        super().__init__()
        make_norm = lambda channels: torch_norm(norm, channels, 2)  # noqa: E731
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=norm == "none")
        self.bn1, self.relu = make_norm(widths[0]), ACTIVATIONS[activation]()
        before, stages = widths[0], []
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            blocks = []
            for i in range(depth):
                stride, down = (2 if stage and not i else 1), None
                if residual and (stride != 1 or before != width):
                    project = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=norm == "none"), make_norm(width))
                    down = project if shortcut == "B" else PadShortcut(width - before, stride)
                block = (BasicBlock if residual else PlainBlock)(before, width, stride, down, norm_layer=make_norm)
                block.relu = ACTIVATIONS[activation]()
                if norm == "none":
                    block.conv1.bias = nn.Parameter(torch.zeros(width))
                    block.conv2.bias = nn.Parameter(torch.zeros(width))
                blocks.append(block)
                before = width
            stages.append(nn.Sequential(*blocks))
            self.add_module(f"layer{stage + 1}", stages[-1])
        self.stages = stages
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(before, 10)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = stage(x)
        return self.fc(self.avgpool(x).flatten(1))


def mlp_twin(features, hidden, norm, activation, dropout):
    layers: list[nn.Module] = [nn.Flatten()]
    for width in hidden:
        layers += [nn.Linear(features, width, bias=norm == "none"), torch_norm(norm, width, 1)]
        layers += [ACTIVATIONS[activation](), nn.Dropout(dropout)]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, 10))


def cnn_twin(channels, norm, activation, dropout):
    layers: list[nn.Module] = []
    before = 3
    for width in channels:
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=norm == "none"), torch_norm(norm, width, 2)]
        layers += [ACTIVATIONS[activation](), nn.MaxPool2d(2, 2)]
        before = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(before, 10)]
    return nn.Sequential(*layers, *head)


def copy_weights(twin, ours):
    """By position: every parameter and buffer has its counterpart, in the same order and shape."""
    pairs = list(zip(twin.state_dict().values(), ours.state_dict().values(), strict=True))
    assert all(theirs.shape == mine.shape for theirs, mine in pairs)
    with torch.no_grad():
        for theirs, mine in pairs:
            theirs.copy_(mine)


def assert_trains_alike(ours, twin, shape=(3, 9, 9)):
    ours.double()
    twin.double()
    # Away from the initial ones and zeros, so that swapped weights or biases would show.
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    copy_weights(twin, ours)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9) for m in (ours, twin)]
    close = {"rtol": 1e-10, "atol": 1e-10}
    loss_function, losses = CrossEntropy(label_smoothing=0.1), []
    for step in range(3):
        x, targets = torch.randn(5, *shape, dtype=torch.float64), torch.randint(0, 10, (5,))
        for optimizer in optimizers:
            optimizer.zero_grad()
        torch.manual_seed(step)  # the same coin masks for dropout
        loss = loss_function(ours(x), targets)
        torch.manual_seed(step)
        expected = F.cross_entropy(twin(x), targets, label_smoothing=0.1)
        torch.testing.assert_close(loss, expected, **close)
        loss.backward()
        expected.backward()
        for (name, mine), theirs in zip(ours.named_parameters(), twin.parameters(), strict=True):
            assert mine.grad is not None, name
            torch.testing.assert_close(mine.grad, theirs.grad, **close)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    for mine, theirs in zip(ours.state_dict().values(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, **close)
    assert len(set(losses)) == 3
    with torch.no_grad():
        training = copy.deepcopy(ours)(x)  # the copy's statistics move, not ours
        torch.testing.assert_close(ours.eval()(x), twin.eval()(x), **close)
        return training, ours(x)


NORMS = ["batch", "layer", "group", "none"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("hidden", "activation", "dropout"), [((12, 8), "gelu", 0.3), ((16,), "relu", 0.0)])
def test_mlp(norm, hidden, activation, dropout):
    torch.manual_seed(0)
    ours = MLPClassifier((3, 9, 9), 10, hidden=hidden, norm=norm, activation=activation, dropout=dropout)
    assert_trains_alike(ours, mlp_twin(243, hidden, norm, activation, dropout))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("activation", "dropout"), [("relu", 0.0), ("tanh", 0.4), ("silu", 0.0)])
def test_cnn(norm, activation, dropout):
    torch.manual_seed(0)
    ours = CNN((3, 9, 9), 10, channels=(8, 12), norm=norm, activation=activation, dropout=dropout)
    training, evaluation = assert_trains_alike(ours, cnn_twin((8, 12), norm, activation, dropout))
    assert torch.equal(training, evaluation) == (norm != "batch" and not dropout)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize(("shortcut", "residual"), [("A", True), ("B", True), ("A", False)])
def test_resnet(norm, activation, shortcut, residual):
    torch.manual_seed(0)
    settings = {"shortcut": shortcut, "residual": residual, "norm": norm, "activation": activation}
    ours = ResNet((3, 9, 9), 10, depths=(2, 1, 2), widths=(8, 12, 16), **settings)
    twin = ResNetTwin((2, 1, 2), (8, 12, 16), **settings)
    assert list(ours.state_dict()) == list(twin.state_dict())  # torchvision's names
    assert_trains_alike(ours, twin)


def test_resnet_dropout_is_before_the_last_layer():
    torch.manual_seed(0)
    ours = ResNet((3, 8, 8), 10, depths=(1,), widths=(8,), dropout=0.5)
    twin = ResNetTwin((1,), (8,), shortcut="A", residual=True)
    head = twin.fc
    twin.fc = nn.Sequential(nn.Dropout(0.5), head)  # pyright: ignore[reportAttributeAccessIssue]
    assert_trains_alike(ours, twin)
