"""Measures of answers: of classifiers and their calibration, of language models, of OOD detection, and GLUE."""
