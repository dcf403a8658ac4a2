"""Tile-panorama pairs of the city on disk, as CVUSA and CVACT are: the readers see no difference.

CVUSA ("cvusa"): splits/train-19zl.csv and val-19zl.csv, split_locations/all.csv, bingmap/19, streetview/panos,
streetview/annotations, sky_mask. CVACT as published ("cvact"): ACT_data.mat, ANU_data_small, ANU_data_test with
satview_polish and streetview. CVACT as Shi et al. aligned it ("cvact_aligned"): ACT_data.mat, satview_correct,
streetview, pano_sky_mask.

The panorama of CVUSA has 65.5 degrees from top to bottom (rows / columns x 360, square pixels of angle): the field of
view of the real pictures and of OriCNN's orientation map. Sat2Density computes with 90; a method that wants that says
so itself. CVACT shows the whole sphere.

Beside it `truth/` (see `rsnb.city.write_pair_truth`), of which readers of these formats take one thing: how far a
camera stands from its tile's middle, where tiles are made to lie off.
"""

from __future__ import annotations

import math
import os
import string
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rsnb.city.district import District
from rsnb.city.options import CLASSES, GEOREFERENCE, check_index
from rsnb.city.pair_options import Layout, PairsOptions
from rsnb.city.pair_scenes import PairCameras, PairPictures, take_pair
from rsnb.city.pair_sites import Places, Site, choose_sites, refuse_common_ground
from rsnb.city.pair_truth import TileGrid
from rsnb.city.posed_scene import each_district
from rsnb.city.store import ensure_built
from rsnb.city.write_pair_truth import closed, write_evaluation_truth, write_places, write_truth
from rsnb.files import atomic_path, write_text
from rsnb.geometry.georeference import model_to_lonlat, transform
from rsnb.products.images import write_jpeg, write_label_png, write_png

_ID_LETTERS = np.array(list(string.ascii_letters + string.digits + "-_"))
_MAT_HEADER = b"MATLAB 5.0 MAT-file, written by rsnb.city"
_THREADS = 8  # at most: each holds the pictures of one pair


def ensure_pairs(root: str | Path, options: PairsOptions = PairsOptions()) -> Path:
    """The folder of the data set below `root`, built now if it is not there yet (see `store.ensure_built`).

    Raises:
        InputError: a district that does not exist, an impossible panorama, more pairs than the streets have room for.
    """
    check_index(options.district)
    PairCameras.of(options)
    return ensure_built(root, options.layout.replace("_", "-"), asdict(options),
                        lambda folder: write_pairs(folder, options))


def write_pairs(folder: Path, options: PairsOptions, districts: Iterable[District] | None = None,
                threads: int | None = None) -> None:
    """Write all files into an existing folder; the same ones whatever the number of threads.

    Args:
        folder: where to.
        options: what.
        districts: those of `options.lists_of_districts` in this order, where they are built already.
        threads: that take and write pictures; None = one a core.
    """
    rng = np.random.default_rng([options.city.seed, options.seed])
    count = sum(options.wanted.values())
    if options.layout == "cvusa":
        ids = [f"{i + 1:07d}" for i in range(count)]
    else:
        ids = ["".join(rng.choice(_ID_LETTERS, 22)) for _ in range(count)]
    shuffled = iter(rng.permutation(count))  # an id tells neither place nor list
    sites: dict[int, Site] = {}
    views: dict[str, np.ndarray] = {}
    left_out: dict[tuple[int, int], tuple[int, int]] = {}
    bar = tqdm(total=count, desc="city pairs", unit="pair", disable=count < 50)
    with bar, ThreadPoolExecutor(threads or min(os.cpu_count() or 1, _THREADS)) as pool:
        for places, here in _sites_by_district(options, districts):
            left_out[places.district.index] = places.left_out, places.looked_at
            numbered = {int(next(shuffled)): site for site in here}
            writer = _Writer(folder, options, places.district)
            for number, eyes in writer.write_all(pool, numbered, ids):
                bar.update()
                if len(eyes):
                    views[ids[number]] = eyes
            sites |= numbered
    in_order = [sites[number] for number in range(count)]
    refuse_common_ground(in_order, options.tile_extent_m)
    xy = np.array([site.position[:2] for site in in_order])
    if options.layout == "cvusa":
        _write_cvusa_lists(folder, ids, in_order, xy, rng)
    else:
        write_act_data(folder / "ACT_data.mat", ids, [site.split for site in in_order], _utm(xy))
    write_places(folder / "truth", ids, in_order, options, left_out, views)


def _sites_by_district(options: PairsOptions, districts: Iterable[District] | None) -> Iterator[tuple[Places,
                                                                                                      list[Site]]]:
    """District by district, where its pairs are taken. One that has no room for its share leaves it to the next ones.

    Raises:
        InputError: there is no room for all.
    """
    lists = options.lists_of_districts
    if districts is None:
        districts = each_district(options.city, list(lists))
    missing = {split: n for split, n in options.wanted.items() if n}
    for district, (index, splits) in zip(districts, lists.items(), strict=True):
        places = Places(district, options)
        rng = np.random.default_rng([options.city.seed, options.seed, *index])
        following = list(lists.values())[list(lists).index(index):]
        share = {split: -(-missing[split] // sum(split in group for group in following)) for split in splits}
        if options.districts is not None and sum(split == splits[0] for (split,) in following) > 1:
            share = {split: min(n, len(places.stations)) for split, n in share.items()}
        share = {split: n for split, n in share.items() if n}
        missing = {split: n - share.get(split, 0) for split, n in missing.items()}
        yield places, choose_sites(places, share, rng) if share else []


class _Writer:
    """Takes and writes the pairs of one district, each in one thread from first to last."""

    def __init__(self, folder: Path, options: PairsOptions, district: District):
        self.folder, self.options, self.district = folder, options, district
        self.cameras = PairCameras.of(options)
        self.top = float(district.mesh.bounds[1, 2]) + 10.0

    def write_all(self, pool: ThreadPoolExecutor, sites: dict[int, Site], ids: list[str]):
        """(number, off-centre cameras) of each site, as it is done."""
        def one(item):
            number, site = item
            return number, self.write(ids[number], site)

        items = list(sites.items())
        yield from map(one, items[:1])  # alone, as it fills what the scene keeps from picture to picture
        yield from pool.map(one, items[1:])

    def write(self, pair_id: str, site: Site) -> np.ndarray:
        """All files of a pair; gives its off-centre cameras [K, 3]."""
        pictures = take_pair(self.district.scene, self.top, self.cameras, site)
        _write_pictures(self.folder, self.options.layout, pair_id, site, pictures)
        grid = TileGrid(site.tile_centre, self.options.tile_extent_m, self.options.tile_px, site.ground_m)
        ground = self.district.terrain(*grid.cell_centres())
        pictures = replace(pictures, heights=closed(pictures.heights, ground))
        write_truth(self.folder / "truth", pair_id, site, pictures, ground)
        if site.split == "train":
            return np.zeros((0, 3))
        return write_evaluation_truth(self.folder / "truth", pair_id, site, pictures, ground, self.district,
                                      self.cameras, self.options)


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
        with open(temporary, "rb+") as file:  # scipy writes the time of day here: equal options, equal bytes
            file.write(_MAT_HEADER.ljust(116))


def _write_pictures(folder: Path, layout: Layout, pair_id: str, site: Site, pictures: PairPictures) -> None:
    street = pictures.street
    mask = np.repeat(street.sky[None].astype(np.float32), 3, axis=0)
    if layout == "cvusa":
        write_jpeg(folder / "bingmap" / "19" / f"{pair_id}.jpg", pictures.tile)
        write_jpeg(folder / "streetview" / "panos" / f"{pair_id}.jpg", street.rgb)
        write_label_png(folder / "streetview" / "annotations" / f"{pair_id}.png", street.labels, CLASSES)
        write_png(folder / "sky_mask" / f"{pair_id}.png", mask)
        return
    if layout == "cvact_aligned":
        write_png(folder / "satview_correct" / f"{pair_id}_satView_polish.png", pictures.tile)
        write_png(folder / "streetview" / f"{pair_id}_grdView.png", street.rgb)
        write_png(folder / "pano_sky_mask" / f"{pair_id}_grdView.png", mask)
        return
    parts = {"train": ("small",), "val": ("small", "test"), "test": ("test",)}  # valSet is part of valSetAll
    for part in parts[site.split]:
        write_jpeg(folder / f"ANU_data_{part}" / "satview_polish" / f"{pair_id}_satView_polish.jpg", pictures.tile)
        write_jpeg(folder / f"ANU_data_{part}" / "streetview" / f"{pair_id}_grdView.jpg", street.rgb)


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
