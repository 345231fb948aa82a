"""A text as a model reads it: token ids, their text for display, and the bytes that each stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dlkit.attention.byte_offsets import Span, offsets_agree, token_spans
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import RequestError


@dataclass(frozen=True)
class TokenizedText:
    """One text, or a pair of them, as T tokens.

    Args:
        token_ids: of the T tokens.
        labels: the text of each token. It may hold any character; incomplete UTF-8 is escaped as `\\xe2`.
        special: whether a token is a special one, which stands for no part of the text.
        spans: the bytes of its text that each token stands for, from and to; None for special tokens.
        split: the position of the second text's first token in a pair.
        offsets_agree: whether the bytes of the tokens and the tokenizer's own offsets give the same spans; None unless
            the vocabulary is byte-level.
        cut: how many tokens were left out to fit the context.
    """

    token_ids: list[int]
    labels: list[str]
    special: list[bool]
    spans: list[Span | None]
    split: int | None = None
    offsets_agree: bool | None = None
    cut: int = 0

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def segments(self) -> list[int]:
        """The segment id of each token: 0 in the first text and 1 in the second."""
        border = len(self) if self.split is None else self.split
        return [int(position >= border) for position in range(len(self))]


def tokenize_text(
    tokenizer: Tokenizer, text: str, context: int, *, causal: bool, pair: str | None = None, cut: bool = False
) -> TokenizedText:
    """Tokenize a text for a GPT, as separator text, or for a BERT, as [CLS] text [SEP] or [CLS] text [SEP] pair [SEP].

    Args:
        tokenizer: the model's.
        text: to tokenize.
        context: the most tokens that the model takes.
        causal: for a GPT.
        pair: the second text, for a BERT.
        cut: truncate what is too long (of a pair the second text first) instead of raising.

    Raises:
        RequestError: the text is empty, is not UTF-8 or has more tokens than the model takes; a pair for a GPT.
        DlkitError: the tokenizer lacks a special token.
    """
    if causal and pair is not None:
        raise RequestError("a GPT reads one text, not a pair", "leave `pair` out, or take a BERT")
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
            "shorten it, or give `cut` to take what fits",
        )
    token_ids, split = list(begin), None
    spans: list[Span | None] = [None] * len(begin)
    room = context - len(begin) - len(end) * len(texts)
    if room < len(texts):
        raise RequestError(f"a context of {context} tokens has no room for the text")
    for i, (each, encoding) in enumerate(zip(texts, encodings, strict=True)):
        if i:
            split = len(token_ids)
        take = min(len(encoding.ids), room - (len(texts) - 1 - i))  # the second text needs a token at least
        room -= take
        token_ids += [*encoding.ids[:take], *end]
        spans += [*token_spans(tokenizer, each, encoding)[:take], *([None] * len(end))]
    agrees = None
    if tokenizer.byte_level:
        agrees = all(offsets_agree(tokenizer, each, encoding) for each, encoding in zip(texts, encodings, strict=True))
    return TokenizedText(
        token_ids,
        [token_label(tokenizer, token_id) for token_id in token_ids],
        [span is None for span in spans],
        spans,
        split,
        agrees,
        max(0, wanted - context),
    )


def token_label(tokenizer: Tokenizer, token_id: int) -> str:
    """The text of a token, with incomplete UTF-8 escaped as `\\xe2`."""
    if tokenizer.byte_level:
        return tokenizer.bytes_of(token_id).decode("utf-8", "backslashreplace")
    # GPT-1's vocabulary marks the end of a word, others mark its beginning
    return re.sub("</w>$", " ", tokenizer.engine.id_to_token(token_id) or "")
