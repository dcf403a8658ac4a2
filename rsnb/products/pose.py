"""A camera as JSON that needs no explanation: every matrix, the angles, the conventions, the place on Earth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsnb.files import write_text
from rsnb.geometry import poses
from rsnb.geometry.georeference import model_to_lonlat
from rsnb.scenes import Georeference


def write_pose(
    path: str | Path,
    world_to_cam: np.ndarray,  # [4, 4]
    *,
    width: int,
    height: int,
    camera: str = "pinhole",
    K: np.ndarray | None = None,  # [3, 3], pixels
    georeference: Georeference | None = None,
    **extra,
) -> Path:
    """Write one pose; `extra` (JSON values) is added as it is, for example pano_id or lat and lon in degrees."""
    georeference = georeference or Georeference()
    centre = poses.camera_centre(world_to_cam)
    heading, pitch, roll = (float(np.degrees(a)) for a in poses.heading_pitch_roll(world_to_cam))
    record = {
        "camera": camera,
        "width": width,
        "height": height,
        "K": None if K is None else np.asarray(K).tolist(),
        "world_to_cam": np.asarray(world_to_cam).tolist(),
        "centre_model_m": centre.tolist(),
        "centre_crs_m": (centre + np.asarray(georeference.origin)).tolist(),
        "crs": georeference.crs,
        "origin": list(georeference.origin),
        "heading_deg": heading % 360.0,
        "pitch_deg": pitch,
        "roll_deg": roll,
        "convention": "OpenCV axes (x right, y down, z forward); pixel centres at +0.5; heading clockwise from grid "
                      "north; pitch up positive; world x east, y north, z up, metres",
        **extra,
    }
    return write_text(path, json.dumps(record, indent=1) + "\n")


def write_cameras(path: str | Path, names: Sequence[str], world_to_cam: np.ndarray, georeference: Georeference) -> Path:
    """Cameras as GeoJSON points (RFC 7946: longitude, latitude, height) with name, heading, pitch and model position.

    Args:
        names: one a camera.
        world_to_cam: [N, 4, 4] in the model coordinates of `georeference`, which needs a CRS.
    """
    centre = poses.camera_centre(world_to_cam)
    lat, lon = model_to_lonlat(centre[:, :2], georeference)
    heading, pitch, _ = (np.degrees(a) for a in poses.heading_pitch_roll(world_to_cam))
    features = [
        {"type": "Feature",
         "geometry": {"type": "Point", "coordinates": [float(lon[k]), float(lat[k]), float(centre[k, 2])]},
         "properties": {"name": name, "heading_deg": float(heading[k] % 360), "pitch_deg": float(pitch[k]),
                        "model_m": centre[k].tolist(), "crs": georeference.crs}}
        for k, name in enumerate(names)
    ]
    return write_text(path, json.dumps({"type": "FeatureCollection", "features": features}, indent=1) + "\n")
