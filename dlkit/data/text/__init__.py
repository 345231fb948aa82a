"""Text: corpora and labelled texts, tokenizers, and batches of token ids."""
