"""Images: data sets of them, folders and shards of your own, decoding, augmentation and streams."""
