"""Readers: a module per file format, and the modules that parse it. A reader knows its format and returns `RawClip`s.

A reader has `find` (the files of a folder), `read` or `read_all` (one clip, or all clips of a file), and `explain`
(lines for people about a file, whole or broken).
"""
