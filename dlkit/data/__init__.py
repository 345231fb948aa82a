"""Data sets in memory, fixed splits, batches and augmentation, one file a family."""
