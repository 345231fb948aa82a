"""Pretrained weights, of others or of an earlier run: `open_weights` opens and verifies them all."""
