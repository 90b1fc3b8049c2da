"""Does a motion do what its sentence says? Conditions on joints, which no model ever sees."""
