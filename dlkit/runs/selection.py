"""Which runs, and in which order: by any field of their records, any metric, or any key of their recipes."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dlkit.errors import RequestError
from dlkit.recipe.check import closest
from dlkit.runs.listed_run import ListedRun

# Metrics of which less is better; of every other more is.
LESS_IS_BETTER = ("loss", "perplexity", "ece", "bits_per_byte")
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def value_of(run: ListedRun, key: str) -> Any:
    """A field of the record, a metric (`test/accuracy`, or `accuracy` of the test, else the validation split), or a
    key of the recipe. None where the run has no such thing."""
    record = run.record()
    if key in record and key != "metrics":
        return record[key]
    for name in (key, f"test/{key}", f"val/{key}"):
        if name in run.metrics:
            return run.metrics[name]
    return run.keys.get(key)


def _require_known(runs: Sequence[ListedRun], key: str, option: str) -> None:
    """Raise RequestError if no run has such a field, metric or key."""
    known = {name for run in runs for name in (*run.record(), *run.metrics)} - {"metrics"}
    if runs and key not in known and all(value_of(run, key) is None and key not in run.keys for run in runs):
        near = closest(key, [*known, *(name for run in runs for name in run.keys)])
        raise RequestError(
            f"{option}: no run has {key!r}{near}", f"it takes {', '.join(sorted(known))}, or optimizer.lr"
        )


@dataclass(frozen=True)
class Condition:
    """`key=pattern`, `key!=pattern`, or `key<number` and the like. A pattern is the shell's: `digits*`."""

    key: str
    sign: str
    wanted: str

    def holds(self, run: ListedRun) -> bool:
        value = value_of(run, self.key)
        if self.sign in _ORDERED:
            if value is None or isinstance(value, (bool, list)):
                return False
            if isinstance(value, str):
                return _ORDERED[self.sign](value, self.wanted)
            return _ORDERED[self.sign](value, float(self.wanted))
        return self._equals(value) == (self.sign == "=")

    def _equals(self, value: Any) -> bool:
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and (number := _number(self.wanted)) is not None
        ):
            return value == number
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        return fnmatch.fnmatchcase(text, self.wanted)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def condition(text: str) -> Condition:
    """Parse a condition. Raises RequestError where it is none."""
    match = re.fullmatch(r"\s*([\w./-]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", text)
    if match is None:
        raise RequestError(f"`where` {text} is not a condition", "like `where` 'recipe=digits*' or 'val/loss<0.5'")
    key, sign, wanted = match.groups()
    if sign in _ORDERED and key not in ("changed", "run", "recipe") and _number(wanted) is None:
        raise RequestError(f"`where` {text}: {wanted!r} is not a number", f"{sign} compares numbers")
    return Condition(key, sign, wanted)


def select_runs(runs: Sequence[ListedRun], conditions: Sequence[Condition]) -> list[ListedRun]:
    """The runs for which all conditions hold. Raises RequestError if no run has what one of them names."""
    for one in conditions:
        _require_known(runs, one.key, "`where`")
    return [run for run in runs if all(one.holds(run) for one in conditions)]


def sort_runs(runs: Sequence[ListedRun], key: str, reverse: bool = False) -> list[ListedRun]:
    """The runs by a metric, the best first; or by anything else, the least first. Those without it come last.

    Args:
        runs: to sort.
        key: see `value_of`.
        reverse: reverse the order; runs without the key still come last.

    Raises:
        RequestError: no run has it.
    """
    _require_known(runs, key, "`sort`")
    found = [(value_of(run, key), run) for run in runs]
    known = [(value, run) for value, run in found if value is not None]
    if not all(isinstance(value, (int, float)) for value, _ in known):
        known = [(str(value), run) for value, run in known]
    return [
        *(run for _, run in sorted(known, key=lambda item: item[0], reverse=_best_is_most(runs, key) != reverse)),
        *(run for value, run in found if value is None),
    ]


def _best_is_most(runs: Sequence[ListedRun], key: str) -> bool:
    leaf = key.rpartition("/")[2]
    metric = any(name == key or name.rpartition("/")[2] == key for run in runs for name in run.metrics)
    return metric and leaf not in LESS_IS_BETTER
