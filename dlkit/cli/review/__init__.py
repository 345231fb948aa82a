"""`dlkit review`."""
