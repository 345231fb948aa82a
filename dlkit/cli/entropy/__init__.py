"""`dlkit entropy`: of distributions, of streams of symbols, and of text under a model."""
