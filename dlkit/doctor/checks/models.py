"""Every model at every precision: three steps of dlkit's training loop against a twin in float64 on the CPU.

Both start from theta_0. With theta the weights after dlkit's steps on the device, and theta* those after the same
batches in bare torch and float64, the error is that of the update:

    ||theta - theta*|| / ||theta* - theta_0||
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.assemble import assemble_training, load_data
from dlkit.doctor import samples
from dlkit.doctor.bench import CPU, Bench, bench_recipe
from dlkit.doctor.checks.update_error import update_error
from dlkit.doctor.finding import Finding, judged
from dlkit.doctor.twins.convolutional import PlainConvNeXt, PlainFastCNN, PlainResNet, plain_cnn, plain_mlp
from dlkit.doctor.twins.transformer import PlainBERT, PlainGPT
from dlkit.doctor.twins.weights import with_weights_of
from dlkit.training.events import Finished, StepDone
from dlkit.training.loop import fit
from dlkit.training.precision import supported_precision
from dlkit.training.settings import TrainSettings
from dlkit.training.training import Training

STEPS, LR = 3, 0.1
# Bounds on the error. The lower one is positive for reduced precision: a run as exact as float32 did not use it.
ERRORS = {"fp32": (0.0, 1e-3), "tf32": (2e-5, 1.5e-1), "fp16": (2e-5, 1.5e-1), "bf16": (5e-4, 3.5e-1)}
_CPU_FORMATS = ("fp32", "bf16")
_SMALL_TEXT = ("data.context=32", "data.batch_size=4", "model.layers=2", "model.heads=2", "model.width=32")
_NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0", "train.clip_norm=null")


@dataclass(frozen=True)
class ModelCheck:
    """A small model, given by a shipped recipe with overrides, and a function from its data to its twin."""

    recipe: str
    changes: tuple[str, ...]
    twin: Callable[[Any], nn.Module]


def _pixels(data: Any) -> tuple[int, int, int]:
    """Channels, values per image, classes."""
    return data.input_shape[0], math.prod(data.input_shape), len(data.classes)


def _resnet(*changes: str, **options: Any) -> ModelCheck:
    def twin(data: Any) -> nn.Module:
        channels, _, classes = _pixels(data)
        return PlainResNet((1, 1), (8, 16), classes, channels=channels, **options)

    plain = ("model.name=resnet", "model.depths=[1, 1]", "model.widths=[8, 16]", "data.batch_size=32")
    return ModelCheck("digits-resnet20", (*plain, *changes), twin)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // 4, channels)


MODELS = {
    "mlp": ModelCheck(
        "digits-mlp", ("model.hidden=[32, 16]",), lambda data: plain_mlp(_pixels(data)[1], (32, 16), _pixels(data)[2])
    ),
    "cnn": ModelCheck(
        "digits-resnet20",
        ("model.name=cnn", "model.channels=[8, 16]", "data.batch_size=32"),
        lambda data: plain_cnn(_pixels(data)[0], (8, 16), _pixels(data)[2]),
    ),
    "resnet": _resnet(project=False),
    "resnet, group norm": _resnet("model.norm=group", project=False, norm=_group_norm),
    "resnet, bottleneck": _resnet("model.block=bottleneck", "model.shortcut=B", bottleneck=True),
    "convnext": ModelCheck(
        "digits-resnet20",
        (
            "model.name=convnext",
            "model.depths=[1, 1]",
            "model.widths=[8, 16]",
            "model.patch=2",
            "model.layer_scale=0.5",
            "data.batch_size=32",
        ),
        lambda data: PlainConvNeXt((1, 1), (8, 16), _pixels(data)[2], channels=_pixels(data)[0], patch=2, scale=0.5),
    ),
    "fast_cnn": ModelCheck(
        "digits-resnet20",
        ("model.name=fast_cnn", "model.widths=[8, 16]", "model.dirac=false", "data.batch_size=32"),
        lambda data: PlainFastCNN((8, 16), _pixels(data)[2], channels=_pixels(data)[0]),
    ),
    "gpt": ModelCheck(
        "pydoc-gpt",
        (*_SMALL_TEXT, *_NO_DROPOUT, "tokenizer.name=byte"),
        lambda data: PlainGPT(data.vocabulary, 32, 2, 2, 32),
    ),
    "gpt, post-norm": ModelCheck(
        "pydoc-gpt",
        (*_SMALL_TEXT, *_NO_DROPOUT, "tokenizer.name=byte", "model.norm_first=false"),
        lambda data: PlainGPT(data.vocabulary, 32, 2, 2, 32, norm_first=False),
    ),
    "bert, masked": ModelCheck(
        "pydoc-bert",
        (*_SMALL_TEXT, *_NO_DROPOUT, "data.name=text", "data.path={corpus}", "tokenizer.vocab_size=100"),
        lambda data: PlainBERT(data.vocabulary, 32, 2, 2, 32, norm_first=True),
    ),
    "bert, texts": ModelCheck(
        "texts-bert",
        (*_SMALL_TEXT, *_NO_DROPOUT, "data.path={texts}", "model.pooling=first"),
        lambda data: PlainBERT(data.vocabulary, 32, 2, 2, 32, classes=len(data.classes)),
    ),
}


def check_models(bench: Bench) -> Iterator[Finding]:
    """One finding per model and precision."""
    files = samples.write_samples(bench.folder)
    for name, check in MODELS.items():
        changes = [*(change.format_map(files) for change in check.changes), "optimizer.name=sgd", f"optimizer.lr={LR}"]
        data: Any = None
        for precision in feasible_precisions(bench):
            subject, (least, most) = f"{name} {precision}", ERRORS[precision]
            expected = f"error {'<' if not least else f'{least:g} to'} {most:g}"
            recipe = bench_recipe(check.recipe, changes, steps=STEPS, precision=precision)
            data = data or load_data(recipe)
            built = assemble_training(recipe, bench.device, dataset=data)
            error, losses = error_against_twin(built.training, check.twin(data))
            yield judged(subject, expected, f"error {error:.1e}", least <= error <= most, error=error, **losses)


def feasible_precisions(bench: Bench) -> list[str]:
    """The precisions that a recipe can ask for and that the device supports."""
    known = [name for name in get_args(get_type_hints(TrainSettings)["precision"]) if name != "auto"]
    if not bench.on_gpu:
        return [name for name in known if name in _CPU_FORMATS]
    return [name for name in known if supported_precision(name, bench.device) == name]


def error_against_twin(training: Training, twin: nn.Module) -> tuple[float, dict[str, list[float]]]:
    """The update error of a run against its twin, and the losses of both."""
    training.evaluations, training.monitored = {}, None
    batches = list(itertools.islice(training.batches.epoch(0), STEPS))
    before = copy.deepcopy(training.model).to(CPU).double()
    events = list(fit(training))
    mine = [event.metrics["train/loss"] for event in events if isinstance(event, StepDone) and event.metrics]
    (skips,) = (event.skipped for event in events if isinstance(event, Finished))
    smoothing = getattr(training.task.loss, "label_smoothing", 0.0)  # pyright: ignore[reportAttributeAccessIssue]
    reference, theirs = train_twin(with_weights_of(before, twin.double()), batches, smoothing, skips)
    start, end, wanted = (
        [p for p in model.parameters() if p.requires_grad] for model in (before, training.model, reference)
    )
    return update_error(start, end, wanted), {"losses": mine, "expected_losses": theirs}


def train_twin(twin: nn.Module, batches: list[Any], smoothing: float, skips: int = 0) -> tuple[nn.Module, list[float]]:
    """Train a twin by gradient descent on the batches, in its own precision; the first `skips` updates are skipped."""
    optimizer = torch.optim.SGD([p for p in twin.parameters() if p.requires_grad], lr=LR, foreach=False)
    losses: list[float] = []
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        loss = twin_loss(twin, batch.map(lambda x: x.to(CPU)), smoothing)
        loss.backward()
        if step >= skips:
            optimizer.step()
        losses.append(loss.item())
    return twin, losses


def twin_loss(twin: nn.Module, batch: Any, smoothing: float) -> Tensor:
    """The cross-entropy of a twin on one of dlkit's batches."""
    if isinstance(twin, PlainGPT):
        logits = twin(batch.token_ids).flatten(0, 1)
    elif isinstance(twin, PlainBERT) and twin.classes is None:
        logits = twin(batch.token_ids).flatten(0, 1)[batch.positions]
    elif isinstance(twin, PlainBERT):
        logits = twin(batch.token_ids, batch.attention_mask)
    else:
        logits = twin(batch.inputs.double())
    return F.cross_entropy(logits, batch.targets, label_smoothing=smoothing)
