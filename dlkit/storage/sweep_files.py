"""What a sweep keeps on disk. Free of torch."""

from __future__ import annotations

from dlkit.storage.lock import LOCK
from dlkit.storage.run_reference import CODE, ENVIRONMENT, RECIPE, RUNS, SUMMARY

RACE = "race.json"  # the command, the grid and the seeds
PAGE, STACK = "report.html", "stack"
_DRAWN = ("surface", "sensitivity", "curves", "tuning", "profile")
_FIGURES = tuple(f"{name}.{kind}" for name in _DRAWN for kind in ("svg", "png"))
# everything that a sweep writes into its folder
SWEEP_FILES = (LOCK, RUNS, SUMMARY, PAGE, STACK, CODE, RECIPE, ENVIRONMENT, RACE, *_FIGURES)
