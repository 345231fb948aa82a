"""Fetching data sets: the only part of dlkit that uses the network. No torch."""
