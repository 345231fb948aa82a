"""Training runs of every task, to see what they wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dlkit.data.dataset import Split
from dlkit.data.images.image_batches import ImageBatches
from dlkit.data.images.streaming import StreamedImages
from dlkit.data.row_batches import RowBatches
from dlkit.data.text import tokenizer
from dlkit.data.text.corpus import Text
from dlkit.data.text.labelled import Examples
from dlkit.data.text.masked_windows import MaskedWindows, MaskingVocabulary
from dlkit.data.text.padded_batches import SequenceBatches
from dlkit.data.text.windows import TokenWindows
from dlkit.losses import CrossEntropy, SquaredError
from dlkit.models.bert import BERT
from dlkit.models.cnn import CNN
from dlkit.models.gpt import GPT
from dlkit.models.mlp import MLPClassifier
from dlkit.nn.token_norm import TokenNorm
from dlkit.optim.adamw import AdamW
from dlkit.tasks.classification import Classification
from dlkit.tasks.language_modelling import CausalLM, MaskedLM
from dlkit.tasks.text_classification import MultipleChoice, Regression, TextClassification
from dlkit.training.loop import Training
from dlkit.training.settings import TrainSettings

Job = Callable[[torch.device], Training]

CLASSES = ("a", "b", "c")

WORDS = "the cat sat on the mat and the dogs sat on unhappy logs"


def training(device: torch.device, model: nn.Module, task: Any, batches: Any, optimizer: Any = AdamW, **options: Any):
    """A run of this model; `options` are of its settings."""
    options = {"precision": "fp32", "compile": "off", "channels_last": "off", **options}
    model = model.to(device)
    return Training(
        model=model,
        task=task,
        optimizer=optimizer(model.parameters(), lr=1e-3),
        schedule=lambda step, total: 1.0,
        batches=batches,
        evaluations={},
        settings=TrainSettings(steps=1000, log_every=1000, **options),
        device=device,
    )


def images(loss: nn.Module | None = None, optimizer: Any = AdamW, settings: dict[str, Any] | None = None, **data: Any):
    """Images in memory."""

    def run(device: torch.device) -> Training:
        split = Split(torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8), torch.randint(3, (40,)))
        batches = ImageBatches(split, torch.full((3,), 128.0), torch.ones(3), device, 0, True, batch_size=8, **data)
        task = Classification(loss or CrossEntropy(), CLASSES)
        return training(device, CNN((3, 8, 8), 3, channels=(4, 6)), task, batches, optimizer, **(settings or {}))

    return run


class Pictures:
    """Images that are decoded as they are asked for."""

    shape = (40, 3, 32, 32)

    def order(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(40, generator=generator)

    def image(self, row: int) -> Image.Image:
        return Image.new("RGB", (40, 40), (row, 5 * row, 0))


def streamed(**data: Any) -> Job:
    def run(device: torch.device) -> Training:
        split = Split(Pictures(), torch.arange(40) % 3)  # pyright: ignore[reportArgumentType]
        mean, std = torch.full((3,), 128.0), torch.ones(3)
        batches = StreamedImages(split, mean, std, device, 0, True, batch_size=8, workers=0, **data)
        return training(device, CNN((3, 32, 32), 3, channels=(4, 6)), Classification(CrossEntropy(), CLASSES), batches)

    return run


def table(device: torch.device) -> Training:
    split = Split(torch.randn(40, 5, dtype=torch.float64), torch.randint(3, (40,)))
    batches = RowBatches(split, torch.zeros(5).double(), torch.ones(5).double(), device, 0, True, batch_size=8)
    return training(device, MLPClassifier((5,), 3, hidden=(4,)), Classification(CrossEntropy(), CLASSES), batches)


def causal(device: torch.device) -> Training:
    batches = TokenWindows(np.arange(600, dtype=np.uint16) % 20, device, 0, True, batch_size=4, context=8)
    return training(device, GPT(20, 8, layers=1, heads=2, width=8), CausalLM(CrossEntropy()), batches, clip_norm=1.0)


def masked(**data: Any) -> Job:
    def run(device: torch.device) -> Training:
        special = MaskingVocabulary(17, 18, 19, 20, np.arange(20) % 3 == 0)
        tokens = np.arange(600, dtype=np.uint16) % 17
        batches = MaskedWindows(tokens, device, 0, True, special, batch_size=4, context=12, mask=0.3, **data)
        model = BERT(20, 12, None, layers=1, heads=2, width=8)
        return training(device, model, MaskedLM(CrossEntropy()), batches)

    return run


def texts(kind: str, norm: TokenNorm = "layer") -> Job:
    """Texts of their own lengths: classes, numbers, or one of several candidates, which may be two or three."""

    def run(device: torch.device) -> Training:
        pieces = tokenizer.wordpiece(
            [Text.of(WORDS * 9)], ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), vocab_size=60
        )
        task: Any
        counts = np.arange(40) % 2 + 2 if kind == "choice" else None
        rows = 40 if counts is None else int(counts.sum())
        first = [" ".join(WORDS.split()[: 1 + i % 9]) for i in range(rows)]
        targets = (np.arange(40) % 40 / 7).astype(np.float32) if kind == "number" else np.arange(40) % 2
        examples = Examples(first, [*first[1:], "logs"], targets, counts)
        batches = SequenceBatches(examples, pieces, device, 0, True, batch_size=8, context=24)
        if kind == "number":
            task = Regression(SquaredError())
        else:
            task = (TextClassification if kind == "classes" else MultipleChoice)(CrossEntropy(), CLASSES)
        outputs = 3 if kind == "classes" else 1
        model = BERT(pieces.size, 24, outputs, layers=1, heads=2, width=8, norm=norm)
        return training(device, model, task, batches)

    return run
