"""Faster ways to compute what the layers and losses define: matrix products on a CPU, Triton, CUDA graphs."""
