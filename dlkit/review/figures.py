"""The figures of the review, drawn from what dlkit computes: none of them is a picture that somebody drew.

Every figure has its caption in its title, and colours and dashes that tell curves apart in any light.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlkit.information.measures import shannon_entropy
from dlkit.losses import l2_penalty
from dlkit.nn.activations import GELU, ReLU, Sigmoid
from dlkit.nn.attention import attention_weights_reference, causal_mask
from dlkit.nn.dropout import Dropout
from dlkit.nn.norm import BatchNorm
from dlkit.optim.adam import Adam
from dlkit.optim.momentum import Momentum
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD
from dlkit.plotting import BLACK, BLUE, GREEN, ORANGE, VERMILION, make_axes, make_panels, save_figure
from dlkit.review.head_figure import attention_head

SIZE = (5.0, 3.5)  # inches: letters of 10 points are 11 pixels high at a width of 400


def sigmoid_and_step() -> Any:
    """The sigmoid is a smooth step: the steeper, the closer."""
    figure, axis = make_axes(*SIZE)
    x = torch.linspace(-6, 6, 601)
    axis.plot(x, (x > 0).float(), color=BLACK, linestyle=":", label="step")
    for slope, colour, dashes in ((1, BLUE, "-"), (4, ORANGE, "--")):
        axis.plot(
            x,
            Sigmoid()(slope * x),
            color=colour,
            linestyle=dashes,
            label="sigmoid(x)" if slope == 1 else f"sigmoid({slope} x)",
        )
    axis.set_xlabel("x")
    axis.legend()
    return figure


def relu_and_gelu() -> Any:
    """ReLU cuts off below zero; GELU, x times the normal CDF, bends smoothly and dips a little."""
    figure, axis = make_axes(*SIZE)
    x = torch.linspace(-4, 3, 701)
    axis.plot(x, ReLU()(x), color=BLUE, label="ReLU")
    axis.plot(x, GELU()(x), color=VERMILION, linestyle="--", label="GELU")
    axis.set_xlabel("x")
    axis.legend()
    return figure


def vanishing_gradients() -> Any:
    """How much of a gradient arrives through a stack of sigmoids, and of ReLUs."""
    figure, axis = make_axes(*SIZE)
    for activation, gain, colour, dashes in ((Sigmoid(), 1.0, VERMILION, "-"), (ReLU(), math.sqrt(2), BLUE, "--")):
        shares = _gradient_by_depth(activation, gain)
        axis.semilogy(
            range(1, len(shares) + 1), shares, color=colour, linestyle=dashes, label=type(activation).__name__
        )
    axis.set_xticks(range(0, 21, 5))
    axis.set_xlabel("layers below")
    axis.set_ylabel("share of the gradient's norm")
    axis.legend()
    return figure


def _gradient_by_depth(activation: nn.Module, gain: float, depth: int = 20, width: int = 64) -> list[float]:
    torch.manual_seed(0)
    x = torch.randn(32, width, requires_grad=True)
    hidden = [x]
    for _ in range(depth):
        weight = torch.linalg.qr(torch.randn(width, width))[0] * gain
        hidden.append(activation(hidden[-1] @ weight))
    behind = torch.randn(hidden[-1].shape)
    gradients = torch.autograd.grad(hidden[-1], hidden[:-1], behind)
    return [float(gradient.norm() / behind.norm()) for gradient in reversed(gradients)]


def kernel_on_image() -> Any:
    """A digit, and what two kernels of 3x3 find in it: horizontal and vertical edges."""
    from dlkit.data.images.digits import digits

    image = digits().splits["train"].inputs[:1].float()  # (1, 1, 8, 8)
    sobel = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]])
    figure, axes = make_panels(5.0, 2.5, columns=3)
    shown = [("the image", image)] + [
        (name, nn.functional.conv2d(image, kernel[None, None], padding=1))
        for name, kernel in (("horizontal edges", sobel), ("vertical edges", sobel.T))
    ]
    for axis, (name, picture) in zip(axes, shown, strict=True):
        axis.imshow(picture[0, 0].numpy(), cmap="gray" if picture is image else "PuOr")
        axis.set_xlabel(name)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(visible=False)
    return figure


def batch_norm_on_features() -> Any:
    """What batch norm does to a batch: features of any scale come out with mean 0 and variance 1."""
    torch.manual_seed(0)
    x = torch.randn(300, 3) * torch.tensor([0.5, 2.0, 4.0]) + torch.tensor([-4.0, 2.0, 8.0])
    figure, axes = make_panels(5.0, 3.0, columns=2)
    for axis, values, name in ((axes[0], x, "before"), (axes[1], BatchNorm(3)(x).detach(), "after")):
        parts = axis.violinplot(values.T.tolist(), showmeans=True)
        for body in parts["bodies"]:
            body.set_facecolor(BLUE)
        axis.set_xlabel(f"feature, {name}")
        axis.set_xticks([1, 2, 3])
    return figure


def dropout_on_layer() -> Any:
    """What dropout of one half does to a layer: in each pass other units are 0, and the rest is doubled."""
    torch.manual_seed(0)
    x, dropout = torch.ones(12, 24), Dropout(0.5)
    figure, axis = make_axes(*SIZE)
    image = axis.imshow(dropout.train()(x).numpy(), cmap="cividis", vmin=0, vmax=2)
    axis.set_xlabel("unit")
    axis.set_ylabel("pass")
    axis.grid(visible=False)
    beside = axis.inset_axes((1.04, 0, 0.05, 1))  # as tall as the picture
    figure.colorbar(image, cax=beside, ticks=[0, 1, 2], label="activation")
    return figure


def causal_attention() -> Any:
    """Attention weights with and without the causal mask: a GPT's rows end at the diagonal."""
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 10, 8), torch.randn(1, 1, 10, 8)
    figure, axes = make_panels(5.0, 3.2, columns=2)
    axes[0].set_ylabel("token")
    for axis, mask, name in ((axes[0], None, "BERT"), (axes[1], causal_mask(10, 10), "GPT")):
        axis.imshow(attention_weights_reference(q, k, mask)[0, 0].numpy(), cmap="cividis", vmin=0)
        axis.set_xlabel(f"token seen, {name}")
        axis.set_xticks(range(0, 10, 3))
        axis.set_yticks(range(0, 10, 3))
        axis.grid(visible=False)
    return figure


def bernoulli_entropy_curve() -> Any:
    """The entropy of a coin: 1 bit at 1/2, none where the outcome is certain."""
    figure, axis = make_axes(*SIZE)
    p = np.linspace(0, 1, 201)
    axis.plot(p, shannon_entropy(np.stack([p, 1 - p], -1)), color=BLUE)
    axis.set_xlabel("probability of heads")
    axis.set_ylabel("entropy in bits")
    return figure


def l2_on_fit() -> Any:
    """A polynomial of degree 11 through 12 noisy points, without and with an L2 penalty."""
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 12, dtype=torch.float64)
    y = torch.sin(3 * x) + 0.2 * torch.randn(12, dtype=torch.float64)
    figure, axis = make_axes(*SIZE)
    axis.plot(x, y, "o", color=BLACK, label="data")
    grid = torch.linspace(-1, 1, 400, dtype=torch.float64)
    for strength, colour, dashes in ((0.0, VERMILION, "-"), (0.05, BLUE, "--")):
        fit = _powers(grid) @ _ridge(_powers(x), y, strength)
        axis.plot(grid, fit, color=colour, linestyle=dashes, label=f"lambda = {strength:g}")
    axis.set_ylim(-2.2, 2.2)
    axis.legend()
    return figure


def _powers(x: Tensor) -> Tensor:
    return torch.stack([x**degree for degree in range(12)], -1)


def _ridge(design: Tensor, y: Tensor, strength: float) -> Tensor:
    """The minimum of ||X w - y||^2 / 2 and the penalty, by one step of Newton's method."""
    start = torch.zeros(design.shape[1], dtype=design.dtype, requires_grad=True)

    def loss(w: Tensor) -> Tensor:
        return (design @ w - y).square().sum() / 2 + l2_penalty([w], strength)

    (gradient,) = torch.autograd.grad(loss(start), start)
    hessian: Any = torch.autograd.functional.hessian(loss, start)
    return -torch.linalg.solve(hessian, gradient).detach()


def optimizer_paths() -> Any:
    """Four optimizers in a ravine, 60 steps each: gradient descent bounces, momentum swings, RMSProp cuts across."""
    figure, axis = make_axes(*SIZE)
    x, y = np.meshgrid(np.linspace(-4.4, 1, 200), np.linspace(-1.6, 1.6, 200))
    axis.contour(x, y, np.log1p((x**2 + 25 * y**2) / 2), 10, colors="0.75", linewidths=0.8)
    paths: list[tuple[str, Callable[..., torch.optim.Optimizer], str, str]] = [
        ("gradient descent", functools.partial(SGD, lr=0.075), BLACK, "-"),
        ("momentum", functools.partial(Momentum, lr=0.01, momentum=0.9), ORANGE, "--"),
        ("RMSProp", functools.partial(RMSprop, lr=0.1, alpha=0.9), GREEN, ":"),
        ("Adam", functools.partial(Adam, lr=0.2), VERMILION, "-."),
    ]
    for name, optimizer, colour, dashes in paths:
        theta = nn.Parameter(torch.tensor([-4.0, 1.2]))
        stepper, path = optimizer([theta]), [theta.detach().clone()]
        for _ in range(60):
            theta.grad = theta.detach() * torch.tensor([1.0, 25.0])
            stepper.step()
            path.append(theta.detach().clone())
        walked = torch.stack(path)
        axis.plot(walked[:, 0], walked[:, 1], color=colour, linestyle=dashes, linewidth=1.8, label=name)
    axis.legend(loc="lower right", fontsize=9)
    return figure


FIGURES: dict[str, Callable[[], Any]] = {
    "figure-05-sigmoid": sigmoid_and_step,
    "figure-06-07-relu-gelu": relu_and_gelu,
    "figure-08-convolution": kernel_on_image,
    "figure-10-attention-head": attention_head,
    "figure-12-causal-attention": causal_attention,
    "figure-13-bernoulli-entropy": bernoulli_entropy_curve,
    "figure-14-l2": l2_on_fit,
    "figure-15-16-optimizers": optimizer_paths,
    "gradients-vanish": vanishing_gradients,
    "batch-norm": batch_norm_on_features,
    "dropout": dropout_on_layer,
}
# The section of the review that each belongs to.
SECTION_OF = {
    "figure-05-sigmoid": "Activations",
    "figure-06-07-relu-gelu": "Activations",
    "figure-08-convolution": "Convolution",
    "figure-10-attention-head": "Attention",
    "figure-12-causal-attention": "BERT and GPT",
    "figure-13-bernoulli-entropy": "Entropy",
    "figure-14-l2": "L2 regularization",
    "figure-15-16-optimizers": "Gradient descent",
    "gradients-vanish": "Activations",
    "batch-norm": "Normalization",
    "dropout": "Dropout",
}


def caption_of(name: str) -> str:
    """What one of `FIGURES` shows, in a sentence."""
    return " ".join((FIGURES[name].__doc__ or "").split())


def make_review_figure(name: str) -> Any:
    """One of `FIGURES` as a figure of matplotlib, without its caption; random numbers go on as if it were not made."""
    with torch.random.fork_rng([]):
        return FIGURES[name]()


def draw_review_figure(name: str, folder: Path) -> list[Path]:
    """Draw one of `FIGURES` into a folder, as SVG and as PNG; returns the files."""
    figure = make_review_figure(name)
    figure.suptitle(caption_of(name), fontsize="medium")
    targets = [folder / f"{name}.{kind}" for kind in ("svg", "png")]
    for target in targets:
        save_figure(figure, target)
    return targets
