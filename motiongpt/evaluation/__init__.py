"""The field's evaluation protocol: evaluators, rows of numbers, reports, comparisons."""
