"""One run on many devices, by torch.distributed: the processes that torchrun starts, and what they share."""
