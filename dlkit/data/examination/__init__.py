"""What is in a data set: the same example twice, the lengths of texts, the columns of a table, a sheet of images."""
