"""A claim: a sentence about deep learning, and what decides whether it holds. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dlkit.review.expectation import Expectation

FIRST = "first"  # as an arm names the weights of the first stage: `model: {weights: first}`
Verdict = Literal["supported", "not supported", "contradicted", "cannot tell"]
VERDICTS: tuple[Verdict, ...] = ("supported", "not supported", "contradicted", "cannot tell")


@dataclass(frozen=True)
class PropertyTest:
    """An exact identity.

    Args:
        function: its name in `PROPERTIES`.
        draws: how often random inputs are drawn; the largest deviation counts.
        tolerance: the largest deviation that rounding in float64 explains.
    """

    function: str
    draws: int
    tolerance: float


@dataclass(frozen=True)
class Arm:
    """A variant of a recipe.

    Args:
        name: as the expectation has it.
        changes: of the recipe, as KEY=VALUE: those of all arms, then its own.
        where: `file.yaml:LINE` of its name.
        places: dotted key of a change -> its `file.yaml:LINE`.
    """

    name: str
    changes: tuple[str, ...]
    where: str
    places: Mapping[str, str]

    @property
    def continues(self) -> bool:
        """Whether it starts from the weights of the first stage."""
        return f"model.weights={FIRST}" in self.changes

    def place_of(self, key: str) -> str:
        """Where what is wrong with a dotted key of the recipe was written."""
        while key not in self.places and "." in key:
            key = key.rpartition(".")[0]
        return self.places.get(key, self.where)


@dataclass(frozen=True)
class FirstStage:
    """What is trained before the arms, once from each seed; arms may start from its weights.

    Args:
        recipe: a shipped recipe's name, or a file.
        variant: its changes, under the name `first`.
    """

    recipe: str
    variant: Arm


@dataclass(frozen=True)
class Experiment:
    """Variants of a recipe, each trained from the same seeds, and how their results should compare.

    Args:
        recipe: a shipped recipe's name, or a file.
        arms: the variants.
        measure: what is compared, such as test/accuracy or train/loss.
        at: the evaluation it is taken from: a step, the end, or the mean over all of them.
        expect: the relation that is claimed.
        smallest: the smallest difference that matters, in units of the measure.
        seeds: runs of each arm, from seeds 0, 1, 2...
        first: what is trained before them, where there is such a stage.
        ood: images that no arm is trained on, as `dlkit eval --ood` takes them, for the measures ood/...
    """

    recipe: str
    arms: tuple[Arm, ...]
    measure: str
    at: int | Literal["end", "mean"]
    expect: Expectation
    smallest: float
    seeds: int
    first: FirstStage | None = None
    ood: str | None = None

    @property
    def continued(self) -> set[str]:
        """The arms that start from the weights of the first stage."""
        return {arm.name for arm in self.arms if arm.continues}


@dataclass(frozen=True)
class Claim:
    """A sentence about deep learning, and what decides whether it holds.

    Args:
        name: of its file.
        path: of its file.
        section: of the review.
        text: the claim in words.
        test: what decides.
        fixed: what was fixed before any result was seen.
        paper: its source.
        full: the same experiment at the size it was meant for, where there is one.
    """

    name: str
    path: Path
    section: str
    text: str
    test: PropertyTest | Experiment
    fixed: str
    paper: str | None = None
    full: Experiment | None = None

    @property
    def kind(self) -> str:
        """`property` or `arms`."""
        return "property" if isinstance(self.test, PropertyTest) else "arms"

    def described(self) -> dict[str, str | None]:
        """What its record begins with."""
        return {
            "claim": self.name, "section": self.section, "text": self.text, "kind": self.kind, "paper": self.paper,
            "fixed": self.fixed, "path": str(self.path),
        }  # fmt: skip
