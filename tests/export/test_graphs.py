"""Graphs of raw inputs, against the same in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dlkit.errors import DlkitError
from dlkit.export.exportable import Exportable
from dlkit.export.graphs import PixelGraph, RowGraph
from dlkit.export.tracing import require_same_answers
from dlkit.models.mlp import MLPClassifier


def linear(features: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return MLPClassifier((features,), 1, hidden=()).eval()


def test_a_regression_answers_in_the_unit_of_its_numbers() -> None:
    """Targets near 1.7e9 keep their units' place, which float32 would lose; so do the features."""
    model = linear(2)
    mean, std = torch.tensor([1.7e9, 0.0]).double(), torch.tensor([2.0, 1.0]).double()
    rows = np.array([[1.7e9 + 1, 0.5], [1.7e9 - 3, -1.0]])
    with torch.no_grad():
        found = RowGraph(model, mean, std, (1.7e9, 10.0))(torch.from_numpy(rows))
    weight, bias = (value.detach().double().numpy() for value in model.parameters())
    expected = 1.7e9 + 10 * (((rows - mean.numpy()) / std.numpy()) @ weight[0] + bias)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy() - 1.7e9, expected - 1.7e9, atol=1e-5)


def test_pixels_are_normalised_inside() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    mean, std = np.array([10.0, 20.0, 30.0]), np.array([2.0, 3.0, 4.0])
    graph = PixelGraph(torch.nn.Identity(), torch.tensor(mean), torch.tensor(std), lambda model, images: model(images))
    expected = (pixels - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(graph(torch.from_numpy(pixels)).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [(1e6, 2.0), (0.0, 1e-6)])
def test_a_wrong_regression_is_found_in_any_unit(scale: tuple[float, float]) -> None:
    """A tenth of a deviation is much, however small it is beside the numbers, or beside 1."""
    mean, std = torch.zeros(2).double(), torch.ones(2).double()
    rows = {"rows": torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).double()}
    graph = RowGraph(linear(2), mean, std, scale).eval()
    exportable = Exportable(
        path=Path("run"), task="tabular-regression", name="mlp", model=graph.model, graph=graph, examples=rows,
        axes={"rows": {0: "batch"}}, output_axes={0: "batch"}, preprocessing={}, output="value", target=scale,
    )  # fmt: skip
    with torch.no_grad():
        answers = graph(**rows)
    assert require_same_answers(exportable, rows, answers) == 0
    with pytest.raises(DlkitError, match="answers otherwise than run"):
        require_same_answers(exportable, rows, answers + 0.1 * scale[1])
