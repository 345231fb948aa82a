"""The scores of GLUE and SuperGLUE against hand-computed means."""

from __future__ import annotations

import pytest

from dlkit.metrics import glue
from dlkit.metrics.glue import GLUE, SUPERGLUE, Result


def results(name: str, tasks: list[str]) -> list[Result]:
    """Task i has the metrics i/10, i/10 + 0.04, ..."""
    found: list[Result] = []
    for i, task in enumerate(tasks):
        metrics = {metric: i / 10 + 0.04 * j for j, metric in enumerate(glue.BENCHMARKS[name][task])}
        found.append(Result(name, task, dict.fromkeys(glue.splits_of(name, task), metrics), 100))
    return found


@pytest.mark.parametrize(("name", "pairs"), [("GLUE", 3), ("SuperGLUE", 3)])
def test_the_score_is_the_mean_over_tasks_of_the_mean_of_their_metrics(name: str, pairs: int) -> None:
    tasks = list(glue.BENCHMARKS[name])
    record = glue.aggregate(name, results(name, tasks))
    # the mean of i/10, and 0.02 more for each task of two metrics
    expected = sum(i / 10 for i in range(len(tasks))) / len(tasks) + 0.02 * pairs / len(tasks)
    assert record["score"] == pytest.approx(expected)
    assert record["missing"] == []
    assert (len(GLUE), len(SUPERGLUE)) == (9, 8)


def test_a_missing_task_is_named_and_leaves_no_score() -> None:
    record = glue.aggregate("GLUE", results("GLUE", ["cola", "mrpc"]))
    assert record["score"] is None
    assert record["mean"] == pytest.approx((0 + 0.12) / 2)
    assert record["missing"] == ["sst2", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]


def test_matched_and_mismatched_count_the_same_and_runs_are_averaged() -> None:
    first = Result("GLUE", "mnli", {"val": {"accuracy": 0.8}, "val_mismatched": {"accuracy": 0.9}}, 19_647)
    second = Result("GLUE", "mnli", {"val": {"accuracy": 0.6}, "val_mismatched": {"accuracy": 0.6}}, 19_647)
    assert first.score == pytest.approx(0.85)
    task = glue.aggregate("GLUE", [first, second])["tasks"]["mnli"]
    assert task["score"] == pytest.approx((0.85 + 0.6) / 2)
    assert task["runs"] == 2
    assert task["metrics"] == {"accuracy": pytest.approx(0.7), "val_mismatched/accuracy": pytest.approx(0.75)}


def test_what_a_recipe_is_about() -> None:
    assert glue.task_of({"name": "glue", "config": "rte"}) == ("GLUE", "rte")
    assert glue.task_of({"name": "superglue", "config": "rte"}) == ("SuperGLUE", "rte")
    assert glue.task_of({"name": "sst2"}) == ("GLUE", "sst2")
    assert glue.task_of({"name": "imdb"}) is None
