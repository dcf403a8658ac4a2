"""The scene classification of Sentinel-2 Level-2A (SCL): what each number means, and which pixels are clear.

Classes after the Sentinel-2 Level-2A product definition (Sen2Cor), colours as ESA's SNAP shows them.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from rsnb.errors import InputError
from rsnb.scenes import SemanticClass

SCL_CLASSES = (
    SemanticClass(0, "no data", (0, 0, 0)),
    SemanticClass(1, "saturated or defective", (255, 0, 0)),
    SemanticClass(2, "dark area", (47, 47, 47)),
    SemanticClass(3, "cloud shadow", (100, 50, 0)),
    SemanticClass(4, "vegetation", (0, 160, 0)),
    SemanticClass(5, "not vegetated", (255, 230, 90)),
    SemanticClass(6, "water", (0, 0, 255)),
    SemanticClass(7, "unclassified", (128, 128, 128)),
    SemanticClass(8, "cloud, medium probability", (192, 192, 192)),
    SemanticClass(9, "cloud, high probability", (255, 255, 255)),
    SemanticClass(10, "thin cirrus", (100, 200, 255)),
    SemanticClass(11, "snow or ice", (255, 150, 255)),
)
# For super-resolution and time series: no data, broken pixels, cloud shadow, the three kinds of cloud. Dark areas (2)
# and unclassified pixels (7) are mostly good ground; whoever wants them out names them too.
UNCLEAR = (0, 1, 3, 8, 9, 10)
# Published classifications squeezed with loss exist (JPEG 2000): a few pixels then hold numbers that are no class.
STRANGE_SHARE = 0.01


def clear_mask(scl: np.ndarray, unclear: Collection[int] = UNCLEAR, grow: int = 0) -> np.ndarray:
    """Which pixels show the ground.

    Args:
        scl: [..., H, W] class numbers, integers or floats; nan is no data.
        unclear: classes that are masked. No data (0 or nan) is masked whatever is named here.
        grow: pixels by which the masked areas are grown (the classification misses the rims of clouds); a square
            neighbourhood, no data does not grow.

    Returns:
        [..., H, W] bool, true where clear. A whole number that is no class is not clear.

    Raises:
        InputError: a value between two whole numbers, or over 1 % of the values are no class: this is no scene
            classification, or it was interpolated.
    """
    scl = np.asarray(scl)
    if scl.ndim < 2 or grow < 0:
        raise InputError(f"a mask needs a raster [..., H, W] and grow >= 0, got shape {scl.shape} and grow {grow}",
                         where="clear_mask")
    empty = ~np.isfinite(scl) if scl.dtype.kind == "f" else np.zeros(scl.shape, dtype=bool)
    numbers = np.where(empty, 0, scl)
    strange = ~np.isin(numbers, [c.id for c in SCL_CLASSES])
    between = strange & (numbers != np.round(numbers))
    if between.any() or strange.sum() > STRANGE_SHARE * strange.size:
        value = numbers[between if between.any() else strange].flat[0]
        raise InputError(f"{value} is no scene class (0 to 11)", where="clear_mask",
                         mend="Give the SCL band, resampled by nearest neighbour alone")
    masked = (np.isin(numbers, list(unclear)) & (numbers != 0)) | strange
    if grow:
        from scipy.ndimage import maximum_filter

        masked = maximum_filter(masked, size=(1,) * (scl.ndim - 2) + (2 * grow + 1,) * 2)
    return ~masked & (numbers != 0)


def class_shares(scl: np.ndarray) -> dict[str, float]:
    """{class name: share of the pixels that have data, 0..1}, the classes that occur, in the order of their numbers."""
    scl = np.asarray(scl)
    numbers = np.where(np.isfinite(scl), scl, 0).astype(np.int64)
    counts = np.bincount(numbers[numbers > 0], minlength=len(SCL_CLASSES))
    total = max(int(counts.sum()), 1)
    return {c.name: float(counts[c.id] / total) for c in SCL_CLASSES if counts[c.id]}


def clear_from_qa_pixel(bits: np.ndarray, snow_is_clear: bool = True) -> np.ndarray:
    """Which pixels of Landsat Collection 2 show the ground, from its QA_PIXEL band.

    Args:
        bits: [..., H, W] unsigned integers: bit 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, 5 snow
            (USGS Landsat 8-9 Collection 2 Level 2 guide, table 6-3).
        snow_is_clear: as for Sentinel-2, where class 11 is kept.

    Returns:
        [..., H, W] bool.
    """
    masked = 0b011111 if snow_is_clear else 0b111111
    return (np.asarray(bits).astype(np.int64) & masked) == 0
