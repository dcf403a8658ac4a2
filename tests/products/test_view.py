import json
from types import SimpleNamespace

import numpy as np
import pyproj
import pytest
import rasterio
import tifffile
from PIL import Image

from rsnb.geometry.cameras import NadirCamera, PinholeCamera
from rsnb.geometry.poses import nadir_pose, pose_from_heading
from rsnb.products import write_cameras, write_nadir, write_view
from rsnb.scenes import Georeference, SemanticClass

CLASSES = (SemanticClass(2, "road", (9, 8, 7)),)
HELSINKI = Georeference("EPSG:3879", (25490000.0, 6668000.0, 0.0))


def view_of(camera, pose, shape):
    rng = np.random.default_rng(1)
    depth = rng.uniform(1, 9, shape).astype(np.float32)
    depth[0, 0] = np.inf
    return SimpleNamespace(rgb=rng.random((3, *shape), np.float32), depth=depth, normal=rng.random((3, *shape)),
                           semantic=np.full(shape, 2), camera=camera, world_to_cam=pose)


def test_a_street_view_leaves_five_files_that_others_can_read(tmp_path):
    pose = pose_from_heading((6034.25, 4562.5, 11.0), np.radians(30), np.radians(-8))
    view = view_of(PinholeCamera.from_fov(np.radians(90), 8, 6), pose, (6, 8))
    paths = write_view(tmp_path, "row0", view, CLASSES, HELSINKI, pano_id="abc")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths) and len(paths) == 5
    assert Image.open(tmp_path / "row0_rgb.png").size == (8, 6)
    assert np.array_equal(tifffile.imread(tmp_path / "row0_depth.tif"), view.depth)
    assert tifffile.imread(tmp_path / "row0_normals.tif").shape == (6, 8, 3)
    told = json.loads((tmp_path / "row0_pose.json").read_text())
    assert told["centre_crs_m"] == pytest.approx([25496034.25, 6672562.5, 11.0])
    assert (told["heading_deg"], told["pitch_deg"], told["pano_id"]) == (pytest.approx(30), pytest.approx(-8), "abc")
    assert told["K"][0][0] == pytest.approx(4.0)  # 8 px wide at 90 degrees: f = 4


def test_a_nadir_view_lands_in_its_place_with_heights(tmp_path):
    view = view_of(NadirCamera(0.5, 4, 2), nadir_pose((6100.0, 4700.0, 50.0)), (2, 4))
    write_nadir(tmp_path, view, 0.5, CLASSES, HELSINKI)
    with rasterio.open(tmp_path / "dsm.tif") as file:
        assert file.xy(0, 0) == pytest.approx((25496099.25, 6672700.25))  # centre of the north-west pixel
        heights = file.read(1)
    assert heights[0, 0] == -9999 and heights[1, 2] == pytest.approx(50 - view.depth[1, 2])
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert (file.read(1) == 2).all()


def test_cameras_become_geojson_points_that_pyproj_puts_back(tmp_path):
    pose = pose_from_heading(np.array([[6034.25, 4562.5, 11.0], [6100.0, 4600.0, 12.0]]), np.radians([30.0, 350.0]))
    told = json.loads(write_cameras(tmp_path / "c.geojson", ["a", "b"], pose, HELSINKI).read_text())
    lon, lat, z = told["features"][1]["geometry"]["coordinates"]
    east, north = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3879", always_xy=True).transform(lon, lat)
    assert (east, north, z) == pytest.approx((25496100.0, 6672600.0, 12.0), abs=1e-3)
    assert told["features"][0]["properties"]["heading_deg"] == pytest.approx(30.0)
