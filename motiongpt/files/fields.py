"""One value of a JSON object, checked: an error names the file and the key.

The danger is a file that is valid JSON and yet not what was written: a key is missing, null, or of another type.
Without a check it fails far from here, as a KeyError or TypeError that names no file, or it changes a result.
"""

from typing import Any

REQUIRED = object()  # the default of a key that must be there
KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}
LARGEST = 1e300  # of numbers; larger whole numbers exist in JSON and overflow a float


def is_kind(value: Any, kind: type) -> bool:
    """Whether a JSON value is of a kind of `KINDS`. A float may be written as an int; a bool is no number."""
    if kind is float:
        return type(value) in (int, float) and -LARGEST <= value <= LARGEST  # not true of NaN
    return type(value) is kind


def get_field(
    values: dict, key: str, kind: type, where: object, default: Any = REQUIRED, least: float | None = None
) -> Any:
    """values[key], which must be of `kind`, and if numeric at least `least`; `default` if there is no such key.

    Null is accepted only if the default is None. Raises ValueError that names `where` (if it is not empty), the key and
    what was found.
    """
    start = f"{where}: " if where else ""
    wanted = KINDS[kind] + ("" if least is None else f" of at least {least:g}")
    if key not in values:
        if default is REQUIRED:
            raise ValueError(f"{start}the key {key} is missing; expected {wanted}")
        return default
    value = values[key]
    if value is None and default is None:
        return None
    if not is_kind(value, kind) or (least is not None and value < least):
        raise ValueError(f"{start}{key} must be {wanted}, got {str(value)[:60]!r}")
    return value
