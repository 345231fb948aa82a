"""Coding with a GPT: the distributions and code lengths are the model's, bytes come back, errors name their cause."""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dlkit.compression import archive, gpt_distributions, language_codec, numerics
from dlkit.compression.container import CODED, STORED, ContainerReader
from dlkit.compression.language_codec import LanguageCodec
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import DlkitError
from dlkit.models.gpt import GPT

Make = Callable[..., LanguageCodec]
TEXT = b"the quick brown fox jumps over the lazy dog; the dog does not mind.\n" * 20


def silent(_: int) -> None:
    pass


def packed(codec: Any, data: bytes) -> bytes:
    out = io.BytesIO()
    archive.compress(io.BytesIO(data), out, codec, silent)
    return out.getvalue()


def unpacked(codec: Any, data: bytes) -> bytes:
    back = io.BytesIO()
    archive.decompress(ContainerReader(io.BytesIO(data), "x.dlk"), back.write, codec, silent)
    return back.getvalue()


# ------------------------------------------------------------------ distributions


def test_a_step_is_the_models_own_prediction(bpe: Tokenizer, make_tiny: Callable[..., GPT]) -> None:
    """Each distribution is the whole model's on the last tokens: all of them, then between `keep` and the context."""
    model, n, context, keep = make_tiny(bpe), 3, 16, 5
    tokens = np.random.default_rng(0).integers(0, bpe.size, (n, 60))
    steps = gpt_distributions.TokenPredictor(model, 7, n, keep)
    seen, window = np.full((n, 1), 7), 1
    for step in range(60):
        with torch.no_grad():
            expected = model(torch.from_numpy(seen[:, -window:]))[:, -1]
        assert torch.allclose(steps.logits(), expected, atol=1e-4)
        steps.feed(tokens[:, step])
        seen = np.hstack((seen, tokens[:, step : step + 1]))
        window = window + 1 if window < context else keep + 1


def test_the_length_is_the_cross_entropy(codec: Make) -> None:
    made = codec(streams=1, context=512)
    made.begin(b"")
    chunk = made.encode(TEXT[:700])
    tokens = made.tokens.encode(TEXT[:700])
    assert tokens is not None
    assert len(tokens) < 511
    with torch.no_grad():
        logits = made.model(torch.from_numpy(np.concatenate(([made.first], tokens)))[None, :-1])[0].double()
    bits = F.cross_entropy(logits, torch.from_numpy(tokens), reduction="sum").item() / np.log(2)
    payload, found = made._encode(tokens, 1, silent, 700)
    assert found == pytest.approx(bits, rel=1e-6)
    assert 8 * len(payload) <= bits * 1.0002 + 40
    assert chunk.kind == (CODED if len(payload) < 700 else STORED)


def test_progress_adds_up_to_the_bytes(codec: Make) -> None:
    counts: list[int] = []
    made = codec()
    packed_size = archive.compress(io.BytesIO(TEXT), io.BytesIO(), made, counts.append)
    assert sum(counts) == len(TEXT) == packed_size.bytes_in


# ------------------------------------------------------------------ round trips


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_random_inputs_come_back(codec: Make, draw_input: Callable[[random.Random], bytes], count: int) -> None:
    draw = random.Random(count)
    codecs = [codec(streams) for streams in (1, 5, 16)]
    for made in codecs:
        made.begin(b"")
    kinds: set[int] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language_codec, "TOKENS_PER_STREAM", 2)
        for _ in range(count):
            data = draw_input(draw)
            made = draw.choice(codecs)
            chunk = made.encode(data)
            kinds.add(chunk.kind)
            assert made.decode(chunk, {}) == data
            # chunks that do not get shorter are stored: those are decoded from their code as well
            tokens = made.tokens.encode(data)
            if chunk.kind == STORED and tokens is not None and len(tokens):
                streams = made._streams_for(len(tokens), made.streams or 1)
                payload, _bits = made._encode(tokens, streams, silent, len(data))
                coded = language_codec.Chunk(CODED, len(data), len(tokens), streams, payload, zlib.crc32(data))
                assert made.decode(coded, {}) == data
    assert kinds == {STORED, CODED} or count < 1000


def test_files_of_many_chunks_come_back(codec: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = codec()
    made.chunk_bytes = 200
    data = TEXT[:650] + b"\xff\xfe" + random.Random(0).randbytes(150) + TEXT[:100]
    whole = packed(made, data)
    assert len(list(ContainerReader(io.BytesIO(whole), "x").chunks())) >= 4
    assert unpacked(codec(), whole) == data
    assert unpacked(codec(), packed(codec(), b"")) == b""


def test_pieces_end_at_lines_and_lose_nothing() -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 7))  # as a pipe does

    data = (b"x" * 60 + b"\n") * 100
    found = list(archive.split_at_lines(Trickle(data), 1000))
    assert b"".join(found) == data
    assert all(len(part) <= 1000 for part in found)
    assert all(part.endswith(b"\n") for part in found)
    assert [len(part) for part in archive.split_at_lines(io.BytesIO(bytes(2500)), 1000)] == [1000, 1000, 500]


def test_random_bytes_grow_by_little(codec: Make) -> None:
    data = random.Random(0).randbytes(2000)
    whole = packed(codec(), data)
    assert len(whole) < 2000 + 400
    assert unpacked(codec(), whole) == data


# ------------------------------------------------------------------ errors


def test_another_model_or_tokenizer_is_named_first(codec: Make, byte: Tokenizer, make_tiny: Any) -> None:
    whole = packed(codec(), TEXT)
    with pytest.raises(DlkitError, match=r"another model: .*\(tiny\), this is"):
        unpacked(codec(seed=1), whole)
    other = codec()
    other._identity["tokenizer"] = "0" * 32
    with pytest.raises(DlkitError, match="another tokenizer"):
        unpacked(other, whole)
    # a hash of what the model computes: the same weights with other heads are another model
    one, two = make_tiny(byte), make_tiny(byte)
    assert gpt_distributions.model_fingerprint(one) == gpt_distributions.model_fingerprint(two)
    two.blocks[0].attention.heads = 4
    assert gpt_distributions.model_fingerprint(one) != gpt_distributions.model_fingerprint(two)


def test_a_machine_with_other_distributions_is_named_before_the_first_chunk(
    codec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = packed(codec(), TEXT)
    exact = gpt_distributions.coder_weights

    def shifted(logits: torch.Tensor) -> Any:  # as other kernels do, in the last digits
        return exact(logits + 1e-6 * torch.linspace(-1, 1, logits.shape[-1]))

    monkeypatch.setattr(gpt_distributions, "coder_weights", shifted)
    monkeypatch.setattr(numerics.torch, "__version__", "9.9")
    with pytest.raises(DlkitError, match=r"first distributions .*torch: .* there, 9\.9 here"):
        unpacked(codec(), whole)


def test_a_distribution_that_differs_later_is_an_error_not_rubbish(
    codec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, exact, calls = packed(codec(), TEXT), gpt_distributions.coder_weights, 0

    def late(logits: torch.Tensor) -> Any:
        nonlocal calls
        calls += 1
        return exact(logits.roll(1, -1) if calls == 60 else logits)

    monkeypatch.setattr(gpt_distributions, "coder_weights", late)
    with pytest.raises(DlkitError, match="does not reproduce a distribution"):
        unpacked(codec(), whole)


def test_threads_that_cannot_be_had_are_an_error() -> None:
    before = torch.get_num_threads()
    with (
        pytest.raises(DlkitError, match=r"needs 4096 threads.* cores are here"),
        numerics.reproducible(4096),
    ):
        pass
    assert torch.get_num_threads() == before
    with numerics.reproducible(1):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_every_changed_or_missing_byte_of_a_file_is_seen(codec: Make) -> None:
    whole = packed(codec(), TEXT[:40])
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        for damaged in (bytes(changed), whole[:position], whole[:position] + whole[position + 1 :]):
            with pytest.raises(DlkitError):
                list(ContainerReader(io.BytesIO(damaged), "x").chunks())
