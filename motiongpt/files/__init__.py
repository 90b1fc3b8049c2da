"""Reading and writing files safely, without knowing what is in them.

store: JSON and tensors, written whole or not at all. arrays: .npy and .npz, never unpickled. unpickle, stand_ins:
pickles of other projects, read without running them. download: a file from the web. archives: unpacking one. folders:
what may be written where. lock: one process per folder. hashes: short fingerprints, and what a JSON file remembers of
the files beside it. fields: keys of JSON, checked. sentencepiece_model: a sentencepiece file as a tokenizer.json.
"""

from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, read_tensors, write_atomic, write_json, write_tensors

__all__ = ["file_hash", "read_json", "read_tensors", "write_atomic", "write_json", "write_tensors"]
