"""The photogrammetry-like twin: a mesh whose texture was taken from the air on another day.

Street views show the true city. The mesh that a method is given must not: in reality it comes from oblique aerial
pictures, so its texture is coarser, differently coloured and lit from elsewhere, with paint where small things stood.
Here the texels of each chart look along the surface normal at the true city under the sun of the flight; then they are
blurred and recoloured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rsnb.city.charts import Charts, chart_groups, chart_uv, make_charts, texel_points
from rsnb.mesh.ray_bundle import render_rays
from rsnb.mesh.renderer import RenderOptions
from rsnb.mesh.scene import RayScene
from rsnb.mesh.shading import Sun
from rsnb.scenes import Material, TexturedMesh

START_ABOVE_GROUND_M = 2.0  # parked cars become paint on the road, as they do in meshes from the air
START_BEFORE_WALL_M = 0.8
CHUNK = 1 << 18  # texels looked up together


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

    texel_m: float = 0.25
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
    size = charts.page_size
    pages = np.zeros((charts.n_pages * size * size, 3), np.float32)
    known = np.zeros(charts.n_pages * size * size, bool)
    sun = Sun(np.radians(options.sun_azimuth_deg), np.radians(options.sun_elevation_deg))
    light = RenderOptions(sun=sun, shadows=True, trilinear=False, mip_bias=0.0, channels=("rgb", "depth"))
    own = RayScene(geometry.with_faces(charts.ground[charts.face_chart])) if charts.ground.any() else None
    reach = (charts.high - charts.low)[:, 2] + 4.0
    reach[charts.ground] = START_ABOVE_GROUND_M + 3.0
    for group in chart_groups(charts, CHUNK):
        chart, flat, points = texel_points(charts, group)
        if charts.ground[group[0]]:
            start, normal = _above_ground(own, points), np.broadcast_to((0.0, 0.0, 1.0), points.shape)
        else:
            normal = charts.normal[chart]
            start = points + START_BEFORE_WALL_M * normal
        view = render_rays(truth, start, -normal, options.texel_m, light)
        seen = view.depth[0] < reach[chart]
        pages[flat[seen]] = view.rgb[:, 0, seen].T
        known[flat[seen]] = True
    return pages.reshape(-1, size, size, 3), known.reshape(-1, size, size)


def _above_ground(own: RayScene, points: np.ndarray) -> np.ndarray:
    """[T, 3] points START_ABOVE_GROUND_M above the ground below `points`; far below all where there is no ground."""
    down = own.cast(points + (0, 0, 5.0), np.broadcast_to((0.0, 0.0, -1.0), points.shape))
    start = points.copy()
    start[:, 2] += np.where(down.hit, 5.0 - down.distance + START_ABOVE_GROUND_M, -1e4)
    return start


def _finish(page: np.ndarray, known: np.ndarray, options: TwinOptions) -> np.ndarray:
    """Spread what was seen over what was not, blur, recolour; [S, S, 3] uint8."""
    page = fill_unknown(page, known)
    if options.blur_texels > 0:
        page = cv2.GaussianBlur(page, (0, 0), options.blur_texels)
    page = page * np.asarray(options.gain, np.float32)
    page = page * (1 - options.haze) + AIRLIGHT.astype(np.float32) * options.haze
    return (np.clip(page, 0, 1) * 255 + 0.5).astype(np.uint8)


def fill_unknown(page: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[S, S, 3] float32 with unknown texels taken from the nearest coarser level that knows something (push and pull,
    Gortler et al., The Lumigraph, 1996)."""
    weight = known.astype(np.float32)
    if weight.all() or not weight.any():
        return page
    half = (max(1, page.shape[1] // 2), max(1, page.shape[0] // 2))
    small_weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(page * weight[..., None], half, interpolation=cv2.INTER_AREA)
    small /= np.maximum(small_weight, 1e-6)[..., None]
    coarse = fill_unknown(small, small_weight > 0)
    up = cv2.resize(coarse, (page.shape[1], page.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.where(known[..., None], page, up)
