import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.mesh.settings import ViewSettings

GOOD = {"fov": 90.0, "pitch": 4.0, "camera_height": 2.5, "size": (640, 480), "panorama_width": 1024, "gsd": 0.5,
        "supersample": 2, "processes": 1, "flight_frames": 48, "left_out": 24, "field_steps": 300,
        "origin": (0.0, 0.0, 0.0)}


def test_good_numbers_make_the_cameras_they_say():
    settings = ViewSettings(**GOOD)
    assert settings.camera.K[0, 0] == pytest.approx(320.0) and settings.camera.height == 480
    assert (settings.panorama.width, settings.panorama.height) == (1024, 512)


BAD = [("fov", 0.0), ("fov", 180.0), ("fov", float("inf")), ("fov", np.nan), ("gsd", 0.0), ("processes", 0),
       ("supersample", 0), ("flight_frames", 0), ("left_out", -1), ("left_out", 2.5), ("size", (640,)),
       ("size", (640, 480, 3)), ("size", (4, 480)), ("origin", (1.0, 2.0)), ("pitch", 100.0), ("panorama_width", 0)]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_number_is_refused_by_its_name(name, value):
    with pytest.raises(InputError, match=name):
        ViewSettings(**GOOD | {name: value})
