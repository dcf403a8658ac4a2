"""The shifts that a series keeps: read from hand-typed files, and found again in the pictures with the stated sign."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

from rsnb.city import true_shifts
from rsnb.city.grids import Grid
from rsnb.city.seasons import BANDS, between
from rsnb.city.series import SeriesTruth
from rsnb.city.true_images import truth_image
from rsnb.city.write_worldstrat import WorldStratOptions, write_place
from rsnb.errors import InputError


def put(folder, series, place=""):
    path = folder / "truth" / place / "series.json"
    path.parent.mkdir(parents=True)
    path.write_text(series if isinstance(series, str) else json.dumps(series))
    return folder


def test_shifts_of_a_catalogue_come_in_the_order_of_the_names(tmp_path):
    put(tmp_path, [{"id": "S2A_b", "shift_px_right_down": [0.25, -0.5]},
                   {"id": "S2A_a", "shift_px_right_down": [0, 1]}])
    assert true_shifts(tmp_path, ["S2A_a", "S2A_b", "S2A_a"]).tolist() == [[0, 1], [0.25, -0.5], [0, 1]]
    assert true_shifts(tmp_path, []).shape == (0, 2)


def test_shifts_of_worldstrat_by_the_readers_names_and_by_numbers(tmp_path):
    rows = [{"n": n, "shift_px_right_down": [n / 10, -n / 10]} for n in (10, 1, 2)]
    put(tmp_path, {"place": "City-0700", "revisits": rows}, "City-0700")
    got = true_shifts(tmp_path, ["City-0700-2-L2A_data", "City-0700-10"], "City-0700")
    assert got.tolist() == [[0.2, -0.2], [1.0, -1.0]]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"series\.json: there is no such file"):
        true_shifts(tmp_path, ["a"])
    put(tmp_path, [{"id": "a", "shift_px_right_down": [0, 0]}])
    with pytest.raises(InputError, match=r"there is no frame 'b'\. Known are a"):
        true_shifts(tmp_path, ["a", "b"])
    with pytest.raises(InputError, match="City-0700.*there is no such file"):
        true_shifts(tmp_path, ["City-0700-1"], "City-0700")


@pytest.mark.parametrize("text", ["{", "[1]", '[{"id": "a"}]', '{"id": "a"}'])
def test_a_spoilt_series_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="holds no shifts"):
        true_shifts(put(tmp_path, text), ["a"])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_content_lies_further_left_and_up_where_the_shift_is_positive(tmp_path):
    """A bright square of 200 m in the middle of level land; its centre of mass, seen through any symmetric optics, is
    at the middle of the picture less the shift."""
    surface = np.zeros((300, 300), np.int32)  # 2 m
    surface[100:200, 100:200] = 1
    step = np.array([2.0 / (111_320 * np.cos(np.radians(60.2))), 2.0 / 111_400])  # of a degree
    grid = Grid("EPSG:4326", (step[0], 0.0, 25.0, 0.0, -step[1], 60.2), surface.shape)
    spectra = np.array([[0.05] * len(BANDS), [0.35] * len(BANDS)])
    table = between(spectra, spectra, peak_day=170.0)
    truth = SeriesTruth(grid, surface, np.zeros(surface.shape, np.float32), np.zeros((2, *surface.shape), np.float32),
                        np.ones(surface.shape, np.float32), table)
    write_place(tmp_path, "Flat-0000", truth, WorldStratOptions(covers=(0.0,) * 4, hr_pixels=400, shift_px=0.5), 0)
    names = [f"Flat-0000-{n}-L2A_data" for n in range(1, 5)]
    shifts = true_shifts(tmp_path, names, "Flat-0000")
    assert (np.abs(shifts).max(axis=0) > 0.1).all()
    for name, shift in zip(names, shifts, strict=True):
        with rasterio.open(tmp_path / "lr_dataset" / "Flat-0000" / "L2A" / f"{name}.tiff") as file:
            ten_metres = file.read([2, 3, 4, 8]).mean(axis=0)
        middle = np.array(ten_metres.shape[::-1]) / 2
        assert centre(ten_metres) == pytest.approx(middle - shift, abs=0.03)
    still = truth_image(tmp_path, "Flat-0000", "2022-06-20", ten_metres.shape, bands=("red",))[0]
    assert centre(still) == pytest.approx(middle, abs=0.01)


def centre(image):
    """(x, y) of what is bright, pixels, centres at + 0.5."""
    weight = np.clip(image - np.median(image[:5]) - 0.03, 0, None)
    rows, columns = np.indices(image.shape) + 0.5
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
