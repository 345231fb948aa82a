"""The fast CIFAR-10 recipe beside airbench94 (Jordan 2024, arXiv:2404.00498; github.com/KellerJordan/cifar10-airbench).

    python -m pytest -m benchmark -s tests/benchmarks/test_airbench.py
    DLKIT_WHOLE=1 DLKIT_DATA=DIR python -m pytest -m benchmark -s tests/benchmarks/test_airbench.py -k whole

The stand-in is written with torch's own layers and optimizer: the network, batches of 1,024, triangular schedule,
label smoothing, alternating flip, shifts by 2, Lookahead and six views at test time of the paper, run eagerly in bf16
for the 8 epochs of its newest script. Reading the images before it trains is not in its time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.data.dataset import mean_and_deviation
from dlkit.models.fast_cnn import FastCNN
from dlkit.nn.whitening import whitening_filters
from dlkit.processors import usable_cores
from dlkit.training.device import keep_freed_memory
from dlkit.training.precision import autocast

pytestmark = pytest.mark.benchmark
BATCH, EPOCHS, MOMENTUM = 1024, 8, 0.85
CPU = torch.device("cpu")


class StandIn(nn.Module):
    """The network of airbench94 (Jordan 2024, arXiv:2404.00498, section 3), written with torch's own layers."""

    def __init__(self, widths: tuple[int, ...] = (64, 256, 256)) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad = False
        layers: list[nn.Module] = [nn.GELU()]
        before = 24
        for width in widths:
            first, second = (nn.Conv2d(c, width, 3, padding=1, bias=False) for c in (before, width))
            norms = [nn.BatchNorm2d(width, eps=1e-12, momentum=0.4) for _ in range(2)]
            for norm in norms:
                norm.weight.requires_grad = False
            layers += [first, nn.MaxPool2d(2), norms[0], nn.GELU(), second, norms[1], nn.GELU()]
            before = width
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(3))
        self.head = nn.Linear(before, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.whiten(x)).flatten(1)) / 9


def views(model: nn.Module, x: Tensor) -> Tensor:
    """The six forward passes of test-time augmentation, those of the unshifted image counting twice."""
    padded = F.pad(x, (1,) * 4, "reflect")
    weighted = ((x, 2), (padded[..., :32, :32], 1), (padded[..., 2:, 2:], 1))
    return sum(weight * (model(view) + model(view.flip(-1))) for view, weight in weighted)  # type: ignore


def copied(ours: FastCNN, twin: StandIn) -> None:
    """The filters of ours in the stand-in; the biases are 0 on both sides."""
    filters = [ours.whitening.weight, *(p for name, p in ours.named_parameters() if ".conv" in name), ours.fc.weight]
    with torch.no_grad():
        for target, value in zip((p for p in twin.parameters() if p.dim() > 1), filters, strict=True):
            target.copy_(value)
        twin.whiten.get_parameter("bias").zero_()


def test_the_stand_in_is_the_same_network() -> None:
    """As the recipe's, at its own widths."""
    torch.manual_seed(0)
    twin, same = StandIn(), FastCNN((3, 32, 32), 10)
    copied(same, twin)
    x = torch.randn(64, 3, 32, 32)
    torch.testing.assert_close(same(x), twin(x), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------- whole runs, a process each


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to 2 pixels either way, its border mirrored."""
    padded = F.pad(images, (2,) * 4, "reflect")
    down, right = (torch.randint(5, (len(images),), generator=generator) for _ in range(2))
    out = torch.empty_like(images)
    for y in range(5):
        for x in range(5):
            rows = ((down == y) & (right == x)).nonzero()[:, 0]
            out[rows] = padded[rows, :, y : y + 32, x : x + 32]
    return out


def train_stand_in(images: Tensor, labels: Tensor, seed: int) -> StandIn:
    """The paper's appendix A, the "airbench94" setting, for 8 epochs. Images (N, 3, 32, 32) normalised, float32."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = StandIn().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    with torch.no_grad():
        model.whiten.weight.copy_(whitening_filters(images[:5000], 2, 5e-4))
        model.whiten.get_parameter("bias").zero_()
        for layer in model.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.dirac_(layer.weight[: layer.in_channels])
    # rates and decay are given for a sum over 1,024 examples
    rate, decay = 11.5 / (1 + 1 / (1 - MOMENTUM)) / 1024, 0.0153 * BATCH / 1024 / (1 + 1 / (1 - MOMENTUM))
    learned = [p for p in model.parameters() if p.requires_grad]
    sides = ([p for p in learned if p.dim() == 1], rate * 64), ([p for p in learned if p.dim() > 1], rate)
    groups = [{"params": some, "lr": lr, "weight_decay": decay / lr} for some, lr in sides]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True, fused=True)
    steps = len(images) // BATCH
    total = EPOCHS * steps
    peak = int(0.23 * total)

    def factor(step: int) -> float:
        return 0.2 + 0.8 * step / peak if step < peak else 1 - 0.93 * (step - peak) / (total - peak)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    slow = {name: value.clone() for name, value in model.state_dict().items() if value.dtype.is_floating_point}

    def look_back(share: float) -> None:
        for name, value in model.state_dict().items():
            if name in slow:
                value.copy_(slow[name].lerp_(value, 1 - share))

    mirrored = torch.where(
        (torch.rand(len(images), generator=generator) < 0.5).view(-1, 1, 1, 1), images.flip(-1), images
    )
    for epoch in range(EPOCHS):
        shown = shifted(mirrored.flip(-1) if epoch % 2 else mirrored, generator)
        order = torch.randperm(len(images), generator=generator)
        model.get_submodule("whiten").get_parameter("bias").requires_grad_(epoch < 3)
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            with autocast("bf16", CPU):
                outputs = model(shown[rows].contiguous(memory_format=torch.channels_last))
                loss = F.cross_entropy(outputs, labels[rows], label_smoothing=0.2, reduction="sum")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            done = epoch * steps + step + 1
            if done % 5 == 0:
                look_back(0.95**5 * (done / total) ** 3)
    look_back(1.0)
    return model.eval()


def whole(folder: Path, seed: int) -> None:
    """Train the stand-in on CIFAR-10 and evaluate it: a line of JSON."""
    from dlkit.data.images.cifar import cifar10

    os.environ["DLKIT_DATA"] = str(folder)
    splits = cifar10().splits
    mean, std = mean_and_deviation(splits["train"].inputs)
    images, tests = (
        (splits[name].inputs.float() - mean.view(3, 1, 1)) / std.view(3, 1, 1) for name in ("train", "test")
    )
    begin = time.perf_counter()
    model = train_stand_in(images, splits["train"].targets, seed)
    trained = time.perf_counter() - begin
    with torch.no_grad(), autocast("bf16", CPU):
        parts = tests.contiguous(memory_format=torch.channels_last).split(500)
        plain = torch.cat([model(part) for part in parts]).argmax(1)
        begun = time.perf_counter()
        best = torch.cat([views(model, part) for part in parts]).argmax(1)
    seconds = trained + time.perf_counter() - begun
    plain, best = (float((guess == splits["test"].targets).double().mean()) for guess in (plain, best))
    print(json.dumps({"seconds": seconds, "accuracy": plain, "accuracy_of_views": best}))


@pytest.mark.skipif("DLKIT_WHOLE" not in os.environ, reason="takes a quarter of an hour; asked for by DLKIT_WHOLE=1")
def test_whole_runs(tmp_path: Path) -> None:
    """The time of dlkit is that of its process, start to end; that of the stand-in leaves out its start."""
    folder = Path(os.environ["DLKIT_DATA"])
    seed = os.environ.get("BENCH_SEED", "0")
    run = str(tmp_path / "run")
    free = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    begin = time.perf_counter()
    train = [sys.executable, "-m", "dlkit", "train", "cifar10-fast", "--seed", seed, "--run-dir", run, "-q"]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL, env=free)
    seconds = time.perf_counter() - begin
    ours = json.loads((Path(run) / "summary.json").read_text())["metrics"]["test/accuracy"]
    stand_in = [sys.executable, __file__, str(folder), seed]
    other = subprocess.run(stand_in, check=True, capture_output=True, text=True, env=free)
    theirs = json.loads(other.stdout)
    print(f"\nseed {seed}: dlkit {ours:.4f} in {seconds:.0f} s; stand-in {theirs['accuracy']:.4f}, with six views")
    print(f"{theirs['accuracy_of_views']:.4f}, in {theirs['seconds']:.0f} s: {seconds / theirs['seconds']:.2f} times")


if __name__ == "__main__":
    torch.set_num_threads(usable_cores())
    torch.set_flush_denormal(True)
    keep_freed_memory()
    whole(Path(sys.argv[1]), int(sys.argv[2]))
