"""openMVG's `sfm_data.json`: views, intrinsics and poses by key, points.

openmvg.readthedocs.io, "sfm_data": every value sits in `value.ptr_wrapper.data` (poses and points directly in `value`).
A pose is `rotation`, world to camera with OpenCV axes, and `center`, where the camera stands. Distortions are OpenCV's
under other names: disto_k1, disto_k3 (k1 k2 k3), disto_t2 (k1 k2 k3 t1 t2), fisheye (k1 to k4). Pixels count from the
middle of the first one, as openMVG's own undistortion does; here half a pixel is added to the principal point.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsnb.data.multiview.camera_list import ListedCamera, pictures_near, rigid, views_of
from rsnb.data.multiview.distortion import Distortion
from rsnb.data.multiview.json_fields import number_of, object_of, read_json
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file

# Name of the coefficients -> our lens model and their places in its order.
_LENSES = {"disto_k1": ("OPENCV", (0,)), "disto_k3": ("OPENCV", (0, 1, 4)), "disto_t2": ("OPENCV", (0, 1, 4, 2, 3)),
           "fisheye": ("OPENCV_FISHEYE", (0, 1, 2, 3))}


def read_openmvg(root: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read a reconstruction; pixels stay on the disk.

    Args:
        root: its folder, or the JSON file.
        images: folder of the pictures; `images` near the file if None (the file's root_path is another machine's).

    Raises:
        InputError: no such file, no poses (the file from before the reconstruction), a view without its intrinsic.
    """
    root = Path(root)
    path = require_file(root if root.is_file() else root / "sfm_data.json", "sfm_data.json")
    values = object_of(read_json(path), "the file", path)
    views, intrinsics, poses = (_by_key(values, part, path) for part in ("views", "intrinsics", "extrinsics"))
    if not poses:
        raise InputError("there are no extrinsics", where=path,
                         mend="This file is from before the reconstruction: give the one that it wrote")
    cameras, skipped = [], {}
    for view in views.values():
        name, pose = str(view.get("filename")), poses.get(view.get("id_pose"))
        if pose is None:
            skipped[name] = "the reconstruction has no pose for it"
        else:
            cameras.append(_camera(path, name, pose, intrinsics.get(view.get("id_intrinsic"))))
    points = [_vector(point, "X", 3, path) for point in _by_key(values, "structure", path).values()]
    return views_of(f"openMVG {path.parent.name}", path, cameras, pictures_near(path, images), "opencv_w2c", skipped,
                    points=np.array(points) if points else None)


def _by_key(values: Mapping, part: str, path: Path) -> dict:
    """{key: data} of a list of {"key", "value"}."""
    entries = values.get(part) or []
    if not isinstance(entries, list):
        raise InputError(f"{part} is no list", where=path, mend="Make the file again")
    found = {}
    for entry in entries:
        value = object_of(object_of(entry, f"an entry of {part}", path).get("value"), f"a value of {part}", path)
        wrapped = value.get("ptr_wrapper")
        value = object_of(wrapped.get("data"), f"a value of {part}", path) if isinstance(wrapped, dict) else value
        inner = value.get("value0")  # old files keep the pinhole part of a camera apart
        found[entry.get("key")] = {**value, **inner} if isinstance(inner, dict) else value
    return found


def _camera(path: Path, name: str, pose: Mapping, intrinsic: Mapping | None) -> ListedCamera:
    if intrinsic is None:
        raise InputError(f"view {name} has an intrinsic that is not listed", where=path, mend="Make the file again")
    turn, centre = _vector(pose, "rotation", 9, path).reshape(3, 3), _vector(pose, "center", 3, path)
    focal = number_of(intrinsic, "focal_length", path)
    width, height = (number_of(intrinsic, key, path) for key in ("width", "height"))
    if focal is None or not width or not height:
        raise InputError(f"the intrinsic of view {name} is no pinhole camera", where=path,
                         mend="Supported are openMVG's pinhole cameras")
    x, y = _vector(intrinsic, "principal_point", 2, path) + 0.5
    return ListedCamera(name, np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]]), rigid(turn, -turn @ centre),
                        (width, height), _lens(intrinsic, path))


def _lens(intrinsic: Mapping, path: Path) -> Distortion | None:
    for key, (model, places) in _LENSES.items():
        if key in intrinsic:
            coefficients = [0.0] * (max(places) + 1)
            for place, value in zip(places, _vector(intrinsic, key, len(places), path), strict=True):
                coefficients[place] = float(value)
            lens = Distortion(model, tuple(coefficients))
            return None if lens.none else lens
    return None


def _vector(values: Mapping, key: str, count: int, path: Path) -> np.ndarray:
    """[count] float64."""
    try:
        vector = np.array(values.get(key), np.float64).ravel()
    except (TypeError, ValueError):
        vector = np.zeros(0)
    if len(vector) != count or not np.isfinite(vector).all():
        raise InputError(f"{key} is {str(values.get(key))[:40]}, expected {count} finite numbers", where=path,
                         mend="Repair it, or make the file again")
    return vector
