"""`dlkit data`: the command, and how data is shown."""
