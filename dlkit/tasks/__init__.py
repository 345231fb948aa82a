"""What a batch costs and how good a model is, a file for each family of tasks."""
