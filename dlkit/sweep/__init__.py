"""Comparing optimizers: trials, engines that run them, the verdict over many runs, and its figures."""
