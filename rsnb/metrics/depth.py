"""Errors of depths, heights, directions and rotations. numpy; angles in radians."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre, rotation_angle


def depth_errors(pred, true, mask=None, thresholds: Sequence[float] = (1.25, 1.25**2, 1.25**3)) -> dict[str, float]:
    """The usual scores of a depth picture (Eigen, Puhrsch and Fergus 2014, section 4.2).

    Scored are the pixels that count and whose true depth is finite (infinite = nothing there). Of those, pixels with an
    infinite prediction are *missed*: they have no error in metres, so they are left out of the means, but they fail
    every threshold and their share is told.

    Args:
        pred, true: [...] depths > 0 of one kind (distance or z-depth), metres; infinity where nothing is hit.
        mask: [...] True where pixels count; None = everywhere.
        thresholds: ratios > 1; "delta_i" is the share of pixels with max(pred / true, true / pred) below the i-th.

    Returns:
        abs_rel (mean |pred - true| / true), sq_rel (mean (pred - true)^2 / true, metres), rmse, rmse_log (natural),
        mae, median (of |pred - true|), delta_1, delta_2, ..., missed (share of scored pixels without prediction),
        false_hits (share of counting pixels without truth that have a prediction; 0 if there are none) and pixels (the
        number scored). The errors are NaN if every pixel is missed (missed is 1 then): compare so that NaN fails.

    Raises:
        InputError: shapes differ, nothing to score, or a depth that counts is NaN or not above 0.
    """
    pred, true, mask = _checked(pred, true, mask, "depth_errors")
    for name, depth in (("predicted", pred), ("true", true)):
        bad = mask & ~(depth > 0)
        if bad.any():
            raise InputError(f"{int(bad.sum())} {name} depths are NaN, 0 or negative", where="depth_errors",
                             mend="Mask them out, or write infinity where nothing is hit")
    scored = mask & np.isfinite(true)
    if not scored.any():
        raise InputError("no pixel has a finite true depth", where="depth_errors", mend="Check truth and mask")
    hit = np.isfinite(pred[scored])
    p, t = pred[scored][hit], true[scored][hit]
    ratio = np.full(hit.shape, np.inf)
    ratio[hit] = np.maximum(p / t, t / p)
    empty = mask & ~np.isfinite(true)
    errors = {
        "abs_rel": _mean(np.abs(p - t) / t),
        "sq_rel": _mean((p - t) ** 2 / t),
        "rmse": _mean((p - t) ** 2) ** 0.5,
        "rmse_log": _mean(np.log(p / t) ** 2) ** 0.5,
        "mae": _mean(np.abs(p - t)),
        "median": float(np.median(np.abs(p - t))) if p.size else float("nan"),
        "missed": float(1 - hit.mean()),
        "false_hits": float(np.isfinite(pred[empty]).mean()) if empty.any() else 0.0,
        "pixels": float(hit.size),
    }
    return errors | {f"delta_{i}": float((ratio < limit).mean()) for i, limit in enumerate(thresholds, start=1)}


def height_errors(pred, true, mask=None) -> dict[str, float]:
    """Scores of a surface model against the true heights.

    Args:
        pred, true: [...] heights in metres, of any sign.
        mask: [...] True where cells count; None = everywhere.

    Returns:
        rmse, mae, median (of |pred - true|), bias (mean of pred - true), nmad (1.4826 times the median absolute
        deviation from the median: the robust counterpart of a standard deviation, Hoehle and Hoehle 2009) and cells.

    Raises:
        InputError: shapes differ, nothing to score, or a height that counts is not finite.
    """
    pred, true, mask = _checked(pred, true, mask, "height_errors")
    bad = mask & ~(np.isfinite(pred) & np.isfinite(true))
    if bad.any():
        raise InputError(f"{int(bad.sum())} heights are not finite", where="height_errors", mend="Mask them out")
    difference = pred[mask] - true[mask]
    return {
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "mae": float(np.mean(np.abs(difference))),
        "median": float(np.median(np.abs(difference))),
        "bias": float(np.mean(difference)),
        "nmad": float(1.4826 * np.median(np.abs(difference - np.median(difference)))),
        "cells": float(difference.size),
    }


def angular_error(a, b, axis: int = -1) -> np.ndarray:
    """The angle between directions or normals, radians in [0, pi], element by element.

    From sine and cosine together: the arc cosine alone cannot resolve angles below 1e-8.

    Args:
        a, b: vectors of any length along `axis` (of size 3): [..., 3], or [3, H, W] normal pictures with axis=0.

    Returns:
        the shape without `axis`; NaN where a vector is zero or not finite (no direction, no error: take nanmedian only
        over pixels that you mean to drop).

    Raises:
        InputError: `axis` does not have size 3.
    """
    a, b = (np.moveaxis(_numpy(x), axis, -1) for x in (a, b))
    if a.shape[-1:] != (3,) or b.shape[-1:] != (3,):
        raise InputError(f"vectors of shape {a.shape} and {b.shape} (components last)", where="angular_error",
                         mend="Name the axis that holds x, y, z")
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
        return np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1))


def rotation_error(a, b) -> np.ndarray:
    """The angle [...] of the rotation between poses [..., 4, 4] or rotations [..., 3, 3], radians in [0, pi]."""
    return rotation_angle(_numpy(a), _numpy(b))


def _numpy(values) -> np.ndarray:
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    return np.asarray(values, dtype=np.float64)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _checked(pred, true, mask, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both as float64 and the mask as bool, all of one shape, with at least one counting element."""
    pred, true = _numpy(pred), _numpy(true)
    if pred.shape != true.shape:
        raise InputError(f"shapes {pred.shape} and {true.shape} differ", where=where, mend="Resample one to the other")
    mask = np.ones(true.shape, bool) if mask is None else _numpy(mask).astype(bool)
    if mask.shape != true.shape:
        raise InputError(f"a mask of shape {mask.shape} for {true.shape}", where=where, mend="Give one of equal shape")
    if not mask.any():
        raise InputError("the mask leaves nothing to score", where=where, mend="Widen the mask")
    return pred, true, mask


def pose_errors(pred, true) -> tuple[np.ndarray, np.ndarray]:
    """Distance between camera centres [...] in metres and angle between rotations [...] in radians.

    Args:
        pred, true: world_to_cam [..., 4, 4] of one shape.

    Raises:
        InputError: shapes differ.
    """
    pred, true = np.asarray(pred, np.float64), np.asarray(true, np.float64)
    if pred.shape != true.shape:
        raise InputError(f"poses {pred.shape} and {true.shape} differ in shape", where="pose_errors")
    return np.linalg.norm(camera_centre(pred) - camera_centre(true), axis=-1), rotation_angle(pred, true)
