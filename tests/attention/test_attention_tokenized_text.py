"""Tokenized texts: labels, byte spans, pairs, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Engine
from tokenizers import models, pre_tokenizers

from dlkit.attention.induction import plain_token_ids, repeated_random_tokens, shuffle_tokens
from dlkit.attention.tokenized_text import offsets_agree, token_label, tokenize_text
from dlkit.data.text.corpus import Text
from dlkit.data.text.tokenizer import CAUSAL, MASKED, Tokenizer, bpe, byte, wordpiece
from dlkit.errors import DlkitError, RequestError

BYTE = byte([], CAUSAL)
BPE = bpe([Text.of("the cat sat on the mat. " * 20 + "naïve café 你好 🙂 " * 20)], CAUSAL, vocab_size=300)
WORDS = wordpiece([Text.of("the cat sat on the mat, unbelievably. " * 20)], MASKED, vocab_size=120)


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=40).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text)))
@pytest.mark.parametrize("tokenizer", [BYTE, BPE], ids=["byte", "bpe"])
def test_bytes_of_tokens_are_the_text(tokenizer: Tokenizer, text: str) -> None:
    found = tokenize_text(tokenizer, text, 1000, causal=True)
    assert found.offsets_agree
    assert found.spans[0] is None and found.special == [True] + [False] * (len(found) - 1)
    data = text.encode()
    spans = [span for span in found.spans if span is not None]
    assert b"".join(data[a:b] for a, b in spans) == data
    for shown, (a, b) in zip(found.labels[1:], spans, strict=True):
        assert shown == data[a:b].decode("utf-8", "backslashreplace")


def test_incomplete_characters_are_escaped() -> None:
    found = tokenize_text(BYTE, "é\x00<", 10, causal=True)
    assert found.labels == ["<|endoftext|>", "\\xc3", "\\xa9", "\x00", "<"]
    assert token_label(BYTE, 256) == "<|endoftext|>"


def test_offsets_that_do_not_agree_are_reported() -> None:
    encoding = BPE.encodings(["the cat"])[0]
    assert offsets_agree(BPE, "the cat", encoding)
    assert not offsets_agree(BPE, "the cut", encoding)  # other bytes
    lower = Engine(models.BPE(vocab={c: i for i, c in enumerate("abc")}, merges=[]))
    lower.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers import decoders, normalizers

    lower.normalizer = normalizers.Lowercase()
    lower.decoder = decoders.ByteLevel()
    found = tokenize_text(Tokenizer(lower), "aBc", 9, causal=True)
    assert found.offsets_agree is False  # the tokens' bytes are not the text's


def test_a_text_and_a_pair_of_a_bert() -> None:
    one = tokenize_text(WORDS, "The cat", 20, causal=False)
    assert one.labels[0] == "[CLS]" and one.labels[-1] == "[SEP]" and one.split is None and one.offsets_agree is None
    pair = tokenize_text(WORDS, "The cat", 20, causal=False, pair="sat on")
    assert pair.split == len(one)
    assert pair.labels[len(one) :] == ["sat", "on", "[SEP]"]
    assert pair.segments == [0] * len(one) + [1] * 3
    assert [pair.special[i] for i in (0, len(one) - 1, len(pair) - 1)] == [True] * 3
    assert pair.spans[1] == (0, 3)
    assert pair.spans[len(one)] == (0, 3)


def test_long_texts_are_refused_or_cut() -> None:
    with pytest.raises(RequestError, match="the text has 9 tokens, the model takes 5 in all"):
        tokenize_text(BYTE, "123456789", 5, causal=True)
    cut = tokenize_text(BYTE, "123456789", 5, causal=True, cut=True)
    assert cut.labels == ["<|endoftext|>", "1", "2", "3", "4"]
    assert cut.cut == 5
    pair = tokenize_text(WORDS, "the cat sat on the mat", 6, causal=False, pair="the mat", cut=True)
    assert pair.labels[0] == "[CLS]" and pair.labels.count("[SEP]") == 2
    assert len(pair) == 6 and not pair.special[pair.split or 0]
    with pytest.raises(RequestError, match="no room"):
        tokenize_text(WORDS, "the", 4, causal=False, pair="mat", cut=True)


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("   ", "is empty"), ("a\ud800", "not UTF-8")])
def test_what_is_no_text(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        tokenize_text(WORDS, text, 9, causal=False)


def test_other_refusals() -> None:
    with pytest.raises(RequestError, match="not a pair"):
        tokenize_text(BYTE, "a", 9, causal=True, pair="b")
    with pytest.raises(DlkitError, match=r"no token \[CLS\]"):
        tokenize_text(BYTE, "a", 9, causal=False)


def test_repeated_random_tokens() -> None:
    printable = [*range(0x20, 0x7F)]
    assert plain_token_ids(BYTE).tolist() == printable
    made = repeated_random_tokens(BYTE, 100, 3, 7, causal=True)
    for each in made:
        length = each.stop - each.start
        assert length == 49 and each.token_ids[0] == BYTE.separator and len(each.token_ids) == 99
        first, second = each.token_ids[each.start - length : each.start], each.token_ids[each.start : each.stop]
        assert first == second and len(set(first)) == length and set(first) <= set(printable)
    assert made[0].token_ids != made[1].token_ids
    assert repeated_random_tokens(BYTE, 100, 3, 7, causal=True) == made
    bert = repeated_random_tokens(WORDS, 30, 1, 0, causal=False)[0]
    assert [WORDS.engine.id_to_token(bert.token_ids[i]) for i in (0, -1)] == ["[CLS]", "[SEP]"]
    assert not {WORDS.require(name) for name in MASKED} & set(bert.token_ids[1:-1])
    with pytest.raises(RequestError, match="no room"):
        repeated_random_tokens(BYTE, 4, 1, 0, causal=True)


def test_shuffling_keeps_special_tokens() -> None:
    import numpy as np

    token_ids = shuffle_tokens([256, *range(20), 256], [True] + [False] * 20 + [True], np.random.default_rng(0))
    assert token_ids[0] == token_ids[-1] == 256
    assert sorted(token_ids[1:-1]) == list(range(20)) != token_ids[1:-1]
