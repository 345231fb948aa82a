"""dlkit: deep learning from the shell. Models, losses, optimizers and data sets as composable commands."""

__version__ = "0.1.0"
