"""Known truths about optimizers on surfaces, in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dlkit.app.descent import descend
from dlkit.errors import RequestError
from dlkit.sweep import surfaces
from dlkit.sweep.trials import Trial

KAPPA = 1000.0


@pytest.mark.parametrize("name", surfaces.SURFACES)
def test_minima_are_minima(name: str) -> None:
    surface = surfaces.SURFACES[name]
    for x, y in surface.minima:
        at = torch.tensor([x, y], dtype=torch.float64, requires_grad=True)
        surface.function(at[0], at[1]).backward()
        assert at.grad is not None
        assert at.grad.norm() < 2e-4
        assert float(surface.function(x, y)) == pytest.approx(0, abs=1e-9)
        assert surface.distance(x, y) == 0
        around = np.random.default_rng(0).normal(0, 0.05, (200, 2)) + np.array([x, y])
        assert (surface.function(around[:, 0], around[:, 1]) >= -1e-9).all()


def rate(values: list[float]) -> float:
    """Contraction a step, over the second half."""
    half = len(values) // 2
    return (values[-1] / values[half]) ** (1 / (len(values) - 1 - half))


def test_gradient_descent_contracts_as_theory_says() -> None:
    surface = surfaces.find_surface("quadratic:1000")
    assert surface is not None
    lr = 2 / (1 + KAPPA)
    outcome = descend(surface, Trial("sgd", lr, 0), (1.0, 1.0), 400)
    measured = rate([metrics["distance"] for _, metrics in outcome.curve])
    # (kappa - 1) / (kappa + 1) a step
    assert math.log(measured) == pytest.approx(math.log((KAPPA - 1) / (KAPPA + 1)), rel=0.02)


def test_momentum_contracts_as_theory_says_and_beats_gradient_descent() -> None:
    root = math.sqrt(KAPPA)
    # lr = (2 / (1 + sqrt kappa))^2, rho = ((sqrt kappa - 1) / (sqrt kappa + 1))^2 (Polyak 1964)
    lr, momentum = (2 / (1 + root)) ** 2, ((root - 1) / (root + 1)) ** 2
    surface = surfaces.find_surface("quadratic:1000")
    assert surface is not None
    outcome = descend(surface, Trial("momentum", lr, 0, (("momentum", momentum),)), (1.0, 1.0), 599)
    distances = [metrics["distance"] for _, metrics in outcome.curve]
    # (sqrt kappa - 1) / (sqrt kappa + 1) a step, times a factor that grows linearly: (1 + 1/t) at step t
    expected = (root - 1) / (root + 1) * (599 / 300) ** (1 / 299)
    assert math.log(rate(distances)) == pytest.approx(math.log(expected), rel=0.02)
    assert rate(distances) < (KAPPA - 1) / (KAPPA + 1)


def test_gradient_descent_beyond_its_limit_is_reported_as_diverged() -> None:
    surface = surfaces.find_surface("quadratic:1000")
    assert surface is not None
    beyond = descend(surface, Trial("sgd", 2.02 / KAPPA, 0), (1.0, 1.0), 40_000)
    assert beyond.diverged
    assert math.isnan(beyond.loss)
    assert beyond.metrics == {}
    assert beyond.steps < 40_000
    below = descend(surface, Trial("sgd", 1.98 / KAPPA, 0), (1.0, 1.0), 1000)
    assert not below.diverged
    assert below.metrics["distance"] < 1


def test_adagrad_and_adam_step_as_their_rules_say() -> None:
    slope = surfaces.Surface(lambda x, y: 3 * x + 0 * y, (), (0.0, 0.0), (-1, 1, -1, 1), "a plane")
    adagrad = descend(slope, Trial("adagrad", 0.1, 0), (0.0, 0.0), 100)
    x = [metrics["x"] for _, metrics in adagrad.curve]
    np.testing.assert_allclose(-np.diff(x), 0.1 / np.sqrt(np.arange(1, 101)), rtol=1e-6)
    adam = descend(slope, Trial("adam", 0.1, 0), (0.0, 0.0), 1)
    assert adam.curve[1][1]["x"] == pytest.approx(-0.1, rel=1e-6)


@pytest.mark.parametrize(("given", "betas"), [("beta1", (0.6, 0.95)), ("beta2", (0.9, 0.6))])
def test_an_option_that_is_not_searched_keeps_its_optimizers_default(given: str, betas: tuple[float, float]) -> None:
    """Muon's other beta, which is not Adam's: on a surface it goes by AdamW."""
    surface = surfaces.find_surface("ravine")
    assert surface is not None
    outcome = descend(surface, Trial("muon", 0.1, 0, ((given, 0.6),)), (-9.0, 1.0), 50)
    theta = torch.tensor([-9.0, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.AdamW([theta], lr=0.1, betas=betas, eps=1e-7, weight_decay=0.0)
    for _ in range(50):
        optimizer.zero_grad()
        surface.function(theta[0], theta[1]).backward()
        optimizer.step()
    assert (outcome.metrics["x"], outcome.metrics["y"]) == pytest.approx(theta.tolist(), rel=1e-9)


def test_the_condition_of_a_quadratic() -> None:
    assert surfaces.find_surface("quadratic") is None
    assert surfaces.find_surface("digits-mlp") is None
    for text in ("quadratic:x", "quadratic:0.5", "quadratic:inf", "quadratic:"):
        with pytest.raises(RequestError, match="the condition number must be at least 1"):
            surfaces.find_surface(text)


def test_a_descent_ends_when_it_is_asked_to() -> None:
    surface = surfaces.find_surface("ravine")
    assert surface is not None
    asked = iter([False, False, True])
    assert descend(surface, Trial("sgd", 0.1, 0), (1.0, 1.0), 2**31 - 1, lambda: next(asked)) is None
