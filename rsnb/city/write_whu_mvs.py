"""The city as WHU MVS in ImMPI's re-organised layout: blocks of 20 nadir views with 16-bit depth.

    train.txt val.txt test.txt      one scene id a line
    scene_000/Images Cams Depths    4 rows of 5 views; depth = 64 * z in metres

The cameras fly 520 m above the ground, level but for a degree, and each picture is the part of a larger frame that
shows the scene's ground: the principal point lies far off its middle, as in the published crops. The world is the
city's model in metres (x east, y north, z up).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from rsnb.city.district import District
from rsnb.city.option_ranges import check_ranges
from rsnb.city.options import CityOptions
from rsnb.city.posed_scene import SceneFiles, district_order, each_district, look_of, write_scene
from rsnb.city.store import ensure_built
from rsnb.errors import InputError
from rsnb.files import atomic_path, write_text
from rsnb.geometry import poses

ROWS, COLUMNS = 4, 5
DEPTH_SCALE = 64  # counts a metre
FLIGHT_M = 520.0
GROUND_M = 76.8  # width of a picture on the ground; 0.1 m a pixel at the published 768
SPACING_M = 50.0  # between neighbouring cameras
ATTITUDE_DEG = 1.0  # standard deviation of roll, pitch and heading
# Scenes of one district, metres from its middle: apart from each other and well inside.
PLACES = ((-140.0, -80.0), (140.0, 80.0), (0.0, -80.0), (0.0, 80.0), (140.0, -80.0), (-140.0, 80.0))


@dataclass(frozen=True)
class WhuOptions:
    """What to write.

    Attributes:
        city: see there.
        scenes: how many, 1 to 96; six of them are of one district.
        width: of a picture, pixels, an even number; the height is half of it (published: 768 x 384).
        supersample: colour rays a pixel and axis.
        sun_azimuth_deg, sun_elevation_deg: when the pictures were taken.
    """

    city: CityOptions = field(default_factory=CityOptions)
    scenes: int = 3
    width: int = 768
    supersample: int = 2
    sun_azimuth_deg: float = 165.0
    sun_elevation_deg: float = 50.0

    def __post_init__(self):
        check_ranges(self, {"scenes": (1, 96), "width": (16, 4096), "supersample": (1, 16),
                            "sun_azimuth_deg": (-360.0, 360.0), "sun_elevation_deg": (1.0, 90.0)})
        if self.width % 2:
            raise InputError(f"width is {self.width}", where="WhuOptions", mend="Choose an even number of pixels")


def ensure_whu_mvs(root: str | Path, options: WhuOptions = WhuOptions()) -> Path:
    """The folder of the data set below `root`, built now if it is not there yet (see `store.ensure_built`)."""
    return ensure_built(root, "whu-mvs", asdict(options), lambda folder: write_whu_mvs(folder, options))


def write_whu_mvs(folder: Path, options: WhuOptions) -> None:
    """Write all files into an existing folder."""
    indices = district_order()[:-(-options.scenes // len(PLACES))]
    for group, district in enumerate(each_district(options.city, indices)):
        first = group * len(PLACES)
        for number in range(first, min(first + len(PLACES), options.scenes)):
            write_whu_scene(folder / f"scene_{number:03d}", district, number, options)
    for part, numbers in split_scenes(options.scenes).items():
        write_text(folder / f"{part}.txt", "".join(f"{number:03d}\n" for number in numbers))


def split_scenes(count: int) -> dict[str, range]:
    """Scene numbers of each part in about the published shares, 62, 8 and 18 of 88; none is empty from three on."""
    test = round(count * 18 / 88) or int(count > 1)
    val = round(count * 8 / 88) or int(count > 2)
    train = count - val - test
    return {"train": range(train), "val": range(train, train + val), "test": range(train + val, count)}


def write_whu_scene(folder: Path, district: District, number: int, options: WhuOptions) -> None:
    """One scene."""
    size = (options.width, options.width // 2)
    centre = scene_centre(district, number)
    rng = np.random.default_rng([options.city.seed, 5, number])
    views = block_poses(centre, rng)
    K = crop_intrinsics(views, centre, size)
    files = SceneFiles(1.0, " ", ".png", write_depth_png, step=1.0)
    look = look_of(options.supersample, options.sun_azimuth_deg, options.sun_elevation_deg)
    write_scene(folder, district, K, views, size, np.zeros(3), files, look)


def scene_centre(district: District, number: int) -> np.ndarray:
    """[3] model metres: a point on the ground that all views of a scene have in their middle."""
    x0, y0, x1, y1 = district.bounds
    east, north = PLACES[number % len(PLACES)]
    x, y = (x0 + x1) / 2 + east, (y0 + y1) / 2 + north
    return np.array([x, y, float(district.terrain(x, y))])


def block_poses(centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """World to camera [20, 4, 4], model metres: row by row from the north-west, tops of the pictures to the north."""
    rows, columns = np.divmod(np.arange(ROWS * COLUMNS), COLUMNS)
    eyes = centre + np.stack([(columns - (COLUMNS - 1) / 2) * SPACING_M, ((ROWS - 1) / 2 - rows) * SPACING_M,
                              np.full(len(rows), FLIGHT_M)], axis=1)
    roll, pitch, heading = np.radians(ATTITUDE_DEG) * rng.standard_normal((3, len(rows)))
    # looking down: pitch -90 degrees, where heading says to where the top of the picture points
    return poses.pose_from_heading(eyes, heading, -np.pi / 2 + pitch, roll)


def crop_intrinsics(views: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """K [N, 3, 3], pixel centres at +0.5, such that the centre lies in the middle of every picture."""
    seen = centre @ views[:, :3, :3].transpose(0, 2, 1) + views[:, :3, 3]
    focal = FLIGHT_M * size[0] / GROUND_M
    K = np.zeros((len(views), 3, 3))
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, :2, 2] = np.array(size) / 2 - focal * seen[:, :2] / seen[:, 2:]
    K[:, 2, 2] = 1.0
    return K


def write_depth_png(path: Path, depth: np.ndarray) -> None:
    """[H, W] metres -> 16-bit PNG of counts; more than 1023 m do not fit and become 0 = unknown."""
    counts = np.rint(depth * DEPTH_SCALE)
    counts = np.where(np.isfinite(counts) & (counts < 1 << 16), counts, 0).astype(np.uint16)
    with atomic_path(path) as temporary:
        Image.fromarray(counts).save(temporary, format="PNG")
