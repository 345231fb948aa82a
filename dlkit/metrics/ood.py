"""Out-of-distribution (OOD) detection from a classifier's logits: scores, and metrics of how well they separate.

Shapes: N examples, K classes, logits (N, K), p = softmax(logits). A higher score means "more like the training data".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from dlkit.errors import NotFiniteError

LEVEL = 0.95  # true positive rate at which the false positive rate is measured


def max_softmax(logits: Tensor) -> Tensor:
    """Hendrycks & Gimpel, arXiv:1610.02136."""
    # s = max_k p_k
    return logits.softmax(1).amax(1)


def max_logit(logits: Tensor) -> Tensor:
    """Hendrycks et al., arXiv:1911.11132."""
    # s = max_k x_k
    return logits.amax(1)


def energy(logits: Tensor) -> Tensor:
    """The negative free energy at temperature 1: Liu et al., arXiv:2010.03759."""
    # s = log sum_k e^(x_k)
    return logits.logsumexp(1)


def negative_entropy(logits: Tensor) -> Tensor:
    """The negative entropy of the predicted distribution, in nats."""
    log_p = logits.log_softmax(1)
    # s = sum_k p_k log p_k, where 0 log 0 = 0
    return (log_p.exp() * log_p.clamp(min=torch.finfo(log_p.dtype).min)).sum(1)


SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "msp": max_softmax,
    "max_logit": max_logit,
    "energy": energy,
    "entropy": negative_entropy,
}


def separation(in_distribution: Tensor, ood: Tensor) -> dict[str, float]:
    """How well a score separates (N,) in-distribution from (M,) OOD examples; ties count half.

    `auroc`: the probability that an in-distribution example scores higher than an OOD one. `aupr_in` and `aupr_out`:
    average precision with the in-distribution or the OOD examples as positives. `fpr95`: the share of OOD examples
    accepted at the threshold that accepts at least 95 % of the in-distribution ones.

    Raises NotFiniteError if a score is NaN, which has no rank.
    """
    missing = int(in_distribution.isnan().sum() + ood.isnan().sum())
    if missing:
        raise NotFiniteError(f"{missing:,} of {len(in_distribution) + len(ood):,} scores are NaN")
    true, false = _counts(in_distribution, ood)  # (T + 1,), from accepting nothing to accepting everything
    tpr, fpr = true / len(in_distribution), false / len(ood)
    # the area under the ROC curve, by the trapezoidal rule
    auroc = ((fpr[1:] - fpr[:-1]) * (tpr[1:] + tpr[:-1]) / 2).sum().item()
    return {
        "auroc": auroc,
        "aupr_in": _average_precision(true, false),
        "aupr_out": _average_precision(*_counts(-ood, -in_distribution)),
        "fpr95": fpr[int((tpr >= LEVEL).nonzero()[0])].item(),
    }


def ood_measures(in_distribution: Mapping[str, Tensor], ood: Mapping[str, Tensor]) -> dict[str, float]:
    """`separation` of every score, with keys score/metric."""
    return {
        f"{score}/{name}": value
        for score in SCORES
        for name, value in separation(in_distribution[score], ood[score]).items()
    }


def _counts(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Positives and negatives that score at least t, for every t from the highest down, after zeros: (T + 1,) each."""
    values = torch.cat((positive, negative))
    labels = torch.cat((torch.ones_like(positive), torch.zeros_like(negative)))
    values, order = values.sort(descending=True)
    true = labels[order].cumsum(0)
    last = torch.ones(len(values), dtype=torch.bool)
    last[:-1] = values[:-1] != values[1:]  # equal scores are accepted together
    ranks = torch.arange(1, len(values) + 1, dtype=true.dtype)
    start = torch.zeros(1, dtype=true.dtype)
    return torch.cat((start, true[last])), torch.cat((start, (ranks - true)[last]))


def _average_precision(true: Tensor, false: Tensor) -> float:
    # AP = sum_t (R_t - R_(t-1)) P_t, with recall R and precision P
    precision = true[1:] / (true[1:] + false[1:])
    return (((true[1:] - true[:-1]) / true[-1]) * precision).sum().item()
