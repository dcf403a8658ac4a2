"""Figures of notebook 02: render panels, maps with cameras, pose refinement, novel views, the city to turn around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from rsnb.scenes import SemanticClass, TexturedMesh
from rsnb.viewers import colours
from rsnb.viewers.style import INK, MUTED, PALETTE, draw_image, subplots
from rsnb.viewers.twins import display_with_twin

METHOD_COLOURS = {"mesh": PALETTE["baseline"], "recoloured": PALETTE["accent"], "IBR": PALETTE["ours"],
                  "field": PALETTE["ours2"]}


def render_panel(renderings: Sequence, titles: Sequence[str], classes: Sequence[SemanticClass], width=11.0) -> Figure:
    """Colour, depth, classes and normals side by side, one row a rendering, with a class legend under them."""
    aspect = renderings[0].rgb.shape[1] / renderings[0].rgb.shape[2]
    fig, axes = subplots(len(renderings), 4, width, len(renderings) * (width / 4 * aspect + 0.25) + 0.45)
    for row, (out, title) in enumerate(zip(renderings, titles, strict=True)):
        finite = out.depth[np.isfinite(out.depth)]
        span = f"{np.percentile(finite, 1):.0f} to {np.percentile(finite, 99):.0f} m" if len(finite) else "nothing hit"
        draw_image(axes[row, 0], out.rgb, title)
        draw_image(axes[row, 1], colours.depth_colours(out.depth), f"depth, {span}, near bright")
        draw_image(axes[row, 2], colours.label_colours(out.semantic, classes), "class", interpolation="nearest")
        draw_image(axes[row, 3], colours.normal_colours(out.normal), "normal (east, north, up)")
    seen = set(np.unique(np.concatenate([r.semantic.ravel() for r in renderings])).tolist())
    class_legend(fig, [c for c in classes if c.id in seen])
    return fig


def class_legend(fig: Figure, classes: Sequence[SemanticClass]) -> None:
    """A row of colour patches below the figure."""
    patches = [Patch(color=np.asarray(c.rgb) / 255, label=c.name.replace("_", " ")) for c in classes if c.id != 0]
    if patches:
        columns = min(len(patches), 10)
        fig.legend(handles=patches, loc="outside lower center", ncols=columns, fontsize=9, handlelength=1.0)


def nadir_maps(
    rgb: np.ndarray,  # [3, H, W]
    dsm: np.ndarray,  # [H, W], metres
    semantic: np.ndarray,  # [H, W]
    classes: Sequence[SemanticClass],
    cameras_px: np.ndarray,  # [N, 2], column and row of each camera
    headings: np.ndarray,  # [N], radians clockwise from north
    width: float = 11.0,
) -> Figure:
    """Colour, height and class map seen from above, every camera marked with its viewing direction."""
    fig, axes = subplots(1, 3, width, min(width / 3 * rgb.shape[1] / rgb.shape[2] + 0.7, 6.5))
    draw_image(axes[0, 0], rgb, f"colour, {len(cameras_px)} cameras")
    shown = draw_image(axes[0, 1], dsm, "surface height (DSM)", cmap="cividis")
    fig.colorbar(shown, ax=axes[0, 1], label="m", shrink=0.75, pad=0.02)
    draw_image(axes[0, 2], colours.label_colours(semantic, classes), "class", interpolation="nearest")
    ticks = 0.045 * rgb.shape[2] * np.stack([np.sin(headings), -np.cos(headings)], axis=1)
    axes[0, 0].plot(*cameras_px.T, "o", ms=5, color=PALETTE["accent"], mec="black", mew=0.6)
    axes[0, 0].quiver(*cameras_px.T, *ticks.T, angles="xy", scale_units="xy", scale=1, width=0.007,
                      color=PALETTE["accent"])
    class_legend(fig, [c for c in classes if (semantic == c.id).any()])
    return fig


def pose_refinement(
    photo: np.ndarray,  # [3, H, W]
    prior: np.ndarray,  # [3, H, W], the mesh from the prior pose
    refined: np.ndarray,  # [3, H, W], the mesh from the solved pose
    picks_px: np.ndarray,  # [N, 2]
    reprojected_px: np.ndarray,  # [N, 2]
    inliers: np.ndarray,  # [N] bool
    titles: Sequence[str],
    width: float = 11.0,
) -> Figure:
    """The street view with its picks, and half-and-half blends of it with the mesh before and after the refinement."""
    fig, axes = subplots(1, 3, width, width / 3 * photo.shape[1] / photo.shape[2] + 0.3)
    draw_image(axes[0, 0], photo, titles[0])
    for used, colour, label in ((True, PALETTE["good"], "inlier"), (False, PALETTE["warn"], "rejected")):
        chosen = np.asarray(inliers) == used
        if chosen.any():
            axes[0, 0].plot(*picks_px[chosen].T, "o", ms=8, mfc="none", mec=colour, mew=2, label=f"picked, {label}")
    axes[0, 0].plot(*reprojected_px.T, "+", ms=9, mew=2, color=PALETTE["accent"], label="reprojected")
    axes[0, 0].set(xlim=(0, photo.shape[2]), ylim=(photo.shape[1], 0))
    axes[0, 0].legend(loc="lower left", fontsize=8, frameon=True, framealpha=0.85)
    draw_image(axes[0, 1], checkerboard_blend(photo, prior), titles[1])
    draw_image(axes[0, 2], checkerboard_blend(photo, refined), titles[2])
    return fig


def checkerboard_blend(a: np.ndarray, b: np.ndarray, squares: int = 8) -> np.ndarray:
    """Squares of two pictures [3, H, W] in turn: an edge that runs on across them is aligned."""
    rows, columns = np.indices(a.shape[1:])
    size = max(1, min(a.shape[1:]) // squares)
    return np.where((rows // size + columns // size) % 2 == 0, a, b)


def novel_view_rows(
    truth: Sequence[np.ndarray],  # each [3, H, W]
    methods: Mapping[str, Sequence[np.ndarray]],
    psnr_db: Mapping[str, Sequence[float]],
    names: Sequence[str],
    width: float = 11.0,
) -> Figure:
    """One row a target: the left-out street view, then every method with its PSNR."""
    columns, aspect = 1 + len(methods), truth[0].shape[1] / truth[0].shape[2]
    fig, axes = subplots(len(truth), columns, width, len(truth) * (width / columns * aspect + 0.25))
    for row in range(len(truth)):
        draw_image(axes[row, 0], truth[row], names[row])
        for column, (method, views) in enumerate(methods.items(), start=1):
            draw_image(axes[row, column], views[row], f"{method}, {psnr_db[method][row]:.1f} dB")
    return fig


def score_strips(scores: Mapping[str, Sequence[float]], distance_m: Sequence[float], width=11.0, height=3.4) -> Figure:
    """PSNR of every left-out view: as a strip a method with its median, and view by view, the hardest first."""
    shades = [METHOD_COLOURS.get(method, INK) for method in scores]
    fig, axes = subplots(1, 2, width, height, width_ratios=(1, 1.5))
    order = np.argsort(np.mean(list(scores.values()), axis=0), kind="stable")
    for index, (method, values) in enumerate(scores.items()):
        values, colour = np.asarray(values), shades[index]
        spread = (np.arange(len(values)) % 7 - 3) * 0.035
        axes[0, 0].plot(index + spread, values, "o", ms=4, alpha=0.6, color=colour)
        axes[0, 0].plot([index - 0.3, index + 0.3], [np.median(values)] * 2, color=colour)
        axes[0, 0].annotate(f"{np.median(values):.1f}", (index + 0.33, np.median(values)), va="center", fontsize=9)
        axes[0, 1].plot(values[order], "o-", lw=1, ms=5, color=colour, label=method)
    axes[0, 0].set_xticks(range(len(scores)), list(scores))
    axes[0, 0].set(ylabel="PSNR, dB", title="left-out street views, median marked", xlim=(-0.6, len(scores) - 0.2))
    low, middle, high = np.percentile(distance_m, (0, 50, 100))
    axes[0, 1].set(xlabel="left-out views, hardest first", title=f"nearest known view {low:.1f} to {high:.1f} m away, "
                   f"median {middle:.1f} m")
    axes[0, 1].legend(fontsize=9)
    return fig


def pose_error_curve(labels: Sequence[str], psnr_db: Sequence[float], mesh_only_db: float, published_db=None,
                     width=11.0, height=3.2) -> Figure:
    """Quality of image-based rendering against the pose error of its sources, with the plain mesh as the floor."""
    fig, axes = subplots(1, 1, width, height)
    ax, x = axes[0, 0], np.arange(len(labels))
    ax.axhline(mesh_only_db, color=PALETTE["baseline"], ls="--")
    ax.annotate("plain mesh render", (x[0], mesh_only_db), va="bottom", color=MUTED)
    ax.plot(x, psnr_db, "o-", color=PALETTE["ours"], label="this run")
    if published_db is not None:
        ax.plot(x, published_db, "s:", color=PALETTE["accent"], label="nearest-pixel lookup, another city")
        ax.legend(fontsize=9)
    ax.set_xticks(x, labels)
    ax.set(xlabel="pose error of the source views (position / angle)", ylabel="PSNR, dB")
    return fig


def panorama_profile(
    panorama: np.ndarray,  # [3, H, W], its middle column looks north
    bearing_deg: np.ndarray,  # [N]
    panorama_m: np.ndarray,  # [N]
    view_m: np.ndarray,  # [N]
    width: float = 11.0,
) -> Figure:
    """A panorama, and below it the distances along the horizon that it and a perspective picture show."""
    fig, axes = subplots(2, 1, width, width / 2 + 2.2, height_ratios=(width / 2, 2.0))
    draw_image(axes[0, 0], panorama, "panorama, north in the middle")
    column = (np.mod(bearing_deg / 360 + 0.5, 1)) * panorama.shape[2]
    axes[0, 0].plot(column, np.full(len(column), panorama.shape[1] / 2), ".", ms=2, color=PALETTE["accent"])
    axes[1, 0].plot(bearing_deg, panorama_m, color=PALETTE["ours"], lw=5, alpha=0.35, label="panorama")
    axes[1, 0].plot(bearing_deg, view_m, color=PALETTE["ours2"], lw=1.2, label="perspective")
    axes[1, 0].set(xlabel="bearing along the dotted line, degrees from north", ylabel="distance, m", yscale="log")
    axes[1, 0].legend(fontsize=9)
    return fig


def show_mesh(mesh: TexturedMesh, twin: np.ndarray, max_faces: int = 5000) -> None:
    """The mesh to turn around: a decimated plotly view, and the picture `twin` [3, H, W] as its static twin.

    Both travel in one output: a front end that can draw plotly does, everything else shows the picture.
    """
    display_with_twin({"application/vnd.plotly.v1+json": mesh_figure(mesh, max_faces).to_plotly_json()}, twin,
                      f"{mesh.name}: {len(mesh.faces):,} faces")


def mesh_figure(mesh: TexturedMesh, max_faces: int = 5000):
    """plotly figure of a decimated mesh, each face in the mean colour of its texture."""
    import plotly.graph_objects as go

    vertices, faces, source = decimate(mesh, max_faces)
    rgb = (face_colours(mesh)[source] * 255).astype(int)
    figure = go.Figure(go.Mesh3d(
        **dict(zip("xyz", np.round(vertices - vertices.mean(axis=0), 1).astype(np.float32).T, strict=True)),
        **dict(zip("ijk", faces.astype(np.uint16 if len(vertices) < 65536 else np.uint32).T, strict=True)),
        facecolor=[f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb], flatshading=True, hoverinfo="skip",
        lighting={"ambient": 0.6, "diffuse": 0.6, "specular": 0.0},
    ))
    figure.update_layout(height=520, margin=dict(l=0, r=0, t=0, b=0), scene=dict(aspectmode="data", bgcolor="white"))
    figure.update_scenes(xaxis_visible=False, yaxis_visible=False, zaxis_visible=False,
                         camera_eye=dict(x=0.9, y=-0.9, z=0.7))
    return figure


def decimate(mesh: TexturedMesh, max_faces: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertex clustering (Rossignac and Borrel 1993) on the finest of a few grids that leaves at most `max_faces`.

    Gives vertices [V, 3], faces [F, 3] and the index [F] of the original face that each one stands for. Where
    clustering would leave next to nothing, the largest faces.
    """
    if len(mesh.faces) <= max_faces:
        return mesh.vertices, mesh.faces, np.arange(len(mesh.faces))
    size = float(np.ptp(mesh.vertices, axis=0).max()) / 2000.0
    while True:
        cell = np.floor((mesh.vertices - mesh.vertices.min(axis=0)) / (size, size, size / 2)).astype(np.int64)
        _, first, cluster = np.unique(cell, axis=0, return_index=True, return_inverse=True)
        faces = cluster.reshape(-1)[mesh.faces]
        a, b, c = faces.T
        kept = np.flatnonzero((a != b) & (b != c) & (c != a))
        _, unique = np.unique(np.sort(faces[kept], axis=1), axis=0, return_index=True)
        kept = kept[np.sort(unique)]
        if len(kept) <= max_faces:
            break
        size *= 1.3
    if len(kept) < max_faces // 10:  # many small things far apart: show the largest faces as they are
        corner = mesh.vertices[mesh.faces]
        area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
        kept = np.sort(np.argsort(-area, kind="stable")[:max_faces])
        used, compact = np.unique(mesh.faces[kept], return_inverse=True)
        return mesh.vertices[used], compact.reshape(-1, 3), kept
    used, compact = np.unique(faces[kept], return_inverse=True)
    return mesh.vertices[first[used]], compact.reshape(-1, 3), kept


def face_colours(mesh: TexturedMesh) -> np.ndarray:
    """[F, 3] float in 0..1: the texture at the middle of each face, averaged over a quarter of the picture at most."""
    colour = np.empty((len(mesh.faces), 3))
    for index, material in enumerate(mesh.materials):
        chosen = mesh.face_material == index
        if material.texture is None:
            colour[chosen] = material.rgb
            continue
        small = np.asarray(Image.fromarray(material.texture).resize((16, 16), Image.Resampling.BOX)) / 255.0
        uv = mesh.uv[chosen].mean(axis=1) % 1.0
        row = np.clip(((1 - uv[:, 1]) * 16).astype(int), 0, 15)
        colour[chosen] = small[row, np.clip((uv[:, 0] * 16).astype(int), 0, 15)] * material.rgb
    return np.clip(colour, 0, 1)
