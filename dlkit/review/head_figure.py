"""One attention head from its input to its output, every number of it: figure 10 of the review, with shapes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dlkit.nn.attention import MultiHeadAttention, attention_weights_reference
from dlkit.plotting import make_axes

_INK = "#111111"  # of numbers in coloured cells, which are light on a dark page, too
_TOKENS, _WIDTH, _HEADS = 3, 4, 2


def attention_head() -> Any:
    """One attention head, number by number: each row of A sums to 1 and weighs the values of the tokens."""
    x, q, k, v = _projected()
    a = attention_weights_reference(q[None, None], k[None, None])[0, 0]  # (T, T)
    scores = q @ k.T / math.sqrt(q.shape[-1])
    figure, axis = make_axes(5.0, 5.1)
    axis.set_axis_off()
    axis.set_xlim(-0.1, 13.1)
    axis.set_ylim(9.2, -1.8)
    upper = ((0.0, "X", x), (5.0, "Q", q), (8.0, "K", k), (11.0, "V", v))
    lower = ((0.0, "Q Kᵀ / √d", scores), (5.5, "A", a), (11.0, "A V", a @ v))
    for row, matrices in ((0.0, upper), (6.0, lower)):
        for column, name, values in matrices:
            _draw_matrix(axis, column, row, name, values)
    for start, end, row, text in ((4.1, 4.9, 1.5, ""), (3.1, 5.4, 7.5, "softmax"), (8.6, 10.9, 7.5, "times V")):
        axis.annotate("", (end, row), (start, row), arrowprops={"arrowstyle": "->", "color": "black"})
        axis.text((start + end) / 2, row - 0.3, text, ha="center", fontsize=9)
    axis.text(8.0, 3.7, "T = 3 tokens, model width W = 4, head width d = 2", ha="center", fontsize=9)
    return figure


def _projected() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The input (T, W), and queries, keys and values (T, d) of the first head."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(_WIDTH, _HEADS, causal=False)
    torch.nn.init.normal_(attention.qkv.weight, std=0.7)  # far enough from zero to be seen with one decimal
    x = torch.randn(_TOKENS, _WIDTH)
    with torch.no_grad():
        q, k, v = (part[0, 0] for part in attention.project(x[None]))
    return x, q, k, v


def _draw_matrix(axis: Any, left: float, top: float, name: str, values: Tensor) -> None:
    """Cells of one unit, each with its number; colours that stay light enough to write on."""
    rows, columns = values.shape
    reach = 2.2 * float(values.abs().max())
    place = (left, left + columns, top + rows, top)
    axis.imshow(values.numpy(), cmap="PuOr", vmin=-reach, vmax=reach, extent=place, aspect="equal")
    digits = 2 if name == "A" else 1
    for i in range(rows):
        for j in range(columns):
            number = f"{values[i, j]:.{digits}f}".replace("-", "\N{MINUS SIGN}")
            axis.text(left + j + 0.5, top + i + 0.5, number, ha="center", va="center", fontsize=9, color=_INK)
    axis.text(left + columns / 2, top - 1.05, name, ha="center", fontsize=11, fontweight="bold")
    axis.text(left + columns / 2, top - 0.25, f"({rows}, {columns})", ha="center", fontsize=9)
