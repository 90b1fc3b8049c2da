"""One module per file format. A reader knows its format and nothing else, and gives `RawClip`s."""
