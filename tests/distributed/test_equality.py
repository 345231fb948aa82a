"""What several processes train is what one process trains, for every family of models and every optimizer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dlkit import assemble
from dlkit import recipe as recipes
from dlkit.catalog import SECTIONS
from dlkit.data.batch import Batch
from dlkit.distributed.process_group import World, current_world
from dlkit.distributed.tensor_parts import is_model_divided, whole_of
from dlkit.doctor.samples import write_corpus, write_texts
from dlkit.optim import muon
from dlkit.training.events import Finished, StepDone
from dlkit.training.loop import fit

pytestmark = pytest.mark.distributed

STEPS = 30
_TINY = ("model.layers=2", "model.heads=2", "model.width=16", "model.dropout=0", "model.attention_dropout=0")
_LINES = (*_TINY, "data.name=text", "data.path={corpus}", "data.context=16", "data.batch_size=7")
_IMAGES = ("data.batch_size=17", "data.per_class=13", "model.widths=[4, 8]", "model.depths=[1, 1]")
# Seven rows do not halve, and the last batch of an epoch is smaller still.
FAMILIES: dict[str, tuple[str, ...]] = {
    "resnet, group norm": ("digits-resnet20", *_IMAGES, "model.name=resnet", "model.norm=group"),
    "resnet, batch norm": ("digits-resnet20", *_IMAGES, "model.name=resnet", "data.mixup=0.2", "data.cutmix=1.0"),
    "convnext": ("digits-resnet20", *_IMAGES, "model.name=convnext", "model.patch=2", "train.accumulate=3"),
    "gpt": ("pydoc-gpt", *_LINES, "tokenizer.name=byte", "train.clip_norm=0.5", "train.ema=0.9"),
    "bert, masked": ("pydoc-bert", *_LINES, "tokenizer.vocab_size=100", "data.whole_words=true"),
    "bert, classes": ("texts-bert", *_TINY, "data.path={texts}", "data.batch_size=7", "loss.label_smoothing=0.1"),
}  # fmt: skip
RATES = {"sgd": 0.1, "momentum": 0.05, "adagrad": 0.01, "rmsprop": 1e-3, "adam": 1e-3, "adamw": 1e-3, "muon": 0.02,
         "lion": 1e-4}  # fmt: skip


class InDouble:
    """Batches in float64, so that nothing but the order of sums differs."""

    def __init__(self, source: Any) -> None:
        self.source, self.samples, self.batch_size = source, source.samples, source.batch_size

    def __len__(self) -> int:
        return len(self.source)

    def deal(self, world: World) -> None:
        self.source.deal(world)

    def collect(self, world: World) -> None:
        self.source.collect(world)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        for batch in self.source.epoch(number, start):
            yield batch.map(lambda values: values.double() if values.is_floating_point() else values)


def trained(
    family: str, optimizer: str, files: dict[str, str], world: World, double: bool, *more: str
) -> tuple[list[float], dict[str, torch.Tensor], dict[str, float]]:
    """The loss of each step, the weights at the end, and how they were evaluated."""
    name, *changes = (text.format(**files) for text in FAMILIES[family])
    fixed = ("train.epochs=null", f"train.steps={STEPS}", "train.log_every=1", "train.eval_every=never",
             "train.precision=fp32", "train.compile=off", "train.patience=null")  # fmt: skip
    chosen = (f"optimizer={{name: {optimizer}, lr: {RATES[optimizer]}}}",)
    recipe = recipes.load(name, [*changes, *fixed, *chosen, *more])
    first = assemble.initial_model
    if double and "train.parallel=fsdp" in more:  # before it is divided
        assemble.initial_model = lambda *data: (first(*data)[0].double(), [])
    training = assemble.assemble_training(recipe, torch.device("cpu"), world=world).training
    assemble.initial_model = first
    if double:
        if not is_model_divided(training.model):
            training.model.double()
        training.batches, training.evaluations = InDouble(training.batches), {
            split: InDouble(source) for split, source in training.evaluations.items()
        }  # fmt: skip
    losses: list[float] = []
    metrics: dict[str, float] = {}
    for event in fit(training):
        if isinstance(event, StepDone):
            assert event.metrics is not None
            losses.append(event.metrics["train/loss"])
        elif isinstance(event, Finished):
            metrics = event.metrics
    weights = {name: whole_of(value) for name, value in training.model.state_dict().items()}
    return losses, weights, metrics


def differences(
    runs: list[tuple[str, str, tuple[str, ...]]], files: dict[str, str], double: bool, modes: tuple[str, ...]
) -> dict[str, tuple[float, float, float]]:
    """For each run and mode, how far losses, weights and metrics of all ranks together are from those of one."""
    muon.working_dtype = lambda theta: theta.dtype  # which is bf16 where the processor has it
    found: dict[str, tuple[float, float, float]] = {}
    for family, optimizer, more in runs:
        losses, weights, metrics = trained(family, optimizer, files, World(), double, *more)
        for mode in modes:
            joint = (*more, f"train.parallel={mode}")
            theirs = trained(family, optimizer, files, current_world(), double, *joint)
            assert len(losses) == len(theirs[0]) == STEPS and len(set(losses)) == STEPS
            found[f"{mode}: {', '.join((family, optimizer, *more))}"] = (
                max(abs(a - b) / abs(a) for a, b in zip(losses, theirs[0], strict=True)),
                max((weights[name] - theirs[1][name]).abs().max().item() for name in weights),
                max(abs(metrics[name] - theirs[2][name]) for name in metrics),
            )
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("files")
    return {"corpus": str(write_corpus(folder, 400)), "texts": str(write_texts(folder))}


def test_every_optimizer_is_here() -> None:
    assert RATES.keys() == SECTIONS["optimizer"].keys()


def test_two_processes_train_as_one_in_double_precision(
    in_two_processes: Callable[..., list[Any]], files: dict[str, str]
) -> None:
    runs: list[tuple[str, str, tuple[str, ...]]]
    runs = [(family, optimizer, ()) for family, optimizer in itertools.product(FAMILIES, RATES)]
    runs += [(family, "momentum", ("loss.l2=0.01",)) for family in ("convnext", "gpt")]
    runs += [("bert, classes", "momentum", ("model.norm=batch",))]
    first, second = in_two_processes(differences, runs, files, True, ("ddp", "fsdp"))
    assert first == second
    # Lion steps by signs, and a gradient that is 0 but for rounding, such as that of the bias of keys, has either sign;
    # the loss does not depend on such a weight
    compared = {name: (far[0], far[2]) if name.endswith("lion") else far for name, far in first.items()}
    wrong = {name: far for name, far in compared.items() if max(far) > 1e-9}
    assert not wrong


def in_single(files: dict[str, str]) -> dict[str, tuple[float, float, float]]:
    every = [(family, "momentum", ()) for family in FAMILIES]
    every += [("resnet, batch norm", "momentum", ("train.channels_last=on",))]
    others = [name for name in RATES if name != "momentum"]
    few = [("gpt", optimizer, ()) for optimizer in others]
    return differences(every, files, False, ("ddp", "fsdp")) | differences(few, files, False, ("ddp",))


def test_two_processes_train_as_one_in_single_precision(
    in_two_processes: Callable[..., list[Any]], files: dict[str, str]
) -> None:
    first, _ = in_two_processes(in_single, files)
    # The losses of 30 steps differ by a few roundings of float32, 6e-8 each, for every optimizer. Weights need not:
    # where a gradient is 0 but for rounding, such as that of the bias of keys, AdaGrad, RMSprop and Adam divide it by
    # its own size, and make a step of the length of the rate out of it, which the loss does not depend on.
    wrong = {name: far for name, far in first.items() if far[0] > 1e-6}
    assert not wrong
    assert len(first) == 2 * (len(FAMILIES) + 1) + len(RATES) - 1
