"""Lossless compression with a model of the data: a trained GPT, or one that learns while it codes."""
