"""The verdict against brute force and scipy's bootstrap."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from dlkit.errors import RequestError
from dlkit.sweep import statistics, tunability
from dlkit.sweep.assertion import assertion_holds, parse_assertion
from dlkit.sweep.summary import summarize
from dlkit.sweep.trials import Trial, TrialResult, parse_learning_rates, trial_grid


def outcomes(table: dict[str, dict[float, list[float]]]) -> list[TrialResult]:
    """Runs from optimizer -> learning rate -> final losses by seed; inf is a run that diverged."""
    return [
        TrialResult(Trial(name, lr, seed), 10, loss, {"val/loss": loss}, diverged=math.isinf(loss))
        for name, grid_of in table.items()
        for lr, losses in grid_of.items()
        for seed, loss in enumerate(losses)
    ]


RACE = {
    "sgd": {0.01: [3.0, 3.1, 3.2], 0.1: [2.0, 2.2, 2.1], 1.0: [2.05, math.inf, 2.0]},
    "adam": {0.01: [1.0, 1.1, 1.2], 0.1: [1.05, 1.15, 1.25], 1.0: [9.0, 9.0, 9.0]},
}


def test_the_best_learning_rate_has_no_diverged_seed() -> None:
    sgd, adam = summarize(outcomes(RACE), "val/loss")
    assert (sgd.lrs[sgd.best or 0], adam.lrs[adam.best or 0]) == (0.1, 0.01)
    assert (sgd.edge, adam.edge) == (None, "low")
    # 1.1 times the best loss lies between two learning rates: at (1.21 - 1.15) / (9 - 1.15) of the last decade
    assert tunability.basin_decades(adam) == pytest.approx(1 + 0.06 / 7.85)
    # and at (2.31 - 2.1) / (3.1 - 2.1) of the first; on the other side a seed diverged
    assert tunability.basin_decades(sgd) == pytest.approx(0.21)


def test_intervals_are_bootstrap_percentiles() -> None:
    values = np.random.default_rng(3).normal(size=12)
    low, high = statistics.bootstrap_interval(values)
    other = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1))
    assert low == pytest.approx(other.confidence_interval.low, abs=0.03)
    assert high == pytest.approx(other.confidence_interval.high, abs=0.03)


def test_pairs_are_told_apart_by_their_paired_difference() -> None:
    base = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    close = (base - 0.1 + np.array([0, 0.01, -0.01, 0.01, -0.01])).tolist()  # little, but at every seed
    noisy = (base + np.array([0.5, -0.6, 0.4, -0.5, 0.1])).tolist()
    table = {"sgd": {0.1: base.tolist()}, "adam": {0.1: close}, "adamw": {0.1: noisy}}
    summaries = summarize(outcomes(table), "val/loss")
    pairs = {(p.a, p.b): p for p in statistics.paired_differences(summaries)}
    assert pairs["sgd", "adam"].separated
    assert pairs["sgd", "adam"].difference == pytest.approx(0.1)
    assert not pairs["sgd", "adamw"].separated
    assert statistics.undominated(summaries, list(pairs.values())) == ["adam", "adamw"]


def test_intervals_widen_with_the_number_of_pairs() -> None:
    generator = np.random.default_rng(0)
    values = {name: {0.1: generator.normal(size=8).tolist()} for name in ("sgd", "momentum", "adam", "adamw")}
    few = statistics.paired_differences(summarize(outcomes(dict(itertools.islice(values.items(), 2))), "val/loss"))[0]
    many = statistics.paired_differences(summarize(outcomes(values), "val/loss"))[0]
    assert (few.a, few.b) == (many.a, many.b)
    assert many.low < few.low < few.high < many.high


def test_one_seed_is_no_evidence_unless_nothing_is_random() -> None:
    summaries = summarize(outcomes({"sgd": {0.1: [2.0]}, "adam": {0.1: [1.0]}}), "val/loss")
    assert not statistics.paired_differences(summaries)[0].separated
    assert statistics.paired_differences(summaries, exact=True)[0].separated


def test_who_always_diverges_loses() -> None:
    table = {"sgd": {0.1: [math.inf, math.inf]}, "adam": {0.1: [5.0, 6.0]}, "adamw": {0.1: [math.inf, 1.0]}}
    summaries = summarize(outcomes(table), "val/loss")
    pairs = statistics.paired_differences(summaries)
    assert statistics.undominated(summaries, pairs) == ["adam"]
    assert not next(p for p in pairs if (p.a, p.b) == ("sgd", "adamw")).separated
    records = tunability.optimizer_records(summaries, outcomes(table), "val/loss", 6.0)
    assert records[0]["optimizer"] == "adam"
    assert records[0]["diverged"] == 0
    assert {r["optimizer"]: r["diverged"] for r in records}["sgd"] == 2


def test_tuning_effort_against_every_sequence_of_draws() -> None:
    summary = summarize(outcomes({"sgd": {0.1: [4.0], 0.2: [1.0], 0.3: [math.inf], 0.4: [2.5]}}), "val/loss")[0]
    values = [4.0, 1.0, 5.0, 2.5]
    for k, expected in enumerate(tunability.tuning_effort(summary, worst=5.0), start=1):
        draws = [min(draw) for draw in itertools.product(values, repeat=k)]
        assert expected == pytest.approx(sum(draws) / len(draws))


def test_steps_to_a_target() -> None:
    curve = [(0, {"val/loss": 3.0, "val/accuracy": 0.1}), (5, {"val/loss": 1.0, "val/accuracy": 0.6})]
    runs = [
        TrialResult(Trial("sgd", 0.1, 0), 5, 1.0, {}, curve),
        TrialResult(Trial("sgd", 0.1, 1), 5, 1.0, {}, curve[:1]),
    ]
    assert tunability.steps_to(runs, "val/loss", 1.5, rising=False) == [5, math.inf]
    assert tunability.steps_to(runs, "val/accuracy", 0.05, rising=True) == [0, 0]


def test_assertions() -> None:
    pairs = statistics.paired_differences(summarize(outcomes(RACE), "val/loss"))
    known = ["sgd", "adam"]
    for text, expected in (
        ("adam<sgd", True),
        ("adam<=sgd", True),
        ("sgd<=adam", False),
        ("sgd<adam", False),
        ("sgd<=sgd", True),
    ):
        assert assertion_holds(parse_assertion(text, known), pairs) == expected, text
    tied = statistics.paired_differences(summarize(outcomes({"sgd": {0.1: [1, 2]}, "adam": {0.1: [2, 1]}}), "val/loss"))
    assert assertion_holds(("sgd", "<=", "adam"), tied)
    assert not assertion_holds(("sgd", "<", "adam"), tied)
    for text in ("adam", "adam==sgd", "adam<=lion", ""):
        with pytest.raises(RequestError):
            parse_assertion(text, known)


def test_missing_runs_and_metrics_are_named() -> None:
    runs = outcomes(RACE)
    with pytest.raises(RequestError, match=r"no run of sgd with lr 0\.01 and seed 1"):
        summarize([o for o in runs if o.trial != Trial("sgd", 0.01, 1)], "val/loss")
    with pytest.raises(RequestError, match="no metric 'bleu'"):
        summarize(runs, "bleu")


def test_learning_rates() -> None:
    assert parse_learning_rates("1e-4:1:9") == pytest.approx(np.logspace(-4, 0, 9), rel=1e-5)
    assert parse_learning_rates("1e-4:1:9")[4] == 0.01
    assert parse_learning_rates("0.3,0.1") == [0.1, 0.3]
    assert parse_learning_rates("0.1:0.1:1") == [0.1]
    for text in (
        "",
        "x",
        "0:1:3",
        "-1:1:3",
        "1:0.1:3",
        "0.1:1",
        "0.1:1:0",
        "0.1:1:1",
        "0.1,0.1",
        "nan",
        "0.1,-1",
        "1:inf:3",
        "1e-3:1:100000000",
    ):
        with pytest.raises(RequestError, match="`lr`"):
            parse_learning_rates(text)
    assert len(trial_grid(["sgd", "adam"], [0.1, 1.0], 3)) == 12


def test_outcomes_survive_being_written_down() -> None:
    outcome = TrialResult(Trial("sgd", 0.1, 2), 7, 1.5, {"val/loss": 2.0}, [(7, {"val/loss": 2.0})], False, 0.25)
    assert TrialResult.of_record(outcome.record()) == outcome
    with pytest.raises(RequestError, match="no record of a run"):
        TrialResult.of_record({"kind": "run"})
