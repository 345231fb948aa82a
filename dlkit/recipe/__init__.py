"""Recipes: strict YAML in, checked and complete values out. Imports nothing heavy.

A recipe is read, merged with what it `extends`, changed by `KEY=VALUE` and `~KEY` overrides, checked against the schema
generated from the components' signatures, and completed with their defaults. Problems are reported all at once.
"""

from __future__ import annotations

from dlkit.recipe.check import closest
from dlkit.recipe.checked_recipe import Recipe
from dlkit.recipe.find import locate, shipped, summary
from dlkit.recipe.keys import override_keys, override_values
from dlkit.recipe.load import definition, load, load_run, read_recipe, schema

__all__ = [
    "Recipe", "closest", "definition", "load", "load_run", "locate", "override_keys", "override_values", "read_recipe",
    "schema", "shipped", "summary",
]  # fmt: skip
