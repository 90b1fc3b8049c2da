"""MP4 files: H.264 through PyAV, in the pixel format that every player and browser shows.

What this module does not know: what the pictures show.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from motiongpt.files.store import write_atomic

SLOWEST = Fraction(1, 1000)  # frames per second; PyAV takes a rate of 0 for its own default
QUALITY = "18"  # x264's constant rate factor; 18 is called visually lossless


def check_mp4() -> None:
    """ValueError if PyAV is missing, before anything is drawn."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise ValueError('.mp4 is written by PyAV, which is not installed: pip install "motiongpt[viz]"') from error


def write_mp4(path: str | Path, pictures: Iterable[np.ndarray], rate: float) -> Path:
    """Write pictures (H, W, 3 or 4) uint8 as H.264 (yuv420p) at `rate` frames per second, and return the path.

    The colours of 2 x 2 pixels are stored together, so an odd last row or column is doubled. Raises ValueError if
    PyAV is missing or has no H.264.
    """
    check_mp4()
    import av

    def write(temporary: Path) -> None:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = None
            for picture in pictures:
                rgb = picture[..., :3]
                rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
                if stream is None:
                    stream = _new_stream(container, rgb.shape, rate)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

    write_atomic(Path(path), write)
    return Path(path)


def _new_stream(container, shape: tuple[int, ...], rate: float):
    import av

    if "libx264" not in av.codecs_available:
        raise ValueError("this PyAV was built without libx264, which writes .mp4: pip install --force-reinstall av")
    stream = container.add_stream("libx264", rate=max(Fraction(rate).limit_denominator(1000), SLOWEST))
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": QUALITY, "preset": "veryfast", "tune": "animation"}
    stream.codec_context.thread_count = 1  # the same file on every machine
    return stream
