"""What lies on disk: files that are whole or absent, folders that one process works in, and references to runs."""
