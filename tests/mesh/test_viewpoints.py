from dataclasses import replace

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.geometry import poses
from rsnb.geometry.georeference import model_to_lonlat
from rsnb.mesh.scene import RayScene
from rsnb.mesh.viewpoints import find_viewpoints, ground_height, stand_at, stand_at_lonlat
from rsnb.scenes import Georeference, Material, TexturedMesh


def scene_of(triangles) -> RayScene:
    """Triangles [F, 3, 3] as a plain mesh."""
    corners = np.asarray(triangles, float).reshape(-1, 3)
    n = len(corners) // 3
    faces, none = np.arange(3 * n, dtype=np.int32).reshape(n, 3), np.zeros(n, np.int32)
    return RayScene(TexturedMesh(corners, faces, np.zeros((n, 3, 2), np.float32), none, (Material("plain"),), none))


def rectangle(a, b, c, d):
    return [[a, b, c], [a, c, d]]


def slab(x0, y0, x1, y1, z):
    return rectangle((x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z))


def block(x0, y0, x1, y1, top):
    """Four walls and a roof."""
    return (rectangle((x0, y0, 0), (x1, y0, 0), (x1, y0, top), (x0, y0, top))
            + rectangle((x1, y0, 0), (x1, y1, 0), (x1, y1, top), (x1, y0, top))
            + rectangle((x1, y1, 0), (x0, y1, 0), (x0, y1, top), (x1, y1, top))
            + rectangle((x0, y1, 0), (x0, y0, 0), (x0, y0, top), (x0, y1, top)) + slab(x0, y0, x1, y1, top))


def test_ground_is_the_lowest_layer_below_crown_and_roof():
    sloped = rectangle((0, 0, 1), (10, 0, 3), (10, 10, 3), (0, 10, 1))  # z = 1 + 0.2 x
    scene = scene_of(sloped + slab(2, 2, 4, 4, 8) + slab(2, 2, 4, 4, 9.5))
    assert ground_height(scene, [[3.0, 3.0], [7.5, 1.0]]) == pytest.approx([1.6, 2.5], abs=1e-4)


def test_beside_a_lone_building_the_foot_of_its_walls_is_the_ground():
    scene = scene_of([[[x, y, z + 370] for x, y, z in t] for t in block(0, 0, 10, 10, 12) + slab(0, 0, 10, 10, 0)])
    assert ground_height(scene, [[13.0, 5.0], [500.0, 500.0]]) == pytest.approx([370, 370], abs=1e-4)


def test_a_place_inside_a_building_is_refused_by_its_number():
    alone = scene_of(block(0, 0, 40, 30, 12) + block(60, 0, 80, 30, 12))
    street = stand_at(alone, [[51.0, 10.0], [-9.0, 4.0]], 2.0)  # between the blocks, and beside one
    assert poses.camera_centre(street)[:, 2] == pytest.approx([2.0, 2.0], abs=1e-3)
    with pytest.raises(InputError, match=r"place 1 \(from 0\) at x 20.00, y 15.00 lies inside a building.*1 of 2"):
        stand_at(alone, [[50.0, 10.0], [20.0, 15.0]], 2.0)
    assert poses.camera_centre(find_viewpoints(alone, 8))[:, 2] == pytest.approx(2.0, abs=1e-3)  # none on a roof


def test_hills_quays_and_bridges_can_be_stood_on():
    hill = [[a, b, (0, 0, 30)] for a, b in (((-40, -40, 0), (40, -40, 0)), ((40, -40, 0), (40, 40, 0)),
                                            ((40, 40, 0), (-40, 40, 0)), ((-40, 40, 0), (-40, -40, 0)))]
    assert poses.camera_centre(stand_at(scene_of(hill), [[1.0, 2.0]], 2.0))[0, 2] > 29
    quay = scene_of(slab(0, 0, 60, 60, 6) + rectangle((0, 60, 0), (0, 0, 0), (0, 0, 6), (0, 60, 6))
                    + rectangle((0, 0, 0), (60, 0, 0), (60, 0, 6), (0, 0, 6)))  # a corner of two walls to the water
    deck = scene_of(slab(-60, -6, 60, 6, 9) + rectangle((-60, -6, 8), (60, -6, 8), (60, -6, 9), (-60, -6, 9))
                    + rectangle((60, 6, 8), (-60, 6, 8), (-60, 6, 9), (60, 6, 9)))
    assert poses.camera_centre(stand_at(quay, [[4.0, 4.0]], 2.0))[0, 2] == pytest.approx(8.0, abs=1e-3)
    assert poses.camera_centre(stand_at(deck, [[4.0, 0.0]], 2.0))[0, 2] == pytest.approx(11.0, abs=1e-3)


def test_found_viewpoints_stand_in_the_street_and_look_along_it():
    # Two long blocks with a street of 12 m between them that runs north, and a third that closes it.
    scene = scene_of(block(0, 0, 20, 100, 15) + block(32, 0, 52, 100, 15) + block(0, 110, 52, 120, 15)
                     + slab(-5, -5, 57, 125, 0))
    views = find_viewpoints(scene, 3, camera_height_m=1.7)
    centre = poses.camera_centre(views)
    inside = ((centre[:, 0] > 0) & (centre[:, 0] < 20)) | ((centre[:, 0] > 32) & (centre[:, 0] < 52))
    assert not (inside & (centre[:, 1] > 0) & (centre[:, 1] < 100)).any()
    assert centre[:, 2] == pytest.approx(1.7, abs=1e-3)
    x, y, _ = centre[0]
    assert 20 < x < 32 and 0 < y < 110  # the most enclosed place is the street itself
    heading = poses.heading_pitch_roll(views[0])[0]
    assert abs(np.sin(heading)) < 0.35  # one of the two ways along the street


def test_found_viewpoints_look_where_they_are_told():
    scene = scene_of(block(0, 0, 20, 60, 15) + block(32, 0, 52, 60, 15) + slab(-20, -20, 70, 80, 0))
    told = find_viewpoints(scene, 4, heading=np.radians(200), pitch=np.radians(7))
    heading, pitch, roll = poses.heading_pitch_roll(told)
    assert np.degrees(heading) % 360 == pytest.approx(np.full(len(told), 200.0))
    assert np.degrees(pitch) == pytest.approx(np.full(len(told), 7.0)) and roll == pytest.approx(0 * roll, abs=1e-9)
    assert poses.camera_centre(told) == pytest.approx(poses.camera_centre(find_viewpoints(scene, 4)))


def test_a_closed_room_has_no_viewpoint():
    room = block(-1e3, -1e3, 1e3, 1e3, 3.0) + slab(-1e3, -1e3, 1e3, 1e3, 0)
    inward = [[a, c, b] for a, b, c in room]  # walls face into the room
    with pytest.raises(InputError, match="no place to stand"):
        find_viewpoints(scene_of(inward), 2)


def test_scattered_houses_are_found_and_looked_at():
    houses = [t for x, y in ((0, 0), (30, 5), (3000, 2000)) for t in block(x, y, x + 10, y + 12, 9)]
    views = find_viewpoints(scene_of(houses + slab(-100, -100, 4000, 3000, 0)), 2)
    x, y, _ = poses.camera_centre(views[0])
    assert np.hypot(x - 20, y - 6) < 40  # between the two that stand together


def test_geographic_places_are_projected_and_true_north_is_turned_to_grid_north():
    here = Georeference("EPSG:3067", (385000.0, 6672000.0, 0.0))  # Finland's national grid: 1.8 degrees of convergence
    flat = scene_of(slab(-900, -900, 2000, 2000, 5.0)).mesh
    lat, lon = model_to_lonlat(np.array([[120.0, 340.0]]), here)
    view = stand_at_lonlat(RayScene(replace(flat, georeference=here)), lat, lon, 1.5, "30", 10.0)[0]
    assert poses.camera_centre(view) == pytest.approx([120.0, 340.0, 6.5], abs=1e-3)
    heading, pitch, _ = np.degrees(poses.heading_pitch_roll(view))
    assert heading == pytest.approx(30 + 1.8, abs=0.05) and pitch == pytest.approx(10.0)
    with pytest.raises(InputError, match="north"):
        stand_at_lonlat(RayScene(replace(flat, georeference=here)), lat, lon, heading="north")
