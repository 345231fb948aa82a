"""Conditions and orders."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dlkit.errors import RequestError
from dlkit.runs.listing import list_runs
from dlkit.runs.selection import condition, select_runs, sort_runs
from tests.runs.conftest import Made

Names = Callable[..., str]


@pytest.fixture
def named(made: Made) -> Names:
    """A function from conditions or an order to the names of the runs that come out."""
    folder = made("a", lr=0.1, accuracy=0.8).parent
    made("b", lr=0.3, accuracy=0.9, recipe="text")
    made("c", lr=0.01, accuracy=None)
    runs = list_runs(folder)

    def names(*where: str, sort: str | None = None, reverse: bool = False) -> str:
        chosen = select_runs(runs, [condition(text) for text in where])
        return "".join(run.path.name for run in (sort_runs(chosen, sort, reverse) if sort else chosen))

    return names


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("recipe=dig*", "ac"), ("recipe!=dig*", "b"), ("state=resumable", "c"), ("test/accuracy>0.85", "b"),
        ("accuracy<0.85", "ac"), ("optimizer.lr=1e-1", "a"), ("optimizer.lr >= 0.1", "ab"),
        ("optimizer.name=sgd", "abc"),
        ("seed=3", "abc"), ("test/accuracy!=null", "ab"), ("changed>2020-01-01", "abc"),
    ],
)  # fmt: skip
def test_conditions(named: Names, where: str, expected: str) -> None:
    assert named(where) == expected


def test_all_conditions_hold(named: Names) -> None:
    assert named("recipe=digits", "optimizer.lr<0.05") == "c"


def test_a_metric_puts_the_best_first_and_what_has_none_last(named: Names) -> None:
    assert named(sort="test/accuracy") == "bac"
    assert named(sort="test/loss") == "bac"
    assert named(sort="test/accuracy", reverse=True) == "abc"
    assert named(sort="optimizer.lr") == "cab"
    assert named(sort="recipe", reverse=True) == "bac"


@pytest.mark.parametrize(
    ("where", "message"),
    [("test/acuracy>0", "did you mean test/accuracy"), ("optimizer.lrr=1", "did you mean optimizer.lr"),
     ("a b", "not a condition"),
     ("step<many", "'many' is not a number")],
)  # fmt: skip
def test_what_no_run_has_is_refused(named: Names, where: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        named(where)
