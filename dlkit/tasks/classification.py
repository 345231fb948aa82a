"""The classification task: one label a sample. What a batch costs, and how good the model is."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.finite import require_finite_outputs
from dlkit.metrics.accumulation import sum_dtype
from dlkit.metrics.calibration import CalibrationBins
from dlkit.metrics.classification import ConfusionCounts
from dlkit.train import test_time_augmentation as test_time
from dlkit.train.settings import TestViews

TOP5_FROM = 20  # classes from which the share of targets among the five most likely says something


class Classification:
    """Trains with `loss`, evaluates with plain cross-entropy, accuracy and calibration.

    Args:
        loss: maps logits (N, K), targets (N,) and the parameters to a scalar.
        classes: names of the K classes.
        views: of each image, over which an evaluation averages.
    """

    unit = "samples"
    main_metric = "accuracy"

    def __init__(self, loss: nn.Module, classes: tuple[str, ...], views: TestViews = "one") -> None:
        self.loss = loss
        self.classes = classes
        self.views: TestViews = views

    def logits(self, model: nn.Module, batch: Any) -> Tensor:
        """(N, K) of a batch, to learn from."""
        return model(batch[0])

    def evaluated_logits(self, model: nn.Module, batch: Any) -> Tensor:
        """(N, K) of a batch, to be judged by."""
        return test_time.averaged_logits(model, batch[0], self.views)

    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]:
        """The loss of a batch, and how many of its samples were right; both stay on the device.

        A batch is (inputs, targets (N,), ...), or (inputs, targets (N, 2), share), whose examples are two mixed; there
        a sample is right where its greater part is.
        """
        logits, targets = self.logits(model, batch), batch[1]
        if targets.dim() == 1:
            loss = self.loss(logits, targets, model.parameters())
        else:
            (first, second), share = targets.unbind(1), batch[2]  # (N,), (N,)
            # the cross-entropy of the blended labels: lambda L(y_1) + (1 - lambda) L(y_2)
            loss = share * self.loss(logits, first, model.parameters())
            loss = loss + (1 - share) * self.loss(logits, second, model.parameters())
            targets = torch.where(share >= 0.5, first, second)
        return loss, (logits.detach().argmax(dim=1) == targets).sum()

    def meter(self, device: torch.device) -> ClassificationMeter:
        return ClassificationMeter(self, device)


class ClassificationMeter:
    """Accumulates an evaluation on the device, batch by batch, without waiting for it."""

    def __init__(self, task: Classification, device: torch.device) -> None:
        self.task = task
        self.classes = classes = len(task.classes)
        self.samples = 0
        self.loss = torch.zeros((), dtype=sum_dtype(device), device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.unanswered = torch.zeros((), dtype=torch.int64, device=device)
        self.top5 = torch.zeros((), dtype=torch.int64, device=device)
        self.calibration = CalibrationBins(device)
        self.confusion = ConfusionCounts(classes, device)

    @torch.no_grad()
    def update(self, model: nn.Module, batch: Any) -> None:
        logits, targets = self.task.evaluated_logits(model, batch).float(), batch[1]  # (N, K), (N,)
        self.samples += len(targets)
        each = F.cross_entropy(logits, targets, reduction="none")  # (N,)
        self.loss += each.sum(dtype=self.loss.dtype)
        answered = each.isfinite()  # NaN would be a class: the first
        self.unanswered += len(targets) - answered.sum()
        confidence, predicted = logits.softmax(dim=1).max(dim=1)  # (N,), (N,)
        right = (predicted == targets) & answered
        self.judge(logits, batch)
        self.correct += right.sum()
        if self.classes >= TOP5_FROM:
            self.top5 += (logits.topk(5, dim=1).indices == targets[:, None]).sum()
        self.calibration.update(confidence, right)
        self.confusion.update(targets, predicted)

    def judge(self, logits: Tensor, batch: Any) -> None:
        """What a kind of task counts besides: logits (N, K) and the batch that they belong to."""

    def metrics(self) -> dict[str, float]:
        """Loss in nats, accuracy, top-5 accuracy (from 20 classes on), expected calibration error: shares of 1.

        Raises NotFiniteError if any answer was NaN or infinite.
        """
        require_finite_outputs(int(self.unanswered), self.samples)
        n = max(self.samples, 1)
        metrics = {"loss": self.loss.item() / n, "accuracy": self.correct.item() / n}
        if self.classes >= TOP5_FROM:
            metrics["top5"] = self.top5.item() / n
        metrics["ece"] = self.calibration.expected_error(n)
        return metrics

    def confusion_matrix(self) -> Tensor | None:
        """(K, K) counts, rows are true classes, columns predicted ones; None for over a thousand classes."""
        return self.confusion.matrix()
