"""The city as an image provider: every street has a panorama, every place a view from above, of today."""

from __future__ import annotations

import math

import numpy as np

from rsnb.city.district import District
from rsnb.city.options import GEOREFERENCE
from rsnb.data.providers.provider import ProvidedImage, check_request, check_top_view, too_far
from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.cameras import NadirCamera, PanoramaCamera
from rsnb.geometry.georeference import grid_to_true_heading, lonlat_to_model, model_to_lonlat
from rsnb.mesh.renderer import RenderOptions, render
from rsnb.mesh.shading import Sun

TERMS = "The rsnb city: made by the project, same licence as its code"


class CityProvider:
    """Panoramas every few metres along the streets of a district, views from above anywhere in it.

    Args:
        district: what is photographed.
        spacing_m: between panoramas; their ids are "city-0000" and on.
        panorama_width: pixels; height is half of it.
    """

    name, terms = "city", TERMS

    def __init__(self, district: District, spacing_m: float = 8.0, panorama_width: int = 512):
        self.district, self.camera = district, PanoramaCamera(panorama_width, panorama_width // 2)
        self.stations = district.street_path(spacing_m)
        self._look = RenderOptions(supersample=2, shadows=True, haze_m=1500.0, channels=("rgb",),
                                   sun=Sun(np.radians(238.0), np.radians(36.0)))

    def street_view(self, pano_id: str | None = None, *, lat: float | None = None, lon: float | None = None,
                    max_distance_m: float = 50.0) -> ProvidedImage:
        """See `ImageProvider`; the middle column looks to the grid's north, `heading` is its true bearing."""
        check_request(pano_id, lat, lon)
        away = math.nan
        if pano_id is None:
            asked = lonlat_to_model(lat, lon, GEOREFERENCE)
            gaps = np.linalg.norm(self.stations.position[:, :2] - asked, axis=1)
            number, away = int(np.argmin(gaps)), float(gaps.min())
            if away > max_distance_m:
                raise too_far(away, max_distance_m, "panorama", "city")
        else:
            digits = pano_id.removeprefix("city-")
            number = int(digits) if digits.isdigit() else -1
            if not pano_id.startswith("city-") or not 0 <= number < len(self.stations):
                raise InputError(f"there is no panorama {pano_id!r}", where="city",
                                 mend=f"Ids are city-0000 to city-{len(self.stations) - 1:04d}")
        position = self.stations.position[number]
        image = render(self.district.scene, self.camera, poses.pose_from_heading(position, 0.0), self._look).rgb
        place = [float(v) for v in model_to_lonlat(position[:2], GEOREFERENCE)]
        heading = float(grid_to_true_heading(0.0, *place, GEOREFERENCE.crs))
        name = f"city-{number:04d}"
        return ProvidedImage(image, "panorama", name, *place, heading, away, f"{self.district.mesh.name} {name}",
                             TERMS, None, 2 * math.pi)

    def top_view(self, lat: float, lon: float, extent_m: float = 50.0, size: int = 256) -> ProvidedImage:
        """See `ImageProvider`; up is the grid's north, under 0.1 degrees from true north here."""
        check_top_view(lat, lon, extent_m, size)
        x, y = lonlat_to_model(lat, lon, GEOREFERENCE)
        x0, y0, x1, y1 = self.district.bounds
        half = extent_m / 2
        if not (x0 <= x - half and x + half <= x1 and y0 <= y - half and y + half <= y1):
            raise InputError(f"a square of {extent_m:g} m around this place reaches out of the district", where="city",
                             mend="Ask for a place further inside, or a smaller extent")
        top = float(self.district.mesh.bounds[1, 2]) + 10.0
        image = render(self.district.scene, NadirCamera(extent_m / size, size, size),
                       poses.nadir_pose(np.array([x, y, top])), self._look).rgb
        return ProvidedImage(image, "top", f"city-top-{x:.1f}-{y:.1f}", lat, lon, 0.0, 0.0, self.district.mesh.name,
                             TERMS, None, extent_m=float(extent_m))
