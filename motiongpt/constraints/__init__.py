"""What a motion must do in the room: follow a path, reach a point, close as a loop, stay in place.

`spec` reads the wishes, `score` says how far a motion is from them, `apply` makes it meet them.
"""
