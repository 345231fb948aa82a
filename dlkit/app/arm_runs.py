"""The runs of an experiment of the review: the recipe of each arm, and how its runs are run.

How they are run depends on the recipe, not on timing, so that a claim gives the same numbers again: multilayer
perceptrons as one stack of all seeds on one thread, anything else in processes of one thread each, and on a GPU one
after another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlkit import recipe as recipes
from dlkit.app.evaluate import require_ood_source
from dlkit.app.required_files import require_data, require_weights
from dlkit.errors import RecipeError, RequestError
from dlkit.recipe import Recipe
from dlkit.recipe.load import WrittenRecipe
from dlkit.recipe.merge import COMMAND_LINE
from dlkit.review.claim import FIRST, Arm, Experiment
from dlkit.sweep.events import SweepEvent
from dlkit.sweep.trials import Trial
from dlkit.training.settings import DECIDED

if TYPE_CHECKING:
    from dlkit.app.optimizer_comparison import OptimizerComparison

STACKED_MODELS = ("mlp",)  # on a CPU these gain from stacking; convolutions and attention do not


@dataclass(frozen=True)
class ExperimentRecipes:
    """What an experiment trains: the recipe of each arm, and that of the stage before them."""

    arms: dict[str, Recipe]
    first: Recipe | None = None


def recipes_of(experiment: Experiment) -> ExperimentRecipes:
    """The recipes of an experiment, with nothing in them left to timing.

    Raises:
        RecipeError: a change does not fit, with the line of the arm.
        DlkitError: there is no such recipe, or its data or weights are missing.
    """
    first = None
    if experiment.ood is not None:
        require_ood_source(experiment.ood)
    if experiment.first is not None:
        first = _recipe_of(recipes.read_recipe(experiment.first.recipe), experiment.first.variant)
    source = recipes.read_recipe(experiment.recipe)
    arms = {arm.name: _recipe_of(source, arm) for arm in experiment.arms}
    for arm in experiment.arms:
        if "lr" not in arms[arm.name].values["optimizer"]:
            raise RequestError(f"{arm.where}: its optimizer has no lr", "give its constructor a keyword `lr`")
    return ExperimentRecipes(arms, first)


def _recipe_of(source: WrittenRecipe, arm: Arm) -> Recipe:
    recipe = _located(lambda: _settled(source, arm.changes), arm)
    require_data(recipe)
    if arm.continues:  # its weights do not exist yet, and have no path
        return recipe_with_weights(recipe, FIRST)
    require_weights(recipe)
    return recipe


def recipe_with_weights(recipe: Recipe, weights: str | None) -> Recipe:
    """The recipe, whose model starts from other weights; None for random ones."""
    return Recipe(recipe.name, recipe.path, {**recipe.values, "model": {**recipe.values["model"], "weights": weights}})


def _settled(source: WrittenRecipe, changes: Sequence[str]) -> Recipe:
    """The changed recipe, in which settings that timing would decide have fixed values."""
    train = source.load(changes).values["train"]
    return source.load([*changes, *(f"train.{key}={value}" for key, value in DECIDED.items() if train[key] == "auto")])


def _located(load: Callable[[], Recipe], arm: Arm) -> Recipe:
    try:
        return load()
    except RecipeError as error:
        problems = [
            dataclasses.replace(problem, where=arm.place_of(problem.key)) if problem.where == COMMAND_LINE else problem
            for problem in error.problems
        ]
        raise RecipeError(problems, error.hint, what="the claim") from None


def trials_of(recipes_of: dict[str, Recipe], seeds: int) -> list[Trial]:
    """Every arm from every seed; the arms of a seed are adjacent, unless one starts from the first stage of its seed.

    The first process to need that stage trains it, and two processes with the same seed would wait for each other.
    """
    rates = {arm: float(recipe.values["optimizer"]["lr"]) for arm, recipe in recipes_of.items()}
    if any(recipe.values["model"].get("weights") == FIRST for recipe in recipes_of.values()):
        return [Trial(arm, rate, seed) for arm, rate in rates.items() for seed in range(seeds)]
    return [Trial(arm, rate, seed) for seed in range(seeds) for arm, rate in rates.items()]


def comparison_of_arms(
    recipes_of: dict[str, Recipe], device: str, should_stop: Callable[[], bool], ood: str | None = None
) -> OptimizerComparison:
    """The arms as objects.

    Args:
        recipes_of: arm -> its recipe.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        should_stop: asked after each step.
        ood: images that each trained model is to tell from those of its own data.
    """
    from dlkit.app.optimizer_comparison import OptimizerComparison
    from dlkit.training.device import pick_device

    return OptimizerComparison(recipes_of, pick_device(device), should_stop, ood=ood)


def units_of(recipes_of: dict[str, Recipe], trials: Sequence[Trial]) -> list[list[Trial]]:
    """Groups of runs that one process must take together, so that the numbers do not depend on how many processes run.

    Args:
        recipes_of: arm -> its recipe.
        trials: the runs to do.
    """
    stacked = {arm: [t for t in trials if t.optimizer == arm] for arm, recipe in recipes_of.items() if _stacks(recipe)}
    return [*filter(None, stacked.values()), *([trial] for trial in trials if trial.optimizer not in stacked)]


def _stacks(recipe: Recipe) -> bool:
    return recipe.values["model"]["name"] in STACKED_MODELS


def run_arms(comparison: OptimizerComparison, trials: Sequence[Trial], processes: int) -> Iterator[SweepEvent]:
    """Train what is missing of the runs, on a CPU in so many processes; those that were stopped have no result."""
    from dlkit.sweep.engines.loop import run_in_loop

    rest = list(trials)
    for arm, recipe in comparison.recipes.items():
        own = [trial for trial in rest if trial.optimizer == arm]
        if own and _stacks(recipe) and comparison.ood is None and not comparison.should_stop():
            rest = [trial for trial in rest if trial.optimizer != arm]
            with _one_thread():
                yield from _stacked(own, comparison)
    if rest and comparison.device.type == "cpu":
        if processes > 1:
            yield from comparison.workers(rest, min(processes, len(rest)))
        else:
            with _one_thread():  # as in a worker process
                yield from run_in_loop(rest, comparison.training, comparison.measure)
    elif rest:
        yield from run_in_loop(rest, comparison.training, comparison.measure)


@contextmanager
def _one_thread() -> Generator[None]:
    """Small models gain nothing from more, wait long for each other on a busy machine, and sum in another order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _stacked(trials: Sequence[Trial], comparison: OptimizerComparison) -> Iterator[SweepEvent]:
    from dlkit.sweep.engines.engine_choice import stacking_obstacle
    from dlkit.sweep.engines.loop import run_in_loop
    from dlkit.sweep.engines.stack_checkpoints import StackCheckpoints
    from dlkit.sweep.engines.stacked import run_stacked

    if stacking_obstacle(trials, comparison.training) is not None:
        yield from run_in_loop(trials, comparison.training)
    else:
        yield from run_stacked(trials, comparison.training, StackCheckpoints(None, comparison.should_stop))
