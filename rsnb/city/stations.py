"""Camera stations along the streets: where street views are taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsnb.city.streets import KINDS, StreetGraph


@dataclass(frozen=True)
class Stations:
    """N places in order, street by street.

    Attributes:
        position: [N, 3] camera, model metres.
        heading: [N] along the street, radians, 0 = north, clockwise.
        street: [N] number of the street (as in `StreetGraph.street`).
        along_m: [N] distance from the street's start.
        is_junction: [N] whether the place lies in or just before a crossing.
    """

    position: np.ndarray
    heading: np.ndarray
    street: np.ndarray
    along_m: np.ndarray
    is_junction: np.ndarray

    def __len__(self) -> int:
        return len(self.heading)

    def subset(self, index) -> Stations:
        """The stations of a mask or an index array."""
        return Stations(self.position[index], self.heading[index], self.street[index], self.along_m[index],
                        self.is_junction[index])


def stations(graph: StreetGraph, ground, bounds, *, spacing_m: float, start_m: float, height_m: float,
             lateral_m: float, inset_m: float) -> Stations:
    """Stations every spacing_m along every street inside bounds.

    Args:
        graph: the streets.
        ground: function (x, y) -> height of what the camera stands on.
        bounds: (x_min, y_min, x_max, y_max); stations keep inset_m away from it.
        spacing_m, start_m: the first station lies start_m after the street enters the bounds.
        height_m: camera above the ground.
        lateral_m: to the right of the centre line (negative: left).
    """
    x0, y0, x1, y1 = bounds
    degree = graph.degree
    reach = graph.setback()
    rows = []
    for street in np.unique(graph.street):
        edges = np.flatnonzero(graph.street == street)
        if KINDS[graph.kind[edges[0]]].name == "boulevard":
            continue
        first, last = graph.nodes[graph.edges[edges[0], 0]], graph.nodes[graph.edges[edges[-1], 1]]
        length = float(np.hypot(*(last - first)))
        along = (last - first) / length
        right = np.array([along[1], -along[0]])
        fine = np.arange(0.0, length, 0.25)
        xy = first + fine[:, None] * along
        inside = ((xy > (x0 + inset_m, y0 + inset_m)) & (xy < (x1 - inset_m, y1 - inset_m))).all(axis=1)
        if not inside.any():
            continue
        begin, end = fine[inside][0], fine[inside][-1]
        at = np.arange(begin + start_m, end, spacing_m)
        if len(at) == 0:
            continue
        node_at, node_reach = [], []
        for e in edges:
            for side, node in enumerate(graph.edges[e]):
                if degree[node] >= 3:
                    node_at.append(float((graph.nodes[node] - first) @ along))
                    node_reach.append(reach[e, side])
        near = np.zeros(len(at), bool)
        for n, r in zip(node_at, node_reach, strict=True):
            near |= np.abs(at - n) <= max(r, 4.0)
        spot = first + at[:, None] * along + lateral_m * right
        z = np.asarray(ground(spot[:, 0], spot[:, 1])) + height_m
        heading = np.full(len(at), np.arctan2(along[0], along[1]))
        rows.append((np.column_stack([spot, z]), heading, np.full(len(at), street), at - begin, near))
    if not rows:
        return Stations(np.zeros((0, 3)), np.zeros(0), np.zeros(0, int), np.zeros(0), np.zeros(0, bool))
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    return Stations(*columns)
