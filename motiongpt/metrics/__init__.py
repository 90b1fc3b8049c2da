"""Formulas on tensors: joint errors, embedding distances, token statistics, caption scores."""
