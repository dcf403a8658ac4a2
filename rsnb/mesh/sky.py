"""What a ray sees that hits nothing: a sky that pales towards the horizon, and a glow around the sun.

Not a physical model (that would be Hosek & Wilkie 2012): powers that are whole numbers, so that they are products and
every backend gives the same colours, chosen to look like a clear day with some haze.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sky:
    """Colours 0..1 of a clear sky.

    Attributes:
        zenith, horizon: straight up and at eye level.
        ground: below the horizon, where a mesh ends.
        glow: colour added around the sun (only where the render options have a sun).
        glow_strength: 0 switches the glow off.
    """

    zenith: tuple[float, float, float] = (0.27, 0.47, 0.76)
    horizon: tuple[float, float, float] = (0.86, 0.90, 0.94)
    ground: tuple[float, float, float] = (0.73, 0.76, 0.78)
    glow: tuple[float, float, float] = (1.0, 0.88, 0.66)
    glow_strength: float = 1.0


def power(x, squarings: int):
    """x ** (2 ** squarings) as products (array, tensor or number)."""
    for _ in range(squarings):
        x = x * x
    return x


def sky_colour(sky: Sky | tuple[float, float, float], directions: torch.Tensor,
               to_sun: torch.Tensor | None = None) -> torch.Tensor:
    """Colour of the background.

    Args:
        sky: gradient, or one constant colour 0..1.
        directions: [N, 3] unit vectors in the world (z up).
        to_sun: [3] unit vector towards the sun, or None: no glow.

    Returns:
        [N, 3] of the dtype of `directions`, 0..1.
    """
    def row(colour):
        return torch.tensor(colour, dtype=directions.dtype, device=directions.device)

    if not isinstance(sky, Sky):
        return row(sky).expand(len(directions), 3).clone()
    up = directions[:, 2:3]
    clear = 1.0 - up.clamp(0.0, 1.0)
    haze = 0.65 * power(clear, 1) + 0.35 * power(clear, 3)
    colour = row(sky.zenith) + (row(sky.horizon) - row(sky.zenith)) * haze
    below = (up * -4.0).clamp(0.0, 1.0)  # 14 degrees of transition
    colour = colour + (row(sky.ground) - colour) * below
    if to_sun is not None and sky.glow_strength > 0:
        near = (directions * to_sun.to(directions)).sum(1, keepdim=True).clamp(min=0.0)
        amount = sky.glow_strength * (1.0 - below) * (0.30 * power(near, 3) + 0.40 * power(near, 7)
                                                      + 0.60 * power(near, 12))
        colour = colour + (row(sky.glow) - colour) * amount.clamp(max=1.0)
    return colour
