"""Motion as numbers: a transformer over feature frames, conditioned on text. No tokens, no language model."""
