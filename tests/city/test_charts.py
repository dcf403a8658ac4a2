import numpy as np

from rsnb.city.charts import chart_uv, make_charts, pack_shelves, texel_points


def box(low, high):
    """12 outward triangles of an axis-aligned box."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))])
    return np.asarray(low) + corners * (np.asarray(high) - low), faces


def test_packed_rectangles_lie_inside_their_page_and_never_overlap():
    rng = np.random.default_rng(3)
    size = rng.integers(1, 60, (300, 2))
    page, corner = pack_shelves(size, 128)
    assert (corner >= 0).all() and (corner + size <= 128).all()
    cover = np.zeros((page.max() + 1, 128, 128), int)
    for p, (x, y), (w, h) in zip(page, corner, size, strict=True):
        cover[p, y : y + h, x : x + w] += 1
    assert cover.max() == 1
    assert cover.mean() > 0.6  # and little is wasted


def test_a_box_has_six_charts_with_texels_where_the_faces_are():
    vertices, faces = box((10.0, 20.0, 0.0), (14.0, 22.0, 3.0))
    charts = make_charts(vertices, faces, np.ones(12, int), np.ones(12, bool), texel_m=0.5, page_size=64)
    assert len(charts.size) == 6
    # Two sides of 4 x 3 m, two of 2 x 3 m, top and bottom of 4 x 2 m, at 0.5 m a texel.
    assert sorted(map(tuple, charts.size)) == [(4, 6), (4, 6), (8, 4), (8, 4), (8, 6), (8, 6)]
    _, flat, points = texel_points(charts, np.arange(len(charts.size)), padding=0)
    assert len(np.unique(flat)) == len(flat) == charts.size.prod(axis=1).sum()
    inside = (points > vertices.min(axis=0) - 1e-9).all(axis=1) & (points < vertices.max(axis=0) + 1e-9).all(axis=1)
    assert inside.all()  # a box is convex: each chart's outermost plane is the face itself


def test_texture_coordinates_and_texel_points_tell_the_same_place():
    vertices, faces = box((0.0, 0.0, 0.0), (4.0, 2.0, 3.0))
    turn = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])
    vertices = vertices @ turn.T
    charts = make_charts(vertices, faces, np.ones(12, int), np.ones(12, bool), texel_m=0.25, page_size=128)
    uv = chart_uv(charts, vertices, faces)
    chart, flat, points = texel_points(charts, np.arange(len(charts.size)), padding=0)
    for face in range(12):
        mine = np.flatnonzero(chart == charts.face_chart[face])
        row, column = np.divmod(flat[mine] % charts.page_size**2, charts.page_size)
        texel = np.stack([(column + 0.5), charts.page_size - (row + 0.5)], axis=1) / charts.page_size
        # The affine map uv -> xyz of the face, applied to texel centres, must give the texel points.
        A = np.c_[uv[face].astype(float), np.ones(3)]
        predicted = np.c_[texel, np.ones(len(texel))] @ np.linalg.solve(A, vertices[faces[face]])
        assert np.abs(predicted - points[mine]).max() < 1e-4


def test_the_ground_is_one_chart_and_a_steep_part_of_it_is_not():
    vertices = np.array([[0, 0, 0], [10, 0, 1], [10, 10, 0], [0, 10, 0], [10, 0, 5], [10, 10, 5]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5]])
    charts = make_charts(vertices, faces, np.zeros(3, int), np.ones(3, bool), texel_m=1.0, page_size=32)
    assert charts.face_chart[0] == charts.face_chart[1] != charts.face_chart[2]
    assert charts.ground.tolist().count(True) == 1
    assert charts.size[charts.face_chart[0]].tolist() == [10, 10]


def test_a_chart_larger_than_a_page_is_coarsened_to_fit():
    vertices, faces = box((0, 0, 0), (100.0, 1.0, 1.0))
    charts = make_charts(vertices, faces, np.ones(12, int), np.ones(12, bool), texel_m=0.1, page_size=256)
    assert charts.size.max() == 252
