"""Data sets on disk and in memory: motions, captions, tokens, and the batches made of them."""
