"""The record of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.cli.console import Output, note
from dlkit.recipe import Recipe

if TYPE_CHECKING:
    from dlkit.app.evaluation import Evaluation


def record_of(run: Path, recipe: Recipe, checkpoint: Path, result: Evaluation) -> dict[str, Any]:
    """What `eval` prints of a run's checkpoint on a split of the recipe's data; says which measures are left out."""
    for measure, why in result.left_out.items():
        note(f"{measure} is left out: {why}")
    return {
        "run": str(run),
        "data": recipe.values["data"]["name"],
        "split": result.split,
        "n": result.samples,
        **result.extent,
        "metrics": result.metrics,
        "precision": result.precision,
        "seconds": round(result.seconds, 3),
        "checkpoint": str(checkpoint),
        "step": result.step,
        "per_class": result.per_class,
        **({"left_out": result.left_out} if result.left_out else {}),
        **({"damaged": len(result.damaged)} if result.damaged else {}),
    }


def tell_taken(sources: dict[str, Any], output: Output) -> None:
    """Say what was taken of the data and what was left out; -q hears only what is out of the ordinary."""
    if "taken" in sources:
        output.say(sources["taken"])
    for remark in sources.get("remarks", ()):
        note(remark)


def name_damaged(damaged: dict[str, str], all_of_them: str, most: int = 5) -> None:
    """Tell of images that were left out; name -> why."""
    for name, why in list(damaged.items())[:most]:
        note(f"left out, damaged: {name}: {why}")
    if len(damaged) > most:
        note(f"left out, damaged: {all_of_them}")
