"""A GPT as a source of distributions: the next token of N streams, step by step, the same in encoder and decoder.

The encoder knows all tokens and could read them at once, but then its matrices would have other shapes than the
decoder's, and its sums other last bits. So both take this one function, a token of every stream at a time.

Shapes: N streams, V vocabulary, C context.
"""

from __future__ import annotations

import hashlib
import json
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlkit.compression.range_coder import UNITS
from dlkit.errors import NotFiniteError
from dlkit.models.gpt import GPT

_PROBE = 4  # tokens that a probe feeds before it looks


class Steps:
    """Predicts the next token of every stream, again and again, with a cache of keys and values.

    When the context is full, the last `keep` tokens of every stream are read again at positions 0, 1, ...: a token is
    predicted from `keep` to C tokens before it, and one reading of `keep` tokens is paid every C - keep steps.

    Args:
        model: in evaluation mode.
        first: the token that every stream begins with; it is not coded.
        streams: N.
        keep: tokens that remain when the context is full, fewer than C.
    """

    def __init__(self, model: GPT, first: int, streams: int, keep: int) -> None:
        self._model, self._keep = model, keep
        self._device = model.tokens.weight.device
        self._cache = model.make_cache(streams, model.context)
        self._seen = np.empty((streams, model.context), dtype=np.int64)  # the tokens in the cache
        self._next = np.full(streams, first, dtype=np.int64)

    def feed(self, tokens: NDArray[np.integer]) -> None:
        """Say which token, (N,), each stream goes on with."""
        self._next = tokens

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """(N, V) of the next token."""
        length = self._cache.length
        if length == self._model.context:
            length = self._forget()
        self._seen[:, length] = self._next
        written = torch.from_numpy(self._seen[:, self._cache.length : length + 1])  # (N, 1), or (N, keep + 1)
        return self._model(written.to(self._device), cache=self._cache, last=True)[:, -1]

    def _forget(self) -> int:
        """Keep the end of what was seen; the next step reads it again."""
        self._cache.clear()
        self._seen[:, : self._keep] = self._seen[:, self._model.context - self._keep :].copy()
        return self._keep


def weights(logits: Tensor) -> NDArray[np.float32]:
    """Distributions for the coder, (N, V): whole numbers whose rows have a sum of about 2^24.

    Raises NotFiniteError if there are none.
    """
    # w = floor(2^24 softmax(logits))
    units = logits.softmax(-1).mul_(UNITS).floor_().cpu().numpy()
    if not np.isfinite(units[:, 0]).all():  # one logit that is not finite makes all of its row NaN
        raise NotFiniteError("the model's output is NaN or infinite")
    return units


def ideal_bits(logits: Tensor, symbols: NDArray[np.integer]) -> float:
    """Bits that a perfect coder spends on symbols (N,) under the model itself: -sum log2 softmax(logits)[symbol]."""
    chosen = logits.gather(1, torch.from_numpy(symbols.astype(np.int64)).to(logits.device)[:, None])[:, 0]
    nats = logits.logsumexp(1) - chosen  # (N,)
    return float(nats.double().sum()) / float(np.log(2))


def probe(model: GPT, first: int, streams: int, keep: int) -> int:
    """CRC of the distributions behind a few fixed tokens: another number means another distribution.

    It takes the kernels of a step and those of a reading.
    """
    steps, crc = Steps(model, first, streams, min(keep, _PROBE)), 0
    places = np.arange(streams)
    for step in range(min(_PROBE, model.context)):
        crc = zlib.crc32(weights(steps.logits()).data, crc)
        steps.feed((places * 31 + step * 17) % model.vocabulary)
    tokens = torch.arange(streams * (keep + 1), device=model.tokens.weight.device) % model.vocabulary
    with torch.inference_mode():
        again = model(tokens.reshape(streams, -1), cache=model.make_cache(streams, keep + 1), last=True)[:, -1]
    return zlib.crc32(weights(again).data, crc)


def fingerprint(model: GPT) -> str:
    """A hash of what the model computes: its sizes, kinds of layers and weights. 32 hexadecimal digits."""
    block = model.blocks[0]
    facts = {
        "layers": len(model.blocks),
        "heads": block.attention.heads,  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        "norm_first": block.norm_first,
        "eps": block.attention_norm.eps,  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        "activation": repr(block.mlp[1]),  # pyright: ignore[reportIndexIssue]
        "positions": type(model.positions).__name__,
        "context": model.context,
    }
    found = hashlib.sha256(json.dumps(facts, default=str).encode())
    for name, tensor in sorted(model.named_parameters()):
        found.update(f"{name} {tuple(tensor.shape)}".encode())
        found.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).data)
    return found.hexdigest()[:32]


def size(model: GPT) -> int:
    """Bytes of the weights, which a receiver of the file must have too; tied ones count once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
