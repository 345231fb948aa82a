"""What the runs of a stack share: batches and initial weights per seed, an optimizer per setting."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dlkit.sweep.engines.loop import BuildTrial
from dlkit.sweep.trials import Trial
from dlkit.train import rng
from dlkit.train.training import Training
from dlkit.vectorized.stacked_runs import StackMembers


def stack_members(trials: Sequence[Trial], build: BuildTrial) -> StackMembers:
    """The runs of a stack; those of one optimizer and setting stand side by side.

    Runs of one seed begin with the same weights and batches, those of one setting with the same optimizer: one of each
    is built, not every run.
    """
    seeds = list(dict.fromkeys(trial.seed for trial in trials))
    groups: list[tuple[int, int]] = []
    of_groups: list[Training] = []
    of_seeds: dict[int, Training] = {}
    generators: dict[int, Tensor] = {}
    for index, trial in enumerate(trials):
        before = trials[index - 1] if index else None
        known = before is not None and (before.optimizer, before.setting) == (trial.optimizer, trial.setting)
        if known:
            groups[-1] = (groups[-1][0], index + 1)
            if trial.seed in of_seeds:
                continue
        training = build(trial)
        # a lone run would start now, with the generator in this state
        generators.setdefault(trial.seed, rng.device_state(training.device))
        first = of_seeds.setdefault(trial.seed, training)
        training.batches, training.evaluations = first.batches, first.evaluations  # one copy of the data a seed
        if not known:
            groups.append((index, index + 1))
            of_groups.append(training)
    return StackMembers(
        [seeds.index(c.seed) for c in trials],
        groups,
        [of_seeds[seed] for seed in seeds],
        of_groups,
        [generators[seed] for seed in seeds],
    )
