"""The classification task, with one label per example: its loss and its metrics."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.distributed.process_group import World
from dlkit.finite import require_finite_outputs
from dlkit.metrics.accumulation import sum_dtype
from dlkit.metrics.calibration import CalibrationBins
from dlkit.metrics.classification import ConfusionCounts
from dlkit.training import test_time_augmentation as test_time
from dlkit.training.settings import TestViews

TOP5_FROM = 20  # number of classes from which top-5 accuracy is informative


class Classification:
    """Trains with `loss`, evaluates with plain cross-entropy, accuracy and calibration.

    Args:
        loss: maps logits (N, K), targets (N,) and the parameters to a scalar.
        classes: names of the K classes.
        views: of each image, whose outputs are averaged in evaluation.
    """

    unit = "samples"
    main_metric = "accuracy"

    def __init__(self, loss: nn.Module, classes: tuple[str, ...], views: TestViews = "one") -> None:
        self.loss = loss
        self.classes = classes
        self.views: TestViews = views

    def logits(self, model: nn.Module, batch: Any) -> Tensor:
        """The logits (N, K) of a batch, for training."""
        return model(batch.inputs)

    def evaluated_logits(self, model: nn.Module, batch: Any) -> Tensor:
        """The logits (N, K) of a batch, for evaluation."""
        return test_time.averaged_logits(model, batch.inputs, self.views)

    def answers(self, model: nn.Module, batch: Any) -> Tensor:
        """The probability of each class, (N, K) float32."""
        return self.evaluated_logits(model, batch).float().softmax(dim=1)

    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]:
        """The loss of a batch and the number of correct predictions, both on the device.

        For examples that are mixed in pairs, the class with the larger weight counts as correct.
        """
        logits, targets = self.logits(model, batch), batch.targets
        loss = self.loss(logits, targets, model.parameters())
        if batch.mixed_targets is not None:
            mixed, weight = batch.mixed_targets, batch.mix_weight  # (N,), ()
            # mixup: lambda L(y_a) + (1 - lambda) L(y_b)
            loss = weight * loss + (1 - weight) * self.loss(logits, mixed, model.parameters())
            targets = torch.where(weight >= 0.5, targets, mixed)
        return loss, (logits.detach().argmax(dim=1) == targets).sum()

    def meter(self, device: torch.device) -> ClassificationMeter:
        return ClassificationMeter(self, device)


class ClassificationMeter:
    """Accumulates an evaluation on the device, batch by batch, without host syncs."""

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
        logits, targets = self.task.evaluated_logits(model, batch).float(), batch.targets  # (N, K), (N,)
        self.samples += len(targets)
        each = F.cross_entropy(logits, targets, reduction="none")  # (N,)
        self.loss += each.sum(dtype=self.loss.dtype)
        answered = each.isfinite()  # the argmax of NaN logits would be class 0
        self.unanswered += len(targets) - answered.sum()
        confidence, predicted = logits.softmax(dim=1).max(dim=1)  # (N,), (N,)
        right = (predicted == targets) & answered
        self.judge(logits, batch)
        self.correct += right.sum()
        if self.classes >= TOP5_FROM:
            self.top5 += (logits.topk(5, dim=1).indices == targets[:, None]).sum()
        self.calibration.update(confidence, right)
        self.confusion.update(targets, predicted)

    def collect(self, world: World) -> None:
        """Sum the counts of the meters of all ranks, on every rank."""
        for counted in (
            self.loss,
            self.correct,
            self.unanswered,
            self.top5,
            self.calibration.sums,
            self.confusion.counts,
        ):
            world.sum(counted)
        self.samples = int(world.sum(torch.tensor(self.samples)))

    def judge(self, logits: Tensor, batch: Any) -> None:
        """Hook for additional counts of a subclass, from the logits (N, K) of a batch."""

    def metrics(self) -> dict[str, float]:
        """Loss in nats; accuracy, top-5 accuracy (for 20 classes or more) and expected calibration error, from 0 to 1.

        Raises NotFiniteError if any prediction was NaN or infinite.
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
