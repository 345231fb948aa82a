"""Information theory on counts and distributions: measures, codes, statistics of streams. Free of torch."""
