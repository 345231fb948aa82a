"""A race of optimizers on a recipe: the recipe of each of them, and the engine by which its runs are run."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlkit import recipe as recipes
from dlkit import user_code
from dlkit.app.events import Prepared, Remark, data_remarks
from dlkit.app.required_files import require_data, require_weights
from dlkit.errors import RequestError
from dlkit.processors import usable_cores
from dlkit.recipe import Recipe
from dlkit.sweep.events import SweepEvent
from dlkit.sweep.trials import Trial
from dlkit.training.settings import DECIDED

if TYPE_CHECKING:
    import torch

    from dlkit.sweep.sweep_folder import SweepFolder

_HELD_OUT = 0.1


@dataclass
class RecipeRace:
    """The runs of a race on a recipe.

    Args:
        prepared: the recipe of each optimizer.
        steps: of each run.
        engine: how they are run; auto times them all.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        size: of stacks; None for the fastest.
    """

    prepared: dict[str, Recipe]
    steps: int
    engine: str
    device: str
    size: int | None = None

    def begin(
        self,
        trials: Sequence[Trial],
        folder: SweepFolder,
        should_stop: Callable[[], bool],
        settle: Callable[[torch.device, dict[str, Any]], Iterator[Remark]],
    ) -> Generator[Remark | Prepared, None, tuple[str, Iterator[SweepEvent]]]:
        """Choose an engine; returns the name of the loss to judge by, and the runs as they finish.

        `settle` is called with the device and the sources of the data, before anything is run.
        """
        from dlkit.app.optimizer_comparison import OptimizerComparison
        from dlkit.sweep.engines import engine_choice
        from dlkit.sweep.engines.loop import run_in_loop
        from dlkit.sweep.engines.stack_checkpoints import StackCheckpoints
        from dlkit.sweep.engines.stacked import run_stacked
        from dlkit.sweep.shared_race import SharedRace
        from dlkit.training.device import pick_device
        from dlkit.vectorized import stackable

        ranks = SharedRace(should_stop)
        trials, folder.outcomes = ranks.agree((trials, folder.outcomes))
        comparison = OptimizerComparison(self.prepared, pick_device(self.device), ranks.should_stop)
        first = comparison.training(trials[0] if trials else Trial(next(iter(self.prepared)), 0.1, 0))
        yield Prepared()
        yield from settle(first.device, comparison.dataset.sources)
        yield from data_remarks(comparison.dataset.sources)
        judged_by = f"{first.judged}/loss"
        if not trials:
            return judged_by, iter(())
        if (
            self.engine == "stacked"
            and (why := engine_choice.stacking_obstacle(trials, comparison.training)) is not None
        ):
            raise RequestError(f"`engine` stacked: {why}", "use `engine` workers or loop")
        if self.engine == "workers" and ranks.size > 1:
            raise RequestError("`engine` workers under torchrun, whose processes share the runs", "use `engine` auto")
        processes = usable_cores() if first.device.type == "cpu" and ranks.size == 1 else 1
        trials = ranks.share(trials)
        engine, size, obstacle = self.engine, self.size, folder.obstacle
        if folder.engine is not None and engine in ("auto", folder.engine):
            engine, size = folder.engine, folder.size  # a race goes on in the same way, to the same numbers
        if ranks.size > 1 and engine == "workers":
            engine = "loop"  # each worker does the same
        if ranks.rank > 0:
            engine = "loop"  # until rank 0 has said which
        elif engine == "auto" and len(trials) > 1:
            choice = engine_choice.fastest_engine(trials, comparison.training, processes)
            engine, size, estimates, obstacle = choice.engine, choice.size, choice.estimates, choice.obstacle
            times = ", ".join(
                f"{name} {seconds:.0f} s" for name, seconds in sorted(estimates.items(), key=lambda e: e[1])
            )
            ratio = estimates["loop"] / estimates[engine]
            taking = f"taking {engine}, {ratio:.1f} times as fast as the loop"
            if obstacle is not None:
                yield Remark(f"the runs are not stacked: {obstacle}", routine=True)
            yield Remark(f"{len(trials)} runs of {self.steps} steps: {times}; {taking}", routine=True)
        if engine == "stacked":
            size = size or engine_choice.best_stack_size(trials, comparison.training)
            memory = size * stackable.bytes_of_run(first) / 2**20
            yield Remark(f"stacks of {size} runs, about {memory:.0f} MiB each", routine=True)
        engine, size, obstacle = ranks.agree(("loop" if engine == "auto" else engine, size, obstacle))
        folder.choose(engine, size if engine == "stacked" else None, obstacle)
        # what a stack of one rank holds would be of no use to the ranks of another job
        checkpoints = StackCheckpoints(folder.path if ranks.size == 1 else None, ranks.should_stop)
        engines: dict[str, Callable[[], Iterator[SweepEvent]]] = {
            "stacked": lambda: run_stacked(trials, comparison.training, checkpoints, size),
            "workers": lambda: comparison.workers(list(trials), processes),
            "loop": lambda: run_in_loop(trials, comparison.training),
        }
        return judged_by, ranks.joined(engines[engine]() if trials else iter(()))


def recipes_of_optimizers(
    what: str, overrides: list[str], optimizers: Mapping[str, str], steps: int
) -> tuple[Recipe, list[str], dict[str, Recipe]]:
    """The recipe as it was given, changes of it that its values do not show, and the recipe of each optimizer.

    An optimizer has its own options where the recipe uses it, else its defaults.
    """
    fixed = ["train.epochs=null", f"train.steps={steps}", f"train.eval_every={max(1, steps // 20)} steps"]
    fixed += [f"train.log_every={max(1, steps // 20)}", "train.checkpoint_every=never", "train.patience=null"]
    source = recipes.read_recipe(what)  # once: standard input is gone after that
    plain = source.load(overrides)
    require_data(plain)
    require_weights(plain)
    given = {override.partition("=")[0] for override in overrides}
    # a race decides these by timing only where the user asks for it
    automatic = [key for key in DECIDED if plain.values["train"][key] == "auto"]
    kept_auto = [f"train.{key}=auto" for key in automatic if f"train.{key}" in given]
    for key in automatic:
        if f"train.{key}" not in given:
            fixed.append(f"train.{key}={DECIDED[key]}")
    if plain.values["data"].get("validation") == 0:
        fixed.append(f"data.validation={_HELD_OUT}")
    prepared: dict[str, Recipe] = {}
    for name, named in optimizers.items():
        # each trial has a learning rate of its own; an optimizer of the user's may have no default for it
        lr = ", lr: 1.0" if user_code.is_reference(named) else ""
        own = [] if plain.values["optimizer"]["name"] == named else [f"optimizer={{name: {json.dumps(named)}{lr}}}"]
        prepared[name] = source.load([*overrides, *own, *fixed])
    return plain, kept_auto, prepared
