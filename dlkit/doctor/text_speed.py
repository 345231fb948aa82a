"""Training language models beside twins in bare torch: GPT-2 small, and BERT-base on masked tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from dlkit.assemble import load_data
from dlkit.doctor import samples, training
from dlkit.doctor.bench import Bench, loaded
from dlkit.doctor.clock import Work, in_turns
from dlkit.doctor.comparison import beside
from dlkit.doctor.finding import Finding
from dlkit.doctor.twins import loops
from dlkit.doctor.twins.transformer import BERT, GPT
from dlkit.train import autotune

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense, 16 bits, as the maker states them


def gpt2(bench: Bench) -> Iterator[Finding]:
    """GPT-2 small with nanoGPT's settings: compiled, bf16, AdamW, clipped gradients."""
    rows, context, vocabulary = bench.sized(gpu=(16, 1024, 50_257), cpu=(2, 64, 512))
    layers, heads, width = bench.sized(gpu=(12, 12, 768), cpu=(2, 2, 64))
    changes = ["tokenizer.name=byte", f"data.batch_size={rows}", f"data.context={context}", "model.dropout=0"]
    changes += [f"model.layers={layers}", f"model.heads={heads}", f"model.width={width}", "train.clip_norm=1"]
    recipe = loaded(
        "pydoc-gpt", [*changes, *training.quiet()], steps=training.ENDLESS, precision=training.reduced(bench)
    )
    data: Any = load_data(recipe)
    data.vocabulary = vocabulary
    compiled = autotune.can_compile(bench.device) and bench.on_gpu
    recipe.values["train"]["compile"] = "on" if compiled else "off"
    tokens = torch.from_numpy(data.tokens("train").astype("int64")).to(bench.device)
    padded = -(-vocabulary // 64) * 64  # as nanoGPT pads it

    def twin() -> Work:
        model = GPT(padded, context, layers, heads, width).to(bench.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        run: Any = torch.compile(model) if compiled else model
        return loops.training_step(
            run, optimizer, loops.windows(tokens, rows, context), dtype=training.dtype(bench), clip=1.0
        )

    steps = bench.sized(gpu=5, cpu=1)
    times = in_turns(
        {"dlkit": training.stepper(bench, recipe, data, steps), "bare torch": training.repeated(twin, steps)},
        bench.device,
        training.rounds(bench),
    )
    parameters = sum(p.numel() for p in GPT(vocabulary, context, layers, heads, width).to("meta").parameters())
    # 6 N + 12 layers width T operations a token, forward and backward (Chowdhery et al., arXiv:2204.02311, appendix B)
    flops = 6 * parameters + 12 * layers * width * context
    speed = 1e3 * steps * rows * context / times["dlkit"].median
    peak = _peak(bench)
    numbers = {} if peak is None else {"MFU": speed * flops / peak}
    yield beside(
        bench,
        f"{bench.small}GPT-2, {parameters / 1e6:.3g} M parameters{', compiled' if compiled else ''}",
        times,
        steps * rows * context,
        "tokens/s",
        training.GOAL,
        **numbers,
        flops_per_token=flops,
    )


def bert(bench: Bench) -> Iterator[Finding]:
    """BERT-base on masked tokens; the twin takes the logits of all places, as transformers does."""
    rows, context, vocabulary = bench.sized(gpu=(64, 128, 30_522), cpu=(2, 64, 512))
    layers, heads, width = bench.sized(gpu=(12, 12, 768), cpu=(2, 2, 64))
    files = samples.files(bench.folder)
    changes = ["data.name=text", f"data.path={files['corpus']}", f"data.batch_size={rows}", f"data.context={context}"]
    changes += ["tokenizer.vocab_size=100", "optimizer.name=adamw", "model.norm_first=false"]
    changes += [f"model.layers={layers}", f"model.heads={heads}", f"model.width={width}"]
    changes += ["model.dropout=0", "model.attention_dropout=0", "train.clip_norm=1", *training.quiet()]
    recipe = loaded("pydoc-bert", changes, steps=training.ENDLESS, precision=training.reduced(bench))
    data: Any = load_data(recipe)
    data.vocabulary = vocabulary
    tokens = torch.from_numpy(data.tokens("train").astype("int64")).to(bench.device)

    def twin() -> Work:
        model = BERT(vocabulary, context, layers, heads, width).to(bench.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
        batch = loops.masked_windows(tokens, rows, context, mask=4)
        return loops.training_step(model, optimizer, batch, dtype=training.dtype(bench), clip=1.0)

    steps = bench.sized(gpu=5, cpu=1)
    times = in_turns(
        {"dlkit": training.stepper(bench, recipe, data, steps), "bare torch": training.repeated(twin, steps)},
        bench.device,
        training.rounds(bench),
    )
    yield beside(bench, f"{bench.small}BERT-base, masked", times, steps * rows * context, "tokens/s", training.GOAL)


def _peak(bench: Bench) -> float | None:
    """Operations a second that the card can do at 16 bits, where that is known."""
    if not bench.on_gpu:
        return None
    name = torch.cuda.get_device_name(bench.device)
    return next((flops for card, flops in PEAK_FLOPS.items() if card in name), None)
