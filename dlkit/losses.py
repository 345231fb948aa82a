"""Losses and information measures of logits. Natural logarithms throughout: the unit is the nat.

Shapes: N examples, K classes, logits (N, K); p = softmax(logits).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dlkit.annotations import NonNegative, Positive, Rate
from dlkit.distributed.sharded_penalty import sharded_penalty
from dlkit.distributed.tensor_parts import is_divided
from dlkit.errors import DlkitError, RequestError
from dlkit.kernels.linear_cross_entropy import linear_cross_entropy


def l2_penalty(parameters: Iterable[Tensor], l2: float) -> Tensor:
    """lambda/2 ||theta||^2 as a scalar, lambda = l2. Its gradient, lambda theta, is weight decay (Krogh & Hertz 1991).

    The norm is squared: the gradient of lambda ||theta|| would keep its length however small theta gets.
    """
    tensors = list(parameters)
    if sharded := [tensor for tensor in tensors if is_divided(tensor)]:
        penalty = sharded_penalty(sharded, l2)
        whole = [tensor for tensor in tensors if not is_divided(tensor)]
        return penalty + l2_penalty(whole, l2) if whole else penalty
    if tensors[0].device.type == "cuda" and not (torch.compiler.is_compiling() or _maps()):
        return _Penalty.apply(l2, *tensors)  # pyright: ignore[reportReturnType]
    # lambda/2 sum_i theta_i^2
    return l2 / 2 * torch.stack([tensor.square().sum() for tensor in tensors]).sum()


class _Penalty(torch.autograd.Function):
    """The penalty, with as many kernel launches for one tensor as for many."""

    @staticmethod
    def forward(ctx: Any, l2: float, *tensors: Tensor) -> Tensor:
        ctx.l2 = l2
        ctx.save_for_backward(*tensors)
        # lambda/2 sum_i ||theta_i||^2
        return l2 / 2 * torch.stack(torch._foreach_norm(tensors)).square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        # d/d theta = lambda theta
        return None, *torch._foreach_mul(ctx.saved_tensors, dy * ctx.l2)


def _maps() -> bool:
    """Whether vmap is active, as it is while a stack of runs is trained."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]


def entropy_of_logits(logits: Tensor) -> Tensor:
    """H(p) of each row: (..., K) to (...), in nats, from 0 to log K. A logit of -inf is a class that cannot occur."""
    log_p = logits.log_softmax(-1)
    p = log_p.exp()
    # H(p) = -sum_k p_k log p_k, where 0 log 0 = 0
    return -(p * log_p.masked_fill(p == 0, 0.0)).sum(-1)


def kl_divergence_of_logits(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """D(p || q) of each row: two (..., K) to (...), in nats; inf where p has a class that q excludes."""
    log_p, log_q = p_logits.log_softmax(-1), q_logits.log_softmax(-1)
    p = log_p.exp()
    # D(p || q) = sum_k p_k (log p_k - log q_k) = H(p, q) - H(p), where 0 log 0 = 0
    return (p * (log_p - log_q).masked_fill(p == 0, 0.0)).sum(-1)


class CrossEntropy(nn.Module):
    """Mean cross-entropy of logits (N, K) and targets (N,) int64, in nats, plus lambda/2 ||theta||^2 if l2 is set.

        H(q, p) = -sum_k q_k log p_k,  q_k = (1 - epsilon) [k = target] + epsilon / K,  epsilon = label_smoothing

    With class weights w, the loss is mean_n w_(y_n) H(q_n, p_n): an example of class k counts as w_k examples.

    Args:
        label_smoothing: the share of each label that is spread evenly over all classes (Szegedy et al. 2015).
        l2: lambda of the penalty lambda/2 ||theta||^2; under plain gradient descent it is weight decay.
        class_weights: a weight for each class, in the order of the class names; or balanced, as in scikit-learn:
            N / (K N_k) for a class with N_k of N training examples. Used in training only: evaluation is unweighted.

    Raises:
        RequestError: label_smoothing is not in [0, 1), or l2 is negative.
    """

    def __init__(
        self,
        *,
        label_smoothing: Rate = 0.0,
        l2: NonNegative = 0.0,
        class_weights: Literal["balanced"] | tuple[NonNegative, ...] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise RequestError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        if not l2 >= 0:
            raise RequestError(f"l2 must not be negative, got {l2}")
        self.label_smoothing = label_smoothing
        self.l2 = l2
        self.class_weights = class_weights
        self._weights: Tensor | None = None  # (K,)

    def weigh(self, counts: Mapping[str, int] | None) -> None:
        """Set the class weights from the number of training examples of each class.

        Raises RequestError if there are no classes, or if there are more or fewer classes than weights.
        """
        if counts is None:
            raise RequestError("loss.class_weights is set, and the data has no classes", "~loss.class_weights")
        if self.class_weights == "balanced":
            here, total = sum(map(bool, counts.values())), sum(counts.values())
            # w_k = N / (K N_k); the weight of a class without examples is never used
            self._weights = torch.tensor([total / (here * count) if count else 1.0 for count in counts.values()])
        elif self.class_weights is not None:
            if len(self.class_weights) != len(counts):
                raise RequestError(
                    f"loss.class_weights has {len(self.class_weights)} weights for {len(counts)} classes",
                    f"one for each, in this order: {', '.join(counts)[:300]}",
                )
            self._weights = torch.tensor(self.class_weights, dtype=torch.float32)

    def forward(self, logits: Tensor, targets: Tensor, parameters: Iterable[Tensor] | None = None) -> Tensor:
        """The loss, a scalar. Raises DlkitError if l2 is set and no parameters are given."""
        if self._weights is None:
            return self.penalized(F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing), parameters)
        if self._weights.device != logits.device:  # once: a copy in every step would wait for the device
            self._weights = self._weights.to(logits.device)
        each = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="none")  # (N,)
        # mean_n w_(y_n) H(q_n, p_n)
        return self.penalized((self._weights.index_select(0, targets) * each).mean(), parameters)

    def of_linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        """The cross-entropy of the logits x W^T + b, computed in chunks of rows: see `linear_cross_entropy`."""
        return linear_cross_entropy(x, weight, bias, targets, label_smoothing=self.label_smoothing)

    def penalized(self, loss: Tensor, parameters: Iterable[Tensor] | None) -> Tensor:
        """The loss and the penalty, if there is one."""
        if not self.l2:
            return loss
        if parameters is None:
            raise DlkitError(f"l2 = {self.l2} needs the parameters that it penalizes", "pass model.parameters()")
        return loss + l2_penalty(parameters, self.l2)

    def extra_repr(self) -> str:
        return f"label_smoothing={self.label_smoothing}, l2={self.l2}"


class SquaredError(nn.Module):
    """Mean squared error of outputs (N, 1) and targets (N,).

    Up to a constant it is the negative log-likelihood of Gaussian noise: -ln N(y; f, 1/2) = (y - f)^2 + const, in nats.
    """

    def forward(self, outputs: Tensor, targets: Tensor, _: Iterable[Tensor] | None = None) -> Tensor:
        """The loss, a scalar."""
        # mean_n (f_n - y_n)^2
        return F.mse_loss(outputs[:, 0], targets)


class AbsoluteError(nn.Module):
    """Mean absolute error of outputs (N, 1) and targets (N,). The median minimises it, so it is robust to outliers."""

    def forward(self, outputs: Tensor, targets: Tensor, _: Iterable[Tensor] | None = None) -> Tensor:
        """The loss, a scalar."""
        # mean_n |f_n - y_n|
        return F.l1_loss(outputs[:, 0], targets)


class HuberLoss(nn.Module):
    """Huber loss of outputs (N, 1) and targets (N,): quadratic for small errors and linear for large ones.

    Huber 1964, doi:10.1214/aoms/1177703732. The targets of a table are standardised: delta is in standard deviations.

    Args:
        delta: the error at which the loss changes from quadratic to linear.
    """

    def __init__(self, *, delta: Positive = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, outputs: Tensor, targets: Tensor, _: Iterable[Tensor] | None = None) -> Tensor:
        """The loss, a scalar."""
        # mean_n h(f_n - y_n), h(e) = e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2)
        return F.huber_loss(outputs[:, 0], targets, delta=self.delta)
