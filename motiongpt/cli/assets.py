"""The table of `scripts/assets.py`: files that recipes need and that are not ours to ship.

The table is scripts/assets.json, a list of objects with the fields of `Asset`. Nothing here downloads.
"""

from dataclasses import dataclass
from pathlib import Path

from motiongpt.files.store import read_json


@dataclass(frozen=True)
class Asset:
    """One thing a recipe needs."""

    name: str
    kind: str
    paths: tuple[str, ...]
    """Possible paths, relative to the checkout; one of them is enough."""
    purpose: str
    licence: str
    recipes: tuple[str, ...]

    def find(self, root: Path) -> Path | None:
        """The first of `paths` that is there."""
        return next((root / path for path in self.paths if (root / path).exists()), None)


def load_assets(table: Path, recipe: str | None = None) -> list[Asset]:
    """The assets of a recipe, or all of them. ValueError naming a bad entry of the table, or the known recipes."""
    names = set(Asset.__dataclass_fields__)
    assets = []
    for i, item in enumerate(read_json(table, list)):
        if not isinstance(item, dict) or set(item) != names:
            raise ValueError(f"{table}, entry {i}: expected an object with {', '.join(sorted(names))}")
        assets.append(Asset(**item | {key: tuple(item[key]) for key in ("paths", "recipes")}))
    known = sorted({name for asset in assets for name in asset.recipes})
    if recipe is not None and recipe not in known:
        raise ValueError(f"unknown recipe {recipe!r}; there are: {', '.join(known)}")
    return [asset for asset in assets if recipe is None or recipe in asset.recipes]
