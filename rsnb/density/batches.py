"""What a training step sees: some pairs, drawn, checked, turned and lit, on the device.

Whatever is random is drawn for a whole batch in every process of a team (`training.parallel`) from the same generators;
each then loads its share alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rsnb.density.augment import draw_turns, turn_headings, turn_offsets, turn_panoramas, turn_tiles
from rsnb.density.flat_ground import require_whole_sphere
from rsnb.density.render import exit_heights, ground_in_tile
from rsnb.density.sky_segment import checked_sky
from rsnb.density.training_options import TrainingOptions
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.scenes import TilePanoramaPairs
from rsnb.training import team

_WHERE = "train_pairs"


class PairSource(Protocol):
    """Pairs that need not lie in memory: anything with a length and `load`; `PairIndex` bound to its sizes is one."""

    def __len__(self) -> int:
        """Number of pairs."""

    def load(self, index: np.ndarray) -> TilePanoramaPairs:
        """The pairs of an index array, all of one size."""


@dataclass(frozen=True)
class Batch:
    """Pairs on the device.

    Attributes:
        tile: [B, 3, S, S] in 0..1.
        panorama: [B, 3, H, W] in 0..1.
        sky: [B, H, W] bool.
        position: [B, 3] of the cameras, tile metres.
        heading: [B] radians.
        vertical_fov: of the panoramas, radians.
        known: [B, H, W] bool, rays that do not see ground beyond what the tile showed before it was turned; None =
            all of them.
    """

    tile: Tensor
    panorama: Tensor
    sky: Tensor
    position: Tensor
    heading: Tensor
    vertical_fov: float
    known: Tensor | None = None

    @property
    def camera(self) -> PanoramaCamera:
        """Of all panoramas."""
        return PanoramaCamera(self.sky.shape[2], self.sky.shape[1], self.vertical_fov)

    def rows(self, lowest: float, highest: float) -> tuple[int, int]:
        """First and last (excluded) row of the rays between two elevations, radians."""
        height = self.sky.shape[1]
        first, last = ((0.5 - elevation / self.vertical_fov) * height for elevation in (highest, lowest))
        return max(math.floor(first), 0), min(math.ceil(last), height)

    def ground_inside(self, frame: TileFrame) -> Tensor:
        """[B, H, W] bool: rays that see no ground beyond the tile, nor beyond what it showed before it was turned."""
        inside = ground_in_tile(frame, self.camera, self.position, self.heading).to(self.sky.device)
        return inside if self.known is None else inside & self.known

    def answerable(self, frame: TileFrame, beyond_m: float) -> Tensor:
        """[B, H, W] bool: sky, and solid rays that do not leave the tile above ground but below `beyond_m`, where what
        stands beyond the tile may be what is seen."""
        leaves = exit_heights(frame, self.camera, self.position, self.heading).to(self.sky.device)
        return self.sky | (leaves <= 0) | (leaves >= beyond_m)


class Batches:
    """Draws the batches of a training.

    Attributes:
        source: the pairs.
        order, draws: generators of which pairs come and of what is done to them; a checkpoint holds both.
    """

    def __init__(self, pairs: TilePanoramaPairs | PairSource, options: TrainingOptions, frame: TileFrame,
                 device: torch.device):
        self.source = _InMemory(pairs) if isinstance(pairs, TilePanoramaPairs) else pairs
        self.options, self.frame, self.device = options, frame, device
        least = options.batch if options.order == "epochs" else 1
        if len(self.source) < least:
            raise InputError(f"{len(self.source)} pairs are too few to learn from", where=_WHERE,
                             mend=f"Give at least {least}" + (', or use order="drawn"' if least > 1 else ""))
        self.order = np.random.default_rng([options.seed, 1])
        self.draws = torch.Generator().manual_seed(options.seed)
        self._epoch: tuple[int, np.ndarray] = (-1, np.zeros(0, int))

    def steps_per_epoch(self) -> int:
        """Whole batches that the pairs give; 1 where they give none."""
        return max(len(self.source) // self.options.batch, 1)

    def draw(self, number: int) -> Batch:
        """This process's share of the batch of a step, from 0."""
        options, share = self.options, team().share(self.options.batch)
        batch = self._load(self.index(number)[share])
        if options.turns != "none":
            by_any = options.turns == "any"
            width = batch.panorama.shape[-1] if by_any else None
            turns = draw_turns(options.batch, self.draws, width=width, whole=False)[share]
            batch = Batch(turn_tiles(turns, batch.tile), turn_panoramas(turns, batch.panorama),
                          turn_panoramas(turns, batch.sky), turn_offsets(turns, batch.position),
                          turn_headings(turns, batch.heading), batch.vertical_fov,
                          turn_panoramas(turns, batch.ground_inside(self.frame)) if by_any else None)
        if options.tile_light:
            gain = 1 + options.tile_light * (2 * torch.rand(options.batch, 3, 1, 1, generator=self.draws) - 1)
            batch = replace(batch, tile=(batch.tile * gain[share].to(self.device)).clamp(0, 1))
        return batch

    def index(self, number: int) -> np.ndarray:
        """Which pairs a step sees, in all processes together."""
        count, batch = len(self.source), self.options.batch
        if self.options.order == "drawn":
            return self.order.choice(count, batch, replace=count < batch)
        epoch, at = divmod(number, self.steps_per_epoch())
        if self._epoch[0] != epoch:
            self._epoch = epoch, np.random.default_rng([self.options.seed, 1, epoch]).permutation(count)
        return self._epoch[1][at * batch:(at + 1) * batch]

    def noise(self, number: int) -> torch.Generator:
        """What codes and crops of a step are drawn from: in a team, one of its own in each process."""
        if team().size == 1:
            return self.draws
        seed = np.random.SeedSequence([self.options.seed, number, team().rank]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(seed[0] >> 1))

    def _load(self, index: np.ndarray) -> Batch:
        pairs = self.source.load(index)
        check_pairs(pairs, self.frame.extent_m)
        offset = np.zeros((len(pairs), 2)) if pairs.offset_m is None else pairs.offset_m
        position = np.column_stack([offset, np.full(len(pairs), pairs.camera_height_m)])
        parts = pairs.tiles, pairs.panoramas, pairs.sky, position.astype(np.float32), pairs.heading.astype(np.float32)
        return Batch(*(torch.as_tensor(part).to(self.device) for part in parts), pairs.vertical_fov)


@dataclass(frozen=True)
class _InMemory:
    pairs: TilePanoramaPairs

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: np.ndarray) -> TilePanoramaPairs:
        """The pairs of an index array."""
        return self.pairs.subset(index)


def check_pairs(pairs: TilePanoramaPairs, extent_m: float) -> None:
    """Refuse pairs that cannot teach a model of tiles `extent_m` metres wide.

    Raises:
        InputError: what is missing, does not fit or is not finite.
    """
    if math.isclose(pairs.vertical_fov, math.pi, rel_tol=1e-3):
        require_whole_sphere(*pairs.panoramas.shape[-2:], _WHERE)
    if pairs.sky is None:
        raise InputError("the pairs have no sky masks", where=_WHERE, mend="Make them with density.segment_sky")
    if pairs.camera_height_m is None:
        raise InputError("nobody says how high the camera is", where=_WHERE,
                         mend="Give camera_height_m, in metres; density.calibrate finds it from the pictures")
    if pairs.tile_extent_m is not None and not math.isclose(pairs.tile_extent_m, extent_m, rel_tol=1e-6):
        raise InputError(f"the tiles are {pairs.tile_extent_m} m wide, the model's {extent_m} m", where=_WHERE,
                         mend="Build the model with the frame of the pairs")
    if not np.isfinite(pairs.tiles).all() or not np.isfinite(pairs.panoramas).all():
        raise InputError("a picture holds numbers that are not finite", where=_WHERE, mend="Check its file")
    try:
        checked_sky(pairs.sky, pairs.panoramas)
    except InputError as fault:
        of = [name for name, covered in zip(pairs.ids, pairs.sky.all(axis=(1, 2)), strict=True) if covered][:3]
        raise InputError(f"{fault.what}{': pair ' + ', '.join(of) if of else ''}", where=_WHERE,
                         mend=fault.mend) from fault
