"""What pyproject.toml demands is what the tests are run with."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def test_every_lower_bound_is_a_release_that_the_tests_are_run_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    stated = map(Requirement, [*project["dependencies"], *extras["hub"], *extras["onnx"], *extras["tensorboard"]])
    lines = (ROOT / ".ci" / "constraints-lowest.txt").read_text().splitlines()
    lowest = dict(line.split("==") for line in lines if "==" in line)
    for requirement in stated:
        bounds = {each.version for each in requirement.specifier if each.operator == ">="}
        assert bounds and all(Version(lowest[requirement.name]) == Version(bound) for bound in bounds), requirement
