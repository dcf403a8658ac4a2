"""WorldStrat in its layouts: made by rasterio from the fact sheet's description, and the real places."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from rsnb.data.audit import audit_dataset as audit_of
from rsnb.data.earth.bands import L2A_ORDER
from rsnb.data.earth.worldstrat import audit, footprint_coordinates, list_worldstrat, read_worldstrat
from rsnb.data.earth.worldstrat_dates import read_metadata
from rsnb.errors import InputError

# 10 m in degrees at 50 N: unequal numbers, as published
STEP = (0.00014, 0.00009)
CORNER = (28.57, 50.48)
# Written as the published places have them; lowres_date and highres_date, delta in days.
LANDCOVER = {"n": 1, "lon": 28.58, "lat": 50.46, "bounds": "[28.57, 50.46, 28.59, 50.47]", "lowres_date": "2019-10-18",
             "highres_date": "2019-10-20", "delta": -2, "rank": 14.0, "cloud_cover": 0.5, "area": 2.5}


def write_tiff(path, values, corner=CORNER, nodata=0.0, descriptions=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    transform = Affine(STEP[0], 0, corner[0], 0, -STEP[1], corner[1])
    with rasterio.open(path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
                       dtype=values.dtype, crs="EPSG:4326", transform=transform, nodata=nodata) as file:
        file.write(values)
        if descriptions:
            file.descriptions = descriptions


def frame(level, height=20, width=16):
    """Band k holds level + k / 100 everywhere."""
    values = np.empty((12, height, width), np.float32)
    values[:] = level + np.arange(12)[:, None, None] / 100
    return values


@pytest.fixture
def tree(tmp_path):
    """The published layout: three revisits whose numbers are not in date order."""
    low, high = tmp_path / "lr_dataset/Landcover-7/L2A", tmp_path / "hr_dataset/12bit/Landcover-7"
    for n, date in ((1, "2019-10-18"), (2, "2019-08-24"), (3, "2019-09-03")):
        write_tiff(low / f"Landcover-7-{n}-L2A_data.tiff", frame(n / 10))
        scl = np.full((1, 20, 16), 4, np.float32)
        scl[0, :5] = 9 if n == 3 else 5
        write_tiff(low / f"Landcover-7-{n}-SCL.tiff", scl)
        (low / f"Landcover-7-{n}.metadata").write_text(json.dumps(LANDCOVER | {"n": n, "lowres_date": date,
            "delta": int((np.datetime64(date) - np.datetime64("2019-10-20")).astype(int))}))
    write_tiff(low.parent / "L1C/Landcover-7-1-L1C_data.tiff", np.ones((13, 4, 4), np.float32))
    write_tiff(low.parent / "L1C/Landcover-7-1-CLM.tiff", np.ones((1, 4, 4), np.float32))
    high.mkdir(parents=True)
    with rasterio.open(high / "Landcover-7_rgbn.tiff", "w", driver="GTiff", count=4, height=40, width=40,
                       dtype="uint16", crs="EPSG:4326") as file:
        file.write(np.broadcast_to(np.array([819, 1638, 2457, 4095], np.uint16)[:, None, None], (4, 40, 40)))
    return tmp_path


def test_dates_and_bands_by_hand(tree):
    place = read_worldstrat(tree, bands=("red", "B8A"))
    assert place.name == "Landcover-7" and place.stack.bands == ("red", "nir08")
    assert place.stack.dates.astype("datetime64[D]").astype(str).tolist() == ["2019-08-24", "2019-09-03", "2019-10-18"]
    # revisits 2, 3, 1; red is the 4th band of Level-2A (+ 0.03), B8A the 9th (+ 0.08)
    assert np.allclose(place.stack.images[:, 0, 3, 3], [0.23, 0.33, 0.13])
    assert np.allclose(place.stack.images[:, 1, 3, 3], [0.28, 0.38, 0.18])
    assert place.offset_days.tolist() == [-57, -47, -2] and not place.far.any()
    assert place.cloud_cover.tolist() == [0.5] * 3
    assert place.high_date == np.datetime64("2019-10-20") and place.notes == ()


def test_clear_comes_from_the_classification(tree):
    clear = read_worldstrat(tree).stack.clear
    assert clear[0].all() and clear[2].all() and not clear[1, :5].any() and clear[1, 5:].all()


def test_both_resolutions_share_the_footprint(tree):
    place = read_worldstrat(tree)
    h, w = place.high_resolution.shape[1:]
    assert place.high_bands == ("red", "green", "blue", "nir")
    assert np.allclose(place.high_resolution[:, 0, 0], [0.2, 0.4, 0.6, 1.0], atol=1e-4)
    low, high = place.stack.transform, place.high_transform
    assert low[:1] == pytest.approx(STEP[:1]) and low[4] == pytest.approx(-STEP[1])  # degrees stay unequal
    assert high[2] == low[2] and high[5] == low[5]
    assert high[0] * w == pytest.approx(low[0] * 16) and high[4] * h == pytest.approx(low[4] * 20)
    assert place.ratio == (2.0, 2.5)
    # the centre of low-resolution column 3 of 16 and of high-resolution pixel 8.25 of 40 are the same ground
    assert footprint_coordinates(16)[3] == pytest.approx(np.interp(8.25, range(40), footprint_coordinates(40)))


@pytest.mark.parametrize("kind, values, gone", [
    ("CLM", [0, 1, 255], [False, True, True]), ("CLP", [20, 101, 103], [False, False, True]),
    ("dataMask", [1, 0, 1], [False, True, False])])
def test_other_masks(tree, kind, values, gone):
    for path in tree.rglob("*SCL.tiff"):
        path.unlink()
    mask = np.full((1, 20, 16), values[0], np.float32)
    mask[0, 0, 1:3] = values[1:]
    write_tiff(tree / f"lr_dataset/Landcover-7/L2A/Landcover-7-2-{kind}.tiff", mask)
    place = read_worldstrat(tree)
    assert (~place.stack.clear[0, 0, :3]).tolist() == gone and place.stack.clear[1:].all()
    assert np.isnan(place.stack.images[0, 0, 0, :3]).tolist() == (gone if kind == "dataMask" else [False] * 3)


def test_a_dark_band_is_no_hole_but_an_empty_pixel_is(tree):
    values = frame(0.2)
    values[3, 2, 2] = 0  # red alone
    values[:, 7, 7] = 0
    write_tiff(tree / "lr_dataset/Landcover-7/L2A/Landcover-7-2-L2A_data.tiff", values)
    place = read_worldstrat(tree)
    assert place.stack.images[0, 0, 2, 2] == 0 and np.isnan(place.stack.images[0, :, 7, 7]).all()
    assert not place.stack.clear[0, 7, 7] and place.stack.clear[0, 2, 2]


def test_a_frame_with_a_row_more_is_resampled_and_noted(tree):
    values = frame(0.2, height=21)
    path = tree / "lr_dataset/Landcover-7/L2A/Landcover-7-2-L2A_data.tiff"
    write_tiff(path, values, (CORNER[0] + STEP[0] / 2, CORNER[1]))
    place = read_worldstrat(tree)
    assert place.stack.images.shape == (3, 3, 20, 16) and any("16 x 21" in note for note in place.notes)
    assert np.allclose(place.stack.images[0, 0, :, 2:], 0.23, atol=1e-6)
    write_tiff(path, values, (29.0, 50.48))
    with pytest.raises(InputError, match="half") as caught:
        read_worldstrat(tree)
    assert "Landcover-7-2-L2A_data" in str(caught.value)


def test_far_frames_are_flagged(tree):
    path = tree / "lr_dataset/Landcover-7/L2A/Landcover-7-2.metadata"
    path.write_text(json.dumps(LANDCOVER | {"lowres_date": "2018-10-19", "delta": -366}))
    place = read_worldstrat(tree)
    assert place.far.tolist() == [True, False, False] and any("365" in note for note in place.notes)
    assert read_worldstrat(tree, max_offset_days=366).far.tolist() == [False] * 3


def test_what_cannot_be_dated_or_read_is_left_out_and_said(tree):
    low = tree / "lr_dataset/Landcover-7/L2A"
    (low / "Landcover-7-1.metadata").unlink()
    (low / "Landcover-7-3-L2A_data.tiff").write_bytes((low / "Landcover-7-3-L2A_data.tiff").read_bytes()[:900])
    place = read_worldstrat(tree)
    assert len(place.stack) == 1 and len(place.notes) == 2
    assert "revisit 1" in place.notes[0] and "revisit 3" in place.notes[1]
    (low / "Landcover-7-3-L2A_data.tiff").unlink()
    (low / "Landcover-7-2.metadata").write_text(json.dumps(LANDCOVER | {"lowres_date": "18th of October"}))
    with pytest.raises(InputError, match=r"dates\.csv"):
        read_worldstrat(tree)


def test_dates_from_a_table(tree):
    for path in tree.rglob("*.metadata"):
        path.unlink()
    rows = ["Landcover-7,1,2019-10-18,2019-10-20,1.5", "Landcover-8,2,2001-01-01,2001-01-01,0",
            "Landcover-7,2,2019-08-24,2019-10-20,", "Landcover-7,3,2019/09/03,2019-10-20,7"]
    (tree / "dates.csv").write_text("aoi;revisit_n;lowres_date;highres_date;cloud_cover\n".replace(";", ",")
                                    + "\n".join(rows))
    place = read_worldstrat(tree)
    assert place.offset_days.tolist() == [-57, -47, -2] and np.isnan(place.cloud_cover[0])


def test_amnesty_names_with_blanks_and_deltas_in_words(tmp_path):
    for n, delta in ((1, "-2 days +00:00:00"), (2, "5 days 10:22:01"), (3, "-30 days, 0:00:00")):
        write_tiff(tmp_path / f"Amnesty_POI-13-1-1-{n}-L2A_data.tiff", frame(n / 10))
        write_tiff(tmp_path / f"Amnesty POI-13-1-1-{n}-CLM.tiff", np.zeros((1, 20, 16), np.float32))
        (tmp_path / f"Amnesty POI-13-1-1-{n}.metadata").write_text(
            json.dumps({"cloud_cover": 3.0, "target_date": "2018-05-03", "delta": delta, "area": 2.5}))
    place = read_worldstrat(tmp_path, "Amnesty POI-13-1-1")
    assert place.name == "Amnesty_POI-13-1-1" and place.stack.clear.all()
    assert place.stack.dates.astype(str).tolist() == ["2018-04-03T00:00:00", "2018-05-01T00:00:00",
                                                      "2018-05-08T10:22:01"]
    assert np.allclose(place.stack.images[:, 0, 0, 0], [0.33, 0.13, 0.23])
    assert place.high_resolution is None and place.high_bands == ()


@pytest.mark.parametrize("text", [
    '{"lowres_date": "2019-10-18", "delta": -2}', "{'lowres_date': '2019-10-18', 'delta': -2}",
    "lowres_date: 2019-10-18\ndelta: -2\n", "lowres_date,2019-10-18\r\ndelta,-2\r\n",
    "\ufeffLowres_Date = 2019-10-18\ndelta=-2"])
def test_metadata_in_several_spellings(tmp_path, text):
    (tmp_path / "a.metadata").write_text(text, encoding="utf-8")
    got = read_metadata(tmp_path / "a.metadata")
    assert got["lowres_date"] == "2019-10-18" and int(got["delta"]) == -2


def test_a_delta_at_odds_with_the_dates_is_noted(tree):
    path = tree / "lr_dataset/Landcover-7/L2A/Landcover-7-2.metadata"
    path.write_text(path.read_text().replace("-57", "57"))
    assert any("57" in note for note in read_worldstrat(tree).notes)


def test_bands_named_in_the_file_go_before_their_order(tree):
    path = tree / "lr_dataset/Landcover-7/L2A/Landcover-7-2-L2A_data.tiff"
    write_tiff(path, frame(0.2)[::-1], descriptions=["B12", "B11", "B09", "B8A", "B08", "B07", "B06", "B05", "B04",
                                                     "B03", "B02", "B01"])
    assert read_worldstrat(tree).stack.images[0, 0, 0, 0] == pytest.approx(0.23)
    write_tiff(path, frame(0.2)[:10])
    assert "10 bands" in read_worldstrat(tree).notes[0]


def test_digital_numbers_become_reflectance(tree):
    path = tree / "lr_dataset/Landcover-7/L2A/Landcover-7-2-L2A_data.tiff"
    write_tiff(path, (frame(0.2) * 10000).round().astype(np.uint16))
    assert read_worldstrat(tree).stack.images[0, 0, 0, 0] == pytest.approx(0.23)


def write_prepared(root, sizes=((16, 20),) * 3):
    folder = root / "Landcover-9"
    folder.mkdir(parents=True)
    for i, size in enumerate(sizes, start=1):
        Image.new("RGB", size, (10 * i, 0, 255)).save(folder / f"{i}.png")
    Image.new("RGB", (40, 40), (51, 0, 0)).save(folder / "hr_x2.png")
    (root / "dates.csv").write_text("aoi,frame,revisit_n,lowres_date,highres_date\n" + "".join(
        f"Landcover-9,{i},{9 - i},2020-0{i}-01,2020-02-05\n" for i in (1, 2, 3)))
    return folder


def test_prepared_frames(tmp_path):
    folder = write_prepared(tmp_path / "temporal_dataset")
    for root in (tmp_path, folder):  # from the top, or one place whose dates lie beside it
        place = read_worldstrat(root, bands=("blue", "red"))
        assert place.stack.bands == ("blue", "red") and np.allclose(place.stack.images[:, 1, 0, 0] * 255, [10, 20, 30])
        assert place.offset_days.tolist() == [-35, -4, 25] and place.stack.crs is None
        assert place.stack.transform == (2 / 16, 0, -1, 0, 2 / 20, -1)
        assert place.high_resolution.shape == (3, 40, 40) and place.high_transform == (2 / 40, 0, -1, 0, 2 / 40, -1)
    with pytest.raises(InputError, match="nir"):
        read_worldstrat(tmp_path, bands=("nir",))


def test_prepared_frames_of_two_sizes_are_refused(tmp_path):
    write_prepared(tmp_path, ((16, 20), (16, 20), (17, 20)))
    with pytest.raises(InputError, match="17 x 20") as caught:
        read_worldstrat(tmp_path)
    assert "3.png" in str(caught.value)


def test_both_kinds_of_frames_of_one_place(tree):
    folder = write_prepared(tree / "temporal")
    shutil.move(folder, folder.parent / "Landcover-7")
    (tree / "temporal/dates.csv").write_text((tree / "temporal/dates.csv").read_text().replace("-9,", "-7,"))
    assert read_worldstrat(tree).stack.crs == "EPSG:4326" and len(list_worldstrat(tree)) == 2
    assert read_worldstrat(tree, frames="prepared").stack.crs is None


@pytest.mark.parametrize("call, what", [
    (lambda t: read_worldstrat(t / "none"), "no such folder"),
    (lambda t: read_worldstrat(t, "Landcover-8"), "Landcover-7"),
    (lambda t: read_worldstrat(t, bands=("thermal",)), "thermal"), (lambda t: read_worldstrat(t, bands=()), "no band"),
    (lambda t: read_worldstrat(t, high_resolution="pan"), "rgbn"), (lambda t: read_worldstrat(t, frames="x"), "frames"),
    (lambda t: list_worldstrat(t / "hr_dataset"), "no WorldStrat")])
def test_bad_arguments_are_named(tree, call, what):
    with pytest.raises(InputError, match=what):
        call(tree)


def test_audit_finds_what_was_broken(tree):
    found = audit(tree)
    assert found.counts["places"] == 1 and found.counts["revisits"] == 3 and found.ok
    low = tree / "lr_dataset/Landcover-7/L2A"
    (low / "Landcover-7-1.metadata").write_text("?")
    data = (low / "Landcover-7-2-L2A_data.tiff").read_bytes()
    (low / "Landcover-7-2-L2A_data.tiff").write_bytes(data[: len(data) // 2])
    write_tiff(low / "Landcover-7-3-SCL.tiff", np.full((1, 20, 15), 4, np.float32))
    shutil.copy(low / "Landcover-7-3-L2A_data.tiff", low / "Landcover-7-4-L2A_data.tiff")
    shutil.copy(low / "Landcover-7-3.metadata", low / "Landcover-7-5.metadata")
    (tree / "old").mkdir()
    shutil.copy(low / "Landcover-7-3-SCL.tiff", tree / "old")
    kinds = [(f.kind, f.path.rsplit("/", 1)[-1]) for f in audit_of("worldstrat", tree).findings]
    for wanted in [("unreadable", "Landcover-7-1-L2A_data.tiff"), ("unreadable", "Landcover-7-2-L2A_data.tiff"),
                   ("size", "Landcover-7-3-SCL.tiff"), ("missing", "Landcover-7-4-L2A_data.tiff"),
                   ("duplicate", "Landcover-7-4-L2A_data.tiff"), ("missing", "Landcover-7-5.metadata"),
                   ("duplicate", "Landcover-7-3-SCL.tiff")]:
        assert wanted in kinds, wanted


def test_the_real_place(real):
    root = real("nb6_temporal/worldstrat_Landcover-14956")
    place = read_worldstrat(root, bands=L2A_ORDER)
    assert place.stack.images.shape == (5, 12, 161, 155) and place.stack.crs == "EPSG:4326"
    assert place.offset_days.tolist() == [-57, -47, -37, -12, -2] and place.notes == ()
    # against rasterio alone: revisit 5 is the earliest
    with rasterio.open(root / "L2A/Landcover-14956-5-L2A_data.tiff") as file:
        assert np.array_equal(place.stack.images[0], file.read()) and tuple(file.transform)[:6] == place.stack.transform
    with rasterio.open(root / "L2A/Landcover-14956-2-SCL.tiff") as file:
        assert np.array_equal(~place.stack.clear[3], np.isin(file.read(1), (0, 1, 3, 8, 9, 10)))
    width, height = 155 * place.stack.transform[0], 161 * -place.stack.transform[4]
    pan = read_worldstrat(root, high_resolution="pan")
    assert pan.high_bands == ("pan",) and pan.high_resolution.shape == (1, 1054, 1054)
    assert pan.high_transform[0] * 1054 == pytest.approx(width)
    assert pan.high_transform[4] * 1054 == pytest.approx(-height)
    # the footprints agree: the picture made small looks like the frame of two days before
    from rsnb.data.raster_tools.coregister import find_shift
    from rsnb.data.raster_tools.resample import resample_images

    shift = find_shift(resample_images(pan.high_resolution, 161, 155, "average"), pan.stack.images[4].mean(axis=0))
    assert shift.trusted and max(abs(shift.rows), abs(shift.cols)) < 1.5
    assert audit(root).ok and audit(root).counts["revisits"] == 5


def test_the_real_prepared_places(real):
    root = real("nb6_temporal/worldstrat_rgb5")
    places = list_worldstrat(root)
    assert len(places) == 9 and audit(root).ok and audit(root).counts["prepared frames"] == 45
    place = read_worldstrat(root, "Landcover-461460")
    assert place.offset_days.tolist() == [-67, -52, -7, 13, 78] and place.high_resolution.shape == (3, 314, 314)
