"""Twins in bare torch: models, training loops and decoders as one writes them by hand, sharing no code with dlkit."""
