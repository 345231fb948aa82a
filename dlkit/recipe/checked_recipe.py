"""A recipe that was read, checked and completed."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit import user_code
from dlkit.annotations import is_mapping
from dlkit.contracts import SECTIONS
from dlkit.recipe.strict_yaml import dump_yaml


@dataclass
class Recipe:
    """A checked recipe. `values` is complete: every default is written out and paths are absolute."""

    name: str
    path: Path
    values: dict[str, Any]

    @property
    def own_code(self) -> list[Path]:
        """The files of components of the user's own, which run where the recipe does."""
        return list(dict.fromkeys(user_code.split_reference(name)[0] for _, name in own_references(self.values)))

    def described_code(self) -> dict[str, dict[str, str]]:
        """`code`: file name -> sha256 of those files; empty where there are none.

        Raises RequestError if one cannot be read, or two have one name.
        """
        hashes = user_code.hashes_of(self.own_code)
        return {"code": hashes} if hashes else {}

    def with_code_in(self, folder: str) -> Recipe:
        """The recipe with those files in another folder, under the names that they have."""
        values = copy.deepcopy(self.values)
        for (section, key), name in own_references(values):
            values[section][key] = user_code.copy_in(folder, name)
        return Recipe(self.name, self.path, values)

    def to_yaml(self) -> str:
        """The resolved recipe, which loads back to the same values."""
        return dump_yaml(self.values)


def own_references(values: dict[str, Any]) -> list[tuple[tuple[str, str], str]]:
    """(section, key) and name of each component of the user's own."""
    keys = [*((section, "name") for section in SECTIONS), ("model", "activation")]
    sections = [(section, key, values.get(section)) for section, key in keys]
    named = [((section, key), held[key]) for section, key, held in sections if is_mapping(held) and key in held]
    return [(place, name) for place, name in named if user_code.is_reference(name)]
