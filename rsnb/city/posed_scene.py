"""What the writers of multi-view scenes share: the order of districts; one scene as pictures, cameras and depths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.city.district import District, shared_district
from rsnb.city.options import N_DISTRICTS, PLAN, CityOptions
from rsnb.data.multiview.camera_text import TextCamera, write_camera
from rsnb.errors import InputError
from rsnb.geometry.cameras import PinholeCamera
from rsnb.mesh.renderer import RenderOptions, render
from rsnb.mesh.shading import Sun
from rsnb.products import write_png


@dataclass(frozen=True)
class SceneFiles:
    """How a data set writes a scene.

    Attributes:
        unit_m: metres in one unit of its poses and depths.
        separator: between the numbers of a camera file.
        depth_suffix, write_depth: of a depth picture [H, W] in its units.
        step: near and far are written as whole multiples of this, in its units, and hold every pixel between them.
    """

    unit_m: float
    separator: str
    depth_suffix: str
    write_depth: Callable[[Path, np.ndarray], None]
    step: float


def district_order() -> list[tuple[int, int]]:
    """All districts, such that the first ones differ most: one of each character, then one more of each, and so on."""
    turn: dict[str, int] = {}
    ranked = []
    for j in range(N_DISTRICTS):
        for i in range(N_DISTRICTS):
            name = PLAN[i][j].name
            turn[name] = turn.get(name, 0) + 1
            ranked.append((turn[name], len(ranked), (i, j)))
    return [index for *_, index in sorted(ranked)]


def each_district(city: CityOptions, indices: Sequence[tuple[int, int]]) -> Iterator[District]:
    """Districts one after the other; the next one is built while the caller works with the last."""
    with ThreadPoolExecutor(1) as pool:  # one ahead: a district holds some 100 MB
        coming = pool.submit(shared_district, city, tuple(indices[0]), belt=True)
        for following in [*indices[1:], None]:
            district = coming.result()
            if following is not None:
                coming = pool.submit(shared_district, city, tuple(following), belt=True)
            yield district


def look_of(supersample: int, sun_azimuth_deg: float, sun_elevation_deg: float) -> RenderOptions:
    """An aerial picture on a clear day."""
    return RenderOptions(supersample=supersample, shadows=True, channels=("rgb", "depth"),
                         sun=Sun(np.radians(sun_azimuth_deg), np.radians(sun_elevation_deg)))


def write_scene(folder: Path, district: District, K: np.ndarray, poses: np.ndarray, size: tuple[int, int],
                origin: np.ndarray, files: SceneFiles, look: RenderOptions) -> np.ndarray:
    """Images, Cams and Depths of one scene.

    Args:
        folder: of the scene.
        district: what is seen.
        K: [N, 3, 3] pixels, centres at +0.5.
        poses: [N, 4, 4] world to camera, model metres.
        size: (width, height).
        origin: [3] model metres: where the written world has its zero.

    Returns:
        near_far [N, 2] as written.

    Raises:
        InputError: a picture that sees past the edge of the district.
    """
    near_far = np.empty((len(poses), 2))
    for i, (intrinsics, pose) in enumerate(zip(K, poses, strict=True)):
        picture = render(district.scene, PinholeCamera(intrinsics, *size), pose, look)
        z_depth = close_cracks(picture.z_depth.astype(np.float64) / files.unit_m)
        if not np.isfinite(z_depth).all():
            raise InputError(f"{(~np.isfinite(z_depth)).mean():.1%} of view {i:03d} look past the edge of the district",
                             where=folder.name, mend="Go nearer, or narrow the angle of view or the circle")
        near_far[i] = np.floor(z_depth.min() / files.step), np.ceil(z_depth.max() / files.step)
        near_far[i] *= files.step
        name = f"{i:03d}"
        write_png(folder / "Images" / f"{name}.png", picture.rgb)
        files.write_depth(folder / "Depths" / f"{name}{files.depth_suffix}", z_depth)
        camera = TextCamera(written_pose(pose, origin, files.unit_m), intrinsics, tuple(near_far[i]))
        write_camera(folder / "Cams" / f"{name}.txt", camera, files.separator)
    return near_far


def close_cracks(depth: np.ndarray) -> np.ndarray:
    """Depth [H, W] where a lone pixel without a surface (inf) has the median of the eight around it.

    One ray in a million slips through between two faces whose edges meet at a corner of a third. What is larger than
    a pixel stays as it is: there the world ends.
    """
    out = depth.copy()
    rows, columns = depth.shape
    for row, column in np.argwhere(~np.isfinite(depth))[:100]:
        around = depth[max(row - 1, 0):min(row + 2, rows), max(column - 1, 0):min(column + 2, columns)]
        if np.isfinite(around).sum() == around.size - 1 and around.size > 4:
            out[row, column] = np.median(around[np.isfinite(around)])
    return out


def written_pose(pose: np.ndarray, origin: np.ndarray, unit_m: float) -> np.ndarray:
    """World to camera [4, 4] in the units of a file, of one in model metres.

    With X = origin + unit x the camera sees R (origin + unit x) + t = unit (R x + (R origin + t) / unit).
    """
    out = np.array(pose, np.float64)
    out[:3, 3] = (pose[:3, :3] @ origin + pose[:3, 3]) / unit_m
    return out
