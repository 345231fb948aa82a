"""`--assert adamw<=sgd`: a claim about final losses, and whether the runs support it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dlkit.errors import RequestError
from dlkit.sweep.statistics import PairedDifference
from dlkit.sweep.summary import OptimizerSummary, at_edge

_ASSERTION = re.compile(r"\s*(\w+)\s*(<=|<)\s*(\w+)\s*\Z", re.ASCII)


def parse_assertion(text: str, optimizers: Sequence[str]) -> tuple[str, str, str]:
    """`adamw<=sgd` as (a, relation, b). Raises RequestError if malformed, or about an optimizer that does not run."""
    match = _ASSERTION.match(text)
    if match is None:
        raise RequestError(f"`assert` {text}: no assertion", "write `assert` 'adamw<=sgd' or 'adamw<sgd' (of losses)")
    a, relation, b = match.groups()
    for name in (a, b):
        if name not in optimizers:
            raise RequestError(f"`assert` {text}: {name} does not run", f"these do: {', '.join(optimizers)}")
    return a, relation, b


def assertion_holds(assertion: tuple[str, str, str], pairs: Sequence[PairedDifference]) -> bool:
    """`a<b`: the loss of a is shown to be lower. `a<=b`: it is not shown to be higher."""
    a, relation, b = assertion
    if a == b:
        return relation == "<="
    for pair in pairs:
        if {pair.a, pair.b} == {a, b}:
            low, high = (pair.low, pair.high) if pair.a == a else (-pair.high, -pair.low)
            return high < 0 if relation == "<" else not low > 0
    return False


def assertion_objection(
    assertion: tuple[str, str, str],
    summaries: Sequence[OptimizerSummary],
    pairs: Sequence[PairedDifference],
    allow_edge: bool,
    initial: float | None = None,
) -> tuple[str, str] | None:
    """Why the runs do not support an assertion, and a hint; None if they do.

    Args:
        assertion: of `parse_assertion`.
        summaries: of the optimizers.
        pairs: their `paired_differences`.
        allow_edge: accept a best setting at the edge of what was tried, or that one of the two always diverged.
        initial: the loss before the first step, if known.
    """
    a, relation, b = assertion
    text = f"the runs do not support {a}{relation}{b}"
    mine = [s for s in summaries if s.optimizer in (a, b)]
    diverged = [s.optimizer for s in mine if s.at_best is None]
    if diverged and (len(diverged) == len(mine) or not allow_edge):
        return f"{text}: at every setting of {', '.join(diverged)} a run diverged", "lower the learning rates in `lr`"
    if initial is not None and not any(s.at_best is not None and s.at_best.mean() < initial for s in mine):
        return f"{text}: neither ends below {initial:.4g}, where all began", "try other learning rates in `lr`"
    if not assertion_holds(assertion, pairs):
        return text, "see the pair in the verdict: its difference, and its interval where there are seeds"
    edges = [at_edge(s) for s in mine if s.edge is not None]
    if edges and a != b and not allow_edge:
        text += f": a better learning rate may lie beyond those tried of {', '.join(edges)}"
        return text, "widen `lr`, or accept it with `allow_edge`"
    return None
