"""The series in WorldStrat's layout, judged by rasterio and json, beside a real place of WorldStrat."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from skimage.registration import phase_cross_correlation

from rsnb.city.store import checksums
from rsnb.city.true_images import truth_image
from rsnb.city.write_worldstrat import WorldStratOptions, ensure_worldstrat, write_worldstrat
from rsnb.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
SMALL = WorldStratOptions(covers=(0.0, 0.0, 0.3, 1.0, 0.0), hr_pixels=400, n_country=1)
BANDS = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09", "swir16",
         "swir22")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, quick_district):
    return ensure_worldstrat(tmp_path_factory.mktemp("city"), SMALL)


def read(path):
    with rasterio.open(path) as f:
        return f.read()


def series(folder, place="City-0700"):
    return json.loads((folder / "truth" / place / "series.json").read_text())


def low(folder, place, n, what="L2A_data"):
    return folder / "lr_dataset" / place / "L2A" / f"{place}-{n}-{what}.tiff"


def test_the_tree_is_worldstrat_s(folder):
    assert sorted(p.name for p in (folder / "lr_dataset").iterdir()) == ["City-0700", "Country-0700"]
    for place in ("City-0700", "Country-0700"):
        names = sorted(p.name for p in (folder / "lr_dataset" / place / "L2A").iterdir())
        expected = [f"{place}-{n}-{what}.tiff" for n in range(1, 6)
                    for what in ("L2A_data", "SCL", "CLM", "CLP", "dataMask")]
        assert names == sorted(expected + [f"{place}-{n}.metadata" for n in range(1, 6)])
        assert sorted(p.name for p in (folder / "hr_dataset" / "12bit" / place).iterdir()) == [
            f"{place}_pan.tiff", f"{place}_rgbn.tiff"]


def test_files_are_kept_as_in_a_real_place(real, folder):
    """The profile of each kind of file, and the keys and types of the metadata, are those of a real place."""
    there = real("nb6_temporal/worldstrat_Landcover-14956")
    pairs = {there / "L2A" / "Landcover-14956-2-L2A_data.tiff": low(folder, "City-0700", 2),
             there / "L2A" / "Landcover-14956-2-SCL.tiff": low(folder, "City-0700", 2, "SCL"),
             there / "HR" / "Landcover-14956_pan.tiff": folder / "hr_dataset/12bit/City-0700/City-0700_pan.tiff",
             there / "HR" / "Landcover-14956_rgbn.tiff": folder / "hr_dataset/12bit/City-0700/City-0700_rgbn.tiff"}
    for theirs, ours in pairs.items():
        with rasterio.open(theirs) as a, rasterio.open(ours) as b:
            for what in ("count", "dtypes", "nodata", "crs", "compression", "driver"):
                assert getattr(a, what) == getattr(b, what), (theirs.name, what)
            assert a.interleaving == b.interleaving or a.count == 1
            assert a.transform.is_identity == b.transform.is_identity
    theirs = json.loads((there / "L2A" / "Landcover-14956-2.metadata").read_text())
    ours = json.loads((folder / "lr_dataset/City-0700/L2A/City-0700-2.metadata").read_text())
    assert {k: type(v) for k, v in theirs.items()} == {k: type(v) for k, v in ours.items()}
    assert list(theirs) == list(ours) and len(json.loads(ours["bounds"])) == 4


def test_default_sizes_are_worldstrat_s():
    side = WorldStratOptions().hr_pixels * 1.5
    assert (WorldStratOptions().hr_pixels, WorldStratOptions().hr_pixels // 4) == (1054, 263)
    assert 154 <= round(side / 9.88) <= 163 and 153 <= round(side / 10.07) <= 162


def test_pixels_are_degrees_and_not_square_in_metres(folder):
    with rasterio.open(low(folder, "City-0700", 1)) as f:
        assert f.crs.to_epsg() == 4326 and f.shape == (61, 60)
        metres = np.array(f.res[::-1]) * 111412, np.cos(np.radians(60.17))
        assert metres[0][0] == pytest.approx(600 / 61, rel=0.002)
        assert metres[0][1] * metres[1] == pytest.approx(600 / 60, rel=0.006)
        text = json.loads((folder / "lr_dataset/City-0700/L2A/City-0700-1.metadata").read_text())
        assert list(f.bounds) == pytest.approx(json.loads(text["bounds"]), abs=1e-12)


def test_revisit_numbers_are_no_date_order_and_deltas_are_days(folder):
    dates = []
    for n in range(1, 6):
        text = json.loads((folder / f"lr_dataset/City-0700/L2A/City-0700-{n}.metadata").read_text())
        low_date, high_date = np.datetime64(text["lowres_date"]), np.datetime64(text["highres_date"])
        assert text["delta"] == (low_date - high_date).astype(int) and text["n"] == n
        assert str(high_date) == "2022-06-20" and abs(text["delta"]) <= 95
        dates.append(low_date)
    assert dates != sorted(dates) and len(set(dates)) == 5


def test_coarse_bands_are_repeated_to_ten_metres(folder):
    image = read(low(folder, "City-0700", 1))
    # reflectance is a whole number of ten thousandths, as in a real place (0.0285, 0.4308 ...)
    assert np.abs(image * 1e4 - np.round(image * 1e4)).max() < 2e-3
    same = (image[:, :, 1:] == image[:, :, :-1]).mean(axis=(1, 2))
    native = np.array([60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20])
    # 20 m bands: every other column equals its neighbour; 60 m bands: five of six
    assert same[native == 10].max() < 0.05
    assert same[native == 20] == pytest.approx(0.5, abs=0.03) and same[native == 60] == pytest.approx(5 / 6, abs=0.04)


def test_clear_revisits_show_the_truth_and_the_recorded_shift(folder):
    found = 0
    for record in series(folder)["revisits"]:
        if record["cloud_share"] > 0:
            continue
        image = read(low(folder, "City-0700", record["n"]))
        truth = truth_image(folder, "City-0700", record["date"], image.shape[1:])
        assert image.mean(axis=(1, 2)) == pytest.approx(truth.mean(axis=(1, 2)), rel=0.03)
        window = np.hanning(61)[:, None] * np.hanning(60)
        still, moved = ((i - i.mean()) * window for i in (truth[7], image[7]))
        shift, *_ = phase_cross_correlation(still, moved, upsample_factor=50, normalization=None)
        assert shift[::-1] == pytest.approx(record["shift_px_right_down"], abs=0.15)
        found += 1
    assert found == 3


def test_dates_matter(folder):
    """Each clear revisit is nearest to the truth of its own date, and what changed between two did change in truth."""
    ten_metres = [1, 2, 3, 7]
    clear = [r for r in series(folder, "Country-0700")["revisits"] if r["cloud_share"] == 0]
    images = [read(low(folder, "Country-0700", r["n"]))[ten_metres] for r in clear]
    truths = [truth_image(folder, "Country-0700", r["date"], images[0].shape[1:])[ten_metres] for r in clear]
    error = np.array([[np.sqrt(np.mean((a - b) ** 2)) for b in truths] for a in images])
    assert len(clear) == 3 and (error.argmin(axis=1) == np.arange(3)).all()
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.corrcoef((images[i] - images[j]).ravel(), (truths[i] - truths[j]).ravel())[0, 1] > 0.7


def test_masks_agree_with_each_other_and_with_the_truth(folder):
    for record in series(folder)["revisits"]:
        scl, clm, clp, data = (read(low(folder, "City-0700", record["n"], w))[0]
                               for w in ("SCL", "CLM", "CLP", "dataMask"))
        cloud, shadow, opacity, _ = read(folder / "truth" / "City-0700" / f"City-0700-{record['n']}-clouds.tif")
        assert ((clm == 1) == np.isin(scl, (8, 9, 10))).all() and (data == 1).all()
        assert clp.min() >= 0 and clp.max() <= 255
        # probabilities come in pixels of 160 m and are no exact opacity
        assert (clp[:15, :15] == clp[0, 0]).all() and np.abs(clp / 255 - opacity / 200).mean() > 0.005
        if 0 < record["cloud_share"] < 1:
            assert np.corrcoef(clp.ravel(), opacity.ravel())[0, 1] > 0.6
        assert (clm == cloud).mean() > 0.85
        assert cloud.mean() == pytest.approx(record["cloud_share"], abs=1e-4)
    shares = [r["cloud_share"] for r in series(folder)["revisits"]]
    assert min(shares) == 0 and max(shares) == 1


def test_high_resolution_pictures_are_the_true_city_with_other_radiometry(folder):
    here = folder / "hr_dataset" / "12bit" / "City-0700"
    pan, rgbn = read(here / "City-0700_pan.tiff"), read(here / "City-0700_rgbn.tiff")
    assert pan.shape == (1, 400, 400) and rgbn.shape == (4, 100, 100) and max(pan.max(), rgbn.max()) <= 4095
    truth = truth_image(folder, "City-0700", series(folder)["highres_date"], (100, 100), bands=("red", "green", "blue",
                                                                                              "nir"))
    shift = np.array(series(folder)["highres_shift_m_right_down"]) / 6.0
    for numbers, true in zip(rgbn.astype(float), truth, strict=True):
        # a straight line through (reflectance, number) explains the picture up to blur, shift and noise
        assert np.corrcoef(numbers.ravel(), true.ravel())[0, 1] > 0.75
        window = np.hanning(100)[:, None] * np.hanning(100)
        found, *_ = phase_cross_correlation((true - true.mean()) * window, (numbers - numbers.mean()) * window,
                                            upsample_factor=50, normalization=None)
        assert found[::-1] == pytest.approx(shift, abs=0.2)
    stored = read(folder / "truth" / "City-0700" / "City-0700-high-resolution.tif") / 1e4
    fine = truth_image(folder, "City-0700", series(folder)["highres_date"], (400, 400), bands=("red", "green", "blue",
                                                                                             "nir"))
    assert np.abs(stored - fine).max() < 6e-5


def test_places_differ_and_bytes_do_not(folder, quick_district, tmp_path):
    assert (read(low(folder, "City-0700", 1)) != read(low(folder, "Country-0700", 1))).mean() > 0.9
    tiny = replace(SMALL, covers=(0.0,), hr_pixels=64, n_country=1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_worldstrat(tmp_path / name, tiny)
    assert checksums(tmp_path / "a") == checksums(tmp_path / "b")
    assert len(re.findall("\n", checksums(tmp_path / "a"))) == 2 * (6 + 2 + 4)


@pytest.mark.parametrize("change", [
    {"covers": (1.2,)}, {"covers": ()}, {"hr_pixels": 10}, {"hr_pixels": 400.5}, {"districts": ((9, 9),)},
    {"districts": (), "n_country": 0}, {"shift_px": -1.0}])
def test_wrong_options_are_refused(change):
    with pytest.raises(InputError):
        replace(SMALL, **change)
