"""Training speed of language models beside twins in bare torch: GPT-2 small, and BERT-base on masked tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from dlkit.assemble import load_data
from dlkit.doctor import samples
from dlkit.doctor.bench import Bench, bench_recipe
from dlkit.doctor.benchmarks import throughput
from dlkit.doctor.benchmarks.comparison import compare_with_twin
from dlkit.doctor.benchmarks.timing import Work, time_in_turns
from dlkit.doctor.finding import Finding
from dlkit.doctor.twins import loops
from dlkit.doctor.twins.transformer import PlainBERT, PlainGPT
from dlkit.training import autotune

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense, 16 bits, as stated by the manufacturer


def benchmark_gpt2(bench: Bench) -> Iterator[Finding]:
    """GPT-2 small with nanoGPT's settings: compiled, bf16, AdamW, clipped gradients."""
    rows, context, vocabulary = bench.sized(gpu=(16, 1024, 50_257), cpu=(2, 64, 512))
    layers, heads, width = bench.sized(gpu=(12, 12, 768), cpu=(2, 2, 64))
    changes = ["tokenizer.name=byte", f"data.batch_size={rows}", f"data.context={context}", "model.dropout=0"]
    changes += [f"model.layers={layers}", f"model.heads={heads}", f"model.width={width}", "train.clip_norm=1"]
    recipe = bench_recipe(
        "pydoc-gpt",
        [*changes, *throughput.quiet_logging()],
        steps=throughput.ENDLESS,
        precision=throughput.benchmark_precision(bench),
    )
    data: Any = load_data(recipe)
    data.vocabulary = vocabulary
    compiled = autotune.can_compile(bench.device) and bench.on_gpu
    recipe.values["train"]["compile"] = "on" if compiled else "off"
    tokens = torch.from_numpy(data.tokens("train").astype("int64")).to(bench.device)
    padded = -(-vocabulary // 64) * 64  # as nanoGPT pads it

    def twin() -> Work:
        model = PlainGPT(padded, context, layers, heads, width).to(bench.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        run: Any = torch.compile(model) if compiled else model
        return loops.training_step(
            run,
            optimizer,
            loops.random_windows(tokens, rows, context),
            dtype=throughput.benchmark_dtype(bench),
            clip=1.0,
        )

    steps = bench.sized(gpu=5, cpu=1)
    times = time_in_turns(
        {
            "dlkit": throughput.dlkit_steps(bench, recipe, data, steps),
            "bare torch": throughput.repeat_step(twin, steps),
        },
        bench.device,
        throughput.timing_rounds(bench),
    )
    parameters = sum(p.numel() for p in PlainGPT(vocabulary, context, layers, heads, width).to("meta").parameters())
    # 6 N + 12 layers width T FLOPs per token, forward and backward (Chowdhery et al., arXiv:2204.02311, appendix B)
    flops = 6 * parameters + 12 * layers * width * context
    speed = 1e3 * steps * rows * context / times["dlkit"].median
    peak = _peak(bench)
    numbers = {} if peak is None else {"MFU": speed * flops / peak}
    yield compare_with_twin(
        bench,
        f"{bench.small}GPT-2, {parameters / 1e6:.3g} M parameters{', compiled' if compiled else ''}",
        times,
        steps * rows * context,
        "tokens/s",
        throughput.GOAL,
        **numbers,
        flops_per_token=flops,
    )


def benchmark_bert(bench: Bench) -> Iterator[Finding]:
    """BERT-base on masked tokens; the twin computes logits at all positions, as transformers does."""
    rows, context, vocabulary = bench.sized(gpu=(64, 128, 30_522), cpu=(2, 64, 512))
    layers, heads, width = bench.sized(gpu=(12, 12, 768), cpu=(2, 2, 64))
    files = samples.write_samples(bench.folder)
    changes = ["data.name=text", f"data.path={files['corpus']}", f"data.batch_size={rows}", f"data.context={context}"]
    changes += ["tokenizer.vocab_size=100", "optimizer.name=adamw", "model.norm_first=false"]
    changes += [f"model.layers={layers}", f"model.heads={heads}", f"model.width={width}"]
    changes += ["model.dropout=0", "model.attention_dropout=0", "train.clip_norm=1", *throughput.quiet_logging()]
    recipe = bench_recipe(
        "pydoc-bert", changes, steps=throughput.ENDLESS, precision=throughput.benchmark_precision(bench)
    )
    data: Any = load_data(recipe)
    data.vocabulary = vocabulary
    tokens = torch.from_numpy(data.tokens("train").astype("int64")).to(bench.device)

    def twin() -> Work:
        model = PlainBERT(vocabulary, context, layers, heads, width).to(bench.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
        batch = loops.random_masked_windows(tokens, rows, context, mask=4)
        return loops.training_step(model, optimizer, batch, dtype=throughput.benchmark_dtype(bench), clip=1.0)

    steps = bench.sized(gpu=5, cpu=1)
    times = time_in_turns(
        {
            "dlkit": throughput.dlkit_steps(bench, recipe, data, steps),
            "bare torch": throughput.repeat_step(twin, steps),
        },
        bench.device,
        throughput.timing_rounds(bench),
    )
    yield compare_with_twin(
        bench, f"{bench.small}BERT-base, masked", times, steps * rows * context, "tokens/s", throughput.GOAL
    )


def _peak(bench: Bench) -> float | None:
    """Peak FLOP/s of the GPU at 16 bits, if known."""
    if not bench.on_gpu:
        return None
    name = torch.cuda.get_device_name(bench.device)
    return next((flops for card, flops in PEAK_FLOPS.items() if card in name), None)
