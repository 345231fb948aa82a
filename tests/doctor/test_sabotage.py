"""What is wrong makes its check fail: an optimizer, a precision, a model, a loader, a checkpoint, a wait, a kernel.

Each test first sees the check pass, so that it is the sabotage that fails it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit.attention.capture import CapturedLayer
from dlkit.compression import archive
from dlkit.data.row_batches import RowBatches
from dlkit.doctor.bench import Bench
from dlkit.doctor.checks import attention, compile, compression, loaders, models, optimizers, resume, stacks, waits
from dlkit.doctor.finding import Finding
from dlkit.optim.adamw import AdamW
from dlkit.optim.momentum import Momentum
from dlkit.optim.muon import Muon
from dlkit.tasks import classification
from dlkit.training import precision as precision_module
from dlkit.training import rng
from dlkit.vectorized.stacked_runs import StackedRuns

Patch = pytest.MonkeyPatch


def verdicts(findings: Iterator[Finding]) -> set[str]:
    return {finding.verdict for finding in findings}


def only(patch: Patch, module: Any, table: str, *names: str) -> None:
    """Let a module see only these of a table of cases; the table itself, which others see too, stays as it is."""
    cases = getattr(module, table)
    patch.setattr(module, table, {name: cases[name] for name in names})


# ---------------------------------------------------------------------- optimizers


class Hasty(Momentum):
    """Its steps are a hundredth too long."""

    elementwise = True

    def __init__(self, params: Any, *, lr: float) -> None:
        super().__init__(params, lr=1.01 * lr)


class Forgetful(AdamW):
    """It does not decay."""

    elementwise = True

    def __init__(self, params: Any, *, lr: float) -> None:
        super().__init__(params, lr=lr, weight_decay=0.0)


class Crooked(Muon):
    """One iteration of Newton and Schulz in place of five."""

    elementwise = False

    def __init__(self, params: Any, *, lr: float) -> None:
        super().__init__(params, lr=lr, ns_steps=1)


@pytest.mark.parametrize(("name", "wrong"), [("momentum", Hasty), ("adamw", Forgetful), ("muon", Crooked)])
def test_optimizers(bench: Bench, monkeypatch: Patch, name: str, wrong: Any) -> None:
    only(monkeypatch, optimizers, "OPTIMIZERS", name)
    assert verdicts(optimizers.check_optimizers(bench)) == {"pass"}
    monkeypatch.setattr(optimizers, "import_object", lambda target: wrong)
    assert verdicts(optimizers.check_optimizers(bench)) == {"fail"}


class Slow(Momentum):
    """As good, in many operators."""

    elementwise = True

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                for _ in range(9):
                    parameter.grad += 0
        return super().step(closure)


def test_an_optimizer_of_many_kernels(bench: Bench, monkeypatch: Patch) -> None:
    """As on a GPU, whose launches are limited; here operators stand for them."""
    only(monkeypatch, optimizers, "OPTIMIZERS", "momentum")
    monkeypatch.setattr(Bench, "on_gpu", True)
    assert verdicts(optimizers.check_optimizers(bench)) == {"pass"}
    monkeypatch.setattr(optimizers, "import_object", lambda target: Slow)
    assert verdicts(optimizers.check_optimizers(bench)) == {"fail"}


# ---------------------------------------------------------------------- precision and models


@pytest.mark.parametrize(
    ("precision", "formats"), [("fp32", {"fp32": torch.bfloat16}), ("bf16", {}), ("bf16", {"bf16": torch.float16})]
)
def test_precision(bench: Bench, monkeypatch: Patch, precision: str, formats: Any) -> None:
    only(monkeypatch, models, "MODELS", "mlp")
    monkeypatch.setattr(models, "feasible_precisions", lambda _: [precision])
    assert verdicts(models.check_models(bench)) == {"pass"}
    monkeypatch.setattr(precision_module, "AUTOCAST", formats)
    assert verdicts(models.check_models(bench)) == {"fail"}


@pytest.mark.parametrize(
    ("name", "change"), [("gpt", "model.eps=1e-2"), ("mlp", "model.activation=gelu"), ("resnet", "model.norm=group")]
)
def test_models(bench: Bench, monkeypatch: Patch, name: str, change: str) -> None:
    check = models.MODELS[name]
    wrong = models.ModelCheck(check.recipe, (*check.changes, change), check.twin)
    only(monkeypatch, models, "MODELS", name)
    monkeypatch.setattr(models, "feasible_precisions", lambda _: ["fp32"])
    assert verdicts(models.check_models(bench)) == {"pass"}
    monkeypatch.setitem(models.MODELS, name, wrong)
    try:
        assert verdicts(models.check_models(bench)) == {"fail"}
    except ValueError as error:  # other parameters: `examine` makes it a failed check
        assert "twin" in str(error)


# ---------------------------------------------------------------------- loaders

Epoch = Callable[..., Iterator[Any]]


def drawn_anew(epoch: Epoch) -> Epoch:
    """Batches with noise that no seed tells."""

    def wrong(self: Any, number: int, start: int = 0) -> Iterator[Any]:
        for batch in epoch(self, number, start):
            yield replace(batch, inputs=batch.inputs + 1e-2 * torch.randn_like(batch.inputs))

    return wrong


def late(epoch: Epoch) -> Epoch:
    """An epoch that begins anew wherever it is entered."""
    return lambda self, number, start=0: epoch(self, number)


def twice(epoch: Epoch) -> Epoch:
    """The first batch in place of the last one."""

    def wrong(self: Any, number: int, start: int = 0) -> Iterator[Any]:
        batches = list(epoch(self, number))
        yield from [*batches[:-1], batches[0]][start:]

    return wrong


@pytest.mark.parametrize("sabotage", [drawn_anew, late, twice])
def test_loaders(bench: Bench, monkeypatch: Patch, sabotage: Callable[[Epoch], Epoch]) -> None:
    only(monkeypatch, loaders, "LOADERS", "rows")
    assert verdicts(loaders.check_loaders(bench)) == {"pass"}
    monkeypatch.setattr(RowBatches, "epoch", sabotage(RowBatches.epoch))
    assert verdicts(loaders.check_loaders(bench)) == {"fail"}


# ---------------------------------------------------------------------- waits

WAITS: dict[str, Callable[[Tensor], Any]] = {
    "_local_scalar_dense": lambda logits: logits.sum().item(),
    "nonzero": lambda logits: logits.nonzero(),
    "index": lambda logits: logits[logits > 0],
    "masked_select": lambda logits: logits.masked_select(logits > 0),
}


@pytest.mark.parametrize("name", WAITS)
def test_waits(bench: Bench, monkeypatch: Patch, name: str) -> None:
    only(monkeypatch, waits, "TASKS", "image-classification")
    assert verdicts(waits.check_waits(bench)) == {"pass"}
    forward = classification.Classification.forward

    def waiting(self: Any, model: Any, batch: Any) -> Any:
        loss, right = forward(self, model, batch)
        WAITS[name](loss.detach()[None])
        return loss, right

    monkeypatch.setattr(classification.Classification, "forward", waiting)
    (finding,) = waits.check_waits(bench)
    assert finding.verdict == "fail"
    assert name in finding.got


# ---------------------------------------------------------------------- checkpoints, stacks, attention, codes


def test_resume(bench: Bench, monkeypatch: Patch) -> None:
    only(monkeypatch, resume, "RUNS", "mlp, AdamW, dropout")
    assert verdicts(resume.check_resume(bench)) == {"pass"}
    monkeypatch.setattr(rng, "set_states", lambda *_: None)
    other = Bench(bench.device, bench.folder / "other")
    other.folder.mkdir()
    (finding,) = resume.check_resume(other)
    assert finding.verdict == "fail"
    assert "tensors differ" in finding.got


def test_stacks(bench: Bench, monkeypatch: Patch) -> None:
    only(monkeypatch, stacks, "OPTIMIZERS", "momentum")
    assert verdicts(stacks.check_stacks(bench)) == {"pass"}
    take_step = StackedRuns.take_step

    def wrong(self: StackedRuns, step: int, batch: Any) -> Tensor:
        shifted = replace(batch, inputs=batch.inputs.roll(1, 0))  # each run learns the images of its neighbour
        return take_step(self, step, shifted)

    monkeypatch.setattr(StackedRuns, "take_step", wrong)
    assert "fail" in verdicts(stacks.check_stacks(bench))


def test_attention(bench: Bench, monkeypatch: Patch) -> None:
    assert verdicts(attention.check_attention(bench)) == {"pass"}
    rows = CapturedLayer.rows
    monkeypatch.setattr(CapturedLayer, "rows", lambda self, start, stop: rows(self, start, stop).square())
    assert verdicts(attention.check_attention(bench)) == {"fail"}


def test_compress(bench: Bench, monkeypatch: Patch) -> None:
    monkeypatch.setattr(compression, "BYTES", 600)
    assert verdicts(compression.check_compression(bench)) == {"pass"}
    decompress = archive.decompress

    def wrong(reader: Any, write: Any, codec: Any, advance: Any) -> int:
        return decompress(reader, lambda data: write(data.replace(b"a", b"b")), codec, advance)

    monkeypatch.setattr(archive, "decompress", wrong)
    assert verdicts(compression.check_compression(bench)) == {"fail"}


RESTLESS = [0]


@pytest.mark.slow
def test_compile(bench: Bench, monkeypatch: Patch) -> None:
    """A forward pass that reads another number of Python's at every call is compiled anew for each."""
    assert verdicts(compile.check_compile(bench)) == {"pass"}
    forward = classification.Classification.forward

    def restless(self: Any, model: Any, batch: Any) -> Any:
        loss, right = forward(self, model, batch)
        RESTLESS.append(len(RESTLESS))
        return loss + 0 * RESTLESS[-1], right

    monkeypatch.setattr(classification.Classification, "forward", restless)
    assert verdicts(compile.check_compile(bench)) == {"fail"}
