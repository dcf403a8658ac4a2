"""What a provider and an annotator would leave of a street view: a pose metres off, and pairs pixels off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsnb.city.options import BUILDING
from rsnb.data import Picks
from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.cameras import PinholeCamera, world_rays
from rsnb.mesh.renderer import RenderOptions, render
from rsnb.mesh.scene import RayScene

PROVIDER_SIGMA_M = (1.5, 1.5, 0.5)  # errors of a stated pose, as the fact sheet takes them (section 2.2)
PROVIDER_SIGMA_DEG = (3.0, 2.0)  # heading, pitch
MAX_DISTANCE_M = 80.0


@dataclass(frozen=True)
class PickingOptions:
    """An annotator.

    Attributes:
        pairs: how many.
        sigma_px: standard deviation of a click in the picture; 0.7 of it in the render of the mesh.
        wrong_pairs: how many of the pairs are plainly wrong (another window); in the street scene every second picture
            has them.
    """

    pairs: int = 9
    sigma_px: float = 2.0
    wrong_pairs: int = 2


def provider_pose(true_pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The pose [4, 4] that a provider would state: the true one with GPS and compass errors, roll 0."""
    centre = poses.camera_centre(true_pose) + rng.normal(0.0, PROVIDER_SIGMA_M)
    heading, pitch, _ = poses.heading_pitch_roll(true_pose)
    errors = np.radians(rng.normal(0.0, PROVIDER_SIGMA_DEG))
    return poses.pose_from_heading(centre, heading + errors[0], pitch + errors[1])


def simulate_picks(
    image: str,
    truth: RayScene,
    given: RayScene,
    camera: PinholeCamera,
    true_pose: np.ndarray,
    stated_pose: np.ndarray,
    rng: np.random.Generator,
    options: PickingOptions = PickingOptions(),
) -> Picks:
    """Pairs on building faces nearer than 80 m, spread over the picture.

    The world point is that of the given mesh, not of the true city, since the annotator clicks in a render of the mesh.

    Raises:
        InputError: too few building pixels in the view.
    """
    plain = RenderOptions(channels=("depth", "semantic"))
    real, mesh = render(truth, camera, true_pose, plain), render(given, camera, true_pose, plain)
    with np.errstate(invalid="ignore"):  # sky minus sky
        same_wall = np.abs(real.depth - mesh.depth) < 0.15 + 0.01 * real.depth
    usable = (real.semantic == BUILDING) & (mesh.semantic == BUILDING) & (real.depth < MAX_DISTANCE_M) & same_wall
    rows, columns = np.nonzero(usable)
    if len(rows) < 50 * options.pairs:
        raise InputError(f"only {len(rows)} pixels of the view show buildings", where=image, mend="Choose another view")
    pixels = _spread_points(np.stack([columns + 0.5, rows + 0.5], axis=1), options.pairs, rng)
    clicked = pixels + rng.normal(0.0, 0.7 * options.sigma_px, pixels.shape)
    origins, directions = (np.asarray(a) for a in world_rays(camera, true_pose, clicked))
    hits = given.cast(origins, directions)
    world = origins + directions * np.where(hits.hit, hits.distance, MAX_DISTANCE_M)[:, None]
    noisy = np.clip(pixels + rng.normal(0.0, options.sigma_px, pixels.shape), 0, [camera.width, camera.height])
    if options.wrong_pairs:
        wrong = rng.choice(len(noisy), options.wrong_pairs, replace=False)
        noisy[wrong] += rng.choice([-1, 1], (len(wrong), 2)) * rng.uniform(40, 90, (len(wrong), 2))
        noisy = np.clip(noisy, 0, [camera.width, camera.height])
    return Picks(noisy, world, image=image, width=camera.width, height=camera.height,
                 K=np.asarray(camera.K), fov_deg=float(np.degrees(float(camera.fov[0]))), prior=stated_pose,
                 render_pixels=clicked, depth=np.linalg.norm(world - origins, axis=1), annotator="simulated")


def _spread_points(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of the points, each far from the others: farthest of a few random candidates at a time."""
    chosen = [points[rng.integers(len(points))]]
    while len(chosen) < count:
        candidates = points[rng.integers(len(points), size=12)]
        distance = np.linalg.norm(candidates[:, None] - np.array(chosen)[None], axis=2).min(axis=1)
        chosen.append(candidates[distance.argmax()])
    return np.array(chosen)
