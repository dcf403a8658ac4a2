"""Three-band pictures and band arithmetic by the bands' names."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence

import numpy as np

from rsnb.data.earth.bands import common_name
from rsnb.errors import InputError

# Red, green and blue of the picture, by the bands that stand for them.
COMPOSITIONS = {
    "true colour": ("red", "green", "blue"),
    "false colour": ("nir", "red", "green"),  # vegetation red
    "agriculture": ("swir16", "nir", "blue"),
    "short-wave infrared": ("swir22", "nir", "red"),
    "urban": ("swir22", "swir16", "red"),
    "geology": ("swir22", "swir16", "blue"),
}
INDICES = {
    "ndvi": "(nir - red) / (nir + red)",  # Rouse et al. 1974
    "ndwi": "(green - nir) / (green + nir)",  # McFeeters 1996: open water
    "ndmi": "(nir - swir16) / (nir + swir16)",  # Gao 1996: water in leaves
    "mndwi": "(green - swir16) / (green + swir16)",  # Xu 2006
    "nbr": "(nir - swir22) / (nir + swir22)",  # burnt ground
    "ndbi": "(swir16 - nir) / (swir16 + nir)",  # Zha et al. 2003: built-up
    "ndsi": "(green - swir16) / (green + swir16)",  # snow
    "ndre": "(nir - rededge1) / (nir + rededge1)",
    "evi": "2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)",  # Huete et al. 2002; wants reflectance
    "savi": "1.5 * (nir - red) / (nir + red + 0.5)",  # Huete 1988
}
MAX_LENGTH = 500
_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
           ast.Pow: operator.pow}
_FUNCTIONS: dict[str, Callable] = {"sqrt": np.sqrt, "log": np.log, "exp": np.exp, "abs": np.abs, "min": np.minimum,
                                   "max": np.maximum}
_COMPARE = {ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Lt: operator.lt, ast.LtE: operator.le}


def compose(images: np.ndarray, bands: Sequence[str], picture: str | Sequence[str] = "true colour") -> np.ndarray:
    """Three channels of a picture, each a band or an expression of bands; values are not stretched.

    Args:
        images: [..., B, H, W].
        bands: names of the B bands ("red" or "B04").
        picture: a name of `COMPOSITIONS`, or three of: a band, an index ("ndvi"), an expression ("nir - red").

    Returns:
        [..., 3, H, W] float32, nan where a band has none.

    Raises:
        InputError: an unknown name, or an expression that is not arithmetic.
    """
    if isinstance(picture, str):
        if picture not in COMPOSITIONS:
            raise InputError(f"there is no composition {picture!r}", where="compose",
                             mend=f"Choose one of {', '.join(COMPOSITIONS)}, or give three bands")
        picture = COMPOSITIONS[picture]
    if len(picture) != 3:
        raise InputError(f"{len(picture)} channels are asked for, a picture has 3", where="compose")
    return np.stack([evaluate(channel, images, bands) for channel in picture], axis=-3)


def evaluate(expression: str, images: np.ndarray, bands: Sequence[str]) -> np.ndarray:
    """Band arithmetic: a band, an index of `INDICES`, or an expression such as "(nir - red) / (nir + red)".

    Known are + - * / **, comparisons (1 where true), numbers, and sqrt, log, exp, abs, min(a, b), max(a, b). Nothing
    else is run: the text may come from a widget.

    Args:
        expression: as above.
        images: [..., B, H, W].
        bands: names of the B bands.

    Returns:
        [..., H, W] float32; nan where it is not defined (0 / 0, a division by 0, a band without data).

    Raises:
        InputError: a name that is no band, or a text that is not arithmetic.
    """
    images = np.asarray(images)
    if images.ndim < 3 or images.shape[-3] != len(bands):
        raise InputError(f"images of shape {images.shape} for {len(bands)} bands", where="evaluate",
                         mend="Give [..., B, H, W] with one name a band")
    if len(expression) > MAX_LENGTH:
        raise InputError(f"the expression is over {MAX_LENGTH} characters long", where="evaluate")
    names = [common_name(b) for b in bands]
    if common_name(expression) not in names:
        expression = INDICES.get(expression.strip().lower(), expression)
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{expression!r} is no expression", where="evaluate",
                         mend='Write for example "(nir - red) / (nir + red)"') from None
    look_up = {name: images[..., i, :, :] for i, name in enumerate(names)}
    with np.errstate(all="ignore"):
        value = np.asarray(_value(tree, look_up, expression), dtype=np.float32)
        value = np.broadcast_to(value, images.shape[:-3] + images.shape[-2:])
    return np.where(np.isfinite(value), value, np.nan).astype(np.float32)


def _value(node: ast.AST, bands: dict[str, np.ndarray], text: str):
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return np.float64(node.value)
    if isinstance(node, ast.Name):
        name = common_name(node.id)
        if name not in bands:
            raise InputError(f"{node.id!r} is no band", where=text, mend=f"Choose among {', '.join(bands)}")
        return bands[name].astype(np.float64)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left, bands, text), _value(node.right, bands, text))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _value(node.operand, bands, text)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        left, right = _value(node.left, bands, text), _value(node.comparators[0], bands, text)
        held = _COMPARE[type(node.ops[0])](left, right).astype(np.float64)
        return np.where(np.isnan(left) | np.isnan(right), np.nan, held)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        wanted = 2 if node.func.id in ("min", "max") else 1
        if len(node.args) == wanted and not node.keywords:
            return _FUNCTIONS[node.func.id](*(_value(a, bands, text) for a in node.args))
    raise InputError(f"{ast.unparse(node)!r} is not arithmetic of bands", where=text,
                     mend=f"Use + - * / ** < >, numbers, {', '.join(_FUNCTIONS)} and {', '.join(bands)}")
