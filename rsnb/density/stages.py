"""How long each stage of a model takes, on the machine and in the mode where it will be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rsnb.density.model import SatDensity
from rsnb.density.render import render_panorama
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera


def time_stages(model: SatDensity, tile, camera: PanoramaCamera, position, histogram: Tensor | None = None,
                min_seconds: float = 0.2) -> dict[str, float]:
    """Median seconds of every stage from one tile to one street panorama, without gradients, in eval mode.

    Each stage is warmed up, then repeated for `min_seconds`, on as many threads as torch uses here; on a GPU its end is
    waited for.

    Args:
        model: on the device to be measured.
        tile: [3, S, S] in 0..1.
        camera, position: of the panorama, as in `render_panorama`.
        histogram: [L] or [1, L] of the sky, or None = no modulation.
        min_seconds: spent on each stage.

    Returns:
        "tile to volume", "sky to style" (with a histogram and an encoder), "rays", "refinement" (with a refinement
        net), and "all": from tile and histogram to the picture in one go.

    Raises:
        InputError: a tile of another shape, more than one sky, seconds that are not above 0; torch's timer cannot be
            loaded.
    """
    device = next(model.parameters()).device
    tile = torch.as_tensor(tile, dtype=torch.float32)
    if tile.ndim != 3:
        raise InputError(f"the tile has shape {tuple(tile.shape)}, expected [3, S, S]", where="time_stages")
    if not min_seconds > 0:
        raise InputError(f"min_seconds is {min_seconds!r}", where="time_stages", mend="Give seconds above 0")
    if histogram is not None:
        histogram = torch.as_tensor(histogram).to(device).reshape(-1, histogram.shape[-1])
        if len(histogram) != 1:
            raise InputError(f"{len(histogram)} skies for one tile", where="time_stages", mend="Give one row")
    tile, training = tile[None].to(device), model.training
    model.eval()
    try:
        with torch.no_grad():
            stages = _stages(model, tile, camera, position, histogram)
            return {name: _median_seconds(work, min_seconds) for name, work in stages.items()}
    finally:
        model.train(training)


def _stages(model: SatDensity, tile: Tensor, camera: PanoramaCamera, position,
            histogram: Tensor | None) -> dict[str, Callable[[], Any]]:
    """Every stage as a function without arguments, fed with what the stages before it give."""
    options, volume, style = model.options, model.volume(tile), None
    rendered = render_panorama(volume, camera, position, options=options.render)
    stages = {"tile to volume": lambda: model.volume(tile)}
    if histogram is not None and model.illumination is not None:
        style = model.illumination(histogram)
        stages["sky to style"] = lambda: model.illumination(histogram)
    stages["rays"] = lambda: render_panorama(volume, camera, position, options=options.render)
    if model.refine is not None:
        stages["refinement"] = lambda: model.refined(rendered, camera, position, style=style)
    return stages | {"all": lambda: model.view(model.volume(tile), camera, position, histogram=histogram)}


def _median_seconds(work: Callable[[], Any], min_seconds: float) -> float:
    try:
        from torch.utils.benchmark import Timer  # asks for setuptools, which torch alone does not bring everywhere
    except ImportError as error:
        raise InputError(f"torch's timer cannot be loaded ({error})", where="time_stages",
                         mend="Install setuptools") from error
    timer = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return float(timer.blocked_autorange(min_run_time=min_seconds).median)
