"""Faster implementations of what layers and losses define: CPU matrix products, chunked losses, CUDA graphs."""
