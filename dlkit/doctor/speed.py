"""Training beside a loop in bare torch: the same network, batch, precision and optimizer.

dlkit's time is that of its own loop, data included; the twin has its data on the device. Data is random but for texts:
how fast a step is does not depend on what is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dlkit import build
from dlkit.data.dataset import Dataset, Split, assemble
from dlkit.doctor import samples
from dlkit.doctor.bench import Bench, loaded
from dlkit.doctor.clock import Work, in_turns
from dlkit.doctor.comparison import beside
from dlkit.doctor.finding import Finding
from dlkit.doctor.twins import loops
from dlkit.doctor.twins.convolutional import FastCNN, ResNet
from dlkit.doctor.twins.transformer import BERT, GPT
from dlkit.recipe import Recipe
from dlkit.train import plan
from dlkit.train.events import StepDone
from dlkit.train.loop import AUTOCAST, Training, fit

ENDLESS = 10**6  # steps: more than are ever taken
GOAL = 0.95  # of the twin's speed
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense, 16 bits, as the maker states them


def resnet18(bench: Bench) -> Iterator[Finding]:
    """ResNet-18 on CIFAR-10's shape, with crops and flips."""
    batch, images = bench.sized(gpu=(512, 10_000), cpu=(8, 64))
    depths, widths = (2, 2, 2, 2), bench.sized(gpu=(64, 128, 256, 512), cpu=(8, 16, 16, 32))
    changes = [f"data.batch_size={batch}", f"model.widths={list(widths)}", *_quiet()]
    recipe = loaded("cifar10-resnet18", changes, steps=ENDLESS, precision=_format(bench))
    data = random_images(images, 32, 10)
    yield _images(bench, "ResNet-18, 32 pixels", recipe, data, lambda: ResNet(depths, widths, 10), pad=4)


def fast_cnn(bench: Bench) -> Iterator[Finding]:
    """The network, batch and optimizer of airbench94, an epoch of 50,000 images a call."""
    batch, images = bench.sized(gpu=(1024, 50_000), cpu=(32, 64))
    widths = bench.sized(gpu=(64, 256, 256), cpu=(8, 16, 16))
    changes = ["data.name=cifar10", f"data.batch_size={batch}", "data.flip=true", "data.shift=2", "data.border=mirror"]
    changes += [f"model.widths={list(widths)}", *_quiet()]
    recipe = loaded("images-fast", changes, steps=ENDLESS, precision=_format(bench))
    steps = images // batch
    yield _images(
        bench,
        "fast CNN, 32 pixels",
        recipe,
        random_images(images, 32, 10),
        lambda: FastCNN(widths, 10),
        pad=2,
        calls=steps,
        unit="epochs/s",
        amount=1.0,
    )


def resnet50(bench: Bench) -> Iterator[Finding]:
    """ResNet-50 on ImageNet's shape."""
    batch, side, images = bench.sized(gpu=(256, 224, 1024), cpu=(2, 64, 16))
    depths, widths = (3, 4, 6, 3), bench.sized(gpu=(64, 128, 256, 512), cpu=(8, 16, 16, 32))
    changes = ["data.name=cifar10", f"data.batch_size={batch}", *_quiet(), "model.name=resnet", "model.stem=conv7"]
    changes += [
        "model.block=bottleneck",
        "model.shortcut=B",
        f"model.depths={list(depths)}",
        f"model.widths={list(widths)}",
    ]
    recipe = loaded("imagenet-resnet50", changes, steps=ENDLESS, precision=_format(bench))
    yield _images(
        bench,
        f"ResNet-50, {side} pixels",
        recipe,
        random_images(images, side, 1000),
        lambda: ResNet(depths, widths, 1000, large=True, bottleneck=True),
        pad=0,
    )


def gpt2(bench: Bench) -> Iterator[Finding]:
    """GPT-2 small with nanoGPT's settings: compiled, bf16, AdamW, clipped gradients."""
    rows, context, vocabulary = bench.sized(gpu=(16, 1024, 50_257), cpu=(2, 64, 512))
    layers, heads, width = bench.sized(gpu=(12, 12, 768), cpu=(2, 2, 64))
    changes = ["tokenizer.name=byte", f"data.batch_size={rows}", f"data.context={context}", "model.dropout=0"]
    changes += [f"model.layers={layers}", f"model.heads={heads}", f"model.width={width}", "train.clip_norm=1"]
    recipe = loaded("pydoc-gpt", [*changes, *_quiet()], steps=ENDLESS, precision=_format(bench))
    data: Any = build.load_data(recipe)
    data.vocabulary = vocabulary
    compiled = plan.can_compile(bench.device) and bench.on_gpu
    recipe.values["train"]["compile"] = "on" if compiled else "off"
    tokens = torch.from_numpy(data.tokens("train").astype("int64")).to(bench.device)
    padded = -(-vocabulary // 64) * 64  # as nanoGPT pads it

    def twin() -> Work:
        model = GPT(padded, context, layers, heads, width).to(bench.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        run: Any = torch.compile(model) if compiled else model
        return loops.training_step(run, optimizer, loops.windows(tokens, rows, context), dtype=_dtype(bench), clip=1.0)

    steps = bench.sized(gpu=5, cpu=1)
    times = in_turns(
        {"dlkit": _stepper(bench, recipe, data, steps), "bare torch": _repeated(twin, steps)},
        bench.device,
        _rounds(bench),
    )
    parameters = sum(p.numel() for p in GPT(vocabulary, context, layers, heads, width).to("meta").parameters())
    # 6 N + 12 layers width T operations a token, forward and backward (Chowdhery et al., arXiv:2204.02311, appendix B)
    flops = 6 * parameters + 12 * layers * width * context
    speed = 1e3 * steps * rows * context / times["dlkit"].median
    peak = _peak(bench)
    numbers = {} if peak is None else {"MFU": speed * flops / peak}
    yield beside(
        bench,
        f"GPT-2, {parameters / 1e6:.0f} M parameters{', compiled' if compiled else ''}",
        times,
        steps * rows * context,
        "tokens/s",
        GOAL,
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
    changes += ["model.dropout=0", "model.attention_dropout=0", "train.clip_norm=1", *_quiet()]
    recipe = loaded("pydoc-bert", changes, steps=ENDLESS, precision=_format(bench))
    data: Any = build.load_data(recipe)
    data.vocabulary = vocabulary
    tokens = torch.from_numpy(data.tokens("train").astype("int64")).to(bench.device)

    def twin() -> Work:
        model = BERT(vocabulary, context, layers, heads, width).to(bench.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
        batch = loops.masked_windows(tokens, rows, context, mask=4)
        return loops.training_step(model, optimizer, batch, dtype=_dtype(bench), clip=1.0)

    steps = bench.sized(gpu=5, cpu=1)
    times = in_turns(
        {"dlkit": _stepper(bench, recipe, data, steps), "bare torch": _repeated(twin, steps)},
        bench.device,
        _rounds(bench),
    )
    yield beside(bench, "BERT-base, masked", times, steps * rows * context, "tokens/s", GOAL)


def _images(
    bench: Bench,
    subject: str,
    recipe: Recipe,
    data: Dataset,
    network: Callable[[], nn.Module],
    *,
    pad: int,
    calls: int | None = None,
    unit: str = "images/s",
    amount: float | None = None,
) -> Finding:
    """An image classifier beside a twin with SGD and Nesterov's momentum."""
    steps = calls or bench.sized(gpu=10, cpu=1)
    batch: int = recipe.values["data"]["batch_size"]
    split = data.splits["train"]

    def twin() -> Work:
        model = network().to(bench.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        learned = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(learned, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
        images = _normalised(split.inputs, data, bench)
        batches = loops.image_batches(images, split.targets.to(bench.device), batch, pad)
        return loops.training_step(model, optimizer, batches, dtype=_dtype(bench), smoothing=0.1)

    ways = {"dlkit": _stepper(bench, recipe, data, steps), "bare torch": _repeated(twin, steps)}
    times = in_turns(ways, bench.device, _rounds(bench), warm_up=1 if calls else 3)
    return beside(bench, subject, times, amount or steps * batch, unit, GOAL)


def _normalised(images: Tensor, data: Dataset, bench: Bench) -> Tensor:
    """(N, C, H, W) on the device, half as many bytes a number on a GPU, channels last."""
    mean, std = (value.view(1, -1, 1, 1).to(bench.device) for value in (data.mean, data.std))
    parts = [
        ((part.to(bench.device) - mean) / std).to(torch.half if bench.on_gpu else None) for part in images.split(4096)
    ]
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)


def random_images(count: int, side: int, classes: int) -> Dataset:
    """A data set of noise."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    targets = torch.randint(classes, (count,), generator=generator)
    return assemble("noise", {"train": Split(inputs, targets)}, tuple(str(i) for i in range(classes)))


def _stepper(bench: Bench, recipe: Recipe, data: Any, steps: int) -> Callable[[], Work]:
    """dlkit's own loop, so many steps a call."""

    def make() -> Work:
        job: Training = build.training(recipe, bench.device, dataset=data).training
        job.evaluations, job.monitored = {}, None
        events = fit(job)

        def work() -> None:
            left = steps
            while left:
                left -= isinstance(next(events), StepDone)

        return work

    return make


def _repeated(make: Callable[[], Work], times: int) -> Callable[[], Work]:
    def built() -> Work:
        step = make()

        def work() -> None:
            for _ in range(times):
                step()

        return work

    return built


def _quiet() -> list[str]:
    """No step is logged, so that none waits."""
    return [f"train.log_every={ENDLESS}"]


def _format(bench: Bench) -> str:
    return plan.reduced_precision(bench.device) or "fp32" if bench.on_gpu else "fp32"


def _dtype(bench: Bench) -> torch.dtype | None:
    return AUTOCAST.get(_format(bench))


def _rounds(bench: Bench) -> int:
    return 3 if bench.quick else bench.sized(gpu=7, cpu=5)


def _peak(bench: Bench) -> float | None:
    """Operations a second that the card can do at 16 bits, where that is known."""
    if not bench.on_gpu:
        return None
    name = torch.cuda.get_device_name(bench.device)
    return next((flops for card, flops in PEAK_FLOPS.items() if card in name), None)
