"""Batches: the tensors that go through a model together, as a dataclass for each family of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from torch import Tensor


class Batch:
    """Base of all batches. The first field is the model's input, one row an example; `targets` has one a prediction.

    A field is a tensor, or None where the data has no such thing. What handles batches of every family (CUDA graphs,
    stacks of runs, the way to the device) goes through `tensors` and `map`, and never asks for a field by its place.

    In a job of several processes each has its share of a batch, in which `whole` is how many predictions all of it has.
    """

    targets: Tensor
    whole: int | None = None

    def __len__(self) -> int:
        """Rows of the input."""
        return len(next(iter(vars(self).values())))

    @property
    def predictions(self) -> int:
        """How many targets count in the loss."""
        return len(self.targets)

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors, in the order of the fields."""
        return tuple(value for value in vars(self).values() if isinstance(value, Tensor))

    def with_tensors(self, tensors: Iterable[Tensor]) -> Self:
        """A batch like this one with other tensors, in the order of `tensors()`."""
        following = iter(tensors)
        return self.map(lambda _: next(following))

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A batch with `function` of each tensor."""
        values = vars(self).items()
        return type(self)(**{name: function(v) if isinstance(v, Tensor) else v for name, v in values})


@dataclass(eq=False)
class ClassificationBatch(Batch):
    """Images or rows of a table, each of one class.

    Where examples are mixed in pairs (mixup, CutMix), the loss is `mix_weight` times that of `targets` plus the rest
    times that of `mixed_targets`.

    Args:
        inputs: (N, ...) float32.
        targets: (N,) int64 classes.
        mixed_targets: (N,) int64 classes of the other example of each pair, or None.
        mix_weight: () float32, lambda of Zhang et al. (arXiv:1710.09412), or None.
    """

    inputs: Tensor
    targets: Tensor
    mixed_targets: Tensor | None = None
    mix_weight: Tensor | None = None
    whole: int | None = None


@dataclass(eq=False)
class CausalBatch(Batch):
    """Windows of text, whose every token predicts the one after it.

    Args:
        token_ids: (B, T) int64.
        targets: (B T,) int64 ids of the tokens that follow; -100 does not count.
    """

    token_ids: Tensor
    targets: Tensor
    whole: int | None = None


@dataclass(eq=False)
class MaskedBatch(Batch):
    """Windows of text with some of their tokens hidden.

    Args:
        token_ids: (B, T) int64, with [MASK] and random tokens in place of some.
        targets: (M,) int64 ids of the tokens to predict; those of padding are -100.
        positions: (M,) int64 of these tokens among the B T of the batch.
        target_count: how many targets are not padding, where there is any.
    """

    token_ids: Tensor
    targets: Tensor
    positions: Tensor
    target_count: int | None = None
    whole: int | None = None

    @property
    def predictions(self) -> int:
        return len(self.targets) if self.target_count is None else self.target_count


@dataclass(eq=False)
class TextBatch(Batch):
    """Texts or pairs of texts, padded to one length; an example is one row, or one row for each of its candidates.

    Args:
        token_ids: (R, T) int64.
        targets: (N,) int64 classes, or float32 numbers.
        segment_ids: (R, T) int64, 1 within the second text of a pair; None for single texts.
        attention_mask: (R, T) bool, false at padding.
        candidate_counts: (N,) int64 rows of each example; None where each has one.
        question_ids: (N,) int64: the question that each example belongs to, where whole questions are judged.
        credit: (R, 2) float32: F1 and exact match of each candidate, where those are judged.
    """

    token_ids: Tensor
    targets: Tensor
    segment_ids: Tensor | None
    attention_mask: Tensor
    candidate_counts: Tensor | None = None
    question_ids: Tensor | None = None
    credit: Tensor | None = None
    whole: int | None = None
