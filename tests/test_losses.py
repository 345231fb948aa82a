from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, softmax
from scipy.stats import entropy as scipy_entropy
from torch import Tensor

from dlkit.errors import DlkitError, RequestError
from dlkit.losses import (
    CrossEntropy,
    entropy_of_logits,
    kl_divergence_of_logits,
    l2_penalty,
)


def log_softmax_reference(logits: Tensor) -> Tensor:
    # log p_i = x_i - m - log sum_j e^(x_j - m), with m = max_j x_j so that nothing overflows
    shifted = logits - logits.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def cross_entropy_reference(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of smoothed labels, averaged over N. Szegedy et al., arXiv:1512.00567, section 7."""
    classes = logits.shape[-1]
    # q_k = (1 - epsilon) [k = target] + epsilon / K
    q = (1 - label_smoothing) * F.one_hot(targets, classes).to(logits) + label_smoothing / classes  # (N, K)
    # H(q, p) = -sum_k q_k log p_k, where 0 log 0 = 0
    return -(q * log_softmax_reference(logits).masked_fill(q == 0, 0.0)).sum(-1).mean()


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return (4 * torch.randn(9, 5, dtype=torch.float64)).requires_grad_(), torch.randint(0, 5, (9,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_equals_torch_and_the_equation(batch, smoothing):
    logits, targets = batch
    loss = CrossEntropy(label_smoothing=smoothing)(logits, targets)
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = F.cross_entropy(logits, targets, label_smoothing=smoothing)
    reference = cross_entropy_reference(logits, targets, label_smoothing=smoothing)
    for other in (expected, reference):
        torch.testing.assert_close(loss, other, rtol=1e-13, atol=0)
        torch.testing.assert_close(gradient, torch.autograd.grad(other, logits)[0], rtol=1e-11, atol=1e-14)
    # The gradient by hand: (softmax(x) - q) / N, q being the smoothed labels.
    q = (1 - smoothing) * F.one_hot(targets, 5).double() + smoothing / 5
    torch.testing.assert_close(gradient, (logits.softmax(-1) - q) / 9, rtol=1e-11, atol=1e-14)


def test_cross_entropy_equals_scipy_without_overflow():
    x = np.array([[1e4, 0.0, -1e4], [0.1, 0.2, 0.3]])
    logits = torch.tensor(x)
    np.testing.assert_allclose(log_softmax_reference(logits).numpy(), log_softmax(x, axis=-1), rtol=1e-14)
    expected = -(log_softmax(x, axis=-1)[0, 1] + log_softmax(x, axis=-1)[1, 2]) / 2
    targets = torch.tensor([1, 2])
    assert CrossEntropy()(logits, targets).item() == pytest.approx(expected, rel=1e-14)
    assert cross_entropy_reference(logits, targets).item() == pytest.approx(expected, rel=1e-14)


def test_uniform_logits_cost_log_k_nats():
    loss = CrossEntropy(label_smoothing=0.3)(torch.zeros(4, 10, dtype=torch.float64), torch.arange(4))
    assert loss.item() == pytest.approx(math.log(10), rel=1e-14)


def test_l2_is_half_lambda_times_the_squared_norm_and_its_gradient_is_weight_decay(batch):
    logits, targets = batch
    theta = [torch.randn(3, 2, dtype=torch.float64), torch.randn(4, dtype=torch.float64), torch.zeros(2).double()]
    for parameter in theta:
        parameter.requires_grad_()
    loss = CrossEntropy(l2=0.02)(logits, targets, (parameter for parameter in theta))  # as model.parameters()
    norm = torch.cat([parameter.detach().flatten() for parameter in theta]).norm()
    penalty = loss - F.cross_entropy(logits, targets)
    assert penalty.item() == pytest.approx(0.01 * norm.item() ** 2, rel=1e-12)
    assert penalty.item() != pytest.approx(0.02 * norm.item(), rel=0.1)  # that of the norm, not squared
    gradients = torch.autograd.grad(loss, theta)
    torch.testing.assert_close(gradients, tuple(0.02 * parameter for parameter in theta), rtol=1e-13, atol=0)


def test_descent_on_the_penalty_is_sgd_with_weight_decay():
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 3, dtype=torch.float64), torch.randint(0, 3, (6,))
    start = torch.randn(3, 3, dtype=torch.float64)
    ends = []
    for l2, weight_decay in ((0.3, 0.0), (0.0, 0.3)):
        weight = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([weight], lr=0.5, weight_decay=weight_decay)
        loss = CrossEntropy(l2=l2)
        for _ in range(5):
            optimizer.zero_grad()
            loss(logits @ weight, targets, [weight]).backward()
            optimizer.step()
        ends.append(weight.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-13, atol=1e-14)
    assert not torch.allclose(ends[0], start)


def test_l2_without_parameters_is_an_error_not_a_smaller_loss(batch):
    with pytest.raises(DlkitError, match=r"l2 = 0\.5"):
        CrossEntropy(l2=0.5)(*batch)


@pytest.mark.parametrize(
    "settings", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"l2": -1.0}, {"l2": float("nan")}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(RequestError, match=str(next(iter(settings.values())))):
        CrossEntropy(**settings)


def test_entropy_and_divergence_equal_scipy():
    torch.manual_seed(0)
    p, q = 3 * torch.randn(2, 6, 7, dtype=torch.float64)
    p_probs, q_probs = softmax(p.numpy(), axis=-1), softmax(q.numpy(), axis=-1)
    np.testing.assert_allclose(entropy_of_logits(p).numpy(), scipy_entropy(p_probs, axis=-1), rtol=1e-12)
    expected = scipy_entropy(p_probs, q_probs, axis=-1)
    np.testing.assert_allclose(kl_divergence_of_logits(p, q).numpy(), expected, rtol=1e-12)
    # D(p || q) = H(p, q) - H(p)
    cross = F.cross_entropy(q, p.softmax(-1), reduction="none")
    torch.testing.assert_close(kl_divergence_of_logits(p, q), cross - entropy_of_logits(p), rtol=1e-12, atol=1e-13)


def test_impossible_classes_have_a_value_and_a_gradient():
    inf = math.inf
    p = torch.tensor([[0.0, 0.0, -inf]], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([[0.0, 1.0, -inf]], dtype=torch.float64)
    assert entropy_of_logits(p).item() == pytest.approx(math.log(2), rel=1e-14)
    expected = math.log(0.5) - (math.log(1 / (1 + math.e)) + math.log(math.e / (1 + math.e))) / 2
    assert kl_divergence_of_logits(p, q).item() == pytest.approx(expected, rel=1e-14)
    (gradient,) = torch.autograd.grad(entropy_of_logits(p).sum() + kl_divergence_of_logits(p, q).sum(), p)
    assert gradient.isfinite().all()
    assert kl_divergence_of_logits(torch.zeros(1, 3, dtype=torch.float64), q).item() == inf


def test_l2_penalty_of_one_tensor():
    assert l2_penalty([torch.tensor([3.0, 4.0])], 2.0).item() == 25.0


def test_a_class_that_cannot_occur_costs_nothing_where_it_is_not_the_target() -> None:
    logits = torch.tensor([[-math.inf, 0.0, 1.0], [1e308, 1.0, -1e308], [800.0, -800.0, 0.0]], dtype=torch.float64)
    for targets in ([1, 0, 0], [2, 1, 2], [0, 2, 1]):
        expected = F.cross_entropy(logits, torch.tensor(targets))
        torch.testing.assert_close(cross_entropy_reference(logits, torch.tensor(targets)), expected)


def test_the_penalty_of_many_tensors_at_once_is_the_sum_of_theirs() -> None:
    """On CUDA its launches do not grow with the tensors; the plain formula is torch's own differentiation of it."""
    from dlkit.losses import _Penalty

    torch.manual_seed(0)
    many = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (7,), (2, 3, 3, 3))]
    (3 * _Penalty.apply(0.2, *many)).backward()  # pyright: ignore[reportOptionalMemberAccess]
    expected = [tensor.detach().clone().requires_grad_() for tensor in many]
    value = torch.stack([0.1 * tensor.square().sum() for tensor in expected]).sum()
    (3 * value).backward()
    torch.testing.assert_close(_Penalty.apply(0.2, *many), value)
    for a, b in zip(many, expected, strict=True):
        torch.testing.assert_close(a.grad, b.grad)
