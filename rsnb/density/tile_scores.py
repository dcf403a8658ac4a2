"""The geometry of many tiles scored some at a time, so that their volumes are never held together; rows on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsnb.density.bootstrap import PerTile, tile_rows, write_rows
from rsnb.density.geometry_scores import KnownPairs, score_geometry, truths_of
from rsnb.density.panorama_scores import ViewTruth
from rsnb.density.sampling import with_length
from rsnb.density.volume import DensityVolume, RenderOptions, TileFrame
from rsnb.errors import InputError


def score_tiles(volume_of: Callable[[Tensor], DensityVolume], tiles, truth: KnownPairs, batch: int = 16,
                **options: Any) -> dict[str, PerTile]:
    """`score_geometry` of a method over N tiles: the same scores, of `batch` volumes at a time.

    Args:
        volume_of: tiles [b, 3, S, S], a tensor on the device of `tiles`, to their volumes; called without gradients.
        tiles: [N, 3, S, S] in 0..1, array or tensor.
        truth: of the same tiles.
        batch: tiles at once.
        options: `how` and `options` of `score_geometry`.

    Returns:
        its scores, of all N tiles. A ring in which no camera of a batch stands has nothing to score there.

    Raises:
        InputError: another number of tiles than of truths, a batch below 1, volumes of another number than tiles; or
            what `score_geometry` raises.
    """
    tiles = torch.as_tensor(tiles)
    known = {name: getattr(truth, name) for name in KnownPairs.__annotations__}
    if len(tiles) != len(known["heights"]) or not len(tiles):
        raise InputError(f"{len(tiles)} tiles and the truth of {len(known['heights'])}", where="score_tiles",
                         mend="Read the truth of the same pairs")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch is {batch!r}", where="score_tiles", mend="Give a whole number above 0")
    parts = []
    for start in range(0, len(tiles), batch):
        piece = slice(start, start + batch)
        with torch.no_grad():
            volume = volume_of(tiles[piece])
        if len(volume) != len(tiles[piece]):
            raise InputError(f"{len(volume)} volumes of {len(tiles[piece])} tiles", where="score_tiles.volume_of")
        parts.append(score_geometry(volume, *_truths_of_piece(known, piece, volume.frame), **options))
    return _joined(parts)


def write_tile_rows(path: str | Path, scores: Mapping[str, PerTile], ids: Iterable[str]) -> Path:
    """One row a tile as a CSV file: its id, then one column a score, empty where the tile has none.

    Raises:
        InputError: another number of ids than of tiles.
    """
    return write_rows(path, ["id", *scores], tile_rows(scores, ids))


def _truths_of_piece(known: Mapping[str, Any], piece: slice, frame: TileFrame):
    """`truths_of` some of the tiles, with rays as long as all of them together need."""
    rows = {name: value[piece] if isinstance(value, (np.ndarray, Tensor)) else value for name, value in known.items()}
    surface, centre, others = truths_of(SimpleNamespace(**rows))
    positions = [known["camera"]]
    if known["views"] is not None:
        positions += [known["views"][:, k] for k in range(known["views"].shape[1])]
    views = [_with_length(view, places, frame) for view, places in zip((centre, *others), positions, strict=True)]
    return surface, views[0], tuple(views[1:])


def _with_length(view: ViewTruth, positions, frame: TileFrame) -> ViewTruth:
    places = torch.as_tensor(positions, dtype=torch.float64)
    there = torch.isfinite(places).all(dim=-1)
    return replace(view, length_m=with_length(RenderOptions(), frame, places[there]).length_m)


def _joined(parts: Sequence[Mapping[str, PerTile]]) -> dict[str, PerTile]:
    """All tiles of every score; 0 where a part does not have it."""
    counts = [len(next(iter(part.values()))) for part in parts]
    scores = {name: score for part in sorted(parts, key=len) for name, score in part.items()}
    fullest = max(parts, key=len)
    joined = {}
    for name in dict.fromkeys([*fullest, *scores]):
        absent = scores[name]
        joined[name] = PerTile.joined([
            part[name] if name in part else PerTile(np.zeros((count, absent.sums.shape[1])), absent.statistic)
            for part, count in zip(parts, counts, strict=True)])
    return joined
