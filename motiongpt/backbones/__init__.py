"""Transformers beside the decoder of `llm.py`: T5, and the text tower of CLIP."""
