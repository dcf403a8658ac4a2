"""A density volume against the true city: surface heights, footprints, voxels, and what lies on the wrong side.

Every function gives {name: `bootstrap.PerTile`}; `bootstrap.table` makes intervals of it, `bootstrap.tile_rows` rows.
Sums are pooled over cells, so a tile with many objects counts for more than an empty one; medians are those of single
tiles and their mean over tiles is told. Panoramas are scored by `panorama_scores`, several views by `consistency`.

Opacity of the central panorama proves no geometry: hollow volumes reach 0.96 there with an occupancy IoU of 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_erosion

from rsnb.density.bootstrap import PerTile, f_score, root_ratio, sum_per_tile
from rsnb.density.heights import HowHigh, as_array, column_filled, height_map, occupancy, optical_depth_above
from rsnb.density.panorama_scores import ViewTruth, pool_views, score_views, view_rings
from rsnb.density.volume import DensityVolume, RenderOptions
from rsnb.errors import InputError

OBJECT_M = 1.0  # what is higher is an object: a building, a tree, no kerb
LIMITS_M = (0.5, 1.0, 2.5, 7.5)  # the last two are comparable with Sat3DGen
RINGS_M = (0.0, 4.0, 8.0, 16.0)  # distances of off-centre cameras from the middle of the tile
_FACES = np.zeros((3, 3, 3, 3), bool)  # a voxel and its six neighbours, tile by tile
_FACES[1, 1, 1, :] = _FACES[1, 1, :, 1] = _FACES[1, :, 1, 1] = True


@dataclass(frozen=True)
class SurfaceTruth:
    """What is known of N tiles.

    Attributes:
        heights: [N, S, S] metres above the ground of the topmost surface; row 0 north; NaN where unknown.
        visible: [N, S, S] bool, cells whose topmost surface the central camera sees, or None.
        occupied: [N, D, S, S] bool, voxels that are inside something, over 0..ceiling, slice 0 lowest, or None.

    Raises:
        InputError: shapes that do not fit one another.
    """

    heights: np.ndarray
    visible: np.ndarray | None = None
    occupied: np.ndarray | None = None

    def __post_init__(self):
        object.__setattr__(self, "heights", as_array(self.heights))
        shape = self.heights.shape
        if len(shape) != 3 or shape[1] != shape[2]:
            raise InputError(f"true heights have shape {shape}, expected [N, S, S]", where="SurfaceTruth")
        for name, fits in (("visible", lambda s: s == shape),
                           ("occupied", lambda s: len(s) == 4 and (s[0], *s[2:]) == shape)):
            array = getattr(self, name)
            if array is None:
                continue
            array = as_array(array)
            if not fits(array.shape):
                raise InputError(f"{name} has shape {array.shape}, the true heights {shape}", where="SurfaceTruth",
                                 mend="Write all truth on the grid of the volume")
            if not np.isin(array, (0, 1)).all():
                raise InputError(f"{name} holds more than true and false", where="SurfaceTruth",
                                 mend="Say which labels count, as in `labels == 2`")
            object.__setattr__(self, name, array.astype(bool))

    def __len__(self) -> int:
        return len(self.heights)


class KnownPairs(Protocol):
    """Pairs whose truth is known, as the reader of made pairs gives them; tile metres, panoramas with north ahead.

    Attributes:
        heights, ground: [N, S, S] topmost surface and bare ground.
        top_visible: [N, S, S] bool or None; occupancy: [N, D, S, S] bool or None.
        camera: [N, 3]; depth: [N, H, W]; sky: [N, H, W] bool; vertical_fov: radians.
        views: [N, K, 3] further cameras, or None; view_depth, view_sky: [N, K, H, W] of theirs.
    """

    heights: np.ndarray
    ground: np.ndarray
    top_visible: np.ndarray | None
    occupancy: np.ndarray | None
    camera: np.ndarray
    depth: np.ndarray
    sky: np.ndarray
    vertical_fov: float
    views: np.ndarray | None
    view_depth: np.ndarray | None
    view_sky: np.ndarray | None


def truths_of(pairs: KnownPairs) -> tuple[SurfaceTruth, ViewTruth, tuple[ViewTruth, ...]]:
    """What `score_geometry` wants to know, of pairs whose truth was read: surfaces, central view, other views.

    Heights are taken above the bare ground of their own cell: a volume stands on a plane, and what a slope adds to the
    height of a house says nothing about the house.
    """
    centre = ViewTruth(pairs.camera, pairs.depth, pairs.sky, 0.0, pairs.vertical_fov)
    count = 0 if pairs.views is None else pairs.views.shape[1]
    others = (ViewTruth(pairs.views[:, k], pairs.view_depth[:, k], pairs.view_sky[:, k], 0.0, pairs.vertical_fov)
              for k in range(count))
    return SurfaceTruth(pairs.heights - pairs.ground, pairs.top_visible, pairs.occupancy), centre, tuple(others)


def score_geometry(volume: DensityVolume, surface: SurfaceTruth, centre: ViewTruth | None = None,
                   off_centre: Sequence[ViewTruth] = (), how: HowHigh = "median",
                   options: RenderOptions = RenderOptions()) -> dict[str, PerTile]:
    """Everything that is known about N volumes: heights, voxels, masses, and panoramas from the middle and elsewhere.

    Args:
        volume: of the same N tiles and S x S cells as the truth.
        surface: true heights; visible cells and occupied voxels where they are known.
        centre: the panorama that the method was trained to explain, or None.
        off_centre: other cameras on the same tiles, each one a tile.
        how: which height of the volume counts (`heights.height_map`).
        options: of the renderer.

    Returns:
        the scores of `height_scores`, `occupancy_scores` and `mass_scores`, and those of `panorama_scores.score_view`
        as "centre/...", "off_centre/..." (all cameras together) and "ring 4-8 m/..." (by distance from the middle).

    Raises:
        InputError: other numbers of tiles or cells.
    """
    scores = height_scores(height_map(volume, how), surface) | mass_scores(volume, surface)
    if surface.occupied is not None:
        scores |= occupancy_scores(occupancy(volume, slices=surface.occupied.shape[1]), surface)
    groups = {"centre": [centre] if centre is not None else [], "off_centre": list(off_centre)}
    for name, views in groups.items():
        found = score_views(volume, views, options)
        if found:
            scores |= {f"{name}/{key}": value for key, value in pool_views(found).items()}
        if name == "off_centre":
            for ring, pooled in view_rings(views, found, RINGS_M).items():
                scores |= {f"ring {ring}/{key}": value for key, value in pooled.items()}
    return scores


def height_scores(heights, truth: SurfaceTruth) -> dict[str, PerTile]:
    """Height errors over all, object, visible and occluded cells, and the footprints.

    Args:
        heights: [N, S, S] metres; of any method, a constant included.
        truth: of the same tiles and cells.

    Returns:
        "height/rmse", "/mae", "/bias" (mean of found - true), "/median" (of |found - true|, by tile) in metres,
        "/under_0.5" ... (share of cells with a smaller error, LIMITS_M); each also with "/objects" (true height above
        1 m), "/visible" and "/occluded" (from the central camera) behind it; "footprint/iou", "footprint/precision" and
        "footprint/recall" of the cells higher than 1 m.

    Raises:
        InputError: another shape, or heights that are not finite.
    """
    found, true, known = _heights(heights, truth)
    error = np.where(known, found - np.where(known, true, 0), 0)
    regions = {"": known, "/objects": known & (true > OBJECT_M)}
    if truth.visible is not None:
        regions |= {"/visible": known & truth.visible, "/occluded": known & ~truth.visible}
    scores = {}
    for region, cells in regions.items():
        for name, values in (("mae", np.abs(error)), ("bias", error)):
            scores[f"height/{name}{region}"] = PerTile.mean(values, cells)
        scores[f"height/rmse{region}"] = PerTile(PerTile.mean(error**2, cells).sums, root_ratio)
        scores[f"height/median{region}"] = PerTile.of_values(
            [np.median(np.abs(e[c])) if c.any() else np.nan for e, c in zip(error, cells, strict=True)])
        for limit in LIMITS_M:
            scores[f"height/under_{limit:g}{region}"] = PerTile.mean(np.abs(error) < limit, cells)
    ours, theirs = known & (found > OBJECT_M), known & (true > OBJECT_M)
    return scores | {"footprint/iou": PerTile.mean(ours & theirs, ours | theirs),
                     "footprint/precision": PerTile.mean(theirs, ours), "footprint/recall": PerTile.mean(ours, theirs)}


def occupancy_scores(occupied, truth: SurfaceTruth) -> dict[str, PerTile]:
    """Voxels against voxels.

    Args:
        occupied: [N, D, S, S] bool, as the true ones (`heights.occupancy`).
        truth: with occupied voxels.

    Returns:
        "occupancy/iou"; "occupancy/iou_filled" (both with their columns filled below the highest voxel: hollowness is
        forgiven); "occupancy/precision", "/recall"; "surface/f_score": surface voxels (occupied, with a face to the
        air; the ground and the border of the tile are no air) that have one of the other side at the same place or
        behind a face, harmonic mean of both directions, and its parts "surface/precision" and "surface/recall".

    Raises:
        InputError: no true voxels, or another shape.
    """
    if truth.occupied is None:
        raise InputError("the truth has no voxels", where="occupancy_scores")
    ours, theirs = as_array(occupied).astype(bool), truth.occupied
    if ours.shape != theirs.shape:
        raise InputError(f"{ours.shape} voxels, the truth has {theirs.shape}", where="occupancy_scores",
                         mend="Use heights.occupancy(volume, slices=...) with the slices of the truth")
    filled, truly_filled = (column_filled(torch.from_numpy(x)).numpy() for x in (ours, theirs))
    found, wanted = _surface(ours), _surface(theirs)
    right = sum_per_tile(found & binary_dilation(wanted, _FACES))
    met = sum_per_tile(wanted & binary_dilation(found, _FACES))
    precision, recall = (right, sum_per_tile(found)), (met, sum_per_tile(wanted))
    return {
        "occupancy/iou": PerTile.mean(ours & theirs, ours | theirs),
        "occupancy/iou_filled": PerTile.mean(filled & truly_filled, filled | truly_filled),
        "occupancy/precision": PerTile.mean(theirs, ours),
        "occupancy/recall": PerTile.mean(ours, theirs),
        "surface/f_score": PerTile(np.stack([*precision, *recall], axis=-1), f_score),
        "surface/precision": PerTile(np.stack(precision, axis=-1)),
        "surface/recall": PerTile(np.stack(recall, axis=-1)),
    }


def mass_scores(volume: DensityVolume, truth: SurfaceTruth, margin_m: float | None = None) -> dict[str, PerTile]:
    """Density on the wrong side of the true surface, as the light of upright rays that it stops or lets pass.

    Args:
        volume: of the same tiles and cells as the truth.
        truth: true heights.
        margin_m: what is nearer to the true surface is on neither side; None = one slice.

    Returns:
        "mass/floater": share of the light from above that ends more than the margin above the true surface, over all
        cells; "mass/leak": share that passes more than the margin below it, over object cells (the ground stops all).

    Raises:
        InputError: another shape, or densities that are negative or not finite.
    """
    _, true, known = _heights(np.zeros((len(volume), *volume.sigma.shape[2:])), truth)
    margin = volume.slice_m if margin_m is None else margin_m
    surface = np.where(known, true, 0)
    above, through = (np.exp(-optical_depth_above(volume, surface + side * margin).numpy()) for side in (1, -1))
    return {"mass/floater": PerTile.mean(1 - above, known),
            "mass/leak": PerTile.mean(through, known & (surface > OBJECT_M))}


def _heights(heights, truth: SurfaceTruth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Found and true heights [N, S, S] and where the latter are known, after every check."""
    found = as_array(heights)
    if found.shape != truth.heights.shape:
        raise InputError(f"heights have shape {found.shape}, the true ones {truth.heights.shape}",
                         where="geometry scores", mend="Resample one to the other, tile by tile")
    known = np.isfinite(truth.heights)
    if not np.isfinite(found[known]).all():
        raise InputError(f"{int((~np.isfinite(found[known])).sum())} heights are not finite", where="geometry scores",
                         mend="A method that says nothing about a cell says 0 there")
    return found, truth.heights, known


def _surface(occupied: np.ndarray) -> np.ndarray:
    """Occupied voxels [N, D, S, S] with at least one free neighbour; above the highest slice there is air."""
    open_top = np.pad(occupied, ((0, 0), (0, 1), (0, 0), (0, 0)))
    return occupied & ~binary_erosion(open_top, _FACES, border_value=1)[:, :-1]
