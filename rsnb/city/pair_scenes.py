"""Tile-panorama pairs of the city: where cameras stand, and the two pictures of each place with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rsnb.city.district import District
from rsnb.city.stations import Stations
from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.cameras import NadirCamera, PanoramaCamera
from rsnb.mesh.camera_rays import PixelRun
from rsnb.mesh.renderer import RenderOptions, render
from rsnb.mesh.scene import RayScene
from rsnb.mesh.shading import Sun
from rsnb.mesh.sky import Sky

Split = Literal["train", "val", "test"]
ASIDE_M = 1.2  # nobody drives in the very middle of the road
OVERCAST = Sky(zenith=(0.66, 0.69, 0.73), horizon=(0.84, 0.85, 0.87), glow_strength=0.0)


@dataclass(frozen=True)
class Site:
    """One place where a pair is taken.

    Attributes:
        split: the list it belongs to.
        position: [3] camera, model metres.
        heading: bearing of the street, radians (the panorama is turned north all the same).
        tile_centre: [2] model metres; the camera's place unless the tiles are made to lie off.
        day: seed of the light in which the street is photographed.
    """

    split: Split
    position: np.ndarray
    heading: float
    tile_centre: np.ndarray
    day: int


@dataclass(frozen=True)
class PairPictures:
    """The two pictures of a site and what is behind them.

    Attributes:
        tile: [3, S, S] float32, north up.
        panorama: [3, H, W] float32, full circle, centre column = north.
        sky: [H, W] bool.
        labels: [H, W] int32 class ids of the panorama.
        depth: [H, W] float32, metres along the ray, inf = sky.
        heights: [S, S] float32 topmost surface at the tile's pixel centres, model metres.
    """

    tile: np.ndarray
    panorama: np.ndarray
    sky: np.ndarray
    labels: np.ndarray
    depth: np.ndarray
    heights: np.ndarray


@dataclass(frozen=True)
class PairCameras:
    """The cameras of a data set.

    Attributes:
        tile: orthographic, looking down.
        panorama: the middle rows of a whole-sphere camera, as one run of pixels.
        rows, columns: of the panorama.
        supersample: colour rays a pixel and axis, of both.
    """

    tile: NadirCamera
    panorama: PixelRun
    rows: int
    columns: int
    supersample: int

    @classmethod
    def of(cls, tile_px: int, tile_extent_m: float, rows: int, columns: int, supersample: int) -> PairCameras:
        """Square pixels of angle: the whole sphere has columns / 2 rows, of which the middle ones are kept."""
        if columns % 2 or rows > columns // 2 or (columns // 2 - rows) % 2:
            raise InputError(f"a panorama of {columns} x {rows} pixels", where="panorama_size",
                             mend="Give an even number of columns, and rows that leave as many of columns / 2 above "
                                  "as below, such as 32 x 176, 224 x 1232 or 256 x 512")
        top = (columns // 2 - rows) // 2
        run = PixelRun(PanoramaCamera(columns, columns // 2), top * columns, (top + rows) * columns)
        return cls(NadirCamera(tile_extent_m / tile_px, tile_px, tile_px), run, rows, columns, supersample)


def choose_sites(district: District, wanted: dict[Split, int], tile_extent_m: float, camera_height_m: float,
                 tile_offset_m: float, rng: np.random.Generator) -> list[Site]:
    """Places on the streets, the lists side by side from west to east without a common piece of ground.

    Between two lists lies a strip as wide as a tile (and twice its largest offset), so that no tile of one shows what a
    tile of the other shows. Inside a list places are spread as far as the streets allow, 2 m at least.

    Raises:
        InputError: the streets have no room for so many.
    """
    x0, y0, x1, y1 = district.bounds
    inset = max(tile_extent_m / 2 + tile_offset_m + ASIDE_M, 12.0)
    gap = tile_extent_m + 2 * (tile_offset_m + ASIDE_M)
    present = {split: n for split, n in wanted.items() if n > 0}
    room = x1 - x0 - 2 * inset - gap * (len(present) - 1)
    if not present or room < 10.0 * len(present):
        raise InputError(f"{sum(wanted.values())} pairs of tiles {tile_extent_m} m wide", where="city pairs",
                         mend=f"Ask for one pair at least, and tiles so small that {len(present)} strips of them with "
                              f"{gap:.0f} m between fit into {x1 - x0:.0f} m")
    fine = district.street_path(2.0, height_m=camera_height_m, inset_m=inset)
    sites, west = [], x0 + inset
    for split, n in present.items():
        east = west + room * n / sum(present.values())
        inside = np.flatnonzero((fine.position[:, 0] >= west) & (fine.position[:, 0] <= east))
        if len(inside) < n:
            raise InputError(f"{n} {split} pairs are asked for, the streets have room for {len(inside)}",
                             where="city pairs", mend="Ask for fewer, or for smaller tiles")
        chosen = fine.subset(inside[np.linspace(0, len(inside) - 1, n).round().astype(int)])
        sites += [_site(split, chosen, i, district, camera_height_m, tile_offset_m, rng) for i in range(n)]
        west = east + gap
    return [sites[i] for i in rng.permutation(len(sites))]


def _site(split: Split, stations: Stations, i: int, district: District, height_m: float, offset_m: float,
          rng: np.random.Generator) -> Site:
    heading = float(stations.heading[i])
    aside = rng.uniform(-ASIDE_M, ASIDE_M)
    xy = stations.position[i, :2] + aside * np.array([np.cos(heading), -np.sin(heading)])
    position = np.array([*xy, float(district.terrain(*xy)) + height_m])
    radius, bearing = offset_m * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
    centre = xy + radius * np.array([np.sin(bearing), np.cos(bearing)])
    return Site(split, position, heading, centre, int(rng.integers(1 << 31)))


def take_pair(scene: RayScene, top: float, cameras: PairCameras, site: Site) -> PairPictures:
    """Both pictures: the tile in the one light of its overflight, the panorama in the light of its own day.

    Args:
        scene: the city.
        top: a height above all of it, model metres.
        cameras, site: which pictures, and where.
    """
    over = poses.nadir_pose(np.array([*site.tile_centre, top]))
    tile = render(scene, cameras.tile, over,
                  _look(Sun(np.radians(160.0), np.radians(48.0)), Sky(), cameras, ("rgb", "depth")))
    rng = np.random.default_rng(site.day)
    sun = Sun(np.radians(rng.uniform(95, 265)), np.radians(rng.uniform(22, 55)))
    sky = Sky()
    if rng.uniform() < 0.35:  # sunless days
        sun = Sun(sun.azimuth, sun.elevation, intensity=0.25, sky=(0.62, 0.64, 0.68), ground=(0.30, 0.30, 0.30))
        sky = OVERCAST
    street = render(scene, cameras.panorama, poses.pose_from_heading(site.position, 0.0),
                    _look(sun, sky, cameras, ("rgb", "depth", "semantic")))
    shape = (cameras.rows, cameras.columns)
    depth = street.depth.reshape(shape)
    level = np.arange(cameras.rows)[:, None] < cameras.rows / 2  # below the horizon the ground goes on behind the city
    gain = np.float32(rng.uniform(0.85, 1.1))
    return PairPictures(tile.rgb, np.clip(street.rgb.reshape(3, *shape) * gain, 0, 1), ~np.isfinite(depth) & level,
                        street.semantic.reshape(shape), depth, (top - tile.depth).astype(np.float32))


def _look(sun: Sun, sky: Sky, cameras: PairCameras, channels) -> RenderOptions:
    return RenderOptions(supersample=cameras.supersample, shadows=True, haze_m=1500.0, sun=sun, sky=sky,
                         channels=channels)
