"""Comparisons of what dlkit computes on this machine with a reference, one subject a file."""
