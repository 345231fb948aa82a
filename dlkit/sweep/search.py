"""Random search over hyper-parameters with a fixed budget: log-uniform ranges, the same draws for every optimizer.

Bergstra & Bengio 2012, "Random search for hyper-parameter optimization", Journal of Machine Learning Research 13.
Free of torch.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlkit.errors import RequestError
from dlkit.sweep.trials import Trial

_RANGE = re.compile(r"(?:(\w+)\.)?(1-)?([a-z_][a-z0-9_]*)=([^:=]+):([^:=]+)\Z", re.ASCII)
_HINT = "write `search` weight_decay=1e-6:1e-1, `search` 1-beta2=1e-4:0.1 or `search` adam.eps=1e-9:1e-3"


@dataclass(frozen=True)
class LogUniform:
    """A log-uniform distribution of one option.

    Args:
        name: of the option; beta1 and beta2 stand for the two betas.
        low: lower bound of the option, or of one minus it.
        high: upper bound.
        complement: draw one minus the option, for values close to 1 such as decay rates.
        optimizer: the optimizer it applies to; None for all that have the option.
    """

    name: str
    low: float
    high: float
    complement: bool = False
    optimizer: str | None = None

    def at(self, share: float) -> float:
        """The quantile at `share`, from 0 (low) to 1 (high)."""
        # x = low (high / low)^u with u uniform, so that log x is uniform
        value = float(f"{self.low * (self.high / self.low) ** share:.6g}")
        return round(1 - value, 15) if self.complement else value  # six digits of a value from 1e-9 on

    def ends(self) -> tuple[float, float]:
        """The values at both bounds."""
        return self.at(0), self.at(1)


def parse_search_range(text: str) -> LogUniform:
    """The range of `lr=1e-4:1`, `1-momentum=1e-3:0.5` or `adam.eps=1e-9:1e-3`. Raises RequestError if malformed."""
    match = _RANGE.match(text.replace(" ", ""))
    if match is None:
        raise RequestError(f"`search` {text}: no range", _HINT)
    optimizer, one_minus, name, first, last = match.groups()
    try:
        low, high = float(first), float(last)
    except ValueError:
        raise RequestError(f"`search` {text}: {first}:{last} are not numbers", _HINT) from None
    if not 0 < low < high < math.inf or (one_minus and high > 1):
        limit = "0 < low < high <= 1" if one_minus else "0 < low < high"
        raise RequestError(f"`search` {text}: the range must be {limit}, evenly in the logarithm", _HINT)
    return LogUniform(name, low, high, bool(one_minus), optimizer)


def ranges_by_optimizer(
    ranges: Sequence[LogUniform], options: Mapping[str, Sequence[str]]
) -> dict[str, list[LogUniform]]:
    """The ranges of each optimizer; a range for a named optimizer takes precedence over one for all.

    Args:
        ranges: as parsed.
        options: optimizer -> names of its numeric options.

    Raises:
        RequestError: no optimizer has the option, the named optimizer does not run, or an option has two ranges.
    """
    result: dict[str, dict[str, LogUniform]] = {name: {} for name in options}
    for given in sorted(ranges, key=lambda r: r.optimizer is not None):
        if given.optimizer is not None and given.optimizer not in options:
            raise RequestError(f"`search` {given.optimizer}.{given.name}: {given.optimizer} does not run", _HINT)
        fitting = [given.optimizer] if given.optimizer else list(options)
        having = [name for name in fitting if given.name in options[name]]
        if not having:
            known = sorted({option for name in fitting for option in options[name]})
            raise RequestError(
                f"`search` {given.name}: no such option of {', '.join(fitting)}", f"there are {', '.join(known)}"
            )
        for name in having:
            old = result[name].get(given.name)
            if old is not None and old.optimizer == given.optimizer:
                raise RequestError(f"`search` {given.name}: it appears twice", "give each option one range")
            result[name][given.name] = given
    return {name: list(found.values()) for name, found in result.items()}


def random_trials(
    ranges: Mapping[str, Sequence[LogUniform]], lr: LogUniform | float, count: int, seed: int, seeds: int
) -> list[Trial]:
    """`count` random settings per optimizer, each run from every seed; the seeds of a setting are adjacent.

    Each option has its own random stream, which all optimizers share: none of them gets luckier draws, and raising
    `count` leaves the first trials as they were.

    Args:
        ranges: of each optimizer.
        lr: learning rates, unless a range of the optimizer overrides them.
        count: settings per optimizer.
        seed: of the draws.
        seeds: runs per setting.
    """
    trials: list[Trial] = []
    for optimizer, own in ranges.items():
        drawn = {given.name: _stream(given, seed, count) for given in own}
        if "lr" not in drawn:
            drawn["lr"] = _stream(lr, seed, count) if isinstance(lr, LogUniform) else [lr] * count
        rates = drawn.pop("lr")
        names = sorted(drawn)
        for index in range(count):
            options = tuple((name, drawn[name][index]) for name in names)
            trials += [Trial(optimizer, rates[index], run, options) for run in range(seeds)]
    return list(dict.fromkeys(trials))  # an optimizer for which nothing is drawn has one setting


def _stream(given: LogUniform, seed: int, count: int) -> list[float]:
    generator = random.Random(f"{seed} {given.name}")
    return [given.at(generator.random()) for _ in range(count)]
