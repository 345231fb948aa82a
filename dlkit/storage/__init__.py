"""Storage: atomic files, locked folders, and references to runs."""
