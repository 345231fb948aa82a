"""The cross-entropy and correctness of each prediction of a class or token, which meters sum."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def prediction_scores(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats (0 for a target of -100) and whether the most likely class is the target, each (N,).

    Args:
        logits: (N, K).
        targets: (N,) int64.
    """
    # -ln P(target)
    nats = F.cross_entropy(logits, targets, reduction="none")
    return nats, logits.argmax(-1) == targets
