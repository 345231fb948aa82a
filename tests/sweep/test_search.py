"""Random trials: ranges, budgets, draws, and the verdict on them."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from dlkit.errors import RequestError
from dlkit.sweep import search, statistics, tunability
from dlkit.sweep.search import LogUniform
from dlkit.sweep.summary import summarize
from dlkit.sweep.trials import Trial, TrialResult

OPTIONS = {"momentum": ["lr", "weight_decay", "momentum"], "adam": ["lr", "weight_decay", "eps", "beta1", "beta2"]}


def test_ranges_as_they_are_written() -> None:
    assert search.parse_search_range("lr=1e-4:1") == LogUniform("lr", 1e-4, 1.0)
    assert search.parse_search_range("1-momentum=1e-3:0.5") == LogUniform("momentum", 1e-3, 0.5, complement=True)
    assert search.parse_search_range("adam.1-beta2=1e-4:0.1") == LogUniform("beta2", 1e-4, 0.1, True, "adam")
    assert search.parse_search_range("1-momentum=1e-3:0.5").ends() == (0.999, 0.5)
    for text in (
        "",
        "lr",
        "lr=",
        "lr=1",
        "lr=1:2:3",
        "lr=0:1",
        "lr=-1:1",
        "lr=1:0.1",
        "lr=a:b",
        "lr=nan:1",
        "lr=1:inf",
    ):
        with pytest.raises(RequestError, match="`search`"):
            search.parse_search_range(text)
    with pytest.raises(RequestError, match="0 < low < high <= 1"):
        search.parse_search_range("1-beta1=0.1:2")


def test_ranges_go_to_those_who_have_the_option() -> None:
    general, own = LogUniform("weight_decay", 1e-5, 1e-1), LogUniform("weight_decay", 1e-3, 1.0, optimizer="adam")
    assigned = search.ranges_by_optimizer([own, general, LogUniform("momentum", 0.1, 0.9)], OPTIONS)
    assert assigned == {"momentum": [general, LogUniform("momentum", 0.1, 0.9)], "adam": [own]}
    for wrong, words in (
        ([LogUniform("alpha", 0.1, 0.9)], "no such option"),
        ([LogUniform("lr", 0.1, 1.0, optimizer="lion")], "lion does not run"),
        ([general, general], "appears twice"),
    ):
        with pytest.raises(RequestError, match=words):
            search.ranges_by_optimizer(wrong, OPTIONS)


def test_draws_depend_on_the_seed_only_and_keep_to_the_budget() -> None:
    ranges = {"momentum": [LogUniform("weight_decay", 1e-6, 1e-1)], "adam": [LogUniform("weight_decay", 1e-6, 1e-1)]}
    lr = LogUniform("lr", 1e-4, 1.0)
    trials = search.random_trials(ranges, lr, 40, 3, 2)
    assert trials == search.random_trials(ranges, lr, 40, 3, 2) != search.random_trials(ranges, lr, 40, 4, 2)
    assert len(trials) == len(set(trials)) == 2 * 40 * 2
    settings = {name: [c.setting for c in trials if c.optimizer == name and c.seed == 0] for name in ranges}
    assert settings["momentum"] == settings["adam"]
    assert search.random_trials(ranges, lr, 10, 3, 2)[:20] == trials[:20]  # as a larger budget begins


def test_draws_are_even_in_the_logarithm() -> None:
    many = search.random_trials(
        {"adam": [LogUniform("beta2", 1e-4, 0.1, True)]}, LogUniform("lr", 1e-4, 1.0), 2000, 0, 1
    )
    rates = np.log10([c.lr for c in many])
    rest = np.log10([1 - dict(c.options)["beta2"] for c in many])
    assert stats.kstest(rates, stats.uniform(-4, 4).cdf).pvalue > 0.01
    assert stats.kstest(rest, stats.uniform(-4, 3).cdf).pvalue > 0.01
    assert abs(np.corrcoef(rates, rest)[0, 1]) < 0.07


def test_options_reach_the_recipe() -> None:
    who = Trial("adam", 0.1, 0, (("beta2", 0.95), ("eps", 1e-6)))
    assert who.applied_to({"name": "adam", "betas": (0.8, 0.999), "eps": 1e-8}) == {
        "name": "adam", "lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6,
    }  # fmt: skip
    outcome = TrialResult(who, 3, 1.0, {"val/loss": 1.0}, [(3, {"val/loss": 1.0})])
    assert TrialResult.of_record(json.loads(json.dumps(outcome.record()))) == outcome


def runs(table: dict[str, list[float]]) -> list[TrialResult]:
    """One learning rate; optimizer -> final losses by seed."""
    return [
        TrialResult(Trial(name, 0.1, seed), 10, loss, {"val/loss": loss}, diverged=math.isinf(loss))
        for name, losses in table.items()
        for seed, loss in enumerate(losses)
    ]


def test_performance_profiles_against_their_definition() -> None:
    table = {"sgd": [2.0, 3.0, 1.0, 4.0], "adam": [1.0, 3.0, 2.0, 1.0], "adamw": [4.0, 4.0, 4.0, 1.1]}
    curves = tunability.performance_profiles(summarize(runs(table), "val/loss"))
    best = [min(column) for column in zip(*table.values(), strict=True)]
    for name, losses in table.items():
        for tau, share in curves[name]:
            assert share == sum(x <= tau * b for x, b in zip(losses, best, strict=True)) / 4
        assert curves[name][0][0] == 1.0
        assert curves[name][-1][1] == 1.0
    assert curves["sgd"][0] == (1.0, 0.5)
    always = tunability.performance_profiles(summarize(runs({"sgd": [math.inf] * 2, "adam": [1.0, 2.0]}), "val/loss"))
    assert always == {"sgd": [(1.0, 0.0)], "adam": [(1.0, 1.0)]}
    assert tunability.performance_profiles(summarize(runs({"sgd": [-1.0], "adam": [1.0]}), "val/loss")) == {}


def test_equals_are_seldom_told_apart() -> None:
    """Six equal optimizers, five seeds: any pair wrongly told apart in at most 5 % of races, up to chance."""
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(60):
        losses = generator.normal(1.0, 0.1, (6, 5))
        level = 1 - 0.05 / 15
        pairs = [statistics.paired_interval(a - b, level) for a, b in itertools.combinations(losses, 2)]
        wrong += any(low > 0 or high < 0 for low, high in pairs)
    assert wrong <= 8  # of Binomial(60, 0.05), 99.5 % lie below this
