"""How to go about a scene that nobody knows: reference, views to learn from, depth range, exposure, with reasons.

Nothing here looks at a test picture. The poses of views that are asked for are known, and may choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre
from rsnb.mpi.choose import choose_centre, choose_neighbours, matching_score, shared_view
from rsnb.mpi.depth_search import known_range, scene_range, widest_range
from rsnb.mpi.explicit import ExplicitOptions
from rsnb.mpi.matching import EXPOSURE_PAYS, exposure_gain
from rsnb.mpi.pictures import smaller
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.views import check_range, check_views, choose_reference, padded_frame, view_rows, view_set
from rsnb.scenes import PosedImages

REACH_ANGLE = 12.0  # degrees: seen from farther aside, planes show their gaps


@dataclass(frozen=True, eq=False)
class Setup:
    """What was chosen for a scene.

    Attributes:
        reference: whose camera the planes are parallel to.
        learn_from: train views to learn from, without the reference, the best first.
        near_far: z depth of the first and last plane in the reference camera.
        exposure: whether the pictures' exposure should be matched.
        recipe: "single" where one multiplane image reaches all targets, else "local" (`optimise_local`).
        notes: reasons, one sentence each.
        train, targets: names that it was made for: all train views, and the views that are wanted.
        points: [P, 3] sparse points in the world, or None.
        range_given: `near_far` was stated and not found: it holds for local images as well.
    """

    reference: str
    learn_from: tuple[str, ...]
    near_far: tuple[float, float]
    exposure: bool
    recipe: str
    notes: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    points: np.ndarray | None = None
    range_given: bool = False

    def options(self, base: ExplicitOptions | None = None) -> ExplicitOptions:
        """Options of the explicit stage with this range and exposure; the rest as in `base`."""
        return replace(base or ExplicitOptions(), near_far=self.near_far, exposure=self.exposure)


def range_and_neighbours(views: PosedImages, name: str, train: Sequence[str], count: int, points=None,
                         near_far: tuple[float, float] | None = None):
    """((near, far), where from), and the neighbours of a view: each needs the other, so a rough range comes first."""
    others = choose_neighbours(views, name, train, near_far or rough_range(views, name, train, points), count)
    if near_far is not None:
        return (near_far, "given"), others
    return scene_range(views, name, others, points), others


def rough_range(views: PosedImages, name: str, train: Sequence[str], points=None) -> tuple[float, float]:
    """A first idea of the range, good enough to tell which views overlap: what is known, or from where axes meet.

    Axes of cameras around an object meet in it; where they do not meet in front (parallel ones) 2 to 50 median
    baselines are taken. Either is moved nearer or farther to where the view has most in common with the others.
    """
    known = known_range(views, name, points)
    if known is not None:
        return known[0]
    others = tuple(other for other in train if other != name)
    least, most = widest_range(views, name, others)
    pose, poses = views.world_to_cam[view_rows(views, [name])[0]], views.world_to_cam[view_rows(views, others)]
    meeting = _meeting_depth(pose, poses)
    if meeting is not None and meeting > least:
        return _most_shared(views, name, others, (0.5 * meeting, 2 * meeting))
    baseline = float(np.median(np.linalg.norm(camera_centre(poses) - camera_centre(pose), axis=-1)))
    near = max(least, 2 * baseline)
    return _most_shared(views, name, others, (near, max(min(most, 50 * baseline), 2 * near)))


def _most_shared(views, name, others, near_far) -> tuple[float, float]:
    """The range, or a multiple of it, in which the view has most in common with the others (the first of equals)."""
    def shared(scale: float) -> float:
        scaled = (scale * near_far[0], scale * near_far[1])
        return sum(matching_score(*shared_view(views, name, other, scaled)) for other in others)

    scale = max((1.0, 2.0, 4.0, 8.0, 0.5, 0.25), key=shared)
    return scale * near_far[0], scale * near_far[1]


def _meeting_depth(pose: np.ndarray, others: np.ndarray) -> float | None:
    """Median z depth, in the first camera, at which its axis passes the others' axes; None where they are parallel."""
    axis, centre = pose[2, :3], camera_centre(pose)
    depths = []
    for other in others:
        cosine = float(axis @ other[2, :3])
        if not 0.1 < cosine < 0.9995:
            continue
        apart = camera_centre(other) - centre
        depths.append(float(apart @ (axis - cosine * other[2, :3])) / (1 - cosine**2))
    depths = [depth for depth in depths if depth > 0]
    return float(np.median(depths)) if len(depths) >= max(1, len(others) // 4) else None


def prepare(views: PosedImages, train: Sequence[str], targets: Sequence[str] = (), points=None,
            reference: str | None = None, near_far: tuple[float, float] | None = None) -> Setup:
    """Choose reference, views to learn from, depth range, exposure and recipe for a scene.

    Args:
        views: all pictures; only those of `train` (and the reference) are looked at.
        train: names of the views to learn from.
        targets: names of the views that are wanted; only their poses and intrinsics are read. () = near
            the train views.
        points: [P, 3] sparse points in the world, or None.
        reference: where a data set names it; None chooses the train view nearest to all targets, or the middle one.
        near_far: z depth of the first and last plane, if it is not to be found.

    Raises:
        InputError: bad poses, split or range, or views that share nothing.
    """
    train = tuple(train)
    if not train:
        raise InputError("there is no train view", where="split", mend="Name at least two")
    if near_far is not None:
        check_range(*near_far)
    check_views(views, reference or train[0], train, targets)
    notes = []
    reference, found, source = _reference_and_range(views, train, targets, points, reference, near_far, notes)
    candidates = tuple(name for name in train if name != reference)
    wanted = tuple(targets) or candidates
    notes.append(f"planes from {found[0]:.3g} to {found[1]:.3g}: {source}")
    learn = _learn_from(views, reference, candidates, found)
    notes.append(f"{len(learn)} of {len(candidates)} views share enough of the reference's space to learn from")
    far_off = _out_of_reach(views, reference, wanted, found)
    notes.append(f"{len(far_off)} of {len(wanted)} wanted views see the planes at more than {REACH_ANGLE:g} degrees or "
                 f"past their edge ({', '.join(far_off[:3])}): local multiplane images"
                 if far_off else "one multiplane image reaches all wanted views")
    gain = measured_exposure(views, reference, learn, found)
    notes.append(f"matching the pictures' exposure makes them agree {gain:.0%} better: "
                 + ("it is matched" if gain > EXPOSURE_PAYS else "left as it is"))
    return Setup(reference, learn, found, gain > EXPOSURE_PAYS, "local" if far_off else "single", tuple(notes), train,
                 tuple(targets), points, near_far is not None)


def _reference_and_range(views, train, targets, points, reference, near_far, notes):
    """The reference that is named, or the best one that has neighbours, and its depth range."""
    pool = [reference] if reference is not None else list(train)
    while True:
        if reference not in pool:
            reference = choose_centre(views, pool, targets) if targets else choose_reference(views, pool)
            notes.append(f"reference {reference}: the train view nearest to all wanted ones" if targets else
                         f"reference {reference}: the train view in the middle")
        others = tuple(name for name in train if name != reference)
        try:
            return reference, *range_and_neighbours(views, reference, others, 3, points, near_far)[0]
        except InputError as error:
            pool.remove(reference)
            if not pool:
                raise
            notes.append(f"reference {reference} was left: {error.what}")


def _learn_from(views, reference, candidates, near_far) -> tuple[str, ...]:
    scored = [(matching_score(*shared_view(views, reference, name, near_far)), name) for name in candidates]
    good = [name for score, name in sorted(scored, key=lambda pair: -pair[0]) if score > 0]
    return tuple(good) or candidates


def _out_of_reach(views, reference, wanted, near_far) -> list[str]:
    """Wanted views that one multiplane image at the reference will show badly."""
    bad = []
    for name in wanted:
        overlap, angle = shared_view(views, name, reference, _seen_from(views, reference, name, near_far))
        if name != reference and (overlap < 0.5 or angle > REACH_ANGLE):
            bad.append(name)
    return bad


def _seen_from(views, reference, name, near_far) -> tuple[float, float]:
    """The range in another camera: along its axis the camera stands nearer or farther by its shift."""
    i, j = view_rows(views, [reference, name])
    shift = float(views.world_to_cam[i, 2, :3] @ (camera_centre(views.world_to_cam[j])
                                                   - camera_centre(views.world_to_cam[i])))
    near = max(near_far[0] - shift, 0.2 * near_far[0])
    return near, max(near_far[1] - shift, 1.2 * near)


def measured_exposure(views: PosedImages, reference: str, others: Sequence[str], near_far) -> float:
    """`matching.exposure_gain` of small pictures."""
    small = smaller(views, (reference, *others), 128)
    frame = padded_frame(small, reference, (), near_far, 0.0, 1)
    return exposure_gain(view_set(small, (reference, *others), frame), frame, plane_depths(*near_far, 24))
