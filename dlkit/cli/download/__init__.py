"""`dlkit download`: the command and its view."""
