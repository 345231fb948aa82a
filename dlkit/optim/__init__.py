"""Optimizers: a file for each rule, and `base` for what they share."""
