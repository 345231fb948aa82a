"""Tasks: what is learned from which data. Only here and in the catalog are they known by name.

A new task is a file here and a line of `dlkit.catalog.TASKS` that names its `TaskData`, which gives batches, the model
and an objective: an object with the loss of a batch and a meter that evaluates (`dlkit.training.interfaces.Task`).
"""
