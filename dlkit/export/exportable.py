"""A trained model with everything that is needed to use it without dlkit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dlkit.data.text.tokenizer import Tokenizer

Axes = dict[str, dict[int, str]]  # input -> its dimensions that vary, by name


@dataclass(frozen=True)
class Exportable:
    """A model in evaluation mode on the CPU, in float32.

    Args:
        path: of the run or the directory that it came from, for messages.
        task: that it was trained for.
        name: of its architecture in the catalog.
        architecture: keywords of its constructor; of a network for images.
        model: the network itself, as it was trained.
        graph: takes raw inputs by name, with what is constant of their preprocessing inside, and returns logits.
        examples: inputs of the graph, by name; N = 2, T = 8 or the whole context.
        axes: dimensions of the inputs that vary: batch, sequence.
        limits: the largest value of such a dimension, where it has one.
        output: its name: logits, or value of a regression on rows.
        output_axes: dimensions of the output that vary.
        target: mean and deviation of the numbers that a regression predicts; 0 and 1 of logits.
        preprocessing: what is to be done before the graph, and what is done inside; JSON values.
        classes: what the logits stand for, in their order; none where they are tokens or a number.
        tokenizer: of a language model.
        ends: token ids that end a text.
        normalisation: mean and deviation of each channel of images, (C,), which files of weights do not hold.
        data: keys of a recipe's `data` by which `dlkit import` sees texts as this model does.
    """

    path: Path
    task: str
    name: str
    model: nn.Module
    graph: nn.Module
    examples: dict[str, Tensor]
    axes: Axes
    output_axes: dict[int, str]
    preprocessing: dict[str, Any]
    output: str = "logits"
    target: tuple[float, float] = (0.0, 1.0)
    limits: dict[str, int] = field(default_factory=dict[str, int])
    classes: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = None
    ends: frozenset[int] = frozenset()
    normalisation: tuple[Tensor, Tensor] | None = None
    architecture: dict[str, Any] = field(default_factory=dict[str, Any])
    data: dict[str, Any] = field(default_factory=dict[str, Any])
