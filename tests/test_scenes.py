from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.scenes import DatedStack, Material, PosedImages, SemanticClass, TexturedMesh, TilePanoramaPairs

TABLE = tuple(SemanticClass(k, name, (0, 0, 0)) for k, name in ((0, "none"), (2, "roof"), (7, "wall")))


def three_faces(face_class=(2, 0, 7), classes=TABLE, uv=0.5) -> TexturedMesh:
    none = np.zeros(3, np.int32)
    return TexturedMesh(np.random.default_rng(0).random((9, 3)), np.arange(9, dtype=np.int32).reshape(3, 3),
                        np.full((3, 3, 2), uv, np.float32), none, (Material("plain"),),
                        np.array(face_class, np.int32), classes)


@pytest.mark.parametrize("face_class,classes,bad", [
    ((2, 5, 7), TABLE, 1), ((2, 0, 99), TABLE, 2), ((-1, 0, 2), TABLE, 0), ((0, 0, -3), (), 2)])
def test_classes_that_the_table_does_not_hold_are_refused_by_face(face_class, classes, bad):
    with pytest.raises(InputError, match=rf"face {bad} \(from 0\) has class {face_class[bad]},"):
        three_faces(face_class, classes)


def test_without_a_table_every_class_from_0_is_allowed():
    assert three_faces((41, 0, 3), ()).face_class[0] == 41
    assert three_faces((2, 0, 7), TABLE[1:]).face_class[1] == 0  # unclassified needs no row


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_texture_coordinates_that_are_no_numbers_are_refused_by_face(value):
    uv = np.full((3, 3, 2), 0.5, np.float32)
    uv[1, 2, 0] = value
    with pytest.raises(InputError, match=r"face 1 \(from 0\) has a texture coordinate"):
        replace(three_faces(), uv=uv)


def make_pairs(**changes):
    given = dict(tiles=np.zeros((2, 3, 8, 8), np.float32), panoramas=np.zeros((2, 3, 4, 16), np.float32),
                 ids=("a", "b"), heading=np.zeros(2), vertical_fov=np.pi)
    return TilePanoramaPairs(**(given | changes))


@pytest.mark.parametrize("changes", [
    {"tiles": np.zeros((3, 3, 8, 8), np.float32)}, {"tiles": np.zeros((2, 3, 8, 9), np.float32)},
    {"panoramas": np.zeros((2, 1, 4, 16), np.float32)}, {"heading": np.zeros(3)}, {"sky": np.zeros((2, 4, 8), bool)},
    {"position": np.zeros((2, 3))}, {"offset_m": np.zeros((1, 2))}], ids=lambda c: next(iter(c)))
def test_pairs_of_odd_shapes_are_refused(changes):
    assert len(make_pairs()) == 2
    with pytest.raises(InputError, match=next(iter(changes))):
        make_pairs(**changes)


def make_stack(n=3, **changes):
    given = dict(images=np.arange(n * 8, dtype=np.float32).reshape(n, 1, 2, 4), bands=("red",),
                 dates=np.array(["2020-01-01T12", "2020-01-11T12", "2020-03-01T00"][:n], "datetime64[s]"),
                 clear=np.ones((n, 2, 4), bool), transform=(10.0, 0.0, 0.0, 0.0, -10.0, 0.0), crs="EPSG:32635",
                 names=("a", "b", "c")[:n])
    return DatedStack(**(given | changes))


def test_a_stack_knows_its_bounds_turned_grids_too():
    assert make_stack().bounds == (0.0, -20.0, 40.0, 0.0)  # 4 columns and 2 rows of 10 m, first row north
    turned = make_stack(transform=(0.0, 10.0, 5.0, 10.0, 0.0, 7.0))  # columns go north, rows go east
    assert turned.bounds == (5.0, 7.0, 25.0, 47.0)


def test_a_stack_counts_days_and_keeps_date_order_in_subsets():
    stack = make_stack()
    assert stack.days().tolist() == [0.0, 10.0, 59.5]  # 2020 is a leap year: 31 + 29 days from 1 January to 1 March
    assert stack.days("2020-01-01").tolist() == [0.5, 10.5, 60.0]
    some = stack.subset([2, 0])
    assert some.names == ("a", "c") and np.array_equal(some.images, stack.images[[0, 2]])
    assert stack.subset(np.array([False, True, False])).names == ("b",)


@pytest.mark.parametrize("changes", [
    {"dates": np.array(["2020-02-01", "2020-01-01", "2020-03-01"], "datetime64[s]")},
    {"dates": np.array(["2020-02-01", "NaT", "2020-03-01"], "datetime64[s]")},
    {"clear": np.ones((3, 2, 3), bool)}, {"bands": ("red", "green")}, {"names": ("a",)}, {"transform": (1.0, 2.0)},
    {"images": np.zeros((3, 2, 4), np.float32)}], ids=lambda c: next(iter(c)))
def test_stacks_that_contradict_themselves_are_refused(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        make_stack(**changes)


def test_depth_and_range_travel_with_a_subset_of_pictures():
    depth, near_far = np.arange(8.0).reshape(2, 2, 2), np.array([[1.0, 2.0], [3.0, 4.0]])
    K = np.broadcast_to(np.eye(3), (2, 3, 3))
    pictures = PosedImages(np.zeros((2, 3, 2, 2), np.float32), np.broadcast_to(np.eye(4), (2, 4, 4)), "pinhole",
                           ("a", "b"), K, z_depth=depth, near_far=near_far)
    second = pictures.subset(1)
    assert np.array_equal(second.z_depth, depth[1:]) and np.array_equal(second.near_far, near_far[1:])
    with pytest.raises(InputError, match="z_depth"):
        PosedImages(pictures.images, pictures.world_to_cam, "pinhole", ("a", "b"), K, z_depth=depth[:1])
    with pytest.raises(InputError, match="near_far"):
        PosedImages(pictures.images, pictures.world_to_cam, "pinhole", ("a", "b"), K, near_far=near_far[:1])
