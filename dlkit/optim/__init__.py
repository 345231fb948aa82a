"""Optimizers in order of rising complexity: gradient descent, momentum, AdaGrad, RMSProp, Adam, AdamW."""
