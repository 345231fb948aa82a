"""How often a run compiles its model: once, or once for each size of images that grow; never in a later epoch.

The quick tests count what torch.compile hands to its backend, and run that as it is; the slow one really compiles.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from dlkit import recipe, schedules
from dlkit.assemble import assemble_training
from dlkit.data.dataset import Split
from dlkit.data.images.image_batches import ImageBatches
from dlkit.losses import CrossEntropy
from dlkit.models.resnet import ResNet
from dlkit.optim.momentum import Momentum
from dlkit.tasks.classification import Classification
from dlkit.training import autotune
from dlkit.training.events import Evaluated, Finished, StepDone
from dlkit.training.forward_backward import compile_forward
from dlkit.training.loop import Training, fit
from dlkit.training.settings import TrainSettings

CPU = torch.device("cpu")
# 1,437 digits: eleven batches of 128 and one of 29
DIGITS = ["train.epochs=3", "train.compile=on", "train.precision=fp32", "train.eval_every=6 steps"]
RESNET = "model={name: resnet, depths: [1, 1], widths: [4, 8], dropout: 0.2, stochastic_depth: 0.5}"
CONVNEXT = "model={name: convnext, depths: [1, 1], widths: [4, 8], patch: 1, stochastic_depth: 0.5}"
FAST = "model={name: fast_cnn, widths: [4, 8], freeze: 1}"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> CompileCounter:
    """What torch.compile hands its graphs to."""
    torch.compiler.reset()
    counters.clear()
    counter = CompileCounter()
    monkeypatch.setattr("torch.compile", functools.partial(torch.compile, backend=counter))
    monkeypatch.setattr(autotune, "can_compile", lambda device: True)  # it needs no compiler
    return counter


def compilations(run: Training, backend: CompileCounter) -> tuple[list[int], list[int]]:
    """How often the model had been compiled by the end of each step; the samples of each step."""
    counts: list[int] = []
    samples: list[int] = []
    evaluations = 0
    for event in fit(run):
        if isinstance(event, StepDone):
            counts.append(int(backend.frame_count))
            samples.append(event.samples)
        evaluations += isinstance(event, Evaluated)
    assert not counters["graph_break"]
    assert evaluations >= (1 if run.evaluations else 0)
    return counts, samples


@pytest.mark.parametrize(
    "overrides",
    [
        [RESNET, "data.mixup=0.8", "data.cutmix=1.0", "train.ema=0.9", "data.shift=1", "data.flip=true"],
        [RESNET, "train.channels_last=off", "train.accumulate=2", "train.clip_norm=1.0"],
        [CONVNEXT, "train.precision=bf16"],
        [FAST, "train.test_views=flip"],
    ],
)
def test_a_model_is_compiled_once(overrides: list[str], backend: CompileCounter) -> None:
    run = assemble_training(recipe.load("digits-resnet20", [*DIGITS, *overrides]), CPU).training
    counts, samples = compilations(run, backend)
    assert counts == [1] * 3 * run.steps_per_epoch
    assert len(set(samples)) == 2  # each epoch ends with a smaller batch
    assert backend.op_count > 8


@pytest.mark.parametrize("more", ["loss={name: cross_entropy, l2: 1e-3}", "data.mixup=0.8"])
def test_the_loss_and_what_is_right_are_compiled_too(more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    called: set[str] = set()

    def note(module: torch.fx.GraphModule, _: object) -> Any:
        called.update(str(node.target) for node in module.graph.nodes)
        return module.forward

    monkeypatch.setattr("torch.compile", functools.partial(torch.compile, backend=note, fullgraph=True))
    monkeypatch.setattr(autotune, "can_compile", lambda device: True)
    run = assemble_training(
        recipe.load("digits-resnet20", [*DIGITS, RESNET, more, "train.precision=bf16"]), CPU
    ).training
    batch = next(iter(run.batches.epoch(0)))
    torch.manual_seed(0)
    loss, right = run.compiled(batch)
    torch.manual_seed(0)
    plain, plain_right = run.forward(batch)
    torch.testing.assert_close((loss, right), (plain, plain_right))
    loss.backward()
    assert any("cross_entropy" in target for target in called)
    assert "argmax" in called


def test_growing_images_are_compiled_once_a_size(backend: CompileCounter) -> None:
    sizes = 11  # 8, 12, ... 48 pixels, one an epoch: more than torch.compile takes by itself
    torch.manual_seed(0)
    images = Split(torch.randint(256, (4, 3, 48, 48), dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    batches = ImageBatches(
        images, torch.zeros(3), torch.ones(3), CPU, 0, True, batch_size=4, start_size=8, grow_epochs=sizes - 1
    )
    model = ResNet((3, 48, 48), 2, depths=(1,), widths=(2,))
    run = Training(
        model=model,
        task=Classification(CrossEntropy(), ("a", "b")),
        optimizer=Momentum(model.parameters(), lr=0.01),
        schedule=schedules.cosine,
        batches=batches,
        evaluations={},
        settings=TrainSettings(epochs=sizes + 2, precision="fp32", compile="on", channels_last="off"),
        device=CPU,
    )
    counts, _ = compilations(run, backend)
    assert counts == [*range(1, sizes + 1), sizes, sizes]


def test_graphs_are_counted_beside_the_shapes_they_are_for(backend: CompileCounter) -> None:
    run = assemble_training(recipe.load("digits-mlp", DIGITS), CPU).training
    assert [event.compiled for event in fit(run) if isinstance(event, Finished)] == [(1, 1)]
    forward, steps = run.task.forward, iter(range(99))

    def unsteady(model: torch.nn.Module, batch: Any) -> Any:
        """What depends on a number of Python's is compiled for each of its values, here once an epoch at least."""
        loss, right = forward(model, batch)
        return loss * (1 + number), right

    number, before = 0.0, backend.frame_count
    run.task.forward = unsteady  # type: ignore[method-assign]
    del run.compiled
    for event in fit(run):
        if isinstance(event, StepDone):
            number = float(next(steps) // 12)  # once an epoch
        if isinstance(event, Finished):
            assert event.compiled == (backend.frame_count - before, 1)
            assert event.compiled[0] > 2
    assert not [
        event
        for event in fit(dataclasses.replace(run, settings=dataclasses.replace(run.settings, compile="off")))
        if isinstance(event, Finished) and event.compiled
    ]


@pytest.mark.slow  # it compiles
def test_later_epochs_compile_nothing() -> None:
    torch.compiler.reset()
    counters.clear()
    run = assemble_training(recipe.load("digits-resnet20", [*DIGITS, RESNET, "train.ema=0.9"]), CPU).training
    # an error, should anything be compiled a second time
    with torch._dynamo.config.patch(error_on_recompile=True):
        steps = sum(isinstance(event, StepDone) for event in fit(run))
    assert steps == 3 * run.steps_per_epoch
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


def test_a_compiler_without_its_gpu_is_no_news() -> None:
    """torch logs it to stderr, in the middle of the progress."""
    from torch.utils import cpp_extension

    logger, before = cpp_extension.logger, cpp_extension.logger.level
    try:
        logger.setLevel(logging.WARNING)
        compile_forward(lambda batch: (torch.zeros(()), None))
        assert not logger.isEnabledFor(logging.WARNING)
    finally:
        logger.setLevel(before)
