"""A ground for building models that come without one: LoD2 and LoD3 data sets stand in the air otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.interpolate import RBFInterpolator

from rsnb.mesh.scene import RayScene
from rsnb.mesh.viewpoints import lowest_surface
from rsnb.scenes import Material, SemanticClass, TexturedMesh

FOOT_M = 0.3  # vertices this near to the lowest one of their building stand on the ground
SUNK_M = 0.03  # the ground lies this far below the feet, so that floors do not flicker
COLOUR = (0.60, 0.585, 0.56)
THINNED_M = 6.0  # of the feet in a square of this side only the lowest counts
MAX_CELLS = 300  # along each axis


def lacks_ground(scene: RayScene) -> bool:
    """Whether less than 60 % of the model's footprint (its bounding rectangle) has any surface below it."""
    low, high = scene.mesh.bounds[:, :2]
    step = (np.arange(48) + 0.5) / 48
    places = np.stack(np.meshgrid(*(low[k] + step * (high[k] - low[k]) for k in (0, 1))), axis=-1).reshape(-1, 2)
    return bool(np.isfinite(lowest_surface(scene, places)).mean() < 0.6)


def add_ground(mesh: TexturedMesh, margin_m: float = 40.0, cell_m: float = 4.0) -> TexturedMesh:
    """The mesh with a plain ground of class "terrain" through the feet of its buildings.

    Heights between the feet are interpolated. It is a stage to stand on, not a terrain model.

    Args:
        mesh: its objects (`face_object`) tell buildings apart; without them 30 m squares do.
        margin_m: how far the ground reaches beyond the model.
        cell_m: size of its cells, larger where the model is large.
    """
    low, high = mesh.bounds[:, :2]
    low, high = low - margin_m, high + margin_m
    count = np.minimum(np.ceil((high - low) / cell_m).astype(int), MAX_CELLS)
    x, y = (np.linspace(low[k], high[k], count[k] + 1) for k in (0, 1))
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    feet = _feet(mesh)
    height = _interpolate(feet, places) - SUNK_M
    first = (np.arange(count[1])[:, None] * (count[0] + 1) + np.arange(count[0])).reshape(-1)
    quads = np.stack([first, first + 1, first + count[0] + 2, first + count[0] + 1], axis=1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]) + len(mesh.vertices)
    class_id, classes = _terrain_class(mesh)
    n = len(faces)
    return replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, np.c_[places, height]]),
        faces=np.concatenate([mesh.faces, faces.astype(np.int32)]),
        uv=np.concatenate([mesh.uv, np.zeros((n, 3, 2), np.float32)]),
        face_material=np.r_[mesh.face_material, np.full(n, len(mesh.materials), np.int32)],
        materials=(*mesh.materials, Material("ground", COLOUR)),
        face_class=np.r_[mesh.face_class, np.full(n, class_id, np.int32)],
        classes=classes,
        face_object=None if mesh.face_object is None else np.r_[mesh.face_object, np.zeros(n, np.int32)],
        vertex_rgb=None if mesh.vertex_rgb is None else np.concatenate(
            [mesh.vertex_rgb, np.full((len(places), 3), 255, np.uint8)]),
    )


def textured_share(mesh: TexturedMesh) -> float:
    """Share of the surface area that has a texture; plain models need a light to show their shape."""
    corner = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    textured = np.array([material.texture is not None for material in mesh.materials])[mesh.face_material]
    return float(area[textured].sum() / max(area.sum(), 1e-12))


def _feet(mesh: TexturedMesh) -> np.ndarray:
    """[M, 3] vertices at the foot of each object."""
    vertex = mesh.vertices[mesh.faces].reshape(-1, 3)
    if mesh.face_object is not None and mesh.face_object.any():
        group = np.repeat(mesh.face_object, 3)
    else:
        cell = np.floor((vertex[:, :2] - vertex[:, :2].min(axis=0)) / 30.0).astype(np.int64)
        group = cell[:, 0] * 1_000_003 + cell[:, 1]
    _, group = np.unique(group, return_inverse=True)
    lowest = np.full(group.max() + 1, np.inf)
    np.minimum.at(lowest, group, vertex[:, 2])
    feet = vertex[vertex[:, 2] < lowest[group] + FOOT_M]
    return np.unique(np.round(feet, 2), axis=0)


def _interpolate(feet: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Heights [P] at places [P, 2] by radial basis functions |r| (the smoothest surface without overshoot)."""
    cell = np.floor(feet[:, :2] / THINNED_M).astype(np.int64)
    order = np.lexsort((feet[:, 2], cell[:, 1], cell[:, 0]))
    _, first = np.unique(cell[order], axis=0, return_index=True)
    feet = feet[order][first]
    if len(feet) < 3:
        return np.full(len(places), feet[:, 2].min())
    middle = feet[:, :2].mean(axis=0)
    surface = RBFInterpolator(feet[:, :2] - middle, feet[:, 2], neighbors=min(len(feet), 100), kernel="linear")
    return np.clip(surface(places - middle), feet[:, 2].min() - 2.0, feet[:, 2].max() + 2.0)


def _terrain_class(mesh: TexturedMesh) -> tuple[int, tuple[SemanticClass, ...]]:
    for known in mesh.classes:
        if known.name == "terrain":
            return known.id, mesh.classes
    new = SemanticClass(max([0, *(c.id for c in mesh.classes)]) + 1, "terrain", (170, 160, 140))
    return new.id, (*mesh.classes, new)
