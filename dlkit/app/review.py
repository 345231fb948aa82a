"""Run claims of the review and judge them: `dlkit review run`. No torch until the first claim runs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlkit.app.arm_runs import comparison_of_arms, recipes_of_arms, run_arms, trials_of
from dlkit.app.events import Remark, Work
from dlkit.errors import RequestError
from dlkit.recipe import Recipe
from dlkit.review.claim import VERDICTS, Claim, Experiment, PropertyTest
from dlkit.review.measure import measure_of
from dlkit.review.review_folder import ReviewFolder, digest_of
from dlkit.sweep.trials import TrialResult


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
    recipes = {claim.name: recipes_of_arms(claim.test) for claim in chosen if isinstance(claim.test, Experiment)}
    review = _Review(chosen, recipes, ReviewFolder(out, resume), full, device, should_stop)
    return Work(review.run())


def _sized(claim: Claim, seeds: int | None, full: bool) -> Claim:
    test = claim.full if full and claim.full is not None else claim.test
    if seeds is not None and isinstance(test, Experiment):
        test = dataclasses.replace(test, seeds=seeds)
    return dataclasses.replace(claim, test=test)


@dataclass
class _Review:
    claims: list[Claim]
    recipes: dict[str, dict[str, Recipe]]  # claim -> arm -> its recipe
    folder: ReviewFolder
    full: bool
    device: str
    should_stop: Callable[[], bool]
    done: int = 0

    def run(self) -> Generator[ReviewEvent, None, Reviewed]:
        try:
            reviewed = Reviewed(len(self.claims))
            for claim in self.claims:
                record = yield from self._judge(claim)
                if record is None:
                    return reviewed
                reviewed.records.append(record)
                yield ClaimJudged(claim, record)
            self.folder.conclude(reviewed.records)
            return reviewed
        finally:
            self.folder.close()

    def _judge(self, claim: Claim) -> Generator[ReviewEvent, None, dict[str, Any] | None]:
        """Run a claim; returns its record, or None where it was stopped."""
        if self.should_stop():
            return None
        if isinstance(claim.test, PropertyTest):
            yield ClaimStarted(claim, 0, self.done, self._runs(), *self._place(claim))
            from dlkit.review.property_test import check_property

            started = time.perf_counter()
            found = check_property(claim.test).record()
            return {**claim.described(), **found, "seconds": round(time.perf_counter() - started, 2)}
        outcomes = yield from self._run(claim, claim.test)
        if outcomes is None:
            return None
        from dlkit.review.judged_experiment import judge_experiment

        found = judge_experiment(claim.test, outcomes, len(self.recipes)).record()
        return {**claim.described(), **found, **({"full": True} if self.full else {})}

    def _run(
        self, claim: Claim, experiment: Experiment
    ) -> Generator[ReviewEvent, None, list[TrialResult] | None]:  # fmt: skip
        """Its results, of which those in the folder are not run again; None where it was stopped."""
        recipes = self.recipes[claim.name]
        comparison = comparison_of_arms(recipes, self.device, self.should_stop)
        digests = {
            arm: digest_of(recipe, comparison.data_of(recipe).description["content"])
            for arm, recipe in recipes.items()
        }  # fmt: skip
        trials = trials_of(recipes, experiment.seeds)
        missing = [trial for trial in trials if self.folder.finished(digests[trial.optimizer], trial) is None]
        self.done += len(trials) - len(missing)
        yield ClaimStarted(claim, len(missing), self.done, self._runs(), *self._place(claim))
        for event in run_arms(comparison, missing):
            if isinstance(event, TrialResult):
                measure_of(event, experiment.measure, experiment.at)  # which refuses one that is not there
                self.folder.add(digests[event.trial.optimizer], event)
                self.done += 1
                yield ArmRunFinished(claim, self.done, self._runs())
        found = [self.folder.finished(digests[trial.optimizer], trial) for trial in trials]
        outcomes = [outcome for outcome in found if outcome is not None]
        return outcomes if len(outcomes) == len(trials) else None

    def _place(self, claim: Claim) -> tuple[int, int]:
        """Which of how many claims it is."""
        return self.claims.index(claim) + 1, len(self.claims)

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
