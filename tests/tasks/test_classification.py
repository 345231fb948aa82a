"""The meter against scikit-learn and a calibration error worked out sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor, nn

from dlkit.data.batch import ClassificationBatch
from dlkit.losses import CrossEntropy
from dlkit.metrics.classification import per_class_scores
from dlkit.tasks.classification import Classification, ClassificationMeter
from dlkit.training.evaluate import evaluate_model


class Table(nn.Module):
    """A model that looks its logits up."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, rows: Tensor) -> Tensor:
        return self.logits[rows]


def meter_of(classes: int) -> ClassificationMeter:
    task = Classification(CrossEntropy(), tuple(map(str, range(classes))))
    return ClassificationMeter(task, torch.device("cpu"))


def measure(logits: Tensor, targets: Tensor, batch: int = 7) -> ClassificationMeter:
    rows = torch.arange(len(targets))
    batches = map(ClassificationBatch, rows.split(batch), targets.split(batch))
    return evaluate_model(Table(logits), batches, meter_of(logits.shape[1]))


def sample(n: int, classes: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n * classes)
    return torch.randn(n, classes, generator=generator) * scale, torch.randint(classes, (n,), generator=generator)


@pytest.mark.parametrize(("n", "classes"), [(50, 3), (200, 25), (1, 2), (33, 100)])
def test_against_scikit_learn(n: int, classes: int) -> None:
    logits, targets = sample(n, classes)
    metrics = measure(logits, targets).metrics()
    p = logits.double().softmax(1).numpy()
    truth = targets.numpy()
    labels = list(range(classes))
    assert metrics["loss"] == pytest.approx(sk.log_loss(truth, p, labels=labels), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(sk.accuracy_score(truth, p.argmax(1)))
    assert ("top5" in metrics) == (classes >= 20)
    if classes >= 20:
        assert metrics["top5"] == pytest.approx(sk.top_k_accuracy_score(truth, p, k=5, labels=labels))


@pytest.mark.parametrize("scale", [0.1, 2.0, 20.0])
def test_calibration_error_sample_by_sample(scale: float) -> None:
    logits, targets = sample(300, 5, scale)
    p = logits.softmax(1)
    confidence, predicted = (values.numpy() for values in p.max(1))
    right = predicted == targets.numpy()
    total = 0.0
    for lower in range(15):
        inside = (confidence > np.float32(lower / 15)) & (confidence <= np.float32((lower + 1) / 15))
        if inside.any():
            total += inside.sum() / 300 * abs(right[inside].mean() - confidence[inside].mean(dtype=np.float64))
    assert measure(logits, targets).metrics()["ece"] == pytest.approx(total, abs=1e-6)


def test_calibration_error_where_it_is_known() -> None:
    sure = torch.tensor([[100.0, 0.0]]).repeat(10, 1)
    assert measure(sure, torch.zeros(10, dtype=torch.int64)).metrics()["ece"] == pytest.approx(0.0, abs=1e-6)
    assert measure(sure, torch.ones(10, dtype=torch.int64)).metrics()["ece"] == pytest.approx(1.0, abs=1e-6)
    even = torch.zeros(10, 2)
    half = torch.tensor([0, 1] * 5)
    assert measure(even, half).metrics()["ece"] == pytest.approx(0.0, abs=1e-6)


def test_confusion_matrix_and_classes_against_scikit_learn() -> None:
    logits, targets = sample(150, 4)
    targets[targets == 3] = 2  # a class that never occurs
    matrix = measure(logits, targets).confusion_matrix()
    assert matrix is not None
    predicted = logits.argmax(1)
    np.testing.assert_array_equal(matrix.numpy(), sk.confusion_matrix(targets, predicted, labels=range(4)))
    rows = per_class_scores(matrix, ("a", "b", "c", "d"))
    reference = sk.precision_recall_fscore_support(targets, predicted, labels=range(4), zero_division=0.0)
    for index, row in enumerate(rows):
        expected = [float(column[index]) for column in reference]
        assert [row["precision"], row["recall"], row["f1"], row["n"]] == pytest.approx(expected)


def test_a_thousand_classes_are_too_many_for_a_matrix() -> None:
    logits, targets = sample(4, 1001)
    meter = measure(logits, targets)
    assert meter.confusion_matrix() is None
    assert meter.metrics()["accuracy"] == pytest.approx((logits.argmax(1) == targets).double().mean().item())


def test_evaluation_restores_the_mode_and_keeps_no_graph() -> None:
    logits, targets = sample(10, 3)
    model = Table(logits.requires_grad_())
    for training in (True, False):
        model.train(training)
        meter = evaluate_model(model, [ClassificationBatch(torch.arange(10), targets)], meter_of(3))
        assert model.training is training
        assert not meter.loss.requires_grad


def test_training_counts_what_is_right_and_adds_the_penalty() -> None:
    logits, targets = sample(12, 3)
    model = nn.Linear(3, 3)
    task = Classification(CrossEntropy(l2=0.5), ("a", "b", "c"))
    loss, right = task.forward(model, ClassificationBatch(logits, targets))
    outputs = model(logits)
    penalty = 0.25 * sum(parameter.detach().square().sum().item() for parameter in model.parameters())
    assert loss.item() == pytest.approx(nn.functional.cross_entropy(outputs, targets).item() + penalty, rel=1e-6)
    assert right.item() == (outputs.argmax(1) == targets).sum().item()
