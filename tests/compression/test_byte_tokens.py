"""Bytes as tokens: every input, no loss."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, normalizers, pre_tokenizers

from dlkit.compression.byte_tokens import ByteTokens
from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text.corpus import Text
from dlkit.data.text.tokenizer import CAUSAL, Tokenizer
from dlkit.errors import RequestError


def byte_level(vocabulary: dict[str, int], normalizer: object = None) -> Tokenizer:
    engine = Engine(models.BPE(vocab=vocabulary, merges=[]))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    if normalizer is not None:
        engine.normalizer = normalizer  # pyright: ignore
    return Tokenizer(engine)


@pytest.mark.parametrize("kind", ["bpe", "byte"])
def test_every_input_comes_back(
    kind: str, request: pytest.FixtureRequest, draw_input: Callable[[random.Random], bytes]
) -> None:
    tokens = ByteTokens(request.getfixturevalue(kind))
    draw = random.Random(0)
    for data in [bytes(range(256)), b"\xf0\x9f\x8e", b"a\x80b", *(draw_input(draw) for _ in range(500))]:
        token_ids = tokens.encode(data)
        assert token_ids is not None
        assert tokens.decode(token_ids) == data


def test_text_takes_the_tokens_of_its_tokenizer(bpe: Tokenizer) -> None:
    text = "the quick brown fox, the lazy dog"
    tokens = ByteTokens(bpe)
    token_ids = tokens.encode(text.encode())
    assert token_ids is not None
    assert token_ids.tolist() == bpe.encode([text])[0]
    around = tokens.encode(b"\xff" + text.encode() + b"\xfe")
    assert around is not None
    assert around[1:-1].tolist() == token_ids.tolist()


def test_a_special_token_in_the_data_comes_back(bpe: Tokenizer) -> None:
    data = b"a<|endoftext|>b \xff<|endoftext|>"
    token_ids = ByteTokens(bpe).encode(data)
    assert token_ids is not None
    assert token_ids.tolist().count(bpe.separator) == 2
    assert ByteTokens(bpe).decode(token_ids) == data


def test_a_tokenizer_that_tidies_up_loses_nothing() -> None:
    alphabet = {character: byte for byte, character in tokenizers._CHARACTER_OF.items()}
    tokens = ByteTokens(byte_level(alphabet, normalizers.Lowercase()))
    data = "Straße UND Ünïcode".encode()
    token_ids = tokens.encode(data)
    assert token_ids is not None
    assert tokens.decode(token_ids) == data


def test_a_vocabulary_without_a_byte_says_so() -> None:
    tokens = ByteTokens(byte_level({"a": 0, "b": 1}))
    assert tokens.encode(b"abc") is None
    found = tokens.encode(b"abba")
    assert found is not None
    assert found.tolist() == [0, 1, 1, 0]


def test_word_pieces_are_refused() -> None:
    pieces = tokenizers.wordpiece([Text.of("a few words\n")], CAUSAL, vocab_size=200)
    with pytest.raises(RequestError, match="not of bytes"):
        ByteTokens(pieces)
