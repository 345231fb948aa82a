"""The work of `dlkit compare-optimizers`: run what the folder does not hold yet, and write down how it came about."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from dlkit.cli.compare_optimizers import run
from dlkit.cli.compare_optimizers.progress import RaceProgress
from dlkit.cli.console import Output, note
from dlkit.cli.signals import GracefulStop
from dlkit.recipe import Recipe
from dlkit.sweep import provenance, race_folder, surfaces
from dlkit.sweep.trials import Outcome, Smaller, Trial, Unrecorded

if TYPE_CHECKING:
    import torch


@dataclass
class Race:
    """What is to be run, and how.

    Args:
        what: it is run on: a recipe or a surface.
        overrides: of the recipe.
        asked: what the race was begun with, as its folder tells it.
        trials: in the order of the grid.
        engine: auto times them all.
        stack: runs at once of a stack; None for the fastest.
        start: on a surface; None for its own.
        output: of the command.
    """

    what: str
    overrides: list[str]
    asked: dict[str, Any]
    trials: list[Trial]
    engine: str
    stack: int | None
    start: tuple[float, float] | None
    output: Output

    def run(
        self, surface: surfaces.Surface | None, opened: Callable[[], race_folder.Folder], metric: str | None
    ) -> tuple[str, list[Outcome]]:
        """Run what the folder does not hold yet; the metric to judge by, and all outcomes in the order of the grid.

        Raises:
            typer.Exit: it was asked to stop; what has finished is kept.
        """
        what, steps = self.what, self.asked["steps"]
        on = [what]  # how to ask for it again
        if surface is None:
            plain, changes, prepared = run.prepare(what, self.overrides, self.asked["optimizers"], steps)
        else:
            plain, changes, prepared = None, list[str](), {}
        folder = opened()  # only now that nothing is wrong with the recipe
        done = {outcome.trial for outcome in folder.outcomes}
        missing = [trial for trial in self.trials if trial not in done]
        message = "stopping" + (", keeping what has finished" if folder.path else "") + "; once more stops at once"
        with GracefulStop(message) as stop:
            should_stop = functools.partial(_requested, stop)
            if surface is not None:
                kind = metric or "loss"
                remarks = self._settle(folder, None, None, {})
                told = run.on_surface(surface, missing, self.start or surface.start, steps, should_stop)
            else:
                on_recipe = run.OnRecipe(prepared, steps, self.engine, self.asked["device"], self.output, self.stack)
                remarks = list[str]()
                judged_by, told = on_recipe.begin(
                    missing,
                    folder,
                    should_stop,
                    lambda device, sources: remarks.extend(self._settle(folder, plain, device, sources)),
                )
                if folder.path is not None:
                    on = [str(folder.path / provenance.RECIPE), *changes]
                kind = metric or judged_by
            if folder.path is not None:
                provenance.write(folder.path, self.asked, on, folder.engine, folder.size, remarks)
            with RaceProgress(len(missing), steps, kind, self.output.console(), self.output.say) as progress:
                for event in told:
                    if isinstance(event, Smaller):
                        note(f"a stack of {event.runs} runs does not fit into memory: stacks of {event.size} runs")
                        folder.choose("stacked", event.size)
                        continue
                    if isinstance(event, Unrecorded):
                        note(f"a step of a stack was no CUDA graph, and so slower than it could be: {event.why}")
                        continue
                    progress.update(event)
                    if isinstance(event, Outcome):
                        folder.add(event)
        order = {trial: place for place, trial in enumerate(self.trials)}
        outcomes = sorted((o for o in folder.outcomes if o.trial in order), key=lambda o: order[o.trial])
        if stop.requested is not None and len(outcomes) < len(order):
            held = f"{len(outcomes)} of {len(order)} runs are in {folder.path}; go on with --resume"
            note(held if folder.path else "stopped; with --out DIR the finished runs would have been kept")
            raise typer.Exit(128 + stop.requested)
        return kind, outcomes

    def _settle(
        self, folder: race_folder.Folder, recipe: Recipe | None, device: torch.device | None, sources: dict[str, Any]
    ) -> list[str]:
        """Write down how the race came about, or tell what is different from when it was begun."""
        if folder.path is None:
            return []
        import torch

        from dlkit.train import environment

        described = environment.describe_environment(device or torch.device("cpu"), sources)
        remarks = provenance.settle(folder.path, recipe.to_yaml() if recipe else None, described)
        for remark in remarks:
            note(f"the numbers of further runs may differ from those in {folder.path}: {remark}")
        return remarks


def _requested(stop: GracefulStop) -> bool:
    return stop.requested is not None
