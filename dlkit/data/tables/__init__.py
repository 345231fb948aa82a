"""Tabular data: numeric columns and a label, from CSV, JSON Lines and Parquet."""
