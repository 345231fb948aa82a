"""A batch of growing sequences of different lengths, each in a context of its own.

They are left-padded, so that a step writes the same slot of the key-value cache for all. A sequence whose context is
full drops the first half of it and is processed again, at the step at which that would happen without the others.

Shapes: B sequences, T tokens, S slots, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlkit.lm.eager_decoding import EagerDecoder
from dlkit.lm.static_decoding import StaticDecoder, Tail
from dlkit.models.gpt import GPT


class RaggedBatch:
    """The visible tokens of each sequence, and the logits of the token after it, or what a tail makes of them.

    Args:
        model: in evaluation mode.
        prompts: token ids, at least one each and at most the model's context.
        most: how many tokens are appended to each.
        tail: a function of the logits (B, V), made of kernels alone, whose result `next` returns; it makes a step a
            fixed list of kernels, which a GPU can record, and each step overwrites the last one's result. None for
            `next` to return the logits.
    """

    def __init__(self, model: GPT, prompts: list[list[int]], most: int, tail: Tail | None = None) -> None:
        self.model, self._tail = model, tail
        self._device = model.tokens.weight.device
        longest = max(map(len, prompts))
        self._end = longest  # the slot after the last token
        self._begin_at([longest - len(prompt) for prompt in prompts])
        slots = min(longest + most, model.context)
        if self._padding is not None and longest + most > model.context:
            slots = model.context + max(1, model.context // 2)  # spare ones, so that shifting left is rare
        self._slots = slots
        rows = [[0] * begin + prompt for begin, prompt in zip(self._begins, prompts, strict=True)]
        self._tokens = torch.zeros(len(prompts), slots, dtype=torch.int64)
        self._tokens[:, :longest] = torch.tensor(rows)
        self._tokens = self._tokens.to(self._device)
        cache = model.make_cache(len(prompts), slots)
        self._decoder = EagerDecoder(model, cache) if tail is None else StaticDecoder(model, cache, tail)
        self._unread = longest  # so many of the last tokens are not in the cache yet

    def append(self, tokens: Tensor) -> None:
        """Append a token id to each sequence, (B,) int64. `next` must be called between two of these."""
        context, kept = self.model.context, max(1, self.model.context // 2)
        full = [row for row, begin in enumerate(self._begins) if self._end - begin == context]
        if len(full) == len(self._begins):  # all start over with their last tokens
            self._tokens[:, : kept - 1] = self._tokens[:, self._end - kept + 1 : self._end].clone()
            self._decoder.cache.clear()
            self._end = self._unread = kept - 1
            self._begin_at([0] * len(full))
        elif full:
            self._recompute(full, self._end - kept + 1)
        if self._end == self._slots:
            self._shift_left(min(self._begins))
        self._tokens[:, self._end] = tokens
        self._end += 1
        self._unread += 1

    def next(self) -> Tensor:
        """The logits (B, V) of each sequence's next token, or what the tail makes of them."""
        unread, self._unread = self._unread, 0
        if unread == 1:
            return self._decoder.step(self._tokens[:, self._end - 1], self._padding, self._first)
        tokens = self._tokens[:, self._end - unread : self._end]
        logits = self.model(tokens, cache=self._decoder.cache, padding=self._padding, last=True)[:, -1]
        return logits if self._tail is None else self._tail(logits)

    def alone(self, row: int) -> Tensor:
        """The logits of one sequence's next token, (1, V), computed from its visible tokens without the batch."""
        return self.model(self._tokens[row : row + 1, self._begins[row] : self._end], last=True)[:, -1]

    def _begin_at(self, slots: list[int]) -> None:
        """Set the slot at which each sequence begins."""
        self._begins, self._first = slots, min(slots)
        padding = [slot - self._first for slot in slots]
        self._padding = torch.tensor(padding, device=self._device) if any(padding) else None  # (B,)

    def _recompute(self, rows: list[int], begin: int) -> None:
        """Let these sequences begin at a later slot, with keys and values for their new positions."""
        cache, count = self._decoder.cache, self._end - begin
        if count:
            fresh = self.model.make_cache(len(rows), count)
            self.model(self._tokens[rows, begin : self._end], cache=fresh, last=True)
            cache.memory[:, :, rows, :, begin : self._end] = fresh.memory
        self._begin_at([begin if row in rows else slot for row, slot in enumerate(self._begins)])

    def _shift_left(self, by: int) -> None:
        """Free the first `by` slots, which hold no visible tokens."""
        cache = self._decoder.cache
        self._tokens[:, : self._end - by] = self._tokens[:, by : self._end].clone()
        cache.memory[..., : self._end - by, :] = cache.memory[..., by : self._end, :].clone()
        self._end -= by
        for layer in cache.layers:
            layer.length = self._end
        self._begin_at([slot - by for slot in self._begins])
