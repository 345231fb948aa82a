"""What the training loop costs beside a bare one: same model, data order, optimizer; progress and metrics are on.

    pytest -m benchmark tests/benchmarks/test_loop.py -s

Both sides run alternately in this process; the table shows medians. Lightning joins where it is installed.
"""

from __future__ import annotations

import copy
import logging
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from dlkit.app.trained_run import Started
from dlkit.cli.train.view import TrainingView
from dlkit.data.batch import Batch
from dlkit.data.dataset import Split
from dlkit.data.images.image_batches import ImageBatches
from dlkit.losses import CrossEntropy
from dlkit.models.cnn import CNN
from dlkit.models.resnet import resnet20
from dlkit.optim.momentum import Momentum
from dlkit.schedules import constant
from dlkit.tasks.classification import Classification
from dlkit.training.device import keep_freed_memory
from dlkit.training.loop import Training, fit
from dlkit.training.run_directory import RunDirectory
from dlkit.training.settings import TrainSettings

THREADS = int(os.environ.get("BENCH_THREADS", len(os.sched_getaffinity(0))))
REPEATS = 11
CPU = torch.device("cpu")
LR = 0.01


def batches(shape: tuple[int, ...], samples: int, batch_size: int) -> ImageBatches:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (samples, *shape), generator=generator, dtype=torch.uint8)
    targets = torch.randint(0, 10, (samples,), generator=generator)
    statistics_of = torch.full((shape[0],), 127.5), torch.full((shape[0],), 74.0)
    return ImageBatches(Split(images, targets), *statistics_of, CPU, 0, True, batch_size=batch_size)


def bare_loop(model: nn.Module, data: ImageBatches, epochs: int) -> None:
    """The fifteen lines that one would write by hand, on tensors that are normalised and ordered beforehand."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, fused=True)
    inputs, targets, orders = data._inputs, data._targets, ORDERS[id(data)]
    model.train()
    for order in orders[:epochs]:
        for rows in order.split(data.batch_size):
            loss = F.cross_entropy(model(inputs[rows]), targets[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


ORDERS: dict[int, list[Tensor]] = {}


def orders_of(data: ImageBatches, epochs: int) -> list[Tensor]:
    """The order of rows that the batches of each epoch have."""
    numbered = copy.copy(data)
    numbered._targets = torch.arange(data.samples)
    return [torch.cat([rows for _, rows in map(Batch.tensors, numbered.epoch(number))]) for number in range(epochs)]


def dlkit_loop(model: nn.Module, data: ImageBatches, epochs: int, folder: Path) -> None:
    training = Training(
        model=model,
        task=Classification(CrossEntropy(), tuple("0123456789")),
        optimizer=Momentum(model.parameters(), lr=LR),
        schedule=constant,
        batches=data,
        evaluations={},
        settings=TrainSettings(epochs=epochs, precision="fp32", compile="off", channels_last="off"),
        device=CPU,
    )
    folder.mkdir(exist_ok=True)
    with RunDirectory(folder) as directory, Path(os.devnull).open("w") as sink:
        directory.open_metrics()
        console = Console(file=sink, force_terminal=True, width=100)
        length = (training.total_steps, training.steps_per_epoch)
        view = TrainingView(Started(folder, "title", "cpu", "fp32", 1, *length, 0, "samples"), console, print)
        with view:
            for event in fit(training):
                directory.record(event)
                view.update(event)


def lightning_loop(model: nn.Module, data: ImageBatches, epochs: int) -> None:
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            loss = F.cross_entropy(self.model(batch.inputs), batch.targets)
            self.log("loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=LR, momentum=0.9, fused=True)

    class Source:
        """The same batches, so that Lightning pays for its loop and not for a DataLoader."""

        def __len__(self) -> int:
            return len(data)

        def __iter__(self) -> Any:
            return data.epoch(trainer.current_epoch)

    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=True,
    )
    trainer.fit(Module(), Source())


CASES = {
    "small CNN, 8x8, batch 64": (lambda: CNN((1, 8, 8), 10, channels=(16, 32)), (1, 8, 8), 4096, 64, 12),
    "ResNet-20, 8x8, batch 128": (lambda: resnet20((1, 8, 8), 10), (1, 8, 8), 1536, 128, 5),
    "ResNet-20, 32x32, batch 128": (lambda: resnet20((3, 32, 32), 10), (3, 32, 32), 512, 128, 2),
}


@pytest.mark.benchmark
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_the_loop_beside_a_bare_one(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make, shape, samples, batch_size, epochs = CASES[case]
    torch.set_num_threads(THREADS)
    keep_freed_memory()
    torch.manual_seed(0)
    start, data = make(), batches(shape, samples, batch_size)
    ORDERS[id(data)] = orders_of(data, epochs)
    sides: dict[str, Callable[[nn.Module], None]] = {
        "bare": lambda model: bare_loop(model, data, epochs),
        "dlkit": lambda model: dlkit_loop(model, data, epochs, tmp_path / "run"),
    }
    if "CNN" in case:
        try:
            import lightning  # noqa: F401
        except ImportError:
            pass
        else:
            sides["lightning"] = lambda model: lightning_loop(model, data, epochs)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(REPEATS + 1):  # the first warms up, and shows that all sides do the same
        weights: dict[str, Tensor] = {}
        for name, side in sides.items():
            model = copy.deepcopy(start)
            begin = time.perf_counter()
            side(model)
            if repeat:
                times[name].append(time.perf_counter() - begin)
            weights[name] = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        for name, values in weights.items():
            torch.testing.assert_close(values, weights["bare"], rtol=1e-4, atol=1e-5, msg=f"{name} differs from bare")
    median = {name: statistics.median(values) for name, values in times.items()}
    paired = [d / b for d, b in zip(times["dlkit"], times["bare"], strict=True)]
    with capfd.disabled():
        print(f"\n{case}: {epochs * len(data)} steps, {THREADS} threads, median of {REPEATS}")
        for name, value in median.items():
            print(f"  {name:10} {value:7.3f} s  {value / median['bare']:6.3f}x bare")
        print(f"  dlkit/bare in pairs: {min(paired):.3f} .. {statistics.median(paired):.3f} .. {max(paired):.3f}")
