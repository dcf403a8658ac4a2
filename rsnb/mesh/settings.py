"""The numbers of the mesh notebook, refused before anything is read or rendered."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera, PinholeCamera

# name: (least, most, what it is)
RANGES = {
    "fov": (1.0, 179.0, "degrees; a pinhole camera sees more than 0 and less than 180"),
    "pitch": (-90.0, 90.0, "degrees"),
    "camera_height": (-50.0, 5000.0, "metres"),
    "panorama_width": (16, 65536, "pixels"),
    "gsd": (0.005, 1000.0, "metres a pixel"),
    "supersample": (1, 16, "rays a pixel and axis"),
    "processes": (1, 1024, "worker processes"),
    "flight_frames": (1, 100_000, "frames"),
    "left_out": (0, 1_000_000, "pictures"),
    "field_steps": (0, 10_000_000, "training steps"),
}
WHOLE = {"panorama_width", "supersample", "processes", "flight_frames", "left_out", "field_steps"}


@dataclass(frozen=True)
class ViewSettings:
    """Checked numbers; see the notebook's parameters for what they mean. Degrees, metres, pixels.

    Raises:
        InputError: naming the parameter, its value and the range.
    """

    fov: float
    pitch: float
    camera_height: float
    size: tuple[int, int]
    panorama_width: int
    gsd: float
    supersample: int
    processes: int
    flight_frames: int
    left_out: int
    field_steps: int
    origin: tuple[float, float, float]

    def __post_init__(self):
        for name, (low, high, what) in RANGES.items():
            value = getattr(self, name)
            good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not good or not low <= value <= high or (name in WHOLE and value != int(value)):
                raise InputError(f"{value!r} is not within {low:g} to {high:g} ({what})", where=name,
                                 mend="Give a whole number in that range" if name in WHOLE else "Give a number in it")
        for name, length, what in (("size", 2, "width and height in pixels"), ("origin", 3, "metres")):
            values = getattr(self, name)
            if len(values) != length or not all(math.isfinite(v) for v in values):
                raise InputError(f"{list(values)!r} is not {length} numbers ({what})", where=name)
        if min(self.size) < 8 or max(self.size) > 32768:
            raise InputError(f"{list(self.size)} pixels", where="size", mend="Give 8 to 32768 for width and height")

    @property
    def camera(self) -> PinholeCamera:
        """The perspective camera."""
        return PinholeCamera.from_fov(np.radians(self.fov), *self.size)

    @property
    def panorama(self) -> PanoramaCamera:
        """The panorama camera."""
        return PanoramaCamera(self.panorama_width, self.panorama_width // 2)
