"""The GIF format, as far as a clip needs it: one palette for all frames, and of each frame only what has changed.

A GIF counts time in ticks of 10 ms, and viewers show anything under 2 ticks for 10 ticks. So there are at most 50
frames a second. Ticks are rounded such that the whole clip has the right duration, not each frame: 25 fps is 4 ticks
each, 30 fps is 3, 4, 3, 3, 4, 3 ...

Frames are RGBA pictures, reduced to 5 bits a channel. A look-up in a table of 32,768 colours is many times faster than
a search for the nearest of the palette. A frame is cut down to the rectangle that changed, and unchanged pixels in it
are transparent, which compresses well. Only pixels that changed are looked up, as few of a floor do.

What this module does not know: what the pictures show.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from motiongpt.files.store import write_atomic
from motiongpt.render.forks import write_parts

COLOURS = 64  # of the palette; a power of two. The last one is what has not changed
GIF_FASTEST = 50.0  # frames per second
SAMPLE = 6  # pictures that the palette is made from


def write_gif(
    path: str | Path,
    draw: Callable[[int], np.ndarray],
    ticks: np.ndarray,
    named: np.ndarray,
    colours: int = COLOURS,
    processes: int = 1,
) -> Path:
    """Write an endless GIF, whose picture i (H, W, 4), `draw(i)`, is shown for `ticks[i]`. Returns the path.

    `draw` may paint over the picture that it gave before: pictures are never in memory together. A few of them are
    drawn first, for the palette of `colours`, a power of two up to 256. `named` are colours (m, 3) from 0 to 1 that are
    kept exactly. So many `processes` draw, see `forks.py`; the bytes are the same.
    """
    count = len(ticks)
    seen = np.zeros(32**3, dtype=bool)
    for number in sorted({*np.linspace(0, count - 1, SAMPLE).astype(int).tolist()}):
        picture = draw(number)
        seen[colour_bins(picture)] = True
    palette, lookup = shared_palette(np.flatnonzero(seen), named, colours)
    header = gif_header(picture.shape[:2], palette)

    def write_frames(file: BinaryIO, first: int, end: int) -> None:
        before = _numbers(draw(first - 1)).copy() if first else None  # (H, W)
        indices = lookup[_bins(before)] if first else None  # (H, W) uint8, of the picture before
        for number in range(first, end):
            pixels, time = _numbers(draw(number)), int(ticks[number])
            if before is None:
                before, indices = pixels.copy(), lookup[_bins(pixels)]
                file.writelines(_image(indices, (0, 0), time))
                continue
            places = np.flatnonzero(pixels != before)
            changed = pixels.ravel()[places]
            file.writelines(_changed_frame(indices, places, lookup[_bins(changed)], time, colours - 1))
            before.ravel()[places] = changed  # the next picture is painted over this one

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.write(header)
            write_parts(file, write_frames, count, processes)
            file.write(b";")

    write_atomic(Path(path), write)
    return Path(path)


def _numbers(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 -> (H, W), each pixel as one number, red in its lowest byte: far cheaper than three planes."""
    return np.ascontiguousarray(rgba).view("<u4")[..., 0]


def colour_bins(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 -> (H, W), which of the 32 x 32 x 32 colour bins each pixel is in."""
    return _bins(_numbers(rgba))


def _bins(pixels: np.ndarray) -> np.ndarray:
    # the upper five bits of red, green and blue move next to each other; alpha is dropped
    return (pixels & 0xF8) << 7 | (pixels & 0xF800) >> 6 | (pixels >> 19) & 0x1F


def shared_palette(seen: np.ndarray, named: np.ndarray, colours: int = COLOURS) -> tuple[np.ndarray, np.ndarray]:
    """Bins that occur (n,) -> palette (colours, 3) uint8, and the nearest palette index of each of the 32,768 bins.

    `named` are colours (m, 3) from 0 to 1 that are kept exactly. No bin gets the last index.
    """
    from PIL import Image

    levels = np.linspace(0, 255, 32).round()
    bins = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    # Every mixed colour (edges, letters) counts once, however rare it is.
    palette = (255 * named).round()[: colours - 1]
    if len(palette) < colours - 1:
        mixed = Image.fromarray(bins[seen].astype(np.uint8)[None]).quantize(colours - 1 - len(palette))
        palette = np.concatenate([palette, np.array(mixed.getpalette()).reshape(-1, 3)])[: colours - 1]
    nearest = palette.astype(np.float32)  # whole numbers whose squares it holds exactly
    distance = bins.astype(np.float32) @ (-2 * nearest.T)  # (32768, m), squared, less a constant
    distance += (nearest**2).sum(axis=1)
    padded = np.pad(palette, ((0, colours - len(palette)), (0, 0)))
    return padded.astype(np.uint8), distance.argmin(axis=1).astype(np.uint8)


def gif_header(shape: tuple[int, int], palette: np.ndarray) -> bytes:
    """The file header with the global palette, and the extension that makes the GIF loop for ever."""
    flags = 0xF0 | (len(palette).bit_length() - 2)  # global palette of 2 ** (n + 1) colours
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
    return b"GIF89a" + struct.pack("<HHBBB", *shape[::-1], flags, 0, 0) + palette.tobytes() + loop


def _changed_frame(indices: np.ndarray, places: np.ndarray, new: np.ndarray, ticks: int, unchanged: int) -> list[bytes]:
    """The bytes of a frame that changes palette indices (H, W) to `new` (n,) at flat `places` (n,), in ascending order.

    It is cut down to the rectangle of what differs, in which `unchanged` stands for a pixel that is as it was.
    """
    flat = indices.reshape(-1)
    differs = new != flat[places]
    places, new = (places[differs], new[differs]) if differs.any() else (np.array([0]), flat[:1].copy())
    flat[places] = new
    rows, columns = np.divmod(places, indices.shape[1])
    top, left, width = int(rows[0]), int(columns.min()), int(columns.max() - columns.min()) + 1
    part = np.full((int(rows[-1]) - top + 1, width), unchanged, dtype=np.uint8)
    part.reshape(-1)[(rows - top) * width + columns - left] = new
    return _image(part, (left, top), ticks, transparency=unchanged, disposal=1)


def _image(indices: np.ndarray, corner: tuple[int, int], ticks: int, **options: int) -> list[bytes]:
    """The bytes of palette indices (h, w) at a corner (left, top), shown for so many ticks; see Pillow's `getdata`."""
    from PIL import GifImagePlugin, Image

    return GifImagePlugin.getdata(Image.fromarray(indices), corner, duration=10 * ticks, **options)
