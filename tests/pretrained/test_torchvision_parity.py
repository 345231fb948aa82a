"""ImageNet ResNets and ConvNeXts beside torchvision's, with its weights translated: logits, a whole step, files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models as theirs
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.convnext import ConvNeXt as TorchvisionConvNeXt
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet

from dlkit.errors import DlkitError
from dlkit.losses import CrossEntropy
from dlkit.models import convnext, resnet
from dlkit.models.convnext import ConvNeXt
from dlkit.models.fast_cnn import FastCNN
from dlkit.models.resnet import ResNet
from dlkit.optim.momentum import Momentum
from dlkit.pretrained.open_weights import open_weights
from dlkit.pretrained.vision import load_pretrained, translate
from dlkit.training import checkpoint
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.weights import load_weights

SIZES = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
SIZES += ["convnext_tiny", "convnext_small", "convnext_base", "convnext_large"]
# Everything that a large size has, in small.
REDUCED: dict[str, tuple[Any, Any]] = {
    "basic": (
        partial(ResNet, depths=(2, 1), widths=(64, 128), stem="conv7", shortcut="B"),
        partial(TorchvisionResNet, BasicBlock, [2, 1, 0, 0]),
    ),
    "bottleneck": (
        partial(
            ResNet, depths=(2, 1, 1, 1), widths=(64, 128, 256, 512), stem="conv7", shortcut="B", block="bottleneck"
        ),
        partial(TorchvisionResNet, Bottleneck, [2, 1, 1, 1]),
    ),
    "convnext": (
        partial(ConvNeXt, depths=(1, 2, 1), widths=(8, 12, 16), stochastic_depth=0.5),
        partial(
            TorchvisionConvNeXt,
            [CNBlockConfig(8, 12, 1), CNBlockConfig(12, 16, 2), CNBlockConfig(16, None, 1)],
            stochastic_depth_prob=0.5,
            layer_scale=1e-6,
        ),
    ),
}


def shaken(model: nn.Module) -> nn.Module:
    """Every parameter and statistic away from its initial value, so that a wrong place would show."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand(value.shape, generator=generator)
                value.add_(noise if name.endswith(("running_var", "layer_scale")) else 0.02 * (noise - 0.5))
    return model


def pair(ours: Any, other: Any, classes: int = 10, size: int = 64) -> tuple[nn.Module, nn.Module]:
    twin = shaken(other(num_classes=classes))
    mine = ours((3, size, size), classes)
    load_weights(mine, translate(twin.state_dict(), mine))
    return mine, twin


@pytest.mark.parametrize("name", SIZES)
def test_every_size_has_torchvisions_tensors(name: str) -> None:
    with torch.device("meta"):
        twin = getattr(theirs, name)()
        mine = getattr(resnet if name.startswith("resnet") else convnext, name)((3, 224, 224), 1000)
        translated = translate(twin.state_dict(), mine)
    own = mine.state_dict()
    assert {key: value.shape for key, value in translated.items()} == {key: value.shape for key, value in own.items()}
    assert len(twin.state_dict()) == len(own)
    if name.startswith("resnet"):
        assert list(own) == list(twin.state_dict())


def assert_same_logits(name: str, channels_last: bool) -> None:
    torch.manual_seed(0)
    mine, twin = pair(getattr(resnet if name.startswith("resnet") else convnext, name), getattr(theirs, name))
    x = torch.randn(2, 3, 64, 64)
    if channels_last:
        mine, twin = (model.to(memory_format=torch.channels_last) for model in (mine, twin))  # pyright: ignore
        x = x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        for training in (False, True):
            torch.manual_seed(5)  # the same coin masks for stochastic depth
            expected = twin.train(training)(x)
            mine.train(training)
            if name.startswith("convnext"):
                set_depth(mine, twin)
            torch.manual_seed(5)
            torch.testing.assert_close(mine(x), expected, rtol=1e-5, atol=1e-5 * max(1.0, expected.abs().max().item()))


def set_depth(mine: nn.Module, twin: nn.Module) -> None:
    ours = [module for module in mine.modules() if type(module).__name__ == "StochasticDepth"]
    others = [module for module in twin.modules() if type(module).__name__ == "StochasticDepth"]
    for a, b in zip(ours, others, strict=True):
        a.p = b.p


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "convnext_tiny"])
def test_logits(name: str) -> None:
    assert_same_logits(name, channels_last=True)


@pytest.mark.slow
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", SIZES)
def test_logits_of_every_size(name: str, channels_last: bool) -> None:
    assert_same_logits(name, channels_last)


def assert_same_training(mine: nn.Module, twin: nn.Module, x: Tensor, targets: Tensor, close: dict[str, float]) -> None:
    """Two steps with momentum: each loss and gradient, then weights and running statistics."""
    optimizers = [Momentum(mine.parameters(), lr=0.1), torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)]
    for step in range(2):
        losses: list[Tensor] = []
        for model, loss in (mine, CrossEntropy(label_smoothing=0.1)), (twin, nn.CrossEntropyLoss(label_smoothing=0.1)):
            torch.manual_seed(step)  # the same coin masks for stochastic depth
            losses.append(loss(model(x[step]), targets[step]))
        torch.testing.assert_close(*losses, **close)
        for optimizer, value in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            value.backward()
        gradients: dict[str, Tensor] = {}
        for name, parameter in twin.named_parameters():
            assert parameter.grad is not None and parameter.grad.count_nonzero()
            gradients[name] = parameter.grad
        assert_same_tensors({name: value.grad for name, value in mine.named_parameters()}, gradients, mine, close)
        for optimizer in optimizers:
            optimizer.step()
    assert_same_tensors(mine.state_dict(), twin.state_dict(), mine, close)


def assert_same_tensors(
    found: dict[str, Any], expected: dict[str, Tensor], model: nn.Module, close: dict[str, float]
) -> None:
    translated = translate(expected, model)
    for name, value in found.items():
        torch.testing.assert_close(value, translated[name], msg=lambda text, name=name: f"{name}: {text}", **close)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", REDUCED)
def test_training(kind: str, channels_last: bool) -> None:
    torch.manual_seed(0)
    ours, other = REDUCED[kind]
    if kind == "basic":  # torchvision has four stages at least, so two of them are left out
        other = partial(_two_stages, other)
    mine, twin = (model.double() for model in pair(ours, other, size=32))
    x, targets = torch.randn(2, 6, 3, 32, 32, dtype=torch.float64), torch.randint(0, 10, (2, 6))
    if channels_last:
        for model in (mine, twin):
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        x = x.movedim(2, 4).contiguous().movedim(4, 2)  # of each step
        assert x[0].is_contiguous(memory_format=torch.channels_last)
    assert_same_training(mine, twin, x, targets, {"rtol": 1e-9, "atol": 1e-11})


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_training_of_every_size(name: str) -> None:
    # float64 of the largest would take 10 GB; in float32 linear layers may multiply by another library than torch's
    dtype = torch.float32 if name == "convnext_large" else torch.float64
    torch.manual_seed(0)
    ours, other = getattr(resnet if name.startswith("resnet") else convnext, name), getattr(theirs, name)
    if name.startswith("convnext"):
        # not its usual 0.5, by which both images would skip a block, and its gradient be 0
        ours, other = partial(ours, stochastic_depth=0.1), partial(other, stochastic_depth_prob=0.1)
    mine, twin = (model.to(dtype) for model in pair(ours, other))
    x, targets = torch.randn(2, 2, 3, 64, 64, dtype=dtype), torch.randint(0, 10, (2, 2))
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-8, "atol": 1e-10}
    assert_same_training(mine, twin, x, targets, close)


def _two_stages(other: Any, num_classes: int) -> nn.Module:
    model = other(num_classes=num_classes)
    model.layer3, model.layer4 = nn.Identity(), nn.Identity()
    model.fc = nn.Linear(128, num_classes)
    return model


# ---------------------------------------------------------------------- files of weights


@pytest.mark.parametrize("name", ["convnext_tiny", "convnext_nano", "resnet18", "resnet50"])
def test_timm_itself(name: str) -> None:
    timm = pytest.importorskip("timm")
    twin = shaken(timm.create_model(name, num_classes=10)).eval()
    mine = getattr(resnet if name.startswith("resnet") else convnext, name)((3, 64, 64), 10).eval()
    load_weights(mine, translate(twin.state_dict(), mine))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(mine(x), twin(x), rtol=1e-4, atol=1e-4)


def test_another_number_of_classes_gets_a_new_head(tmp_path: Path) -> None:
    source = shaken(theirs.resnet18(num_classes=7))
    save_file(source.state_dict(), tmp_path / "r.safetensors")
    torch.manual_seed(0)
    model = resnet.resnet18((3, 32, 32), 3)
    head = model.fc.weight.clone()
    (remark,) = load_pretrained(model, load_weights, weights=tmp_path / "r.safetensors")
    assert "it has 7 outputs, the data has 3 classes: the last layer starts anew" in remark
    assert torch.equal(model.fc.weight, head)
    assert torch.equal(model.conv1.weight, source.conv1.weight)


def test_other_classes_of_the_same_number(tmp_path: Path) -> None:
    def small() -> FastCNN:
        return FastCNN((3, 8, 8), 4, widths=(4, 4))  # its last layer has no bias

    source, other = small(), FastCNN((3, 8, 8), 3, widths=(4, 4))
    folder = tmp_path / "run" / "checkpoints"
    checkpoint.save_checkpoint(folder, Checkpoint(1, {"model": source.state_dict()}, {}))
    checkpoint.set_pointer(folder, "last", 1)
    for options, same in ({}, True), ({"new_head": True}, False):
        model = small()
        head = model.fc.weight.clone()
        remarks = load_pretrained(model, load_weights, weights=tmp_path / "run", **options)
        assert (remarks == []) == same
        assert torch.equal(model.fc.weight, source.fc.weight if same else head)
        assert torch.equal(model.get_parameter("group1.0.conv1.weight"), source.get_parameter("group1.0.conv1.weight"))
    (remark,) = load_pretrained(other, load_weights, weights=tmp_path / "run")
    assert "it has 4 outputs, the data has 3 classes: the last layer starts anew" in remark


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("code ran",))


def test_files_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ResNet((3, 8, 8), 4, depths=(1,), widths=(4,))
    state = model.state_dict()

    def refusal(name: str) -> str:
        with pytest.raises(DlkitError) as caught:
            load_pretrained(model, load_weights, weights=tmp_path / name)
        return caught.value.message

    torch.save({"state_dict": state, "extra": Evil()}, tmp_path / "evil.pth")
    assert "could run code" in refusal("evil.pth")
    assert "code ran" not in capsys.readouterr().out
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("text.pth", "text.safetensors"):
        assert name in refusal(name)
    assert refusal("empty.pth").endswith("empty.pth is empty")
    for name in ("page.pth", "page.safetensors"):
        (tmp_path / name).write_text("\n<!DOCTYPE html>\n<html><title>Sign in</title></html>")
        assert refusal(name).endswith(f"{name} is a web page, not weights")
    (tmp_path / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "a pointer of Git LFS" in refusal("pointer.safetensors")
    torch.save(state, tmp_path / "cut.pth")
    cut = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(cut[: len(cut) // 2])
    assert "cut.pth" in refusal("cut.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "holds a list" in refusal("list.pth")
    torch.save({"epoch": 1}, tmp_path / "none.pth")
    assert "no tensors" in refusal("none.pth")
    assert "no such file" in refusal("not-there.pth")
    wrong = {name: value for name, value in state.items() if name != "conv1.weight"} | {"extra.weight": torch.ones(1)}
    save_file(wrong, tmp_path / "wrong.safetensors")
    message = refusal("wrong.safetensors")
    assert message.startswith(f"{tmp_path / 'wrong.safetensors'}: ")
    assert "missing conv1.weight" in message and "surplus extra.weight" in message
    save_file(ResNet((1, 8, 8), 4, depths=(1,), widths=(4,)).state_dict(), tmp_path / "grey.safetensors")
    assert "conv1.weight is (4, 1, 3, 3), the model wants (4, 3, 3, 3)" in refusal("grey.safetensors")


def test_a_folder_of_weights(tmp_path: Path) -> None:
    model = ResNet((3, 8, 8), 4, depths=(1,), widths=(4,))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert open_weights(tmp_path).tensors.keys() == model.state_dict().keys()
