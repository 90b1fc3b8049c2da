"""What every config shares: fields with help texts, bad values refused, and JSON in both directions.

`motiongpt.cli.parser` makes a flag of every field with a help text, and adds the default to that text. A bad value is
refused here, at construction, in a message that names the flag.
"""

import dataclasses
import sys
from dataclasses import field
from typing import Any


def flag(default: Any, text: str, **extra: Any) -> Any:
    """A dataclass field with the help text of its command-line flag."""
    return field(default=default, metadata={"help": text, **extra})


def flag_name(field_name: str) -> str:
    """`batch_size` -> `--batch-size`."""
    return "--" + field_name.replace("_", "-")


class BadField(ValueError):
    """A bad value of a field; the message names its flag. Where the value came from a file, `from_dict` names that."""

    def __init__(self, name: str, value: Any, expected: str) -> None:
        super().__init__(f"{flag_name(name)} must be {expected}, got {value!r:.200}")
        self.name = name
        self.rule = f"must be {expected}, got {value!r:.60}"


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raise ValueError for a bad field value, naming the flag that sets it."""
    if not condition:
        raise BadField(name, value, expected)


def fits(value: Any, default: Any) -> bool:
    """Whether a JSON value has the type of a field's default. A float must be finite and may be written as an int."""
    if isinstance(default, float):
        return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max  # not true of NaN
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    # `type` and not isinstance: True is an int, and must not pass for one
    return default is dataclasses.MISSING or type(value) is type(default)


JSON_KINDS = {
    **{float: "a finite number", int: "a whole number", str: "a text", bool: "true or false"},
    tuple: "a list of texts",
}
"""Type of a field's default -> what its value in a JSON file must be."""


class JSONConfig:
    """`to_dict` and `from_dict` for the frozen dataclasses of this package.

    `from_dict` raises ValueError for an unknown, missing or bad value. It names the flag, or, if the values come from
    the file `where`, that file and the field.
    """

    def to_dict(self) -> dict:
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def without_unused(self, later: tuple[str, ...]) -> dict:
        """`to_dict` without those of the fields `later` that have their default.

        A field that was added after runs were begun belongs in `later`: the identity of such a run does not name it.
        """
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return {name: v for name, v in self.to_dict().items() if name not in later or v != defaults[name]}

    @classmethod
    def from_dict(cls, values: dict, where: object = None) -> "JSONConfig":
        start = "" if where is None else f"{where}: "
        if not isinstance(values, dict):
            raise ValueError(f"{start}{cls.__name__} must be an object of its fields, got {str(values)[:60]}")
        # a field without a default is judged by its type: str() and int() stand for one
        required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
        examples = {f.name: f.type() if f.name in required else f.default for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(examples))
        if unknown:
            raise ValueError(
                f"{start}{cls.__name__} has no field {', '.join(unknown)[:200]}; known fields: {', '.join(examples)}"
            )
        missing = [name for name in required if name not in values]
        if missing:
            raise ValueError(f"{start}{cls.__name__} is incomplete: {', '.join(missing)} missing")
        try:
            for name, value in values.items():
                require(fits(value, examples[name]), name, value, JSON_KINDS[type(examples[name])])
            return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
        except BadField as error:
            if where is None:
                raise
            raise ValueError(f"{start}{cls.__name__}.{error.name} {error.rule}") from error
