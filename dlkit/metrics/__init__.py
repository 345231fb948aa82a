"""Metrics: classification, calibration, language modelling, regression, OOD detection, and the scores of GLUE."""
