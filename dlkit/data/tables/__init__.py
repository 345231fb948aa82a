"""Rows of numbers and a label, from CSV, JSON Lines and Parquet."""
