"""Which pixels of a panorama are sky, for pictures that come without a mask. No network, nothing learned beforehand.

Three kinds of evidence, in turn:

1. what skies have in common: above the horizon, bright or blue, smooth;
2. what the sky of this picture looks like: colours and texture of what was found so far against those of the rest, by
   histograms that are fitted again in every round;
3. the shape: from the top downwards, a column is sky until something ends it. The heights of the ends are found for all
   columns at once, cyclically, by dynamic programming: they follow edges and seldom jump.

At last single pixels may disagree with the shape where their evidence is strong (sky under an arch of trees, a lamp in
front of the sky).

Intersection over union, mean (least), beside the best constant horizon and the best threshold on one colour:

* city, 24 whole spheres of 128 x 256: 0.997 (0.992); 0.73, 0.93;
* city in CVUSA's layout, 24 bands of 32 x 176: 0.91 (0.59); 0.33, 0.77. Pale walls that reach above the picture fail;
* the six CVACT demo cases, 128 x 512, whose masks are coarse: 0.963 (0.928); 0.84, 0.78.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, label, minimum_filter, uniform_filter
from torch import Tensor

from rsnb.density.flat_ground import require_whole_sphere
from rsnb.errors import InputError
from rsnb.geometry.cameras import as_tensor

BINS = 16
LONGEST_ROW = 512


@dataclass(frozen=True)
class SkyOptions:
    """Weights of the evidence; the defaults were chosen on the city and looked at on CVACT, CVUSA and Dayton pictures.

    Attributes:
        rounds: of fitting the picture's own colours.
        prior: weight of what skies have in common once the picture's own colours are known.
        wall: log odds against sky for an edge of 1 between a pixel and the top of the picture.
        edge: reward for an edge under the end of the sky.
        hidden: reward for a column without sky (trees and walls may reach above the top of the picture, where no edge
            is seen), log odds times degrees.
        jump: cost of one degree between the ends of two columns a degree apart, and where it stops growing, degrees.
        shape: log odds that the shape adds to every pixel's own.
        local: weight of the colours right beside a pixel, log odds for a difference of 1.
        below: how far below the middle row sky may reach, radians (CVUSA's horizon lies some degrees below it).
    """

    rounds: int = 3
    prior: float = 0.5
    wall: float = 10.0
    edge: float = 6.0
    hidden: float = 30.0
    jump: tuple[float, float] = (1.0, 15.0)
    shape: float = 3.0
    local: float = 20.0
    below: float = math.radians(6.0)


def segment_sky(panorama, vertical_fov: float = math.pi, options: SkyOptions = SkyOptions()) -> Tensor:
    """The sky of panoramas, for `sky_histogram` and the opacity term.

    Args:
        panorama: [..., 3, H, W] in 0..1, full circle.
        vertical_fov: from the top edge to the bottom edge, radians, centred on the horizon.
        options: weights.

    Returns:
        bool [..., H, W], true = sky. Deterministic; it may be all false where trees or walls hide everything.

    Raises:
        InputError: not [..., 3, H, W], smaller than 8 x 16, NaN, samples outside 0..1, a field of view outside 0..pi;
            the whole sphere claimed for a picture that is not 2:1 (rows squeezed to half are let pass).
    """
    panorama = as_tensor(panorama)
    if panorama.ndim < 3 or panorama.shape[-3] != 3 or panorama.shape[-2] < 8 or panorama.shape[-1] < 16:
        raise InputError(f"the panorama has shape {tuple(panorama.shape)}, expected [..., 3, H, W] of at least 8 x 16",
                         where="segment_sky")
    if not 0 < vertical_fov <= math.pi + 1e-9:
        raise InputError(f"a vertical field of view of {vertical_fov} rad", where="vertical_fov",
                         mend="Give radians above 0, up to pi (the whole sphere)")
    if vertical_fov > math.pi - 1e-6:
        require_whole_sphere(*panorama.shape[-2:], "segment_sky")
    pictures = panorama.detach().cpu().float().reshape(-1, 3, *panorama.shape[-2:])
    if not torch.isfinite(pictures).all():
        raise InputError("the panorama holds samples that are not finite", where="segment_sky", mend="Repair it")
    if pictures.min() < -0.01 or pictures.max() > 1.01:
        raise InputError(f"samples from {float(pictures.min()):g} to {float(pictures.max()):g}", where="segment_sky",
                         mend="Give 0..1: divide 8-bit pictures by 255")
    masks = [_segment(picture, vertical_fov, options) for picture in pictures]
    return torch.stack(masks).reshape(*panorama.shape[:-3], *panorama.shape[-2:]).to(panorama.device)


def checked_sky(mask, panorama) -> Tensor:
    """A mask that came with a panorama, if it can be one.

    Args:
        mask: [..., H, W] bool, or numbers that are 0 and one other value (0/1, 0/255).
        panorama: [..., 3, H, W] it belongs to.

    Returns:
        bool [..., H, W].

    Raises:
        InputError: another size than the panorama's, NaN, more than two values, or a picture that is sky all over,
            which would teach that nothing stands anywhere.
    """
    mask, panorama = as_tensor(mask), as_tensor(panorama)
    if mask.shape != (*panorama.shape[:-3], *panorama.shape[-2:]):
        raise InputError(f"the mask has shape {tuple(mask.shape)}, the panorama {tuple(panorama.shape)}", where="mask",
                         mend="Give one [..., H, W] of the panorama's size; resize masks by nearest pixel")
    values = torch.unique(mask)
    if not torch.isfinite(values.double()).all() or len(values) > 2 or (values[0] != 0 and len(values) == 2):
        raise InputError(f"the mask holds {[round(float(v), 3) for v in values[:5]]}", where="mask",
                         mend="Give two values: 0, and one that means sky")
    sky = mask > 0
    full = sky.flatten(-2).all(dim=-1)
    if full.any():
        raise InputError(f"{int(full.sum())} of {full.numel()} masks are sky all over", where="mask",
                         mend="Turn the mask round if it marks what is not sky, or leave the pair out")
    return sky


def sky_iou(found, truth) -> float:
    """Intersection over union of two sky masks [..., H, W]; 1 where neither has sky.

    Raises:
        InputError: masks of different size.
    """
    found, truth = (as_tensor(x).bool().cpu() for x in (found, truth))
    if found.shape != truth.shape:
        raise InputError(f"masks of shape {tuple(found.shape)} and {tuple(truth.shape)}", where="sky_iou",
                         mend="Resize one of them, by nearest pixel")
    union = int((found | truth).sum())
    return int((found & truth).sum()) / union if union else 1.0


def _segment(picture: Tensor, vertical_fov: float, options: SkyOptions) -> Tensor:
    """bool [H, W] of one [3, H, W]; long rows are shortened first, as fine texture only costs time."""
    rows, columns = picture.shape[-2:]
    if columns > LONGEST_ROW:
        small = (max(round(rows * LONGEST_ROW / columns), 8), LONGEST_ROW)
        picture = torch.nn.functional.interpolate(picture[None], small, mode="area")[0]
    image = picture.double().numpy()
    degrees = math.degrees(vertical_fov) / image.shape[1], 360 / image.shape[2]  # a row, a column
    elevation = (0.5 - (np.arange(image.shape[1]) + 0.5) / image.shape[1]) * vertical_fov
    last = int((elevation > -options.below).sum())  # no sky from this row on
    look = _Look.of(image, degrees)
    prior = _common_evidence(look, elevation, options)
    odds = prior
    for round_ in range(options.rounds + 1):
        end = _ends(odds[:last], look.edges[:last + 1], degrees, options)
        shape = np.arange(image.shape[1])[:, None] < end
        if round_ < options.rounds:
            odds = options.prior * prior + _own_evidence(look, shape, elevation)
    total = odds + options.shape * np.where(shape, 1.0, -1.0)
    for _ in range(options.rounds):
        total[last:] = -8.0
        total = total + _local_evidence(image, total > 0, degrees, options.local)
    total[last:] = -1.0
    total = gaussian_filter(np.clip(total, -8, 8), 0.7, mode=("nearest", "wrap"))
    rows_below = np.arange(image.shape[1])[:, None] >= last
    rows_below[0] = True  # trees may hang into the picture
    sky = _joined(total > 0, shape)
    sky = ~_joined(~sky, np.broadcast_to(rows_below, sky.shape))
    total = np.where(sky, np.abs(total), -np.abs(total))
    full = torch.nn.functional.interpolate(torch.from_numpy(total)[None, None], (rows, columns), mode="bilinear")
    return full[0, 0] > 0


def _joined(mask: np.ndarray, body: np.ndarray) -> np.ndarray:
    """The parts of a mask [H, W] that touch a body [H, W]: a white wall looks like sky but is not joined to it, a
    cloud looks like a wall but stands on no ground."""
    parts, count = label(mask, structure=np.ones((3, 3)))
    seam = np.stack([parts[:, 0], parts[:, -1]])
    touching = np.zeros(count + 1, bool)
    touching[np.unique(parts[mask & body])] = True
    for left, right in seam.T[(seam > 0).all(axis=0)]:
        touching[[left, right]] = touching[left] | touching[right]
    touching[0] = False
    return touching[parts]


@dataclass(frozen=True)
class _Look:
    """What one sees of a picture: luma, blue - red, green - magenta, texture [H, W] each; edges [H + 1, W], how much
    the two sides of a row's upper border differ; and the way up [H, W], the edges between a pixel and the top row."""

    luma: np.ndarray
    blue: np.ndarray
    green: np.ndarray
    texture: np.ndarray
    edges: np.ndarray
    way_up: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, degrees: tuple[float, float]) -> _Look:
        red, green, blue = image
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        window = [max(1, round(2.5 / d)) for d in degrees]  # 2.5 degrees
        mode = ("nearest", "wrap")
        fine = luma - gaussian_filter(luma, [1.0 / d for d in degrees], mode=mode)
        # running sums leave a square a hair below 0
        texture = np.sqrt(np.maximum(uniform_filter(fine**2, window, mode=mode), 0.0))
        # the smoother side counts: a window that overlaps a tree must not make the sky beside it rough
        texture = minimum_filter(texture, window, mode=mode)
        smooth = gaussian_filter(image, (0, 0.5, 0.7), mode=("nearest", "nearest", "wrap"))
        step = np.abs(np.diff(smooth, axis=1)).max(axis=0)
        edges = np.pad(step, ((1, 1), (0, 0)))
        return cls(luma, blue - red, green - (red + blue) / 2, texture, edges, _way_up(step))


def _way_up(step: np.ndarray) -> np.ndarray:
    """[H, W] least sum of edges on a way from the top row, one row down and at most one column aside at a time, of the
    edges [H - 1, W] between rows. A cloud can be walked round and its rim is soft; a roof line must be crossed."""
    crossed = np.zeros((len(step) + 1, step.shape[1]))
    for row, edge in enumerate(np.clip(step - 0.03, 0, None), start=1):
        above = crossed[row - 1]
        crossed[row] = np.minimum(np.minimum(np.roll(above, 1), np.roll(above, -1)), above) + edge
    return crossed


def _common_evidence(look: _Look, elevation: np.ndarray, options: SkyOptions) -> np.ndarray:
    """[H, W] log odds of sky from what skies have in common."""
    bright = 8.0 * (look.luma - 0.45)
    blue = 12.0 * look.blue
    grass = -25.0 * np.clip(look.green - 0.01, 0, None)
    rough = -100.0 * np.clip(look.texture - 0.015, 0, None)
    high = 2.0 * np.clip(np.degrees(elevation) / 30.0, -1, 1)[:, None]
    walled = -options.wall * np.clip(look.way_up, 0, 0.5)
    return np.clip(bright + blue + grass + rough + high - 0.5, -4, 4) + walled


def _own_evidence(look: _Look, shape: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """[H, W] log odds of sky from the colours and textures inside and outside what was taken for sky."""
    near = np.degrees(elevation)[:, None] > -25.0  # the road under the camera says little about what ends the sky
    inside, outside = shape, ~shape & near
    colour = _bins(look.luma, 0, 1), _bins(look.blue, -0.3, 0.5), _bins(look.green, -0.15, 0.2)
    code = np.ravel_multi_index(colour, (BINS,) * 3)
    odds = _log_ratio(code, inside, outside, (BINS,) * 3)
    texture = _bins(np.log(look.texture + 1e-3), math.log(1e-3), math.log(0.2))
    return np.clip(odds + _log_ratio(texture, inside, outside, (BINS,)), -6, 6)


def _local_evidence(image: np.ndarray, mask: np.ndarray, degrees: tuple[float, float], gain: float) -> np.ndarray:
    """[H, W] log odds of sky where a pixel is nearer to the colour of the sky beside it than to that of the rest beside
    it: the bright haze at the horizon and the rim round a tree differ from the sky as a whole."""
    sigma = (0, 2.0 / degrees[0], 2.0 / degrees[1])
    mode = ("nearest", "nearest", "wrap")
    distance = []
    for where in (mask, ~mask):
        weight = gaussian_filter(where[None].astype(float), sigma, mode=mode) + 1e-6
        mean = gaussian_filter(image * where, sigma, mode=mode) / weight
        # nothing of this kind near: as far away as can be
        distance.append(np.where(weight[0] > 0.02, np.linalg.norm(image - mean, axis=0), 1.0))
    alone = np.maximum(*distance) >= 1.0
    return np.where(alone, 0.0, gain * np.clip(distance[1] - distance[0], -0.2, 0.2))


def _bins(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) / (high - low) * BINS, 0, BINS - 1).astype(int)


def _log_ratio(code: np.ndarray, inside: np.ndarray, outside: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] log of how much more frequent each pixel's bin is inside than outside."""
    shares = []
    for where in (inside, outside):
        counts = np.bincount(code[where], minlength=math.prod(shape)).reshape(shape).astype(float)
        counts = gaussian_filter(counts, 0.8, mode="nearest") + 0.02 * max(where.sum(), 1) / math.prod(shape)
        shares.append(counts / counts.sum())
    return np.log(shares[0] / shares[1]).ravel()[code]


def _ends(odds: np.ndarray, edges: np.ndarray, degrees: tuple[float, float], options: SkyOptions) -> np.ndarray:
    """[W] number of rows of sky in each column, 0..R, of log odds [R, W]: the cheapest closed line.

    Args:
        odds: of rows that may be sky.
        edges: [R + 1, W] at the upper border of each row, and at the lower one of the last.
        degrees: height and width of a pixel.
        options: weights.
    """
    rows, columns = odds.shape
    # what it costs to call the rows above the end sky, and not to call those below it sky, in units of a degree
    gain = np.concatenate([np.zeros((1, columns)), np.cumsum(odds, axis=0)]) * degrees[0]
    cost = -gain - options.edge * np.clip(edges, 0, 0.3) / 0.3
    cost[0] -= options.hidden
    slope = options.jump[0] * degrees[0] / degrees[1]
    most = options.jump[0] * options.jump[1] / degrees[1]
    lead = columns // 2  # once round and a half: where the line closes is forgotten by then
    order = np.arange(-lead, columns + lead) % columns
    ramp = slope * np.arange(rows + 1)
    totals = np.empty((len(order), rows + 1))
    totals[0] = cost[:, order[0]]
    for i, column in enumerate(order[1:], start=1):
        before = totals[i - 1]
        down = np.minimum.accumulate(before - ramp) + ramp
        up = np.minimum.accumulate((before + ramp)[::-1])[::-1] - ramp
        totals[i] = cost[:, column] + np.minimum(np.minimum(down, up), before.min() + most)
    path = np.empty(len(order), int)
    path[-1] = totals[-1].argmin()
    for i in range(len(order) - 2, -1, -1):
        jump = np.minimum(np.abs(ramp - ramp[path[i + 1]]), most)
        path[i] = (totals[i] + jump).argmin()
    return path[lead:lead + columns]
