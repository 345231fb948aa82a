"""Speed of language models: generation and training beside transformers, and what the cache buys."""

from __future__ import annotations

import copy
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F

from dlkit.data.batch import Batch
from dlkit.data.text.windows import TokenWindows
from dlkit.lm.eager_decoding import EagerDecoder
from dlkit.lm.generation import generate_tokens
from dlkit.lm.sampling import Sampling
from dlkit.losses import CrossEntropy
from dlkit.models.gpt import GPT
from dlkit.optim.adamw import AdamW
from dlkit.optim.groups import parameter_groups
from dlkit.pretrained import huggingface_export
from dlkit.tasks.language_modelling import CausalLM
from dlkit.training.events import StepDone
from dlkit.training.loop import Training, fit
from dlkit.training.settings import TrainSettings

pytestmark = pytest.mark.benchmark
CPU = torch.device("cpu")
ROUNDS = 7
STEPS = 20


def twins(context: int, vocabulary: int = 1024, **keys: Any) -> tuple[GPT, Any]:
    """A GPT, and transformers' with the same weights."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = GPT(vocabulary, context, **keys)
    config = transformers.GPT2Config.from_dict(huggingface_export.config_of(model))
    config._attn_implementation = "sdpa"
    theirs = transformers.GPT2LMHeadModel(config)
    theirs.load_state_dict(huggingface_export.tensors_of(model), strict=False)
    return model, theirs


def in_turns(*sides: Callable[[], Any], rounds: int = ROUNDS) -> list[list[float]]:
    """Seconds of each side in each round, behind one that warms up."""
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds + 1):
        for spent, side in zip(times, sides, strict=True):
            began = time.perf_counter()
            side()
            spent.append(time.perf_counter() - began)
    return [spent[1:] for spent in times]


def told(name: str, ours: list[float], theirs: list[float], tokens: int) -> None:
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{name}: {tokens / a:,.0f} and {tokens / b:,.0f} tokens/s, {statistics.median(ratios):.2f}x "
          f"({ratios[0]:.2f} to {ratios[-1]:.2f}), n = {len(ratios)}, {torch.get_num_threads()} threads")  # fmt: skip


@pytest.mark.parametrize("keys", [{"layers": 4, "heads": 4, "width": 256}, {"layers": 6, "heads": 6, "width": 360}])
def test_generation_beside_transformers(keys: dict[str, Any]) -> None:
    torch.set_num_threads(2)
    model, theirs = (side.eval() for side in twins(512, **keys))
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    prompt = list(range(1, 9))

    def ours() -> list[int]:
        chosen = generate_tokens(model, [prompt], 256, Sampling(temperature=0), [torch.Generator()])
        return torch.cat(list(chosen)).tolist()

    def other() -> list[int]:
        with torch.inference_mode():
            got = theirs.generate(
                torch.tensor([prompt]), max_new_tokens=256, do_sample=False, eos_token_id=None, pad_token_id=0
            )
        return got[0, len(prompt) :].tolist()

    assert ours() == other()
    a, b = in_turns(ours, other)
    told(f"generate 256 tokens, {millions:.1f} M, batch 1, fp32, beside transformers", a, b, 256)


@pytest.mark.parametrize("keys", [{"layers": 4, "heads": 4, "width": 256}, {"layers": 6, "heads": 6, "width": 384}])
def test_time_of_a_token_with_and_without_the_cache(keys: dict[str, Any]) -> None:
    torch.set_num_threads(2)
    model = GPT(1024, 1024, **keys).eval()
    tokens = torch.randint(1024, (1, 1024))

    def cached(length: int) -> Callable[[], Any]:
        decoder = EagerDecoder(model, model.make_cache(1, 1024))
        with torch.inference_mode():
            model(tokens[:, :length], cache=decoder.cache)

        def steps() -> None:
            for _ in range(STEPS):  # the first one finds the processor's caches as the other side left them
                for layer in decoder.cache.layers:
                    layer.length = length
                with torch.inference_mode():
                    decoder.step(tokens[:, 0])

        return steps

    def whole(length: int) -> Callable[[], Any]:
        def step() -> None:
            with torch.inference_mode():
                model(tokens[:, :length], last=True)

        return step

    sides = [cached(32), cached(1000), whole(32), whole(1000)]
    medians = [statistics.median(spent) * 1e3 for spent in in_turns(*sides, rounds=21)]
    medians[:2] = [spent / STEPS for spent in medians[:2]]
    print(f"width {keys['width']}: behind 32 and 1,000 tokens: {medians[0]:.2f} and {medians[1]:.2f} ms with the cache "
          f"({medians[1] / medians[0]:.2f}x), {medians[2]:.2f} and {medians[3]:.2f} ms without "
          f"({medians[3] / medians[2]:.1f}x)")  # fmt: skip


def settings_of(steps: int, precision: str = "fp32") -> TrainSettings:
    return TrainSettings(
        steps=steps,
        precision=precision,
        compile="off",
        channels_last="off",
        eval_every="never",  # type: ignore[arg-type]
    )


def test_training_beside_transformers(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    steps, size, context = 5, 8, 128
    ours, theirs = twins(context, layers=6, heads=6, width=360)
    twin = copy.deepcopy(theirs)
    stream = torch.randint(1024, (size * (context + 1) * (steps + 12),)).numpy().astype("uint16")
    batches = TokenWindows(stream, CPU, 0, True, batch_size=size, context=context)
    x, _ = next(iter(batches.epoch(0))).tensors()
    torch.testing.assert_close(ours(x), theirs(x).logits, atol=1e-4, rtol=1e-4)

    def dlkit_steps() -> None:
        run = Training(
            model=ours,
            task=CausalLM(CrossEntropy()),
            optimizer=AdamW(parameter_groups(ours), lr=1e-4),
            schedule=lambda step, total: 1.0,
            batches=batches,
            evaluations={},
            settings=settings_of(steps),
            device=CPU,
        )
        for _ in fit(run):
            pass

    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-4, fused=True)
    theirs.train()

    def bare() -> None:
        for step, (inputs, targets) in enumerate(map(Batch.tensors, batches.epoch(0))):
            if step == steps:
                return
            loss = F.cross_entropy(theirs(inputs).logits.flatten(0, 1), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    sides, names = [dlkit_steps, bare], ["a bare loop on transformers' GPT-2"]
    if importlib.util.find_spec("accelerate"):
        from transformers import Trainer, TrainingArguments

        rows = [
            {"input_ids": row, "labels": row} for inputs, _ in map(Batch.tensors, batches.epoch(0)) for row in inputs
        ]
        arguments = TrainingArguments(
            output_dir=str(tmp_path), max_steps=steps, per_device_train_batch_size=size, learning_rate=1e-4,
            max_grad_norm=0.0, optim="adamw_torch_fused", report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        trainer = Trainer(model=twin, args=arguments, train_dataset=rows)  # type: ignore[arg-type]
        sides.append(cast(Callable[[], None], trainer.train))
        names.append("HF Trainer")
    a, *others = in_turns(*sides)
    for name, b in zip(names, others, strict=True):
        told(f"train 10 M, batch 8 x 128, fp32, beside {name}", a, b, steps * size * context)


def test_bf16_beside_fp32() -> None:
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    steps, size, context = 3, 8, 128
    stream = torch.randint(1024, (size * (context + 1) * (steps + 12),)).numpy().astype("uint16")
    batches = TokenWindows(stream, CPU, 0, True, batch_size=size, context=context)

    def side(precision: str) -> Callable[[], Any]:
        torch.manual_seed(0)
        model = GPT(1024, context, layers=4, heads=8, width=512)
        optimizer = AdamW(parameter_groups(model), lr=1e-4)

        def train() -> float:
            run = Training(
                model=model, task=CausalLM(CrossEntropy()), optimizer=optimizer, schedule=lambda step, total: 1.0,
                batches=batches, evaluations={}, settings=settings_of(steps, precision), device=CPU,
            )  # fmt: skip
            return [event for event in fit(run) if isinstance(event, StepDone)][-1].metrics["train/loss"]

        return train

    assert side("bf16")() == pytest.approx(side("fp32")(), abs=0.02)
    a, b = in_turns(side("bf16"), side("fp32"))
    told("train width 512, 4 layers, batch 8 x 128, bf16 beside fp32", a, b, steps * size * context)


TOKENIZE = """
import sys, time
from pathlib import Path
from dlkit.data.text.corpus import Text
from dlkit.data.text.tokenizer import CAUSAL, bpe
text = Text.of(Path(sys.argv[1]).read_text())
tokenizer = bpe([text], CAUSAL, vocab_size=4096)
long = Text.of(Path(sys.argv[1]).read_text() * 20)
began = time.perf_counter()
count = sum(len(part) for part in tokenizer.encode_text(long))
print(count, time.perf_counter() - began)
"""


def test_the_tokenizer_runs_on_both_cores(tmp_path: Path) -> None:
    """A process each with one thread of the tokenizer and with two, in turns."""
    from dlkit.data.text.pydoc import pydoc

    (tmp_path / "text").write_text("".join(pydoc().splits["train"].pieces()))
    spent: dict[str, list[float]] = {"1": [], "2": []}
    counts: set[str] = set()
    for _ in range(ROUNDS):
        for threads, seconds in spent.items():
            environment = {**os.environ, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"}
            command = [sys.executable, "-c", TOKENIZE, str(tmp_path / "text")]
            told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            count, elapsed = told.split()
            counts.add(count)
            seconds.append(float(elapsed))
    assert len(counts) == 1  # the same tokens
    ratios = sorted(a / b for a, b in zip(spent["1"], spent["2"], strict=True))
    tokens = int(counts.pop()) / statistics.median(spent["2"])
    print(f"\ntokenizing on two cores: {statistics.median(ratios):.2f}x one ({ratios[0]:.2f} to {ratios[-1]:.2f}), "
          f"{tokens:,.0f} tokens/s, n = {ROUNDS}")  # fmt: skip
