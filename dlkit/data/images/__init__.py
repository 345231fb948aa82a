"""Image data sets, the user's own folders and shards, decoding, augmentation and streaming."""
