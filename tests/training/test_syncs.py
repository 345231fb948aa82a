"""Nothing waits for the device within a step: every task and loader, by CUDA's own check, and by a twin of it here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dlkit import catalog
from dlkit.data.epochs import Epochs
from dlkit.losses import CrossEntropy
from dlkit.optim.momentum import Momentum
from dlkit.training.loop import Training, _Loop
from dlkit.training.next_steps import remaining_steps
from tests.training.jobs import Job, causal, images, masked, streamed, table, texts

OPTIMIZERS = [catalog.import_object(entry.target) for entry in catalog.OPTIMIZERS.values()]

JOBS: dict[str, Job] = {
    "images": images(),
    "images, all of it": images(
        CrossEntropy(label_smoothing=0.1, l2=1e-3),
        settings={"clip_norm": 1.0, "ema": 0.9, "accumulate": 2},
        flip="alternating",
        shift=1,
        cutout=2,
        start_size=4,
        grow_epochs=2,
    ),
    "images, mixup": images(mixup=0.3),
    "images, cutmix": images(cutmix=0.3),
    "images, mixup and cutmix": images(mixup=0.3, cutmix=0.3, border="mirror", shift=1),
    "images at fp16": images(settings={"precision": "fp16", "clip_norm": 1.0}),
    "images at fp16, averaged": images(optimizer=Momentum, settings={"precision": "fp16", "ema": 0.9}),
    "images at bf16": images(settings={"precision": "bf16"}),
    "stream": streamed(),
    "stream, mixup": streamed(mixup=0.3),
    "stream, mixup and cutmix": streamed(mixup=0.3, cutmix=0.3, start_size=32, grow_epochs=1),
    "table": table,
    "causal": causal,
    "masked": masked(),
    "masked, whole words": masked(whole_words=True),
    "texts, classes": texts("classes"),
    "texts, batch norm": texts("classes", norm="batch"),
    "texts, numbers": texts("number"),
    "texts, candidates": texts("choice"),
    **{f"images by {kind.__name__}": images(optimizer=kind) for kind in OPTIMIZERS},
}


def steps(run: Training) -> Iterator[Callable[[], int]]:
    """Calls that make one step each, the making of its batch included."""
    loop = _Loop(run, None, None)
    run.model.train()
    batches = remaining_steps(run, loop.progress, 0)
    while True:
        yield lambda: loop._step(next(batches)[1])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", JOBS)
def test_cuda_says_that_nobody_waits(name: str) -> None:
    step = next(steps(JOBS[name](torch.device("cuda"))))
    for _ in range(7):  # over the border of an epoch of five; memory is pinned and kernels are loaded at first
        step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# What gives a number, or a shape that depends on numbers, back to the host; and index by a bool, which is among these.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "masked_scatter", "masked_scatter_", "unique", "_unique2"}

WAITS |= {"repeat_interleave", "is_nonzero", "equal", "bincount", "nonzero_numpy"}

KEPT = ("_inputs", "_targets", "_tokens", "_steps", "_mean", "_std")  # by loaders, on the device


def flat(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Device(TorchDispatchMode):
    """Plays a device: what was sent there, and what is computed of it, must not be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, Any] = {}  # storages, kept so that none is taken for another
        self.waits: list[str] = []
        self.watching = False

    def place(self, tensor: Tensor) -> Tensor:
        """The tensor is on the device from now on."""
        storage = tensor.untyped_storage()
        self.held[storage._cdata] = storage
        return tensor

    def has(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self.held

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [
            x for arg in (*args, *(kwargs or {}).values()) for x in (arg if isinstance(arg, list | tuple) else [arg])
        ]
        if any(self.has(x) for x in inputs):
            name = func._schema.name.removeprefix("aten::")
            bools = name.startswith("index") and any(
                isinstance(x, Tensor) and x.dtype == torch.bool for x in inputs[1:]
            )
            if self.watching and (name in WAITS or bools):
                self.waits.append(name)
            for x in flat(result):
                if isinstance(x, Tensor):
                    self.place(x)
        return result


@contextlib.contextmanager
def played(monkeypatch: pytest.MonkeyPatch, build: Callable[[], Training]) -> Iterator[tuple[Device, Training]]:
    """A run whose model and data are on a `Device`."""
    device = Device()
    run = build()
    for tensor in (*run.model.parameters(), *run.model.buffers()):
        device.place(tensor)
    for name in KEPT:
        if isinstance(value := getattr(run.batches, name, None), Tensor):
            device.place(value)
    monkeypatch.setattr(Epochs, "send", lambda self, values: device.place(values.clone()))
    for name in ("cpu", "numpy", "tolist", "__array__"):  # which torch does not dispatch on a CPU
        original = getattr(Tensor, name)

        def watched(self: Tensor, *args: Any, _name: str = name, _original: Any = original) -> Any:
            if device.watching and device.has(self):
                device.waits.append(_name)
            return _original(self, *args)

        monkeypatch.setattr(Tensor, name, watched)
    for kind in OPTIMIZERS:
        monkeypatch.setattr(kind, "foreach_devices", ("cpu",))  # as on CUDA
        if "cuda" not in kind.fused_devices:
            monkeypatch.setattr(kind, "fused_devices", ())
    with device:
        yield device, run


@pytest.mark.parametrize("name", [name for name in JOBS if "fp16" not in name])
def test_nothing_on_the_device_is_waited_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with played(monkeypatch, lambda: JOBS[name](torch.device("cpu"))) as (device, run):
        step = next(steps(run))
        step()
        device.watching = True
        for _ in range(5):
            step()
        device.watching = False
    assert device.waits == []
    assert all(device.has(parameter) for parameter in run.model.parameters())


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: (x > 0).nonzero(),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: torch.zeros(9).masked_scatter(torch.ones(9, dtype=torch.bool), x * 1),
        lambda x: bool((x * 2).isnan().any()),
        lambda x: x.sum().tolist(),
    ],
)
def test_the_twin_sees_who_waits(wait: Callable[[Tensor], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with played(monkeypatch, lambda: table(torch.device("cpu"))) as (device, _):
        x = device.place(torch.randn(9))
        device.watching = True
        wait(x)
        device.watching = False
    assert device.waits
