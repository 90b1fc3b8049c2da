"""Ways to look at a motion: each module takes joints and writes one kind of file. `skeleton` makes GIF and PNG."""
