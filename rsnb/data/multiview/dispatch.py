"""Open any scene of pictures with known cameras: the format is recognised by what lies in the folder.

The order of the formats is that of `FORMATS`: where a folder holds several, the first is taken and a note says so. The
first ones cannot be mistaken; COLMAP comes before `transforms.json`, which is often made from it, as it has the points.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from rsnb.data.multiview.conventions import reinterpret
from rsnb.data.multiview.depth_ranges import with_depth_ranges
from rsnb.data.multiview.recognise import (
    bundler_here,
    camera_files_here,
    colmap_here,
    exterior_orientation_here,
    levir_nvs_here,
    llff_here,
    metashape_here,
    mvsnet_here,
    openmvg_here,
    opensfm_here,
    pix4d_here,
    transforms_here,
    whu_mvs_here,
)
from rsnb.data.multiview.scene_folder import data_root
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError


@dataclass(frozen=True)
class SceneReader:
    """One format.

    Attributes:
        look: whether a path is of this format; gives the path to read (a model's file stands for its folder) or None.
        module, function: of the reader, imported when it is needed.
        looks_for: what it is recognised by, for messages.
        many_scenes: whether its reader takes `scene` (one root holds many); the others take `images`.
    """

    look: Callable[[Path], Path | None]
    module: str
    function: str
    looks_for: str
    many_scenes: bool = False


FORMATS: Mapping[str, SceneReader] = {
    "mvsnet": SceneReader(mvsnet_here, "mvsnet", "read_mvsnet", "cams/00000000_cam.txt and so on"),
    "levir_nvs": SceneReader(levir_nvs_here, "levir_nvs", "read_levir_nvs", "folders Images and Cams (comma separated)",
                             many_scenes=True),
    "whu_mvs": SceneReader(whu_mvs_here, "whu_mvs", "read_whu_mvs", "folders Images and Cams (blank separated)",
                           many_scenes=True),
    "colmap": SceneReader(colmap_here, "colmap", "read_colmap", "cameras and images, .bin or .txt, or sparse/0"),
    "transforms_json": SceneReader(transforms_here, "transforms_json", "read_transforms_json",
                                   "transforms.json or transforms_train.json with frames"),
    "opensfm": SceneReader(opensfm_here, "opensfm", "read_opensfm", "reconstruction.json, here or in opensfm"),
    "openmvg": SceneReader(openmvg_here, "openmvg", "read_openmvg", "sfm_data.json"),
    "llff": SceneReader(llff_here, "llff", "read_llff", "poses_bounds.npy"),
    "camera_files": SceneReader(camera_files_here, "camera_files", "read_camera_files", "0000.jpg.camera and so on"),
    "pix4d": SceneReader(pix4d_here, "pix4d", "read_pix4d", "*_calibrated_camera_parameters.txt"),
    "metashape": SceneReader(metashape_here, "metashape", "read_metashape", "cameras exported as .xml"),
    "bundler": SceneReader(bundler_here, "bundler", "read_bundler", "bundle.out with list.txt"),
    "exterior_orientation": SceneReader(exterior_orientation_here, "exterior_orientation", "read_exterior_orientation",
                                        "a table (.csv, .txt) of names, x, y, z, omega, phi, kappa"),
}
_PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


def posed_scene_formats() -> tuple[str, ...]:
    """The names that `read_posed_scene` knows, in the order in which it prefers them."""
    return tuple(FORMATS)


def read_posed_scene(path: str | Path, scene: str | int | None = None, format: str = "auto",
                     images: str | Path | None = None, convention: str = "auto") -> PosedViews:
    """Read a scene of posed pictures of any format; pixels stay on the disk.

    Args:
        path: the root of a data set, a scene's folder, or the file of the cameras. The scene may also lie up to two
            folders deeper if it is the only one.
        scene: which one, where there are several: a folder's name, or the number at its end. "" is None.
        format: one of `posed_scene_formats`, or "auto".
        images: folder of the pictures, where it is not found by itself; not for LEVIR-NVS and WHU MVS.
        convention: "auto" takes poses as the format says. Some tools write the same files in another way: then one of
            `conventions.CONVENTIONS`, such as "opengl_c2w", "opencv_c2w", "opencv_w2c", "opengl_w2c"; or "detect",
            which looks at the pictures (`check_poses`) and takes another convention only where it fits and the format's
            own certainly does not. A note tells what was taken, or what might fit but is not certain.

    Returns:
        The reader's views; `notes` tells what was chosen where there was a choice. Where the format states no depths
        but has sparse points, `near_far` comes from those.

    Raises:
        InputError: nothing that is known (it says what was looked for and what is there), several scenes to choose
            among, or whatever the reader finds wrong.
    """
    path, scene = Path(path), None if scene == "" else scene
    if not path.exists():
        raise InputError("there is no such file or folder", where=path, mend="Give the folder of a scene")
    if format != "auto" and format not in FORMATS:
        raise InputError(f"{format!r} is no format of posed scenes", where="format",
                         mend=f"Choose 'auto' or one of: {', '.join(FORMATS)}")
    place, found = _locate(path, scene, format)
    chosen = found[0]
    reader = FORMATS[chosen]
    function = getattr(import_module(f"rsnb.data.multiview.{reader.module}"), reader.function)
    target = reader.look(place) or place
    if reader.many_scenes:
        if images is not None:
            raise InputError(f"{chosen} keeps its pictures in Images beside Cams", where="images",
                             mend="Leave `images` out, or force another format")
        views = function(target, None if place != path else scene)
    else:
        views = function(target, **({} if images is None else {"images": images}))
    if len(found) > 1:
        views = replace(views, notes=(*views.notes, f"{place.name} holds {' and '.join(found)}; {chosen} was read, "
                                      "format= chooses another"))
    return with_depth_ranges(_in_convention(views, convention))


def _in_convention(views: PosedViews, convention: str) -> PosedViews:
    if convention == "auto":
        return views
    if convention != "detect":
        return reinterpret(views, convention)
    from rsnb.data.multiview.pose_check import check_poses

    report = check_poses(views)
    if report.suggestion is None:
        return views
    if report.certain:
        return reinterpret(views, report.suggestion)
    return replace(views, notes=(*views.notes, f"the poses are read as {views.convention}; by the {report.evidence} "
                                 f"alone {report.suggestion} might fit better, convention= takes it"))


def _locate(path: Path, scene: str | int | None, format: str) -> tuple[Path, list[str]]:
    """The folder (or file) to read and the formats it may be of, the preferred one first.

    Raises:
        InputError: nothing is recognised, or several scenes are.
    """
    found = _formats_of(path, format)
    if scene is not None and not any(FORMATS[name].many_scenes for name in found):
        path = _scene_below(path, scene, bool(found))
        found = _formats_of(path, format)
    if found:
        return path, found
    if format != "auto":
        return path, [format]  # its reader says what is missing
    level = [path] if path.is_dir() else []
    for _ in range(2):
        level = [folder for parent in level for folder in _folders(parent)]
        below = {folder: names for folder in level if (names := _formats_of(folder, format))}
        if len(below) == 1:
            return next(iter(below.items()))
        if below:
            names = [folder.relative_to(path).as_posix() for folder in below]
            raise InputError(f"there are {len(names)} scenes here", where=path,
                             mend=f"Name one with scene=: {', '.join(names[:6])}" + (" ..." if len(names) > 6 else ""))
    packed = [path] if path.is_file() else sorted(path.iterdir())
    packed = next((file for file in packed if file.name.lower().endswith(_PACKED)), None)
    if packed is not None:
        raise InputError(f"no posed scene is recognised here. Found: {_contents(path)}", where=path,
                         mend=f"Unpack {packed.name} and give the folder that comes out")
    looked_for = "; ".join(f"{name}: {reader.looks_for}" for name, reader in FORMATS.items())
    raise InputError(f"no posed scene is recognised here. Found: {_contents(path)}. Looked for: {looked_for}",
                     where=path, mend="Give the folder that holds the cameras, or force a format with format=")


def _formats_of(path: Path, format: str) -> list[str]:
    found = [name for name, reader in FORMATS.items() if format in ("auto", name) and reader.look(path) is not None]
    deeper = path.is_dir() and data_root(path) != path
    return sorted(found, key=lambda name: deeper and FORMATS[name].many_scenes)  # what lies right here comes first


def _scene_below(path: Path, scene: str | int, is_scene: bool) -> Path:
    """The sub-folder of that name, or the only one whose name ends in that number.

    Raises:
        InputError: there is none.
    """
    if (path / str(scene)).is_dir():
        return path / str(scene)
    folders = _folders(path) if path.is_dir() else []
    numbered = [folder for folder in folders if str(scene).isdecimal() and (end := re.search(r"(\d+)$", folder.name))
                and int(end[1]) == int(scene)]
    if len(numbered) == 1:
        return numbered[0]
    raise InputError(f"there is no scene {str(scene)!r}", where=path,
                     mend=f"Choose among {', '.join(folder.name for folder in folders[:6])}" if folders and not is_scene
                     else "Leave `scene` out: the path is a scene itself")


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir()
                  and not folder.name.startswith((".", "__MACOSX")))


def _contents(path: Path) -> str:
    """What lies in a folder, in a few words."""
    if path.is_file():
        return f"the file {path.name}"
    folders = [folder.name for folder in _folders(path)]
    suffixes = Counter(file.suffix.lower() or file.name for file in path.iterdir() if file.is_file())
    parts = [f"{count} {suffix}" for suffix, count in suffixes.most_common(5)]
    parts += [f"folders {', '.join(folders[:6])}" + (" ..." if len(folders) > 6 else "")] if folders else []
    return ", ".join(parts) or "nothing"
