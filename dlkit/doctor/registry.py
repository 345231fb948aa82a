"""All checks and benchmarks by name. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A check or a benchmark.

    Args:
        target: the function, as `module:attribute`.
        help: one line.
    """

    target: str
    help: str


# Results that must agree with a reference. They run in this order: foundations first.
CHECKS = {
    "optimizers": Check(
        "dlkit.doctor.checks.optimizers:check_optimizers", "20 steps of each optimizer against torch's, and its kernels"
    ),
    "families": Check(
        "dlkit.doctor.checks.models:check_models", "3 steps of each model and precision against float64 on the CPU"
    ),
    "loaders": Check(
        "dlkit.doctor.checks.loaders:check_loaders", "batches of each loader against those made on the CPU"
    ),
    "waits": Check("dlkit.doctor.checks.waits:check_waits", "no step of training waits for the device"),
    "resume": Check("dlkit.doctor.checks.resume:check_resume", "a resumed run ends with the same bits"),
    "attention": Check(
        "dlkit.doctor.checks.attention:check_attention", "recorded attention against softmax(QK^T / sqrt(D)) in float64"
    ),
    "stacks": Check(
        "dlkit.doctor.checks.stacks:check_stacks", "runs that are trained at once against runs on their own"
    ),
    "compress": Check("dlkit.doctor.checks.compression:check_compression", "a compressed text decodes to its bytes"),
    "compile": Check(
        "dlkit.doctor.checks.compile:check_compile", "a compiled model is compiled once, and computes the same"
    ),
}

# Speeds beside a twin in bare torch. They run in this order: those that compile nothing first.
BENCHMARKS = {
    "optimizer-steps": Check(
        "dlkit.doctor.benchmarks.optimizer_steps:benchmark_optimizer_steps",
        "a step of each optimizer on GPT-2's tensors",
    ),
    "race": Check("dlkit.doctor.benchmarks.sweep:benchmark_sweep", "runs a second of a race of 270 runs"),
    "fast-cnn": Check(
        "dlkit.doctor.benchmarks.images:benchmark_fast_cnn", "training the network of airbench94: epochs a second"
    ),
    "resnet18": Check(
        "dlkit.doctor.benchmarks.images:benchmark_resnet18", "training ResNet-18 on 32 pixels: images a second"
    ),
    "resnet50": Check(
        "dlkit.doctor.benchmarks.images:benchmark_resnet50", "training ResNet-50 on 224 pixels: images a second"
    ),
    "bert": Check(
        "dlkit.doctor.benchmarks.language:benchmark_bert", "training BERT-base on masked tokens: tokens a second"
    ),
    "gpt2": Check("dlkit.doctor.benchmarks.language:benchmark_gpt2", "training GPT-2 124M: tokens a second, MFU"),
    "decode": Check(
        "dlkit.doctor.benchmarks.decoding:benchmark_decoding", "generating with GPT-2 124M: tokens a second"
    ),
    "cifar10": Check(
        "dlkit.doctor.benchmarks.cifar10:benchmark_cifar10",
        "whole runs on CIFAR-10, where it is there: accuracy, seconds",
    ),
}

ALL = {**CHECKS, **BENCHMARKS}
