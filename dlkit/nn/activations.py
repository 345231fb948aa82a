"""Non-linearities, applied element by element, and softmax. Each `*_reference` is the equation, written out."""

from __future__ import annotations

import inspect
import math
from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit import user_code
from dlkit.annotations import NameOr, Pattern
from dlkit.catalog import ACTIVATIONS, import_object
from dlkit.contracts import CONTRACTS
from dlkit.errors import RequestError

Activation = Annotated[str, NameOr(tuple(ACTIVATIONS), Pattern(user_code.PATTERN, (CONTRACTS["activation"].example,)))]


def sigmoid_reference(x: Tensor) -> Tensor:
    # sigma(x) = 1 / (1 + e^-x) = e^-log(1 + e^-x), in which neither the value nor the gradient overflows
    return (-torch.logaddexp(torch.zeros_like(x), -x)).exp()


def tanh_reference(x: Tensor) -> Tensor:
    # tanh(x) = (e^x - e^-x) / (e^x + e^-x) = (e^2x - 1) / (e^2x + 1); in float64 it is 1 or -1 long before |x| = 20
    excess = torch.expm1(2 * x.clamp(-20, 20))
    return excess / (excess + 2)


def relu_reference(x: Tensor) -> Tensor:
    # relu(x) = max(x, 0), with slope 0 at 0
    return torch.where(x <= 0, 0.0, x)


def gelu_reference(x: Tensor) -> Tensor:
    # gelu(x) = x Phi(x), with Phi(x) = P(X <= x), X ~ N(0, 1): Phi(x) = (1 + erf(x / sqrt 2)) / 2
    return x * ((1 + (x / math.sqrt(2)).erf()) / 2)


def gelu_tanh_reference(x: Tensor) -> Tensor:
    # gelu(x) ~ x/2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
    return x / 2 * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())


def silu_reference(x: Tensor) -> Tensor:
    # silu(x) = x sigma(x)
    return x * sigmoid_reference(x)


def mish_reference(x: Tensor) -> Tensor:
    # mish(x) = x tanh(softplus(x)), with softplus(x) = log(1 + e^x)
    return x * torch.logaddexp(torch.zeros_like(x), x).tanh()


def relu_squared_reference(x: Tensor) -> Tensor:
    # relu(x)^2 = x max(x, 0)
    return torch.where(x <= 0, 0.0, x * x)


def softmax_reference(x: Tensor, dim: int = -1) -> Tensor:
    # softmax(x)_i = e^(x_i - m) / sum_j e^(x_j - m). Any m gives the same value; m = max_j x_j cannot overflow.
    exponentials = (x - x.amax(dim, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim, keepdim=True)


class Sigmoid(nn.Module):
    """sigma(x) = 1 / (1 + e^-x), in (0, 1). Any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid()


class Tanh(nn.Module):
    """tanh(x), in (-1, 1). Any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x.tanh()


class ReLU(nn.Module):
    """max(x, 0). Any shape. Nair & Hinton 2010.

    Args:
        inplace: overwrite x, which saves memory and time; nothing else may use x.
    """

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x, inplace=self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class GELU(nn.Module):
    """x Phi(x), Phi being the distribution function of N(0, 1). Any shape. Hendrycks & Gimpel, arXiv:1606.08415.

    Args:
        approximate: "none" is exact; "tanh" is the paper's approximation, which GPT-2 uses.
    """

    def __init__(self, *, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


gelu_tanh = partial(GELU, approximate="tanh")


class SiLU(nn.Module):
    """x sigma(x). Any shape. Hendrycks & Gimpel, arXiv:1606.08415; "swish" in Ramachandran et al., arXiv:1710.05941."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Mish(nn.Module):
    """x tanh(log(1 + e^x)). Any shape. Misra 2019, arXiv:1908.08681."""

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(x)


class SquaredReLU(nn.Module):
    """max(x, 0)^2. Any shape. So et al. 2021, arXiv:2109.08668, for the MLPs of transformers."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


class Softmax(nn.Module):
    """Softmax over the last dimension: positive values that sum to one. At least one dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(-1)


def activation_layer(name: Activation, *, inplace: bool = False) -> nn.Module:
    """The activation of this name, from the catalog or the user's code. Raises RequestError if there is none.

    `inplace` lets it overwrite its input if it can (`relu`, whose gradient does not need the input). Use it only after
    a linear layer, a convolution, a norm or a sum, none of which saves its output for the backward pass.
    """
    if user_code.is_reference(name):
        return import_object(name)()
    if name not in ACTIVATIONS:
        raise RequestError(f"no activation {name!r}", f"choose one of {', '.join(ACTIVATIONS)}, or FILE.py:NAME")
    kind = import_object(ACTIVATIONS[name].target)
    return kind(inplace=True) if inplace and "inplace" in inspect.signature(kind).parameters else kind()
