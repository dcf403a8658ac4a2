"""MP4 (H.264) and GIF from a sequence of pictures."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from rsnb.errors import InputError
from rsnb.files import atomic_path
from rsnb.products.images import to_uint8


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float = 25.0) -> Path:
    """Frames [3, H, W] float in 0..1 -> .mp4 (H.264, yuv420p, plays everywhere) or .gif (loops).

    A GIF has the same bytes for the same frames; H.264 does not always (x264 differs now and then by a rounding that no
    eye sees). Odd sizes lose their last row or column in MP4, since the codec wants even ones. MP4 takes frames one at
    a time, so a generator keeps memory flat. Raises InputError without frames or for another suffix.
    """
    import imageio.v3 as iio

    suffix = Path(path).suffix.lower()
    if suffix not in (".mp4", ".gif"):
        raise InputError(f"cannot write a {suffix or 'nameless'} video", where=path, mend="Use .mp4 or .gif")
    n = 0
    with atomic_path(path) as temporary:
        if suffix == ".gif":
            stack = [to_uint8(frame) for frame in frames]
            n = len(stack)
            if n:
                iio.imwrite(temporary, np.stack(stack), duration=1000.0 / fps, loop=0)
        else:
            n = _write_mp4(temporary, frames, fps)
        if n == 0:
            raise InputError("no frames to write", where=path)
    return Path(path)


def _write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    import av

    n = 0
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            pixels = to_uint8(frame)
            pixels = np.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2])
            if n == 0:
                stream.height, stream.width = pixels.shape[:2]
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            n += 1
        if n:
            file.mux(stream.encode(None))
    return n
