"""The offline page of every head's attention: what writes it, and its document, style and script."""
