"""Language tasks and their scores against torch, scikit-learn, scipy and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk
from torch import Tensor, nn

from dlkit.data.batch import CausalBatch, MaskedBatch, TextBatch
from dlkit.losses import CrossEntropy, SquaredError
from dlkit.tasks.language_modelling import CausalLM, MaskedLM
from dlkit.tasks.text_classification import MultipleChoice, Regression, TextClassification
from dlkit.training.evaluate import evaluate_model

CPU = torch.device("cpu")


class Fixed(nn.Module):
    """Gives the same outputs whatever comes in, and remembers how it was called."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs
        self.vocabulary = outputs.shape[-1]
        self.calls: list[Any] = []

    def forward(self, *inputs: Any, **keys: Any) -> Tensor:
        self.calls.append((inputs, keys))
        return self.outputs


def test_bits_a_byte_are_the_description_length() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 5, 7), torch.randint(7, (10,))
    targets[3] = -100
    lengths = torch.tensor([1, 2, 3, 1, 1, 4, 0])
    task = CausalLM(CrossEntropy(), lengths)
    metrics = evaluate_model(Fixed(logits), [CausalBatch(torch.zeros(2, 5), targets)] * 3, task.meter(CPU)).metrics()
    each = F.cross_entropy(logits.flatten(0, 1).double(), targets, reduction="none")
    shown = targets >= 0
    assert metrics["loss"] == pytest.approx(each[shown].mean().item(), rel=1e-6)
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
    size = lengths[targets[shown]].sum().item()
    assert metrics["bits_per_byte"] == pytest.approx(each.sum().item() / math.log(2) / size, rel=1e-6)
    assert metrics["accuracy"] == (logits.flatten(0, 1).argmax(1) == targets)[shown].double().mean().item()


def test_a_uniform_model_needs_log_v_nats() -> None:
    task = CausalLM(CrossEntropy(), torch.ones(256, dtype=torch.int64))
    metrics = evaluate_model(
        Fixed(torch.zeros(1, 9, 256)), [CausalBatch(torch.zeros(1, 9), torch.arange(9))], task.meter(CPU)
    ).metrics()
    assert metrics["loss"] == pytest.approx(math.log(256))
    assert metrics["bits_per_byte"] == pytest.approx(8)


class OwnLoss(nn.Module):
    """As a user writes one: it knows logits alone."""

    def forward(self, logits: Tensor, targets: Tensor, parameters: Any) -> Tensor:
        return F.nll_loss(logits.log_softmax(1), targets)


def test_a_loss_of_ones_own_gets_logits_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlkit.tasks.language_modelling.worth_chunking", lambda *_: True)
    logits, targets = torch.randn(2, 5, 7), torch.randint(7, (10,))
    loss, _ = CausalLM(OwnLoss()).forward(Fixed(logits), CausalBatch(torch.zeros(2, 5), targets))
    torch.testing.assert_close(loss, F.cross_entropy(logits.flatten(0, 1), targets))


def test_losses_are_torchs() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 5, 7), torch.randint(7, (10,))
    loss, right = CausalLM(CrossEntropy()).forward(Fixed(logits), CausalBatch(torch.zeros(2, 5), targets))
    torch.testing.assert_close(loss, F.cross_entropy(logits.flatten(0, 1), targets))
    assert right is None
    model = Fixed(logits.flatten(0, 1))
    token_ids, positions = torch.zeros(2, 9), torch.arange(10)
    loss, _ = MaskedLM(CrossEntropy()).forward(model, MaskedBatch(token_ids, targets, positions))
    torch.testing.assert_close(loss, F.cross_entropy(logits.flatten(0, 1), targets))
    assert model.calls == [((token_ids,), {"at": positions})]


def batch_of(targets: Tensor, counts: Tensor | None = None, **judged: Tensor) -> TextBatch:
    rows = len(targets) if counts is None else int(counts.sum())
    tokens = torch.zeros(rows, 3, dtype=torch.int64)
    return TextBatch(tokens, targets, None, torch.ones(rows, 3, dtype=torch.bool), counts, **judged)


def test_text_classification_reports_its_metrics() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(40, 2), torch.randint(2, (40,))
    task = TextClassification(CrossEntropy(), ("no", "yes"), ("matthews", "f1", "accuracy"))
    found = evaluate_model(Fixed(logits), [batch_of(targets)], task.meter(CPU)).metrics()
    assert task.main_metric == "matthews"
    assert found["matthews"] == pytest.approx(sk.matthews_corrcoef(targets, logits.argmax(1)))
    assert found["f1"] == pytest.approx(sk.f1_score(targets, logits.argmax(1)))
    loss, right = task.forward(Fixed(logits), batch_of(targets))
    torch.testing.assert_close(loss, F.cross_entropy(logits, targets))
    assert right is not None
    assert right / 40 == pytest.approx(found["accuracy"])


def test_multiple_choice_is_a_softmax_over_candidates() -> None:
    each, counts = torch.tensor([[1.0], [2.0], [0.0], [3.0], [1.0]]), torch.tensor([2, 3])
    task = MultipleChoice(CrossEntropy(), ("0", "1", "2"))
    batch = batch_of(torch.tensor([1, 0]), counts)
    logits = task.logits(Fixed(each), batch)
    assert logits.tolist() == [[1.0, 2.0, -math.inf], [0.0, 3.0, 1.0]]
    loss, right = task.forward(Fixed(each), batch)
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(3) + math.exp(1))) / 2
    assert loss.item() == pytest.approx(expected)
    assert right is not None
    assert right.item() == 1


def test_exact_match_counts_whole_questions() -> None:
    # questions 7, 3 and 5, in two batches: all right, one of three wrong, the only one wrong
    targets, predicted = torch.tensor([1, 0, 1, 1, 0, 1]), torch.tensor([1, 0, 1, 0, 0, 0])
    questions = torch.tensor([7, 7, 3, 3, 3, 5])
    task = TextClassification(CrossEntropy(), ("False", "True"), ("f1", "exact_match"))
    meter = task.meter(CPU)
    for part in (slice(0, 3), slice(3, 6)):  # question 3 stands in both
        logits = F.one_hot(predicted[part], 2).float()
        meter.update(Fixed(logits), batch_of(targets[part], question_ids=questions[part]))
    found = meter.metrics()
    assert found["exact_match"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx(2 * 2 / (2 * 2 + 2))  # 2 hits, 2 misses, no false alarm


def test_a_chosen_candidate_earns_its_credit() -> None:
    each, counts = torch.tensor([[1.0], [2.0], [0.0], [3.0], [1.0]]), torch.tensor([2, 3])
    credit = torch.tensor([[0.5, 0.0], [1.0, 1.0], [0.25, 0.0], [0.4, 0.0], [1.0, 1.0]])
    task = MultipleChoice(CrossEntropy(), ("0", "1", "2"), ("f1", "exact_match"))
    assert task.main_metric == "f1"
    meter = task.meter(CPU)
    meter.update(Fixed(each), batch_of(torch.tensor([1, 2]), counts, credit=credit))  # chooses rows 1 and 3
    meter.update(Fixed(each[:2].flip(0)), batch_of(torch.tensor([1]), counts[:1], credit=credit[:2]))  # chooses row 0
    found = meter.metrics()
    assert found.keys() == {"loss", "f1", "exact_match"}  # where several are right, accuracy says nothing
    assert found["f1"] == pytest.approx((1 + 0.4 + 0.5) / 3)
    assert found["exact_match"] == pytest.approx(1 / 3)
    assert meter.confusion_matrix() is None


def test_regression() -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(30, 1), torch.randn(30)
    task = Regression(SquaredError())
    metrics = evaluate_model(Fixed(outputs), [batch_of(targets)], task.meter(CPU)).metrics()
    assert metrics["loss"] == pytest.approx(F.mse_loss(outputs[:, 0], targets).item(), rel=1e-6)
    assert metrics["pearson"] == pytest.approx(np.corrcoef(outputs[:, 0], targets)[0, 1], abs=1e-6)
    torch.testing.assert_close(task.forward(Fixed(outputs), batch_of(targets))[0], F.mse_loss(outputs[:, 0], targets))
