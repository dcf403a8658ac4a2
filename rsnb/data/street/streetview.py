"""Street-view pictures whose file names say where and how they were taken.

Grammar: `tile-{i}-{j}-coord-{X}-{Y}-fov-{fov}-direction-{heading}-pitch-{pitch}.jpg`, X and Y whole model metres,
angles in degrees, negative numbers after their dash ("direction--1.8"). Whole metres lose up to 0.7 m, so a JSON of
the same name beside the picture holds the full pose and wins.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from rsnb.data.street.intrinsics import fov_camera_matrix, parse_camera_matrix
from rsnb.errors import InputError
from rsnb.files import write_text
from rsnb.geometry.georeference import lonlat_to_model, model_to_lonlat, true_to_grid_heading
from rsnb.geometry.poses import pose_from_heading
from rsnb.scenes import Georeference, PosedImages

_NUMBER = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_NAME = re.compile(rf"tile-(-?\d+)-(-?\d+)-coord-{_NUMBER}-{_NUMBER}-fov-{_NUMBER}-direction-{_NUMBER}-pitch-{_NUMBER}",
                   re.IGNORECASE)
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class StreetView:
    """Pose of one picture, at the border: degrees.

    Attributes:
        tile: (i, j) of the tile.
        x, y: model metres.
        fov_deg: horizontal field of view (360 for a panorama).
        heading_deg: bearing of the optical axis, 0 = north, clockwise.
        pitch_deg: up positive.
        z: camera height in model metres, or None where only the name is known.
        roll_deg: clockwise as seen by the viewer.
        camera: "pinhole" or "panorama".
        K: [3, 3] camera matrix in pixels where the sidecar has one, as nested tuples.
    """

    tile: tuple[int, int]
    x: float
    y: float
    fov_deg: float
    heading_deg: float
    pitch_deg: float
    z: float | None = None
    roll_deg: float = 0.0
    camera: Literal["pinhole", "panorama"] = "pinhole"
    K: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class StreetViewOptions:
    """How pictures become poses.

    Attributes:
        height_m: camera height where the sidecar gives no z: above `ground`, or above model height 0 without it.
        ground: (x, y) -> height of the ground, model metres; such as the mesh's own.
        true_north: headings are bearings from true north (compass, street-view services) and are turned to the model's
            grid north by the meridian convergence of the place; needs a georeference.
        camera: which kind to read where a folder holds both; None = the one there is.
        epoch: decimal year of latitudes and longitudes in sidecars (None = that of the georeference).
    """

    height_m: float = 2.5
    ground: Callable[[float, float], float] | None = None
    true_north: bool = False
    camera: Literal["pinhole", "panorama"] | None = None
    epoch: float | None = None


DEFAULTS = StreetViewOptions()


def parse_street_view_name(name: str) -> StreetView:
    """The pose that a file name says; InputError where it does not follow the grammar."""
    found = _NAME.fullmatch(Path(name).stem if Path(name).suffix.lower() in _PICTURES else name)
    if not found:
        raise InputError("this name is no street view", where=name,
                         mend="Names are tile-I-J-coord-X-Y-fov-FOV-direction-HEADING-pitch-PITCH.jpg")
    i, j = int(found.group(1)), int(found.group(2))
    x, y, fov, heading, pitch = (float(found.group(k)) for k in range(3, 8))
    return StreetView((i, j), x, y, fov, heading, pitch, camera="panorama" if fov == 360.0 else "pinhole")


def format_street_view_name(view: StreetView, suffix: str = ".jpg") -> str:
    """The file name of a pose: X and Y rounded to whole metres, angles to 6 decimals."""
    x, y = (str(math.floor(v + 0.5)) for v in (view.x, view.y))
    fov, heading, pitch = (_short(v) for v in (view.fov_deg, view.heading_deg, view.pitch_deg))
    i, j = view.tile
    return f"tile-{i}-{j}-coord-{x}-{y}-fov-{fov}-direction-{heading}-pitch-{pitch}{suffix}"


def _short(value: float) -> str:
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def write_sidecar(picture: str | Path, view: StreetView) -> Path:
    """Write the JSON beside a picture, with all digits of its pose; gives the JSON's path."""
    document = {
        "schema": "rsnb.street_view", "version": 1, "camera": view.camera, "tile": list(view.tile),
        "position": [view.x, view.y, view.z], "heading_deg": view.heading_deg, "pitch_deg": view.pitch_deg,
        "roll_deg": view.roll_deg, "fov_deg": view.fov_deg,
    }
    if view.K is not None:
        document["K"] = [list(row) for row in view.K]
    return write_text(Path(picture).with_suffix(".json"), json.dumps(document, indent=1) + "\n")


def read_street_views(
    folder: str | Path,
    georeference: Georeference | None = None,
    options: StreetViewOptions = DEFAULTS,
) -> PosedImages:
    """Read all street views of a folder, in the order of their names.

    Args:
        folder: pictures named by the grammar, or of any name with a sidecar.
        georeference: of the model, for `true_north` and for sidecars that give lat and lon in place of a position.
        options: camera height, what headings count from, kind of camera.

    Returns:
        pictures of one size and one kind of camera; K has focal length W / (2 tan(fov / 2)) where no sidecar gives K.

    Raises:
        InputError: no street view there, kinds or sizes mixed, fov not within (0, 180), a picture that is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder of street views", where=folder, mend="Give the folder with pictures")
    if options.epoch is not None and georeference is not None:
        georeference = replace(georeference, epoch=options.epoch)
    found, strangers = [], []
    for file in sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES):
        view = _view_of(file, georeference)
        (strangers if view is None else found).append((file, view))
    kinds = sorted({v.camera for _, v in found})
    if len(kinds) > 1 and options.camera is None:
        raise InputError("the folder holds pinhole pictures and panoramas", where=folder,
                         mend='Say which: StreetViewOptions(camera="pinhole")')
    found = [(f, v) for f, v in found if options.camera in (None, v.camera)]
    if not found:
        raise InputError("there is no street view here", where=folder, mend="Names are tile-I-J-coord-X-Y-fov-FOV-"
                         "direction-HEADING-pitch-PITCH.jpg, or any with a JSON of the same name")
    if strangers:
        warnings.warn(f"{folder}: {len(strangers)} pictures have neither a street-view name nor a sidecar "
                      f"({strangers[0][0].name}); passed over.", stacklevel=2)
    images = _load([f for f, _ in found])
    height, width = images.shape[2:]
    poses = np.stack([_pose(f, v, georeference, options) for f, v in found])
    camera = found[0][1].camera
    K = np.stack([_intrinsics(f, v, width, height) for f, v in found]) if camera == "pinhole" else None
    return PosedImages(images, poses, camera, tuple(f.name for f, _ in found), K, georeference or Georeference())


def _view_of(file: Path, georeference: Georeference | None) -> StreetView | None:
    """Pose from the sidecar over that of the name; None where the picture has neither."""
    try:
        view = parse_street_view_name(file.name)
    except InputError:
        view = None
    sidecar = file.with_suffix(".json")
    if not sidecar.is_file():
        return view
    try:
        data = json.loads(sidecar.read_text(encoding="utf-8"))
        if "position" in data:
            x, y, *z = data["position"]
        elif "lat" in data and georeference is not None:
            (x, y), z = lonlat_to_model(data["lat"], data["lon"], georeference), [data.get("z")]
        elif view is not None:
            x, y, z = view.x, view.y, [data.get("z")]
        else:
            raise KeyError("position")
        base = view or StreetView((0, 0), 0.0, 0.0, 90.0, 0.0, 0.0)
        K, camera, tile = data.get("K"), data.get("camera", base.camera), tuple(data.get("tile", base.tile))
        if camera not in ("pinhole", "panorama") or [type(i) for i in tile] != [int, int]:
            raise ValueError(f"camera is {camera!r}, tile is {list(tile)}")
        return StreetView(
            tile, float(x), float(y), float(data.get("fov_deg", base.fov_deg)),
            float(data.get("heading_deg", base.heading_deg)), float(data.get("pitch_deg", base.pitch_deg)),
            None if not z or z[0] is None else float(z[0]), float(data.get("roll_deg", 0.0)),
            camera, None if K is None else tuple(map(tuple, parse_camera_matrix(K, sidecar).tolist())),
        )
    except json.JSONDecodeError as error:
        raise InputError(f"this is no JSON ({error.msg})", where=sidecar, line=error.lineno,
                         mend="Repair or remove the sidecar") from None
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"the sidecar cannot be understood ({type(error).__name__}: {error})", where=sidecar,
                         mend='It needs "position": [x, y, z], "heading_deg", "pitch_deg" and "fov_deg"') from None


def _pose(file: Path, view: StreetView, georeference: Georeference | None, options: StreetViewOptions) -> np.ndarray:
    values = (view.x, view.y, view.z or 0.0, view.heading_deg, view.pitch_deg, view.roll_deg)
    if not np.isfinite(values).all():
        raise InputError("the pose holds a value that is not finite", where=file, mend="Repair the sidecar")
    z = view.z
    if z is None:
        ground = 0.0 if options.ground is None else float(options.ground(view.x, view.y))
        if not math.isfinite(ground):
            raise InputError(f"there is no ground at x {view.x}, y {view.y}", where=file,
                             mend="Load the tiles around it, or give z in a sidecar")
        z = ground + options.height_m
    heading = math.radians(view.heading_deg)
    if options.true_north:
        if georeference is None or georeference.crs is None:
            raise InputError("headings from true north need a georeference", where=file,
                             mend="Give the model's georeference, or true_north=False")
        lat, lon = model_to_lonlat(np.array([view.x, view.y]), georeference)
        heading = float(true_to_grid_heading(heading, lat, lon, georeference.crs))
    return pose_from_heading(np.array([view.x, view.y, z]), heading, math.radians(view.pitch_deg),
                             math.radians(view.roll_deg))


def _intrinsics(file: Path, view: StreetView, width: int, height: int) -> np.ndarray:
    if view.K is not None:
        return np.array(view.K)
    if not 0.0 < view.fov_deg < 180.0:
        raise InputError(f"fov is {view.fov_deg} degrees", where=file,
                         mend="A pinhole camera sees more than 0 and less than 180 degrees")
    return fov_camera_matrix(view.fov_deg, width, height)


def _load(files: list[Path]) -> np.ndarray:
    """[N, 3, H, W] float32 in 0..1."""
    from PIL import Image

    arrays = []
    for file in files:
        try:
            with Image.open(file) as picture:
                arrays.append(np.asarray(picture.convert("RGB")))
        except (OSError, ValueError, SyntaxError):
            raise InputError("this is no picture that can be read", where=file,
                             mend="Fetch or write it again") from None
        if arrays[-1].shape != arrays[0].shape:
            sizes = [f"{a.shape[1]} x {a.shape[0]}" for a in (arrays[0], arrays[-1])]
            raise InputError(f"the picture has {sizes[1]} pixels, {files[0].name} has {sizes[0]}", where=file,
                             mend="Keep pictures of different sizes in different folders")
    return (np.stack(arrays).transpose(0, 3, 1, 2) / np.float32(255.0)).astype(np.float32)
