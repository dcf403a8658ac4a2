"""The frame of one house (x along the front, y inward, z up) and the ways its faces get their textures."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np

from rsnb.city import surfaces
from rsnb.city.assembly import Palette, Parts
from rsnb.city.facades import FACADES, blank_texture, facade_texture
from rsnb.city.lots import Lot
from rsnb.city.options import BUILDING

_ROOF_TINTS = ((0.76, 0.5, 0.41), (0.68, 0.45, 0.38), (0.57, 0.43, 0.38), (0.46, 0.45, 0.46), (0.82, 0.57, 0.45))
_METAL_TINTS = ((0.62, 0.66, 0.68), (0.5, 0.53, 0.56), (0.6, 0.73, 0.68), (0.56, 0.5, 0.46))
_FELT_TINTS = ((1, 1, 1), (0.78, 0.78, 0.8), (1.1, 1.06, 0.98))
_REPEAT_M = 4.0  # of roof and plaster textures


@dataclass(frozen=True)
class Plan:
    """What was decided about a building before any of its faces is made.

    Attributes:
        lot: its place.
        storeys: their number. roof, facade: names.
        tint, roof_tint: which colour variants.
        shop: whether the street front has one.
        object_id: instance id; seed: of its random details.
    """

    lot: Lot
    storeys: int
    roof: str
    facade: str
    tint: int
    roof_tint: int
    shop: bool
    object_id: int
    seed: int


class HouseFrame:
    """Adds faces given in the house's own frame to the mesh, in the house's colours."""

    def __init__(self, parts: Parts, palette: Palette, plan: Plan, detail: str):
        self.parts, self.palette, self.plan, self.detail = parts, palette, plan, detail
        self.lot, self.facade = plan.lot, FACADES[plan.facade]
        self.rng = np.random.default_rng(plan.seed)
        tint, name = self.facade.tints[plan.tint], plan.facade
        metal = _METAL_TINTS[plan.roof_tint % len(_METAL_TINTS)]
        slate = (0.62, 0.64, 0.68) if plan.roof_tint % 3 else (0.72, 0.5, 0.42)

        def wall(part):
            return palette.look(f"{name}_{part}", facade_texture(name, part), tint)

        self.looks = {
            "upper": wall("upper"),
            "street": wall("shop" if plan.shop else "house"),
            "back": wall("house"),
            "wall": palette.look(f"{name}_blank", blank_texture(name), tint),
            "roof": palette.look("tiles", surfaces.tiles(), _ROOF_TINTS[plan.roof_tint % len(_ROOF_TINTS)]),
            "slope": palette.look("slate", surfaces.slate(), slate),
            "metal": palette.look("seam_metal", surfaces.seam_metal(), metal),
            "copper": palette.look("seam_metal", surfaces.seam_metal(), (0.5, 0.72, 0.64)),
            "flat": palette.look("bitumen", surfaces.bitumen(), _FELT_TINTS[plan.roof_tint % 3]),
            "trim": palette.look("trim", surfaces.plaster(), (0.86, 0.85, 0.82)),
            "glass": palette.look("roof_glass", None, (0.32, 0.4, 0.46)),
            "chimney": palette.look("brick_red_blank", blank_texture("brick_red"), (0.95, 0.92, 0.9)),
            "plinth": palette.look("granite", surfaces.granite(), (0.8, 0.79, 0.78)),
        }

    def world(self, corners) -> np.ndarray:
        """[n, 3] model coordinates of points in the house's frame."""
        corners = np.asarray(corners, float)
        xy = self.lot.corner + corners[:, :1] * self.lot.along + corners[:, 1:2] * self.lot.inward
        return np.column_stack([xy, corners[:, 2]])

    def face(self, corners, what: str) -> None:
        """A planar face of 3 or 4 corners; its texture lies along its slope, 4 m a repeat."""
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (tuple(map(float, corners[k])) for k in range(3))
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        size = sqrt(nx * nx + ny * ny + nz * nz) or 1.0
        nx, ny, nz = nx / size, ny / size, nz / size
        flat = hypot(nx, ny)
        # across = up x normal, level; along the slope = normal x across.
        x, y = (1.0, 0.0) if flat < 1e-6 else (-ny / flat, nx / flat)
        slope = np.array((-nz * y, nz * x, nx * y - ny * x))
        corners = np.asarray(corners, float)
        uv = np.stack([corners[:, 0] * x + corners[:, 1] * y, corners @ slope], axis=1) / _REPEAT_M
        add = self.parts.quad if len(corners) == 4 else self.parts.triangle
        add(self.world(corners), uv, self.looks[what], BUILDING, self.plan.object_id)

    def sheet(self, corners, look: int, uv=None) -> None:
        """A rectangle with a given material; without uv its texture starts at the first corner, 4 m a repeat."""
        if uv is None:
            p = np.asarray(corners, float)
            u, v = np.linalg.norm(p[1] - p[0]) / _REPEAT_M, np.linalg.norm(p[2] - p[1]) / _REPEAT_M
            uv = ((0, 0), (u, 0), (u, v), (0, v))
        self.parts.quad(self.world(corners), np.array(uv, float), look, BUILDING, self.plan.object_id)

    def upright(self, a, b, bottom, top, look: int, size, start=(0.0, 0.0)) -> None:
        """A wall from a to b (x, y), seen with a on its left; `size` repeats of the texture from `start`."""
        (u0, v0), (du, dv) = start, size
        self.sheet([(*a, bottom), (*b, bottom), (*b, top), (*a, top)], look,
                   [(u0, v0), (u0 + du, v0), (u0 + du, v0 + dv), (u0, v0 + dv)])

    def box(self, low, high, what: str, top: str | None = None) -> None:
        """An upright box without a floor, from corner low to corner high."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        for k in range(4):
            a, b = ring[k], ring[(k + 1) % 4]
            self.face([(*a, z0), (*b, z0), (*b, z1), (*a, z1)], what)
        self.face([(*p, z1) for p in ring], top or what)
