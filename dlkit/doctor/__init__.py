"""Whether dlkit computes here what it should, and how fast: each check compares with a twin in bare torch.

A check is a function from a `Bench` to findings, one a file, named in `dlkit.doctor.registry`. The twins are written in
plain torch.nn, as people write them by hand: they are the reference of what is right and of how fast it can be.
"""
