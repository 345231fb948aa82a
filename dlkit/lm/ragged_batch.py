"""Sequences of different lengths that grow side by side, each in a context of its own.

They stand flush right, so that a step writes one slot of the cache for all. A sequence whose own context is full
forgets the first half of it and is read again, at the step at which it would be alone, whatever the others do.

Shapes: B sequences, T tokens, S slots, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlkit.lm.eager_decoding import Decoder
from dlkit.lm.static_decoding import StaticDecoder, Tail
from dlkit.models.gpt import GPT


class SideBySide:
    """What each sequence has in view, and the logits of the token after it, or what a tail makes of them.

    Args:
        model: in evaluation mode.
        prompts: token numbers, at least one each and at most the model's context.
        most: tokens that are appended to each.
        tail: of kernels alone, (B, V) to whatever `next` is to give: then a step is a fixed list of kernels, as a GPU
            wants it; its result is overwritten by the next step. Without one `next` gives the logits.
    """

    def __init__(self, model: GPT, prompts: list[list[int]], most: int, tail: Tail | None = None) -> None:
        self.model, self._tail = model, tail
        self._device = model.tokens.weight.device
        longest = max(map(len, prompts))
        self._end = longest  # the slot behind the last token
        self._begin_at([longest - len(prompt) for prompt in prompts])
        slots = min(longest + most, model.context)
        if self._padding is not None and longest + most > model.context:
            slots = model.context + max(1, model.context // 2)  # room, so that moving them all to the left is rare
        self._slots = slots
        rows = [[0] * begin + prompt for begin, prompt in zip(self._begins, prompts, strict=True)]
        self._tokens = torch.zeros(len(prompts), slots, dtype=torch.int64)
        self._tokens[:, :longest] = torch.tensor(rows)
        self._tokens = self._tokens.to(self._device)
        cache = model.make_cache(len(prompts), slots)
        self._decoder = Decoder(model, cache) if tail is None else StaticDecoder(model, cache, tail)
        self._unread = longest  # the last tokens, which the cache does not hold yet

    def append(self, tokens: Tensor) -> None:
        """The next token of each, (B,) int64. Between two of them `next` must be asked for."""
        context, kept = self.model.context, max(1, self.model.context // 2)
        full = [row for row, begin in enumerate(self._begins) if self._end - begin == context]
        if len(full) == len(self._begins):  # all begin anew, with their last tokens
            self._tokens[:, : kept - 1] = self._tokens[:, self._end - kept + 1 : self._end].clone()
            self._decoder.cache.clear()
            self._end = self._unread = kept - 1
            self._begin_at([0] * len(full))
        elif full:
            self._read_again(full, self._end - kept + 1)
        if self._end == self._slots:
            self._move_left(min(self._begins))
        self._tokens[:, self._end] = tokens
        self._end += 1
        self._unread += 1

    def next(self) -> Tensor:
        """The logits (B, V) of the token after each, or what the tail makes of them."""
        unread, self._unread = self._unread, 0
        if unread == 1:
            return self._decoder.step(self._tokens[:, self._end - 1], self._padding, self._first)
        tokens = self._tokens[:, self._end - unread : self._end]
        logits = self.model(tokens, cache=self._decoder.cache, padding=self._padding, last=True)[:, -1]
        return logits if self._tail is None else self._tail(logits)

    def alone(self, row: int) -> Tensor:
        """(1, V) of the token after one sequence, by reading what it has in view and nothing else."""
        return self.model(self._tokens[row : row + 1, self._begins[row] : self._end], last=True)[:, -1]

    def _begin_at(self, slots: list[int]) -> None:
        """Say at which slot each sequence begins."""
        self._begins, self._first = slots, min(slots)
        behind = [slot - self._first for slot in slots]
        self._padding = torch.tensor(behind, device=self._device) if any(behind) else None  # (B,)

    def _read_again(self, rows: list[int], begin: int) -> None:
        """Let these sequences begin at a later slot: their keys and values there are new, for their positions are."""
        cache, count = self._decoder.cache, self._end - begin
        if count:
            fresh = self.model.make_cache(len(rows), count)
            self.model(self._tokens[rows, begin : self._end], cache=fresh, last=True)
            cache.memory[:, :, rows, :, begin : self._end] = fresh.memory
        self._begin_at([begin if row in rows else slot for row, slot in enumerate(self._begins)])

    def _move_left(self, by: int) -> None:
        """Free `by` slots, which hold nothing that is in view."""
        cache = self._decoder.cache
        self._tokens[:, : self._end - by] = self._tokens[:, by : self._end].clone()
        cache.memory[..., : self._end - by, :] = cache.memory[..., by : self._end, :].clone()
        self._end -= by
        for layer in cache.layers:
            layer.length = self._end
        self._begin_at([slot - by for slot in self._begins])
