"""The figures of the review show what dlkit computes: curves are compared with what others compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from dlkit.review.figures import FIGURES, caption_of, draw_review_figure


def curve(name: str, label: str) -> tuple[Any, Any]:
    (axis, *_) = FIGURES[name]().axes
    (line,) = [line for line in axis.lines if line.get_label() == label]
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def test_curves() -> None:
    x, y = curve("figure-05-sigmoid", "sigmoid(4 x)")
    assert y == pytest.approx(scipy.special.expit(4 * x), abs=1e-6)
    x, y = curve("figure-06-07-relu-gelu", "GELU")
    assert y == pytest.approx(x * scipy.stats.norm.cdf(x), abs=1e-5)
    (line,) = FIGURES["figure-13-bernoulli-entropy"]().axes[0].lines
    p, entropy = line.get_data()
    assert entropy == pytest.approx(scipy.stats.bernoulli(p).entropy() / np.log(2), abs=1e-9)


def test_penalized_fit_is_ridge_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    axis = FIGURES["figure-14-l2"]().axes[0]
    (data,) = [line for line in axis.lines if line.get_label() == "data"]
    x, y = np.asarray(data.get_xdata(), float), np.asarray(data.get_ydata(), float)
    model = linear_model.Ridge(alpha=0.05, fit_intercept=False)
    model.fit(np.stack([x**degree for degree in range(12)], -1), y)
    grid, fit = curve("figure-14-l2", "lambda = 0.05")
    assert fit == pytest.approx(model.predict(np.stack([grid**degree for degree in range(12)], -1)), abs=1e-6)


def test_paths_are_those_of_torch() -> None:
    x, y = curve("figure-15-16-optimizers", "Adam")
    theta = torch.nn.Parameter(torch.tensor([-4.0, 1.2]))
    stepper = torch.optim.Adam([theta], lr=0.2)
    for _ in range(60):
        theta.grad = theta.detach() * torch.tensor([1.0, 25.0])
        stepper.step()
    assert [x[-1], y[-1]] == pytest.approx(theta.tolist(), abs=1e-4)


def test_gpt_sees_nothing_above_the_diagonal() -> None:
    shown = FIGURES["figure-12-causal-attention"]().axes[1].images[0].get_array()
    assert np.triu(shown, 1).max() == 0
    assert np.asarray(shown).sum(-1) == pytest.approx(1)


def test_attention_head_is_that_of_torch() -> None:
    """Its numbers follow from those to their left, and the shapes above them are theirs."""
    (axis,) = FIGURES["figure-10-attention-head"]().axes
    x, q, k, v, scores, weights, out = (torch.as_tensor(np.asarray(image.get_array())) for image in axis.images)
    shapes = [text.get_text() for text in axis.texts if text.get_text().startswith("(")]
    assert shapes == [str(tuple(part.shape)) for part in (x, q, k, v, scores, weights, out)]
    assert weights.numpy() == pytest.approx(scipy.special.softmax(scores.numpy(), -1), abs=1e-6)
    assert scores.numpy() == pytest.approx(q.numpy() @ k.numpy().T / np.sqrt(2), abs=1e-6)
    expected = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None])[0]
    assert out.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize("name", ["figure-08-convolution", "dropout", "batch-norm"])
def test_files(tmp_path: Path, name: str) -> None:
    svg, png = draw_review_figure(name, tmp_path)
    assert svg.read_text(encoding="utf-8").startswith("<?xml")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert caption_of(name).endswith(".")
    again, _ = draw_review_figure(name, tmp_path / "")
    assert again.read_bytes() == svg.read_bytes()


def test_bar_of_colours_is_as_tall_as_its_picture() -> None:
    figure = FIGURES["dropout"]()
    figure.canvas.draw()
    (picture,) = (axis for axis in figure.axes if axis.images)
    (bar,) = picture.child_axes
    pixels, beside = picture.get_window_extent(), bar.get_window_extent()
    assert (beside.y0, beside.y1) == pytest.approx((pixels.y0, pixels.y1), abs=1)
    assert beside.x0 > pixels.x1
