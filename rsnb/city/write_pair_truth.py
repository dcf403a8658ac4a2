"""What is known of the city's pairs beyond their pictures, below `truth/`, which no reader of the formats opens.

    pairs.json            places, lists, districts; side of the tiles, camera height, field of view; what was left out
    heights/<id>.tif      [S, S] topmost surface above the ground under the camera, metres
    ground/<id>.tif       [S, S] bare ground above the ground under the camera, metres: heights - ground = what stands
                          on the ground
    classes/<id>.png      [S, S] class ids of that surface
    depth/<id>.tif        [H, W] metres along the ray of each panorama pixel, inf = nothing

and of val and test pairs, for evaluation alone:

    visible/<id>.png      [S, S] what the camera sees of each cell: 2 its topmost surface, 1 something of it, 0 nothing
    occupancy/<id>.npz    `occupancy` [D, S, S] bool, slice 0 lowest, each column from its own bare ground (on one datum
                          with heights - ground); where slices are asked for
    views.json            position of each off-centre camera, metres east and north of the tile's centre and above the
                          ground under the pair's camera
    views/<id>.npz        `depth` [K, H, W] float32, `sky` [K, H, W] bool, `rgb` [K, H, W, 3] uint8 of those cameras
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rsnb.city.district import District
from rsnb.city.options import CLASSES, GEOREFERENCE
from rsnb.city.pair_options import PairsOptions
from rsnb.city.pair_scenes import PairCameras, PairPictures, take_panorama
from rsnb.city.pair_sites import Site
from rsnb.city.pair_truth import TileGrid, occupancy, off_centre_positions, visible_cells
from rsnb.files import atomic_path, write_text
from rsnb.products.images import to_uint8, write_float_tiff, write_label_png
from rsnb.scenes import SemanticClass

_SEEN = (SemanticClass(1, "column seen", (130, 130, 130)), SemanticClass(2, "top seen", (255, 255, 255)))


def closed(heights: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Heights [S, S] with bare ground [S, S] where an upright ray met nothing: about one in ten million slips through
    the seam between two triangles."""
    return np.where(np.isfinite(heights), heights, ground).astype(np.float32)


def write_truth(folder: Path, pair_id: str, site: Site, pictures: PairPictures, ground: np.ndarray) -> None:
    """Heights, bare ground [S, S] (model metres), classes and depth of a pair of any list."""
    write_float_tiff(folder / "heights" / f"{pair_id}.tif", pictures.heights - np.float32(site.ground_m),
                     {"quantity": "topmost surface above the ground under the camera", "unit": "m", "up": "north"})
    write_float_tiff(folder / "ground" / f"{pair_id}.tif", (ground - site.ground_m).astype(np.float32),
                     {"quantity": "bare ground above the ground under the camera", "unit": "m", "up": "north"})
    write_label_png(folder / "classes" / f"{pair_id}.png", pictures.classes, CLASSES)
    write_float_tiff(folder / "depth" / f"{pair_id}.tif", pictures.street.depth,
                     {"quantity": "distance along the ray", "unit": "m", "nothing": "inf"})


def write_evaluation_truth(folder: Path, pair_id: str, site: Site, pictures: PairPictures, ground: np.ndarray,
                           district: District, cameras: PairCameras, options: PairsOptions) -> np.ndarray:
    """What only pairs of val and test have, on bare ground [S, S] (model metres); gives the off-centre cameras [K, 3],
    tile metres."""
    grid = TileGrid(site.tile_centre, options.tile_extent_m, options.tile_px, site.ground_m, options.ceiling_m,
                    options.slices)
    write_label_png(folder / "visible" / f"{pair_id}.png",
                    visible_cells(district.scene, grid, site, pictures.heights), _SEEN)
    if options.slices:
        solid = occupancy(district.scene, grid, ground)
        _write_arrays(folder / "occupancy" / f"{pair_id}.npz", occupancy=solid)
    if not options.off_centre:
        return np.zeros((0, 3))
    eyes = off_centre_positions(district, grid, site, options.off_centre, options.off_centre_m)
    views = [take_panorama(district.scene, cameras, eye, site.day) for eye in eyes]
    _write_arrays(folder / "views" / f"{pair_id}.npz", depth=np.stack([v.depth for v in views]),
                  sky=np.stack([v.sky for v in views]), rgb=np.stack([to_uint8(v.rgb) for v in views]))
    return eyes - np.array([*site.tile_centre, site.ground_m])


def write_places(folder: Path, ids: Sequence[str], sites: Sequence[Site], options: PairsOptions,
                 left_out: Mapping[tuple[int, int], tuple[int, int]], views: Mapping[str, np.ndarray]) -> None:
    """The two JSON files.

    Args:
        folder: `truth`.
        ids, sites: of all pairs.
        options: what was asked for.
        left_out: of each district the number of places whose tile holds something taller than `tallest_m` above bare
            ground, and of all places that were looked at.
        views: off-centre cameras [K, 3] by id.
    """
    rows = [{"id": i, "split": s.split, "position": s.position.tolist(), "tile_centre": s.tile_centre.tolist(),
             "offset_m": (s.position[:2] - s.tile_centre).tolist(), "street_heading_deg": math.degrees(s.heading) % 360,
             "ground_m": s.ground_m, "district": list(s.district), "buildings": list(s.buildings)}
            for i, s in zip(ids, sites, strict=True)]
    places = {f"{i}-{j}": {"left_out": n, "of": of} for (i, j), (n, of) in left_out.items()}
    about = {"crs": GEOREFERENCE.crs, "origin": GEOREFERENCE.origin, "tile_extent_m": options.tile_extent_m,
             "camera_height_m": options.camera_height_m, "panorama_heading_deg": 0.0,
             "vertical_fov_deg": 360.0 * options.panorama[0] / options.panorama[1],
             "ceiling_m": options.ceiling_m if options.slices else None, "slices": options.slices,
             "tallest_m": options.tallest_m,
             "places_left_out_as_too_tall": places,
             "classes": {c.id: c.name for c in CLASSES}}
    lines = ",\n  ".join(json.dumps(row) for row in rows)  # a line a pair: thousands of them can be looked through
    write_text(folder / "pairs.json", json.dumps(about, indent=1)[:-2] + f',\n "pairs": [\n  {lines}\n ]\n}}\n')
    if views:
        table = {"unit": "m", "axes": "east, north of the tile's centre, up from the ground under the pair's camera",
                 "heading_deg": 0.0, "positions": {i: views[i].round(4).tolist() for i in sorted(views)}}
        write_text(folder / "views.json", json.dumps(table, indent=1) + "\n")


def _write_arrays(path: Path, **arrays: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)
