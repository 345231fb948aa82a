"""The runs of a race of optimizers on a recipe, as objects: in this process, or in processes of their own."""

from __future__ import annotations

import collections
import functools
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event

import torch

from dlkit import user_code
from dlkit.app.first_runs import FirstRuns
from dlkit.assemble import assemble_training
from dlkit.catalog import TASKS
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.review.claim import FIRST
from dlkit.sweep.engines.loop import MeasureTrial, run_trial
from dlkit.sweep.engines.workers import run_in_workers
from dlkit.sweep.events import SweepEvent
from dlkit.sweep.trials import Trial, TrialResult
from dlkit.tasks.task_data import TaskData, load_data
from dlkit.training.device import pick_device
from dlkit.training.training import Training


def _go_on() -> bool:
    return False


@dataclass
class OptimizerComparison:
    """The grid of `compare-optimizers` as objects: one recipe for each optimizer, or for each arm of an experiment.

    Args:
        recipes: optimizer or arm -> the recipe that it runs, whose learning rate and seed each trial replaces.
        device: to train on.
        should_stop: asked after each step.
        first: the runs whose weights some of the recipes start from, one for each seed.
        ood: images that each trained model is to tell from those of its own data, as `read_ood_data` takes them.
    """

    recipes: dict[str, Recipe]
    device: torch.device
    should_stop: Callable[[], bool] = _go_on
    first: FirstRuns | None = None
    ood: str | None = None
    _loaded: dict[str, TaskData] = field(default_factory=dict[str, TaskData], repr=False)

    @property
    def dataset(self) -> TaskData:
        """The data of the first recipe."""
        return self.data_of(next(iter(self.recipes.values())))

    def data_of(self, recipe: Recipe) -> TaskData:
        """Loaded once for all recipes that read the same."""
        model = recipe.values["model"] if TASKS[recipe.values["task"]].inputs == "text" else {}
        start = [model.get(key) for key in ("weights", "new_head", "labels")]  # which bring their tokenizer and classes
        read = json.dumps([*(recipe.values.get(key) for key in ("task", "data", "tokenizer")), *start], default=str)
        if read not in self._loaded:
            self._loaded[read] = load_data(recipe)
        return self._loaded[read]

    def training(self, trial: Trial) -> Training:
        """A trial's run, ready to go."""
        recipe = self.recipes[trial.optimizer]
        values = {
            **recipe.values,
            "optimizer": trial.applied_to(recipe.values["optimizer"]),
            "seed": trial.seed,
        }
        if self.first is not None and values["model"].get("weights") == FIRST:
            run = self.first.run_of(trial.seed, self.device, self.should_stop)
            values["model"] = {**values["model"], "weights": run}
        changed = Recipe(recipe.name, recipe.path, values)
        return assemble_training(changed, self.device, self.should_stop, self.data_of(changed)).training

    @property
    def measure(self) -> MeasureTrial | None:
        """What is measured of each trained model beside its evaluation: how it tells `ood` from its own data."""
        return None if self.ood is None else self._measure_ood

    def _measure_ood(self, trial: Trial, training: Training) -> dict[str, float]:
        from dlkit.app.evaluation import Trained
        from dlkit.app.ood import evaluate_ood, read_ood_data

        if training.settings.ema is not None:
            raise RequestError("ood/... is measured of the last weights", "leave train.ema out")
        recipe = self.recipes[trial.optimizer]
        recipe = Recipe(recipe.name, recipe.path, {**recipe.values, "seed": trial.seed})
        dataset = self.data_of(recipe)
        trained = Trained(training.model, dataset, training.settings, training.total_steps)
        others = read_ood_data(recipe, trained, None, [str(self.ood)])
        _, (found,) = evaluate_ood(recipe, trained, dataset.default_split, others, self.device)
        return {f"ood/{name.replace('/', '_')}": value for name, value in found.metrics.items()}

    def workers(self, trials: list[Trial], processes: int) -> Iterator[SweepEvent]:
        """Run the trials in processes of one thread, as they finish."""
        # without the data: each process loads its own
        fresh = OptimizerComparison(self.recipes, self.device, first=self.first, ood=self.ood)
        prepare = functools.partial(_join_comparison, fresh, user_code.is_trusted())
        yield from run_in_workers(trials, _run_trial, prepare, processes, self.should_stop)


_comparison: OptimizerComparison | None = None  # of a worker process


def _join_comparison(comparison: OptimizerComparison, trust: bool, stop: Event) -> None:
    global _comparison
    user_code.set_trust(trust)
    # signals to the process group: the parent alone stops the race
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    pick_device(str(comparison.device))  # for its effect: it sets up the process for the device
    comparison.should_stop = stop.is_set
    _comparison = comparison


def _end_with_parent() -> None:
    """A race that is killed leaves no worker behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _run_trial(trial: Trial) -> TrialResult | None:
    assert _comparison is not None
    (last,) = collections.deque(run_trial(trial, _comparison.training, _comparison.measure), maxlen=1)
    return last if isinstance(last, TrialResult) else None
