"""Measures of answers: GLUE and SuperGLUE, and telling in- from out-of-distribution data."""
