"""By what each format of posed scenes is recognised; each function gives the path to read, or None. Little is read."""

from __future__ import annotations

from pathlib import Path

from rsnb.data.multiview.bundler import find_bundle
from rsnb.data.multiview.camera_files import camera_files_of
from rsnb.data.multiview.colmap import find_colmap_model
from rsnb.data.multiview.mvsnet import camera_files, is_first_edition
from rsnb.data.multiview.pix4d import PATTERN, find_pix4d
from rsnb.data.multiview.scene_folder import data_root, files_of, list_scenes, sub_folder
from rsnb.errors import InputError

_HEAD = 4096  # bytes of a text file that are looked at
_COLMAP_FILES = ("cameras", "images", "points3D", "frames", "rigs")


def mvsnet_here(path: Path) -> Path | None:
    """A folder whose cameras are called 00000000_cam.txt, or are of WHU MVS's first edition."""
    cameras = camera_files(path) if path.is_dir() else {}
    if any(file.stem.endswith("_cam") for file in cameras.values()):
        return path
    return path if cameras and is_first_edition(next(iter(cameras.values()))) else None


def levir_nvs_here(path: Path) -> Path | None:
    """A scene of Images and Cams, or a folder of such, that is LEVIR-NVS's."""
    return path if _scene_kind(path) == "levir_nvs" else None


def whu_mvs_here(path: Path) -> Path | None:
    """The same for the re-organised WHU MVS."""
    return path if _scene_kind(path) == "whu_mvs" else None


def _scene_kind(path: Path) -> str | None:
    """Which of the two data sets of Images and Cams: by track, split and depth files, else by the separator."""
    if not path.is_dir():
        return None
    root = data_root(path)
    scenes = [root] if sub_folder(root, "Cams").is_dir() else list(list_scenes(root).values())
    scene = next((s for s in scenes if sub_folder(s, "Images").is_dir()), None)
    cameras = files_of(scene, "Cams", (".txt",)) if scene is not None else {}
    if not cameras or mvsnet_here(scene):
        return None
    if sub_folder(scene, "Track").is_dir() or any((f / "view_split.txt").is_file() for f in (scene, scene.parent)):
        return "levir_nvs"
    if files_of(scene, "Depths", (".tif", ".tiff")):
        return "levir_nvs"
    if files_of(scene, "Depths", (".png",)):
        return "whu_mvs"
    return "levir_nvs" if "," in _head(next(iter(cameras.values()))) else "whu_mvs"


def colmap_here(path: Path) -> Path | None:
    """A sparse model at or below a folder, or one of its files."""
    if path.is_file():
        return path.parent if path.stem in _COLMAP_FILES and path.suffix in (".bin", ".txt") \
            and colmap_here(path.parent) else None
    try:
        find_colmap_model(path)
    except InputError:
        return None
    return path


def transforms_here(path: Path) -> Path | None:
    """transforms.json, the three files of the synthetic scenes, or one JSON file with frames under another name."""
    if path.is_file():
        return path if path.suffix.lower() == ".json" and _is_transforms(path) else None
    if (path / "transforms.json").is_file() or any((path / f"transforms_{p}.json").is_file()
                                                   for p in ("train", "val", "test")):
        return path
    others = [file for file in sorted(path.glob("*.json")) if _is_transforms(file)]
    return others[0] if len(others) == 1 else None


def _is_transforms(path: Path) -> bool:
    head = _head(path)
    return '"transform_matrix"' in head or (path.name.startswith("transforms") and '"frames"' in head)


def opensfm_here(path: Path) -> Path | None:
    """reconstruction.json, in OpenDroneMap's folder opensfm as well; or a JSON file with shots."""
    if path.is_file():
        named = path.name.startswith("reconstruction")
        return path if path.suffix.lower() == ".json" and (named or '"shots"' in _head(path)) else None
    names = ("reconstruction.json", "opensfm/reconstruction.json", "opensfm/reconstruction.topocentric.json",
             "reconstruction.topocentric.json")
    return path if any((path / name).is_file() for name in names) else None


def openmvg_here(path: Path) -> Path | None:
    """sfm_data.json, or a JSON file that begins as one."""
    if path.is_file():
        return path if path.suffix.lower() == ".json" and '"sfm_data_version"' in _head(path) else None
    return path if (path / "sfm_data.json").is_file() else None


def llff_here(path: Path) -> Path | None:
    """poses_bounds.npy."""
    path = path if path.is_file() else path / "poses_bounds.npy"
    return path if path.is_file() and path.name.endswith("poses_bounds.npy") else None


def camera_files_here(path: Path) -> Path | None:
    """Files <picture>.camera."""
    return path if path.is_dir() and camera_files_of(path) else None


def pix4d_here(path: Path) -> Path | None:
    """A project's params with *_calibrated_camera_parameters.txt, or that file."""
    if path.is_file():
        return path if path.name.endswith(PATTERN[1:]) else None
    return find_pix4d(path)


def metashape_here(path: Path) -> Path | None:
    """Cameras as XML: the file, or the only such file of a folder."""
    if path.is_file():
        head = _head(path) if path.suffix.lower() == ".xml" else ""
        return path if "<document" in head and "<sensor" in head else None
    files = [file for file in sorted(path.glob("*.xml")) if metashape_here(file)]
    return files[0] if len(files) == 1 else None


def bundler_here(path: Path) -> Path | None:
    """bundle.out, or a file that begins as one."""
    path = path if path.is_file() else find_bundle(path)
    return path if path is not None and path.suffix == ".out" and "Bundle file" in _head(path)[:200] else None


def exterior_orientation_here(path: Path) -> Path | None:
    """A table whose head names omega, phi and kappa."""
    if path.is_file():
        head = _head(path).lower() if path.suffix.lower() in (".csv", ".txt", ".tsv") else ""
        return path if all(word in head for word in ("omega", "phi", "kappa")) else None
    tables = [file for suffix in ("csv", "txt", "tsv") for file in sorted(path.glob(f"*.{suffix}"))
              if exterior_orientation_here(file)]
    return tables[0] if len(tables) == 1 else None


def _head(path: Path) -> str:
    with open(path, "rb") as file:
        return file.read(_HEAD).decode("utf-8", errors="replace")
