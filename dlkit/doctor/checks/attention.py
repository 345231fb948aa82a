"""Captured attention weights against the equation in float64, and the layer's output against its fused kernel.

A = softmax(Q K^T / sqrt(D)), masked; the layer's output is the projection of A V.
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
from dlkit.doctor.twins.weights import with_weights_of
from dlkit.models.bert import BERT
from dlkit.models.gpt import GPT
from dlkit.training.precision import autocast

V, T, LAYERS, HEADS, W = 40, 48, 2, 4, 64
_SIZES: dict[str, Any] = {"layers": LAYERS, "heads": HEADS, "width": W}
# The largest allowed differences of a weight and of a layer's output.
MOST = {"fp32": (1e-4, 1e-3), "bf16": (3e-2, 1e-1)}


def check_attention(bench: Bench) -> Iterator[Finding]:
    """One finding per model and precision."""
    torch.manual_seed(0)
    models: dict[str, tuple[nn.Module, nn.Module]] = {
        "gpt": (GPT(V, T, **_SIZES), plain.PlainGPT(V, T, LAYERS, HEADS, W)),
        "bert": (
            BERT(V, T, None, **_SIZES, dropout=0.0, attention_dropout=0.0),
            plain.PlainBERT(V, T, LAYERS, HEADS, W),
        ),
    }
    tokens = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(0))
    for name, (model, twin) in models.items():
        for parameter in model.parameters():
            parameter.data.mul_(3)  # sharper than at initialisation, where all weights are about 1 / T
        model = model.eval()
        wanted = weights_by_equation(with_weights_of(copy.deepcopy(model).double(), twin.double()), tokens)
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
    """Largest difference between a layer's output and that of its captured weights, relative to the largest output."""
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
    """Attention weights by the equation, (B, H, T, T) for each layer, from the inputs of a twin's attention layers."""
    found: list[Tensor] = []

    def record(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, plain.PlainAttention)
        x = arguments[0]
        q, k, _ = layer.c_attn(x).split(x.shape[2], dim=2)  # (B, T, W) each
        q, k = (part.view(*x.shape[:2], layer.heads, -1).transpose(1, 2) for part in (q, k))  # (B, H, T, D)
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        if layer.causal:
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
        found.append(scores.softmax(-1))

    handles = [
        module.register_forward_pre_hook(record)
        for module in twin.modules()
        if isinstance(module, plain.PlainAttention)
    ]
    twin.eval()(tokens)
    for handle in handles:
        handle.remove()
    return found
