"""Surveys a place for its series: asks every point of a fine grid once what lies there, in the city and around it."""

from __future__ import annotations

import numpy as np

from rsnb.city.district import District
from rsnb.city.grids import Grid
from rsnb.city.landscape import Landscape, landscape_table
from rsnb.city.options import BUILDING, CAR, GRASS, TREE, WATER, CityOptions
from rsnb.city.seasons import SPECTRA, SurfaceTable, between, painted
from rsnb.city.series import SeriesTruth
from rsnb.city.terrain import natural_height
from rsnb.city.truth import top_surface


def build_truth(grid: Grid, landscape: Landscape, district: District | None = None,
                city: CityOptions = CityOptions()) -> SeriesTruth:
    """Asks for every point of a fine grid what lies there: the district's mesh inside its bounds, the country around.

    Args:
        grid: about 1 m to 2.5 m.
        landscape: the country; its `tile` should be the district's bounds.
        district: built with its belt, or None for open country.
        city: for the height of the hills where there is no district.
    """
    x, y = grid.model_xy()
    options = city if district is None else district.options
    key = np.empty(grid.shape, np.int64)
    height, brightness = np.empty(grid.shape, np.float32), np.empty(grid.shape, np.float32)
    for top in range(0, grid.shape[0], 64):  # a strip's temporaries stay in the cache
        part = slice(top, top + 64)
        key[part], above, brightness[part] = landscape(x[part], y[part])
        height[part] = natural_height(options, x[part], y[part]) + above
    keys, surface = np.unique(key, return_inverse=True)
    surface = surface.reshape(grid.shape).astype(np.int32)
    table, facing = landscape_table(keys), np.zeros((2, *grid.shape), np.float32)
    if district is not None:
        inside = _within(district.bounds, x, y)
        rows, z, slopes, city_table = _city_surfaces(district, x[inside], y[inside], grid)
        surface[inside] = rows + len(table)
        height[inside], brightness[inside] = z, 1.0
        facing[:, inside] = slopes
        table = table.joined(city_table)
    return SeriesTruth(grid, surface, height, facing, brightness, table).rounded()


def _within(bounds, x, y) -> np.ndarray:
    return (x > bounds[0]) & (x < bounds[2]) & (y > bounds[1]) & (y < bounds[3])


def _city_surfaces(district: District, x, y, grid: Grid):
    """Row of the table, height and slope [2, N] at points [N] of a district, and the table."""
    mesh = district.mesh
    z, prim = top_surface(district.scene, x, y)
    faces, face_row = np.unique(np.maximum(prim, 0), return_inverse=True)
    looks = np.stack([mesh.face_class, mesh.face_material, mesh.face_object], axis=1)[faces]
    looks, row_of_face = np.unique(looks, axis=0, return_inverse=True)
    normal = np.cross(*(mesh.vertices[mesh.faces[faces, k]] - mesh.vertices[mesh.faces[faces, 0]] for k in (1, 2)))
    slope = np.clip(normal[:, :2] / np.maximum(np.abs(normal[:, 2:]), 1e-9), -3.0, 3.0)
    slope *= np.where(mesh.face_class[faces] == TREE, 0.25, 1.0)[:, None]  # leaves let light through
    turn = grid.up_bearing  # model north is within 0.2 degrees of true north
    right = slope[:, 0] * np.cos(turn) - slope[:, 1] * np.sin(turn)
    up = slope[:, 0] * np.sin(turn) + slope[:, 1] * np.cos(turn)
    return (row_of_face.ravel()[face_row], np.where(np.isfinite(z), z, 0.0), np.stack([right, up])[:, face_row],
            _city_table(district, looks))


def _city_table(district: District, looks: np.ndarray) -> SurfaceTable:
    """One row for each (class, material, instance) of `looks` [N, 3]."""
    colour = np.stack([_mean_colour(m) for m in district.mesh.materials])[looks[:, 1]]
    kind = looks[:, 0]
    rng = np.random.default_rng([district.options.seed, *district.index, 61])
    count = int(looks[:, 2].max()) + 1
    own = rng.random((3, count))[:, looks[:, 2]]  # one draw an instance, so a roof's two sides agree
    needle = np.array([m.name.startswith("leaves_needle") for m in district.mesh.materials])[looks[:, 1]]
    built = painted(colour) * np.where(kind == BUILDING, 0.9 + 0.2 * own[1], 1.0)[:, None]
    winter, summer = built.copy(), built.copy()
    for where, low, high in ((kind == GRASS, "dry_grass", "grass"), (kind == WATER, "water", "green_water"),
                             ((kind == TREE) & ~needle, "bare_twigs", "leaves"),
                             ((kind == TREE) & needle, "cold_needles", "needles")):
        winter[where], summer[where] = SPECTRA[low], SPECTRA[high]
    green = np.isin(kind, (GRASS, TREE))
    table = between(winter, summer, peak_day=np.where(kind == GRASS, 180.0, 194.0) + 30.0 * (own[0] - 0.5),
                    gain=np.where(green, 0.88 + 0.24 * own[1], 1.0))
    table.cover[:] = np.select([green, kind == WATER], [4, 6], 5)
    renewed = (kind == BUILDING) & (own[2] > 0.97)  # a new metal roof between the summers
    table.change_day[:] = np.where(renewed, np.floor(7974 + 300 * own[0]), np.inf)  # from 2021-10-31 on
    table.changed[:] = SPECTRA["metal_roof"]
    parked = kind == CAR
    table.winter[parked] *= 0.9
    table.summer[parked] *= 0.9
    return table


def _mean_colour(material) -> np.ndarray:
    """[3] mean linear colour 0..1 of a material (sRGB decoded, IEC 61966-2-1)."""
    texture = np.full((1, 3), 255.0) if material.texture is None else material.texture[::4, ::4].reshape(-1, 3)
    value = np.clip(texture[:, :3] / 255.0 * np.asarray(material.rgb), 0.0, 1.0)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).mean(axis=0)
