"""The cross-entropy of a linear layer's output, in chunks of rows, so that not all logits are in memory at once.

16 x 1,024 tokens of GPT-2 have 823 million logits: 3.3 GB in float32, and the plain loss holds several copies. Here the
gradient of a chunk is computed in the forward pass, while its logits are at hand, and the backward pass only scales it.
It costs the same three matrix products as the plain loss:

    logits = X W^T + b,   dlogits = softmax(logits) - q,   dX = dlogits W,   dW = dlogits^T X,   db = sum_n dlogits_n

Products are computed in the dtype of autocast, softmax and sums in float32 (float64 for float64). The saved gradient is
that of the sum over rows, not of the mean, so that it does not underflow in float16 before it is scaled. GPUs multiply
16-bit matrices fast only where their sides are multiples of 8 or more: there the vocabulary is padded to a multiple of
64 by classes with a bias of -inf, in the copy that the cast to 16 bits makes anyway.

torch.nn.functional.linear_cross_entropy, new in 2.14, does not pad, has no label smoothing in chunks, and breaks the
graph of torch.compile; this one is compiled together with the model.

Shapes: N rows, W input features, V classes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_PAYS = {"cuda": 1 << 24, "cpu": 1 << 28}  # number of logits above which chunks are worth their overhead
_CHUNK = 1 << 28  # logits at a time
_MULTIPLE = 64


def worth_chunking(rows: int, classes: int, device: torch.device) -> bool:
    """Whether the logits of so many rows are enough for chunks to be worth their overhead."""
    return rows * classes >= _PAYS.get(device.type, 1 << 28)


def chunk_rows(rows: int, classes: int) -> int:
    """Rows per chunk, for chunks of equal length except the last."""
    chunks = max(1, -(-rows * classes // _CHUNK))
    return max(1, -(-rows // chunks))


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    label_smoothing: float = 0.0,
    rows: int | None = None,
) -> Tensor:
    """Mean cross-entropy of x W^T + b, a scalar in float32 (float64 for float64), as in `F.cross_entropy`.

    Args:
        x: (N, W).
        weight: (V, W).
        bias: (V,), or None.
        targets: (N,) int64; negative ones are ignored.
        label_smoothing: the share of each label that is spread evenly over all classes.
        rows: per chunk; None for as many as have `_CHUNK` logits.
    """
    dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
    rows = rows or chunk_rows(len(x), len(weight))
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias))
    return _LinearCrossEntropy.apply(x, weight, bias, targets, label_smoothing, rows, dtype, wanted)  # pyright: ignore


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        label_smoothing: float,
        rows: int,
        dtype: torch.dtype,
        wanted: bool,
    ) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            wide = torch.promote_types(dtype, torch.float32)
            classes = len(weight)
            padded_weight, padded_bias = _padded(weight.to(dtype), None if bias is None else bias.to(dtype))
            total = torch.zeros((), dtype=wide, device=x.device)
            dx: list[Tensor] = []
            dw = db = None
            for chunk, labels in zip(x.split(rows), targets.split(rows), strict=True):
                nats, *gradients = _chunk(
                    chunk.to(dtype), padded_weight, padded_bias, labels, classes, label_smoothing, wanted
                )
                total = total + nats
                if wanted:
                    of_x, of_weight, of_bias = gradients
                    dx.append(of_x)
                    # a single chunk needs no sum, and so no wider dtype
                    dw = of_weight if rows >= len(x) else of_weight.to(wide) if dw is None else dw + of_weight
                    db = of_bias if db is None else db + of_bias
            counted = (targets >= 0).sum()
            if wanted:
                ctx.dtypes = x.dtype, weight.dtype
                assert dw is not None
                db = None if bias is None or db is None else db[:classes]
                ctx.save_for_backward(torch.cat(dx), dw[:classes], db, counted)
        # mean over the rows that count; NaN where none does
        return total / counted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        dx, dw, db, counted = ctx.saved_tensors
        of_x, of_weight = ctx.dtypes
        scale = gradient / counted
        return (
            (dx * scale).to(of_x) if ctx.needs_input_grad[0] else None,
            (dw * scale).to(of_weight) if ctx.needs_input_grad[1] else None,
            (db * scale).to(of_weight) if db is not None and ctx.needs_input_grad[2] else None,
            *(None,) * 5,
        )


def _padded(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The layer padded with classes of probability 0, where that makes its products faster."""
    missing = _missing(weight)
    if not missing:
        return weight, bias
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    return F.pad(weight, (0, 0, 0, missing)), F.pad(bias, (0, missing), value=-torch.inf)


def _missing(weight: Tensor) -> int:
    """How many classes to pad with."""
    return -len(weight) % _MULTIPLE if weight.device.type == "cuda" and weight.element_size() == 2 else 0


def _chunk(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    classes: int,
    label_smoothing: float,
    wanted: bool,
) -> tuple[Tensor, ...]:
    """The summed cross-entropy of some rows (n, W), and its gradients by x, by weight (V', W) and by bias (V',).

    Without a bias, the last gradient is a dummy to be ignored.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    logits = F.linear(x, weight, bias)  # (n, V')
    log_p = logits.log_softmax(-1, dtype=wide)
    counts = (targets >= 0).to(wide)  # (n,)
    labels = targets.clamp(min=0)[:, None]
    of_label = log_p.gather(1, labels)  # (n, 1)
    # H(q, p) = -sum_k q_k log p_k, with q_k = (1 - epsilon) [k = target] + epsilon / V
    nats = (label_smoothing - 1) * of_label[:, 0]
    if label_smoothing:
        nats = nats - label_smoothing / classes * log_p[:, :classes].sum(-1)
    nats = nats.where(targets >= 0, 0).sum()
    if not wanted:
        return (nats,)
    # dH/dlogits = p - q
    spread = label_smoothing / classes
    at_label = of_label.exp() - (1 - label_smoothing) - spread  # in the wide dtype, where p - 1 is accurate
    if torch.compiler.is_compiling():  # one pass over the logits; a scatter would need them in memory
        columns = torch.arange(logits.shape[1], device=x.device)
        others = log_p.exp() - spread * (columns < classes) if spread else log_p.exp()
        dlogits = torch.where(columns == labels, at_label, others).to(x.dtype)
    else:
        dlogits = torch.exp(log_p, out=logits)
        if spread:
            dlogits[:, :classes] -= spread
        dlogits.scatter_(1, labels, at_label.to(x.dtype))
    # rows that do not count are zeroed in (n, W), which is cheaper than in (n, V')
    shown = counts[:, None].to(x.dtype)
    column = nats if bias is None else counts.to(x.dtype) @ dlogits
    return nats, (dlogits @ weight) * shown, dlogits.t() @ (x * shown), column.to(wide)
