"""What every data set is: examples in splits, labels by name, batches; and where downloaded ones are kept."""
