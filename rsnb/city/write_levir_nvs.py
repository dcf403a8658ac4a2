"""The city as LEVIR-NVS: scenes of 21 aerial views that look at one place, with depth and a camera path.

    view_split.txt                  the odd views train, the even ones test
    scene_000/Images Cams Depths    view 000 in the middle, 001 to 020 on a circle around it
    scene_000/Track/001.txt ...     100 poses on a smaller circle
    truth/scene_000.json            district, metres of a unit, place of the origin

Every scene is another district. A unit is 4 m, which gives depths of about 73 to 118, as published scenes have them (50
to 135): what a method assumes about the scale of a scene, it must get along with here, too. World axes are x east, y
north, z up; the origin is the point that all cameras look at.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from rsnb.city.district import District
from rsnb.city.option_ranges import check_ranges
from rsnb.city.options import GEOREFERENCE, CityOptions
from rsnb.city.posed_scene import SceneFiles, district_order, each_district, look_of, write_scene, written_pose
from rsnb.city.store import ensure_built
from rsnb.data.multiview.camera_text import TextCamera, write_camera
from rsnb.files import write_text
from rsnb.geometry import poses
from rsnb.products import write_float_tiff

N_CIRCLE = 20
N_TRACK = 100
UNIT_M = 4.0


@dataclass(frozen=True)
class LevirOptions:
    """What to write.

    Attributes:
        city: see there.
        scenes: how many, 1 to 16; each is another district, the first six of different character.
        size: width and height of a picture, pixels (published: 512).
        supersample: colour rays a pixel and axis.
        distance_m: of the cameras from what they look at.
        fov_deg: angle of view.
        tilt_deg: of the middle view, from straight down.
        circle_deg: angle between the middle view's axis and that of the others.
        sun_azimuth_deg, sun_elevation_deg: when the pictures were taken.
    """

    city: CityOptions = field(default_factory=CityOptions)
    scenes: int = 2
    size: int = 512
    supersample: int = 3
    distance_m: float = 370.0
    fov_deg: float = 31.0
    tilt_deg: float = 24.0
    circle_deg: float = 9.0
    sun_azimuth_deg: float = 215.0
    sun_elevation_deg: float = 44.0

    def __post_init__(self):
        check_ranges(self, {"scenes": (1, 16), "size": (16, 4096), "supersample": (1, 16),
                            "distance_m": (150.0, 1000.0), "fov_deg": (2.0, 60.0), "tilt_deg": (0.0, 45.0),
                            "circle_deg": (0.5, 30.0), "sun_azimuth_deg": (-360.0, 360.0),
                            "sun_elevation_deg": (1.0, 90.0)})


def ensure_levir_nvs(root: str | Path, options: LevirOptions = LevirOptions()) -> Path:
    """The folder of the data set below `root`, built now if it is not there yet (see `store.ensure_built`).

    Raises:
        InputError: options for which a picture would show the edge of a district.
    """
    return ensure_built(root, "levir-nvs", asdict(options), lambda folder: write_levir_nvs(folder, options))


def write_levir_nvs(folder: Path, options: LevirOptions) -> None:
    """Write all files into an existing folder."""
    indices = district_order()[:options.scenes]
    for number, district in enumerate(each_district(options.city, indices)):
        write_levir_scene(folder / f"scene_{number:03d}", district, number, options)
    odd, even = (" ".join(f"{i:03d}" for i in range(first, N_CIRCLE + 1, 2)) for first in (1, 2))
    write_text(folder / "view_split.txt", f"{N_CIRCLE // 2}\n{odd}\n{N_CIRCLE // 2}\n{even}\n")


def write_levir_scene(folder: Path, district: District, number: int, options: LevirOptions) -> None:
    """One scene, and beside it what is true about it."""
    target = look_target(district)
    views = circle_poses(target, number, options, N_CIRCLE, options.circle_deg)
    views = np.concatenate([circle_poses(target, number, options, 1, 0.0), views])
    focal = options.size / 2 / np.tan(np.radians(options.fov_deg) / 2)
    K = np.array([[focal, 0, options.size / 2], [0, focal, options.size / 2], [0, 0, 1]])
    files = SceneFiles(UNIT_M, ",", ".tiff", lambda path, depth: write_float_tiff(path, depth), step=0.5)
    look = look_of(options.supersample, options.sun_azimuth_deg, options.sun_elevation_deg)
    near_far = write_scene(folder, district, np.broadcast_to(K, (len(views), 3, 3)), views, (options.size,) * 2, target,
                           files, look)
    for i, pose in enumerate(circle_poses(target, number, options, N_TRACK, 0.6 * options.circle_deg), start=1):
        camera = TextCamera(written_pose(pose, target, UNIT_M), K, tuple(near_far[0]))
        write_camera(folder / "Track" / f"{i:03d}.txt", camera, ",")
    truth = {"district": list(district.index), "character": district.character, "unit_m": UNIT_M,
             "origin_model_m": target.tolist(), "crs": GEOREFERENCE.crs, "model_origin": list(GEOREFERENCE.origin),
             "model_m": "origin_model_m + unit_m * world"}
    write_text(folder.parent / "truth" / f"{folder.name}.json", json.dumps(truth, indent=1) + "\n")


def look_target(district: District) -> np.ndarray:
    """[3] model metres: the middle of the district, 6 m above its ground (about half the height of its houses)."""
    x0, y0, x1, y1 = district.bounds
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return np.array([x, y, float(district.terrain(x, y)) + 6.0])


def circle_poses(target: np.ndarray, number: int, options: LevirOptions, count: int, radius_deg: float) -> np.ndarray:
    """World to camera [count, 4, 4], model metres, of cameras on a circle about the middle view's axis.

    All look at the target from the same distance with north-west to north-east at the top; the side from which a scene
    is seen differs from scene to scene.
    """
    tilt, radius = np.radians(options.tilt_deg), np.radians(radius_deg)
    side = np.radians(180.0 + 47.0 * number)  # bearing from the target to the middle camera
    axis = np.array([np.sin(side) * np.sin(tilt), np.cos(side) * np.sin(tilt), np.cos(tilt)])
    across = np.array([np.cos(side), -np.sin(side), 0.0])
    upward = np.cross(across, axis)
    angle = 2 * np.pi * np.arange(count) / count
    around = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * upward
    eyes = target + options.distance_m * (np.cos(radius) * axis + np.sin(radius) * around)
    # one up for all, across the middle view's axis: pictures do not turn along the circle
    return poses.look_at(eyes, np.broadcast_to(target, eyes.shape), up=upward)
