"""Trained models for programs without dlkit: what is written, and how its answers are checked."""
