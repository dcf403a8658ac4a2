"""Do the cameras fit their pictures? A check of poses before hours are spent on them, and what to do where they do not.

Files of one name are written in several conventions (camera to world or back, OpenGL or OpenCV axes), and a wrong one
gives no error, only a picture that looks like a bad result. The best witness are the pictures: features found in two of
them must lie on epipolar lines, in front of both cameras. Where pictures tell nothing, sparse points must lie inside
the pictures; without points the cameras alone are left: do they look at one place?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rsnb.data.multiview.conventions import CONVENTIONS, describe, file_matrices, poses_of
from rsnb.data.multiview.feature_matches import LEAST, agreement, match_views
from rsnb.data.multiview.pose_geometry import (
    baseline_share,
    looking_together,
    points_seen,
    principal_point_scale,
    rotation_fault,
    turned_intrinsics,
    upright_share,
)
from rsnb.data.multiview.views import PosedViews

GOOD, BETTER = 0.6, 0.25  # share of features that right poses agree with; by how much another reading must be better
_LOW_POINTS = 0.05  # a view that shows less of the sparse points is odd
_BLIND = 5e-4  # of the sparse points: a right pose of a scene of some thousand pictures still shows more
_USUAL = CONVENTIONS[:4]


@dataclass(frozen=True)
class PoseFinding:
    """One thing looked at: its name, whether it is as it should be (None: cannot be told), and a sentence."""

    name: str
    ok: bool | None
    text: str


@dataclass(frozen=True, eq=False)
class PoseReport:
    """What `check_poses` found.

    Attributes:
        name: of the scene.
        convention: what the files' matrices were taken for.
        evidence: "pictures" (features matched), "points" (sparse points), "cameras" (nothing else was there).
        scores: {convention: share 0..1 of that evidence which agrees with it}, of all that were tried.
        suggestion: another convention that fits where this one does not, or None. From "cameras" it is a guess.
        certain: whether the suggestion may be followed unseen: pictures say so, or as read most pictures show none of
            the sparse points. More points in a picture alone prove nothing: from further away one sees more of them.
        findings: all that was looked at.
        points: [P, 3] float64 world points triangulated from matched features with the poses as read (empty where the
            pictures told nothing): a depth range for scenes that state none.
    """

    name: str
    convention: str
    evidence: str
    scores: Mapping[str, float]
    suggestion: str | None
    certain: bool
    findings: tuple[PoseFinding, ...]
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    @property
    def ok(self) -> bool:
        """Nothing speaks against the poses."""
        return all(finding.ok is not False for finding in self.findings)

    def text(self) -> str:
        """A few lines for people."""
        marks = {True: "ok", False: "BAD", None: "?"}
        lines = [f"{self.name}: poses read as {self.convention} ({describe(self.convention)})"]
        lines += [f"  {marks[f.ok]:>3} {f.name}: {f.text}" for f in self.findings]
        if self.suggestion is not None:
            perhaps = "" if self.certain else "perhaps "
            lines.append(f"  {perhaps}read it with convention={self.suggestion!r} ({describe(self.suggestion)})")
        return "\n".join(lines)


def check_poses(views: PosedViews, pairs: int = 8) -> PoseReport:
    """Look at the cameras of a scene; about a second for eight pairs of pictures.

    Args:
        views: as a reader gives them.
        pairs: of pictures that are matched; 0 leaves the pictures alone.

    Returns:
        A report; nothing is raised for bad poses. Pictures that cannot be read are passed over here.
    """
    matches = match_views(views, pairs) if pairs else []
    files = file_matrices(views.world_to_cam, views.convention)
    # points and cameras alone tell only the usual ones apart; what is no rotation cannot be read in another way
    choice = (CONVENTIONS if matches else _USUAL) if rotation_fault(views) is None else ()
    tried = tuple(dict.fromkeys((views.convention, *choice)))
    world = [points[good] for good, points in (agreement(pair, views.world_to_cam) for pair in matches)]
    points = np.concatenate(world) if world else np.zeros((0, 3))
    points = points[np.isfinite(points).all(axis=1)]
    known = points if len(points) >= LEAST else views.points
    findings = [_rotations(views), _baseline(views, known), _principal_points(views), _upright(views)]
    if matches:
        evidence, enough = "pictures", GOOD
        shares = {name: _pair_shares(matches, poses_of(files, name)) for name in tried}
        scores = {name: float(np.mean(share)) for name, share in shares.items()}
    elif views.points is not None and len(views.points) >= 20:
        evidence, enough = "points", 0.02  # large scenes show few of them in each picture
        seen = {name: points_seen(views, poses_of(files, name), views.points) for name in tried}
        scores = {name: float(share.mean()) for name, share in seen.items()}
    else:
        evidence, enough = "cameras", 0.5
        scores = {name: looking_together(views, poses_of(files, name)) for name in tried}
    suggestion = _better(scores, views.convention, enough)
    certain = suggestion is not None and (evidence == "pictures" or (
        evidence == "points" and bool(np.median(seen[views.convention]) < _BLIND)))
    findings.append(_verdict(evidence, scores, views.convention, enough, suggestion, len(matches)))
    if matches:
        findings += _odd_views(views, matches, shares[views.convention])
    findings += _points(views)
    findings += _stated_depths(views, known)
    return PoseReport(views.name, views.convention, evidence, scores, suggestion, certain,
                      tuple(f for f in findings if f is not None), points)


def _pair_shares(matches, poses: np.ndarray) -> np.ndarray:
    return np.array([agreement(pair, poses)[0].mean() for pair in matches])


def _better(scores: Mapping[str, float], own: str, enough: float) -> str | None:
    """The reading that fits where the own one does not; of those that fit alike the more usual one."""
    most = max(scores.values())
    best = next(name for name in scores if scores[name] >= most - 0.03)
    # much better by difference, or by ratio where all shares are small
    better = scores[best] >= max(enough, min(scores[own] + BETTER, 3 * scores[own] + 0.02))
    return best if best != own and better else None


def _verdict(evidence: str, scores, own: str, enough: float, suggestion: str | None, pairs: int) -> PoseFinding:
    share = scores[own]
    what = {"pictures": f"{share:.0%} of the features matched in {pairs} pairs of pictures agree with the poses",
            "points": f"a picture shows {share:.0%} of the sparse points on average (no features could be matched)",
            "cameras": f"{share:.0%} of the views look at what the others look at (no features could be matched and "
                       "there are no sparse points: the cameras alone were looked at)"}[evidence]
    if suggestion is not None:
        return PoseFinding("convention", False, f"{what}, {scores[suggestion]:.0%} if read as {suggestion}")
    if share >= enough:
        return PoseFinding("convention", True, what)
    if evidence == "cameras":
        return PoseFinding("convention", None, f"{what}; no other reading fits better")
    return PoseFinding("convention", False, f"{what}, and no other reading fits: poses, intrinsics and pictures may "
                                            "not belong together")


def _odd_views(views: PosedViews, matches, shares: np.ndarray) -> list[PoseFinding]:
    """Views all of whose pairs disagree although most pairs agree."""
    if np.median(shares) < GOOD:
        return []
    best: dict[int, float] = {}
    for pair, share in zip(matches, shares, strict=True):
        for i in (pair.i, pair.j):
            best[i] = max(best.get(i, 0.0), float(share))
    odd = [views.names[i] for i, share in best.items() if share < 0.3]
    return [PoseFinding("single views", False, f"the pictures of {', '.join(odd[:4])} disagree with their poses; leave "
                                               "them out")] if odd else []


def _rotations(views: PosedViews) -> PoseFinding:
    fault = rotation_fault(views)
    return PoseFinding("rotations", fault is None, fault or "all are proper and orthonormal")


def _baseline(views: PosedViews, points) -> PoseFinding | None:
    if len(views) < 2:
        return PoseFinding("baseline", False, "there is one view only; depth needs two that see the same place")
    share = baseline_share(views, points)
    if share is None:
        return None
    if share < 1e-3:
        return PoseFinding("baseline", False, f"the cameras stand at one place (baseline {share:.1e} of the depth): "
                                              "nothing can be told about depth")
    return PoseFinding("baseline", None if share > 3 else True,
                       f"median distance of neighbouring cameras is {share:.2g} of the distance they look at")


def _principal_points(views: PosedViews) -> PoseFinding | None:
    scale = principal_point_scale(views)
    if scale is None:
        return None
    if turned_intrinsics(views):
        return PoseFinding("intrinsics", False, "the principal points would be in the middle of pictures turned by 90 "
                                                "degrees: turn the picture files, or K")
    if 0.7 < scale < 1.4:
        return PoseFinding("intrinsics", True, "principal points lie near the middle of the pictures")
    return PoseFinding("intrinsics", False, f"the principal points would be in the middle of pictures {scale:.2g} "
                                            "times as large: K belongs to another size of these pictures")


def _upright(views: PosedViews) -> PoseFinding | None:
    share = upright_share(views)
    if share is None:
        return None
    return PoseFinding("up", share >= 0.5, f"{share:.0%} of the cameras look down or stand upright, with the world's z "
                                           "pointing up")


def _points(views: PosedViews) -> list[PoseFinding]:
    if views.points is None or not len(views.points):
        return []
    seen = points_seen(views, views.world_to_cam, views.points)
    blind = [name for name, share in zip(views.names, seen, strict=True) if share < _LOW_POINTS]
    text = f"{np.median(seen):.0%} of the {len(views.points)} sparse points lie in a picture (median)"
    some = f"; {len(blind)} views see almost none, such as {blind[0]}" if blind else ""
    return [PoseFinding("sparse points", len(blind) <= len(views) / 5, text + some)]


def _stated_depths(views: PosedViews, points: np.ndarray | None) -> list[PoseFinding]:
    """Stated near and far against where points really lie."""
    if views.near_far is None or points is None or not len(points) or not np.isfinite(views.near_far).any():
        return []
    inside, total = 0, 0
    for i, name in enumerate(views.names):
        pixels = views.project(name, points)
        depth = (points @ views.world_to_cam[i, 2, :3] + views.world_to_cam[i, 2, 3])[
            ((pixels > 0) & (pixels < views.sizes[i])).all(axis=1)]
        near, far = views.near_far[i]
        if np.isfinite([near, far]).all():
            inside, total = inside + ((depth > 0.9 * near) & (depth < 1.1 * far)).sum(), total + len(depth)
    if total < 20:
        return []
    share = inside / total
    return [PoseFinding("depth range", bool(share > 0.8), f"{share:.0%} of the points lie within the stated near and "
                        "far" + ("" if share > 0.8 else "; if the files say depth_min and depth_interval, read them "
                                 "with format='mvsnet'"))]
