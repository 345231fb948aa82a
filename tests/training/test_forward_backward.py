"""A step replayed from a CUDA graph is the step itself: weights, running statistics, chance, accumulation, resuming.

Without a GPU a tape stands for the graph: it notes down each operation between the beginning and the end of a capture,
undoes what they did, and repeats them at each replay, with the tensors that they had then. What a graph would read from
memory that has moved, or find overwritten, the tape does, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dlkit import recipe
from dlkit.assemble import assemble_training
from dlkit.data.batch import ClassificationBatch, MaskedBatch
from dlkit.errors import DlkitError
from dlkit.kernels import cuda_graphs
from dlkit.training import loop
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.events import Finished
from dlkit.training.forward_backward import ForwardBackward
from dlkit.training.optimizer_step import OptimizerStep

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
# powers of two, which are the same in float32, where a graph holds them, as in float64
HALVED = "schedule={name: steps, at: [0.6], factor: 0.5}"
# five batches of 256 and one of 157
DIGITS = ["train.epochs=2", "train.compile=off", "train.precision=fp32", "train.eval_every=never", HALVED]
RESNET = "model={name: resnet, depths: [1, 1], widths: [4, 8], dropout: 0.2, stochastic_depth: 0.5}"
FAST = "model={name: fast_cnn, widths: [4, 8]}"


class Tape(TorchDispatchMode):
    """Stands for torch.cuda.CUDAGraph and, entered, for its capture."""

    replays = 0

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Any] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self.made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for value in tree_leaves((args, kwargs)):  # batch norm changes what its schema does not say
            if isinstance(value, Tensor) and value.untyped_storage().data_ptr() not in self.made:
                self.before.setdefault(id(value), (value, value.clone()))
        out = func(*args, **kwargs)
        self.made |= {value.untyped_storage().data_ptr() for value in tree_leaves(out) if isinstance(value, Tensor)}
        self.operations.append((func, args, kwargs, out))
        return out

    def undo(self) -> None:
        for value, before in self.before.values():
            value.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        Tape.replays += 1
        for func, args, kwargs, out in self.operations:
            given = {v.untyped_storage().data_ptr() for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)}
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.untyped_storage().data_ptr() not in given:
                    old.copy_(new)


@contextmanager
def capture(tape: Tape, **_: Any) -> Iterator[None]:
    state = torch.get_rng_state()
    with torch.no_grad():
        with torch.enable_grad(), tape:
            yield
        tape.undo()
    torch.set_rng_state(state)


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SimpleNamespace(wait_stream=lambda other: None, device=CPU)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Tape)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda which: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(Tape, "replays", 0)


def ended(
    overrides: list[str], device: torch.device = CPU, captures: bool = False, stop: int | None = None
) -> tuple[dict[str, Tensor], dict[str, float], Any]:
    """The weights and generators at the end of a run, its metrics, its loop; with `stop`, of one resumed there."""

    def begun(resume: Checkpoint | None = None) -> tuple[Any, Any]:
        run = assemble_training(
            recipe.load("digits-resnet20", [*DIGITS, *overrides, "data.batch_size=256"]), device
        ).training
        made = loop._Loop(run, None, resume)
        made.passes = ForwardBackward(
            run.forward,
            run.compiled,
            run.batches.batch_size,
            made.parameters,
            made.scaler,
            accumulate=run.settings.accumulate,
            captures=captures,
        )
        captures_too = captures and made.scaler is None
        made.optimizer_step = OptimizerStep(
            run.optimizer, made.parameters, made.passes, run.settings.clip_norm, captures=captures_too
        )
        return run, made

    run, made = begun()
    if stop is not None:
        for event in made.run():
            if event.step == stop:
                break
        saved = made.state.capture({})
        held = {name: {key: t.clone() for key, t in tensors.items()} for name, tensors in saved.tensors.items()}
        torch.manual_seed(99)
        run, made = begun(Checkpoint(saved.step, held, saved.state))
    *_, last = made.run()
    assert isinstance(last, Finished)
    generators = {"cpu": torch.get_rng_state()} | ({"cuda": torch.cuda.get_rng_state()} if device is CUDA else {})
    return {**run.model.state_dict(), **generators}, last.metrics, made


def assert_same(ours: Any, theirs: Any, exact: bool = True, coarse: bool = False) -> None:
    close: dict[str, Any] = {"rtol": 0, "atol": 0} if exact else {"rtol": 0.05, "atol": 5e-3} if coarse else {}
    for name, value in ours[0].items():
        torch.testing.assert_close(value, theirs[0][name], **close)
    assert ours[1] == (theirs[1] if exact else pytest.approx(theirs[1], abs=1e-2))


KINDS = [
    [RESNET, "data.mixup=0.8", "data.cutmix=1.0", "train.ema=0.9", "data.shift=1"],
    [
        RESNET,
        "train.accumulate=2",
        "train.clip_norm=1.0",
        "train.epochs=4",
        "optimizer={name: adamw, lr: 0.0009765625}",
    ],
    [FAST, "train.on_nan=skip", "optimizer={name: muon, lr: 0.125, unit_rows: true, other_factor: 0.5}"],
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_replayed_run_is_the_run(kind: list[str], taped: None) -> None:
    plain = ended(kind)
    assert Tape.replays == 0
    replayed = ended(kind, captures=True)
    batches = len(replayed[2].training.batches)
    # every full batch but the first, and their updates: one for each graph
    assert Tape.replays > replayed[2].training.settings.epochs * (batches - 1) - cuda_graphs.WARM_UP
    assert len(replayed[2].optimizer_step.graphs) == 1
    assert len(replayed[2].passes.graphs) == 1
    assert replayed[2].progress.warm_up > 0 == plain[2].progress.warm_up
    assert_same(replayed, plain)


def test_images_that_grow_are_captured_once_a_size(taped: None) -> None:
    grow = ["data={name: digits, batch_size: 256, start_size: 4, grow_epochs: 1}", "optimizer.lr=0.125", RESNET]
    replayed = ended([*grow, "train.epochs=3"], captures=True)
    assert len(replayed[2].passes.graphs) == 2
    assert len(replayed[2].optimizer_step.graphs) == 1
    assert_same(replayed, ended([*grow, "train.epochs=3"]))


def test_a_replayed_run_resumes_exactly(taped: None) -> None:
    assert_same(ended(KINDS[0], captures=True, stop=9), ended(KINDS[0]))


def test_a_number_in_a_batch_is_not_part_of_its_shape(taped: None) -> None:
    layer = nn.Linear(3, 1)

    def forward(batch: Any) -> tuple[Tensor, None]:
        return (layer(batch.token_ids)[:, 0] - batch.targets).square().mean(), None

    made = ForwardBackward(forward, forward, 4, list(layer.parameters()), captures=True)
    for number in range(8):
        batch = MaskedBatch(torch.full((4, 3), float(number)), torch.ones(4), torch.arange(4), number)
        layer.zero_grad()
        loss, _ = made(batch, 1.0)
        assert torch.equal(loss, forward(batch)[0])
    assert Tape.replays == 8 - cuda_graphs.WARM_UP


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_replayed_on_cuda_is_the_run(kind: list[str], precision: str) -> None:
    kind = [*kind, f"train.precision={precision}"]
    plain, replayed = ended(kind, CUDA), ended(kind, CUDA, captures=True)
    assert len(replayed[2].passes.graphs) == 1
    # Muon multiplies in bf16 whatever the precision, where the last bit of a gradient may become one of eight
    assert_same(replayed, plain, exact=False, coarse=any("muon" in change for change in kind))
    assert torch.equal(replayed[0]["cuda"], plain[0]["cuda"])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_waits_for_cuda_cannot_be_captured() -> None:
    layer = nn.Linear(3, 1, device="cuda")

    def forward(batch: Any) -> tuple[Tensor, None]:
        loss = layer(batch.inputs).mean()
        return loss * loss.item(), None

    made = ForwardBackward(forward, forward, 4, list(layer.parameters()), captures=True)
    batch = ClassificationBatch(torch.ones(4, 3, device="cuda"), torch.ones(4, device="cuda"))
    for _ in range(cuda_graphs.WARM_UP):
        made(batch, 1.0)
    with pytest.raises(DlkitError, match="cannot be captured"):
        made(batch, 1.0)
