"""What the runs of a stack share: batches and initial weights per seed, an optimizer per setting."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dlkit.sweep.engines.loop import BuildTrial
from dlkit.sweep.trials import Trial
from dlkit.training import rng
from dlkit.training.training import Training
from dlkit.vectorized.stacked_runs import StackMembers


def stack_members(trials: Sequence[Trial], build: BuildTrial) -> StackMembers:
    """The runs of a stack; those of one optimizer and setting are adjacent.

    Runs of one seed start from the same weights and see the same batches, and runs of one setting have the same
    optimizer options: one training is built for each seed and each setting, not for every run.
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
        # the state of the generator in which a lone run would start
        generators.setdefault(trial.seed, rng.device_state(training.device))
        first = of_seeds.setdefault(trial.seed, training)
        training.batches, training.evaluations = first.batches, first.evaluations  # one copy of the data per seed
        if not known:
            groups.append((index, index + 1))
            of_groups.append(training)
    return StackMembers(
        [seeds.index(trial.seed) for trial in trials],
        groups,
        [of_seeds[seed] for seed in seeds],
        of_groups,
        [generators[seed] for seed in seeds],
    )
