"""Findings: the lines of the doctor's table. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "fail", "measured", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One result of a check or benchmark.

    Args:
        subject: what was examined: a model, a loader, an optimizer.
        expected: the expectation, in words.
        got: the outcome, in words.
        verdict: pass or fail; measured if there is no expectation, skipped if it cannot be examined here.
        numbers: the numbers behind the words: times in milliseconds unless named otherwise, memory in bytes.
    """

    subject: str
    expected: str
    got: str
    verdict: Verdict
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])


def judged(subject: str, expected: str, got: str, holds: bool, **numbers: Any) -> Finding:
    """A finding that passes if `holds`, and fails otherwise."""
    return Finding(subject, expected, got, "pass" if holds else "fail", numbers)


def skipped(subject: str, expected: str, why: str) -> Finding:
    """A finding for what cannot be examined here."""
    return Finding(subject, expected, why, "skipped")


@dataclass(frozen=True)
class CheckedFinding:
    """A finding, the name of its check, and the seconds since the previous finding."""

    check: str
    finding: Finding
    seconds: float

    def record(self) -> dict[str, Any]:
        """The JSON record of the finding."""
        found = self.finding
        words = {"subject": found.subject, "expected": found.expected, "got": found.got, "verdict": found.verdict}
        return {"kind": "check", "check": self.check, **words, "seconds": round(self.seconds, 3), **found.numbers}
