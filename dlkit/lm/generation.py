"""Generating text with a causal language model and a key-value cache.

Shapes: B sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dlkit import memory
from dlkit.errors import DlkitError
from dlkit.lm.ragged_batch import RaggedBatch
from dlkit.lm.sampling import Sampling
from dlkit.models.gpt import GPT

_STEPS_AT_ONCE = 8
_BATCH_BYTES = 4 << 30  # of a batch, at most
_PREFILL = 16  # times the width: activations of a layer per token of the prompt
_SAMPLING = 16  # times the vocabulary: logits, noise, their order and sums


def rows_at_once(model: GPT, longest: int) -> int:
    """How many sequences of at most `longest` tokens fit into a batch, by their memory."""
    width, slots = model.tokens.weight.shape[1], min(longest, model.context + model.context // 2)
    # keys and values of each layer, twice, since they may have to be moved
    cache = 2 * len(model.blocks) * 2 * width * slots
    one = cache + _PREFILL * width * min(longest, model.context) + _SAMPLING * model.vocabulary
    room = memory.free(str(model.tokens.weight.device))
    most = _BATCH_BYTES if room is None else min(_BATCH_BYTES, room // 2)
    return max(1, most // (one * model.tokens.weight.element_size()))


@torch.inference_mode()
def generate_tokens(
    model: GPT,
    prompts: list[list[int]],
    most: int,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    known: Tensor | None = None,
    static: bool | None = None,
) -> Iterator[Tensor]:
    """Continue every prompt token by token: yields token ids (B,) int64 on the device, at most `most` times.

    A token costs one row of attention, since the keys and values of those before it are cached. When the model's
    context is full, its first half is dropped and the rest is processed again. On a GPU each step, sampling included,
    is one CUDA graph.

    On a CPU a row of a batch is what it would be alone. Batches round differently, so where rounding might decide the
    choice, the row is computed again by itself. On a GPU that would cost a synchronization per step, and there a text
    may depend on its batch where two tokens are equally likely up to rounding.

    Args:
        model: in evaluation mode.
        prompts: token ids, at least one each and at most the model's context.
        most: how many tokens to generate.
        sampling: how they are chosen.
        generators: of random numbers, on the model's device, one for each row.
        known: the token ids to choose from, (K,); None for all.
        static: make each step a fixed list of kernels, which a GPU records; None for yes unless on a CPU.
    """
    device = model.tokens.weight.device
    choices = model.vocabulary if known is None else len(known)
    noise = torch.empty(len(prompts), choices, device=device) if sampling.random else None
    static = device.type != "cpu" if static is None else static

    def pick(logits: Tensor) -> Tensor:
        chosen = sampling.pick(_of(known, logits), noise)  # (B,)
        return chosen if known is None else known[chosen].where(chosen >= 0, -1)

    batch = RaggedBatch(model, prompts, most, pick if static else None)
    for step in range(most):
        if noise is not None:
            for row, generator in zip(noise, generators, strict=True):
                row.exponential_(generator=generator)
        # the next step overwrites the result of this one
        chosen = batch.next().clone() if static else _chosen(batch, sampling, noise, known)
        if step + 1 < most:
            batch.append(chosen.clamp(min=0))  # `fetch_tokens` refuses a -1, but a GPU is some steps ahead of it
        yield chosen


def _chosen(batch: RaggedBatch, sampling: Sampling, noise: Tensor | None, known: Tensor | None) -> Tensor:
    """The next token of each row, (B,), -1 if the logits are NaN or infinite. Synchronizes with the device."""
    chosen, close = sampling.choose(_of(known, batch.next()), noise)
    if bool(close.any()):
        for row in close.nonzero()[:, 0].tolist():
            own = None if noise is None else noise[row : row + 1]
            chosen[row] = sampling.choose(_of(known, batch.alone(row)), own)[0][0]
    return chosen if known is None else known[chosen].where(chosen >= 0, -1)


def _of(known: Tensor | None, logits: Tensor) -> Tensor:
    """The logits of the tokens to choose from, (B, K)."""
    return logits if known is None else logits.index_select(-1, known)


def fetch_tokens(tokens: Iterator[Tensor], at_once: int | None = None) -> Iterator[list[int]]:
    """Copy the token ids of each step, (B,), to the host, synchronizing with the device once every `at_once` steps.

    Args:
        tokens: of `generate_tokens`.
        at_once: None for 1 on a CPU and 8 on a GPU, which then computes a few tokens too many where a text ends.

    Raises:
        DlkitError: the model's logits are NaN or infinite.
    """
    waiting: list[Tensor] = []
    for chosen in tokens:
        waiting.append(chosen)
        if len(waiting) >= (at_once or (1 if chosen.device.type == "cpu" else _STEPS_AT_ONCE)):
            yield from _to_host(waiting)
            waiting.clear()
    yield from _to_host(waiting)


def _to_host(waiting: list[Tensor]) -> Iterator[list[int]]:
    for chosen in torch.stack(waiting).tolist() if waiting else ():
        if min(chosen) < 0:
            raise DlkitError(
                "the model gives no probabilities: its scores are NaN or infinite",
                "did its training diverge? If not, raise the temperature",
            )
        yield chosen
