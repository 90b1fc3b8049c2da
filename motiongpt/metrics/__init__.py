"""Formulas on arrays: joint errors, embedding distances, token statistics, caption scores.
No networks, no files."""
