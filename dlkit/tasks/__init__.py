"""Tasks: an objective and the data it is learned from. Task names occur only here and in the catalog.

A new task is a file here and a line of `dlkit.catalog.TASKS` that names its `TaskData`. This provides batches, the
model and an objective: an object with the loss of a batch and an evaluation meter (`dlkit.training.interfaces.Task`).
"""
