"""A line of the doctor's table. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "fail", "measured", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, what should have come out, and what did.

    Args:
        subject: of the check: a model, a loader, an optimizer.
        expected: in words.
        got: in words.
        verdict: measured where nothing is promised, skipped where it cannot be looked at here.
        numbers: behind the words: times in milliseconds unless named otherwise, memory in bytes.
    """

    subject: str
    expected: str
    got: str
    verdict: Verdict
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])


def judged(subject: str, expected: str, got: str, holds: bool, **numbers: Any) -> Finding:
    """A finding that holds or does not."""
    return Finding(subject, expected, got, "pass" if holds else "fail", numbers)


def skipped(subject: str, expected: str, why: str) -> Finding:
    """What cannot be looked at here."""
    return Finding(subject, expected, why, "skipped")


@dataclass(frozen=True)
class CheckedFinding:
    """A finding, the check that it belongs to, and the seconds since the one before."""

    check: str
    finding: Finding
    seconds: float

    def record(self) -> dict[str, Any]:
        """As a line of JSON Lines."""
        found = self.finding
        words = {"subject": found.subject, "expected": found.expected, "got": found.got, "verdict": found.verdict}
        return {"kind": "check", "check": self.check, **words, "seconds": round(self.seconds, 3), **found.numbers}
