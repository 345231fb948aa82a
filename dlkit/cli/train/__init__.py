"""`dlkit train`: the command, and what is seen while it runs."""
