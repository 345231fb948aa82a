"""Run claims of the review and judge them: `dlkit review run`. No torch until the first claim runs."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.app.arm_runs import (
    ExperimentRecipes,
    comparison_of_arms,
    recipe_with_weights,
    recipes_of,
    run_arms,
    trials_of,
    units_of,
)
from dlkit.app.events import Remark, Work
from dlkit.app.first_runs import FirstRuns
from dlkit.distributed.torchrun import is_first_process
from dlkit.errors import RequestError
from dlkit.processors import usable_cores
from dlkit.recipe import Recipe
from dlkit.review.claim import FIRST, VERDICTS, Claim, Experiment, PropertyTest
from dlkit.review.measure import measure_of
from dlkit.review.review_folder import ReviewFolder, digest_of
from dlkit.sweep.trials import Trial, TrialResult

if TYPE_CHECKING:
    from dlkit.app.optimizer_comparison import OptimizerComparison
    from dlkit.sweep.shared_race import SharedRace


@dataclass(frozen=True, slots=True)
class ClaimStarted:
    """A claim comes next; `missing` of its trainings are still to do. Of all `runs` of the review `done` are done.

    It is number `number` of `claims`, from 1.
    """

    claim: Claim
    missing: int
    done: int
    runs: int
    number: int
    claims: int


@dataclass(frozen=True, slots=True)
class ArmRunFinished:
    """One more training has ended: `done` of all `runs` of the review."""

    claim: Claim
    done: int
    runs: int


@dataclass(frozen=True, slots=True)
class ClaimJudged:
    """A claim has its verdict; `record` is what `dlkit review run` prints of it."""

    claim: Claim
    record: dict[str, Any]


ReviewEvent = Remark | ClaimStarted | ArmRunFinished | ClaimJudged


@dataclass
class Reviewed:
    """A review that has ended, or was stopped and can be resumed.

    Args:
        claims: how many were asked for.
        records: of those that were judged.
    """

    claims: int
    records: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def stopped(self) -> bool:
        return len(self.records) < self.claims

    def summary(self) -> dict[str, Any]:
        """How many claims came to which verdict."""
        counts = {verdict: sum(record["verdict"] == verdict for record in self.records) for verdict in VERDICTS}
        return {"kind": "summary", "claims": len(self.records), **counts}


def run_review(
    claims: Sequence[Claim],
    *,
    seeds: int | None = None,
    full: bool = False,
    out: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
) -> Work[ReviewEvent, Reviewed]:
    """Run the experiments and check the properties of claims, one claim after another.

    Args:
        claims: what to run.
        seeds: runs of each arm, in place of what the claims say.
        full: run those at full size that have one, and leave out the other experiments.
        out: folder for finished runs and records.
        resume: go on with the review in `out`, or begin it.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`, for experiments; properties are checked on the CPU.
        should_stop: asked after each step of the runs.

    Raises:
        RequestError: a recipe of an experiment is wrong, or the folder holds something else.
        DlkitError: data is missing, or the folder cannot be written.
    """
    if resume and out is None:
        raise RequestError("`resume` needs `out`", "give the folder of the finished runs")
    chosen = [_sized(claim, seeds, full) for claim in claims if not full or claim.full is not None]
    if not chosen:
        raise RequestError("none of these claims has a full size", "leave `full` out")
    # before anything is run, whatever is wrong with one of them
    recipes = {claim.name: recipes_of(claim.test) for claim in chosen if isinstance(claim.test, Experiment)}
    folder = ReviewFolder(out if is_first_process() else None, resume)
    review = _Review(chosen, recipes, folder, full, device, should_stop)
    return Work(review.run())


def _sized(claim: Claim, seeds: int | None, full: bool) -> Claim:
    test = claim.full if full and claim.full is not None else claim.test
    if seeds is not None and isinstance(test, Experiment):
        test = dataclasses.replace(test, seeds=seeds)
    return dataclasses.replace(claim, test=test)


@dataclass(frozen=True)
class _Finding:
    """What one part of a claim gave: a run of an experiment, or the record of a property."""

    claim: int
    digest: str
    found: TrialResult | dict[str, Any]


class _Review:
    """Every process of a job runs its share of all claims; each claim is judged once the results of all are there."""

    def __init__(
        self,
        claims: list[Claim],
        recipes: dict[str, ExperimentRecipes],
        folder: ReviewFolder,
        full: bool,
        device: str,
        should_stop: Callable[[], bool],
    ) -> None:
        self.claims, self.folder, self.full, self.device, self._asked = claims, folder, full, device, should_stop
        self.recipes = recipes  # by the claim's name
        self.done = 0
        self._opened = contextlib.ExitStack()  # the folders of first stages
        self._properties: dict[int, dict[str, Any]] = {}  # the records of those that were checked
        self._trials: dict[int, list[tuple[str, Trial]]] = {}  # of each experiment that was begun, with their digests
        self._begun: set[tuple[str, int]] = set()  # runs that some process does, by digest and seed

    def run(self) -> Generator[ReviewEvent, None, Reviewed]:
        from dlkit.sweep.shared_race import SharedRace

        try:
            race = SharedRace(self._asked, _Finding)
            self.folder.runs = race.agree(self.folder.runs)
            reviewed = Reviewed(len(self.claims))
            for event in race.joined(self._own_share(race)):
                if not isinstance(event, _Finding):
                    yield event
                elif isinstance(event.found, TrialResult):
                    self.folder.add(event.digest, event.found)
                    self.done += 1
                    yield ArmRunFinished(self.claims[event.claim], self.done, self._runs())
                else:
                    self._properties[event.claim] = event.found
                yield from self._judge_whole(reviewed)
            if not reviewed.stopped:
                self.folder.conclude(reviewed.records)
            return reviewed
        finally:
            self._opened.close()
            self.folder.close()

    def _own_share(self, race: SharedRace) -> Generator[ClaimStarted | _Finding]:
        parts = 0  # of all claims so far, of which this process takes every W-th
        for number, claim in enumerate(self.claims):
            if race.should_stop():
                return
            if isinstance(claim.test, PropertyTest):
                yield ClaimStarted(claim, 0, self.done, self._runs(), number + 1, len(self.claims))
                if parts % race.size == race.rank:
                    yield _Finding(number, "", self._checked(claim, claim.test))
                parts += 1
                continue
            recipes = self.recipes[claim.name].arms
            comparison, digests = self._comparison(self.recipes[claim.name], race)
            trials = [(digests[trial.optimizer], trial) for trial in trials_of(recipes, claim.test.seeds)]
            missing = [
                (digest, trial)
                for digest, trial in trials
                if self.folder.finished(digest, trial) is None and (digest, trial.seed) not in self._begun
            ]
            self._trials[number] = trials
            self._begun |= {(digest, trial.seed) for digest, trial in missing}
            self.done += len(trials) - len(missing)
            yield ClaimStarted(claim, len(missing), self.done, self._runs(), number + 1, len(self.claims))
            units = units_of(recipes, [trial for _, trial in missing])
            own = [trial for i, unit in enumerate(units, parts) if i % race.size == race.rank for trial in unit]
            parts += len(units)
            for event in run_arms(comparison, own, max(1, usable_cores() // race.local_size)):
                if isinstance(event, TrialResult):
                    measure_of(event, claim.test.measure, claim.test.at)  # which refuses one that is not there
                    yield _Finding(number, digests[event.trial.optimizer], event)

    def _comparison(self, recipes: ExperimentRecipes, race: SharedRace) -> tuple[OptimizerComparison, dict[str, str]]:
        """The arms as objects, and the digest of each, which covers the run that it starts from."""
        comparison = comparison_of_arms(recipes.arms, self.device, race.should_stop)

        def digest(recipe: Recipe) -> str:
            if recipes.first is None or recipe.values["model"].get("weights") != FIRST:
                return digest_of(recipe, comparison.data_of(recipe).description["content"])
            new = recipe_with_weights(recipe, None)
            content = comparison.data_of(new).description["content"]
            return digest_of(new, {**content, FIRST: digest(recipes.first)})

        if recipes.first is not None:
            folder = self._opened.enter_context(tempfile.TemporaryDirectory(prefix="dlkit-review-"))
            comparison.first = FirstRuns(recipes.first, Path(folder))
        return comparison, {arm: digest(recipe) for arm, recipe in recipes.arms.items()}

    def _judge_whole(self, reviewed: Reviewed) -> Generator[ClaimJudged]:
        """Judge the next claims in order, as far as all that they rest on is there."""
        while reviewed.stopped:
            number = len(reviewed.records)
            claim = self.claims[number]
            if isinstance(claim.test, PropertyTest):
                record = self._properties.get(number)
            else:
                record = self._judged(claim, claim.test, self._trials.get(number, []))
            if record is None:
                return
            reviewed.records.append(record)
            yield ClaimJudged(claim, record)

    def _checked(self, claim: Claim, test: PropertyTest) -> dict[str, Any]:
        from dlkit.review.property_test import check_property

        started = time.perf_counter()
        found = check_property(test).record()
        return {**claim.described(), **found, "seconds": round(time.perf_counter() - started, 2)}

    def _judged(self, claim: Claim, experiment: Experiment, trials: list[tuple[str, Trial]]) -> dict[str, Any] | None:
        """The record of an experiment; None before all of its runs are there."""
        found = [self.folder.finished(digest, trial) for digest, trial in trials]
        outcomes = [outcome for outcome in found if outcome is not None]
        if not trials or len(outcomes) < len(trials):
            return None
        from dlkit.review.judged_experiment import judge_experiment

        judged = judge_experiment(experiment, outcomes, len(self.recipes)).record()
        return {**claim.described(), **judged, **({"full": True} if self.full else {})}

    def _runs(self) -> int:
        """Trainings in all, finished ones of a resumed review among them."""
        return sum(
            len(claim.test.arms) * claim.test.seeds for claim in self.claims if isinstance(claim.test, Experiment)
        )


def write_review_report(target: Path, reviewed: Reviewed, device: str) -> None:
    """Write an offline page of a review, with when and on what it was run.

    Args:
        target: the file.
        reviewed: the claims, those of a section beside each other.
        device: as given to `run_review`.
    """
    from dlkit.review.inline_figures import inline_figures
    from dlkit.review.page import write_review_page
    from dlkit.training.device import pick_device
    from dlkit.training.environment import describe_environment

    found = describe_environment(pick_device(device), {})
    hardware = found["gpu"] or f"{found['cores']} cores of {found['processor']}"
    facts = {
        "run": time.strftime("%Y-%m-%d"), "on": hardware, "torch": found["packages"]["torch"], "dlkit": found["dlkit"],
    }  # fmt: skip
    order = list(dict.fromkeys(record["section"] for record in reviewed.records))
    records = sorted(reviewed.records, key=lambda record: order.index(record["section"]))
    write_review_page(target, records, facts, {section: inline_figures(section) for section in order})
