"""The true image of a place of a built series on any date: for evaluation, never for training or input."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from rsnb.city.acquisitions import OVERPASS
from rsnb.city.seasons import BANDS
from rsnb.city.series import SeriesTruth, load_truth
from rsnb.errors import InputError


def truth_image(folder: str | Path, place: str, date, shape: tuple[int, int] | None = None,
                gsd_m: float | None = None, bands: tuple[str, ...] = BANDS) -> np.ndarray:
    """[B, h, w] float32 true reflectance of a place on any date, free of clouds, blur, shift and noise.

    Args:
        folder: of a data set that `ensure_worldstrat` or `ensure_catalogue` built.
        place: a folder's name below its `truth`: a WorldStrat place, or a catalogue's "wide" or "near".
        date: see `at_overpass`; a day without a time means the hour of the satellite's pass.
        shape: pixels over the footprint that all pictures of the place share; or
        gsd_m: the size of a pixel, rounded so that whole pixels fill the footprint. Neither: the fine grid's own.
        bands: of `seasons.BANDS`.

    Raises:
        InputError: an unknown place or band, both a shape and a pixel size, or a date by night.
    """
    if shape is not None and gsd_m is not None:
        raise InputError("both a shape and a pixel size are given", where="truth_image", mend="Give one of them")
    truth = place_truth(folder, place)
    if gsd_m is not None:
        shape = truth.shape_at(gsd_m)
    return truth.image(at_overpass(date), shape, bands)


def place_truth(folder: str | Path, place: str) -> SeriesTruth:
    """All that is known of a place; see `truth_image`."""
    path = Path(folder) / "truth" / place / "scene.npz"
    if not path.is_file():
        known = sorted(p.parent.name for p in (Path(folder) / "truth").glob("*/scene.npz"))
        raise InputError(f"there is no place {place!r}", where=folder,
                         mend=f"Known are {', '.join(known)}" if known else "This is no folder of a built series")
    return load_truth(path)


def at_overpass(when) -> np.datetime64:
    """A date in UTC, seconds: with its own time, or the hour of the satellite's pass on a day without one.

    Args:
        when: a `date`, a `datetime` (UTC where it names no zone), a numpy date, or ISO 8601 text such as 2022-06-20 or
            2022-06-20T12:50:31+03:00.

    Raises:
        InputError: no date.
    """
    if when is None or when == "" or (isinstance(when, np.datetime64) and np.isnat(when)):
        raise InputError("the date is missing", where="date", mend="Give one, for example 2022-06-20")
    moment = _parsed(when) if isinstance(when, str) else when
    if isinstance(moment, datetime) and moment.tzinfo:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    if not isinstance(moment, date | np.datetime64):
        raise InputError(f"{when!r} is no date", where="date", mend="Write it like 2022-06-20")
    moment = np.datetime64(moment)
    whole_day = np.datetime_data(moment)[0] in ("Y", "M", "W", "D")
    return moment.astype("datetime64[s]") + (OVERPASS if whole_day else np.timedelta64(0, "s"))


def _parsed(text: str) -> date | datetime | None:
    """A day, or a moment, of ISO 8601; None for other text. numpy would read 20220620 as a year."""
    for kind in (date, datetime):
        try:
            return kind.fromisoformat(text.strip())
        except ValueError:
            continue
    return None


def true_shifts(folder: str | Path, names, place: str = "") -> np.ndarray:
    """[T, 2] pixels of 10 m, right and down, by which each named frame of a built series was taken off its grid.

    The sign is that of the sampling: where it is positive the frame's pixels look further right and down on the ground
    than its transform says, so its content lies further left and up. Pixel (row, column) of the frame shows what the
    true image shows at (row + down, column + right); adding the shift to positions found in the frame puts them right.

    Args:
        folder: see `truth_image`.
        names: item ids of a catalogue, or names of revisits of a WorldStrat place.
        place: of WorldStrat; empty for a catalogue.

    Raises:
        InputError: no such series, one that cannot be read, or a name that is not in it.
    """
    path = Path(folder) / "truth" / place / "series.json"
    if not path.is_file():
        raise InputError("there is no such file", where=path, mend="Name the folder of a built series, and its place")
    try:
        series = json.loads(path.read_text())
        rows = series["revisits"] if place else series
        told = {f"{place}-{row['n']}" if place else row["id"]: row["shift_px_right_down"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"it holds no shifts ({error!r})", where=path, mend="Remove the folder and build it again") \
            from None
    names = [name.removesuffix("-L2A_data") for name in names]  # as the reader of WorldStrat names its frames
    missing = [name for name in names if name not in told]
    if missing:
        raise InputError(f"there is no frame {missing[0]!r}", where=path, mend=f"Known are {', '.join(map(str, told))}")
    return np.array([told[name] for name in names], float).reshape(-1, 2)
