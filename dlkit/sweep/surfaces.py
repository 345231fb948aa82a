"""Functions of two numbers, on which the path of an optimizer can be seen.

Each is a function of x and y that works on numbers, arrays and tensors alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dlkit.errors import RequestError


@dataclass(frozen=True)
class Surface:
    """A function to be minimised.

    Args:
        function: (x, y) -> value.
        minima: the global minima; empty if it is unbounded below.
        start: the default starting point.
        window: (left, right, bottom, top) of its figure.
        help: one line.
    """

    function: Callable[[Any, Any], Any]
    minima: tuple[tuple[float, float], ...]
    start: tuple[float, float]
    window: tuple[float, float, float, float]
    help: str

    def distance(self, x: float, y: float) -> float:
        """Distance to the nearest minimum; NaN if there is none."""
        return min((math.hypot(x - a, y - b) for a, b in self.minima), default=math.nan)


def rosenbrock(x: Any, y: Any) -> Any:
    """A curved valley, minimum 0 at (1, 1). Rosenbrock 1960."""
    # f(x, y) = (1 - x)^2 + 100 (y - x^2)^2
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def beale(x: Any, y: Any) -> Any:
    """Steep walls around a flat middle, minimum 0 at (3, 0.5). Beale 1958."""
    # f(x, y) = (1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def himmelblau(x: Any, y: Any) -> Any:
    """Four minima of 0. Himmelblau 1972."""
    # f(x, y) = (x^2 + y - 11)^2 + (x + y^2 - 7)^2
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def rastrigin(x: Any, y: Any) -> Any:
    """A bowl with a grid of local minima, minimum 0 at (0, 0). Rastrigin 1974."""
    # f(x, y) = 20 + x^2 - 10 cos(2 pi x) + y^2 - 10 cos(2 pi y)
    return 20 + x**2 - 10 * _cos(2 * math.pi * x) + y**2 - 10 * _cos(2 * math.pi * y)


def saddle(x: Any, y: Any) -> Any:
    """A saddle point at (0, 0), unbounded below."""
    # f(x, y) = x^2 - y^2
    return x**2 - y**2


def quadratic(condition: float) -> Callable[[Any, Any], Any]:
    """A quadratic bowl whose Hessian has the eigenvalues 1 and `condition`."""

    def function(x: Any, y: Any) -> Any:
        # f(x, y) = (x^2 + kappa y^2) / 2
        return (x**2 + condition * y**2) / 2

    return function


def _cos(value: Any) -> Any:
    if hasattr(value, "cos"):  # a tensor
        return value.cos()
    import numpy as np

    return np.cos(value)


HIMMELBLAU_MINIMA = ((3.0, 2.0), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126))

SURFACES: dict[str, Surface] = {
    "rosenbrock": Surface(rosenbrock, ((1.0, 1.0),), (-1.2, 1.0), (-2, 2, -1, 3), "a curved valley"),
    "beale": Surface(beale, ((3.0, 0.5),), (1.0, 1.5), (-1, 4.5, -2, 2), "flat, with steep walls"),
    "himmelblau": Surface(himmelblau, HIMMELBLAU_MINIMA, (0.0, -1.0), (-5, 5, -5, 5), "four equal minima"),
    "rastrigin": Surface(rastrigin, ((0.0, 0.0),), (2.4, 1.7), (-3, 3, -3, 3), "a minimum in each unit square"),
    "ravine": Surface(
        quadratic(50.0), ((0.0, 0.0),), (-9.0, 1.0), (-10, 4, -2, 2), "50 times as steep across as along"
    ),
    "saddle": Surface(saddle, (), (1.0, 1e-3), (-1.5, 1.5, -3, 3), "down without end on both sides of a pass"),
}


def find_surface(name: str) -> Surface | None:
    """The surface of this name, which may be `quadratic:CONDITION`, or None. Raises RequestError for a bad one."""
    kind, colon, text = name.partition(":")
    if kind != "quadratic" or not colon:
        return SURFACES.get(name)
    try:
        condition = float(text)
    except ValueError:
        condition = math.nan
    if not 1 <= condition < math.inf:
        raise RequestError(f"{name}: the condition number must be at least 1", "write quadratic:1000")
    return Surface(quadratic(condition), ((0.0, 0.0),), (1.0, 1.0), (-1.2, 1.2, -1.2, 1.2), "a bowl")
