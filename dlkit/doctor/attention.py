"""Recorded attention against the equation in float64, and against what the layer's fused kernel gave.

A = softmax(Q K^T / sqrt(D)), masked; the layer's output is A V, projected
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.attention.capture import CapturedLayer, attention_weights, capture_attention
from dlkit.doctor.bench import CPU, Bench
from dlkit.doctor.finding import Finding, judged
from dlkit.doctor.twins import transformer as plain
from dlkit.doctor.twins.weights import copied
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.train.precision import autocast

V, T, LAYERS, HEADS, W = 40, 48, 2, 4, 64
_SIZES: dict[str, Any] = {"layers": LAYERS, "heads": HEADS, "width": W}
# Largest difference of a weight, and of an output of a layer.
MOST = {"fp32": (1e-4, 1e-3), "bf16": (3e-2, 1e-1)}


def check(bench: Bench) -> Iterator[Finding]:
    """A finding for each model and precision."""
    torch.manual_seed(0)
    models: dict[str, tuple[nn.Module, nn.Module]] = {
        "gpt": (GPT(V, T, **_SIZES), plain.GPT(V, T, LAYERS, HEADS, W)),
        "bert": (
            BERT(V, T, None, **_SIZES, dropout=0.0, attention_dropout=0.0),
            plain.BERT(V, T, LAYERS, HEADS, W),
        ),
    }
    tokens = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(0))
    for name, (model, twin) in models.items():
        for parameter in model.parameters():
            parameter.data.mul_(3)  # sharper than at the start, where all weights are about 1 / T
        model = model.eval()
        wanted = weights_by_equation(copied(copy.deepcopy(model).double(), twin.double()), tokens)
        model = model.to(bench.device)
        for precision, (most, most_of_output) in MOST.items():
            with autocast(precision, bench.device):
                found = attention_weights(model, tokens.to(bench.device))
                difference = output_difference(model, tokens.to(bench.device))
            worst = max(float((a.to(CPU).double() - b).abs().max()) for a, b in zip(found, wanted, strict=True))
            yield judged(
                f"{name} {precision}",
                f"weights within {most:g}, outputs within {most_of_output:g}",
                f"{worst:.1e}, {difference:.1e}",
                worst < most and difference < most_of_output and len(found) == len(wanted),
                difference_of_weights=worst,
                difference_of_outputs=difference,
            )


@torch.no_grad()
def output_difference(model: nn.Module, tokens: Tensor) -> float:
    """Between a layer's output and that of the recorded weights, at most, as a share of its largest number."""
    worst = 0.0

    def visit(layer: CapturedLayer) -> None:
        nonlocal worst
        largest = float(layer.output.abs().max())
        for start, weights in layer.blocks():
            difference = layer.reconstruction_error(start, weights) / largest
            worst = math.inf if math.isnan(difference) else max(worst, difference)

    with capture_attention(model, visit):
        model.hidden(tokens)  # pyright: ignore[reportCallIssue]
    return worst


@torch.no_grad()
def weights_by_equation(twin: nn.Module, tokens: Tensor) -> list[Tensor]:
    """(B, H, T, T) of each layer of a twin, of what goes into its attention."""
    found: list[Tensor] = []

    def look(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, plain.Attention)
        x = arguments[0]
        q, k, _ = layer.c_attn(x).split(x.shape[2], dim=2)  # (B, T, W) each
        q, k = (part.view(*x.shape[:2], layer.heads, -1).transpose(1, 2) for part in (q, k))  # (B, H, T, D)
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        if layer.causal:
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
        found.append(scores.softmax(-1))

    handles = [
        module.register_forward_pre_hook(look) for module in twin.modules() if isinstance(module, plain.Attention)
    ]
    twin.eval()(tokens)
    for handle in handles:
        handle.remove()
    return found
