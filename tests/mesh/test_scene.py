"""Rays against closed forms and against a brute-force search in float64."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.mesh import RayScene
from rsnb.scenes import Material, TexturedMesh


def mesh_of(vertices, faces, **more) -> TexturedMesh:
    faces = np.asarray(faces, np.int32)
    n = len(faces)
    return TexturedMesh(np.asarray(vertices, np.float64), faces, np.zeros((n, 3, 2), np.float32), np.zeros(n, np.int32),
                        (Material("plain"),), np.zeros(n, np.int32), **more)


def box(low, high) -> TexturedMesh:
    (a, b, c), (d, e, f) = low, high
    corners = [(x, y, z) for z in (c, f) for y in (b, e) for x in (a, d)]
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]  # seen from outside
    return mesh_of(corners, [t for q in quads for t in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))])


def soup(seed: int, count: int) -> TexturedMesh:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-10, 10, (count, 1, 3)) + rng.normal(0, 2, (count, 3, 3))
    return mesh_of(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))


def unit(vectors) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def brute_force(mesh: TexturedMesh, origins: np.ndarray, directions: np.ndarray):
    """Nearest Moeller-Trumbore hit of each ray over all faces, float64, written as plainly as the paper."""
    best, prim = np.full(len(origins), np.inf), np.full(len(origins), -1)
    for k, (i0, i1, i2) in enumerate(mesh.faces):
        v0, e1, e2 = mesh.vertices[i0], mesh.vertices[i1] - mesh.vertices[i0], mesh.vertices[i2] - mesh.vertices[i0]
        p = np.cross(directions, e2)
        determinant = p @ e1
        s = origins - v0
        u = (s * p).sum(1) / determinant
        q = np.cross(s, e1)
        v = (directions * q).sum(1) / determinant
        t = (q @ e2) / determinant
        nearer = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < best)
        best[nearer], prim[nearer] = t[nearer], k
    return best, prim


@pytest.fixture(params=[True, False], ids=["packets", "embreex"])
def packets(request) -> bool:
    return request.param


def test_random_soup_agrees_with_brute_force(packets):
    mesh = soup(3, 200)
    rng = np.random.default_rng(4)
    origins, directions = rng.uniform(-12, 12, (3000, 3)), unit(rng.normal(size=(3000, 3)))
    distance, prim = brute_force(mesh, origins, directions)
    hits = RayScene(mesh, packets=packets).cast(origins, directions)
    # Rays that graze an edge may fall either way in single precision.
    assert (hits.prim == prim).mean() > 0.998
    same = hits.prim == prim
    assert 0.3 < (prim >= 0).mean() < 0.99
    np.testing.assert_allclose(hits.distance[same], distance[same], rtol=1e-4, atol=1e-4)
    on_face = same & (prim >= 0)
    corner = mesh.vertices[mesh.faces[prim[on_face]]]
    u, v = hits.u[on_face, None], hits.v[on_face, None]
    point = (1 - u - v) * corner[:, 0] + u * corner[:, 1] + v * corner[:, 2]
    np.testing.assert_allclose(point, (origins + distance[:, None] * directions)[on_face], atol=1e-3)


def test_packets_and_single_rays_are_the_same():
    mesh = soup(5, 500)
    rng = np.random.default_rng(6)
    # 1003 rays: the last packet of 16 is not full.
    origins, directions = rng.uniform(-12, 12, (1003, 3)), unit(rng.normal(size=(1003, 3)))
    fast, slow = RayScene(mesh).cast(origins, directions), RayScene(mesh, packets=False).cast(origins, directions)
    assert (fast.prim == slow.prim).mean() > 0.998
    same = fast.prim == slow.prim
    np.testing.assert_allclose(fast.distance[same], slow.distance[same], rtol=1e-6)


def test_box_seen_from_outside_and_inside(packets):
    scene = RayScene(box((2, -1, -1), (4, 1, 1)), packets=packets)
    hits = scene.cast([[0, 0, 0], [3, 0, 0], [0, 0, 0]], [[1, 0, 0], [1, 0, 0], [-1, 0, 0]])
    np.testing.assert_allclose(hits.distance, [2, 1, np.inf])
    assert hits.prim[2] == -1 and hits.hit.tolist() == [True, True, False]
    # The diagonal of the cross-section: to the corner region of the near face, sqrt(2^2 + 0.5^2).
    slanted = scene.cast([0, 0, 0], unit([[2, 0.5, 0.1]]))
    np.testing.assert_allclose(slanted.distance, np.sqrt(4 + 0.25 + 0.01), rtol=1e-6)


def test_leading_shapes_are_kept(packets):
    scene = RayScene(box((2, -1, -1), (4, 1, 1)), packets=packets)
    directions = np.broadcast_to([1.0, 0, 0], (3, 5, 3))
    assert scene.cast([0, 0, 0], directions).distance.shape == (3, 5)
    assert scene.occluded(np.zeros((3, 5, 3)), directions).shape == (3, 5)
    assert scene.cast([0, 0, 0], [1.0, 0, 0]).distance.shape == ()


def test_occlusion_ends_at_the_given_distance(packets):
    scene = RayScene(box((2, -1, -1), (4, 1, 1)), packets=packets)
    assert scene.occluded([0, 0, 0], [[1.0, 0, 0]] * 3, [1.9, 2.1, np.inf]).tolist() == [False, True, True]
    assert not scene.occluded([0, 0, 0], [[0.0, 1, 0]]).any()


def test_large_coordinates_change_nothing(packets):
    """Full EPSG:3879 coordinates; float32 there has steps of 2 m (easting), so a cast without recentring fails."""
    shift = np.array([25_490_000.0, 6_668_000.0, 0.0])
    mesh = soup(7, 300)
    moved = mesh_of(mesh.vertices + shift, mesh.faces)
    rng = np.random.default_rng(8)
    origins, directions = rng.uniform(-12, 12, (2000, 3)), unit(rng.normal(size=(2000, 3)))
    here = RayScene(mesh, packets=packets).cast(origins, directions)
    there = RayScene(moved, packets=packets).cast(origins + shift, directions)
    assert (here.prim == there.prim).mean() > 0.999
    same = (here.prim == there.prim) & here.hit
    np.testing.assert_allclose(here.distance[same], there.distance[same], atol=2e-5)


def test_pickled_scene_sees_the_same():
    scene = RayScene(soup(9, 100))
    directions = unit(np.random.default_rng(1).normal(size=(500, 3)))
    twin = pickle.loads(pickle.dumps(scene))
    np.testing.assert_array_equal(scene.cast([0, 0, 0], directions).prim, twin.cast([0, 0, 0], directions).prim)


@pytest.mark.parametrize("point,inside", [((0, 0, 1), True), ((0, 0, 9), False), ((8, 0, 1.7), False),
                                          ((20, 20, -3), True), ((8, 3, 200), False), ((2.98, 0, 1.7), True)])
def test_inside_a_building_or_under_the_ground(point, inside):
    """A closed house of 6 x 6 x 5 m on a ground sheet; (2.98, 0, 1.7) is within its wall's plane by 2 cm."""
    house, ground = box((-3, -3, 0), (3, 3, 5)), [[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]]
    vertices = np.concatenate([house.vertices, ground])
    faces = np.concatenate([house.faces, [[8, 9, 10], [8, 10, 11]]])
    assert RayScene(mesh_of(vertices, faces)).is_inside(np.array(point, float)) is inside


def sheet(x0, y0, x1, y1, z, up=True):
    """A rectangle without thickness, its front above or below."""
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return mesh_of([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], faces if up else faces[:, ::-1])


def joined(*meshes) -> RayScene:
    first = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    return RayScene(mesh_of(np.concatenate([m.vertices for m in meshes]),
                            np.concatenate([m.faces + k for m, k in zip(meshes, first[:-1], strict=True)])))


GROUND = sheet(-80, -80, 80, 80, 0)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("point", [(0, 0, 2), (12, -9, 1)])
def test_under_a_canopy_of_one_sheet_is_outside(up, point):
    street = [box((-70, 22, 0), (70, 40, 15)), box((-70, -40, 0), (70, -22, 15))]
    for others in ([], street):  # in a square, and over a street from house to house
        assert not joined(GROUND, sheet(-20, -20, 20, 20, 4, up), *others).is_inside(np.array(point, float))


def test_arcades_bridges_and_crowns_are_outside():
    # A house on columns with its back wall closed, a bridge with thickness, a box of leaves on a trunk.
    columns = [box((x, -3, 0), (x + 0.5, -2.5, 4)) for x in range(-20, 21, 5)]
    arcade = joined(GROUND, box((-22, -3, 4), (22, 12, 15)), box((-22, 2, 0), (22, 12, 4)), *columns)
    assert not arcade.is_inside(np.array([1.0, 0, 1.7]))
    assert not joined(GROUND, box((-60, -8, 5), (60, 8, 6))).is_inside(np.array([0.0, 0, 2]))
    assert not joined(GROUND, box((-3, -3, 2.4), (3, 3, 8)), box((-0.2, -0.2, 0), (0.2, 0.2, 2.4))).is_inside(
        np.array([1.5, 0, 1.7]))


@pytest.mark.parametrize("inverted", [False, True])
def test_a_house_on_a_hillside_is_closed(inverted):
    """Level rays leave through one wall and end in the rising ground: an even number of faces for half of them."""
    hill = mesh_of([[-80, -80, -40], [80, -80, 40], [80, 80, 40], [-80, 80, -40]], np.array([[0, 1, 2], [0, 2, 3]]))
    house = box((-4, -4, -4), (4, 4, 8))
    if not inverted:
        assert joined(hill, house).is_inside(np.array([1.0, 1, 3]))
    flat = joined(*(mesh_of(m.vertices, m.faces[:, ::-1] if inverted else m.faces) for m in (GROUND, house)))
    assert flat.is_inside(np.array([1.0, 1, 3]))
    assert flat.is_inside(np.array([30.0, 30, -2])) and not flat.is_inside(np.array([30.0, 30, 2]))


def test_street_canyon_with_mixed_winding_is_outside():
    """Readers meet models whose walls are wound at random; the open street must stay open."""
    rng = np.random.default_rng(2)
    houses = [box((x, y, 0), (x + 10, y + 18, 20)) for x in (-13, 3) for y in range(-100, 100, 20)]
    vertices = np.concatenate([h.vertices for h in houses])
    faces = np.concatenate([h.faces + 8 * k for k, h in enumerate(houses)])
    turned = rng.random(len(faces)) < 0.5
    faces[turned] = faces[turned][:, ::-1]
    assert not RayScene(mesh_of(vertices, faces)).is_inside(np.array([0.0, 0, 1.7]))


def test_rays_that_are_no_vectors_are_refused():
    with pytest.raises(InputError, match="must end in 3"):
        RayScene(box((0, 0, 0), (1, 1, 1))).cast([0, 0], [[1, 0, 0]])
