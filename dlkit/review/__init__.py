"""The claims of the deep learning review, each of which can be run and judged."""
