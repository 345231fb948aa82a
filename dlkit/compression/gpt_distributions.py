"""A GPT's distributions of the next token of N streams, step by step, bit for bit the same in encoder and decoder.

The encoder knows all tokens and could process them in parallel, but its matrices would then have other shapes than the
decoder's, and its sums other last bits. So both go through this module, one token of every stream at a time.

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

_PROBE_STEPS = 4


class TokenPredictor:
    """Predicts the next token of every stream step by step, with a key-value cache.

    When the context is full, the last `keep` tokens of every stream are processed again at positions 0, 1, ... So each
    token is predicted from between `keep` and C tokens, at the cost of `keep` extra tokens every C - keep steps.

    Args:
        model: in evaluation mode.
        first: the token id that every stream begins with; it is not coded.
        streams: N.
        keep: how many tokens remain when the context is full, fewer than C.
    """

    def __init__(self, model: GPT, first: int, streams: int, keep: int) -> None:
        self._model, self._keep = model, keep
        self._device = model.tokens.weight.device
        self._cache = model.make_cache(streams, model.context)
        self._seen = np.empty((streams, model.context), dtype=np.int64)  # the token ids in the cache
        self._next = np.full(streams, first, dtype=np.int64)

    def feed(self, tokens: NDArray[np.integer]) -> None:
        """Append a token id to each stream, (N,)."""
        self._next = tokens

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """The logits of each stream's next token, (N, V)."""
        length = self._cache.length
        if length == self._model.context:
            length = self._shift()
        self._seen[:, length] = self._next
        uncached = torch.from_numpy(self._seen[:, self._cache.length : length + 1])  # (N, 1), or (N, keep + 1)
        return self._model(uncached.to(self._device), cache=self._cache, last=True)[:, -1]

    def _shift(self) -> int:
        """Keep the last tokens only, which the next step processes again; returns how many."""
        self._cache.clear()
        self._seen[:, : self._keep] = self._seen[:, self._model.context - self._keep :].copy()
        return self._keep


def coder_weights(logits: Tensor) -> NDArray[np.float32]:
    """The range coder's distributions, (N, V): integers whose rows sum to about 2^24.

    Raises:
        NotFiniteError: a logit is NaN or infinite.
    """
    # w = floor(2^24 softmax(logits))
    units = logits.softmax(-1).mul_(UNITS).floor_().cpu().numpy()
    if not np.isfinite(units[:, 0]).all():  # a non-finite logit makes its whole row NaN
        raise NotFiniteError("the model's output is NaN or infinite")
    return units


def ideal_bits(logits: Tensor, symbols: NDArray[np.integer]) -> float:
    """The ideal code length of symbols (N,) under the model, in bits: -sum log2 softmax(logits)[symbol]."""
    chosen = logits.gather(1, torch.from_numpy(symbols.astype(np.int64)).to(logits.device)[:, None])[:, 0]
    nats = logits.logsumexp(1) - chosen  # (N,)
    return float(nats.double().sum()) / float(np.log(2))


def probe_crc(model: GPT, first: int, streams: int, keep: int) -> int:
    """A CRC of the distributions after a few fixed tokens: if it differs, so does the arithmetic.

    It covers the kernels of single steps and those of `keep` + 1 tokens at once.
    """
    predictor, crc = TokenPredictor(model, first, streams, min(keep, _PROBE_STEPS)), 0
    i = np.arange(streams)
    for step in range(min(_PROBE_STEPS, model.context)):
        crc = zlib.crc32(coder_weights(predictor.logits()).data, crc)
        predictor.feed((i * 31 + step * 17) % model.vocabulary)
    ids = torch.arange(streams * (keep + 1), device=model.tokens.weight.device) % model.vocabulary
    with torch.inference_mode():
        logits = model(ids.reshape(streams, -1), cache=model.make_cache(streams, keep + 1), last=True)[:, -1]
    return zlib.crc32(coder_weights(logits).data, crc)


def model_fingerprint(model: GPT) -> str:
    """A hash of the model's sizes, kinds of layers and weights: 32 hexadecimal digits."""
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


def weight_bytes(model: GPT) -> int:
    """The size of the weights, which a receiver of the file must have too; tied ones count once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
