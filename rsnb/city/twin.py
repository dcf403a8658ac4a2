"""The photogrammetry-like twin: a mesh whose texture was taken from the air on another day.

Street views show the true city. The mesh that a method is given must not: in reality it comes from oblique aerial
pictures, so its texture is coarser, differently coloured and lit from elsewhere, with paint where small things stood.
Here the texels of each chart look along the surface normal at the true city under the sun of the flight; then they are
blurred and recoloured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from rsnb.city.charts import Charts, chart_uv, make_charts, texel_points
from rsnb.mesh.scene import RayScene
from rsnb.mesh.shading import Sun, SurfacePoints, albedo, facing_normal, lit
from rsnb.scenes import Material, TexturedMesh

START_ABOVE_GROUND_M = 2.0  # parked cars become paint on the road, as they do in meshes from the air
START_BEFORE_WALL_M = 0.8
CHUNK = 1 << 19


@dataclass(frozen=True)
class TwinOptions:
    """How the aerial survey differs from the street views.

    Attributes:
        texel_m: metres a texel.
        blur_texels: standard deviation of a Gaussian blur, texels.
        sun_azimuth_deg, sun_elevation_deg: when the aeroplane flew (street views were taken at another hour).
        gain: colour cast, factor a channel.
        haze: share of airlight (bluish grey) mixed in.
        page_size: texels, textures are square pages of this size.
    """

    texel_m: float = 0.2
    blur_texels: float = 0.8
    sun_azimuth_deg: float = 205.0
    sun_elevation_deg: float = 48.0
    gain: tuple[float, float, float] = (1.06, 0.98, 0.86)
    haze: float = 0.10
    page_size: int = 2048


AIRLIGHT = np.array([0.62, 0.68, 0.76])


def bake_twin(geometry: TexturedMesh, truth: RayScene, options: TwinOptions = TwinOptions()) -> TexturedMesh:
    """`geometry` with a texture of its own, taken from the true city.

    Args:
        geometry: the mesh to texture (a tile, in tiles of 250 m or less for a sensible ground resolution). Its own
            materials are ignored; classes and objects stay.
        truth: the true city, covering at least that area.
        options: the survey.
    """
    objects = np.zeros(len(geometry.faces), int) if geometry.face_object is None else geometry.face_object
    flat = _flat_objects(geometry, objects)
    charts = make_charts(geometry.vertices, geometry.faces, objects, flat, options.texel_m, options.page_size)
    pages, known = _look(geometry, truth, charts, options)
    materials = tuple(
        Material(f"{geometry.name}_page{index}", texture=_finish(page, seen, options))
        for index, (page, seen) in enumerate(zip(pages, known, strict=True))
    )
    return replace(
        geometry,
        uv=chart_uv(charts, geometry.vertices, geometry.faces),
        face_material=charts.page[charts.face_chart].astype(np.int32),
        materials=materials,
    )


def _flat_objects(mesh: TexturedMesh, objects: np.ndarray) -> np.ndarray:
    """[F] bool: faces of buildings and of the ground; trees and cars are not made of planes worth a chart each."""
    lumpy = [c.id for c in mesh.classes if c.name in ("tree", "car")]
    return ~np.isin(mesh.face_class, lumpy)


def _look(geometry: TexturedMesh, truth: RayScene, charts: Charts, options: TwinOptions):
    """Colour pages [P, S, S, 3] float32 and which texels saw something [P, S, S]."""
    chart, flat, points = texel_points(charts)
    normal = charts.normal[chart]
    origins = points + START_BEFORE_WALL_M * normal
    ground = charts.ground[chart]
    if ground.any():
        own = RayScene(geometry.with_faces(charts.ground[charts.face_chart]))
        down = own.cast(points[ground] + (0, 0, 5.0), np.broadcast_to((0, 0, -1.0), (int(ground.sum()), 3)))
        height = points[ground, 2] + 5.0 - np.where(down.hit, down.distance, np.nan)
        origins[ground, 2] = height + START_ABOVE_GROUND_M
    usable = np.isfinite(origins).all(axis=1)
    chart, flat, origins, normal = chart[usable], flat[usable], origins[usable], normal[usable]
    reach = np.where(ground[usable], START_ABOVE_GROUND_M + 3.0, (charts.high - charts.low)[chart, 2] + 4.0)
    size = charts.page_size
    pages = np.zeros((charts.n_pages * size * size, 3), np.float32)
    known = np.zeros(charts.n_pages * size * size, bool)
    sun = Sun(np.radians(options.sun_azimuth_deg), np.radians(options.sun_elevation_deg))
    for start in range(0, len(flat), CHUNK):
        part = slice(start, start + CHUNK)
        colour, distance = ray_colours(truth, origins[part], -normal[part], options.texel_m, sun)
        seen = distance < reach[part]
        pages[flat[part][seen]] = colour[seen]
        known[flat[part][seen]] = True
    return pages.reshape(-1, size, size, 3), known.reshape(-1, size, size)


def ray_colours(scene: RayScene, origins: np.ndarray, directions: np.ndarray, width_m: float, sun: Sun):
    """Sunlit colour [N, 3] float32 of what each ray meets, averaged over `width_m` metres, and its distance [N]."""
    hits = scene.cast(origins, directions)
    colour = np.zeros((len(origins), 3), np.float32)
    index = np.flatnonzero(hits.hit)
    if len(index) == 0:
        return colour, hits.distance
    along = directions[index].astype(np.float32)
    position = (origins[index] - scene.centre).astype(np.float32) + along * hits.distance[index, None]
    points = SurfacePoints(
        prim=torch.from_numpy(hits.prim[index].astype(np.int64)),
        u=torch.from_numpy(hits.u[index]),
        v=torch.from_numpy(hits.v[index]),
        distance=torch.from_numpy(hits.distance[index]),
        position=torch.from_numpy(position),
        direction=torch.from_numpy(along),
        width=torch.full((len(index),), float(width_m)),
        turn=torch.zeros(len(index)),
    )
    tables = scene.tensors()
    normal, cosine = facing_normal(tables, points.prim, points.direction)
    plain = albedo(tables, points, cosine, 0.0, False)
    shaded = lit(scene, points, plain, normal, sun, shadow_rays=1, ambient_rays=0, ambient_distance=25.0)
    colour[index] = shaded.numpy()
    return colour, hits.distance


def _finish(page: np.ndarray, known: np.ndarray, options: TwinOptions) -> np.ndarray:
    """Blur within what was seen, spread it over what was not, recolour; [S, S, 3] uint8."""
    if known.any() and not known.all():
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        page = page[tuple(nearest)]
    if options.blur_texels > 0:
        page = ndimage.gaussian_filter(page, (options.blur_texels, options.blur_texels, 0))
    page = page * np.asarray(options.gain, np.float32)
    page = page * (1 - options.haze) + AIRLIGHT.astype(np.float32) * options.haze
    return (np.clip(page, 0, 1) * 255 + 0.5).astype(np.uint8)
