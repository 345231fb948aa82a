"""Weights that others or an earlier run have trained: opened in one way, and always verified."""
