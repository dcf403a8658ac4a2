"""Street pictures of pairs by a trained model: from the pairs' own places, under a sky of one's choice."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from rsnb.density.model import SatDensity
from rsnb.density.sampling import with_length
from rsnb.density.sky import SKY_LOOKS, preset_sky, sky_picture
from rsnb.density.sky_segment import segment_sky
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.scenes import TilePanoramaPairs

OWN, NONE = "own", "none"
SKIES_AT_ONCE = 64  # panoramas whose sky is counted together


def eyes(pairs: TilePanoramaPairs) -> np.ndarray:
    """[N, 3] float64 places of the cameras: metres east and north of their tile's middle, and above the ground.

    Raises:
        InputError: nobody says how high the cameras are.
    """
    if pairs.camera_height_m is None:
        raise InputError("nobody says how high the camera is", where="pairs",
                         mend="Give camera_height_m, in metres; density.calibrate_camera_height finds it from pictures")
    offset = np.zeros((len(pairs), 2)) if pairs.offset_m is None else pairs.offset_m
    return np.column_stack([offset, np.full(len(pairs), float(pairs.camera_height_m))])


def sky_light(model: SatDensity, pairs: TilePanoramaPairs, name: str,
              skies: TilePanoramaPairs | None = None) -> Tensor | None:
    """What the encoder is told of the light, one row a pair.

    Args:
        model: whose encoder it is for; its mode says how skies are counted.
        pairs: the places; their panoramas are looked at for "own" alone.
        name: "own" = each picture's own sky (found by `segment_sky` where the pairs have no masks), which tells a model
            that is scored on the same pictures what colour their sky has; "none" = no light; one of `SKY_LOOKS`; or an
            id of `skies`: the sky of that panorama for all.
        skies: pairs whose skies can be asked for; None = `pairs`.

    Returns:
        [N, L] on the model's device; None for "none", and for a model without illumination injection.

    Raises:
        InputError: an unknown name, or panoramas that `segment_sky` or `sky_histogram` refuses.
    """
    skies = pairs if skies is None else skies
    if name not in (OWN, NONE, *SKY_LOOKS, *skies.ids):
        raise InputError(f"there is no sky {name!r}", where="sky",
                         mend=f"Write one of {OWN}, {NONE}, {', '.join(SKY_LOOKS)}, or the id of a pair")
    if name == NONE or model.illumination is None:
        return None
    if name in skies.ids:
        one = skies.subset(np.array([skies.ids.index(name)]))
        return sky_light(model, one, OWN).repeat(len(pairs), 1)
    device = next(model.parameters()).device
    height, width = pairs.panoramas.shape[-2:]
    if name != OWN:
        mode = model.illumination.options.histogram
        return preset_sky(name, mode, height=height, width=width).to(device).repeat(len(pairs), 1)
    found = []
    for part in _pieces(len(pairs), SKIES_AT_ONCE):
        panorama = torch.as_tensor(pairs.panoramas[part])
        sky = segment_sky(panorama, pairs.vertical_fov) if pairs.sky is None else torch.as_tensor(pairs.sky[part])
        found.append(model.histogram(panorama, sky))
    return torch.cat(found).to(device)


def shown_sky(name: str, skies: TilePanoramaPairs) -> np.ndarray:
    """[3, h, w] in 0..1, what a sky looks like: one of `SKY_LOOKS`, or of a pair's id the upper half of its panorama.

    Raises:
        InputError: neither.
    """
    if name in skies.ids:
        panorama = skies.panoramas[skies.ids.index(name)]
        return panorama[:, :max(panorama.shape[1] // 2, 1)]
    if name not in SKY_LOOKS:
        raise InputError(f"there is no picture of a sky {name!r}", where="sky",
                         mend=f"Write one of {', '.join(SKY_LOOKS)}, or the id of a pair")
    return sky_picture(SKY_LOOKS[name]).numpy()


def street_pictures(model: SatDensity, pairs: TilePanoramaPairs, light: Tensor | None = None,
                    batch: int = 8) -> np.ndarray:
    """The panoramas that a model paints of pairs, from the places and in the size of their own.

    Args:
        model: trained; it works in eval mode here, and is given back in its own.
        pairs: tiles, places, headings and sizes; the pictures themselves are not looked at.
        light: [N, L] by `sky_light`, or None = no modulation. An encoder that draws its code draws from seed 0.
        batch: pairs at once.

    Returns:
        [N, 3, H, W] float32 in 0..1: refined, or of a model without refinement the rendered colours.

    Raises:
        InputError: no camera height; tiles of another extent than the model's; light for another number of pairs; a
            batch below 1.
    """
    positions = eyes(pairs)
    if light is not None and len(light) != len(pairs):
        raise InputError(f"light of {len(light)} skies for {len(pairs)} pairs", where="street_pictures",
                         mend="Give one row a pair, as sky_light does")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch is {batch!r}", where="street_pictures", mend="Give a whole number above 0")
    extent_m = model.options.frame.extent_m
    if pairs.tile_extent_m is not None and not math.isclose(pairs.tile_extent_m, extent_m, rel_tol=1e-6):
        raise InputError(f"the tiles are {pairs.tile_extent_m} m wide, the model's {extent_m} m",
                         where="street_pictures", mend="Use a model that was trained for such tiles")
    device = next(model.parameters()).device
    camera = PanoramaCamera(pairs.panoramas.shape[-1], pairs.panoramas.shape[-2], pairs.vertical_fov)
    render = with_length(model.options.render, model.options.frame, torch.as_tensor(positions))
    draws, pictures, training = torch.Generator().manual_seed(0), [], model.training
    model.eval()
    try:
        with torch.no_grad():
            for part in _pieces(len(pairs), batch):
                volume = model.volume(torch.as_tensor(pairs.tiles[part]).to(device))
                histogram = None if light is None else light[part].to(device)
                view = model.view(volume, camera, positions[part], pairs.heading[part], histogram, generator=draws,
                                  render=render)
                pictures.append((view.rendered.rgb if view.rgb is None else view.rgb).float().cpu().numpy())
    finally:
        model.train(training)
    return np.concatenate(pictures)


def _pieces(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
