"""Every property holds of what it is claimed of, and fails of something else in its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlkit import schedules
from dlkit.information.codes import huffman_lengths, range_lengths
from dlkit.information.measures import cross_entropy, shannon_entropy
from dlkit.losses import l2_penalty
from dlkit.models.convnext import ConvNeXtBlock
from dlkit.models.gpt import GPT
from dlkit.nn.attention import MultiHeadAttention, attention_weights_reference
from dlkit.nn.norm import BatchNorm, LayerNorm
from dlkit.nn.residual import basic_block
from dlkit.nn.transformer import TransformerBlock
from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.adamw import AdamW
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD
from dlkit.review.claim import PropertyTest
from dlkit.review.deviation import Deviation
from dlkit.review.properties.convolution import DenseImages
from dlkit.review.properties.errata import printed_dropout
from dlkit.review.properties.gradient_descent import batch_means
from dlkit.review.properties.language_models import small_bert, small_gpt
from dlkit.review.properties.registry import PROPERTIES
from dlkit.review.property_test import check_property, property_function


def without_scale(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    return attention_weights_reference(q * math.sqrt(q.shape[-1]), k, mask)


def sigmoid_scores(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    return (q @ k.transpose(-2, -1)).sigmoid()


def forgetful(model: GPT, tokens: Tensor) -> Tensor:
    """A cache that holds nothing."""
    return torch.cat([model(tokens[:, [t]]) for t in range(tokens.shape[1])], 1)


def recomputed(model: GPT, tokens: Tensor) -> Tensor:
    """The whole text for each token."""
    return torch.cat([model(tokens[:, : t + 1], last=True) for t in range(tokens.shape[1])], 1)


def bare_norm(parameters: Any, strength: float) -> Tensor:
    return strength * torch.cat([parameter.flatten() for parameter in parameters]).norm()


def doubled(parameters: Any, strength: float) -> Tensor:
    return strength * sum(parameter.square().sum() for parameter in parameters)


class NeverOff(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.p, training=True)


class OutsideRoot(nn.Module):
    """Epsilon beside the root, as printed."""

    def __init__(self, features: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.std(0, correction=0) + 1e-5)


class SquaredNumerator(torch.optim.Optimizer):
    """AdaGrad as printed."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.total = 0.0

    def step(self, closure: Any = None) -> None:
        (theta,) = self.param_groups[0]["params"]
        self.total = self.total + theta.grad**2
        theta.data -= self.param_groups[0]["lr"] * theta.grad**2 / (self.total**0.5 + 1e-8)


class FedBack(torch.optim.Optimizer):
    """Adam as printed, with its corrected averages fed back."""

    def __init__(self, params: Any, lr: float, eps: float) -> None:
        super().__init__(params, {"lr": lr})
        self.v = self.s = 0.0
        self.t = 0

    def step(self, closure: Any = None) -> None:
        (theta,) = self.param_groups[0]["params"]
        self.t += 1
        self.v = (0.9 * self.v + 0.1 * theta.grad) / (1 - 0.9**self.t)
        self.s = (0.999 * self.s + 0.001 * theta.grad**2) / (1 - 0.999**self.t)
        theta.data -= self.param_groups[0]["lr"] * self.v / self.s**0.5


class ScalarDecay(torch.optim.Optimizer):
    """AdamW as printed, which takes the squared norm off."""

    def __init__(self, params: Any, lr: float, weight_decay: float) -> None:
        super().__init__(params, {"decay": weight_decay})

    def step(self, closure: Any = None) -> None:
        (theta,) = self.param_groups[0]["params"]
        theta.data -= self.param_groups[0]["decay"] * theta.data.square().sum()


def without_momentum(params: Any, lr: float, momentum: float) -> torch.optim.Optimizer:
    return SGD(params, lr=lr)


def plain_sgd(params: Any, lr: float, **_: Any) -> torch.optim.Optimizer:
    return SGD(params, lr=lr)


def with_eps(optimizer: Any, eps: float) -> Callable[..., torch.optim.Optimizer]:
    def make(params: Any, **options: Any) -> torch.optim.Optimizer:
        return optimizer(params, **{**options, "eps": eps})

    return make


def rmsprop_without_betas(params: Any, lr: float, betas: Any = None, eps: float = 0.0) -> torch.optim.Optimizer:
    return RMSprop(params, lr=lr, alpha=0.9, eps=eps)


def unmasked_dropout(x: Tensor, kept: Tensor, p: float) -> Tensor:
    return x * kept


SABOTAGED: dict[str, Any] = {
    "residual-off": lambda: basic_block(8, 8, norm="none", residual=False),
    "transformer-block-off": lambda: TransformerBlock(8, 2, 16, causal=False, norm_first=False),
    "convnext-block-off": lambda: nn.Sequential(ConvNeXtBlock(8), nn.Conv2d(8, 8, 1)),
    "standardized-inputs": lambda x: x,
    "batch-norm-standardizes": LayerNorm,
    "batch-norm-running": lambda features: BatchNorm(features, momentum=0.5),
    "layer-norm-standardizes": BatchNorm,
    "layer-norm-batch": BatchNorm,
    "dropout-expectation": unmasked_dropout,
    "dropout-evaluation": NeverOff,
    "sigmoid-step": lambda x: (x / 4 + 0.5).clamp(-1, 2),
    "sigmoid-gradients": nn.ReLU(),
    "relu-gate": nn.LeakyReLU(),
    "gelu-cdf": lambda x: nn.functional.gelu(x, approximate="tanh"),
    "softmax-distribution": torch.sigmoid,
    "softmax-sigmoid": lambda x: (2 * x).softmax(-1),
    "softmax-shift": lambda x: x.abs() / x.abs().sum(-1, keepdim=True),
    "mlp-approximates": "sigmoid",
    "linear-collapse": None,  # see below: a network with a non-linearity
    "convolution-equivariant": DenseImages,
    "convolution-weights": DenseImages,
    "attention-rows": sigmoid_scores,
    "attention-permutation": lambda: MultiHeadAttention(8, 2, causal=True),
    "attention-scale": without_scale,
    "gpt-causal": small_bert,
    "bert-bidirectional": small_gpt,
    "cache-equal": forgetful,
    "cache-linear": recomputed,
    "likelier-shorter": lambda p: huffman_lengths([1 - x for x in p]),
    "code-entropy": lambda p: [1.0] * len(p),
    "log-loss-length": lambda p: [2 * bits for bits in range_lengths(p)],
    "bernoulli-entropy": lambda p: shannon_entropy(p, math.e),
    "uniform-entropy": lambda p: (p**2).sum(-1),
    "cross-entropy-asymmetric": lambda p, q: (cross_entropy(p, q) + cross_entropy(q, p)) / 2,
    "cross-entropy-infinite": lambda p, q: cross_entropy(p, q + 1e-9),
    "kl-difference": lambda p, q: np.abs(p - q).sum(-1),
    "l2-prior": doubled,
    "l2-decay": bare_norm,
    "l2-shrinks": lambda parameters, strength: doubled(parameters, 0.1),
    "minibatch-noise": lambda gradients, size: batch_means(gradients, max(1, size // 2)),
    "momentum-ravine": without_momentum,
    "momentum-saddle": without_momentum,
    "momentum-noise": without_momentum,
    "adagrad-slows": lambda params, lr, eps: RMSprop(params, lr=lr, alpha=0.9, eps=eps),
    "rmsprop-pace": lambda params, lr, alpha, eps: Adagrad(params, lr=lr, eps=eps),
    "adaptive-scale": plain_sgd,
    "adam-rmsprop": rmsprop_without_betas,
    "bias-correction": rmsprop_without_betas,
    "adamw-not-l2": Adam,
    "sgd-decay-is-l2": AdamW,
    "linear-schedule": schedules.cosine,
    "cosine-schedule": schedules.linear,
    "errata-dropout": printed_dropout,
    "errata-batch-norm": OutsideRoot,
    "errata-adagrad": SquaredNumerator,
    "errata-adam": FedBack,
    "errata-adamw": ScalarDecay,
    "errata-l2": bare_norm,
    "errata-code": lambda p: ["0", "1", "00"],
}  # fmt: skip


def in_its_place(name: str) -> Any:
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)) if name == "linear-collapse" else SABOTAGED[name]


def test_all_are_there() -> None:
    assert SABOTAGED.keys() == PROPERTIES.keys()


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_holds(name: str) -> None:
    assert check_property(PropertyTest(name, 2, 1e-10)).verdict == "supported"


@pytest.mark.parametrize("name", PROPERTIES)
def test_something_else_in_its_place_contradicts_it(name: str) -> None:
    function = property_function(name)
    sabotaged = check_property(PropertyTest(name, 1, 1e-10), lambda: function(in_its_place(name)))
    assert sabotaged.verdict == "contradicted", sabotaged


NOT_A_NUMBER: dict[str, Any] = {
    **dict.fromkeys(
        ("sigmoid-step", "sigmoid-gradients", "relu-gate", "gelu-cdf", "softmax-distribution", "softmax-sigmoid",
         "softmax-shift"),
        lambda x: x * math.nan,
    ),
    **dict.fromkeys(
        ("bernoulli-entropy", "uniform-entropy", "cross-entropy-asymmetric", "kl-difference"),
        lambda p, *_: p.sum(-1) * math.nan,
    ),
    **dict.fromkeys(("likelier-shorter", "code-entropy", "log-loss-length"), lambda p: [math.nan] * len(p)),
    **dict.fromkeys(("linear-schedule", "cosine-schedule"), lambda step, steps: math.nan),
    **dict.fromkeys(
        ("l2-prior", "l2-decay", "l2-shrinks", "errata-l2"),
        lambda parameters, strength: l2_penalty(parameters, math.nan),
    ),
    "errata-adagrad": lambda params, lr: SquaredNumerator(params, math.nan),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_A_NUMBER)
def test_what_is_not_a_number_is_no_support(name: str) -> None:
    found = check_property(PropertyTest(name, 2, 1e-10), lambda: property_function(name)(NOT_A_NUMBER[name]))
    assert found.verdict == "contradicted", found


def test_a_draw_that_is_not_a_number_is_no_support() -> None:
    """Nor where it comes behind draws for which the property holds."""
    drawn = iter([0.0, math.nan, 0.0])
    assert check_property(PropertyTest("gelu-cdf", 3, 1e-10), lambda: Deviation(next(drawn))).verdict == "contradicted"


def test_torch_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    check_property(PropertyTest("layer-norm-batch", 2, 1e-10))
    assert torch.get_default_dtype() is torch.float32
    assert torch.equal(torch.rand(2), expected)
