"""Paint on the carriageway: dashed centre lines, parking lines with bay ticks, stop lines, zebra crossings."""

from __future__ import annotations

import numpy as np
import shapely

from rsnb.city.streets import KINDS, StreetGraph

_ZEBRA_M = 3.4  # length of the bars, along the street
_STOP_GAP_M, _STOP_M = 1.0, 0.4
BAY_M = 5.6


def lane_markings(graph: StreetGraph) -> list[shapely.Polygon]:
    """All painted rectangles of a district; they may leave the carriageway at odd corners, so clip them to it."""
    reach = graph.setback()
    degree = graph.degree
    boxes: list[np.ndarray] = []
    for e, (start, end) in enumerate(graph.segments()):
        kind = KINDS[graph.kind[e]]
        length = float(np.hypot(*(end - start)))
        crossing = [degree[node] >= 3 and reach[e, side] > 0 for side, node in enumerate(graph.edges[e])]
        local = _edge(kind, length, reach[e], crossing)
        if len(local):
            along = (end - start) / length
            across = np.array([-along[1], along[0]])
            boxes.append(start + local[..., :1] * along + local[..., 1:] * across)
    return list(shapely.polygons(np.concatenate(boxes))) if boxes else []


def clear_stretch(length: float, reach: np.ndarray, crossing) -> tuple[float, float]:
    """Part of an edge, from and to in metres, that lies between the zebra crossings and stop lines at its ends."""
    need = [r + (_ZEBRA_M + _STOP_GAP_M + _STOP_M if c else 0.0) for r, c in zip(reach, crossing, strict=True)]
    return need[0] + 0.8, length - need[1] - 0.8


def _edge(kind, length, reach, crossing) -> np.ndarray:
    """[B, 4, 2] rectangles of one edge: along, across (left positive), metres."""
    half = kind.carriageway_m / 2
    first, last = clear_stretch(length, reach, crossing)
    out: list[tuple[float, float, float, float]] = []
    if length - reach.sum() < 2 * _ZEBRA_M + 8:
        return np.zeros((0, 4, 2))
    narrow = kind.name == "lane"
    for side in (0, 1):
        if not crossing[side]:
            continue
        bars = np.arange(-half + 0.55, half - 0.5, 1.0)
        bars -= bars.mean()
        low = reach[side] if side == 0 else length - reach[side] - _ZEBRA_M
        out += [(low, low + _ZEBRA_M, b - 0.25, b + 0.25) for b in bars]
        if not narrow:
            # Traffic keeps right: it stops on the left half seen along the edge at its start, on the right at its end.
            stop = low + _ZEBRA_M + _STOP_GAP_M if side == 0 else low - _STOP_GAP_M - _STOP_M
            lane = (0.15, half - kind.parking_m) if side == 0 else (-half + kind.parking_m, -0.15)
            out.append((stop, stop + _STOP_M, *lane))
    if narrow:
        return _rectangles(out)
    dash = np.arange(first + 1, last - 3, 7.0)
    out += [(d, d + 3.0, -0.07, 0.07) for d in dash]
    if kind.parking_m > 0:
        edge = half - kind.parking_m
        for sign in (-1, 1):
            a, b = sorted((sign * (edge + 0.05), sign * (edge - 0.07)))
            out.append((first, last, a, b))
            a, b = sorted((sign * (edge + 0.05), sign * (half - 0.05)))
            ticks = first + BAY_M * np.arange(int((last - first) / BAY_M) + 1)
            out += [(t, t + 0.1, a, b) for t in ticks if t + 0.1 < last]
    else:
        for sign in (-1, 1):
            a, b = sorted((sign * (half - 0.35), sign * (half - 0.5)))
            out.append((first, last, a, b))
            a, b = sorted((sign * (half / 2 - 0.06), sign * (half / 2 + 0.06)))
            out += [(d, d + 2.0, a, b) for d in dash]
    return _rectangles(out)


def _rectangles(spans) -> np.ndarray:
    """[B, 4, 2] corners, counter-clockwise, of (along from, to, across from, to)."""
    if not spans:
        return np.zeros((0, 4, 2))
    a, b, c, d = np.array(spans).T
    return np.stack([np.stack([a, c], -1), np.stack([b, c], -1), np.stack([b, d], -1), np.stack([a, d], -1)], axis=1)
