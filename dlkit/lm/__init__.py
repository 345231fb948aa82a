"""Using language models: sampling text, and scoring it."""
