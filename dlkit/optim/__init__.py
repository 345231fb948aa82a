"""Optimizers: one file per update rule, and their common base class in `base`."""
