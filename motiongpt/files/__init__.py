"""Files: written whole or not at all, read with an error that names them; archives, pickles and downloads made safe."""

from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, read_tensors, write_atomic, write_json, write_tensors

__all__ = ["file_hash", "read_json", "read_tensors", "write_atomic", "write_json", "write_tensors"]
