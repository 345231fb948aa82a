"""Tasks on texts and pairs of texts: predict a class, a number, or the correct one of several candidates.

Shapes: R rows of T tokens, N examples (one row each, or one row per candidate), K classes, at most C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlkit.data.batch import TextBatch
from dlkit.distributed.process_group import World
from dlkit.metrics.classification import FROM_CONFUSION, exact_match
from dlkit.metrics.correlation import pearson, spearman
from dlkit.tasks.classification import Classification, ClassificationMeter
from dlkit.tasks.regression_meter import RegressionMeter

Metric = Callable[[ClassificationMeter], float]


class TextClassification(Classification):
    """Predict a class for each text or pair of texts of a `TextBatch`.

    Args:
        loss: maps logits (N, K), targets (N,) and the parameters to a scalar.
        classes: names of the K classes.
        metrics: metrics besides loss, accuracy and calibration: f1, macro_f1, matthews, exact_match (over questions, by
            the batch's `question_ids`); the first one is the main metric.
    """

    def __init__(self, loss: nn.Module, classes: tuple[str, ...], metrics: tuple[str, ...] = ("accuracy",)) -> None:
        super().__init__(loss, classes)
        self.metrics = metrics
        self.main_metric = metrics[0]

    def logits(self, model: nn.Module, batch: TextBatch) -> Tensor:
        return model(batch.token_ids, batch.segment_ids, batch.attention_mask)  # (R, K)

    def evaluated_logits(self, model: nn.Module, batch: TextBatch) -> Tensor:
        return self.logits(model, batch)

    def forward(self, model: nn.Module, batch: TextBatch) -> tuple[Tensor, Tensor | None]:
        """The loss of a batch and the number of correct predictions, both on the device."""
        logits = self.logits(model, batch)  # (N, K)
        correct = (logits.detach().argmax(dim=1) == batch.targets).sum()
        return self.loss(logits, batch.targets, model.parameters()), correct

    def meter(self, device: torch.device) -> ClassificationMeter:
        return _TextMeter(self, device)


class MultipleChoice(TextClassification):
    """Choose a candidate for each example: candidate c has the probability softmax(scores)_c."""

    def logits(self, model: nn.Module, batch: TextBatch) -> Tensor:
        counts = batch.candidate_counts
        assert counts is not None
        each = super().logits(model, batch)[:, 0]  # (R,)
        candidate = torch.arange(len(self.classes), device=each.device)  # (C,)
        # candidate c of example n is row counts_1 + ... + counts_(n-1) + c
        rows = (counts.cumsum(0) - counts)[:, None] + candidate  # (N, C)
        laid_out = each.index_select(0, rows.flatten().clamp_(max=len(each) - 1)).view(rows.shape)  # (N, C)
        # missing candidates get probability 0
        return laid_out.masked_fill(candidate >= counts[:, None], -math.inf)

    def meter(self, device: torch.device) -> ClassificationMeter:
        return _ChoiceMeter(self, device) if "exact_match" in self.metrics else _TextMeter(self, device)


class _TextMeter(ClassificationMeter):
    """Adds metrics of the confusion matrix, and the share of questions all of whose answers are correct."""

    def __init__(self, task: TextClassification, device: torch.device) -> None:
        super().__init__(task, device)
        self.names = task.metrics
        self.questions: list[Tensor] = []
        self.right: list[Tensor] = []

    def judge(self, logits: Tensor, batch: TextBatch) -> None:
        if "exact_match" in self.names:
            assert batch.question_ids is not None
            self.questions.append(batch.question_ids)
            self.right.append(logits.argmax(1) == batch.targets)

    def collect(self, world: World) -> None:
        super().collect(world)
        if "exact_match" in self.names:
            self.questions, self.right = world.gather_batches(self.questions), world.gather_batches(self.right)

    def metrics(self) -> dict[str, float]:
        found = super().metrics()
        matrix = self.confusion_matrix()
        if matrix is not None:
            counts = matrix.numpy()
            found |= {name: FROM_CONFUSION[name](counts) for name in self.names if name in FROM_CONFUSION}
        if self.questions:
            questions, right = (torch.cat(batches).cpu().numpy() for batches in (self.questions, self.right))
            found["exact_match"] = exact_match(questions, right)
        return found


class _ChoiceMeter(ClassificationMeter):
    """Sums the credit of each chosen candidate: several may be correct, so there is no single target index."""

    def __init__(self, task: MultipleChoice, device: torch.device) -> None:
        super().__init__(task, device)
        self.credit = torch.zeros(2, dtype=self.loss.dtype, device=device)  # F1, exact match

    def judge(self, logits: Tensor, batch: TextBatch) -> None:
        counts, credit = batch.candidate_counts, batch.credit  # (N,), (R, 2)
        assert counts is not None and credit is not None
        chosen = counts.cumsum(0) - counts + logits.argmax(1)  # (N,) rows
        self.credit += credit[chosen].sum(0)

    def collect(self, world: World) -> None:
        super().collect(world)
        world.sum(self.credit)

    def metrics(self) -> dict[str, float]:
        found = {name: value for name, value in super().metrics().items() if name == "loss"}
        f1, exact_match = (self.credit / max(self.samples, 1)).tolist()
        return found | {"f1": f1, "exact_match": exact_match}

    def confusion_matrix(self) -> Tensor | None:
        return None


class Regression:
    """Predict a number for each row; evaluated by correlation.

    Args:
        loss: maps outputs (N, 1), targets (N,) and the parameters to a scalar.
    """

    unit = "samples"
    main_metric = "pearson"

    def __init__(self, loss: nn.Module) -> None:
        self.loss = loss

    def forward(self, model: nn.Module, batch: TextBatch) -> tuple[Tensor, Tensor | None]:
        """The loss of a batch, on the device."""
        outputs = model(batch.token_ids, batch.segment_ids, batch.attention_mask)  # (N, 1)
        return self.loss(outputs, batch.targets, model.parameters()), None

    def answers(self, model: nn.Module, batch: TextBatch) -> Tensor:
        """The prediction for each row, (N,) float32."""
        return model(batch.token_ids, batch.segment_ids, batch.attention_mask)[:, 0].float()

    def meter(self, device: torch.device) -> RegressionMeter:
        """Pearson's and Spearman's correlation, GLUE's metrics for STS-B; NaN if outputs or targets are constant."""
        return RegressionMeter(self.answers, lambda f, y: {"pearson": pearson(f, y), "spearman": spearman(f, y)})
