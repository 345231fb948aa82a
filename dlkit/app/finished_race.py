"""The result of a race: its runs, the optimizers' summaries, and the verdict."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlkit.errors import RequestError
from dlkit.storage.atomic_file import require_target
from dlkit.sweep import surfaces, sweep_folder
from dlkit.sweep.surfaces import Surface
from dlkit.sweep.trials import TrialResult

if TYPE_CHECKING:
    from dlkit.app.race_report import RaceReport
    from dlkit.sweep.statistics import PairedDifference
    from dlkit.sweep.summary import OptimizerSummary
    from dlkit.sweep.verdict import Verdict


@dataclass
class FinishedRace:
    """The runs of a race, in the order of its grid, and the metric to judge them by.

    `planned` runs were asked for: there are fewer outcomes where it was stopped. `surface` is None on a recipe. The
    steps to `target`, as `loss=0.2`, are counted.
    """

    title: str
    metric: str
    outcomes: list[TrialResult]
    surface: Surface | None
    folder: Path | None
    planned: int
    target: str | None = None

    @property
    def stopped(self) -> bool:
        return len(self.outcomes) < self.planned

    @property
    def exact(self) -> bool:
        """Whether nothing is random, so that one run says all."""
        return self.surface is not None

    @functools.cached_property
    def summaries(self) -> list[OptimizerSummary]:
        """Each optimizer at its best setting, with an interval over seeds."""
        from dlkit.sweep.summary import summarize

        return summarize(self.outcomes, self.metric)

    @functools.cached_property
    def pairs(self) -> list[PairedDifference]:
        """Which two optimizers can be told apart."""
        from dlkit.sweep.statistics import paired_differences

        return paired_differences(self.summaries, self.exact)

    @functools.cached_property
    def initial(self) -> float | None:
        """The metric before the first step, on average over the seeds; None if it is not known."""
        from dlkit.sweep.verdict import initial_value

        return initial_value(self.outcomes, self.metric)

    @functools.cached_property
    def conclusion(self) -> Verdict:
        """The winner, or the tied ones, and why."""
        from dlkit.sweep import verdict

        return verdict.reach_verdict(self.summaries, self.pairs, self.metric, self.exact, self.initial)

    @property
    def winner(self) -> str | None:
        """The best optimizer's name, `tie`, or None where no run ends below the start."""
        return self.conclusion.winner

    @functools.cached_property
    def report(self) -> RaceReport:
        """Records, table, notes and figures. Raises RequestError where the runs have no metric of the target."""
        from dlkit.app.race_report import RaceReport

        return RaceReport(self)

    def write(self, animation: Path | None = None) -> None:
        """Write summary, figures and page into the folder, if the race has one, and the paths over a surface as a GIF.

        Raises:
            RequestError: there is no surface to animate, or the runs have no metric of the target.
            DlkitError: a file cannot be written.
        """
        report = self.report
        if self.folder is not None:
            report.write(self.folder)
        if animation is None:
            return
        if self.surface is None:
            raise RequestError(f"`animate` is about a surface, and {self.title} is none", "leave it out")
        from dlkit.sweep import trajectories

        trajectories.animate_trajectories(animation, self.surface, report.best_runs(), self.title)


def judge_race(folder: Path, target: str | None = None, animation: Path | None = None) -> FinishedRace:
    """Judge the finished runs in the folder of a race again, and draw them."""
    if animation is not None:
        require_target("`animate`", animation, (".gif",))
    title, metric, outcomes = sweep_folder.read_finished_sweep(folder)
    race = FinishedRace(title, metric, outcomes, surfaces.find_surface(title), folder, len(outcomes), target)
    race.write(animation)
    return race
