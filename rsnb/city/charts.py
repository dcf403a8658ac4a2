"""Flat charts of a mesh and their place in texture pages: what a baked texture needs to know.

Photogrammetry gives every piece of surface its own texels. Faces are grouped into charts that project one to one onto a
plane: walls by their plane, everything that is not flat (trees, cars, roofs) by the nearest axis direction of its
object, and the ground as one chart seen from above. Charts are packed as rectangles on shelves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AXES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float64)
FLAT_OBJECT_NORMAL_Z = 0.3  # steeper ground faces (kerbs, quay walls) get charts of their own


@dataclass(frozen=True)
class Charts:
    """C charts of a mesh with F faces, and where each lies in which page.

    Attributes:
        face_chart: [F] int, the chart of each face.
        normal, across, up: [C, 3] unit axes: out of the surface, texture column, texture row upwards.
        low: [C, 3] lowest coordinate of the chart along (across, up, normal), metres.
        high: [C, 3] highest.
        size: [C, 2] texels (columns, rows) without padding.
        page: [C] int.
        corner: [C, 2] column and row of the chart's top left texel in its page.
        page_size: texels, pages are square.
        ground: [C] bool: the chart that is the ground seen from above.
    """

    face_chart: np.ndarray
    normal: np.ndarray
    across: np.ndarray
    up: np.ndarray
    low: np.ndarray
    high: np.ndarray
    size: np.ndarray
    page: np.ndarray
    corner: np.ndarray
    page_size: int
    ground: np.ndarray

    @property
    def n_pages(self) -> int:
        return int(self.page.max()) + 1


def make_charts(
    vertices: np.ndarray,  # [V, 3]
    faces: np.ndarray,  # [F, 3]
    face_object: np.ndarray,  # [F], 0 = ground
    flat: np.ndarray,  # [F] bool: group by plane; otherwise by axis direction
    texel_m: float,
    page_size: int,
    padding: int = 2,
) -> Charts:
    """Group faces into charts of `texel_m` metres a texel and pack them; large charts are coarsened to fit a page."""
    corner = vertices[faces]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal = cross / np.maximum(np.linalg.norm(cross, axis=1), 1e-12)[:, None]
    ground = (face_object == 0) & (normal[:, 2] > FLAT_OBJECT_NORMAL_Z)
    by_plane = flat & ~ground & (np.abs(normal[:, 2]) < 0.2)
    axis = np.argmax(normal @ AXES.T, axis=1)
    offset = np.einsum("ij,ij->i", normal, corner.mean(axis=1))
    key = np.zeros((len(faces), 6), np.int64)
    key[:, 0] = np.where(ground, 0, np.where(by_plane, 1, 2))
    key[:, 1] = np.where(ground, 0, face_object)
    key[by_plane, 2:5] = np.round(normal[by_plane] * 50)
    key[by_plane, 5] = np.round(offset[by_plane] * 4)
    key[key[:, 0] == 2, 2] = axis[key[:, 0] == 2]
    _, first, face_chart = np.unique(key, axis=0, return_index=True, return_inverse=True)
    face_chart = face_chart.reshape(-1)
    chart_normal = np.where(by_plane[first, None], _level(normal[first]), AXES[axis[first]])
    chart_normal[ground[first]] = (0, 0, 1)
    across, up = _frame(chart_normal)
    low, high = _extent(corner, face_chart, across, up, chart_normal)
    usable = page_size - 2 * padding
    texels = np.maximum(np.ceil((high - low)[:, :2] / texel_m), 1)
    size = np.ceil(texels / np.maximum(texels.max(axis=1) / usable, 1)[:, None]).astype(int)
    page, place = pack_shelves(size + 2 * padding, page_size)
    return Charts(face_chart, chart_normal, across, up, low, high, size, page, place + padding, page_size,
                  ground[first])


def _level(normal: np.ndarray) -> np.ndarray:
    """Near-vertical planes as exactly vertical ones, so that `up` is up."""
    level = normal * (1, 1, 0)
    return level / np.maximum(np.linalg.norm(level, axis=1), 1e-12)[:, None]


def _frame(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texture axes: for the vertical, east and north; else the horizontal to the right and up."""
    vertical = np.abs(normal[:, 2]) > 0.9
    across = np.where(vertical[:, None], (1.0, 0, 0), np.cross((0, 0, 1.0), normal))
    across /= np.linalg.norm(across, axis=1)[:, None]
    return across, np.where(vertical[:, None], (0, 1.0, 0), np.cross(normal, across))


def _extent(corner, face_chart, across, up, normal):
    n = len(across)
    low, high = np.full((n, 3), np.inf), np.full((n, 3), -np.inf)
    for column, axis in enumerate((across, up, normal)):
        along = np.einsum("ijk,ik->ij", corner, axis[face_chart])
        np.minimum.at(low[:, column], face_chart, along.min(axis=1))
        np.maximum.at(high[:, column], face_chart, along.max(axis=1))
    return low, high


def pack_shelves(size: np.ndarray, page_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles [C, 2] (width, height) onto square pages, tallest first, on shelves from left to right.

    Gives the page [C] and the top left corner [C, 2] of each.
    """
    page, corner = np.zeros(len(size), int), np.zeros((len(size), 2), int)
    here, x, y, shelf = 0, 0, 0, 0
    for index in np.lexsort((size[:, 0], size[:, 1]))[::-1]:
        width, height = size[index]
        if x + width > page_size:
            x, y, shelf = 0, y + shelf, 0
        if y + height > page_size:
            here, x, y, shelf = here + 1, 0, 0, 0
        page[index], corner[index] = here, (x, y)
        x, shelf = x + width, max(shelf, height)
    return page, corner


def chart_uv(charts: Charts, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F, 3, 2] float32 texture coordinates (v up) of every face corner in its chart's page."""
    corner, c = vertices[faces], charts.face_chart
    span = np.maximum(charts.high - charts.low, 1e-9)
    column = (np.einsum("ijk,ik->ij", corner, charts.across[c]) - charts.low[c, None, 0]) / span[c, None, 0]
    row = (charts.high[c, None, 1] - np.einsum("ijk,ik->ij", corner, charts.up[c])) / span[c, None, 1]
    u = (charts.corner[c, None, 0] + column * charts.size[c, None, 0]) / charts.page_size
    v = 1 - (charts.corner[c, None, 1] + row * charts.size[c, None, 1]) / charts.page_size
    return np.stack([u, v], axis=-1).astype(np.float32)


def chart_groups(charts: Charts, texels: int) -> list[np.ndarray]:
    """Chart indices in groups of about that many texels; the ground's chart is a group of its own."""
    count = charts.size.prod(axis=1)
    others = np.flatnonzero(~charts.ground)
    cuts = np.flatnonzero(np.diff(np.cumsum(count[others]) // texels)) + 1
    return [np.array([c]) for c in np.flatnonzero(charts.ground)] + [g for g in np.split(others, cuts) if len(g)]


def texel_points(charts: Charts, group: np.ndarray, padding: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every texel of a group of charts, padding included.

    Gives its chart [T], its flat index in all pages [T], and the point [T, 3] on the chart's outermost plane.
    """
    full = charts.size[group] + 2 * padding
    count = full.prod(axis=1)
    local = np.repeat(np.arange(len(group)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(within, full[local, 0])
    row, column, chart = row - padding, column - padding, group[local]
    place = charts.corner[chart] + np.stack([column, row], axis=1)
    flat = (charts.page[chart] * charts.page_size + place[:, 1]) * charts.page_size + place[:, 0]
    step = (charts.high - charts.low)[:, :2] / charts.size
    right = charts.low[chart, 0] + (column + 0.5) * step[chart, 0]
    top = charts.high[chart, 1] - (row + 0.5) * step[chart, 1]
    points = right[:, None] * charts.across[chart] + top[:, None] * charts.up[chart]
    points += (charts.high[:, 2, None] * charts.normal)[chart]
    return chart, flat, points
