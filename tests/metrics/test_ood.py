"""Scores against their definitions, ood_measures against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import entropy
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from dlkit.data.batch import ClassificationBatch
from dlkit.metrics.ood import SCORES, energy, max_logit, max_softmax, negative_entropy, ood_measures, separation
from dlkit.tasks.ood_scores import ScoreMeter


def test_scores() -> None:
    logits = torch.randn(20, 7, generator=torch.Generator().manual_seed(0)).double() * 4
    x = logits.numpy()
    p = np.exp(x - logsumexp(x, 1, keepdims=True))
    for score, expected in (
        (max_softmax, p.max(1)),
        (max_logit, x.max(1)),
        (energy, logsumexp(x, 1)),
        (negative_entropy, -entropy(p, axis=1)),
    ):
        np.testing.assert_allclose(score(logits).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_scores_of_extreme_answers_are_finite() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.0, -math.inf, -math.inf], [0.0, 0.0, 0.0]], dtype=torch.float64)
    for score in SCORES.values():
        assert score(logits).isfinite().all()
    assert negative_entropy(logits).tolist() == pytest.approx([0, 0, -math.log(3)])


@pytest.mark.parametrize("digits", [None, 1, 0])
@pytest.mark.parametrize(
    ("in_distribution", "ood", "apart"), [(300, 200, 1.0), (50, 700, 0.0), (20, 20, 9.0), (30, 4, -2.0)]
)
def test_measures_are_scikit_learns(in_distribution: int, ood: int, apart: float, digits: int | None) -> None:
    generator = torch.Generator().manual_seed(in_distribution)
    a = torch.randn(in_distribution, generator=generator).double() + apart
    b = torch.randn(ood, generator=generator).double()
    if digits is not None:  # ties
        a, b = a.mul(10**digits).round(), b.mul(10**digits).round()
    labels = np.r_[np.ones(in_distribution), np.zeros(ood)]
    values = np.r_[a.numpy(), b.numpy()]
    found = separation(a, b)
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
    assert found["aupr_in"] == pytest.approx(average_precision_score(labels, values), abs=1e-12)
    assert found["aupr_out"] == pytest.approx(average_precision_score(1 - labels, -values), abs=1e-12)
    fpr, tpr, _ = roc_curve(labels, values, drop_intermediate=False)
    assert found["fpr95"] == pytest.approx(fpr[np.flatnonzero(tpr >= 0.95)[0]], abs=1e-12)


def test_measures_in_closed_form() -> None:
    # s_in ~ N(d, 1), s_out ~ N(0, 1): AUROC = Phi(d / sqrt 2), FPR95 = 1 - Phi(d + Phi^-1(0.05))
    generator, d, n = torch.Generator().manual_seed(0), 1.5, 200_000
    a, b = (torch.randn(n, generator=generator).double() + shift for shift in (d, 0.0))
    phi = torch.distributions.Normal(0.0, 1.0)
    found = separation(a, b)
    assert found["auroc"] == pytest.approx(phi.cdf(torch.tensor(d / 2**0.5)).item(), abs=0.003)
    assert found["fpr95"] == pytest.approx(1 - phi.cdf(d + phi.icdf(torch.tensor(0.05))).item(), abs=0.01)
    same = torch.ones(10).double()
    assert separation(same, same) == {"auroc": 0.5, "aupr_in": 0.5, "aupr_out": 0.5, "fpr95": 1.0}


def test_the_meter_collects_over_batches() -> None:
    torch.manual_seed(0)
    model, images = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)), torch.randn(10, 3, 2, 2)
    meter = ScoreMeter()
    with torch.no_grad():
        for part in images.split(4):
            meter.update(model, ClassificationBatch(part, torch.zeros(len(part))))
        whole = model(images).double()
    assert meter.samples == 10
    for name, values in meter.scores().items():
        torch.testing.assert_close(values, SCORES[name](whole), rtol=1e-5, atol=1e-6)
    found = ood_measures(meter.scores(), meter.scores())
    assert found["energy/auroc"] == 0.5
    assert len(found) == 16


def test_pytorch_ood_agrees() -> None:
    pytest.importorskip("pytorch_ood")
    from pytorch_ood.detector import EnergyBased, MaxLogit, MaxSoftmax
    from pytorch_ood.metrics import OODMetrics

    torch.manual_seed(0)
    in_distribution, ood = torch.randn(400, 5) * 3, torch.randn(300, 5) * 2
    for detector, name in ((MaxSoftmax, "msp"), (MaxLogit, "max_logit"), (EnergyBased, "energy")):
        metrics = OODMetrics()
        for logits, label in ((in_distribution, 0), (ood, -1)):
            theirs = detector(lambda x: x).predict(logits)
            torch.testing.assert_close(-theirs.double(), SCORES[name](logits.double()), rtol=1e-4, atol=1e-4)
            metrics.update(theirs, torch.full((len(logits),), label))
        expected = metrics.compute()
        found = separation(SCORES[name](in_distribution), SCORES[name](ood))
        assert found["auroc"] == pytest.approx(float(expected["AUROC"]), abs=1e-3)
        # there the OOD examples are what is to be found
        turned = separation(-SCORES[name](ood), -SCORES[name](in_distribution))
        assert turned["fpr95"] == pytest.approx(float(expected["FPR95TPR"]), abs=1e-2)
