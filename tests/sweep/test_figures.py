"""Figures of a sweep: no two optimizers look the same."""

from __future__ import annotations

from dlkit.catalog import OPTIMIZERS
from dlkit.sweep.figures import style_of


def test_every_optimizer_of_the_catalog_has_a_style_of_its_own() -> None:
    styles = [style_of(name) for name in OPTIMIZERS]
    assert len(set(styles)) == len(OPTIMIZERS)
    assert len({marker for _, marker, _ in styles}) == len(OPTIMIZERS)  # in greyscale, too
