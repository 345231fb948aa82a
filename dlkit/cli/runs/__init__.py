"""`dlkit runs`: the commands, and how runs are shown."""
