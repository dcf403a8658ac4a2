import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.cameras import project_points
from rsnb.mesh import RayScene
from rsnb.mesh.paths import core_bounds, drive, flight, nadir_view
from rsnb.scenes import Material, TexturedMesh


def street(wall_at: float) -> RayScene:
    """Ground that climbs 5 % to the north between two long walls (x -10 and 10), and a wall across at `wall_at`."""
    def wall(a, b):
        return [(*a, -20), (*b, -20), (*b, 60), (*a, 60)]

    quads = [[(-50, -50, -2.5), (50, -50, -2.5), (50, 200, 10.0), (-50, 200, 10.0)], wall((-10, -50), (-10, 200)),
             wall((10, -50), (10, 200)), wall((-10, wall_at), (10, wall_at)), wall((-10, -20), (10, -20))]
    vertices = np.array([v for quad in quads for v in quad], float)
    faces = np.array([[4 * k + i for i in t] for k in range(len(quads)) for t in ((0, 1, 2), (0, 2, 3))], np.int32)
    none = np.zeros(len(faces), np.int32)
    return RayScene(TexturedMesh(vertices, faces, np.zeros((len(faces), 3, 2), np.float32), none,
                                 (Material("plain"),), none))


def test_a_drive_follows_the_street_and_the_ground_and_stops_before_the_wall():
    start = poses.pose_from_heading((3.0, 0.0, 2.5), np.radians(70))  # looks at a side wall
    way = drive(street(30.0), start, 40, camera_height_m=2.5, step_m=1.0)
    x, y, z = poses.camera_centre(way).T
    heading = poses.heading_pitch_roll(way)[0]
    assert np.ptp(heading) == 0 and np.cos(heading[0]) > 0.85  # the longest line is a diagonal of the street
    assert 22 < y[-1] < 27.5 and np.abs(x).max() < 9.5  # 4 m of way before the wall, inside the street
    assert z[5:-5] == pytest.approx(0.05 * y[5:-5] + 2.5, abs=1e-2)
    step = np.linalg.norm(np.diff(np.c_[x, y], axis=0), axis=1)
    assert step == pytest.approx(np.full(39, step[0])) and step[0] < 1.0
    free = drive(street(190.0), start, 40, step_m=1.0)
    assert np.hypot(*(poses.camera_centre(free)[-1] - (3.0, 0.0, 0.0))[:2]) == pytest.approx(39.0)


def test_a_flight_looks_at_the_middle_from_all_sides():
    bounds = np.array([[0, 0, 0], [100, 60, 20.0]])
    views = flight(bounds, 8)
    centre = poses.camera_centre(views)
    assert np.allclose(centre.mean(axis=0)[:2], (50, 30)) and (centre[:, 2] > 20).all()
    assert centre[0] == pytest.approx([50, 30 - 0.95 * np.hypot(50, 30), 0.95 * np.hypot(50, 30) * 0.75])
    forward = views[:, 2, :3]
    reach = (4.0 - centre[:, 2]) / forward[:, 2]
    assert np.allclose(centre + reach[:, None] * forward, (50, 30, 4.0))


def test_strays_do_not_count_in_the_core():
    grid = [(x + 10 * i, y + 10 * j, z) for i in range(10) for j in range(10) for x, y, z in
            ((0, 0, 0), (10, 0, 0), (10, 10, 5))]
    stray = [(5000, 9000, 0), (5001, 9000, 0), (5000, 9001, 0)]
    vertices = np.array(grid + stray, float)
    none = np.zeros(len(vertices) // 3, np.int32)
    mesh = TexturedMesh(vertices, np.arange(len(vertices), dtype=np.int32).reshape(-1, 3),
                        np.zeros((len(none), 3, 2), np.float32), none, (Material("plain"),), none)
    low, high = core_bounds(mesh)
    assert np.abs(low[:2]).max() < 15 and np.abs(high[:2] - 100).max() < 15


def test_the_nadir_view_covers_the_model_on_a_whole_grid():
    camera, pose = nadir_view(np.array([[100.3, 200.2, 0], [109.9, 205.0, 7]]), 0.5)
    assert (camera.width, camera.height) == (20, 10)  # x 100.0 .. 110.0, y 200.0 .. 205.0
    pixel = project_points(camera, pose, np.array([[100.0, 205.0, 0.0], [110.0, 200.0, 3.0]]))[0]
    assert np.allclose(pixel, [[0, 0], [20, 10]])
    with pytest.raises(InputError, match="gsd"):
        nadir_view(np.zeros((2, 3)), 0.0)


def test_a_nadir_picture_of_a_model_in_millimetres_is_refused():
    with pytest.raises(InputError, match=r"198946 x 198946 m at 0.5 m .*gsd of 26 or more") as refused:
        nadir_view(np.array([[0, 0, 0], [198946, 198946, 7e3]]), 0.5)
    assert "158318 million pixels" in str(refused.value)  # (198946 / 0.5)^2
    camera, _ = nadir_view(np.array([[0, 0, 0], [198946, 198946, 7e3]]), 26.0)
    assert camera.width == 7652
