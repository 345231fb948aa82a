"""The overall score of GLUE and SuperGLUE: the mean over tasks of the mean over a task's metrics. Free of torch.

GLUE: Wang et al., arXiv:1804.07461, section 3. SuperGLUE: arXiv:1905.00537, section 4. Diagnostic sets do not count.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

# Task -> the metrics whose mean is its score; MNLI's is the mean over its two validation splits.
GLUE: dict[str, tuple[str, ...]] = {
    "cola": ("matthews",),
    "sst2": ("accuracy",),
    "mrpc": ("f1", "accuracy"),
    "stsb": ("pearson", "spearman"),
    "qqp": ("f1", "accuracy"),
    "mnli": ("accuracy",),
    "qnli": ("accuracy",),
    "rte": ("accuracy",),
    "wnli": ("accuracy",),
}
SUPERGLUE: dict[str, tuple[str, ...]] = {
    "boolq": ("accuracy",),
    "cb": ("macro_f1", "accuracy"),
    "copa": ("accuracy",),
    "multirc": ("f1", "exact_match"),  # F1 over all answers, and the share of questions with all answers correct
    "record": ("f1", "exact_match"),
    "rte": ("accuracy",),
    "wic": ("accuracy",),
    "wsc": ("accuracy",),
}
BENCHMARKS = {"GLUE": GLUE, "SuperGLUE": SUPERGLUE}


@dataclass(frozen=True)
class Result:
    """The result of a run on a task: metrics and number of examples of each split that counts."""

    benchmark: str
    task: str
    metrics: dict[str, dict[str, float]]
    samples: int

    @property
    def score(self) -> float:
        """The mean over the task's metrics and over its splits."""
        names = BENCHMARKS[self.benchmark][self.task]
        return statistics.fmean(statistics.fmean(found[name] for name in names) for found in self.metrics.values())


def task_of(data: dict[str, Any]) -> tuple[str, str] | None:
    """The benchmark and task of a recipe's data section, or None."""
    if data["name"] == "sst2":
        return "GLUE", "sst2"
    for benchmark in BENCHMARKS:
        if data["name"] == benchmark.lower():
            return benchmark, data["config"]
    return None


def splits_of(benchmark: str, task: str) -> tuple[str, ...]:
    """The splits that count, which are validation splits: the labels of the test splits are secret."""
    return ("val", "val_mismatched") if (benchmark, task) == ("GLUE", "mnli") else ("val",)


def aggregate(benchmark: str, results: list[Result]) -> dict[str, Any]:
    """The record of a benchmark from all its runs; a task's score is the mean over its runs.

    `score` is None unless every task has a run; `mean` is over the tasks that have one, `missing` names the others.
    """
    tasks: dict[str, dict[str, Any]] = {}
    for task, names in BENCHMARKS[benchmark].items():
        own = [result for result in results if (result.benchmark, result.task) == (benchmark, task)]
        if not own:
            continue
        splits = splits_of(benchmark, task)
        metrics = {
            name if split == "val" else f"{split}/{name}": statistics.fmean(r.metrics[split][name] for r in own)
            for split in splits
            for name in names
        }
        score = statistics.fmean(result.score for result in own)
        tasks[task] = {"score": score, "runs": len(own), "n": own[0].samples, "metrics": metrics}
    missing = [task for task in BENCHMARKS[benchmark] if task not in tasks]
    mean = statistics.fmean(found["score"] for found in tasks.values())
    return {
        "kind": "benchmark",
        "benchmark": benchmark,
        "score": None if missing else mean,
        "mean": mean,
        "tasks": tasks,
        "missing": missing,
    }
