"""Comparing optimizers: the surfaces to race on, the verdict over many runs, and its figures."""
