"""An evaluation that ranks share out: every batch on one rank, and every metric as in one process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.distributed.fsdp import fully_shard

import dlkit
from dlkit.cli.app import run
from dlkit.data.dataset import Split
from dlkit.data.images.decoding import DamagedImageError
from dlkit.data.images.image_batches import ImageBatches
from dlkit.data.images.streaming import StreamedImages
from dlkit.data.row_batches import RowBatches
from dlkit.data.text import tokenizer
from dlkit.data.text.corpus import Text
from dlkit.data.text.labelled import Examples
from dlkit.data.text.masked_windows import MaskedWindows, MaskingVocabulary
from dlkit.data.text.padded_batches import SequenceBatches
from dlkit.data.text.windows import TokenWindows
from dlkit.distributed.process_group import World, current_world
from dlkit.losses import CrossEntropy, SquaredError
from dlkit.metrics.ood import ood_measures
from dlkit.models.bert import BERT
from dlkit.models.cnn import CNN
from dlkit.models.gpt import GPT
from dlkit.models.mlp import MLPClassifier
from dlkit.tasks.classification import Classification
from dlkit.tasks.language_modelling import CausalLM, MaskedLM
from dlkit.tasks.ood_scores import ScoreMeter
from dlkit.tasks.text_classification import MultipleChoice, Regression, TextClassification
from dlkit.training.evaluate import evaluate_split

CPU = torch.device("cpu")
WORDS = "the cat sat on the mat and the dogs sat on unhappy logs"
Case = tuple[nn.Module, Any, Any]  # model, batches, task


def many(count: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(count))


def table(rows: int = 70) -> Case:
    split = Split(torch.randn(rows, 5, dtype=torch.float64), torch.randint(25, (rows,)))
    batches = RowBatches(split, torch.zeros(5).double(), torch.ones(5).double(), CPU, 0, False, batch_size=16)
    return MLPClassifier((5,), 25, hidden=(8,)), batches, Classification(CrossEntropy(), many(25))


def images() -> Case:
    split = Split(torch.randint(256, (37, 3, 8, 8), dtype=torch.uint8), torch.randint(3, (37,)))
    batches = ImageBatches(split, torch.full((3,), 128.0), torch.full((3,), 60.0), CPU, 0, False, batch_size=8)
    return CNN((3, 8, 8), 3, channels=(4, 6)), batches, Classification(CrossEntropy(), many(3), "flip")


class Pictures:
    """Images that are decoded as they are asked for; those of three rows, one batch among them, are damaged."""

    shape = (30, 3, 16, 16)

    def image(self, row: int) -> Image.Image:
        if row in (7, 8, 9):
            raise DamagedImageError(f"{row}.jpg: damaged")
        return Image.new("RGB", (20, 20), (row, 5 * row, 0))


def streamed() -> Case:
    split = Split(Pictures(), torch.arange(30) % 3)  # pyright: ignore[reportArgumentType]
    mean, std = torch.full((3,), 128.0), torch.full((3,), 60.0)
    batches = StreamedImages(split, mean, std, CPU, 0, False, batch_size=1, workers=0)
    return CNN((3, 16, 16), 3, channels=(4, 6)), batches, Classification(CrossEntropy(), many(3))


def causal() -> Case:
    batches = TokenWindows(np.arange(601, dtype=np.uint16) % 20, CPU, 0, False, batch_size=4, context=8, stride=5)
    return GPT(20, 8, layers=1, heads=2, width=8), batches, CausalLM(CrossEntropy(), torch.arange(20) % 4)


def masked() -> Case:
    special = MaskingVocabulary(17, 18, 19, 20, np.arange(20) % 3 == 0)
    batches = MaskedWindows(np.arange(290, dtype=np.uint16) % 17, CPU, 0, False, special, batch_size=4, context=12)
    return BERT(20, 12, None, layers=1, heads=2, width=8), batches, MaskedLM(CrossEntropy())


def texts(kind: str) -> Case:
    """Texts of their own lengths: classes, numbers, or one of several candidates, which may be two or three."""
    pieces = tokenizer.wordpiece([Text.of(WORDS * 9)], ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), vocab_size=60)
    counts = np.arange(45) % 2 + 2 if kind in ("choice", "credit") else None
    rows = 45 if counts is None else int(counts.sum())
    targets = (np.arange(45) % 40 / 7).astype(np.float32) if kind == "number" else np.arange(45) % 2
    credit = np.random.default_rng(0).random((rows, 2), dtype=np.float32) if kind == "credit" else None
    first = [" ".join(WORDS.split()[: 1 + i % 9]) for i in range(rows)]
    examples = Examples(first, [*first[1:], "logs"], targets, counts, np.arange(45) // 4, credit)
    batches = SequenceBatches(examples, pieces, CPU, 0, False, batch_size=8, context=24)
    metrics = ("f1", "exact_match") if kind == "credit" else ("f1", "macro_f1", "matthews", "accuracy", "exact_match")
    tasks: dict[str, Any] = {
        "classes": lambda: TextClassification(CrossEntropy(), many(3), metrics),
        "number": lambda: Regression(SquaredError()),
        "choice": lambda: MultipleChoice(CrossEntropy(), many(3), metrics[:4]),
        "credit": lambda: MultipleChoice(CrossEntropy(), many(3), metrics),
    }
    model = BERT(pieces.size, 24, 3 if kind == "classes" else 1, layers=1, heads=2, width=8)
    return model, batches, tasks[kind]()


CASES: dict[str, Callable[[], Case]] = {
    "table": table,
    "table of fewer batches than ranks": lambda: table(9),
    "images, two views": images,
    "stream": streamed,
    "causal": causal,
    "masked": masked,
    **{f"texts, {kind}": (lambda kind=kind: texts(kind)) for kind in ("classes", "number", "choice", "credit")},
}


def case(name: str) -> Case:
    torch.manual_seed(0)
    return CASES[name]()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [2, 3, 8])
def test_the_batches_of_all_ranks_are_those_of_one_process(name: str, size: int) -> None:
    whole = [batch.tensors() for batch in case(name)[1].epoch(0)]
    seen: list[tuple[torch.Tensor, ...]] = []
    for rank in range(size):
        _, batches, _ = case(name)
        batches.deal(World(rank, rank, size))
        own = [batch.tensors() for batch in batches.epoch(0)]
        assert len(own) <= -(-len(batches) // size)
        seen += own

    def order(tensors: tuple[torch.Tensor, ...]) -> list[Any]:
        return [tensors[0].flatten().tolist(), len(tensors[0])]

    assert len(seen) == len(whole)
    for one, other in zip(sorted(whole, key=order), sorted(seen, key=order), strict=True):
        assert all(map(torch.equal, one, other))


def measured() -> dict[str, Any]:
    """What one rank, or one process, finds of each case."""
    found: dict[str, Any] = {}
    for name in CASES:
        model, batches, task = case(name)
        meter = evaluate_split(model, batches, task.meter(CPU), world=current_world())
        confusion = meter.confusion_matrix()
        found[name] = {
            "samples": meter.samples,
            "metrics": meter.metrics(),
            "confusion": None if confusion is None else confusion.tolist(),
            "damaged": getattr(batches, "damaged", None),
        }
    model, batches, _ = case("images, two views")
    scores = evaluate_split(model, batches, ScoreMeter(), world=current_world()).scores()
    shifted = {kind: values * 1.5 - 1 for kind, values in scores.items()}
    found["scores"] = {kind: values.tolist() for kind, values in scores.items()} | ood_measures(scores, shifted)
    return found


def sharded() -> dict[str, float]:
    """A model whose ranks gather its weights in every forward pass: one of them has a batch less."""
    model, batches, task = case("table")
    if current_world().size > 1:
        fully_shard(model)
    return evaluate_split(model, batches, task.meter(CPU), world=current_world()).metrics()


def both() -> tuple[dict[str, Any], dict[str, float]]:
    return measured(), sharded()


@pytest.mark.distributed
def test_every_metric_is_that_of_one_process(in_two_processes: Callable[..., list[Any]]) -> None:
    expected, of_sharded = both()
    ranks = in_two_processes(both)
    for found, gathered in ranks:
        assert found.keys() == expected.keys()
        for name, one in expected.items():
            other = found[name]
            if name == "scores":
                assert other == one  # gathered in order, so that the curves over all are the same
                continue
            # counts are equal, and sums but for the order in which they add up
            assert {k: v for k, v in other.items() if k != "metrics"} == {
                k: v for k, v in one.items() if k != "metrics"
            }
            assert other["metrics"] == pytest.approx(one["metrics"], rel=1e-14, abs=1e-15), name
        assert gathered == pytest.approx(of_sharded, rel=1e-6)
    assert ranks[0] == ranks[1]  # to the last bit, since decisions are made by them


@pytest.mark.distributed
def test_eval_prints_once_what_one_process_prints(
    torchrun: Callable[..., subprocess.CompletedProcess[str]], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, drawn = tmp_path / "run", tmp_path / "matrix.svg"
    changes = ["train.epochs=2", "data.validation=0.1", "data.batch_size=50"]
    dlkit.train(dlkit.load("digits-mlp", *changes), run_dir=path, device="cpu").result()
    arguments = ["eval", str(path), "--ood", "noise", "--json"]
    capfd.readouterr()
    assert run(arguments) == 0
    alone = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    done = torchrun(*arguments, "--confusion", str(drawn))
    assert done.returncode == 0, done.stderr
    together = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(together) == len(alone) == 2
    for one, other in zip(alone, together, strict=True):
        assert other.pop("metrics") == pytest.approx(one.pop("metrics"), rel=1e-14, abs=1e-15)
        assert other | {"seconds": 0} == one | {"seconds": 0}
    assert drawn.is_file()
