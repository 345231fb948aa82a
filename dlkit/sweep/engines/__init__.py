"""Ways to run the trials of a sweep: one after another, in worker processes, or stacked and trained at once."""
