from __future__ import annotations

import pytest
import torch

from dlkit.errors import RequestError
from dlkit.nn.dropout import Dropout, dropout_reference


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_equals_torch_and_the_equation(p):
    x = torch.rand(50, 40, dtype=torch.float64) + 1
    x.requires_grad_()
    torch.manual_seed(1)
    y = Dropout(p)(x)
    torch.manual_seed(1)
    torch.testing.assert_close(y, torch.nn.Dropout(p)(x), rtol=0, atol=0)
    kept = (y != 0).double()
    torch.testing.assert_close(y, dropout_reference(x, kept, p), rtol=1e-14, atol=0)
    # The gradient flows through survivors only, scaled alike.
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, kept / (1 - p), rtol=1e-14, atol=0)


def test_p_is_the_probability_to_drop_not_to_keep():
    # With p as the probability to keep (Srivastava et al. 2014), p = 0.2 would keep a fifth, scaled by 5.
    torch.manual_seed(0)
    y = Dropout(0.2)(torch.ones(100_000, dtype=torch.float64))
    dropped = (y == 0).double().mean().item()
    assert dropped == pytest.approx(0.2, abs=5 * (0.2 * 0.8 / 100_000) ** 0.5)
    assert y.max().item() == pytest.approx(1.25)
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)


def test_evaluation_and_zero_change_nothing():
    x = torch.randn(5, 5)
    assert torch.equal(Dropout(0.9).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_outside_0_to_1_is_refused(p):
    with pytest.raises(RequestError, match=str(p)):
        Dropout(p)
