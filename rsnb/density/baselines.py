"""What a density volume must beat, and what bounds it: one height for all, the mean of the training tiles, and the same
network told the true heights.

All give height maps, which `heights.volume_from_heights` makes solid, so that panoramas and voxels of a baseline are
scored like those of a volume. The direct image-to-image generator is `ModelOptions(density=None)`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsnb.density.layers import LayerKind
from rsnb.density.training_options import check_ranges
from rsnb.density.trunks import UNet
from rsnb.errors import InputError
from rsnb.training import History, LoopOptions, Trained, one_cycle_schedule, pick_device, train

_RANGES = {"steps": (1, 10**9), "batch": (1, 10**6), "rate": (1e-12, 1e3), "width": (1, 4096), "depth": (1, 8),
           "seed": (0, 2**63 - 1)}
_UNIT_M = 5.0  # of the last layer: houses are some units high, which is what steps of a given rate get to soon


@dataclass(frozen=True)
class OracleOptions:
    """How the supervised oracle is trained.

    Attributes:
        steps, batch, rate: as in `TrainingOptions`.
        width, depth: as in `DensityNetOptions`.
        seed: of weights and batches.

    Raises:
        InputError: a number out of its range.
    """

    steps: int = 300
    batch: int = 8
    rate: float = 1e-2
    width: int = 16
    depth: int = 3
    seed: int = 0

    def __post_init__(self):
        check_ranges(self, _RANGES)


def constant_heights(train_heights: np.ndarray, count: int) -> np.ndarray:
    """[count, S, S] the mean of all training heights [N, S, S] everywhere: the best that knows nothing."""
    train_heights = _checked(train_heights)
    return np.full((count, *train_heights.shape[1:]), train_heights.mean())


def mean_map(train_heights: np.ndarray, count: int) -> np.ndarray:
    """[count, S, S] the mean training tile: what follows from cameras standing on streets in the middle of tiles."""
    return np.repeat(_checked(train_heights).mean(axis=0)[None], count, axis=0)


class HeightNet(nn.Module):
    """The density net's trunk with one output: heights [B, S, S] in metres, >= 0, of tiles [B, 3, S, S] in 0..1."""

    def __init__(self, width: int = 16, depth: int = 3):
        super().__init__()
        self.trunk = UNet(3, 1, width, depth, LayerKind(norm="batch"), joined=True)

    def forward(self, tile: Tensor) -> Tensor:
        return _UNIT_M * F.softplus(self.trunk(2 * tile - 1)[:, 0])


def train_oracle(tiles: np.ndarray, heights: np.ndarray, options: OracleOptions = OracleOptions(),
                 loop: LoopOptions | None = None, *, device: str = "cpu") -> tuple[HeightNet, History]:
    """A network of the same kind that is told the true heights, which no method has: what the tile alone gives away.

    Args:
        tiles: [N, 3, S, S] float32 in 0..1.
        heights: [N, S, S] metres, true.
        options: of the training, with the robust L1 loss of Girshick (2015) at 1 m.
        loop: checkpoint and bar; None = neither kept nor named otherwise.
        device: where it is trained and stays, torch's or "auto".

    Raises:
        InputError: numbers that do not fit or are not finite, tiles that the net's halvings do not fit, or more than
            one device asked for.
    """
    heights = _checked(heights)
    if tiles.shape != (len(heights), 3, *heights.shape[1:]) or not np.isfinite(tiles).all():
        raise InputError(f"tiles have shape {tiles.shape}, heights {heights.shape}, or a tile is not finite",
                         where="train_oracle", mend="Give as many finite tiles as height maps, of one size")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        net = HeightNet(options.width, options.depth).to(pick_device(device))
    order = np.random.default_rng([options.seed, 2])
    place = next(net.parameters()).device
    told = torch.as_tensor(np.maximum(heights, 0.0), dtype=torch.float32).to(place)
    seen = torch.as_tensor(tiles, dtype=torch.float32).to(place)

    def step(_number: int) -> Tensor:
        index = torch.as_tensor(order.choice(len(seen), options.batch, replace=len(seen) < options.batch)).to(place)
        return F.smooth_l1_loss(net(seen[index]), told[index])

    adam = torch.optim.Adam(net.parameters(), options.rate)
    trained = Trained(net, adam, one_cycle_schedule(adam, options.steps), {"order": order})
    given = loop or LoopOptions(options.steps, description="oracle")
    about = {name: value for name, value in asdict(options).items() if name != "steps"}
    settings = {"oracle": about, "tiles": len(tiles)} | dict(given.settings)
    history = train(step, trained, replace(given, steps=options.steps, settings=settings))
    return net.eval(), history


def _checked(heights: np.ndarray) -> np.ndarray:
    heights = np.asarray(heights, np.float64)
    if heights.ndim != 3 or not len(heights) or not np.isfinite(heights).all():
        raise InputError(f"heights of shape {heights.shape} that are {'' if heights.size else 'empty or '}not all "
                         "finite or not [N, S, S]", where="baselines", mend="Give true heights of training tiles")
    return heights
