"""What the training loop (`loops.py`) stands on: its numbers, its schedule, its devices, and who watches it."""
