"""Layers, one concept a file. A module calls torch's kernel; the `..._reference` function beside it is the math."""
