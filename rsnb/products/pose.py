"""A camera as JSON that needs no explanation: every matrix, the angles, the conventions, the place on Earth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rsnb.files import write_text
from rsnb.geometry import poses
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
