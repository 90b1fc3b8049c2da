"""The texts of the embedded captions, in tables; `procedural/phrases.py` reads them."""
