"""Pretrained weights, of third parties or of dlkit's runs: `open_weights` opens and verifies them all."""
