"""OpenSfM's reconstruction: units, rotations, lenses, place on Earth; a drone flight over its own surface model."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pyproj
import pytest
import rasterio
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from rsnb.data.audit import audit_dataset
from rsnb.data.multiview.opensfm import read_opensfm
from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre

CAMERA = {"projection_type": "brown", "width": 80, "height": 40, "focal_x": 0.5, "focal_y": 0.6, "c_x": 0.1,
          "c_y": -0.05, "k1": -0.2, "k2": 0.1, "p1": 0.001, "p2": 0.002, "k3": -0.03}
SHOT = {"rotation": [0.0, 0.0, math.pi / 2], "translation": [1.0, 2.0, 3.0], "camera": "c"}


def write(root, camera=CAMERA, shots=None, place=None, **more):
    shots = {"a.png": SHOT} if shots is None else shots
    values = {"cameras": {"c": camera}, "shots": shots, **more}
    if place:
        values["reference_lla"] = place
    (root / "images").mkdir(exist_ok=True)
    for name in shots:
        Image.new("RGB", (80, 40)).save(root / "images" / (name if "." in name else f"{name}.jpg"))
    (root / "reconstruction.json").write_text(json.dumps([values]))
    return root


def test_units_and_axes_by_hand(tmp_path):
    views = read_opensfm(write(tmp_path))
    # the longer side is 80: fx = 0.5 * 80, cx = 40 + 0.1 * 80, cy = 20 - 0.05 * 80
    assert views.K[0] == pytest.approx(np.array([[40, 0, 48], [0, 48, 16], [0, 0, 1.0]]))
    assert views.distortion[0].coefficients == (-0.2, 0.1, 0.001, 0.002, -0.03)
    # a quarter turn about z takes x to y
    assert views.world_to_cam[0] == pytest.approx(
        np.array([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1.0]]), abs=1e-15)


@pytest.mark.parametrize(("camera", "model", "coefficients"), [
    ({"projection_type": "perspective", "focal": 0.9, "k1": 0.1, "k2": 0.2}, "OPENCV", (0.1, 0.2)),
    ({"focal": 0.9}, None, None),
    ({"projection_type": "fisheye", "focal": 0.5, "k1": 0.1, "k2": 0.2}, "OPENCV_FISHEYE", (0.1, 0.2)),
    ({"projection_type": "fisheye_opencv", "focal_x": 0.5, "focal_y": 0.5, "k1": 0.1, "k2": 0.2, "k3": 0.3, "k4": 0.4},
     "OPENCV_FISHEYE", (0.1, 0.2, 0.3, 0.4)),
    ({"projection_type": "simple_radial", "focal_x": 0.5, "focal_y": 0.5, "k1": 0.1}, "OPENCV", (0.1,)),
    ({"projection_type": "spherical", "width": 80, "height": 40}, "SPHERICAL", ()),
    ({"projection_type": "dual", "focal": 0.5, "transition": 0.5}, "DUAL", ()),
])
def test_projections(tmp_path, camera, model, coefficients):
    views = read_opensfm(write(tmp_path, camera, shots={"one": SHOT}))
    lens = views.distortion[0]
    assert lens is None if model is None else (lens.model, lens.coefficients) == (model, coefficients)
    if model == "SPHERICAL":
        assert views.load().camera == "panorama"
    if model == "DUAL":
        with pytest.raises(InputError, match="lens model DUAL is not supported"):
            views.load()


def test_pictures_of_another_size_and_missing_ones(tmp_path):
    shots = {"a.png": SHOT, "b.png": SHOT}
    write(tmp_path, {**CAMERA, "width": 160, "height": 80}, shots)
    (tmp_path / "images" / "b.png").unlink()
    Image.new("RGB", (80, 40)).save(tmp_path / "images" / "c.png")
    views = read_opensfm(tmp_path)
    assert views.names == ("a.png",) and set(views.skipped) == {"b.png"} and views.K[0, 0, 0] == 40
    found = audit_dataset("opensfm", tmp_path)
    assert found.counts == {"reconstructions": 1, "shots": 2, "pictures": 1, "points": 0}
    assert {(f.kind, f.path) for f in found.findings} == {("missing", "b.png"), ("unmatched", "images/c.png")}
    Image.new("RGB", (40, 80)).save(tmp_path / "images" / "a.png")
    with pytest.raises(InputError, match="shot a.png has 40 x 80 pixels, its camera 160 x 80: another shape"):
        read_opensfm(tmp_path)


def test_the_largest_reconstruction_and_its_points(tmp_path):
    write(tmp_path, shots={"a.png": SHOT, "b.png": SHOT}, points={"7": {"coordinates": [1, 2, 3], "color": [9, 8, 7]}})
    values = json.loads((tmp_path / "reconstruction.json").read_text())
    small = {**values[0], "shots": {"a.png": SHOT}, "points": {}}
    (tmp_path / "reconstruction.json").write_text(json.dumps([small, values[0]]))
    views = read_opensfm(tmp_path)
    assert len(views) == 2 and views.points.tolist() == [[1, 2, 3]] and views.points_rgb.tolist() == [[9, 8, 7]]
    assert len(read_opensfm(tmp_path, reconstruction=0)) == 1
    with pytest.raises(InputError, match="no reconstruction 2"):
        read_opensfm(tmp_path, reconstruction=2)
    assert "2 reconstructions" in audit_dataset("opensfm", tmp_path).text()


@pytest.mark.parametrize(("camera", "shot", "message"), [
    ({**CAMERA, "focal_x": None}, SHOT, "camera 'c' has no focal length"),
    ({**CAMERA, "focal_y": -1}, SHOT, "focal_y is -1"),
    ({**CAMERA, "width": "wide"}, SHOT, "width is 'wide'"),
    ({**CAMERA, "k1": 10**400}, SHOT, "k1 is 1000"),
    ("brown", SHOT, "camera 'c' is 'brown', expected an object"),
    (CAMERA, ["a"], r"shot a.png is \['a'\], expected an object"),
    (CAMERA, {**SHOT, "camera": {}}, "camera {}, which is not listed"),
    (CAMERA, {**SHOT, "camera": "d"}, "camera 'd', which is not listed"),
    (CAMERA, {**SHOT, "rotation": [1, 2]}, "shot a.png has no rotation"),
    (CAMERA, {**SHOT, "translation": [1, 2, float("nan")]}, "shot a.png has no rotation"),
])
def test_bad_entries(tmp_path, camera, shot, message):
    with pytest.raises(InputError, match=message):
        read_opensfm(write(tmp_path, camera, {"a.png": shot}))
    assert not audit_dataset("opensfm", tmp_path).ok


@pytest.mark.parametrize(("change", "message"), [
    ({"points": [1]}, "points is .1., expected an object"),
    ({"points": {"7": {"coordinates": [1, 2]}}}, "point 7 has no coordinates"),
    ({"points": {"6": {"coordinates": [1, 2, 3]}, "7": {"color": [1, 2, 3]}}}, "point 7 has no coordinates"),
    ({"points": {"7": {"coordinates": [1, 2, 3], "color": ["red", 0, 0]}}}, "point 7 has no coordinates"),
    ({"points": {str(i): {"coordinates": [1, 2, 3, 4]} for i in range(3)}}, "point 0 has no coordinates"),
    ({"shots": [1]}, "shots is .1., expected an object"),
    ({"cameras": "c"}, "cameras is 'c', expected an object"),
    ({"reference_lla": {"latitude": None, "longitude": "east"}}, "reference_lla: longitude is 'east'"),
    ({"reference_lla": {"latitude": 124.9, "longitude": 60.2}}, "latitude 124.9, longitude 60.2"),
])
def test_damaged_parts_are_named(tmp_path, change, message):
    write(tmp_path)
    values = json.loads((tmp_path / "reconstruction.json").read_text())
    (tmp_path / "reconstruction.json").write_text(json.dumps([values[0] | change]))
    with pytest.raises(InputError, match=message) as error:
        read_opensfm(tmp_path)
    assert error.value.mend and "reconstruction.json" in str(error.value.where)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="no such OpenSfM reconstruction"):
        read_opensfm(tmp_path)
    for text, message in (("[", "no JSON"), ("[]", "no reconstruction with shots"), ('[{"shots": {}}]', "no reconstr")):
        (tmp_path / "reconstruction.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_opensfm(tmp_path)


def test_topocentric_world_lies_at_its_reference(tmp_path):
    place = {"latitude": 60.17, "longitude": 24.94, "altitude": 12.5}
    georeference = read_opensfm(write(tmp_path, place=place)).georeference
    assert georeference.origin == (0, 0, 12.5)
    # PROJ's own topocentric conversion says where 300 m east and 400 m north of the reference lie
    steps = ("+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84 +lon_0=24.94 +lat_0=60.17 +h_0=12.5 "
             "+step +inv +proj=cart +ellps=WGS84 +step +proj=unitconvert +xy_in=rad +xy_out=deg")
    lon, lat, height = pyproj.Transformer.from_pipeline(steps).transform(300.0, 400.0, 0.0)
    x, y = pyproj.Transformer.from_crs("EPSG:4326", georeference.crs, always_xy=True).transform(lon, lat)
    assert (x, y) == pytest.approx((300, 400), abs=2e-3)


def test_drone_flight_stands_where_its_table_says(real):
    """The table of exterior orientations in UTM was made by another program (orthority)."""
    root = real("nb3_multiview/odm_drone")
    views = read_opensfm(root)
    assert len(views) == 4 and views.sizes.tolist() == [[1368, 912]] * 4 and audit_dataset("opensfm", root).ok
    assert views.georeference.crs == "EPSG:32651"
    rows = list(csv.reader((root / "odm_xyz_opk.csv").read_text().splitlines(), delimiter=" ", quotechar="'"))
    table = {row[0]: np.array(row[1:7], float) for row in rows[1:]}
    for name, pose in zip(views.names, views.world_to_cam, strict=True):
        assert np.abs(camera_centre(pose) + views.georeference.origin - table[name][:3]).max() < 2e-3
        # omega, phi, kappa: R = Rx Ry Rz takes camera axes (x right, y up, z back) to the map
        o, p, k = np.radians(table[name][3:])
        turn = (np.array([[1, 0, 0], [0, math.cos(o), -math.sin(o)], [0, math.sin(o), math.cos(o)]])
                @ np.array([[math.cos(p), 0, math.sin(p)], [0, 1, 0], [-math.sin(p), 0, math.cos(p)]])
                @ np.array([[math.cos(k), -math.sin(k), 0], [math.sin(k), math.cos(k), 0], [0, 0, 1]]))
        assert np.abs(pose[:3, :3].T @ np.diag([1.0, -1, -1]) - turn).max() < 2e-3


def orthophoto(root, views, name, shift=(0.0, 0.0, 0.0)):
    """Grey of a picture [H, W] at the pixels of the surface model, nan where it does not show them."""
    with rasterio.open(root / "dsm.tif") as file:
        z, place = file.read(1), file.transform
    column, row = np.meshgrid(np.arange(z.shape[1]) + 0.5, np.arange(z.shape[0]) + 0.5)
    world = np.stack([place.a * column + place.c + shift[0], place.e * row + place.f + shift[1], z + shift[2]], axis=-1)
    pixel = views.project(name, world - np.array(views.georeference.origin))
    grey = np.asarray(Image.open(root / "images" / f"{name}.tif").convert("L"), float)
    inside = ((pixel > 1) & (pixel < [1367, 911])).all(axis=-1)
    at = np.where(inside[..., None], pixel, 1.0) - 0.5
    return np.where(inside, map_coordinates(grey, [at[..., 1], at[..., 0]], order=1), np.nan)


def agreement(a, b):
    """Correlation of two orthophotos where both see the ground, without their slow changes of brightness."""
    both = np.isfinite(a) & np.isfinite(b)
    share = gaussian_filter(both.astype(float), 6) + 1e-6
    flat = [np.where(both, x, 0) - gaussian_filter(np.where(both, x, 0), 6) / share for x in (a, b)]
    return np.corrcoef(flat[0][both], flat[1][both])[0, 1]


def test_drone_pictures_agree_on_the_surface_model(real):
    """Two pictures laid over the surface model show the same; over a model moved by metres they do less so."""
    root = real("nb3_multiview/odm_drone")
    views = read_opensfm(root)
    one, two = views.names[2:]
    right = agreement(orthophoto(root, views, one), orthophoto(root, views, two))
    assert right > 0.75
    # flat ground shows the same wherever the model is moved to sideways, so it is houses and trees that tell
    for shift, loss in (((4.0, 0, 0), 0.04), ((0, 4.0, 0), 0.04), ((0, 0, 4.0), 0.2), ((0, 0, -4.0), 0.2)):
        assert agreement(orthophoto(root, views, one, shift), orthophoto(root, views, two, shift)) < right - loss, shift
