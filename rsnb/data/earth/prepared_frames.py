"""Frames that the Temporal LIIF thesis prepared from WorldStrat: `1.png` ... `5.png`, 8-bit RGB in date order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from rsnb.data.earth.bands import choose
from rsnb.data.earth.worldstrat_dates import RevisitFacts
from rsnb.data.earth.worldstrat_layout import PlaceFiles
from rsnb.errors import InputError
from rsnb.scenes import DatedStack

RGB = ("red", "green", "blue")


def read_prepared(
    files: PlaceFiles, facts: Mapping[int, RevisitFacts], bands
) -> tuple[DatedStack, list[int], list[str]]:
    """The frames of a place as a stack without a place on Earth.

    Args:
        files: of one place, frames "prepared".
        facts: {frame number: dates}, in date order.
        bands: which of red, green, blue.

    Returns:
        The stack (values / 255, all pixels clear, transform over [-1, 1] with y down), the frame numbers kept, notes.

    Raises:
        InputError: frames of different sizes (there is no coordinate system that could join them), or none that opens.
    """
    from PIL import Image

    index = choose(bands, RGB, files.name)
    by_number = {r.n: r.files["png"] for r in files.revisits if "png" in r.files}
    pictures, notes = {}, []
    for n in facts:
        try:
            with Image.open(by_number[n]) as picture:
                pictures[n] = np.asarray(picture.convert("RGB"), np.float32).transpose(2, 0, 1)[index] / np.float32(255)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            notes.append(f"frame {n} is left out: {by_number[n].name} is no whole picture ({error})")
    if not pictures:
        raise InputError(f"no frame can be read ({notes[-1]})", where=files.name)
    common = Counter(p.shape for p in pictures.values()).most_common(1)[0][0]
    for n, picture in pictures.items():
        if picture.shape != common:
            raise InputError(f"{picture.shape[2]} x {picture.shape[1]} pixels, the others {common[2]} x {common[1]}",
                             where=by_number[n], mend="Remove the frame, or bring all of them to one size")
    kept = list(pictures)
    if kept != sorted(kept):
        notes.append(f"by date the frames are {', '.join(map(str, kept))}: their numbers are not in date order")
    height, width = common[1:]
    stack = DatedStack(np.stack(list(pictures.values())), np.array([facts[n].date for n in kept]),
                       tuple(RGB[i] for i in index), np.ones((len(kept), height, width), bool),
                       (2 / width, 0.0, -1.0, 0.0, 2 / height, -1.0), None, tuple(f"{n}" for n in kept))
    return stack, kept, notes
