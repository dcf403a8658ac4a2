"""COLMAP projects as posed views: a sparse model and a folder of pictures, which may be smaller than the model's.

    images/  or images_2, images_4 ...     the pictures; K is scaled to the size that a file really has
    sparse/0/cameras.bin images.bin points3D.bin    or the same as .txt, see `colmap_model`
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from rsnb.data.audit import Audit, Finding, picture_fault
from rsnb.data.multiview.colmap_model import ColmapImage, ColmapModel, read_colmap_model
from rsnb.data.multiview.depth_ranges import PERCENTILES
from rsnb.data.multiview.pictures import PictureFolder, duplicate_pictures, picture_size, relative_name
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.geometry.intrinsics import scale_intrinsics

_MODEL_FOLDERS = ("", "sparse/0", "sparse", "colmap", "colmap/sparse/0", "colmap/sparse", "distorted/sparse/0", "model")


def read_colmap(root: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read a project; pixels stay on the disk.

    Args:
        root: of the project, or the folder of the model.
        images: folder of the pictures (from here or from the root); if None, `images`, else the largest `images_*`, at
            the root or beside the model.

    Returns:
        Views in the order of their names, named as in the model. `near_far` holds the 1st and 99th percentile of the
        sparse points' depth in each view. Pictures that are listed but not there are among `skipped`.

    Raises:
        InputError: no model, a damaged one, no picture folder, or a picture whose shape is another than its camera's.
    """
    model = read_colmap_model(find_colmap_model(root))
    folder = PictureFolder([find_pictures(Path(root), model.folder, images)])
    found = {image: folder.find(image.name) for image in model.images}
    skipped = {image.name: "there is no such picture" for image, path in found.items() if path is None}
    kept = sorted((image for image, path in found.items() if path is not None), key=lambda image: image.name)
    cameras = [model.cameras[image.camera_id] for image in kept]
    sizes = [picture_size(found[image], (camera.width, camera.height))
             for image, camera in zip(kept, cameras, strict=True)]
    return PosedViews(
        name=f"COLMAP {Path(root).name}", names=tuple(image.name for image in kept),
        image_paths=tuple(found[image] for image in kept),
        K=np.array([scale_intrinsics(camera.K, (camera.width, camera.height), _same_shape(camera, size, found[image]))
                    for camera, size, image in zip(cameras, sizes, kept, strict=True)]).reshape(-1, 3, 3),
        world_to_cam=np.array([image.world_to_cam for image in kept]).reshape(-1, 4, 4),
        sizes=np.array(sizes).reshape(-1, 2), distortion=tuple(camera.distortion for camera in cameras),
        near_far=np.array([_near_far(model, image) for image in kept]).reshape(-1, 2), skipped=skipped,
        points=model.points if len(model.points) else None, points_rgb=model.rgb if len(model.points) else None,
        notes=("near and far are the 1st and 99th percentile of the sparse points' depth",
               *_other_models(model.folder)))


def find_colmap_model(root: str | Path) -> Path:
    """The folder below (or at) the root that holds a model.

    Raises:
        InputError: there is none.
    """
    root = Path(root)
    for name in _MODEL_FOLDERS:
        folder = root / name
        if any((folder / f"cameras{k}").is_file() and (folder / f"images{k}").is_file() for k in (".bin", ".txt")):
            return folder
    raise InputError("there is no COLMAP model here", where=root,
                     mend="Give the folder of cameras and images (.bin or .txt), or the one that holds sparse/0")


def _other_models(folder: Path) -> tuple[str, ...]:
    """A note where the model was broken into several, which share no coordinates."""
    others = [p.name for p in folder.parent.iterdir() if p.is_dir() and p.name.isdecimal() and p != folder] \
        if folder.name.isdecimal() else []
    if not others:
        return ()
    return (f"model {folder.name} was read; {', '.join(sorted(others))} beside it are models of other pictures, give "
            "their folder to read them",)


def find_pictures(root: Path, model: Path, images: str | Path | None) -> Path:
    """The folder of pictures.

    Raises:
        InputError: there is none.
    """
    bases = [root, model, *model.parents[:2]]
    if images is not None:
        found = next((base / images for base in bases if (base / images).is_dir()), None)
        if found is None:
            raise InputError("there is no such folder of pictures", where=root / images, mend="Name it from the root")
        return found
    for base in bases:
        folders = [p for p in base.iterdir() if p.is_dir() and re.fullmatch(r"images(_\d+)?", p.name.lower())] \
            if base.is_dir() else []
        if folders:
            return min(folders, key=lambda p: int(p.name.rpartition("_")[2]) if "_" in p.name else 0)
    raise InputError("there is no folder of pictures", where=root, mend="Put them into images, or name their folder")


def _same_shape(camera, size: tuple[int, int], path: Path) -> tuple[int, int]:
    """The size of the file, if it is that of the camera made smaller or larger as a whole (to a pixel of rounding)."""
    scale = size[0] / camera.width
    if abs(size[1] - camera.height * scale) > 1 + scale:
        raise InputError(f"the picture has {size[0]} x {size[1]} pixels, its camera {camera.width} x {camera.height}: "
                         "another shape", where=path, mend="It was cropped or turned: take the pictures of the model")
    return size


def _near_far(model: ColmapModel, image: ColmapImage) -> tuple[float, float]:
    points, _ = model.observed(image)
    depth = points @ image.world_to_cam[2, :3] + image.world_to_cam[2, 3]
    depth = depth[depth > 0]
    return tuple(np.percentile(depth, PERCENTILES)) if len(depth) > 1 else (np.nan, np.nan)


def reprojection_errors(model: ColmapModel) -> np.ndarray:
    """[M] float64 pixels between where each image saw a point and where its camera puts it (all images together).

    A model that was read right has a median below one pixel.
    """
    errors = []
    for image in model.images:
        camera = model.cameras[image.camera_id]
        points, seen = model.observed(image)
        view = PosedViews(image.name, (image.name,), (Path(image.name),), camera.K[None], image.world_to_cam[None],
                          np.array([[camera.width, camera.height]]), (camera.distortion,))
        errors.append(np.linalg.norm(view.project(image.name, points) - seen, axis=1))
    return np.concatenate(errors) if errors else np.zeros(0)


def audit(root: str | Path) -> Audit:
    """Look a project through: the model, each picture, pictures that no camera has, and the reprojection error."""
    root = Path(root)
    try:
        model = read_colmap_model(find_colmap_model(root))
    except InputError as error:
        return Audit("colmap", root, {"cameras": 0, "images": 0, "points": 0}, {},
                     (Finding("unreadable", relative_name(Path(str(error.where)), root), error.what),))
    place = relative_name(model.folder, root)
    counts = {"cameras": len(model.cameras), "images": len(model.images), "points": len(model.points), "pictures": 0}
    findings = []
    try:
        folder = PictureFolder([find_pictures(root, model.folder, None)])
        counts["pictures"] = len(folder.paths)
        findings += _audit_pictures(model, folder, root)
    except InputError as error:
        findings.append(Finding("missing", "images", error.what))
    try:
        errors = reprojection_errors(model)
        if len(errors):
            median = float(np.nanmedian(errors))
            findings.append(Finding("note" if median < 2 else "value", place,
                                    f"median reprojection error of {len(errors)} keypoints is {median:.2f} pixels"))
    except InputError as error:
        findings.append(Finding("note", place, error.what))
    return Audit("colmap", root, counts, {}, tuple(findings))


def _audit_pictures(model: ColmapModel, folder: PictureFolder, root: Path) -> list[Finding]:
    findings, used = [], set()
    for image in model.images:
        path = folder.find(image.name)
        if path is None:
            findings.append(Finding("missing", image.name, "the model lists it"))
            continue
        used.add(path)
        name = relative_name(path, root)
        fault = picture_fault(path)
        if fault:
            findings.append(Finding(fault[0], name, fault[1]))
            continue
        try:
            camera = model.cameras[image.camera_id]
            _same_shape(camera, picture_size(path, (camera.width, camera.height)), path)
        except InputError as error:
            findings.append(Finding("size", name, error.what))
    findings += [Finding("unmatched", relative_name(path, root), "the model has no pose for it")
                 for path in folder.paths if path not in used]
    return findings + duplicate_pictures(sorted(used), root)
