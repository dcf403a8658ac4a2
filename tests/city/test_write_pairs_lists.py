"""Which places go into which list, and the truth beside the pairs: judged by the mesh and by what was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from PIL import Image

from rsnb.city.options import BUILDING
from rsnb.city.pair_options import PairsOptions
from rsnb.city.pair_sites import Places, choose_sites, refuse_common_ground
from rsnb.city.write_pairs import write_pairs
from rsnb.data.crossview.cvact import audit, read_cvact
from rsnb.data.crossview.dispatch import read_pairs
from rsnb.data.crossview.pair_truth import read_pair_truth
from rsnb.errors import InputError
from rsnb.products.density_volume import write_height
from rsnb.scenes import Georeference

EVALUATED = PairsOptions("cvact_aligned", train=3, val=3, test=2, tile_px=48, tile_extent_m=48.0,
                         panorama_size=(32, 64), supersample=1, tallest_m=24.0, slices=40, ceiling_m=20.0,
                         off_centre=2, off_centre_m=9.0, tile_offset_m=4.0,
                         districts={"train": ((0, 0),), "val": ((1, 0),), "test": ((2, 2),)})


class MovedDistrict:
    """A district so many metres further east, under another index."""

    def __init__(self, first, east, index):
        from rsnb.mesh import RayScene

        self.first, self.east, self.index = first, np.array([east, 0.0, 0.0]), index
        self.mesh = replace(first.mesh, vertices=first.mesh.vertices + self.east)
        self.scene = RayScene(self.mesh)
        x0, y0, x1, y1 = first.bounds
        self.bounds = (x0 + east, y0, x1 + east, y1)

    def terrain(self, x, y):
        return self.first.terrain(x - self.east[0], y)

    def street_path(self, *args, **kwargs):
        path = self.first.street_path(*args, **kwargs)
        return replace(path, position=path.position + self.east)


@pytest.fixture(scope="module")
def three(district):
    """The same district three times, 2 km apart: building others takes long."""
    return [district(), MovedDistrict(district(), 2000.0, (1, 0)), MovedDistrict(district(), 4000.0, (2, 2))]


@pytest.fixture(scope="module")
def written(three, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    write_pairs(folder, EVALUATED, three, threads=2)
    return folder


def places_of(folder):
    return json.loads((folder / "truth/pairs.json").read_text())


def test_each_list_comes_from_its_districts_and_low_places(written):
    about = places_of(written)
    assert {(r["split"], tuple(r["district"])) for r in about["pairs"]} == {
        ("train", (0, 0)), ("val", (1, 0)), ("test", (2, 2))}
    index = read_cvact(written)
    assert {k: len(v) for k, v in index.splits.items()} == {"train": 3, "val": 3, "test": 5} and audit(written).ok
    truth = read_pair_truth(written)
    assert (truth.heights - truth.ground).max() <= 24.0
    counts = about["places_left_out_as_too_tall"]
    assert set(counts) == {"0-0", "1-0", "2-2"} and 0 < counts["0-0"]["left_out"] < counts["0-0"]["of"]


def test_no_kept_place_has_anything_too_tall_around_it(district):
    city = district()
    places = Places(city, EVALUATED)
    every = Places(city, replace(EVALUATED, tallest_m=None)).stations
    assert len(places.stations) == len(every) - places.left_out == places.looked_at - places.left_out
    # Again with three rays a metre, straight from the mesh: none above the limit is kept, and not many lower ones go.
    steps = np.arange(-24.0, 24.1, 1 / 3)

    def tallest(position):
        rays = np.stack(np.broadcast_arrays(position[0] + steps, (position[1] + steps)[:, None], 300.0), axis=-1)
        top = 300.0 - city.scene.cast(rays, np.array([0.0, 0.0, -1.0])).distance
        return (top - city.terrain(rays[..., 0], rays[..., 1])).max()

    kept = {tuple(p) for p in places.stations.position}
    some = every.position[::len(every) // 60]
    heights = np.array([tallest(p) for p in some])
    low = np.array([tuple(p) in kept for p in some])
    assert (heights[low] <= 24.0).all() and low.sum() > 3
    assert (heights[~low] > 24.0).mean() > 0.8  # the others have it beside the square, where a tile may still lie


def test_number_of_threads_changes_no_byte(written, three, tmp_path):
    write_pairs(tmp_path, EVALUATED, three, threads=1)
    files = sorted(p.relative_to(written) for p in written.rglob("*") if p.is_file())
    assert len(files) == 1 + 8 * 7 + 2 + 5 * 3
    assert all((written / f).read_bytes() == (tmp_path / f).read_bytes() for f in files)


def test_no_building_of_one_list_is_in_tiles_of_another(district, monkeypatch):
    city = district()
    options = PairsOptions("cvact_aligned", train=60, val=25, test=20, tile_extent_m=48.0)
    places = Places(city, options)
    sites = choose_sites(places, options.wanted, np.random.default_rng(0))
    refuse_common_ground(sites, 48.0)
    shown = {split: set() for split in options.wanted}
    steps = (np.arange(49) - 24) / 49 * 48.0
    for site in sites:
        x, y = site.tile_centre
        rays = np.stack(np.broadcast_arrays(x + steps, (y + steps)[:, None], 300.0), axis=-1)
        prim = city.scene.cast(rays, np.array([0.0, 0.0, -1.0])).prim
        ids = set(city.mesh.face_object[prim[city.mesh.face_class[prim] == BUILDING]].tolist())
        assert ids <= set(site.buildings)  # as rays see it: never more than the hulls say
        shown[site.split] |= ids
    assert all(len(ids) > 8 for ids in shown.values())
    assert not (shown["train"] & shown["val"] | shown["train"] & shown["test"] | shown["val"] & shown["test"])
    with pytest.raises(AssertionError, match="overlap"):
        refuse_common_ground([sites[0], replace(sites[0], split="test", buildings=())], 48.0)
    # Were the later lists not told what the earlier ones show, they would show some of it again.
    true = Places.buildings_in
    monkeypatch.setattr(Places, "buildings_in", lambda self, xy, half_m: (
        [np.zeros(0, int)] * len(xy) if half_m == self.reach_m else true(self, xy, half_m)))
    with pytest.raises(AssertionError, match="train and val both show building"):
        refuse_common_ground(choose_sites(places, options.wanted, np.random.default_rng(0)), 48.0)


def test_truth_depths_lie_on_truth_heights(written):
    ids = read_cvact(written).split("test").ids
    truth = read_pair_truth(written, ids)
    assert truth.occupancy.shape == (5, 40, 48, 48) and truth.ceiling_m == 20.0 and truth.views.shape == (5, 2, 3)
    rows, columns = truth.depth.shape[1:]
    pitch = (0.5 - (np.arange(rows) + 0.5) / rows) * np.pi
    bearing = ((np.arange(columns) + 0.5) / columns - 0.5) * 2 * np.pi
    rays = np.stack(np.broadcast_arrays(np.cos(pitch)[:, None] * np.sin(bearing),
                                        np.cos(pitch)[:, None] * np.cos(bearing), np.sin(pitch)[:, None]), -1)

    def share(i, eye, depth, shift=(0.0, 0.0, 0.0)):
        """Of the surface points of a panorama that lie in the tile: how many are at most as high as the tile there
        (its cells' middles, or those around), and how many on level ground have its height."""
        points = (np.where(np.isfinite(depth), depth, 1e6)[..., None] * rays + eye + shift).reshape(-1, 3)
        cell = np.stack([24.0 - points[:, 1], points[:, 0] + 24.0], axis=-1)
        within = ((cell > 1) & (cell < 47)).all(axis=1)
        (row, column), z = np.floor(cell[within]).astype(int).T, points[within, 2]
        around = np.stack([truth.heights[i, row + a, column + b] for a in (-1, 0, 1) for b in (-1, 0, 1)])
        level = np.ptp(around, axis=0) < 0.2
        return np.mean(z < around.max(axis=0) + 0.15), np.mean(np.abs(z - around[4])[level] < 0.15), level.sum()

    for i in range(len(truth)):
        cameras = [(truth.camera[i], truth.depth[i]), *zip(truth.views[i], truth.view_depth[i], strict=True)]
        for eye, depth in cameras:
            below, on, count = share(i, eye, depth)
            assert below > 0.97 and on > 0.97 and count > 100
        eye, depth = cameras[1]
        assert share(i, eye, depth, (0.0, 0.0, 0.5))[1] < 0.2  # and a wrong camera would be noticed
        assert np.array_equal(truth.sky[i], np.asarray(Image.open(
            written / f"pano_sky_mask/{ids[i]}_grdView.png").convert("L")) > 127)
        assert np.linalg.norm(truth.views[i, :, :2] - truth.camera[i, :2], axis=1).max() <= 9.0
        # What a picture of the view shows as sky is what its depth does not hit.
        assert np.array_equal(truth.view_sky[i], np.isinf(truth.view_depth[i]) & (np.arange(rows)[:, None] < 16))
    # Cells seen have points of the panorama in them; a column's uppermost full voxel is where the height says.
    assert 0.2 < truth.visible.mean() < 0.99 and (truth.visible | ~truth.top_visible).all()
    above = truth.heights - truth.ground
    roof = (truth.classes == BUILDING) & (above > 2) & (above < 20)
    uppermost = np.where(truth.occupancy.any(1), 40 - truth.occupancy[:, ::-1].argmax(1), 0) * 0.5
    # A slice is full to its middle or not at all: half of one at most, but for eaves and what else is thin. Measured
    # 0.94, and 0.43 with heights above the ground under the camera, which are of another datum.
    fits, elsewhere = (np.mean(np.abs(uppermost - z)[roof] < 0.251) for z in (above, truth.heights))
    assert fits > 0.9 and elsewhere < 0.7


def test_pairs_of_training_bring_no_more_than_heights_classes_and_depth(written):
    index = read_cvact(written)
    truth = read_pair_truth(written, index.split("train").ids)
    assert truth.heights.shape == (3, 48, 48) and truth.depth.shape == (3, 32, 64)
    assert truth.occupancy is truth.visible is truth.views is truth.view_depth is truth.ceiling_m is None
    assert truth.class_names[BUILDING] == "building"
    with pytest.raises(InputError, match="others have"):
        read_pair_truth(written, [index.split("train").ids[0], index.split("val").ids[0]])


@pytest.mark.parametrize(("districts", "what"), [
    ({"train": ((0, 0),)}, "8 val pairs are asked for"), ({"train": ((0, 0),), "val": ((0, 0),)}, "named twice"),
    ({"train": ((0, 0),), "validation": ((0, 1),)}, "no list 'validation'"), ({"train": ((0, 7),)}, "no district"),
    (((0, 0), (1, 0)), "district index 0"), ("train", "districts is 'train'"),
], ids=["no val", "twice", "unknown list", "no such district", "not nested", "text"])
def test_impossible_districts_are_refused_at_once(districts, what):
    with pytest.raises(InputError, match=what):
        PairsOptions(districts=districts)


def test_groups_in_order_mean_the_same_as_named_ones():
    a = PairsOptions("cvact", test=2, districts=(((0, 0), (0, 1)), ((1, 0),), ((2, 0),)))
    assert a == PairsOptions("cvact", test=2, districts={"val": [[1, 0]], "test": [(2, 0)],
                                                         "train": [(0, 0), (0, 1)]})
    assert list(a.lists_of_districts.items()) == [((0, 0), ("train",)), ((0, 1), ("train",)), ((1, 0), ("val",)),
                                                  ((2, 0), ("test",))]


def test_a_district_without_room_leaves_its_share_to_the_next(three, monkeypatch):
    from rsnb.city import write_pairs as module

    options = replace(EVALUATED, tallest_m=None, train=30, test=0,
                      districts={"train": ((0, 0), (1, 0)), "val": ((2, 2),)})
    first = Places.stations.func

    def few(self):
        found = first(self)
        return found.subset(slice(0, 8)) if self.district.index == (0, 0) else found

    monkeypatch.setattr(Places, "stations", property(few))
    counts = {places.district.index: len(sites) for places, sites in module._sites_by_district(options, three)}
    assert counts == {(0, 0): 8, (1, 0): 22, (2, 2): 3}


def test_no_room_at_all_says_what_would_help(three):
    from rsnb.city import write_pairs as module

    options = replace(EVALUATED, train=100_000)
    with pytest.raises(InputError, match=r"room for \d+.*more districts.*tallest_m"):
        list(module._sites_by_district(options, three))


@pytest.mark.parametrize("format", ["auto", "cvact"])
def test_readers_say_how_far_cameras_stand_from_the_middle_of_their_tiles(written, format):
    index = read_pairs(written, format)
    rows = {row["id"]: row for row in places_of(written)["pairs"]}
    expected = np.array([np.subtract(rows[i]["position"][:2], rows[i]["tile_centre"]) for i in index.ids])
    test = index.splits["test"]
    assert 0.5 < np.linalg.norm(expected, axis=1).max() <= 4.0
    assert np.abs(index.load([3, 1], tile_size=8, panorama_size=(8, 16)).offset_m - expected[[3, 1]]).max() < 1e-9
    truth = read_pair_truth(written, index.split("test").ids)
    assert np.abs(truth.camera[:, :2] - expected[test]).max() < 1e-9
    # Where the tiles are: the camera, as pyproj takes the list's UTM to the city's grid, less its offset.
    assert truth.crs == "EPSG:3879"
    to_city = pyproj.Transformer.from_crs("EPSG:32635", truth.crs, always_xy=True)
    camera = np.column_stack(to_city.transform(*index.utm[test].T))
    assert np.abs(camera - expected[test] - truth.centre).max() < 1e-3


def test_the_height_of_a_tile_lies_where_its_truth_says(written, tmp_path):
    truth = read_pair_truth(written, read_cvact(written).split("val").ids)
    path = write_height(tmp_path / "height.tif", truth.heights[0], truth.tile_extent_m, Georeference(truth.crs),
                        tuple(truth.centre[0]))
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 3879 and np.array_equal(file.read(1), truth.heights[0])
        assert np.abs(np.array(file.xy(23.5, 23.5)) - truth.centre[0]).max() < 1e-6  # between the four middle cells


def test_tiles_without_cast_shadows_keep_their_shading_and_all_else(district, tmp_path):
    options = PairsOptions("cvact_aligned", train=2, val=1, tile_px=48, panorama_size=(16, 32), supersample=1,
                           seed=3)
    for name, cast in (("with", True), ("without", False)):
        (tmp_path / name).mkdir()
        write_pairs(tmp_path / name, replace(options, cast_shadows=cast), [district()])
    files = sorted(p.relative_to(tmp_path / "with") for p in (tmp_path / "with").rglob("*") if p.is_file())
    changed = [f for f in files if (tmp_path / "with" / f).read_bytes() != (tmp_path / "without" / f).read_bytes()]
    assert {f.parts[0] for f in changed} == {"satview_correct"} and len(changed) == 3
    lit, shaded = (np.stack([np.asarray(Image.open(tmp_path / name / f), float) for f in changed])
                   for name in ("without", "with"))
    assert (lit >= shaded - 1).all() and 0.1 < (lit > shaded + 10).any(axis=-1).mean() < 0.8
    # Slopes of one roof differ still: shading by orientation is no cast shadow.
    truth = read_pair_truth(tmp_path / "without")
    ids = [f.name.split("_satView")[0] for f in changed]
    kinds = np.stack([truth.classes[truth.ids.index(i)] for i in ids])
    assert lit.mean(axis=-1)[kinds == BUILDING].std() > 10


def test_one_picture_may_be_finer_than_the_other(district, tmp_path):
    rgb = {}
    for name, options in {"same": {}, "finer tile": {"tile_supersample": 3},
                          "finer panorama": {"panorama_supersample": 3}}.items():
        folder = Path(tmp_path / name)
        folder.mkdir()
        write_pairs(folder, PairsOptions("cvact_aligned", train=1, val=1, tile_px=24, panorama_size=(16, 32),
                                         supersample=1, **options), [district()])
        rgb[name] = [np.asarray(Image.open(p)) for d in ("satview_correct", "streetview")
                     for p in sorted((folder / d).iterdir())]
    same = {name: [bool(np.array_equal(a, b)) for a, b in zip(rgb["same"], pictures, strict=True)]
            for name, pictures in rgb.items()}
    assert same == {"same": [True] * 4, "finer tile": [False, False, True, True],
                    "finer panorama": [True, True, False, False]}
