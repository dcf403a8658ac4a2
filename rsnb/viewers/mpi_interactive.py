"""The planes of a multiplane image in space: to turn around in plotly, and as a picture of the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D

from rsnb.viewers.planes import (
    as_array,
    block_edges,
    checked_planes,
    on_table,
    plane_alpha,
    plane_corners,
    shown_weights,
    shrink,
)
from rsnb.viewers.style import MUTED, PALETTE, subplots
from rsnb.viewers.twins import display_with_twin, figure_pixels


@dataclass(frozen=True)
class PlanesLook:
    """How planes are laid out in space.

    Attributes:
        stretch: of the depths about the first plane, to pull the sheets apart; 1 is the true shape.
        side: texels along the longer side of a sheet in plotly, at most.
        max_texels: of all sheets in plotly: the grid gets coarser until so few are opaque.
        least_alpha: a texel less opaque than this is not drawn in plotly, where nothing is blended.
        least_shown: a texel whose share in the reference view is less is not drawn; 0 draws hidden ones as well.
        inset: (top, left, height, width): only this part of the sheets; the frame's `inset` leaves out its padding.
        unit: of the depths.
    """

    stretch: float = 1.0
    side: int = 96
    max_texels: int = 5000
    least_alpha: float = 0.3
    least_shown: float = 0.05
    inset: tuple[int, int, int, int] | None = None
    unit: str = "m"


def show_planes(mpi, depths, K, gaps=None, look: PlanesLook | None = None, twin: np.ndarray | None = None) -> None:
    """The planes to turn around: a decimated plotly view, with a picture of them all as its static twin.

    Both travel in one output: a front end that can draw plotly does, everything else shows the picture.

    Args:
        mpi: [P, 4, H, W], colour in 0..1 and sigma per unit length.
        depths: [P], unit of the poses, the nearest first.
        K: [3, 3] of the frame that the planes fill, pixels.
        gaps: [P] thickness of the slabs; None: to the next plane.
        look: layout and limits.
        twin: [3, H, W] another picture; None draws `planes_picture`.
    """
    figure = planes_figure(mpi, depths, K, gaps, look)
    if twin is None:
        twin = figure_pixels(planes_picture(mpi, depths, K, gaps, look, width=7.0))
    display_with_twin({"application/vnd.plotly.v1+json": figure.to_plotly_json()}, twin,
                      f"{len(as_array(depths))} planes")


def planes_figure(mpi, depths, K, gaps=None, look: PlanesLook | None = None):
    """plotly figure: a mesh of coloured squares for each plane, and a slider that takes planes off from the front.

    Drawn as sheets on a table with the reference camera above: x right, y up in its picture, z towards it.
    """
    import plotly.graph_objects as go

    look = look or PlanesLook()
    mpi, depths, K, alpha = cut_out(mpi, depths, K, gaps, look)
    colour, keep = decimated(mpi, alpha, look)
    shown = stretched(depths, look)
    rays = plane_corners(K, mpi.shape[2:], np.ones(1))[0]
    meshes = []
    for plane in range(len(depths)):
        vertices, faces = sheet(keep[plane], mpi.shape[2:], rays, depths[plane], shown[plane])
        rgb = (np.clip(np.moveaxis(colour[plane], 0, -1)[keep[plane]], 0, 1) * 255 + 0.5).astype(int).repeat(2, axis=0)
        meshes.append(go.Mesh3d(
            **dict(zip("xyz", vertices.astype(np.float32).T, strict=True)),
            **dict(zip("ijk", faces.astype(np.uint16 if len(vertices) < 65536 else np.uint32).T, strict=True)),
            facecolor=[f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb], hoverinfo="skip", flatshading=True,
            lighting={"ambient": 1.0, "diffuse": 0.0, "specular": 0.0, "fresnel": 0.0}))
    figure = go.Figure([*meshes, _outline(go, K, mpi.shape[2:], depths, shown, look)])
    steps = [{"method": "restyle", "label": f"{depth:.4g}", "args": [{"visible": [False] * i + [True] * (
        len(depths) + 1 - i)}]} for i, depth in enumerate(depths)]
    figure.update_layout(
        height=560, margin=dict(l=0, r=0, t=0, b=0), showlegend=False, scene=dict(aspectmode="data", bgcolor="white"),
        sliders=[dict(steps=steps, active=0, pad=dict(l=20, r=20, b=10), ticklen=0, minorticklen=0,
                      font=dict(color="rgba(0,0,0,0)"),  # the labels of 32 steps would lie over each other
                      currentvalue=dict(prefix="planes from ", suffix=f" {look.unit}", font=dict(color=MUTED)))])
    figure.update_scenes(xaxis_visible=False, yaxis_visible=False, zaxis_visible=False,
                         camera_eye=dict(x=0.85, y=-1.35, z=1.15), camera_center=dict(x=0, y=0, z=-0.1))
    return figure


def cut_out(mpi, depths, K, gaps, look: PlanesLook):
    """(mpi, depths, K, alpha [P, H, W]) of the part that is drawn."""
    mpi, depths = checked_planes(mpi, depths)
    top, left, height, width = look.inset or (0, 0, *mpi.shape[2:])
    mpi = np.nan_to_num(mpi[..., top : top + height, left : left + width])
    K = as_array(K) - np.array([[0, 0, left], [0, 0, top], [0, 0, 0]])
    return mpi, depths, K, np.clip(plane_alpha(mpi, depths, gaps), 0, 1)


def decimated(mpi: np.ndarray, alpha: np.ndarray, look: PlanesLook) -> tuple[np.ndarray, np.ndarray]:
    """Colours [P, 3, h, w], averaged by alpha, and which texels [P, h, w] are drawn."""
    height, width = alpha.shape[1:]
    weights, side = shown_weights(alpha), look.side
    while True:
        size = tuple(max(1, round(length * min(1.0, side / max(height, width)))) for length in (height, width))
        opacity = shrink(alpha, size)
        keep = (opacity >= look.least_alpha) & (shrink(weights, size) >= look.least_shown)
        if keep.sum() <= look.max_texels or side <= 4:
            break
        side = int(side * 0.9)
    colour = shrink(mpi[:, :3] * alpha[:, None], size) / np.maximum(opacity, 1e-6)[:, None]
    return colour, keep


def sheet(keep: np.ndarray, size: tuple[int, int], rays: np.ndarray, depth: float, shown_depth: float):
    """Vertices [V, 3] on the table and faces [2 N, 3] of the N kept texels [h, w] of one plane, two faces a texel."""
    rows, columns = np.nonzero(keep)
    across = keep.shape[1] + 1
    top_left = rows * across + columns
    corners = np.stack([top_left, top_left + 1, top_left + across + 1, top_left + across], axis=1)
    used, corners = np.unique(corners, return_inverse=True)
    corners = corners.reshape(-1, 4)
    down = block_edges(size[0], keep.shape[0])[used // across] / size[0]
    right = block_edges(size[1], keep.shape[1])[used % across] / size[1]
    points = rays[0] + right[:, None] * (rays[1] - rays[0]) + down[:, None] * (rays[3] - rays[0])
    points = on_table(np.concatenate([points[:, :2] * depth, np.full((len(points), 1), shown_depth)], axis=1))
    return points, corners[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)


def stretched(depths: np.ndarray, look: PlanesLook) -> np.ndarray:
    """[P] depths as drawn, measured from the first plane."""
    return look.stretch * (depths - depths[0])


def _outline(go, K, size, depths, shown, look: PlanesLook):
    """Edges of the slab between the first and the last sheet, with their depths."""
    corners = outline(K, size, depths, shown)
    gap = np.full((1, 3), np.nan)
    path = np.concatenate([corners[0][[0, 1, 2, 3, 0]], corners[1][[0, 1, 2, 3, 0]],
                           *(part for k in (1, 2, 3) for part in (gap, corners[:, k]))])
    words = [""] * len(path)
    words[2], words[7] = (f"{depth:.4g} {look.unit}" for depth in (depths[0], depths[-1]))
    return go.Scatter3d(**dict(zip("xyz", path.astype(np.float32).T, strict=True)), mode="lines+text", text=words,
                        hoverinfo="skip", line={"color": PALETTE["accent"], "width": 3}, textposition="middle right")


def outline(K, size, depths, shown) -> np.ndarray:
    """[2, 4, 3] corners of the first and the last sheet as drawn."""
    corners = plane_corners(K, size, np.asarray(depths)[[0, -1]])
    corners[:, :, 2] = np.asarray(shown)[[0, -1], None]
    return on_table(corners)


def planes_picture(mpi, depths, K, gaps=None, look: PlanesLook | None = None, turn_deg: float = -28.0,
                   tilt_deg: float = 38.0, width: float = 7.0) -> Figure:
    """All sheets at full resolution and with their true opacity, seen obliquely and from far away.

    Args:
        mpi, depths, K, gaps, look: as for `show_planes`.
        turn_deg: about the reference camera's axis.
        tilt_deg: 90 looks along it, 0 sees the sheets from the edge.
        width: inches.
    """
    look = look or PlanesLook()
    mpi, depths, K, alpha = cut_out(mpi, depths, K, gaps, look)
    alpha = np.where(shown_weights(alpha) >= look.least_shown, alpha, 0.0)
    screen = oblique(np.radians(turn_deg), np.radians(tilt_deg))
    shown = stretched(depths, look)
    corners = plane_corners(K, mpi.shape[2:], depths)
    corners[:, :, 2] = shown[:, None]
    flat = on_table(corners) @ screen.T  # [P, 4, 2]
    low, high = flat.reshape(-1, 2).min(axis=0), flat.reshape(-1, 2).max(axis=0)
    margin = 0.02 * (high - low).max()
    low, high = low - margin, high + (margin + 0.16 * (high - low)[0], margin)  # room for the depths on the right
    fig, axes = subplots(1, 1, width, width * (high - low)[1] / (high - low)[0])
    ax = axes[0, 0]
    for plane in reversed(range(len(depths))):
        picture = np.concatenate([np.clip(mpi[plane, :3], 0, 1), alpha[plane : plane + 1]])
        origin, right, down = flat[plane, 0], flat[plane, 1] - flat[plane, 0], flat[plane, 3] - flat[plane, 0]
        place = Affine2D(np.array([[right[0], down[0], origin[0]], [right[1], down[1], origin[1]], [0, 0, 1]]))
        ax.imshow(np.moveaxis(picture, 0, -1), extent=(0, 1, 1, 0), transform=place + ax.transData, zorder=1,
                  interpolation="antialiased")
    for edges, depth in ((flat[0], depths[0]), (flat[-1], depths[-1])):
        ax.plot(*edges[[0, 1, 2, 3, 0]].T, color=PALETTE["accent"], lw=1.0, zorder=2)
        ax.annotate(f"{depth:.4g} {look.unit}", edges[np.argmax(edges[:, 0])], xytext=(4, 0),
                    textcoords="offset points", va="center")
    ax.plot(*np.stack([flat[0], flat[-1]]).transpose(2, 0, 1), color=PALETTE["accent"], lw=0.6, alpha=0.6, zorder=2)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    ax.set_axis_off()
    return fig


def oblique(turn: float, tilt: float) -> np.ndarray:
    """[2, 3] from the table (right, up in the picture, towards the camera) to the screen (right, up); radians."""
    right = np.array([np.cos(turn), -np.sin(turn), 0.0])
    ahead = np.array([np.sin(turn), np.cos(turn), 0.0])
    return np.stack([right, np.sin(tilt) * ahead + np.cos(tilt) * np.array([0.0, 0.0, 1.0])])
