"""What a review reports while it runs, and what came out of it. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dlkit.app.events import Remark
from dlkit.review.claim import VERDICTS, Claim


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
    """A claim has its verdict, or could not be judged; `record` is what `dlkit review run` prints of it."""

    claim: Claim
    record: dict[str, Any]


ReviewEvent = Remark | ClaimStarted | ArmRunFinished | ClaimJudged


@dataclass
class Reviewed:
    """A review that has ended, or was stopped and can be resumed.

    Args:
        claims: how many were asked for.
        records: of those that were judged or failed, in order; one that failed has an `error` in place of a verdict.
    """

    claims: int
    records: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def stopped(self) -> bool:
        return len(self.records) < self.claims

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The records of claims that an error has kept from a verdict."""
        return [record for record in self.records if "error" in record]

    def summary(self) -> dict[str, Any]:
        """How many claims came to which verdict, and how many to none, by an error."""
        counts = {verdict: sum(record.get("verdict") == verdict for record in self.records) for verdict in VERDICTS}
        return {"kind": "summary", "claims": len(self.records), **counts, "errors": len(self.failed)}
