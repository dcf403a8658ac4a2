"""Where a camera can stand in a city model: the ground below given places, and places to stand where none are given.

A panorama list has no heights, and building models often have no terrain. Both are answered by vertical and horizontal
rays against the mesh itself.
"""

from __future__ import annotations

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.georeference import Projector
from rsnb.mesh.scene import RayScene

RINGS_M = (2.0, 5.0, 10.0, 20.0, 40.0)  # where to look for ground beside a place that has none below it
MAX_LAYERS = 16  # surfaces on one vertical line: crowns, roofs, floors, ground
SKIN_M = 0.02
ROOF_M = 3.0  # how far below a surface to look for walls
FLAT_NORMAL_Z = 0.7  # surfaces flatter than this are ground or roof, not something to look at

BEARINGS = np.arange(72) * (2 * np.pi / 72)
LEVEL = np.stack([np.sin(BEARINGS), np.cos(BEARINGS), np.zeros(72)], axis=1)


def ground_height(scene: RayScene, places: np.ndarray) -> np.ndarray:
    """Height of the lowest surface below each place, which is the street under a tree or a roof that has one below it.

    Where nothing lies below a place (a model of buildings alone), the lowest surface on rings of 2 to 40 m around it
    counts (of a roof without a floor the foot of its walls), then the lowest vertex of the mesh. Under a bridge this is
    the lower level.

    Args:
        scene: the city model.
        places: [N, 2] model x and y, metres.

    Returns:
        [N] float64 model z, metres.
    """
    places = np.atleast_2d(np.asarray(places, np.float64))
    height = lowest_surface(scene, places)
    angle = np.arange(16) * (2 * np.pi / 16)
    for radius in RINGS_M:
        missing = np.flatnonzero(~np.isfinite(height))
        if len(missing) == 0:
            break
        ring = places[missing, None] + radius * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        ring = ring.reshape(-1, 2)
        found = lowest_surface(scene, ring)
        seen = np.flatnonzero(np.isfinite(found))
        found[seen] = np.minimum(found[seen], _foot_below_roof(scene, ring[seen], found[seen]))
        height[missing] = found.reshape(len(missing), 16).min(axis=1)
    return np.where(np.isfinite(height), height, scene.mesh.bounds[0, 2])


def on_roof(scene: RayScene, places: np.ndarray, height: np.ndarray) -> np.ndarray:
    """bool [N]: the ground [N] found at places [N, 2] is the roof of a building that has no floor.

    3 m below it, level rays all around (85 %) meet a wall from behind. Below a hill, a quay or a bridge they do not.
    """
    return np.isfinite(_foot_below_roof(scene, places, height))


def _foot_below_roof(scene: RayScene, places: np.ndarray, height: np.ndarray) -> np.ndarray:
    """[N] lowest z of the walls below the roof that a place stands on, inf where it stands on no roof."""
    below = np.c_[places, height - ROOF_M]
    hits = scene.cast(below[:, None], LEVEL[None])
    normal = scene.normal[hits.prim]
    behind = hits.hit & (np.abs(normal[..., 2]) < FLAT_NORMAL_Z) & ((normal * LEVEL).sum(axis=-1) > 0)
    foot = np.where(behind, scene.mesh.vertices[:, 2][scene.mesh.faces[hits.prim]].min(axis=-1), np.inf)
    return np.where(behind.mean(axis=1) > 0.85, foot.min(axis=1), np.inf)


def lowest_surface(scene: RayScene, places: np.ndarray) -> np.ndarray:
    """[N] z of the last surface that a falling ray meets at each place [N, 2]; inf where it meets none."""
    top = scene.mesh.bounds[1, 2] + 1.0
    start = np.c_[places, np.full(len(places), top)]
    height = np.full(len(places), np.inf)
    falling = np.arange(len(places))
    for _ in range(MAX_LAYERS):
        hits = scene.cast(start[falling], np.broadcast_to((0.0, 0.0, -1.0), (len(falling), 3)))
        falling = falling[hits.hit]
        if len(falling) == 0:
            break
        height[falling] = start[falling, 2] - hits.distance[hits.hit]
        start[falling, 2] = height[falling] - SKIN_M
    return height


def find_viewpoints(scene: RayScene, count: int, camera_height_m: float = 2.0, seed: int = 0, *,
                    heading: float | None = None, pitch: float = 0.0) -> np.ndarray:  # fmt: skip
    """Poses at eye level in the open that look along streets, for a mesh that comes without a list of places.

    Candidates lie 6 to 18 m before walls, chosen by area, or anywhere where there are no walls. One is usable where no
    roof is above it and nothing is nearer than 4 m; the best ones have walls near them on many sides, and they look
    where most is to be seen (`busiest_view`). Chosen places keep a distance from each other.

    Args:
        scene: the city model.
        count: places wanted at most.
        camera_height_m: above the ground.
        seed: of the candidates.
        heading: radians from the model's y axis, for all views; None = where most is seen.
        pitch: radians, up positive.

    Returns:
        world_to_cam [n, 4, 4] with 1 <= n <= count.

    Raises:
        InputError: no place is free (a closed interior, or a mesh that is not z-up).
    """
    places = _before_walls(scene, 800, seed)
    low, high = places.min(axis=0), places.max(axis=0)
    ground = ground_height(scene, places)
    eyes = np.c_[places, ground + camera_height_m][~on_roof(scene, places, ground)]
    eyes = eyes[~scene.occluded(eyes, np.broadcast_to((0.0, 0.0, 1.0), eyes.shape))]
    distance = _around(scene, eyes)
    free = (distance.min(axis=1, initial=np.inf) > 4.0) & np.isfinite(distance).any(axis=1)
    eyes, distance = eyes[free], distance[free]
    if len(eyes) == 0:
        raise InputError("no place to stand was found in the open", where=scene.mesh.name,
                         mend="Give a panos file with places, and check that the mesh is in metres with z up")
    enclosed = (distance < 40.0).mean(axis=1) + 0.5 * (distance < 20.0).mean(axis=1)
    bearing = _busiest(distance) if heading is None else np.full(len(eyes), float(heading))
    chosen: list[int] = []
    spacing = 0.5 * float(np.sqrt(np.prod(high - low) / max(count, 1)))
    for index in np.argsort(-enclosed, kind="stable"):
        apart = [np.hypot(*(eyes[index] - eyes[k])[:2]) for k in chosen]
        if len(chosen) < count and min(apart, default=np.inf) >= spacing:
            chosen.append(int(index))
    return poses.pose_from_heading(eyes[chosen], bearing[chosen], np.full(len(chosen), float(pitch)))


def stand_at(scene: RayScene, places: np.ndarray, camera_height_m: float = 2.5, heading: np.ndarray | None = None,
             pitch: float = 0.0) -> np.ndarray:  # fmt: skip
    """Poses at given places, at a height above the ground that lies there.

    Args:
        scene: the city model.
        places: [N, 2 or 3] model x and y, metres (a z is ignored: lists have none worth having).
        camera_height_m: above the ground.
        heading: [N] or one, radians from the model's y axis; None = where most is seen, along the street.
        pitch: radians, up positive.

    Returns:
        world_to_cam [N, 4, 4] float64.

    Raises:
        InputError: a place lies inside a building without a floor, so that only its roof could be stood on.
    """
    places = np.atleast_2d(np.asarray(places, np.float64))[:, :2]
    ground = ground_height(scene, places)
    roof = np.flatnonzero(on_roof(scene, places, ground))
    if len(roof):
        x, y = places[roof[0]]
        raise InputError(f"place {roof[0]} (from 0) at x {x:.2f}, y {y:.2f} lies inside a building: the lowest surface "
                         f"there is a roof ({len(roof)} of {len(places)} places do)", where=scene.mesh.name,
                         mend="Leave the place out or move it into the street, and check the CRS and the origin")
    eyes = np.c_[places, ground + camera_height_m]
    bearing = busiest_view(scene, eyes) if heading is None else np.broadcast_to(heading, len(eyes))
    return poses.pose_from_heading(eyes, bearing, np.full(len(eyes), float(pitch)))


def stand_at_lonlat(scene: RayScene, lat: np.ndarray, lon: np.ndarray, camera_height_m: float = 2.5,
                    heading: float | str = "auto", pitch_deg: float = 0.0) -> np.ndarray:  # fmt: skip
    """`stand_at` for geographic places, as panorama lists give them; angles in degrees.

    Args:
        scene: the city model; its mesh needs a georeference with a CRS.
        lat, lon: [N] degrees.
        heading: bearing from true north, a number or its text, or "auto".

    Returns:
        world_to_cam [N, 4, 4]; headings are turned to grid north by each place's meridian convergence.

    Raises:
        InputError: no CRS, a place outside it, or a heading that is no number.
    """
    projector = Projector(scene.mesh.georeference)
    lat, lon = np.atleast_1d(lat), np.atleast_1d(lon)
    bearing = None
    if heading != "auto":
        try:
            bearing = np.radians(float(heading)) - projector.convergence(lat, lon)
        except ValueError:
            raise InputError(f"{heading!r} is no heading", where="heading", mend='Use degrees or "auto"') from None
    return stand_at(scene, projector.to_model(lat, lon), camera_height_m, bearing, np.radians(pitch_deg))


def busiest_view(scene: RayScene, eyes: np.ndarray) -> np.ndarray:
    """Bearing [N], radians, in which an eye [N, 3] sees most: far walls on both sides of an open line, a street.

    Level rays that end at something count with their length up to 40 m, those that end nowhere with nothing; the
    bearing with the largest sum over 80 degrees wins.
    """
    return _busiest(_around(scene, np.atleast_2d(eyes)))


def _around(scene: RayScene, eyes: np.ndarray) -> np.ndarray:
    """[N, 72] distances of level rays all around to something upright, inf where they meet none, or rising ground."""
    if len(eyes) == 0:
        return np.zeros((0, 72))
    hits = scene.cast(eyes[:, None], LEVEL[None])
    upright = hits.hit & (np.abs(scene.normal[hits.prim, 2]) < FLAT_NORMAL_Z)
    return np.where(upright, hits.distance, np.inf)


def _before_walls(scene: RayScene, count: int, seed: int) -> np.ndarray:
    """[count, 2] places some metres before walls; over the whole footprint where the mesh has no walls."""
    step = _halton(count, seed)
    corner = scene.mesh.vertices[scene.mesh.faces]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(cross, axis=1) * (np.abs(scene.normal[:, 2]) < 0.3)
    if area.sum() <= 0:
        low, high = scene.mesh.bounds[:, :2]
        return low + step * (high - low)
    wall = np.searchsorted(np.cumsum(area), step[:, 0] * area.sum(), side="right").clip(max=len(area) - 1)
    outward = scene.normal[wall, :2] / np.linalg.norm(scene.normal[wall, :2], axis=1, keepdims=True)
    reach = 6.0 + 12.0 * step[:, 1]
    return corner[wall].mean(axis=1)[:, :2] + reach[:, None] * outward


def _busiest(distance: np.ndarray) -> np.ndarray:
    worth = np.where(np.isfinite(distance), np.minimum(distance, 40.0), 0.0)
    seen = sum(np.roll(worth, shift, axis=1) for shift in range(-8, 9))
    # Of bearings that are equally good, as in a wide street, take the one with the longest line.
    return BEARINGS[(seen + 0.2 * np.where(np.isfinite(distance), np.minimum(distance, 200.0), 0.0)).argmax(axis=1)]


def _halton(count: int, seed: int) -> np.ndarray:
    """[count, 2] evenly spread points in the unit square (Halton 1960, bases 2 and 3, shifted by the seed)."""
    def digits(index, base):
        value, share = np.zeros(len(index)), 1.0
        while index.any():
            share /= base
            value += share * (index % base)
            index = index // base
        return value

    index = np.arange(1, count + 1)
    return (np.stack([digits(index, 2), digits(index, 3)], axis=1) + np.random.default_rng(seed).random(2)) % 1.0
