"""A density volume to turn around, skies to slide through, a way to go along: each with its static twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from rsnb.errors import InputError
from rsnb.geometry.isosurface import density_surface, share_of_level, tile_colours
from rsnb.viewers.colours import depth_colours
from rsnb.viewers.planes import as_array, block_edges, shrink
from rsnb.viewers.slider import view_slider
from rsnb.viewers.style import MUTED, PALETTE, subplots
from rsnb.viewers.twins import display_with_twin, figure_pixels
from rsnb.viewers.volume_view import box_corners, oblique_view, on_screen

MOST_GROUND = 40  # squares of the ground along a side, in plotly


@dataclass(frozen=True)
class VolumeLook:
    """How a volume is shown.

    Attributes:
        level: density of the surface in plotly, 1 / m; None: the one that lets half of the light through a voxel.
        max_faces: triangles of the surface in plotly: the grid gets coarser until so few are left.
        turn_deg: of the picture about the vertical: 0 looks north, 90 east.
        tilt_deg: of the picture: 90 looks straight down.
    """

    level: float | None = None
    max_faces: int = 5000
    turn_deg: float = -30.0
    tilt_deg: float = 40.0


def show_volume(sigma, tile, extent_m: float, ceiling_m: float, look: VolumeLook | None = None) -> None:
    """The volume to turn around: a decimated surface in plotly, with `volume_picture` as its static twin.

    Both travel in one output: a front end that can draw plotly does, everything else shows the picture.

    Args:
        sigma: [D, S, S] density, 1 / m; slice 0 lowest, row 0 north.
        tile: [3, C, C] in 0..1.
        extent_m, ceiling_m: side of the tile and height of the volume, metres.
        look: level and limits.
    """
    figure = volume_figure(sigma, tile, extent_m, ceiling_m, look)
    twin = figure_pixels(volume_picture(sigma, tile, extent_m, ceiling_m, look))
    depth, side, _ = as_array(sigma).shape
    display_with_twin({"application/vnd.plotly.v1+json": figure.to_plotly_json()}, twin,
                      f"density volume, {depth} x {side} x {side} voxels")


def volume_figure(sigma, tile, extent_m: float, ceiling_m: float, look: VolumeLook | None = None):
    """plotly figure: the surface of the density and the tile under it; arguments as for `show_volume`.

    A volume in which nothing is denser than the level shows the tile alone.
    """
    import plotly.graph_objects as go

    look = look or VolumeLook()
    tile = np.clip(as_array(tile).astype(float), 0, 1)
    traces = [_ground(go, tile, extent_m)]
    vertices, faces = coarse_surface(as_array(sigma), extent_m, ceiling_m, look)
    if len(faces):
        rgb = tile_colours(vertices[faces].mean(axis=1), tile, extent_m) * _shade(vertices, faces)[:, None]
        traces.append(_mesh(go, vertices, faces, rgb))
    corners = box_corners(extent_m, ceiling_m)
    edges = corners[[0, 1, 2, 3, 0, 4, 5, 6, 7, 4]]
    traces.append(go.Scatter3d(**dict(zip("xyz", edges.astype(np.float32).T, strict=True)), mode="lines",
                               hoverinfo="skip", line={"color": PALETTE["accent"], "width": 3}))
    north = np.array([[0, extent_m / 2, 0]])
    traces.append(go.Scatter3d(x=north[:, 0], y=north[:, 1] + 0.05 * extent_m, z=north[:, 2], mode="text", text=["N"],
                               hoverinfo="skip"))
    figure = go.Figure(traces)
    figure.update_layout(height=520, margin=dict(l=0, r=0, t=0, b=0), showlegend=False,
                         scene=dict(aspectmode="data", bgcolor="white"))
    turn = np.radians(look.turn_deg)
    figure.update_scenes(xaxis_visible=False, yaxis_visible=False, zaxis_visible=False,
                         camera_eye=dict(x=-1.6 * np.sin(turn), y=-1.6 * np.cos(turn), z=1.25),
                         camera_center=dict(x=0, y=0, z=-0.15))
    return figure


def coarse_surface(sigma: np.ndarray, extent_m: float, ceiling_m: float, look: VolumeLook):
    """Vertices [V, 3] and faces [F, 3] of the surface on the finest grid that leaves at most `max_faces` of them.

    What is averaged over the voxels of a coarser grid is how much of them is dense, so that thin things fade away
    rather than grow.
    """
    depth, side, _ = sigma.shape
    level = look.level or np.log(2.0) / max(extent_m / side, ceiling_m / depth)
    share = share_of_level(sigma, level)
    size = (depth, side, side)
    while True:
        small = share if size == share.shape else _blocks(share, size)
        if not (small > 0.5).any():
            return np.zeros((0, 3)), np.zeros((0, 3), np.int32)
        dense = -np.log2(np.maximum(1 - small, 1e-9))  # the density, in levels, that has this share
        vertices, faces = density_surface(dense, extent_m, ceiling_m, 1.0)
        if len(faces) <= look.max_faces or max(size) <= 4:
            return vertices, faces
        shrunk = min(0.9, np.sqrt(look.max_faces / len(faces)) * 1.02)
        size = tuple(max(2, int(length * shrunk)) for length in size)


def _blocks(share: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """[D, S, S] averaged over blocks to a smaller grid."""
    flat = shrink(share, size[1:])
    edges = block_edges(len(flat), size[0])
    return np.add.reduceat(flat, edges[:-1], axis=0) / np.diff(edges)[:, None, None]


def _shade(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F] 0.5..1: most light on what looks up, then on what looks west and south."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return 0.5 + 0.5 * np.clip(normal @ [-0.45, -0.25, 1.0], 0, 1)


def _mesh(go, vertices: np.ndarray, faces: np.ndarray, rgb: np.ndarray):
    """A mesh with a colour [F, 3] a face, drawn as it is: plotly's own light leaves level roofs dark."""
    colours = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (np.clip(rgb, 0, 1) * 255 + 0.5).astype(int)]
    return go.Mesh3d(**dict(zip("xyz", np.round(vertices, 2).astype(np.float32).T, strict=True)),
                     **dict(zip("ijk", faces.astype(np.uint16 if len(vertices) < 65536 else np.uint32).T, strict=True)),
                     facecolor=colours, hoverinfo="skip", flatshading=True,
                     lighting={"ambient": 1.0, "diffuse": 0.0, "specular": 0.0, "fresnel": 0.0})


def _ground(go, tile: np.ndarray, extent_m: float):
    """The tile as a mesh of squares at height 0."""
    size = min(MOST_GROUND, tile.shape[-1])
    colours = np.moveaxis(shrink(tile, (size, size)), 0, -1).reshape(-1, 3)
    edge = (block_edges(tile.shape[-1], size) / tile.shape[-1] - 0.5) * extent_m
    x, y = np.meshgrid(edge, -edge)
    first = (np.arange(size)[:, None] * (size + 1) + np.arange(size)).ravel()
    corners = np.stack([first, first + size + 1, first + size + 2, first + 1], axis=1)
    return _mesh(go, np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1),
                 corners[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3), colours.repeat(2, axis=0))


def volume_picture(sigma, tile, extent_m: float, ceiling_m: float, look: VolumeLook | None = None,
                   width: float = 7.0) -> Figure:
    """The volume at full resolution and with its true opacity, seen obliquely and from far away.

    Args:
        sigma, tile, extent_m, ceiling_m, look: as for `show_volume`.
        width: inches.
    """
    look = look or VolumeLook()
    turned = look.turn_deg, look.tilt_deg
    picture, place = oblique_view(sigma, tile, extent_m, ceiling_m, *turned, width=round(80 * width))
    margin = 0.06 * (place[1] - place[0])
    span = np.array([place[0] - margin, place[1] + margin, place[2] - margin, place[3] + margin])
    fig, axes = subplots(1, 1, width, width * (span[3] - span[2]) / (span[1] - span[0]))
    ax = axes[0, 0]
    ax.imshow(np.moveaxis(np.clip(picture, 0, 1), 0, -1), extent=place, interpolation="antialiased")
    corners = on_screen(box_corners(extent_m, ceiling_m), *turned)
    for ring in (corners[[0, 1, 2, 3, 0]], corners[[4, 5, 6, 7, 4]]):
        ax.plot(*ring.T, color=PALETTE["accent"], lw=1.0, alpha=0.8)
    for low, high in zip(corners[:4], corners[4:], strict=True):
        ax.plot(*np.stack([low, high]).T, color=PALETTE["accent"], lw=0.7, alpha=0.6)
    away = np.cos(np.radians(look.turn_deg)) > 0  # the northern side is the far one: nothing is in front of its top
    north = on_screen(np.array([0, 0.54 * extent_m, ceiling_m if away else 0.0]), *turned)
    _label(ax, corners, north, extent_m, ceiling_m)
    ax.set(xlim=span[:2], ylim=span[2:], aspect="equal")
    ax.set_axis_off()
    return fig


def _label(ax, corners: np.ndarray, north: np.ndarray, extent_m: float, ceiling_m: float) -> None:
    """North, the side's length at the lowest edge, the height at the leftmost upright one."""
    options = {"color": MUTED, "fontsize": 9, "textcoords": "offset points"}
    lowest = int(np.argmin(corners[:4, 1]))
    beside = min((lowest + 1) % 4, (lowest - 1) % 4, key=lambda k: corners[k, 1])
    middle = (corners[lowest] + corners[beside]) / 2
    ax.annotate(f"{extent_m:g} m", middle, xytext=(0, -5), ha="center", va="top", **options)
    left = int(np.argmin(corners[:4, 0]))
    ax.annotate(f"{ceiling_m:g} m", (corners[left] + corners[left + 4]) / 2, xytext=(-4, 0), ha="right", va="center",
                rotation=90, **options)
    ax.annotate("N", north, xytext=(0, 0), ha="center", va="center", **options | {"color": PALETTE["accent"]})


def sky_slider(pictures: Sequence[np.ndarray], labels: Sequence[str], shown_width: int = 640,
               max_bytes: int = 300_000) -> None:
    """The same panorama under one sky after the other, to slide through with no kernel; the twin shows a few.

    Args:
        pictures: each [3, H, W] in 0..1, at least two.
        labels: one a picture: the sky's name or the share of the way between two.
        shown_width: pixels on the screen.
        max_bytes: of all pictures as JPEG.

    Raises:
        InputError: fewer than two pictures, another number of labels.
    """
    _slide([as_array(picture) for picture in pictures], labels, "sky_slider", shown_width, max_bytes)


def path_film(panoramas: Sequence[np.ndarray], distances: Sequence[np.ndarray], near_m: float = 2.0,
              far_m: float = 40.0, shown_width: int = 640, max_bytes: int = 400_000) -> None:
    """Panorama above depth along a path, to slide through with no kernel; all depths in one scale.

    Args:
        panoramas: each [3, H, W] in 0..1, at least two.
        distances: each [H, W], metres, inf = nothing.
        near_m, far_m: of the depth colours, near bright.
        shown_width, max_bytes: as for `sky_slider`.

    Raises:
        InputError: fewer than two panoramas, another number of depths.
    """
    if len(panoramas) != len(distances):
        raise InputError(f"{len(panoramas)} panoramas and {len(distances)} depths", where="path_film",
                         mend="Give one depth a panorama")
    frames = [np.concatenate([as_array(rgb), depth_colours(as_array(depth), near_m, far_m)], axis=1)
              for rgb, depth in zip(panoramas, distances, strict=True)]
    labels = [f"{i + 1} of {len(frames)}; depth {near_m:g} m (bright) to {far_m:g} m" for i in range(len(frames))]
    _slide(frames, labels, "path_film", shown_width, max_bytes)


def _slide(pictures, labels, where: str, shown_width: int, max_bytes: int) -> None:
    if len(pictures) != len(labels) or len(pictures) < 2:
        raise InputError(f"{len(pictures)} pictures and {len(labels)} labels", where=where,
                         mend="Give at least two pictures and a label each")
    last = len(pictures) - 1
    view_slider(lambda position: pictures[round(position * last)], n=len(pictures), static_positions=4, labels=labels,
                shown_width=shown_width, max_bytes=max_bytes)
