"""What differs between runs: their recipes, their metrics, and where they were made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlkit.runs.listed_run import flattened, read_run
from dlkit.storage.run_reference import ENVIRONMENT
from dlkit.text_input import read_json_mapping
from dlkit.user_code import same_value

_OF_EACH_RUN = ("command", "recipe", "total_steps", "data.path")  # differ, or follow from the recipe


def diff_runs(paths: Sequence[Path]) -> dict[str, Any]:
    """What `dlkit runs diff` prints: key -> its value in each run, in the order of `runs`; null where one has none.

    `recipe` and `environment` hold only what differs, `metrics` all of them.

    Raises:
        DlkitError: an environment.json is damaged.
    """
    runs = [read_run(path) for path in paths]
    environments = [_environment(path) for path in paths]
    return {
        "runs": [str(path) for path in paths],
        "recipe": _differences([run.keys for run in runs]),
        "metrics": _side_by_side([run.metrics for run in runs]),
        "environment": _differences(environments),
        **{name: [run.record()[name] for run in runs] for name in ("state", "step", "seconds")},
    }


def _environment(path: Path) -> dict[str, Any]:
    if not (path / ENVIRONMENT).exists():
        return {}
    found = flattened(read_json_mapping(path / ENVIRONMENT, f"see {path / ENVIRONMENT}"))
    return {key: value for key, value in found.items() if key not in _OF_EACH_RUN}


def _side_by_side(each: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for values in each for name in values)
    return {name: [values.get(name) for values in each] for name in names}


def _differences(each: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {
        name: values
        for name, values in _side_by_side(each).items()
        if not all(same_value(value, values[0]) for value in values[1:])
    }
