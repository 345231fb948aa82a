"""`dlkit eval`: one run, or several as a benchmark."""
