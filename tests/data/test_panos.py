"""panos.txt: the published row, all separators, and each way it can be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsnb.data import HELSINKI, PanoTable, read_panos, write_panos
from rsnb.errors import InputError
from rsnb.scenes import Georeference

ROW = ("AXD-LhS8HF3v1XajBnV2nA", "60.1644797333783", "24.92898345052589", "4400.232103", "6056.963851")
OTHER = ("second", "60.166245870", "24.929088360", "4597", "6063")


@pytest.mark.parametrize("separator", [",", ", ", "\t", " ", "   ", ";"])
@pytest.mark.parametrize("header", [True, False])
def test_published_row(tmp_path, separator, header):
    lines = [separator.join(r) for r in ([("Pano_ID", "Lat", "Lon", "Y", "X")] if header else []) + [ROW, OTHER]]
    path = tmp_path / "panos.txt"
    path.write_text("\ufeff" + "\r\n".join(["# from somewhere", *lines, ""]), encoding="utf-8")
    table = read_panos(path, HELSINKI)
    assert table.ids == (ROW[0], "second") and len(table) == 2 and table.row("second") == 1
    assert table.lat[0] == 60.1644797333783 and table.lon[0] == 24.92898345052589
    assert (table.x[0], table.y[0]) == (6056.963851, 4400.232103)


def test_columns_by_header_and_positions_computed(tmp_path):
    path = tmp_path / "panos.txt"
    path.write_text(f"lng,latitude,panoid\n{ROW[2]},{ROW[1]},{ROW[0]}\n")
    table = read_panos(path, HELSINKI)
    assert (table.x[0], table.y[0]) == pytest.approx((6056.963851, 4400.232103), abs=1e-3)
    with pytest.raises(InputError, match="no X and Y"):
        read_panos(path)


@pytest.mark.parametrize("one", ["X", "Y"])
def test_header_with_only_one_of_x_and_y(tmp_path, one):
    path = tmp_path / "panos.txt"
    path.write_text(f"Pano_ID,Lat,Lon,{one}\n{ROW[0]},{ROW[1]},{ROW[2]},{ROW[3]}\n")
    for georeference in (None, HELSINKI):
        with pytest.raises(InputError, match=r"line 1: the header names only one of X and Y"):
            read_panos(path, georeference)


def test_full_coordinates_become_model_metres(tmp_path):
    path = tmp_path / "panos.txt"
    path.write_text(f"{ROW[0]} {ROW[1]} {ROW[2]} 6672400.232103 25496056.963851\n")
    table = read_panos(path, HELSINKI)
    assert (table.x[0], table.y[0]) == pytest.approx((6056.963851, 4400.232103), abs=1e-6)
    same = read_panos(path, Georeference("EPSG:3879"))
    assert same.x[0] == 25496056.963851


numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(st.lists(st.tuples(st.text("abcXYZ-_019", min_size=1, max_size=22), st.floats(-90, 90), st.floats(-180, 180),
                          numbers, numbers), min_size=1, max_size=8, unique_by=lambda r: r[0]))
def test_round_trip_to_the_last_bit(tmp_path_factory, rows):
    ids, *columns = zip(*rows, strict=True)
    table = PanoTable(ids, *(np.array(c) for c in columns))
    again = read_panos(write_panos(tmp_path_factory.mktemp("p") / "panos.txt", table))
    assert again.ids == table.ids
    for key in ("lat", "lon", "x", "y"):
        assert np.array_equal(getattr(again, key), getattr(table, key))


def test_written_file_is_what_the_sheet_says(tmp_path):
    path = write_panos(tmp_path / "panos.txt", PanoTable(("a",), *(np.array([v]) for v in (60.5, 25.25, 10.0, 20.0))))
    assert path.read_text() == "Pano_ID,Lat,Lon,Y,X\na,60.5,25.25,20.0,10.0\n"


@pytest.mark.parametrize(("row", "word", "georeference"), [
    (ROW[:4], "has 4 columns, expected 5", None),
    (("x", "60.1", "abc", "1", "2"), "lon is 'abc'", None),
    (("x", "60,1", "24.9", "1", "2"), "", None),
    (("x", "60.1", "nan", "1", "2"), "not a finite", None),
    ((OTHER[0], *ROW[1:]), "stands here and in line 2", None),
    (("x", "124.9", "60.1", "1", "2"), "latitude and longitude look swapped", None),
    (("x", "60.1", "224.9", "1", "2"), "longitude is 224.9", None),
    (("x", ROW[2], ROW[1], ROW[3], ROW[4]), "look swapped", HELSINKI),
    (("x", *ROW[1:3], ROW[4], ROW[3]), "X and Y look swapped", HELSINKI),
    (("x", *ROW[1:3], "4500.0", ROW[4]), "99.8 m apart", HELSINKI),
    (("x", "10.0", "-70.0", "1", "2"), "", HELSINKI),
])
def test_bad_rows(tmp_path, row, word, georeference):
    path = tmp_path / "panos.txt"
    path.write_text("\n".join(["Pano_ID;Lat;Lon;Y;X", ";".join(OTHER), ";".join(row)]))
    with pytest.raises(InputError) as caught:
        read_panos(path, georeference)
    assert caught.value.line == 3 and word in caught.value.what and str(path) in str(caught.value) and caught.value.mend
    assert "\n" not in str(caught.value)


def test_small_differences_pass(tmp_path):
    """Upstream's own second row is 1 m off by hand, and datums differ by under 1 m."""
    path = tmp_path / "panos.txt"
    path.write_text("n 60.1659352477155 24.9285566898078 4562.423854 6034.444325\n")
    assert read_panos(path, HELSINKI).x[0] == 6034.444325


def test_files_without_rows(tmp_path):
    path = tmp_path / "panos.txt"
    path.write_text("Pano_ID Lat Lon Y X\n")
    with pytest.raises(InputError, match="there is no row"):
        read_panos(path)
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="no text file"):
        read_panos(path)
    with pytest.raises(InputError, match="no such panos file"):
        read_panos(tmp_path / "other.txt")
    with pytest.raises(InputError, match="holds a separator"):
        write_panos(path, PanoTable(("a b",), *(np.zeros(1),) * 4))
