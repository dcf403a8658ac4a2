"""Where the cameras of a scene stand, and between which planes the reference camera sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from rsnb.geometry.poses import compose, invert
from rsnb.viewers.planes import as_array, plane_corners
from rsnb.viewers.scores import SPLIT_COLOURS
from rsnb.viewers.style import INK, MUTED, PALETTE, subplots

MOST_POINTS = 4000
UNUSED = PALETTE["baseline"]


def camera_map(
    world_to_cam: np.ndarray,
    K: np.ndarray,
    names: Sequence[str],
    splits: Mapping[str, str],
    near_far: tuple[float, float],
    points: np.ndarray | None = None,
    unit: str = "m",
    width: float = 11.0,
) -> Figure:
    """All cameras along and across the reference camera's axis, with its frustum between the first and last plane.

    Everything is drawn in the frame of the reference camera: its picture's right and up on the left, its right and its
    depth (downwards, as from an aircraft) on the right.

    Args:
        world_to_cam: [N, 4, 4].
        K: [N, 3, 3] or [3, 3], pixels; half a picture's width is taken to be the principal point's distance.
        names: [N].
        splits: {name: "reference", "train", "test" or another word}; views without an entry are unused. One is the
            reference; the first view is if none says so.
        near_far: z depths of the first and last plane in the reference camera.
        points: [M, 3] of the scene, world, or None; some thousand at most are drawn, none far off.
        unit: of the poses.
        width: inches.
    """
    poses, names = as_array(world_to_cam).astype(float), list(names)
    kind = [splits.get(name, "unused") for name in names]
    reference = kind.index("reference") if "reference" in kind else 0
    Ks = np.broadcast_to(as_array(K).astype(float), (len(poses), 3, 3))
    to_reference = compose(poses[reference], invert(poses))  # [N], from each camera's frame to the reference's
    corners = plane_corners(Ks[reference], picture_size(Ks[reference]), np.asarray(near_far, float))
    dots = None
    if points is not None:
        shown = as_array(points).astype(float)
        shown = shown[:: max(1, len(shown) // MOST_POINTS)] @ poses[reference][:3, :3].T + poses[reference][:3, 3]
        dots = nearby(shown, np.concatenate([corners.reshape(-1, 3), to_reference[:, :3, 3]]))
    fig, axes = subplots(1, 2, width, 0.46 * width)
    for ax, (across, down) in zip(axes[0], ((0, 1), (0, 2)), strict=True):
        if dots is not None:
            ax.plot(dots[:, across], dots[:, down], ".", ms=1.5, color=MUTED, alpha=0.5, zorder=1)
        _draw_frustum(ax, corners, across, down, unit)
        _draw_cameras(ax, to_reference, kind, across, down)
        ax.set_aspect("equal", adjustable="datalim")
        ax.invert_yaxis()
        ax.set(xlabel=f"right, {unit}")
    axes[0, 0].set(ylabel=f"down in the picture, {unit}", title="along the reference axis")
    axes[0, 1].set(ylabel=f"depth, {unit}", title="across the reference axis")
    fig.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    return fig


def nearby(points: np.ndarray, others: np.ndarray, reach: float = 0.25) -> np.ndarray:
    """Those of the points [M, 3] that lie in the box of others [N, 3], made larger by a share of its sides.

    A reconstruction holds a few points at the horizon and beyond; a map of them shows nothing else.
    """
    low, high = others.min(axis=0), others.max(axis=0)
    margin = reach * (high - low)
    return points[((points >= low - margin) & (points <= high + margin)).all(axis=1)]


def _draw_frustum(ax, corners, across: int, down: int, unit: str) -> None:
    near, far = np.concatenate([corners, corners[:, :1]], axis=1)
    for sheet in (near, far):
        ax.plot(sheet[:, across], sheet[:, down], color=SPLIT_COLOURS["reference"], lw=1.4, zorder=2)
    for corner in corners[1]:
        ax.plot([0, corner[across]], [0, corner[down]], color=SPLIT_COLOURS["reference"], lw=0.8, alpha=0.6, zorder=2)
    if down == 2:
        for sheet, name, edge in ((near, "first", "bottom"), (far, "last", "top")):
            ax.annotate(f"{name} plane, {sheet[0, 2]:.4g} {unit}", (sheet[:, 0].max(), sheet[0, 2]), va=edge,
                        xytext=(6, 0), textcoords="offset points", fontsize=9)


def picture_size(K: np.ndarray) -> tuple[float, float]:
    """(height, width) of a picture whose principal point is its middle."""
    return 2 * float(K[1, 2]), 2 * float(K[0, 2])


def _draw_cameras(ax, to_reference, kind, across: int, down: int) -> None:
    """Each camera a dot with a stroke the way it looks; a label a split."""
    centres = to_reference[:, :3, 3]
    spread = np.ptp(centres, axis=0).max() if len(centres) > 1 else 0.0
    ahead = to_reference[:, :3, 2] * 0.2 * spread
    order = ["unused", *sorted(set(kind) - {"unused", *SPLIT_COLOURS}), "train", "test", "reference"]
    for split in (split for split in order if split in kind):
        rows = np.flatnonzero(np.array(kind) == split)
        colour = SPLIT_COLOURS.get(split, UNUSED if split == "unused" else INK)
        starts, ends = centres[rows], centres[rows] + ahead[rows]
        ax.plot([starts[:, across], ends[:, across]], [starts[:, down], ends[:, down]], color=colour, lw=1.2, zorder=3)
        ax.plot(starts[:, across], starts[:, down], "*" if split == "reference" else "o", mec="white", mew=0.6,
                ms=13 if split == "reference" else 7, color=colour, ls="none", zorder=4 + (split == "reference"),
                label=f"{split}, {len(rows)}" if len(rows) > 1 else split)
