"""What a training step sees: some pairs, drawn, checked, turned and lit, on the device.

Whatever is random is drawn for a whole batch in every process of a team (`training.parallel`) from the same generators;
each then loads its share alone.
"""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rsnb.density.augment import draw_turns, turn_headings, turn_offsets, turn_panoramas, turn_tiles
from rsnb.density.flat_ground import require_whole_sphere
from rsnb.density.render import exit_heights, ground_in_tile
from rsnb.density.sky_segment import checked_sky
from rsnb.density.street import eyes
from rsnb.density.training_options import TrainingOptions
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.scenes import TilePanoramaPairs
from rsnb.training import team

_WHERE = "train_pairs"
_CHECKED = 64  # pairs at a time
_HOPELESS = 1000  # pairs that can teach nothing and none that can: it is not the pairs


class PairFaultWarning(UserWarning):
    """Pairs that can teach nothing were left out of a training."""


class PairSource(Protocol):
    """Pairs that need not lie in memory: anything with a length and `load`; `PairIndex` bound to its sizes is one.

    Where it has a method `prefetch(index)` besides, it is told which pairs `load` will be asked for next.
    """

    def __len__(self) -> int:
        """Number of pairs."""

    def load(self, index: np.ndarray) -> TilePanoramaPairs:
        """The pairs of an index array, all of one size."""


@dataclass(frozen=True)
class Batch:
    """Pairs on the device, and where their cameras are on the CPU, so that nobody waits for a GPU to know it.

    Attributes:
        tile: [B, 3, S, S] in 0..1.
        panorama: [B, 3, H, W] in 0..1.
        sky: [B, H, W] bool.
        position: [B, 3] of the cameras, tile metres, on the CPU.
        heading: [B] radians, on the CPU.
        vertical_fov: of the panoramas, radians.
        known: [B, H, W] bool, rays that do not see ground beyond what the tile showed before it was turned; None =
            all of them.
        asked: [B, H, W] bool, rays that were `answerable` before the tile was turned; None = all of them.
    """

    tile: Tensor
    panorama: Tensor
    sky: Tensor
    position: Tensor
    heading: Tensor
    vertical_fov: float
    known: Tensor | None = None
    asked: Tensor | None = None

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
        inside = self._each(lambda *eye: _ground_inside(frame, self.camera, *eye))
        return inside if self.known is None else inside & self.known

    def answerable(self, frame: TileFrame, beyond_m: float) -> Tensor:
        """[B, H, W] bool: sky, and solid rays that do not leave the tile above ground but below `beyond_m`, where what
        stands beyond the tile may be what is seen; neither the tile as it is, nor as it was before it was turned."""
        asked = self.sky | self._each(lambda *eye: _leaves_elsewhere(frame, self.camera, beyond_m, *eye))
        return asked if self.asked is None else asked & self.asked

    def _each(self, rays) -> Tensor:
        eyes = torch.cat([self.position, self.heading[:, None]], dim=1).tolist()
        return torch.stack([rays(*eye) for eye in eyes]).to(self.sky.device)


# mostly all cameras stand in the middle of their tiles and look the same way, in every step
@lru_cache(maxsize=32)
def _ground_inside(frame: TileFrame, camera: PanoramaCamera, *eye: float) -> Tensor:
    return ground_in_tile(frame, camera, eye[:3], eye[3])[0]


@lru_cache(maxsize=32)
def _leaves_elsewhere(frame: TileFrame, camera: PanoramaCamera, beyond_m: float, *eye: float) -> Tensor:
    height = exit_heights(frame, camera, eye[:3], eye[3])[0]
    return (height <= 0) | (height >= beyond_m)


class Batches:
    """Draws the batches of a training.

    Pairs in memory are checked once, before the first batch. Those of a source are checked as they come: one that can
    teach nothing (unreadable, sky all over, not finite) is left out with a counted `PairFaultWarning`, and whenever it
    is drawn another stands in for it, the same one in every process and after every resume.

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
        if isinstance(pairs, TilePanoramaPairs):  # in other processes of a team they come as they were checked here
            for first in range(0, len(pairs), _CHECKED):
                check_pairs(pairs.subset(np.arange(first, min(first + _CHECKED, len(pairs)))), frame.extent_m)
        self._left_out: dict[int, InputError] = {}
        self._some_good = False
        self.order = np.random.default_rng([options.seed, 1])
        self.draws = torch.Generator().manual_seed(options.seed)
        self._epoch: tuple[int, np.ndarray] = (-1, np.zeros(0, int))

    def steps_per_epoch(self) -> int:
        """Whole batches that the pairs give; 1 where they give none."""
        return max(len(self.source) // self.options.batch, 1)

    def draw(self, number: int) -> Batch:
        """This process's share of the batch of a step, from 0."""
        options, share = self.options, team().share(self.options.batch)
        index = self.index(number)
        batch = self._batch(self._load(number, index, share))
        self._read_ahead(number + 1, share)
        if options.turns != "none":
            by_any = options.turns == "any"
            width = batch.panorama.shape[-1] if by_any else None
            turns = draw_turns(options.batch, self.draws, width=width, whole=False)[share]
            known = asked = None
            if by_any:
                known = turn_panoramas(turns, batch.ground_inside(self.frame))
                if options.beyond_m:
                    asked = turn_panoramas(turns, batch.answerable(self.frame, options.beyond_m))
            batch = Batch(turn_tiles(turns, batch.tile), turn_panoramas(turns, batch.panorama),
                          turn_panoramas(turns, batch.sky), turn_offsets(turns, batch.position),
                          turn_headings(turns, batch.heading), batch.vertical_fov, known, asked)
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

    def first(self) -> TilePanoramaPairs:
        """The first pair that is not left out, as a set of one."""
        return self._checked(lambda: np.array([self._stand_in(range(len(self.source)))]))

    def _load(self, number: int, index: np.ndarray, share: slice) -> TilePanoramaPairs:
        """A share of the pairs of a step, with others in place of those that can teach nothing."""
        return self._checked(lambda: self._chosen(number, index, share))

    def _chosen(self, number: int, index: np.ndarray, share: slice) -> np.ndarray:
        """What is loaded of the pairs of a step: of each place in the batch the first that is not left out."""
        chosen = index[share].copy()
        for k, place in enumerate(range(len(index))[share]):
            if int(chosen[k]) in self._left_out:
                draw = np.random.default_rng([self.options.seed, 2, number, place])
                rest = np.setdiff1d(np.arange(len(self.source)), index)
                chosen[k] = self._stand_in([*draw.permutation(rest), *draw.permutation(index)])
        return chosen

    def _stand_in(self, candidates) -> int:
        for candidate in candidates:
            if int(candidate) not in self._left_out:
                return int(candidate)
        raise next(iter(self._left_out.values()))

    def _checked(self, choose) -> TilePanoramaPairs:
        """Load what `choose` gives, until nothing of it has to be left out."""
        while True:
            index = choose()
            if isinstance(self.source, _InMemory):
                return self.source.load(index)
            pairs, faults = self._faults(index)
            if not faults:
                self._some_good = True
                return pairs
            self._left_out |= faults
            self._tell(faults)
            if not self._some_good and len(self._left_out) >= _HOPELESS:
                raise next(iter(self._left_out.values()))

    def _faults(self, index: np.ndarray) -> tuple[TilePanoramaPairs | None, dict[int, InputError]]:
        """The pairs of an index, or {row: what is wrong with it}."""
        try:
            pairs = self.source.load(index)
        except InputError as together:
            faults = {}
            for row in dict.fromkeys(index.tolist()):
                try:
                    self.source.load(np.array([row]))
                except InputError as alone:
                    faults[row] = alone
            if not faults:  # it is how they fit one another, or the source
                raise together
            return None, faults
        try:
            check_pairs(pairs, self.frame.extent_m)
        except PairFault:
            faults = {}
            for k, row in enumerate(index.tolist()):
                try:
                    check_pairs(pairs.subset([k]), self.frame.extent_m)
                except PairFault as fault:
                    faults[row] = fault
            return None, faults
        return pairs, {}

    def _tell(self, new: dict[int, InputError]) -> None:
        """Of the first, and each time that their number has doubled: a warning a pair could be thousands."""
        count = len(self._left_out)
        if (count - len(new)).bit_length() < count.bit_length():
            warnings.warn(f"{count} of {len(self.source)} pairs can teach nothing and are left out so far; the last of "
                          f"them: {list(new.values())[-1]}", PairFaultWarning, stacklevel=2)

    def _read_ahead(self, number: int, share: slice) -> None:
        prefetch = getattr(self.source, "prefetch", None)
        if prefetch is None or number >= self.options.steps:
            return
        kept, self.order = self.order, copy.deepcopy(self.order)  # a look ahead must not move what a checkpoint holds
        try:
            index = self.index(number)
        finally:
            self.order = kept
        prefetch(self._chosen(number, index, share))

    def _batch(self, pairs: TilePanoramaPairs) -> Batch:
        pictures = (torch.as_tensor(part).to(self.device) for part in (pairs.tiles, pairs.panoramas, pairs.sky))
        return Batch(*pictures, torch.as_tensor(eyes(pairs).astype(np.float32)),
                     torch.as_tensor(pairs.heading.astype(np.float32)), pairs.vertical_fov)


@dataclass(frozen=True)
class _InMemory:
    pairs: TilePanoramaPairs

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: np.ndarray) -> TilePanoramaPairs:
        """The pairs of an index array."""
        return self.pairs.subset(index)


class PairFault(InputError):
    """What is wrong with some pairs, and not with the set."""


def check_pairs(pairs: TilePanoramaPairs, extent_m: float) -> None:
    """Refuse pairs that cannot teach a model of tiles `extent_m` metres wide.

    Raises:
        PairFault: a picture, place or heading that is not finite, or a mask that is sky all over; an InputError.
        InputError: what is missing or does not fit.
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
    for name, values in (("picture", pairs.tiles), ("picture", pairs.panoramas), ("heading", pairs.heading),
                         ("camera's place", pairs.offset_m)):
        if values is not None and not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
            raise PairFault(f"a {name} holds numbers that are not finite: {_named(pairs, bad)}", where=_WHERE,
                            mend="Check its file")
    try:
        checked_sky(pairs.sky, pairs.panoramas)
    except InputError as fault:
        covered = np.flatnonzero(pairs.sky.all(axis=(1, 2)))
        if not len(covered):
            raise InputError(fault.what, where=_WHERE, mend=fault.mend) from fault
        raise PairFault(f"{fault.what}: {_named(pairs, covered)}", where=_WHERE, mend=fault.mend) from fault


def _named(pairs: TilePanoramaPairs, rows: np.ndarray) -> str:
    return "pair " + ", ".join(pairs.ids[k] for k in rows[:3])
