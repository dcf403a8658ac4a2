"""Watching an optimisation: what a view looks like, and what unseen views score, every so many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rsnb.errors import InputError
from rsnb.metrics.image import psnr
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import view_rows
from rsnb.scenes import PosedImages


class Frame(NamedTuple):
    """One look.

    Attributes:
        step: of the optimiser, from 1.
        seconds: that the optimisation had taken, looks included.
        psnr: mean over the watched views, each over its valid pixels, dB.
        image: [3, H, W] float32 in 0..1, the first watched view.
    """

    step: int
    seconds: float
    psnr: float
    image: np.ndarray


class Watch:
    """Give it as `on_step`; the optimisation learns nothing from it.

    Args:
        views: all pictures.
        names: views to render and score, the first of which is kept as a picture.
        looks: about how many, evenly over the steps; the first and the last step are among them (the last unless a time
            limit ends the optimisation before).
    """

    def __init__(self, views: PosedImages, names: Sequence[str], looks: int = 24):
        if looks < 2 or not names:
            raise InputError(f"{looks} looks at {len(names)} views", where="Watch", mend="Give two looks and a view")
        self.views, self.names, self.looks = views, tuple(names), looks
        self.frames: list[Frame] = []

    def __call__(self, step: int, total: int, result_so_far: Callable[[], OptimisedMpi]) -> None:
        before, now = ((at - 1) * (self.looks - 1) // max(total - 1, 1) for at in (step - 1, step))
        if 1 < step < total and now == before:
            return
        result = result_so_far()
        scores, image = [], None
        for name in self.names:
            i = int(view_rows(self.views, [name])[0])
            seen = result.view(self.views, name)
            rgb, mask = seen.rgb.clamp(0, 1).cpu().numpy(), seen.mask.cpu().numpy()
            image = rgb if image is None else image
            if mask.any():
                scores.append(psnr(rgb, self.views.images[i], mask))
        self.frames.append(Frame(step, result.seconds, float(np.mean(scores)) if scores else float("nan"), image))

    def history(self, history: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        """A history with "test_psnr" in the entries at which was looked."""
        seen = {frame.step: frame.psnr for frame in self.frames}
        return [{**entry, **({"test_psnr": seen[entry["step"]]} if entry["step"] in seen else {})}
                for entry in history]
