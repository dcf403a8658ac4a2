"""From the histogram of a sky to the style that lights a street picture, and the way from one style to another.

The encoder gives mean and log variance of a code; the code, made of unit length, goes through a perceptron to the
style (Qian et al. 2023). "published" restates its defects: no nonlinearity before the two heads, raw counts at the
input, which saturate the tanh of the mean, and a code drawn anew at test time too, so that pictures flicker. "ours"
takes normalised histograms, has LeakyReLU between its layers and no tanh on the mean, and uses the mean itself wherever
it is not told to draw; "grey" is ours on histograms of the luma alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsnb.density.layers import SLOPE
from rsnb.density.sizes import values_of_size
from rsnb.density.sky import KEPT, LENGTH, HistogramMode
from rsnb.errors import InputError

_SIZES = {
    "tiny": {"hidden": 16, "code": 8, "style_width": 16, "layers": 1},
    "smoke": {"hidden": 32, "code": 16, "style_width": 32, "layers": 2},
    "small": {"hidden": 64, "code": 32, "style_width": 64, "layers": 2},
    "full": {"mode": "published", "draw_in_training": True, "draw_at_test": True},
}
_HISTOGRAMS: dict[str, HistogramMode] = {"ours": "fixed", "published": "published", "grey": "grey"}


@dataclass(frozen=True)
class IlluminationOptions:
    """What the illumination encoder looks like.

    Attributes:
        mode: "ours", "published" or "grey" (see the module); each wants histograms of its own mode, `histogram`.
        hidden: width of the encoder's layers.
        code: length of the code between encoder and perceptron.
        style_width: W, of the style and of the perceptron.
        layers: of the perceptron between its first and its last.
        draw_in_training: draw the code around its mean in training mode; then the Kullback-Leibler term has a meaning.
        draw_at_test: draw it in eval mode too, as published.

    Raises:
        InputError: an unknown mode, or a width below 1.
    """

    mode: Literal["ours", "published", "grey"] = "ours"
    hidden: int = 256
    code: int = 128
    style_width: int = 256
    layers: int = 4
    draw_in_training: bool = False
    draw_at_test: bool = False

    def __post_init__(self):
        if self.mode not in _HISTOGRAMS:
            raise InputError(f"mode is {self.mode!r}", where="IlluminationOptions",
                             mend=f"Use one of {', '.join(_HISTOGRAMS)}")
        for name in ("hidden", "code", "style_width", "layers"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}", where="IlluminationOptions",
                                 mend="Give a whole number above 0")

    @classmethod
    def of_size(cls, size: str, **changes) -> IlluminationOptions:
        """The options of "tiny", "smoke", "small" (ours) or "full" (as published), with changes."""
        return cls(**values_of_size(_SIZES, size, changes))

    @property
    def histogram(self) -> HistogramMode:
        """How `sky_histogram` and `preset_sky` shall count for this encoder."""
        return _HISTOGRAMS[self.mode]

    @property
    def length(self) -> int:
        """L, of such a histogram."""
        return KEPT if self.mode == "grey" else LENGTH


@dataclass(frozen=True)
class Illumination:
    """What the encoder says of a batch of skies: style [B, W], and mean and log variance [B, code] of the code."""

    style: Tensor
    mean: Tensor
    log_variance: Tensor


class IlluminationEncoder(nn.Module):
    """Style of a sky histogram.

    Args:
        options: mode, widths, when to draw.
    """

    def __init__(self, options: IlluminationOptions = IlluminationOptions()):
        super().__init__()
        self.options = options
        between = nn.Identity if options.mode == "published" else lambda: nn.LeakyReLU(SLOPE)
        self.body = nn.Sequential(nn.Linear(options.length, options.hidden), between(),
                                  nn.Linear(options.hidden, options.hidden), between())
        self.mean = nn.Linear(options.hidden, options.code)
        self.log_variance = nn.Linear(options.hidden, options.code)
        widths = (options.code, *[options.style_width] * (options.layers + 2))
        self.perceptron = nn.Sequential(*(
            nn.Sequential(nn.Linear(a, b), nn.LeakyReLU(SLOPE)) for a, b in zip(widths, widths[1:], strict=False)))
        if options.mode != "published":
            # torch's own first weights halve a signal with every layer: five of them hide one sky from another
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                    nn.init.zeros_(layer.bias)

    def forward(self, histogram: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Style [B, W] of histograms [B, length]; drawn or not as the options say for this mode of the module."""
        return self.illumination(histogram, generator).style

    def illumination(self, histogram: Tensor, generator: torch.Generator | None = None) -> Illumination:
        """Style, mean and log variance of histograms [B, length].

        Args:
            histogram: by `sky_histogram` in the mode `options.histogram`.
            generator: of the draws, on any device; None = the global one.

        Raises:
            InputError: another length.
        """
        if histogram.ndim != 2 or histogram.shape[1] != self.options.length:
            raise InputError(f"the histogram has shape {tuple(histogram.shape)}, expected [B, {self.options.length}]",
                             where="IlluminationEncoder")
        mean, log_variance = self.moments(histogram)
        code = mean
        if self.options.draw_in_training if self.training else self.options.draw_at_test:
            device = mean.device if generator is None else generator.device
            noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=device).to(mean.device)
            code = mean + noise * torch.exp(log_variance / 2)
        return Illumination(self.style(code), mean, log_variance)

    def moments(self, histogram: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [B, code] of the code; the latter in -1..1, and in "published" the former too."""
        if self.options.mode != "published":
            histogram = histogram * KEPT  # a channel that sums to 1 has 1 a bin on average then, not 1 / 90
        hidden = self.body(histogram)
        mean = self.mean(hidden)
        return torch.tanh(mean) if self.options.mode == "published" else mean, torch.tanh(self.log_variance(hidden))

    def style(self, code: Tensor) -> Tensor:
        """Style [..., W] of a code [..., code] of any length."""
        code = F.normalize(code, dim=-1)
        # of length 1 as published; ours has a mean square of 1, which the layers keep
        return self.perceptron(code if self.options.mode == "published" else code * code.shape[-1] ** 0.5)


def interpolate_styles(a: Tensor, b: Tensor, steps: int, how: Literal["linear", "slerp"] = "slerp") -> Tensor:
    """Styles or codes [steps, ...] from a [..., W] to b [..., W], both ends included.

    "linear" is the straight line, as Sat2Density blends. "slerp" turns the direction evenly along the great circle
    and changes the length evenly; where the directions are equal, or one vector is 0, it is the straight line.

    Raises:
        InputError: different shapes, fewer than 2 steps, an unknown way, or "slerp" between opposite directions, where
            every great circle would do.
    """
    if a.shape != b.shape or steps < 2 or how not in ("linear", "slerp"):
        raise InputError(f"{steps} steps by {how!r} between shapes {tuple(a.shape)} and {tuple(b.shape)}",
                         where="interpolate_styles", mend='Give two of one shape, 2 or more steps, "linear" or "slerp"')
    t = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device).reshape(-1, *[1] * a.ndim)
    straight = a + t * (b - a)
    if how == "linear":
        return straight
    length_a, length_b = (v.norm(dim=-1, keepdim=True) for v in (a, b))
    u, v = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    # half the chord and half the sum: exact for small angles, where the arc cosine of a product is not
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    sine = torch.sin(angle)
    if bool(((angle > 3) & (sine < 1e-4) & (length_a > 0) & (length_b > 0)).any()):
        raise InputError("the two are opposite, so there is no shortest arc between them", where="interpolate_styles",
                         mend='Use how="linear"')
    safe = torch.where(sine < 1e-6, torch.ones_like(sine), sine)
    turned = (torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / safe * (length_a + t * (length_b - length_a))
    line = (sine < 1e-6) | (length_a == 0) | (length_b == 0)
    return torch.where(line, straight, turned)
