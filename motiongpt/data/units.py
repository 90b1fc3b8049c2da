"""Units of length by name, for `--unit` and for files that say which unit they are in. Imports nothing."""

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254}
"""Name -> metres."""


def metres(unit: str | None) -> float | None:
    """Metres of a unit: m, cm, mm, inch, or a number. None stays None: the file says it, or it is guessed."""
    if unit is None or unit in UNITS:
        return UNITS.get(unit)
    try:
        value = float(unit)
    except ValueError:
        value = 0.0
    if not 1e-6 < value <= 1000:  # false for NaN, too
        raise ValueError(f"--unit must be one of {', '.join(UNITS)}, or metres as a number above 0, got {unit!r}")
    return value
