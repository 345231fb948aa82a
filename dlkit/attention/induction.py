"""Sequences for the induction score: random tokens, repeated.

In a random sequence that is written twice, "... A B ... A", only the first copy predicts what follows in the second. An
induction head attends from the second A to B, the token after the first A. Its score is the attention weight there
(prefix matching), averaged over the second copy. Olsson et al., arXiv:2209.11895.

Shapes: T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import RequestError

_LONGEST = 64  # tokens in a copy, at most


@dataclass(frozen=True)
class RepeatedTokens:
    """A random sequence written twice, with the special tokens that the model expects around it.

    Args:
        token_ids: the T token ids.
        special: whether a token is a special one, which belongs to neither copy.
        start: the position at which the second copy begins.
        stop: one past its last position.
    """

    token_ids: list[int]
    special: list[bool]
    start: int
    stop: int


def plain_token_ids(tokenizer: Tokenizer) -> np.ndarray:
    """The ids of printable tokens: no special tokens, no parts of characters, no control characters."""
    added = tokenizer.engine.get_added_tokens_decoder()
    found: list[int] = []
    for token_id in range(tokenizer.size):
        if token_id in added:
            continue
        text = tokenizer.engine.id_to_token(token_id) or ""
        if tokenizer.byte_level:
            text = tokenizer.bytes_of(token_id).decode("utf-8", "replace")
        elif text.startswith("[") and text.endswith("]") and len(text) > 2:
            continue  # [unused42], and special tokens that an old vocabulary does not mark
        if text and text.isprintable() and "\ufffd" not in text:
            found.append(token_id)
    return np.array(found, dtype=np.int64)


def repeated_random_tokens(
    tokenizer: Tokenizer, context: int, count: int, seed: int, *, causal: bool, alphabet: str | None = None
) -> list[RepeatedTokens]:
    """`count` repeated random sequences. No token occurs twice in a copy, so that each prefix match is unique.

    Args:
        tokenizer: the model's.
        context: the most tokens that the model takes.
        count: the number of sequences.
        seed: of the random tokens.
        causal: for a GPT, which reads a separator first; a BERT reads [CLS] before and [SEP] after.
        alphabet: draw the tokens of this text only, for a model that was trained on part of its vocabulary.

    Raises:
        RequestError: the context or the vocabulary is too small.
    """
    rng = np.random.default_rng(seed)
    plain = plain_token_ids(tokenizer) if alphabet is None else np.unique(tokenizer.encode([alphabet])[0])
    begin = [n for n in [tokenizer.separator] if n is not None] if causal else [tokenizer.require("[CLS]")]
    end = [] if causal else [tokenizer.require("[SEP]")]
    length = min(_LONGEST, len(plain), (context - len(begin) - len(end)) // 2)
    if length < 2:
        raise RequestError(
            f"no room for repeated random tokens: {len(plain)} tokens to draw from, a context of {context}",
            "give `repeats` 0, or more tokens to `random_from`",
        )
    made: list[RepeatedTokens] = []
    for _ in range(count):
        copy = rng.choice(plain, size=length, replace=False).tolist()
        token_ids = [*begin, *copy, *copy, *end]
        special = [True] * len(begin) + [False] * (2 * length) + [True] * len(end)
        made.append(RepeatedTokens(token_ids, special, len(begin) + length, len(begin) + 2 * length))
    return made


def shuffle_tokens(token_ids: list[int], special: list[bool], rng: np.random.Generator) -> list[int]:
    """The token ids in random order, with special tokens left in place."""
    positions = np.flatnonzero(~np.array(special, dtype=bool))
    result = np.array(token_ids, dtype=np.int64)
    result[positions] = rng.permutation(result[positions])
    return result.tolist()
