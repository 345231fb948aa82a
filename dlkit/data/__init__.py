"""Data sets: splits, labels, batches, and the store of downloaded data."""
