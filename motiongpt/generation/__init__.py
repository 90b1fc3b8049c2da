"""What is made of a model's codes: kept parts and their seams, poses as conditions, streams, the best of several."""
