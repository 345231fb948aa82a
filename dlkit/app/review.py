"""Run claims of the review and judge them: `dlkit review run`. No torch until the first claim runs."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit import memory
from dlkit.app.arm_runs import (
    ExperimentRecipes,
    comparison_of_arms,
    recipe_with_weights,
    recipes_of,
    run_arms,
    trials_of,
    units_of,
)
from dlkit.app.data_quantities import quantities_of
from dlkit.app.events import Work
from dlkit.app.first_runs import FirstRuns
from dlkit.app.review_events import ArmRunFinished, ClaimJudged, ClaimStarted, Reviewed, ReviewEvent
from dlkit.distributed.torchrun import is_first_process
from dlkit.errors import DlkitError, RequestError
from dlkit.processors import usable_cores
from dlkit.recipe import Recipe
from dlkit.review.claim import FIRST, Claim, Experiment, PropertyTest
from dlkit.review.measure import measure_of
from dlkit.review.review_folder import ReviewFolder, digest_of
from dlkit.sweep.trials import Trial, TrialResult

if TYPE_CHECKING:
    from dlkit.app.optimizer_comparison import OptimizerComparison
    from dlkit.sweep.shared_race import SharedRace


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

    A claim whose data is missing, or that fails while it runs, gets a record with an `error` in place of a verdict, and
    the others go on.

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
        DlkitError: the folder cannot be written.
    """
    if resume and out is None:
        raise RequestError("`resume` needs `out`", "give the folder of the finished runs")
    chosen = [_sized(claim, seeds, full) for claim in claims if not full or claim.full is not None]
    if not chosen:
        raise RequestError("none of these claims has a full size", "leave `full` out")
    # before anything is run, whatever is wrong with one of them
    recipes = {claim.name: _recipes_or_error(claim.test) for claim in chosen if isinstance(claim.test, Experiment)}
    folder = ReviewFolder(out if is_first_process() else None, resume)
    review = _Review(chosen, recipes, folder, full, device, should_stop)
    return Work(review.run())


def _sized(claim: Claim, seeds: int | None, full: bool) -> Claim:
    test = claim.full if full and claim.full is not None else claim.test
    if seeds is not None and isinstance(test, Experiment):
        test = dataclasses.replace(test, seeds=seeds)
    return dataclasses.replace(claim, test=test)


def _recipes_or_error(experiment: Experiment) -> ExperimentRecipes | DlkitError:
    """The recipes; or, where data or weights are missing, the error. A wrong recipe is raised: nothing is run then."""
    try:
        return recipes_of(experiment)
    except RequestError:
        raise
    except DlkitError as error:
        return error


def _failed(claim: Claim, error: DlkitError) -> dict[str, Any]:
    return {**claim.described(), "error": error.message, "hint": error.hint}


def _exhaustion(error: RuntimeError | MemoryError) -> DlkitError | None:
    """What the user reads where memory ran out, for which the system may kill a process; None for anything else."""
    from concurrent.futures.process import BrokenProcessPool

    hint = "close other programs, or run it by itself"
    if isinstance(error, BrokenProcessPool):
        return DlkitError("a process of its runs was killed, perhaps for want of memory", hint)
    remark = memory.allocation_remark(str(error))
    return DlkitError(f"out of memory{remark}", hint) if memory.is_out_of_memory(error) else None


@dataclass(frozen=True)
class _Finding:
    """What one part of a claim gave: a run of an experiment, or the record of a property or of an error."""

    claim: int
    digest: str
    found: TrialResult | dict[str, Any]


class _Review:
    """Every process of a job runs its share of all claims; each claim is judged once the results of all are there."""

    def __init__(
        self,
        claims: list[Claim],
        recipes: dict[str, ExperimentRecipes | DlkitError],
        folder: ReviewFolder,
        full: bool,
        device: str,
        should_stop: Callable[[], bool],
    ) -> None:
        self.claims, self.folder, self.full, self.device, self._asked = claims, folder, full, device, should_stop
        self.recipes = recipes  # by the claim's name
        self._parts = 0  # of all claims so far, of which this process takes every W-th
        self._opened = contextlib.ExitStack()  # the folders of first stages
        self._records: dict[int, dict[str, Any]] = {}  # of properties that were checked, and of claims that failed
        self._trials: dict[int, list[tuple[str, Trial]]] = {}  # of each experiment that was begun, with their digests
        self._quantities: dict[int, dict[str, float]] = {}  # of the data of each experiment that was begun
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
                    yield ArmRunFinished(self.claims[event.claim], *self._done_of_runs())
                else:
                    self._records.setdefault(event.claim, event.found)
                yield from self._judge_whole(reviewed)
            while reviewed.stopped and reviewed.failed and not race.should_stop():  # for runs that a failed one began
                number = len(reviewed.records)
                shared = DlkitError("it shares a run with a claim that failed", "run it again by itself")
                self._records[number] = _failed(self.claims[number], shared)
                yield from self._judge_whole(reviewed)
            if not reviewed.stopped:
                self.folder.conclude(reviewed.records)
            return reviewed
        finally:
            self._opened.close()
            self.folder.close()

    def _own_share(self, race: SharedRace) -> Generator[ClaimStarted | _Finding]:
        for number, claim in enumerate(self.claims):
            if race.should_stop():
                return
            try:
                yield from self._share_of(number, claim, race)
            except (DlkitError, RuntimeError, MemoryError) as error:
                found = error if isinstance(error, DlkitError) else _exhaustion(error)
                if found is None:
                    raise
                if race.should_stop():
                    return
                memory.release_memory()
                if race.size == 1:  # another claim may try what they share; several processes deal out what all count
                    self._begun -= {(digest, trial.seed) for digest, trial in self._missing(number)}
                yield _Finding(number, "", _failed(claim, found))

    def _share_of(self, number: int, claim: Claim, race: SharedRace) -> Generator[ClaimStarted | _Finding]:
        if isinstance(claim.test, PropertyTest):
            yield self._started(number, 0)
            self._parts += 1
            if (self._parts - 1) % race.size == race.rank:
                yield _Finding(number, "", self._checked(claim, claim.test))
            return
        recipes = self.recipes[claim.name]
        if isinstance(recipes, DlkitError):
            raise recipes
        comparison, digests = self._comparison(recipes, claim.test.ood, race)
        self._quantities[number] = quantities_of(claim.test, comparison)
        trials = [(digests[trial.optimizer], trial) for trial in trials_of(recipes.arms, claim.test.seeds)]
        self._trials[number] = trials
        missing = [each for each in self._missing(number) if (each[0], each[1].seed) not in self._begun]
        self._begun |= {(digest, trial.seed) for digest, trial in missing}
        first = {trial.seed for _, trial in missing if trial.optimizer in claim.test.continued}
        yield self._started(number, len(missing) + len(first))
        units = units_of(recipes.arms, [trial for _, trial in missing])
        own = [trial for i, unit in enumerate(units, self._parts) if i % race.size == race.rank for trial in unit]
        self._parts += len(units)
        for event in run_arms(comparison, own, max(1, usable_cores() // race.local_size)):
            if isinstance(event, TrialResult):
                yield _Finding(number, digests[event.trial.optimizer], event)
                measure_of(event, claim.test.measure, claim.test.at)  # which refuses one that is not there

    def _started(self, number: int, missing: int) -> ClaimStarted:
        return ClaimStarted(self.claims[number], missing, *self._done_of_runs(), number + 1, len(self.claims))

    def _missing(self, number: int) -> list[tuple[str, Trial]]:
        """The runs of an experiment that was begun which are not finished, with their digests."""
        trials = self._trials.get(number, [])
        return [(digest, trial) for digest, trial in trials if self.folder.finished(digest, trial) is None]

    def _comparison(
        self, recipes: ExperimentRecipes, ood: str | None, race: SharedRace
    ) -> tuple[OptimizerComparison, dict[str, str]]:
        """The arms as objects, and the digest of each, which covers the run that it starts from."""
        comparison = comparison_of_arms(recipes.arms, self.device, race.should_stop, ood)
        beside = {} if ood is None else {"ood": ood}

        def digest(recipe: Recipe) -> str:
            if recipes.first is None or recipe.values["model"].get("weights") != FIRST:
                return digest_of(recipe, {**comparison.data_of(recipe).description["content"], **beside})
            new = recipe_with_weights(recipe, None)
            content = comparison.data_of(new).description["content"]
            return digest_of(new, {**content, **beside, FIRST: digest(recipes.first)})

        if recipes.first is not None:
            folder = self._opened.enter_context(tempfile.TemporaryDirectory(prefix="dlkit-review-"))
            comparison.first = FirstRuns(recipes.first, Path(folder))
        return comparison, {arm: digest(recipe) for arm, recipe in recipes.arms.items()}

    def _judge_whole(self, reviewed: Reviewed) -> Generator[ClaimJudged]:
        """Judge the next claims in order, as far as all that they rest on is there."""
        while reviewed.stopped:
            number = len(reviewed.records)
            claim = self.claims[number]
            record = self._records.get(number)
            if record is None and isinstance(claim.test, Experiment):
                try:
                    record = self._judged(number, claim, claim.test)
                except DlkitError as error:
                    record = _failed(claim, error)
            if record is None:
                return
            reviewed.records.append(record)
            yield ClaimJudged(claim, record)

    def _checked(self, claim: Claim, test: PropertyTest) -> dict[str, Any]:
        from dlkit.review.property_test import check_property

        started = time.perf_counter()
        found = check_property(test).record()
        return {**claim.described(), **found, "seconds": round(time.perf_counter() - started, 2)}

    def _judged(self, number: int, claim: Claim, experiment: Experiment) -> dict[str, Any] | None:
        """The record of an experiment; None before all of its runs are there."""
        trials = self._trials.get(number, [])
        found = [self.folder.finished(digest, trial) for digest, trial in trials]
        outcomes = [outcome for outcome in found if outcome is not None]
        if not trials or len(outcomes) < len(trials):
            return None
        from dlkit.review.judged_experiment import judge_experiment

        judged = judge_experiment(experiment, outcomes, len(self.recipes), self._quantities[number]).record()
        return {**claim.described(), **judged, **({"full": True} if self.full else {})}

    def _done_of_runs(self) -> tuple[int, int]:
        """Trainings that are done, those of a resumed review among them, and all that there will be.

        First stages are trainings too, each done once an arm that started from it is. A claim that failed has no more.
        """
        done = runs = 0
        for number, claim in enumerate(self.claims):
            if not isinstance(claim.test, Experiment):
                continue
            trials, missing = self._trials.get(number, []), self._missing(number)
            there = [trial for digest, trial in trials if (digest, trial) not in missing]
            finished = len(there) + len({trial.seed for trial in there if trial.optimizer in claim.test.continued})
            done += finished
            every = (len(claim.test.arms) + bool(claim.test.continued)) * claim.test.seeds
            runs += finished if number in self._records else every
        return done, runs
