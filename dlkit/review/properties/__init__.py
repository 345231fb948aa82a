"""Exact properties, a file for each section of the review.

Each function draws random inputs and returns how far the two sides of an identity are apart. Its argument is what the
property is claimed of, so that a test can put something else in its place, for which the property must fail.
"""
