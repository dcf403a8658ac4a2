"""OpenSfM and OpenDroneMap projects: `reconstruction.json` with normalised intrinsics and a place on Earth.

Formats: opensfm.org/docs (reconstruction file, camera models). A shot's rotation is the axis-angle vector of world to
camera, OpenCV axes. Intrinsics count in units of the picture's longer side from its middle: pixel = normalised * max(w,
h) + size / 2 with pixel centres at +0.5.

The world is metres east, north, up of `reference_lla` where OpenSfM wrote the file. OpenDroneMap writes it again in UTM
coordinates less an offset of whole metres, and puts the offset's latitude and longitude into `reference_lla` (it keeps
the first one as `reconstruction.topocentric.json`): north is then the grid's. A reference that lies on whole UTM metres
tells the two apart.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from rsnb.data.audit import Audit, Finding, picture_fault
from rsnb.data.multiview.distortion import SPHERICAL, Distortion
from rsnb.data.multiview.json_fields import number_of, object_of, positive_number, read_json
from rsnb.data.multiview.pictures import PictureFolder, duplicate_pictures, picture_size, relative_name, same_shape
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.geometry.georeference import WGS84, transform
from rsnb.scenes import Georeference

_FILES = ("reconstruction.json", "opensfm/reconstruction.json", "opensfm/reconstruction.topocentric.json",
          "reconstruction.topocentric.json")
# Projection type -> our lens model and the names of its coefficients, in our order; 0.0 stands for "none of that".
_LENSES = {
    "perspective": ("OPENCV", ("k1", "k2")), "simple_radial": ("OPENCV", ("k1",)), "radial": ("OPENCV", ("k1", "k2")),
    "brown": ("OPENCV", ("k1", "k2", "p1", "p2", "k3")), "fisheye": ("OPENCV_FISHEYE", ("k1", "k2")),
    "fisheye_opencv": ("OPENCV_FISHEYE", ("k1", "k2", "k3", "k4")),
}
_WHOLE_M = 2e-3  # a reference this near to whole UTM metres in both axes is no chance (1 in 60,000)
_SPHERES = ("spherical", "equirectangular")


def read_opensfm(root: str | Path, images: str | Path | None = None, reconstruction: int | None = None) -> PosedViews:
    """Read a project; pixels stay on the disk.

    Args:
        root: of the project, or the reconstruction file.
        images: folder of the pictures (from the root); `images`, else the root itself, if None.
        reconstruction: which of the file's reconstructions; the one with most shots if None.

    Returns:
        Views in the order of their names. The georeference is UTM for OpenDroneMap's files, else a transverse Mercator
        projection about the reference point (a kilometre away the difference to the tangent plane is below a
        millimetre, in height 8 cm). Shots without a picture are among `skipped`.

    Raises:
        InputError: no such file, no shots, a shot without a known camera or pose.
    """
    path = _file(Path(root))
    whole = _choose(_load(path), reconstruction, path)
    shots = dict(sorted(whole["shots"].items()))
    folder = _pictures(path, Path(root), images)
    found = {name: folder.find(name) for name in shots}
    skipped = {name: "there is no such picture" for name, picture in found.items() if picture is None}
    names = [name for name, picture in found.items() if picture is not None]
    sizes = {name: _size(whole, shots[name], found[name], path) for name in names}
    cameras = [shot_camera(whole, shots[name], sizes[name], path, name) for name in names]
    points, rgb = _points(whole.get("points", {}), path)
    views = PosedViews(
        name=f"OpenSfM {path.parent.name}", names=tuple(names), image_paths=tuple(found[name] for name in names),
        K=np.array([K for K, _ in cameras]).reshape(-1, 3, 3),
        world_to_cam=np.array([_pose(shots[name], path, name) for name in names]).reshape(-1, 4, 4),
        sizes=np.array([sizes[name] for name in names]).reshape(-1, 2), distortion=tuple(lens for _, lens in cameras),
        skipped=skipped, georeference=_georeference(whole, path))
    return replace(views, points=points, points_rgb=rgb) if len(points) else views


def _file(root: Path) -> Path:
    if root.is_file():
        return root
    return next((root / name for name in _FILES if (root / name).is_file()), None) \
        or require_file(root / _FILES[0], "OpenSfM reconstruction")


def _load(path: Path) -> list[dict]:
    """The reconstructions of a file, with the kinds of their parts checked."""
    values = read_json(path)
    values = values if isinstance(values, list) else [values]
    for i, whole in enumerate(values):
        object_of(whole, f"reconstruction {i}", path)
        for part in ("cameras", "shots", "points"):
            object_of(whole.get(part, {}), part, path)
        for name, shot in whole.get("shots", {}).items():
            object_of(shot, f"shot {name}", path)
    if not any(whole.get("shots") for whole in values):
        raise InputError("there is no reconstruction with shots", where=path,
                         mend="Give OpenSfM's reconstruction.json; an empty one means that no pictures were matched")
    return values


def _choose(values: list[dict], number: int | None, path: Path) -> dict:
    if number is None:
        return max(values, key=lambda v: len(v.get("shots", {})))
    if not 0 <= number < len(values):
        raise InputError(f"there is no reconstruction {number}", where=path, mend=f"Choose 0 to {len(values) - 1}")
    return values[number]


def _pictures(path: Path, root: Path, images: str | Path | None) -> PictureFolder:
    bases = [root if root.is_dir() else root.parent, path.parent, path.parent.parent]
    if images is None:
        folders = [base / "images" for base in bases if (base / "images").is_dir()][:1] or bases[:1]
    else:
        folders = [base / images for base in bases if (base / images).is_dir()][:1]
    if not folders:
        raise InputError("there is no such folder of pictures", where=bases[0] / str(images),
                         mend="Name it from the root")
    return PictureFolder(folders)


def _size(whole: dict, shot: dict, picture: Path, path: Path) -> tuple[int, int]:
    """(width, height) of a picture file, turned as its tag says where only that has the shape of its camera."""
    camera = whole.get("cameras", {}).get(str(shot.get("camera")))
    sides = [positive_number(camera, key, path) for key in ("width", "height")] if isinstance(camera, dict) else [None]
    return picture_size(picture, tuple(sides) if all(sides) else None)


def shot_camera(whole: dict, shot: dict, size: tuple[int, int], path: Path, name: str):
    """K [3, 3] for the picture as it is on the disk, and its lens (None without one).

    Args:
        whole: holds "cameras".
        shot: holds "camera", a key of those.
        size: (width, height) of the file.
        path, name: of the JSON file and the shot, for messages.

    Raises:
        InputError: a camera that is not listed or has no focal length, a picture of another shape.
    """
    camera = whole.get("cameras", {}).get(str(shot.get("camera")))
    if camera is None:
        raise InputError(f"shot {name} has camera {shot.get('camera')!r}, which is not listed", where=path,
                         mend="Add it to cameras, or remove the shot")
    object_of(camera, f"camera {shot['camera']!r}", path)
    kind = str(camera.get("projection_type", "perspective")).lower()
    if kind in _SPHERES:
        return np.full((3, 3), np.nan), Distortion(SPHERICAL)
    width, height = (positive_number(camera, key, path, side)
                     for key, side in zip(("width", "height"), size, strict=True))
    if not same_shape(size, (width, height)):
        raise InputError(f"the picture of shot {name} has {size[0]} x {size[1]} pixels, its camera "
                         f"{width:g} x {height:g}: another shape", where=path, mend="It was cropped or turned")
    fx = positive_number(camera, "focal_x" if "focal_x" in camera else "focal", path)
    fy = positive_number(camera, "focal_y", path, fx)
    if fx is None:
        raise InputError(f"camera {shot['camera']!r} has no focal length", where=path,
                         mend="focal, or focal_x and focal_y, is above 0, in units of the longer side")
    unit = max(size)
    K = np.array([[fx * unit, 0, size[0] / 2 + number_of(camera, "c_x", path, 0.0) * unit],
                  [0, fy * unit, size[1] / 2 + number_of(camera, "c_y", path, 0.0) * unit], [0, 0, 1]])
    if kind not in _LENSES:
        return K, Distortion(kind.upper())
    model, keys = _LENSES[kind]
    lens = Distortion(model, tuple(number_of(camera, key, path, 0.0) for key in keys))
    return K, None if lens.none else lens


def _pose(shot: dict, path: Path, name: str) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    try:
        rotation, translation = (np.array(shot[key], np.float64) for key in ("rotation", "translation"))
        good = rotation.shape == (3,) and translation.shape == (3,) \
            and np.isfinite([*rotation, *translation]).all()
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise InputError(f"shot {name} has no rotation and translation of three finite numbers each", where=path,
                         mend="Repair or remove it")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rotation).as_matrix()
    pose[:3, 3] = translation
    return pose


def _points(points: dict, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates [P, 3] float64 and colours [P, 3] uint8."""
    if not points:
        return np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    try:
        xyz = np.array([point["coordinates"] for point in points.values()], np.float64)
        rgb = np.array([point.get("color", (128, 128, 128)) for point in points.values()], np.float64)
        good = xyz.shape == rgb.shape == (len(points), 3) and np.isfinite(xyz).all() and np.isfinite(rgb).all()
    except (KeyError, TypeError, ValueError, AttributeError):
        good = False
    if not good:
        name = next((name for name, point in points.items() if not _is_point(point)), "?")
        raise InputError(f"point {name} has no coordinates and color of three finite numbers each", where=path,
                         mend="Repair or remove it")
    return xyz, np.clip(rgb, 0, 255).astype(np.uint8)


def _is_point(point) -> bool:
    try:
        both = np.array([point["coordinates"], point.get("color", (128, 128, 128))], np.float64)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return both.shape == (2, 3) and bool(np.isfinite(both).all())


def _georeference(whole: dict, path: Path) -> Georeference:
    place = whole.get("reference_lla")
    if not isinstance(place, dict) or "latitude" not in place or "longitude" not in place:
        return Georeference()
    latitude, longitude, altitude = (number_of(place, key, f"{path} reference_lla", 0.0)
                                     for key in ("latitude", "longitude", "altitude"))
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise InputError(f"reference_lla is latitude {latitude:g}, longitude {longitude:g}", where=path,
                         mend="Give degrees, or remove it: the views then have no place on Earth")
    zone = min(int((longitude + 180) // 6) + 1, 60)
    utm = f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"
    east, north = transform([longitude, latitude], WGS84, utm)
    if max(abs(east - round(east)), abs(north - round(north))) < _WHOLE_M:
        return Georeference(utm, (float(round(east)), float(round(north)), altitude))
    crs = f"+proj=tmerc +lat_0={latitude!r} +lon_0={longitude!r} +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
    return Georeference(crs, (0.0, 0.0, altitude))


def audit(root: str | Path) -> Audit:
    """Look a project through: shots without a picture, pictures without a shot, each picture decoded, duplicates."""
    root = Path(root)
    counts = {"reconstructions": 0, "shots": 0, "pictures": 0, "points": 0}
    try:
        path = _file(root)
        values = _load(path)
        folder = _pictures(path, root, None)
    except InputError as error:
        return Audit("opensfm", root, counts, {}, (Finding("unreadable", "reconstruction.json", error.what),))
    whole = _choose(values, None, path)
    findings, used = [], set()
    for name, shot in whole["shots"].items():
        picture = folder.find(name)
        if picture is None:
            findings.append(Finding("missing", name, "a shot names it"))
            continue
        used.add(picture)
        fault = picture_fault(picture)
        try:
            if fault:
                findings.append(Finding(fault[0], relative_name(picture, root), fault[1]))
            else:
                shot_camera(whole, shot, _size(whole, shot, picture, path), path, name)
            _pose(shot, path, name)
        except InputError as error:
            findings.append(Finding("value", relative_name(path, root), error.what))
    if len(values) > 1:
        findings.append(Finding("note", relative_name(path, root), f"{len(values)} reconstructions that are "
                                f"not joined; the largest has {len(whole['shots'])} shots"))
    beside = {picture.parent for picture in used}
    findings += [Finding("unmatched", relative_name(picture, root), "no shot names it")
                 for picture in folder.paths if picture not in used and picture.parent in beside]
    counts = {"reconstructions": len(values), "shots": len(whole["shots"]), "pictures": len(used),
              "points": len(whole.get("points", {}))}
    return Audit("opensfm", root, counts, {}, (*findings, *duplicate_pictures(sorted(used), root)))
