from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.scenes import Material, SemanticClass, TexturedMesh

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
