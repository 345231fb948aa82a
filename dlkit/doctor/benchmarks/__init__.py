"""Speed and memory beside equivalents in bare torch, one subject a file."""
