"""A tiny random model, and inputs of every kind."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch

from dlkit.compression.language_codec import LanguageCodec
from dlkit.data.text import tokenizer as tokenizers
from dlkit.data.text.corpus import Text
from dlkit.data.text.tokenizer import CAUSAL, Tokenizer
from dlkit.models.gpt import GPT

if find_spec("constriction") is None:  # which only compression needs
    collect_ignore_glob = ["test_*.py"]

TEXT = "the quick brown fox jumps over the lazy dog; the dog does not mind.\n" * 20


def tiny(tokenizer: Tokenizer, seed: int = 0, context: int = 16) -> GPT:
    torch.manual_seed(seed)
    model = GPT(tokenizer.size, context, layers=1, heads=2, width=16)
    for parameter in model.parameters():  # sharper than a model begins, so that its distributions matter
        parameter.data.mul_(4)
    return model.eval()


@pytest.fixture(scope="session")
def bpe() -> Tokenizer:
    return tokenizers.bpe([Text.of(TEXT)], CAUSAL, vocab_size=300)


@pytest.fixture(scope="session")
def byte() -> Tokenizer:
    return tokenizers.byte([], CAUSAL)


@pytest.fixture
def codec(bpe: Tokenizer) -> Callable[..., LanguageCodec]:
    def make(streams: int | None = None, seed: int = 0, context: int = 16) -> LanguageCodec:
        return LanguageCodec(tiny(bpe, seed, context), bpe, torch.get_num_threads(), streams, "tiny")

    return make


def soup(draw: random.Random) -> bytes:
    """A random input: empty, one byte, binary, text, broken UTF-8, repeated, compressed, letters of all scripts."""
    size = draw.randrange(1, 48)
    kind = draw.randrange(9)
    if kind == 0:
        return b""
    if kind == 1:
        return bytes([draw.randrange(256)])
    if kind == 2:
        return draw.randbytes(size)
    if kind == 3:
        position = draw.randrange(len(TEXT) - size)
        return TEXT[position : position + size].encode()
    if kind == 4:  # text, cut inside of characters
        broken = bytearray("Ünïcödé 漢字 🎲 ".encode() * 3)
        del broken[draw.randrange(len(broken))]
        return bytes(broken[draw.randrange(10) :])
    if kind == 5:
        return draw.randbytes(draw.randrange(1, 4)) * size
    if kind == 6:
        return zlib.compress(draw.randbytes(size))
    if kind == 7:
        points = [draw.choice((draw.randrange(0xD800), draw.randrange(0xE000, 0x110000))) for _ in range(size // 2)]
        return "".join(map(chr, points)).encode()
    return b"<|endoftext|>\r\n\0\xff" * draw.randrange(1, 4)


@pytest.fixture(scope="session")
def draw_input() -> Callable[[random.Random], bytes]:
    return soup


@pytest.fixture(scope="session")
def make_tiny() -> Callable[..., GPT]:
    return tiny
