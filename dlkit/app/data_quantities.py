"""What an experiment of the review compares its arms with: numbers that its data alone decides."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dlkit.errors import RequestError
from dlkit.review.claim import Experiment

if TYPE_CHECKING:
    from dlkit.app.optimizer_comparison import OptimizerComparison
    from dlkit.tasks.task_data import TaskData


def quantities_of(experiment: Experiment, comparison: OptimizerComparison) -> dict[str, float]:
    """The quantities that an experiment's expectation names, of the split that it measures.

    Raises RequestError where the arms are compared on other data, or on none that has such a quantity.
    """
    split = experiment.measure.partition("/")[0]
    recipes = [comparison.recipes[arm.name] for arm in experiment.arms]
    found: dict[str, float] = {}
    for name in experiment.expect.quantities:
        values = {_unigram_entropy(comparison.data_of(recipe), split) for recipe in recipes}
        if len(values) > 1:
            raise RequestError(
                f"the arms have not the same {name}: {values}", "give all arms the same data and tokenizer"
            )
        found[name] = values.pop()
    return found


def _unigram_entropy(data: TaskData, split: str) -> float:
    """In nats a token, of the frequencies of the tokens of a split that are predicted."""
    import numpy as np

    from dlkit.information.measures import shannon_entropy

    data.require_split(split)
    tokens = data.predicted_tokens(split)
    if tokens is None:
        raise RequestError(f"unigram_entropy is of running text, and {data.name} is none", "compare with a number")
    counts = np.bincount(np.asarray(tokens, dtype=np.int64))
    return float(shannon_entropy(counts / len(tokens), base=math.e))
