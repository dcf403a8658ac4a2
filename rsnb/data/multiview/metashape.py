"""Agisoft Metashape's cameras as XML: `<camera>` with a 4 x 4 transform, `<sensor>` with a calibration.

Agisoft Metashape User Manual, appendix "Camera models": with x = X / Z, y = Y / Z (OpenCV axes) and r their length,

    x' = x (1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8) + p1 (r^2 + 2 x^2) + 2 p2 x y
    u  = w / 2 + cx + x' f + x' b1 + y' b2,    v = h / 2 + cy + y' f

so its p1 and p2 are OpenCV's p2 and p1. A transform takes camera to the chunk's own world; the chunk's place on Earth
is not read, depths are in the chunk's unit. Pixels count from the picture's corner, as here.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from rsnb.data.multiview.camera_list import ListedCamera, pictures_near, views_of
from rsnb.data.multiview.distortion import Distortion
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file


def read_metashape(path: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read exported cameras; pixels stay on the disk.

    Args:
        path: the XML file.
        images: folder of the pictures; `images` near the file if None.

    Raises:
        InputError: no XML, no cameras that were aligned, a sensor without calibration.
    """
    path = require_file(path, "Metashape cameras")
    text = path.read_text(encoding="utf-8", errors="replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError("the file declares entities", where=path, mend="Metashape writes none: export it again")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"this is no XML ({error})", where=path, mend="Export the cameras again") from None
    sensors = {sensor.get("id"): sensor for sensor in root.iter("sensor")}
    cameras, skipped = [], {}
    for camera in root.iter("camera"):
        name, transform = camera.get("label") or "", camera.findtext("transform")
        if camera.get("enabled", "true").lower() in ("false", "0") or transform is None:
            skipped[name] = "it was not aligned, or is switched off"
            continue
        cameras.append(_camera(path, name, transform, sensors.get(camera.get("sensor_id"))))
    return views_of(f"Metashape {path.stem}", path, cameras, pictures_near(path, images), "opencv_c2w", skipped)


def _camera(path: Path, name: str, transform: str, sensor) -> ListedCamera:
    try:
        matrix = np.array([float(cell) for cell in transform.split()]).reshape(4, 4)
    except ValueError:
        raise InputError(f"the transform of camera {name} has not 16 numbers", where=path,
                         mend="Export the cameras again") from None
    calibrations = [] if sensor is None else sensor.findall("calibration")
    # an adjusted calibration comes beside the initial one
    calibrations.sort(key=lambda found: found.get("class") != "adjusted")
    calibration = calibrations[0] if calibrations else None
    if calibration is None:
        raise InputError(f"the sensor of camera {name} has no calibration", where=path,
                         mend="Align the pictures and export the cameras again")
    resolution = calibration.find("resolution")
    resolution = sensor.find("resolution") if resolution is None else resolution
    try:
        width, height = (float(resolution.get(key)) for key in ("width", "height"))
        value = {key: float(calibration.findtext(key, "0")) for key in
                 ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2")}
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"the calibration of camera {name} holds something that is no number", where=path,
                         mend="Export the cameras again") from None
    K = np.array([[value["f"] + value["b1"], value["b2"], width / 2 + value["cx"]],
                  [0, value["f"], height / 2 + value["cy"]], [0, 0, 1]])
    lens = Distortion("OPENCV", (value["k1"], value["k2"], value["p2"], value["p1"], value["k3"]))
    kind = sensor.get("type", "frame")
    if kind != "frame" or value["k4"]:  # OpenCV has no r^8
        lens = Distortion(f"METASHAPE_{kind.upper()}")
    return ListedCamera(name, K, matrix, (width, height), None if lens.none else lens)
