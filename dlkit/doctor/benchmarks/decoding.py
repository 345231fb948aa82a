"""Generation with GPT-2 small beside a decoder in plain torch whose step is one compiled graph."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dlkit.doctor.bench import Bench
from dlkit.doctor.benchmarks.comparison import compare_with_twin
from dlkit.doctor.benchmarks.timing import Work, time_in_turns
from dlkit.doctor.finding import Finding, judged
from dlkit.doctor.twins import transformer as plain
from dlkit.doctor.twins.decoder import PlainDecoder
from dlkit.doctor.twins.weights import with_weights_of
from dlkit.lm.generation import generate_tokens
from dlkit.lm.sampling import Sampling
from dlkit.models.gpt import GPT
from dlkit.training import autotune

GOAL = 0.9  # of the twin's speed
_FIRST = 1  # the first token id


def benchmark_decoding(bench: Bench) -> Iterator[Finding]:
    """Greedy decoding of one sequence: the same tokens as the twin in float32; tokens per second, in bf16 on a GPU."""
    layers, heads, width, vocabulary, context = bench.sized(gpu=(12, 12, 768, 50_257, 1024), cpu=(2, 2, 64, 512, 128))
    count, compared = bench.sized(gpu=256, cpu=64), 64
    torch.manual_seed(0)
    model = GPT(vocabulary, context, layers=layers, heads=heads, width=width).to(bench.device).eval()
    twin = with_weights_of(model, plain.PlainGPT(vocabulary, context, layers, heads, width))
    assert isinstance(twin, plain.PlainGPT)
    mine = torch.cat(generate_greedily(model, compared))
    theirs = torch.cat(PlainDecoder(twin, compared, compiled=False).generate(_FIRST, compared)).flatten()
    same = int((mine == theirs).cumprod(0).sum())
    yield judged("tokens", "the twin's, greedily", f"{same} of {compared} alike", same == compared, alike=same)
    if bench.on_gpu:
        model, twin = model.bfloat16(), twin.bfloat16()
    compiled = bench.on_gpu and autotune.can_compile(bench.device)

    def ours() -> Work:
        return lambda: generate_greedily(model, count)

    def bare() -> Work:
        decoder = PlainDecoder(twin, count, compiled)
        return lambda: decoder.generate(_FIRST, count)

    times = time_in_turns({"dlkit": ours, "bare torch": bare}, bench.device, rounds=3 if bench.quick else 5, warm_up=2)
    yield compare_with_twin(bench, f"{count} tokens of one text", times, count, "tokens/s", GOAL)


def generate_greedily(model: GPT, count: int) -> list[Tensor]:
    """`count` token ids after the first one, each (1,)."""
    generator = torch.Generator(model.tokens.weight.device)
    return list(generate_tokens(model, [[_FIRST]], count, Sampling(temperature=0), [generator]))
