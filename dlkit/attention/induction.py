"""Induction heads: those that look for what followed the last time.

On random tokens written twice, "... A B ... A", nothing but induction tells what comes next: the head looks from the
second A at the token behind the first one. Its score is the mass of attention there (prefix matching), averaged over
the second copy. Olsson et al., arXiv:2209.11895.

Shapes: T tokens, P tokens of a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import RequestError

_LONGEST = 64  # tokens of a copy


@dataclass(frozen=True)
class Repeats:
    """Random tokens, written twice, behind what the model expects in front.

    Args:
        numbers: the T tokens.
        special: whether a token belongs to neither copy.
        start: where the second copy begins.
        stop: where it ends.
    """

    numbers: list[int]
    special: list[bool]
    start: int
    stop: int


def plain_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """The tokens that are a text by themselves: no special ones, no parts of characters, no control characters."""
    added = tokenizer.engine.get_added_tokens_decoder()
    found: list[int] = []
    for number in range(tokenizer.size):
        if number in added:
            continue
        text = tokenizer.engine.id_to_token(number) or ""
        if tokenizer.byte_level:
            text = tokenizer.bytes_of(number).decode("utf-8", "replace")
        elif text.startswith("[") and text.endswith("]") and len(text) > 2:
            continue  # [unused42] and special tokens that an old vocabulary does not mark
        if text and text.isprintable() and "\ufffd" not in text:
            found.append(number)
    return np.array(found, dtype=np.int64)


def repeats(
    tokenizer: Tokenizer, context: int, count: int, seed: int, *, causal: bool, alphabet: str | None = None
) -> list[Repeats]:
    """So many random sequences, each token at most once in a copy, so that only one place follows the earlier one.

    Args:
        context: most tokens that the model takes.
        count: how many sequences.
        seed: of the random tokens.
        causal: for a GPT, which reads a separator first; a BERT reads [CLS] and [SEP] around.
        alphabet: a text whose tokens are drawn from, for a model that knows only a part of its vocabulary.

    Raises:
        RequestError: there is no room, or the vocabulary is too small.
    """
    random = np.random.default_rng(seed)
    plain = plain_tokens(tokenizer) if alphabet is None else np.unique(tokenizer.encode([alphabet])[0])
    begin = [n for n in [tokenizer.separator] if n is not None] if causal else [tokenizer.require("[CLS]")]
    end = [] if causal else [tokenizer.require("[SEP]")]
    length = min(_LONGEST, len(plain), (context - len(begin) - len(end)) // 2)
    if length < 2:
        raise RequestError(
            f"no room for repeated random tokens: {len(plain)} tokens to draw from, a context of {context}",
            "give --repeats 0, or more tokens to --random-from",
        )
    made: list[Repeats] = []
    for _ in range(count):
        copy = random.choice(plain, size=length, replace=False).tolist()
        numbers = [*begin, *copy, *copy, *end]
        outside = [True] * len(begin) + [False] * (2 * length) + [True] * len(end)
        made.append(Repeats(numbers, outside, len(begin) + length, len(begin) + 2 * length))
    return made


def shuffled(numbers: list[int], special: list[bool], random: np.random.Generator) -> list[int]:
    """The tokens in a random order, the special ones where they were: what a head sees of them by chance."""
    places = np.flatnonzero(~np.array(special, dtype=bool))
    result = np.array(numbers, dtype=np.int64)
    result[places] = random.permutation(result[places])
    return result.tolist()
