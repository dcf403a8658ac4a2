"""Camera matrices when a picture changes its number of pixels. numpy alone, so that readers can use it."""

from __future__ import annotations

import numpy as np


def scale_intrinsics(K: np.ndarray, size: tuple[float, float], new: tuple[float, float]) -> np.ndarray:
    """K [..., 3, 3] for the same picture in another number of pixels; exact, as the origin is the picture's corner.

    Args:
        K: of the picture as it is.
        size, new: (width, height) before and after; only their ratio matters.
    """
    return K * np.array([new[0] / size[0], new[1] / size[1], 1.0])[:, None]
