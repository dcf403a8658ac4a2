"""Tile-panorama pairs of the city on disk, as CVUSA and CVACT are: the readers see no difference.

CVUSA ("cvusa"): splits/train-19zl.csv and val-19zl.csv, split_locations/all.csv, bingmap/19, streetview/panos,
streetview/annotations, sky_mask. CVACT as published ("cvact"): ACT_data.mat, ANU_data_small, ANU_data_test with
satview_polish and streetview. CVACT as Shi et al. aligned it ("cvact_aligned"): ACT_data.mat, satview_correct,
streetview, pano_sky_mask.

The panorama of CVUSA has 65.5 degrees from top to bottom (rows / columns x 360, square pixels of angle): the field of
view of the real pictures and of OriCNN's orientation map. Sat2Density computes with 90; a method that wants that says
so itself. CVACT shows the whole sphere.

Beside it `truth/`, which no reader of these formats opens: pairs.json (camera, tile, light), heights/<id>.tif (topmost
surface above the ground under the camera, metres) and depth/<id>.tif (metres along the ray of each panorama pixel).
"""

from __future__ import annotations

import json
import math
import string
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm.auto import tqdm

from rsnb.city.district import District, shared_district
from rsnb.city.option_ranges import check_ranges
from rsnb.city.options import CLASSES, GEOREFERENCE, CityOptions, check_index
from rsnb.city.pair_scenes import PairCameras, PairPictures, Site, choose_sites, take_pair
from rsnb.city.store import ensure_built
from rsnb.errors import InputError
from rsnb.files import atomic_path, write_text
from rsnb.geometry.georeference import model_to_lonlat, transform
from rsnb.products.images import write_float_tiff, write_jpeg, write_label_png, write_png

Layout = Literal["cvusa", "cvact", "cvact_aligned"]
_ID_LETTERS = np.array(list(string.ascii_letters + string.digits + "-_"))


@dataclass(frozen=True)
class PairsOptions:
    """What to write.

    Attributes:
        layout: of which data set.
        train, val, test: pairs of each list; `test` are further pairs of CVACT's `valSetAll`.
        tile_px, tile_extent_m: pixels and metres along the side of a tile.
        panorama_size: (rows, columns); None = 32 x 176 for CVUSA (its 224 x 1232 at a seventh), 64 x 128 for CVACT.
        camera_height_m: above the carriageway.
        tile_offset_m: tiles are centred up to so far from the camera, at random (the real ones: 0).
        supersample: colour rays a pixel and axis.
        city, district: what is photographed.
        seed: of places, order, ids and light.
    """

    layout: Layout = "cvusa"
    train: int = 16
    val: int = 8
    test: int = 0
    tile_px: int = 64
    tile_extent_m: float = 64.0
    panorama_size: tuple[int, int] | None = None
    camera_height_m: float = 2.5
    tile_offset_m: float = 0.0
    supersample: int = 2
    city: CityOptions = field(default_factory=CityOptions)
    district: tuple[int, int] = (0, 0)
    seed: int = 5

    def __post_init__(self):
        if self.layout not in ("cvusa", "cvact", "cvact_aligned"):
            raise InputError(f"layout is {self.layout!r}", where="PairsOptions",
                             mend='Use "cvusa", "cvact" or "cvact_aligned"')
        check_ranges(self, {"train": (1, 1_000_000), "val": (1, 1_000_000), "test": (0, 1_000_000),
                            "tile_px": (8, 4096), "supersample": (1, 16), "seed": (0, 2**63 - 1),
                            "tile_extent_m": (4.0, 200.0), "camera_height_m": (0.5, 50.0),
                            "tile_offset_m": (0.0, 50.0)})
        size = self.panorama_size
        if size is not None and not (isinstance(size, tuple | list) and len(size) == 2
                                     and all(type(n) is int and n >= 2 for n in size)):
            raise InputError(f"panorama_size is {size!r}", where="PairsOptions",
                             mend="Give whole numbers of rows and columns, such as (32, 176)")
        if self.test and self.layout == "cvusa":
            raise InputError("CVUSA has no test list", where="PairsOptions", mend="Leave test at 0")

    @property
    def panorama(self) -> tuple[int, int]:
        """(rows, columns) of the panoramas."""
        return self.panorama_size or ((32, 176) if self.layout == "cvusa" else (64, 128))


def ensure_pairs(root: str | Path, options: PairsOptions = PairsOptions()) -> Path:
    """The folder of the data set below `root`, built now if it is not there yet (see `store.ensure_built`).

    Raises:
        InputError: a district that does not exist, an impossible panorama, more pairs than the streets have room for.
    """
    check_index(options.district)
    _cameras(options)
    return ensure_built(root, options.layout.replace("_", "-"), asdict(options),
                        lambda folder: write_pairs(folder, options))


def write_pairs(folder: Path, options: PairsOptions, district: District | None = None) -> None:
    """Write all files into an existing folder; `district` where it is built already."""
    district = district or shared_district(options.city, tuple(options.district), belt=True)
    rng = np.random.default_rng([options.city.seed, options.seed])
    cameras = _cameras(options)
    wanted = {"train": options.train, "val": options.val, "test": options.test}
    sites = choose_sites(district, wanted, options.tile_extent_m, options.camera_height_m, options.tile_offset_m, rng)
    if options.layout == "cvusa":
        ids = [f"{i + 1:07d}" for i in range(len(sites))]  # sites come shuffled: an id tells neither place nor list
    else:
        ids = ["".join(rng.choice(_ID_LETTERS, 22)) for _ in sites]
    top = float(district.mesh.bounds[1, 2]) + 10.0
    for pair_id, site in zip(ids, tqdm(sites, desc="city pairs", unit="pair", disable=len(sites) < 50), strict=True):
        pictures = take_pair(district.scene, top, cameras, site)
        _write_pictures(folder, options.layout, pair_id, site, pictures)
        _write_truth(folder / "truth", pair_id, pictures, site.position[2] - options.camera_height_m)
    xy = np.array([site.position[:2] for site in sites])
    if options.layout == "cvusa":
        _write_cvusa_lists(folder, ids, sites, xy, rng)
    else:
        write_act_data(folder / "ACT_data.mat", ids, [site.split for site in sites], _utm(xy))
    _write_places(folder / "truth" / "pairs.json", ids, sites, options)


def write_act_data(path: Path, ids: list[str], splits: list[str], utm: np.ndarray) -> None:
    """CVACT's list: `panoIds` (cell, N x 1), `utm` (N x 2), three structs whose second field holds rows from 1 (n x 1).

    What the structs' first field is called in the published file is not known to us (loaders take the second one); here
    it holds the number of rows. `valSetAll` is `valSet` and the "test" pairs.
    """
    from scipy.io import savemat

    cell = np.empty((len(ids), 1), object)
    cell[:, 0] = ids
    rows = {name: np.array([[i + 1.0] for i, split in enumerate(splits) if split in members]).reshape(-1, 1)
            for name, members in (("train", ("train",)), ("val", ("val",)), ("all", ("val", "test")))}
    values = {"panoIds": cell, "utm": np.asarray(utm, np.float64),
              "trainSet": {"trainNum": float(len(rows["train"])), "trainInd": rows["train"]},
              "valSet": {"valNum": float(len(rows["val"])), "valInd": rows["val"]},
              "valSetAll": {"valNum": float(len(rows["all"])), "valInd": rows["all"]}}
    with atomic_path(path) as temporary:
        savemat(temporary, values, oned_as="column")


def _cameras(options: PairsOptions) -> PairCameras:
    return PairCameras.of(options.tile_px, options.tile_extent_m, *options.panorama, options.supersample)


def _write_pictures(folder: Path, layout: Layout, pair_id: str, site: Site, pictures: PairPictures) -> None:
    mask = np.repeat(pictures.sky[None].astype(np.float32), 3, axis=0)
    if layout == "cvusa":
        write_jpeg(folder / "bingmap" / "19" / f"{pair_id}.jpg", pictures.tile)
        write_jpeg(folder / "streetview" / "panos" / f"{pair_id}.jpg", pictures.panorama)
        write_label_png(folder / "streetview" / "annotations" / f"{pair_id}.png", pictures.labels, CLASSES)
        write_png(folder / "sky_mask" / f"{pair_id}.png", mask)
        return
    if layout == "cvact_aligned":
        write_png(folder / "satview_correct" / f"{pair_id}_satView_polish.png", pictures.tile)
        write_png(folder / "streetview" / f"{pair_id}_grdView.png", pictures.panorama)
        write_png(folder / "pano_sky_mask" / f"{pair_id}_grdView.png", mask)
        return
    parts = {"train": ("small",), "val": ("small", "test"), "test": ("test",)}  # valSet is part of valSetAll
    for part in parts[site.split]:
        write_jpeg(folder / f"ANU_data_{part}" / "satview_polish" / f"{pair_id}_satView_polish.jpg", pictures.tile)
        write_jpeg(folder / f"ANU_data_{part}" / "streetview" / f"{pair_id}_grdView.jpg", pictures.panorama)


def _write_truth(folder: Path, pair_id: str, pictures: PairPictures, ground_z: float) -> None:
    write_float_tiff(folder / "heights" / f"{pair_id}.tif", pictures.heights - np.float32(ground_z),
                     {"quantity": "topmost surface above the ground under the camera", "unit": "m", "up": "north"})
    write_float_tiff(folder / "depth" / f"{pair_id}.tif", pictures.depth,
                     {"quantity": "distance along the ray", "unit": "m", "nothing": "inf"})


def _write_cvusa_lists(folder: Path, ids, sites: list[Site], xy: np.ndarray, rng: np.random.Generator) -> None:
    lat, lon = model_to_lonlat(xy, GEOREFERENCE)
    asked_lat, asked_lon = model_to_lonlat(xy + rng.normal(scale=6.0, size=xy.shape), GEOREFERENCE)
    lines = [f"{a:.15f},{b:.15f},{c:.9f},{d:.9f},{math.degrees(site.heading) % 360:.6f}"
             for a, b, c, d, site in zip(asked_lat, asked_lon, lat, lon, sites, strict=True)]
    write_text(folder / "split_locations" / "all.csv", "\n".join(lines) + "\n")
    for split in ("train", "val"):
        rows = [f"bingmap/19/{i}.jpg,streetview/panos/{i}.jpg,streetview/annotations/{i}.png"
                for i, site in zip(ids, sites, strict=True) if site.split == split]
        rows = [rows[k] for k in rng.permutation(len(rows))]
        write_text(folder / "splits" / f"{split}-19zl.csv", "\n".join(rows) + "\n")


def _utm(xy: np.ndarray) -> np.ndarray:
    """[N, 2] metres east and north in the UTM zone of the place."""
    _, lon = model_to_lonlat(xy, GEOREFERENCE)
    zone = int((float(np.mean(lon)) + 180.0) // 6.0) + 1
    return transform(xy + np.array(GEOREFERENCE.origin[:2]), GEOREFERENCE.crs, f"EPSG:{32600 + zone}")


def _write_places(path: Path, ids, sites: list[Site], options: PairsOptions) -> None:
    rows = [{"id": i, "split": s.split, "position": s.position.tolist(), "tile_centre": s.tile_centre.tolist(),
             "offset_m": (s.position[:2] - s.tile_centre).tolist(), "street_heading_deg": math.degrees(s.heading) % 360}
            for i, s in zip(ids, sites, strict=True)]
    about = {"crs": GEOREFERENCE.crs, "origin": GEOREFERENCE.origin, "tile_extent_m": options.tile_extent_m,
             "camera_height_m": options.camera_height_m, "panorama_heading_deg": 0.0,
             "vertical_fov_deg": 360.0 * options.panorama[0] / options.panorama[1]}
    write_text(path, json.dumps(about | {"pairs": rows}, indent=1) + "\n")
