"""Downloading data sets: the only part of dlkit that uses the network. Free of torch."""
