"""Sweeps: optimizers compared over learning rates, options and seeds."""
