"""The knobs from ResNet to ConvNeXt: each does what it says, together they reach ConvNeXt's size."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dlkit.catalog import ACTIVATIONS
from dlkit.errors import RequestError
from dlkit.models.convnext import ConvNeXt, convnext_tiny
from dlkit.models.resnet import ResNet, resnet50


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("norm", "activation"), list(product(("batch", "layer", "group", "none"), ACTIVATIONS)))
def test_every_norm_and_activation_trains_a_step(norm: Any, activation: Any) -> None:
    torch.manual_seed(0)
    model = ConvNeXt(
        (1, 9, 9), 5, depths=(1, 1), widths=(8, 12), patch=2, norm=norm, activation=activation, layer_scale=0.1
    )
    torch.nn.functional.cross_entropy(model(torch.randn(6, 1, 9, 9)), torch.arange(6) % 5).backward()
    for name, value in model.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all() and value.grad.count_nonzero(), name


def test_the_path_of_liu_et_al() -> None:
    """The steps of section 2, by what each does to the number of parameters."""
    with torch.device("meta"):
        shape, classes = (3, 224, 224), 1000
        general: Any = {"stem": "conv7", "shortcut": "B", "block": "bottleneck", "widths": (64, 128, 256, 512)}
        start = ResNet(shape, classes, depths=(3, 4, 6, 3), **general)
        assert count(start) == count(resnet50(shape, classes)) == 25_557_032
        ratio = ResNet(shape, classes, depths=(3, 3, 9, 3), **general)
        assert count(start) < count(ratio)
        patches = ResNet(shape, classes, depths=(3, 3, 9, 3), **general | {"stem": "patch"})
        assert count(patches) == count(ratio) - 64 * 3 * 49 + 64 * 3 * 16
        wide: Any = {**general, "stem": "patch", "widths": (96, 192, 384, 768), "depths": (3, 3, 9, 3)}
        depthwise = ResNet(shape, classes, **wide, depthwise=True)
        inverted = ResNet(shape, classes, **wide | {"block": "inverted"}, depthwise=True)
        large = ResNet(shape, classes, **wide | {"block": "inverted"}, depthwise=True, kernel_size=7)
        assert count(inverted) < count(depthwise)
        # the kernels grow from 9 to 49 numbers for each of the 4 C channels inside
        grown = sum(depth * 4 * width * 40 for depth, width in zip((3, 3, 9, 3), (96, 192, 384, 768), strict=True))
        assert count(large) == count(inverted) + grown
        assert count(convnext_tiny(shape, classes)) == 28_589_128


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvNeXt((3, 16, 16), 10), "images of 16x16 are too small"),
        (lambda: ConvNeXt((64,), 10), "needs images"),
        (lambda: ConvNeXt((3, 32, 32), 10, depths=(1,), widths=(4, 8)), "depths has 1 stages, widths has 2"),
        (lambda: ConvNeXt((3, 32, 32), 10, kernel_size=4), "kernel_size must be odd.*4"),
        (lambda: ResNet((3, 32, 32), 10, kernel_size=2), "kernel_size must be odd.*2"),
        (lambda: ResNet((3, 32, 32), 10, depthwise=True), "set model.block=bottleneck|depthwise"),
        (lambda: ResNet((3, 32, 32), 10, block="wide"), "no block 'wide'"),  # pyright: ignore
        (lambda: ResNet((3, 32, 32), 10, stem="conv5"), "no stem 'conv5'"),  # pyright: ignore
        (lambda: ResNet((3, 32, 32), 10, stochastic_depth=1.0), "stochastic_depth"),
    ],
)
def test_refusals(build: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        build()


@pytest.mark.skipif(
    torch.__version__ < "2.11" and not torch.cuda.is_available(),
    reason="torch 2.9 asks CUDA's driver as it copies a tensor without data",
)
@pytest.mark.parametrize(
    "keys",
    [
        {"block": "bottleneck", "shortcut": "B", "stem": "conv7"},
        {"block": "inverted", "depthwise": True, "kernel_size": 7, "layer_scale": 1e-6, "stochastic_depth": 0.2},
    ],
)
def test_nothing_mixes_devices(keys: dict[str, Any]) -> None:
    for model in (
        ResNet((3, 32, 32), 10, depths=(1, 1), widths=(8, 16), **keys),
        ConvNeXt((3, 32, 32), 10, depths=(1, 1), widths=(8, 16), stochastic_depth=0.5),
    ):
        fake = FakeTensorMode()
        state = {name: fake.from_tensor(value.detach()) for name, value in model.state_dict().items()}
        with fake, torch.no_grad():
            state = {name: value.to("cuda") for name, value in state.items()}
            for training in (True, False):
                x = torch.empty(2, 3, 32, 32, device="cuda")
                out = torch.func.functional_call(model.train(training), state, (x,))
                assert out.device.type == "cuda"
                assert out.shape == (2, 10)


def test_compiled_and_eager_agree_without_a_graph_break() -> None:
    torch.manual_seed(0)
    model = ConvNeXt((3, 16, 16), 4, depths=(1, 1), widths=(8, 16), patch=2, layer_scale=0.5).eval()
    x = torch.randn(2, 3, 16, 16)
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(x), model(x))
