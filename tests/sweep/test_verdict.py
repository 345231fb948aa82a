"""What a race says in the end: evidence, its absence, and edges. Races are written down here, with known answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dlkit.sweep import statistics, tunability, verdict
from dlkit.sweep.assertion import assertion_objection
from dlkit.sweep.engines import stacked
from dlkit.sweep.summary import summarize
from dlkit.sweep.trials import Trial, TrialResult
from dlkit.sweep.verdict import Verdict
from dlkit.vectorized.events import StackEvaluated, StackLogged

INF = math.inf
Table = dict[str, dict[float, list[float]]]


def outcomes(table: Table) -> list[TrialResult]:
    """Runs from optimizer -> learning rate -> final losses by seed; inf is a run that diverged."""
    return [
        TrialResult(Trial(name, lr, seed), 10, loss, {}, diverged=math.isinf(loss), start={"loss": 10.0 + seed})
        for name, grid in table.items()
        for lr, losses in grid.items()
        for seed, loss in enumerate(losses)
    ]


def concluded(table: Table, exact: bool = False, began: float | None = None) -> Verdict:
    summaries = summarize(outcomes(table), "loss")
    return verdict.reach_verdict(summaries, statistics.paired_differences(summaries, exact), "loss", exact, began)


def grid(middle: list[float], worse: float = 9.0) -> dict[float, list[float]]:
    """Three learning rates of which the middle one is best."""
    return {0.01: [worse] * len(middle), 0.1: middle, 1.0: [worse] * len(middle)}


def test_a_winner_over_seeds_is_said_with_its_confidence() -> None:
    found = concluded({"sgd": grid([3.0, 3.1, 3.2]), "adam": grid([1.0, 1.1, 1.2])})
    assert (found.winner, found.tied, found.basis, found.edges) == ("adam", [], "intervals", {})
    assert found.text == "adam is best: over 3 seeds, its loss lies below every other's with 95 % confidence"


def test_one_run_each_has_no_interval() -> None:
    table: Table = {"sgd": grid([3.0]), "adam": grid([1.0])}
    found = concluded(table, exact=True, began=10.0)
    assert (found.winner, found.basis) == ("adam", "one run each")
    assert found.text == "adam ends lowest of one run each: loss 1, then sgd 3"
    summaries = summarize(outcomes(table), "loss")
    record = tunability.optimizer_records(summaries, outcomes(table), "loss", 9.0)[0]
    assert math.isnan(record["low"])
    assert math.isnan(record["high"])


@pytest.mark.parametrize(
    ("table", "exact", "winner", "tied", "words"),
    [
        ({"sgd": grid([2.0]), "adam": grid([1.0])}, False, "tie", ["adam", "sgd"], "one seed is no evidence"),
        ({"sgd": grid([1.0]), "adam": grid([1.0])}, True, "tie", ["sgd", "adam"], "which end equally low"),
        ({"sgd": grid([1.0, 2.0]), "adam": grid([1.0, 2.0])}, False, "tie", ["sgd", "adam"], "cannot separate sgd"),
        ({"sgd": grid([2.0, 2.1])}, False, "sgd", [], "sgd raced alone: there is nothing to compare it with"),
        ({"sgd": {0.1: [INF, INF]}, "adam": {0.1: [INF, INF]}}, False, None, [], "every run diverged"),
        ({"sgd": {0.1: [INF, 1.0]}, "adam": {0.1: [1.0, INF]}}, False, None, [], "at every setting a run diverged"),
        ({"sgd": {0.1: [INF]}}, True, None, [], "no optimizer has a result"),
        ({"sgd": {0.1: [INF, 1.0]}, "adam": grid([1.0, 2.0])}, False, "adam", [], "adam alone has a result"),
        ({"sgd": grid([11.0], 12.0), "adam": grid([10.0], 12.0)}, True, None, [], "no optimizer ends below 10"),
    ],
)  # fmt: skip
def test_nobody_wins_without_evidence(
    table: Table, exact: bool, winner: str | None, tied: list[str], words: str
) -> None:
    found = concluded(table, exact, 10.0 if exact else None)
    assert (found.winner, found.tied) == (winner, tied)
    assert words in found.text


def test_edges_are_part_of_the_conclusion() -> None:
    table: Table = {
        "sgd": {0.01: [1.0, 1.1], 0.1: [2.0, 2.0]},
        "momentum": {0.01: [INF, 5.0], 0.1: [2.0, 2.0]},
        "adam": grid([3.0, 3.0]),
        "adamw": {0.1: [3.0, 3.0]},  # one rate has no edge
    }
    found = concluded(table)
    assert found.edges == {"sgd": "low", "momentum": "high"}
    assert found.text.endswith("beyond those tried of sgd (lr 0.01, the least), momentum (lr 0.1, the largest)")
    records = tunability.optimizer_records(summarize(outcomes(table), "loss"), outcomes(table), "loss", 5.0)
    assert {r["optimizer"]: r["edge"] for r in records} == {
        "sgd": "low", "momentum": "high", "adam": None, "adamw": None,
    }  # fmt: skip


def test_of_equal_rates_the_best_is_the_one_farthest_from_the_edge() -> None:
    (plateau,) = summarize(outcomes({"sgd": {0.1: [1.0], 0.2: [1.0], 0.3: [1.0], 0.4: [2.0]}}), "loss")
    assert (plateau.best, plateau.edge) == (1, None)


def test_edges_of_searched_options() -> None:
    runs = [
        TrialResult(Trial("adam", lr, 0, (("beta2", beta),)), 10, loss, {})
        for lr, beta, loss in ((0.1, 0.9, 3.0), (0.2, 0.99, 1.0), (0.3, 0.95, 2.0))
    ]
    (summary,) = summarize(runs, "loss")
    assert (summary.edge, summary.option_edges) == (None, {"beta2": "high"})


@pytest.mark.parametrize(
    ("assertion", "allowed", "words"),
    [
        (("adam", "<", "sgd"), False, None),
        (("sgd", "<", "adam"), False, "the runs do not support sgd<adam"),
        (("adam", "<", "edge"), False, "beyond those tried of edge (lr 0.1, the largest)"),
        (("edge", "<=", "adam"), False, "the runs do not support edge<=adam"),  # for what was measured, first of all
        (("edge", "<", "sgd"), False, "beyond those tried of edge"),
        (("edge", "<", "sgd"), True, None),
        (("edge", "<=", "edge"), False, None),
        (("adam", "<", "lost"), False, "at every setting of lost a run diverged"),
        (("adam", "<", "lost"), True, None),
        (("lost", "<=", "adam"), True, "the runs do not support lost<=adam"),
        (("lost", "<=", "gone"), True, "at every setting of lost, gone a run diverged"),
    ],
)
def test_an_assertion_rests_on_no_edge(assertion: Any, allowed: bool, words: str | None) -> None:
    table: Table = {
        "adam": grid([1.0, 1.1, 1.2]),
        "edge": {0.01: [9.0] * 3, 0.1: [2.0, 2.1, 2.2]},
        "sgd": grid([3.0, 3.1, 3.2]),
        "lost": {0.1: [INF] * 3},
        "gone": {0.1: [INF] * 3},
    }
    summaries = summarize(outcomes(table), "loss")
    why = assertion_objection(assertion, summaries, statistics.paired_differences(summaries), allowed)
    assert (why is None) == (words is None)
    assert words is None or (why is not None and words in why[0])


def test_an_assertion_needs_one_that_ends_below_the_start() -> None:
    summaries = summarize(outcomes({"sgd": grid([3.0, 3.1], 99.0), "adam": grid([7.0, 7.1], 99.0)}), "loss")
    pairs = statistics.paired_differences(summaries)
    held = [assertion_objection(("sgd", "<=", "adam"), summaries, pairs, True, began) for began in (2.5, 5.0, None)]
    assert held[0] is not None
    assert held[0][0] == "the runs do not support sgd<=adam: neither ends below 2.5, where all began"
    assert held[1:] == [None, None]


def test_the_start_counts_where_all_runs_know_it() -> None:
    runs = outcomes({"sgd": {0.1: [1.0]}, "adam": {0.1: [2.0]}})
    assert verdict.initial_value(runs, "loss") == 10.0
    assert verdict.initial_value(runs, "distance") is None
    two_seeds = outcomes({"sgd": {0.1: [1.0, 1.0]}, "adam": {0.1: [2.0, 2.0]}})
    assert verdict.initial_value(two_seeds, "loss") == 10.5  # of 10 and 11
    runs[0].start = {}
    assert verdict.initial_value(runs, "loss") is None


def test_intervals_of_pairs_hold_students_together() -> None:
    generator = np.random.default_rng(0)
    table: Table = {name: {0.1: generator.normal(size=6).tolist()} for name in ("sgd", "adam", "adamw")}
    values = {name: np.array(grid[0.1]) for name, grid in table.items()}
    for pair in statistics.paired_differences(summarize(outcomes(table), "loss")):
        differences = values[pair.a] - values[pair.b]
        t = stats.ttest_1samp(differences, 0.0).confidence_interval(1 - 0.05 / 3)  # three pairs
        assert pair.low <= t.low < t.high <= pair.high
        assert pair.separated == (pair.low > 0 or pair.high < 0)


def test_a_run_whose_metric_is_no_number_has_diverged() -> None:
    """Though its last training loss, taken before the step that broke it, is finite."""
    outcome = TrialResult.begin(Trial("sgd", 0.1, 0), 10)
    stacked._update([outcome], StackLogged(10, [2.0], [True]))
    stacked._update([outcome], StackEvaluated(10, [{"val/loss": math.nan, "val/accuracy": 0.1}]))
    assert (outcome.diverged, outcome.metrics, outcome.curve) == (True, {}, [])
