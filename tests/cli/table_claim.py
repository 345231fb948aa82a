"""A user's own claim, on a table of his."""

from __future__ import annotations

ROWS = "\n".join(["x,y,kind", *(f"{i % 7 - 3 + i % 2 * 4},{i % 5},{'ab'[i % 2]}" for i in range(120))])
# Learning against hardly any, on a table of the user's.
CLAIM = """\
section: My table
claim: A learning rate of 0.05 learns it, one of a millionth does not.
kind: arms
fixed: everything, before the first run
recipe: csv-mlp
changes:
  data: {path: rows.csv, label: kind, batch_size: 32}
  model: {hidden: [8]}
  schedule: {name: constant, warmup: 0}
  train: {epochs: 5}
arms:
  learning: {optimizer: {name: adam, lr: 0.05}}
  standing: {optimizer: {name: adam, lr: 1e-6}}
measure: val/accuracy
expect: learning > standing
smallest: 0.05
seeds: 4
"""
