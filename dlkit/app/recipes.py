"""Recipes for Python: `dlkit.load`. No torch."""

from __future__ import annotations

import os

from dlkit import recipe as recipes
from dlkit.recipe import Recipe


def load_recipe(source: str | os.PathLike[str], *changes: str) -> Recipe:
    """Load a recipe, change it, check it, and fill in every default.

    Args:
        source: a shipped recipe's name, a file, or the directory of a run.
        changes: `dotted.key=VALUE` with a YAML value, or `~dotted.key` to remove one.

    Raises:
        RecipeError: with every problem found, as `file.yaml:LINE: dotted.key: message`.
        RequestError: there is no such recipe.
    """
    return recipes.load(os.fspath(source), changes)
