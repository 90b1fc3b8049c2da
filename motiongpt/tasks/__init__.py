"""What a language model is asked: token ids and labels of each task, and their batches."""
