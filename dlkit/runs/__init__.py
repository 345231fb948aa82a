"""What was trained: runs and races listed, filtered, compared, drawn and pruned. Free of torch."""
