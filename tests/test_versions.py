"""The lowest versions that the package asks for are those that CI runs the tests with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOWEST = ROOT / ".ci" / "constraints-lowest.txt"
EXTRAS = ("hub", "onnx", "tensorboard")  # the others are for developing


@pytest.mark.skipif(not LOWEST.is_file(), reason="a source distribution comes without CI's files")
def test_lower_bounds_are_the_versions_that_ci_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated = [*project["dependencies"], *(line for name in EXTRAS for line in project["optional-dependencies"][name])]
    bounds = {
        requirement.name: Version(bound.version)
        for requirement in map(Requirement, stated)
        for bound in requirement.specifier
        if bound.operator == ">="
    }
    assert len(bounds) == len(stated), "each of them has a lower bound"
    lines = LOWEST.read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    tested = {pin.name: Version(str(pin.specifier).removeprefix("==")) for pin in pins}
    assert bounds.items() <= tested.items()
    developing = {requirement.name for requirement in map(Requirement, project["optional-dependencies"]["dev"])}
    assert tested.keys() <= bounds.keys() | developing
