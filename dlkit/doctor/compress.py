"""A text that a model compresses decodes to its bytes, in about the bits that the model's probabilities ask for."""

from __future__ import annotations

import io
from collections.abc import Iterator

import torch

from dlkit.compression import archive, numerics
from dlkit.compression.container import ContainerReader
from dlkit.compression.language_codec import LanguageCodec
from dlkit.data.text import tokenizer as tokenizers
from dlkit.doctor import samples
from dlkit.doctor.bench import CPU, Bench
from dlkit.doctor.finding import Finding, judged
from dlkit.models.gpt import GPT

BYTES = 6000
SLACK = 1.02  # of the ideal length, for what the coder rounds


def check(bench: Bench) -> Iterator[Finding]:
    """A finding for the CPU, where `dlkit compress` codes; and one for a GPU."""
    data = samples.corpus(bench.folder).read_bytes()[:BYTES]
    for device in dict.fromkeys((CPU, bench.device)):
        torch.manual_seed(0)
        tokenizer = tokenizers.byte((), ())
        model = GPT(tokenizer.size, 64, layers=2, heads=2, width=32).to(device).eval()
        with numerics.reproducible(1):
            coder, decoder = (LanguageCodec(model, tokenizer, 1) for _ in range(2))
            packed, found = io.BytesIO(), io.BytesIO()
            archive.compress(io.BytesIO(data), packed, coder, _ignore)
            packed.seek(0)
            archive.decompress(ContainerReader(packed, "the result"), found.write, decoder, _ignore)
        ideal = coder.ideal_bits / 8
        same = found.getvalue() == data
        got = f"{'the same' if same else 'other'} bytes, {coder.payload_bytes:,} for {ideal:,.0f} bytes of information"
        holds = same and coder.payload_bytes <= SLACK * ideal + 16
        yield judged(
            f"GPT, {device.type}",
            f"the same {BYTES:,} bytes, coded in {SLACK:g} of their information",
            got,
            holds,
            payload_bytes=coder.payload_bytes,
            ideal_bytes=ideal,
        )


def _ignore(_: int) -> None:
    pass
