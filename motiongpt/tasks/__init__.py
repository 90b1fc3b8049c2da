"""What the language model is asked to do: the token ids and labels of each task,
and their batches."""
