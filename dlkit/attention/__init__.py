"""Recording and measuring attention, and the views of it: figures and one offline page."""
