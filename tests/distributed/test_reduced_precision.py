"""Training at 16 bits, and compiled, in two processes: by DDP and FSDP2 as in one, and overflows are joint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from dlkit import assemble
from dlkit import recipe as recipes
from dlkit.distributed.process_group import World, current_world
from dlkit.distributed.tensor_parts import local_part, whole_of
from dlkit.doctor.samples import write_corpus
from dlkit.optim.adamw import AdamW
from dlkit.optim.momentum import Momentum
from dlkit.training.events import StepDone
from dlkit.training.grad_scaler import GradScaler
from dlkit.training.loop import fit

CPU, STEPS = torch.device("cpu"), 30
_GPT = ("model.layers=2", "model.heads=2", "model.width=16", "model.dropout=0", "model.attention_dropout=0",
        "tokenizer.name=byte", "data.name=text", "data.context=16", "data.batch_size=7", "train.epochs=null",
        f"train.steps={STEPS}", "train.log_every=1", "train.eval_every=never",         "train.clip_norm=0.5",
        "optimizer={name: momentum, lr: 0.05}")  # fmt: skip


def losses(corpus: Path, precision: str, world: World, mode: str = "auto", compiled: str = "off") -> list[float]:
    how = (f"train.precision={precision}", f"train.parallel={mode}", f"train.compile={compiled}")
    changes = [*_GPT, f"data.path={corpus}", *how]
    training = assemble.assemble_training(recipes.load("pydoc-gpt", changes), CPU, world=world).training
    events = [event for event in fit(training) if isinstance(event, StepDone)]
    return [event.metrics["train/loss"] for event in events if event.metrics is not None]


def of_all(corpus: Path) -> dict[str, dict[str, list[float]]]:
    return {
        precision: {
            "one": losses(corpus, precision, World()),
            "ddp": losses(corpus, precision, current_world(), "ddp"),
            "fsdp": losses(corpus, precision, current_world(), "fsdp"),
        }
        for precision in ("bf16", "fp16")
    }


def overflowing() -> list[tuple[bool, bool, float, int]]:
    """A step whose gradient is infinite in the part of rank 1, and one behind it: whether they changed the weights."""
    found: list[tuple[bool, bool, float, int]] = []
    for kind in (AdamW, Momentum):  # the one by torch's fused kernel
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
        optimizer, scaler, moved = kind(model.parameters(), lr=0.1), GradScaler(CPU), dict[bool, bool]()
        for infinite in (True, False):
            before = [whole_of(parameter).clone() for parameter in model.parameters()]
            scaler.scale(model(torch.ones(3, 4)).sum()).backward()
            if infinite and current_world().rank == 1:
                local_part(next(model.parameters()).grad).fill_(torch.inf)
            scaler.unscale_(optimizer)
            scaler.make_step(optimizer)
            optimizer.zero_grad()
            after = [whole_of(parameter) for parameter in model.parameters()]
            moved[infinite] = not all(map(torch.equal, before, after))
        found.append((moved[True], moved[False], scaler.get_scale(), scaler.overflown()))
    return found


def both(corpus: Path) -> tuple[Any, Any]:
    return of_all(corpus), overflowing()


@pytest.mark.distributed
def test_ddp_and_fsdp_make_the_same_steps_and_an_overflow_is_joint(
    in_two_processes: Callable[..., list[Any]], tmp_path: Path
) -> None:
    ranks = in_two_processes(both, write_corpus(tmp_path, 400))
    for (found, overflows), (other, _) in zip(ranks, reversed(ranks), strict=True):
        assert found["bf16"]["ddp"] == other["bf16"]["ddp"]
        for precision, bits in (("bf16", 8), ("fp16", 11)):
            one, ddp, fsdp = (found[precision][mode] for mode in ("one", "ddp", "fsdp"))
            assert len(one) == STEPS == len(set(one))
            # weights that differ by a rounding of float32 may round to neighbours of so many bits, and so may products
            # of matrices that are cut into other blocks; the losses of the first step are of the same weights
            assert ddp[0] == fsdp[0]
            assert ddp == pytest.approx(one, rel=2.0**-bits)
            assert fsdp == pytest.approx(one, rel=2.0**-bits)
        # neither rank stepped, both halved the scale, and both went on
        assert overflows == [(False, True, 2.0**15, 1)] * 2


def compiled(corpus: Path) -> dict[str, list[float]]:
    found = {"one": losses(corpus, "fp32", World())}
    return found | {mode: losses(corpus, "fp32", current_world(), mode, "on") for mode in ("ddp", "fsdp")}


@pytest.mark.slow  # compiling takes a minute
def test_a_compiled_model_trains_as_one_that_is_not(in_two_processes: Callable[..., list[Any]], tmp_path: Path) -> None:
    for found in in_two_processes(compiled, write_corpus(tmp_path, 400)):
        assert len(found["one"]) == STEPS == len(set(found["one"]))
        assert found["ddp"] == pytest.approx(found["one"], rel=1e-6)
        assert found["fsdp"] == pytest.approx(found["one"], rel=1e-6)
