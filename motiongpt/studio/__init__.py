"""A page on one's own computer that makes motions: a small web server around a loaded run."""
