"""The two pictures of a tile-panorama pair and what is behind their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsnb.city.pair_options import PairsOptions
from rsnb.city.pair_sites import Site
from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.cameras import NadirCamera, PanoramaCamera
from rsnb.mesh.camera_rays import PixelRun
from rsnb.mesh.renderer import RenderOptions, render
from rsnb.mesh.scene import RayScene
from rsnb.mesh.shading import Sun
from rsnb.mesh.sky import Sky

OVERCAST = Sky(zenith=(0.66, 0.69, 0.73), horizon=(0.84, 0.85, 0.87), glow_strength=0.0)


@dataclass(frozen=True)
class StreetPicture:
    """One panorama.

    Attributes:
        rgb: [3, H, W] float32, full circle, centre column = north.
        sky: [H, W] bool.
        labels: [H, W] int32 class ids.
        depth: [H, W] float32, metres along the ray, inf = nothing.
    """

    rgb: np.ndarray
    sky: np.ndarray
    labels: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True)
class PairPictures:
    """The two pictures of a site and what is behind them.

    Attributes:
        tile: [3, S, S] float32, north up.
        heights: [S, S] float32 topmost surface at the tile's pixel centres, model metres.
        classes: [S, S] int32 class ids of that surface.
        street: the panorama.
    """

    tile: np.ndarray
    heights: np.ndarray
    classes: np.ndarray
    street: StreetPicture


@dataclass(frozen=True)
class PairCameras:
    """The cameras of a data set.

    Attributes:
        tile: orthographic, looking down.
        panorama: the middle rows of a whole-sphere camera, as one run of pixels.
        rows, columns: of the panorama.
        tile_supersample, panorama_supersample: colour rays a pixel and axis.
        cast_shadows: the sun of the tiles casts shadows.
    """

    tile: NadirCamera
    panorama: PixelRun | PanoramaCamera
    rows: int
    columns: int
    tile_supersample: int
    panorama_supersample: int
    cast_shadows: bool = True

    @classmethod
    def of(cls, options: PairsOptions) -> PairCameras:
        """Square pixels of angle: the whole sphere has columns / 2 rows, of which the middle ones are kept.

        Raises:
            InputError: a panorama with an odd number of columns, or whose rows have no middle.
        """
        rows, columns = options.panorama
        if columns % 2 or rows > columns // 2 or (columns // 2 - rows) % 2:
            raise InputError(f"a panorama of {columns} x {rows} pixels", where="panorama_size",
                             mend="Give an even number of columns, and rows that leave as many of columns / 2 above "
                                  "as below, such as 32 x 176, 224 x 1232 or 256 x 512")
        top = (columns // 2 - rows) // 2
        sphere = PanoramaCamera(columns, columns // 2)
        panorama = PixelRun(sphere, top * columns, (top + rows) * columns) if top else sphere
        tile = NadirCamera(options.tile_extent_m / options.tile_px, options.tile_px, options.tile_px)
        return cls(tile, panorama, rows, columns, options.tile_supersample or options.supersample,
                   options.panorama_supersample or options.supersample, options.cast_shadows)


def take_pair(scene: RayScene, top: float, cameras: PairCameras, site: Site) -> PairPictures:
    """Both pictures: the tile in the one light of its overflight, the panorama in the light of its own day.

    Args:
        scene: the city.
        top: a height above all of it, model metres.
        cameras, site: which pictures, and where.
    """
    over = poses.nadir_pose(np.array([*site.tile_centre, top]))
    tile = render(scene, cameras.tile, over,
                  _look(Sun(np.radians(160.0), np.radians(48.0)), Sky(), cameras.tile_supersample,
                        cameras.cast_shadows))
    return PairPictures(tile.rgb, (top - tile.depth).astype(np.float32), tile.semantic,
                        take_panorama(scene, cameras, site.position, site.day))


def take_panorama(scene: RayScene, cameras: PairCameras, position: np.ndarray, day: int) -> StreetPicture:
    """The panorama at a place [3] (model metres), in the light of a day."""
    rng = np.random.default_rng(day)
    sun = Sun(np.radians(rng.uniform(95, 265)), np.radians(rng.uniform(22, 55)))
    sky = Sky()
    if rng.uniform() < 0.35:  # sunless days
        sun = Sun(sun.azimuth, sun.elevation, intensity=0.25, sky=(0.62, 0.64, 0.68), ground=(0.30, 0.30, 0.30))
        sky = OVERCAST
    gain = np.float32(rng.uniform(0.85, 1.1))
    street = render(scene, cameras.panorama, poses.pose_from_heading(position, 0.0),
                    _look(sun, sky, cameras.panorama_supersample))
    shape = (cameras.rows, cameras.columns)
    depth = street.depth.reshape(shape)
    level = np.arange(cameras.rows)[:, None] < cameras.rows / 2  # below the horizon the ground goes on behind the city
    return StreetPicture(np.clip(street.rgb.reshape(3, *shape) * gain, 0, 1), ~np.isfinite(depth) & level,
                         street.semantic.reshape(shape), depth)


def _look(sun: Sun, sky: Sky, supersample: int, shadows: bool = True) -> RenderOptions:
    return RenderOptions(supersample=supersample, shadows=shadows, haze_m=1500.0, sun=sun, sky=sky,
                         channels=("rgb", "depth", "semantic"))
