"""Columns of a feature row by name: one table of widths says where every group begins and ends."""

from collections.abc import Mapping
from itertools import accumulate


def named_columns(widths: Mapping[str, int]) -> dict[str, slice]:
    """Name -> its columns, for groups that follow each other: {"a": 2, "b": 3} -> {"a": 0:2, "b": 2:5}."""
    ends = accumulate(widths.values())
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}
