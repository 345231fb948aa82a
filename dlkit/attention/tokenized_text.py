"""A text as the tokens that a model reads: numbers, labels to show, and where each stands in the text's bytes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding

from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import RequestError


@dataclass(frozen=True)
class TokenizedText:
    """One text, or a pair, as T tokens.

    Args:
        numbers: of the tokens.
        labels: what each shows as: any text. Bytes that are no characters by themselves are written `\\xe2`.
        special: whether a token was added and stands for no part of the text.
        spans: the bytes of its text that a token stands for, from and to; None for special ones.
        split: the first token of the second text of a pair.
        agrees: whether byte offsets, added up from the tokens' bytes, and the tokenizer's own offsets name the same
            places of the text; None where tokens do not stand for bytes.
        cut: tokens that did not fit.
    """

    numbers: list[int]
    labels: list[str]
    special: list[bool]
    spans: list[tuple[int, int] | None]
    split: int | None = None
    agrees: bool | None = None
    cut: int = 0

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def segments(self) -> list[int]:
        """0 in the first text and 1 in the second."""
        border = len(self) if self.split is None else self.split
        return [int(place >= border) for place in range(len(self))]


def tokenize(
    tokenizer: Tokenizer, text: str, context: int, *, causal: bool, pair: str | None = None, cut: bool = False
) -> TokenizedText:
    """The text as a GPT reads it, behind a separator, or as a BERT does: [CLS] text [SEP], and pair [SEP] behind it.

    Args:
        context: most tokens that the model takes.
        causal: for a GPT.
        pair: the second text.
        cut: shorten what is too long (of a pair the last text first) instead of refusing it.

    Raises:
        RequestError: no text, a pair for a GPT, more tokens than the model takes, or no Unicode.
        DlkitError: the tokenizer lacks a special token.
    """
    if causal and pair is not None:
        raise RequestError("a GPT reads one text, not a pair", "leave --pair out, or take a BERT")
    texts = [text] if pair is None else [text, pair]
    for each in texts:
        try:
            each.encode()
        except UnicodeEncodeError as error:
            raise RequestError(f"the text is not UTF-8: {each[:40]!r}", "give it as UTF-8") from error
    encodings = tokenizer.encodings(texts)
    for each, encoding in zip(texts, encodings, strict=True):
        if not encoding.ids:
            raise RequestError(f"the text is empty: {each[:40]!r} has no tokens", "give a TEXT")
    begin = [n for n in [tokenizer.separator] if n is not None] if causal else [tokenizer.require("[CLS]")]
    end = [] if causal else [tokenizer.require("[SEP]")]
    wanted = len(begin) + sum(len(encoding.ids) + len(end) for encoding in encodings)
    if wanted > context and not cut:
        shown = f"{len(encodings[0].ids)} tokens" if pair is None else f"{wanted} tokens with the special ones"
        raise RequestError(
            f"the text has {shown}, the model takes {context} in all, {wanted - context} too many",
            "shorten it, or give --cut to take what fits",
        )
    numbers, split = list(begin), None
    spans: list[tuple[int, int] | None] = [None] * len(begin)
    room = context - len(begin) - len(end) * len(texts)
    if room < len(texts):
        raise RequestError(f"a context of {context} tokens has no room for the text")
    for i, (each, encoding) in enumerate(zip(texts, encodings, strict=True)):
        if i:
            split = len(numbers)
        take = min(len(encoding.ids), room - (len(texts) - 1 - i))  # the last text needs a token at least
        room -= take
        numbers += [*encoding.ids[:take], *end]
        spans += [*_spans(tokenizer, each, encoding)[:take], *([None] * len(end))]
    agrees = None
    if tokenizer.byte_level:
        agrees = all(offsets_agree(tokenizer, each, encoding) for each, encoding in zip(texts, encodings, strict=True))
    return TokenizedText(
        numbers,
        [label(tokenizer, number) for number in numbers],
        [span is None for span in spans],
        spans,
        split,
        agrees,
        max(0, wanted - context),
    )


def label(tokenizer: Tokenizer, number: int) -> str:
    """What a token shows as: its text; bytes that are not whole characters are written `\\xe2`."""
    if tokenizer.byte_level:
        return tokenizer.bytes_of(number).decode("utf-8", "backslashreplace")
    # GPT-1 marks the end of a word where others mark its beginning
    return re.sub("</w>$", " ", tokenizer.engine.id_to_token(number) or "")


def byte_spans(tokenizer: Tokenizer, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Where the tokens of a byte-level vocabulary stand: each begins where the one before it ends."""
    ends = list(itertools.accumulate((len(tokenizer.bytes_of(number)) for number in numbers), initial=0))
    return list(itertools.pairwise(ends))


def offsets_agree(tokenizer: Tokenizer, text: str, encoding: Encoding) -> bool:
    """Whether the tokens' bytes are the text's, and each stands where the tokenizer's own offsets say.

    Offsets of the library count characters, take a part of a character for the whole, and may leave spaces out: so both
    are widened to whole characters, and spaces at their ends do not count.
    """
    if b"".join(tokenizer.bytes_of(number) for number in encoding.ids) != text.encode():
        return False
    starts = _character_starts(text)  # (characters + 1,)
    for (a, b), span in zip(byte_spans(tokenizer, encoding.ids), encoding.offsets, strict=True):
        first = int(np.searchsorted(starts, a, side="right")) - 1
        stop = int(np.searchsorted(starts, b, side="left"))
        if _without_spaces(text, first, stop) != _without_spaces(text, *span):
            return False
    return True


def _without_spaces(text: str, start: int, stop: int) -> tuple[int, int] | None:
    while start < stop and text[start].isspace():
        start += 1
    while start < stop and text[stop - 1].isspace():
        stop -= 1
    return (start, stop) if start < stop else None


def _character_starts(text: str) -> np.ndarray:
    """The byte at which each character begins, and behind them the number of bytes."""
    return np.cumsum([0, *(len(character.encode()) for character in text)])


def _spans(tokenizer: Tokenizer, text: str, encoding: Encoding) -> list[tuple[int, int] | None]:
    if tokenizer.byte_level:
        return [*byte_spans(tokenizer, encoding.ids)]
    starts = _character_starts(text)
    return [(int(starts[a]), int(starts[b])) for a, b in encoding.offsets]
