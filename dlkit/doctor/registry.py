"""Every check and benchmark by name: where it is, and what it looks at. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A check.

    Args:
        target: its function, as `module:attribute`.
        help: one line.
    """

    target: str
    help: str


# What must come out equal, in the order in which it is run: what the rest builds on comes first.
CHECKS = {
    "optimizers": Entry("dlkit.doctor.optimizers:check", "20 steps of each optimizer against torch's, and its kernels"),
    "families": Entry("dlkit.doctor.families:check", "3 steps of each model and precision against float64 on the CPU"),
    "loaders": Entry("dlkit.doctor.loaders:check", "batches of each loader against those made on the CPU"),
    "waits": Entry("dlkit.doctor.waits:check", "no step of training waits for the device"),
    "resume": Entry("dlkit.doctor.resume:check", "a resumed run ends with the same bits"),
    "attention": Entry("dlkit.doctor.attention:check", "recorded attention against softmax(QK^T / sqrt(D)) in float64"),
    "stacks": Entry("dlkit.doctor.stacks:check", "runs that are trained at once against runs on their own"),
    "compress": Entry("dlkit.doctor.compress:check", "a compressed text decodes to its bytes"),
    "compile": Entry("dlkit.doctor.compile:check", "a compiled model is compiled once, and computes the same"),
}

# What should be fast, beside a twin in bare torch: what compiles nothing comes first.
BENCHMARKS = {
    "optimizer-steps": Entry("dlkit.doctor.optimizer_steps:measure", "a step of each optimizer on GPT-2's tensors"),
    "race": Entry("dlkit.doctor.race_speed:measure", "runs a second of a race of 270 runs"),
    "fast-cnn": Entry("dlkit.doctor.image_speed:fast_cnn", "training the network of airbench94: epochs a second"),
    "resnet18": Entry("dlkit.doctor.image_speed:resnet18", "training ResNet-18 on 32 pixels: images a second"),
    "resnet50": Entry("dlkit.doctor.image_speed:resnet50", "training ResNet-50 on 224 pixels: images a second"),
    "bert": Entry("dlkit.doctor.text_speed:bert", "training BERT-base on masked tokens: tokens a second"),
    "gpt2": Entry("dlkit.doctor.text_speed:gpt2", "training GPT-2 124M: tokens a second, MFU"),
    "decode": Entry("dlkit.doctor.decode_speed:measure", "generating with GPT-2 124M: tokens a second"),
    "cifar10": Entry("dlkit.doctor.cifar10:measure", "whole runs on CIFAR-10, where it is there: accuracy, seconds"),
}

ALL = {**CHECKS, **BENCHMARKS}
