"""What the commands do, without the command line: the public Python API is made of it."""
