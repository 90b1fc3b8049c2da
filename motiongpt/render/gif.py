"""The GIF format, as far as a clip needs it: one palette for all frames, and of each frame only what changed.

Frames are RGBA pictures. They go through 5 bits a channel: a look-up in a table of 32,768 colours is many times
faster than a search for the nearest of the palette.

What this module does not know: what the pictures show.
"""

import struct

import numpy as np

_COLOURS = 64


def colour_bins(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 -> (H, W) which of 32 x 32 x 32 colour bins."""
    pixel = rgba.view("<u4")[..., 0]  # one number per pixel, red in the lowest byte: far cheaper than three planes
    return (pixel & 0xF8) << 7 | (pixel & 0xF800) >> 6 | (pixel >> 19) & 0x1F


def shared_palette(seen: np.ndarray, named: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins that occur (n,) -> palette (64, 3) uint8, and for each of the 32,768 bins its nearest palette index.

    `named`: (m, 3) colours from 0 to 1 that are kept exactly.
    """
    from PIL import Image

    levels = np.linspace(0, 255, 32).round()
    bins = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    # Of the mixed colours (edges, letters) each counts once, however rare.
    mixed = Image.fromarray(bins[seen].astype(np.uint8)[None]).quantize(_COLOURS - len(named))
    palette = np.concatenate([(255 * named).round(), np.array(mixed.getpalette()).reshape(-1, 3)])[:_COLOURS]
    palette = np.pad(palette, ((0, _COLOURS - len(palette)), (0, 0)))
    distance = (palette**2).sum(axis=1) - 2 * bins @ palette.T  # (32768, 64), squared, less a constant
    return palette.astype(np.uint8), distance.argmin(axis=1).astype(np.uint8)


def gif_header(shape: tuple[int, int], palette: np.ndarray) -> bytes:
    """File header with the global palette, and the extension that makes it loop for ever."""
    flags = 0xF0 | (len(palette).bit_length() - 2)  # global palette of 2 ** (n + 1) colours
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
    return b"GIF89a" + struct.pack("<HHBBB", *shape[::-1], flags, 0, 0) + palette.tobytes() + loop


def gif_frame(indices: np.ndarray, before: np.ndarray | None, ticks: int) -> list[bytes]:
    """One frame (H, W) of palette indices, cut down to the rectangle that differs from the frame before."""
    from PIL import GifImagePlugin, Image

    different = np.ones(indices.shape, dtype=bool) if before is None else indices != before
    different[0, 0] |= not different.any()  # a frame needs at least one pixel
    rows, columns = np.flatnonzero(different.any(axis=1)), np.flatnonzero(different.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    image = Image.fromarray(np.ascontiguousarray(indices[top : rows[-1] + 1, left : columns[-1] + 1]))
    return GifImagePlugin.getdata(image, (left, top), duration=10 * ticks)
