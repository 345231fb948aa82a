"""`dlkit doctor`: whether dlkit computes correctly on this machine, and how fast, beside twins in bare torch.

A check or benchmark is a function from a `Bench` to findings, named in `dlkit.doctor.registry`. The twins are written
in plain torch.nn, as one would by hand: they are the reference for correctness and for speed.
"""
