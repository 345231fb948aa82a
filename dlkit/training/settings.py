"""How to train: the recipe's `train` section. Free of torch, so that a recipe is checked without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dlkit.annotations import Count, Interval, IntervalOrAuto, Positive, Rate

TestViews = Literal["one", "flip", "flip_shift"]
# Keys that may be `auto`, and that a run decides before its first step; and the value of each that needs no timing.
DECIDED = {"precision": "fp32", "compile": "off", "cuda_graph": "off", "channels_last": "off"}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Length, cadence, precision and regularisation of a training run. Exactly one of epochs and steps is set.

    Args:
        epochs: passes over the training data.
        steps: optimizer steps, as an alternative to epochs.
        eval_every: how often to evaluate, besides the end.
        checkpoint_every: how often to save a checkpoint, besides the end. auto: every sqrt(2 w m) - w seconds, where w
            is what the first checkpoint took to write, and m the mean time between failures of all devices in use, each
            of which is assumed to fail once in 50,000 hours.
        keep_checkpoints: keep every one that is saved, to look at the course of training; else the last and the best.
        log_every: steps between two lines in metrics.jsonl.
        on_nan: what becomes of a step whose loss or gradient is not finite: stop ends the run with an error; skip
            leaves it out and counts it, and for that waits for the device at every step.
        clip_norm: scale gradients down to this global L2 norm where they exceed it.
        accumulate: batches whose gradients are averaged into one step.
        ema: decay of the exponential moving average of the weights that evaluation uses, which rises to it as
            (1 + t) / (10 + t); null for none.
        patience: stop after so many evaluations without a better monitored metric; null for never.
        monitor: the metric that patience and the best checkpoint go by; auto is the loss for language models and else
            the task's main metric.
        precision: number format of products in the forward and backward pass; tf32 keeps 10 bits of the fraction of
            float32 (NVIDIA GPUs); auto measures what is fastest here.
        compile: compile model and loss, once for each size of images that grow; a smaller last batch goes through them
            as they are, and so does evaluation. auto weighs the length of the run against the cost of compiling.
        cuda_graph: on CUDA, replay the forward and backward pass of full batches from a graph, and the step of an
            optimizer whose state is all on the device (such as momentum, adamw or muon), which spares a small model the
            launch of each kernel; auto measures whether that is faster here.
        channels_last: memory layout of convolutions; auto is on for a CPU, and for 16 bits on CUDA.
        parallel: how the processes that torchrun starts train together, with the steps that one process would make:
            ddp has a copy of the model in each; fsdp has a part of each weight, gradient and moment in each, for models
            that do not fit into one device; auto is ddp where it fits. Ignored in a single process.
        test_views: what evaluation averages over: one view of each image; flip takes its mirror image too; flip_shift
            also both moved by a pixel (six forward passes).
        deterministic: only kernels that give the same bits every time, so that a run on CUDA repeats and resumes to
            the bit, as it does on a CPU in any case; they are slower.
        flush_denormal: treat numbers too small for full precision as zero; they slow a CPU down.
        tensorboard: write TensorBoard event files too (needs dlkit[tensorboard]).
    """

    epochs: Count | None = None
    steps: Count | None = None
    eval_every: Interval = "1 epoch"
    checkpoint_every: IntervalOrAuto = "1 epoch"
    keep_checkpoints: bool = False
    log_every: Count = 10
    on_nan: Literal["stop", "skip"] = "stop"
    clip_norm: Positive | None = None
    accumulate: Count = 1
    ema: Rate | None = None
    patience: Count | None = None
    monitor: Literal["auto", "accuracy", "loss"] = "auto"
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    cuda_graph: Literal["auto", "on", "off"] = "auto"
    channels_last: Literal["auto", "on", "off"] = "auto"
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    test_views: TestViews = "one"
    deterministic: bool = False
    flush_denormal: bool = True
    tensorboard: bool = False


def steps_between(interval: str, steps_per_epoch: int) -> int | None:
    """`2 epochs` or `500 steps` in steps; None for `never`."""
    if interval == "never":
        return None
    number, unit = interval.split()
    return int(number) * (steps_per_epoch if unit.startswith("epoch") else 1)
