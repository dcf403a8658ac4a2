"""What LEVIR-NVS and the re-organised WHU MVS share: folders `scene_NNN` of Images, Cams and Depths, a file a view."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsnb.data.audit import Finding, duplicate_findings, picture_fault
from rsnb.data.multiview.camera_text import read_camera
from rsnb.data.multiview.pictures import SUFFIXES, picture_size
from rsnb.data.multiview.views import PosedViews, read_depth
from rsnb.data.nested_root import nested_root
from rsnb.errors import InputError


@dataclass(frozen=True)
class SceneFormat:
    """What an audit of such scenes expects.

    Attributes:
        depth_suffixes, depth_scale: of the depth files.
        size: (width, height) as published; scenes of another size are noted.
    """

    depth_suffixes: tuple[str, ...]
    depth_scale: float
    size: tuple[int, int]


def sub_folder(scene: Path, name: str) -> Path:
    """`scene / name`, in whatever case it is written on the disk."""
    found = [p for p in scene.iterdir() if p.is_dir() and p.name.lower() == name.lower()] if scene.is_dir() else []
    return found[0] if found else scene / name


def files_of(scene: Path, name: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """{stem: file} of a sub-folder, in order of the stems as numbers."""
    folder = sub_folder(scene, name)
    files = [p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")] \
        if folder.is_dir() else []
    return {p.stem: p for p in sorted(files, key=lambda p: view_key(p.stem))}


def view_key(name: str) -> tuple:
    """Sorts 9 before 10, and words after numbers."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def data_root(root: str | Path) -> Path:
    """The folder of the scenes (or a scene's own) at a path or up to two levels below it.

    Raises:
        InputError: there is no such path.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError("there is no such folder", where=root, mend="Give the root of the data set, or a scene")
    return nested_root(root, lambda folder: sub_folder(folder, "Cams").is_dir() or bool(list_scenes(folder)))


def list_scenes(root: Path) -> dict[str, Path]:
    """{name: folder} of the scenes in a folder; a scene is a folder with Cams."""
    return {p.name: p for p in sorted(root.iterdir()) if p.is_dir() and sub_folder(p, "Cams").is_dir()}


def find_scene(root: str | Path, scene: str | int | None) -> Path:
    """The folder of a scene, of a root or of the scene itself.

    Args:
        root: of the data set, or a scene's own folder.
        scene: "scene_003", "003", 3; None where the root is the scene, or has only one.

    Raises:
        InputError: no such scene, or several to choose among.
    """
    root = data_root(root)
    scenes = list_scenes(root)
    if scene is None:
        if sub_folder(root, "Cams").is_dir():
            return root
        if len(scenes) == 1:
            return next(iter(scenes.values()))
        what = f"there are {len(scenes)} scenes here" if scenes else "there is no scene here"
        raise InputError(what, where=root, mend=f"Name one of {', '.join(list(scenes)[:4])} ..." if scenes
                         else "A scene is a folder with Images and Cams")
    wanted = str(scene)
    numbered = {int(found[1]): path for name, path in scenes.items() if (found := re.search(r"(\d+)$", name))}
    if wanted in scenes:
        return scenes[wanted]
    if wanted.isdecimal() and int(wanted) in numbered:
        return numbered[int(wanted)]
    raise InputError(f"there is no scene {wanted!r}", where=root,
                     mend=f"Choose among {', '.join(list(scenes)[:6])}" if scenes
                     else "A scene is a folder with Images and Cams")


def read_scene(scene: Path, dataset: str, form: SceneFormat) -> PosedViews:
    """All views of a scene that have a picture and a camera file; the others are among `skipped`.

    Raises:
        InputError: a camera file that is wrong, a picture that is none, or nothing to read.
    """
    pictures, cameras = files_of(scene, "Images", SUFFIXES), files_of(scene, "Cams", (".txt",))
    depths = files_of(scene, "Depths", form.depth_suffixes)
    skipped = {name: "it has a camera but no picture" for name in cameras if name not in pictures}
    skipped |= {name: "it has a picture but no camera" for name in pictures if name not in cameras}
    names = tuple(name for name in cameras if name in pictures)
    if not names:
        raise InputError("no picture has a camera file of its name", where=scene,
                         mend="A scene has Images/000.png and Cams/000.txt and so on")
    read = [read_camera(cameras[name]) for name in names]
    return PosedViews(
        name=f"{dataset} {scene.name}", names=names, image_paths=tuple(pictures[name] for name in names),
        K=np.stack([camera.K for camera in read]), world_to_cam=np.stack([camera.world_to_cam for camera in read]),
        sizes=np.array([picture_size(pictures[name]) for name in names]),
        depth_paths=tuple(depths.get(name) for name in names) if depths else None, depth_scale=form.depth_scale,
        near_far=np.array([camera.near_far for camera in read]), skipped=skipped)


def audit_scene(scene: Path, root: Path, form: SceneFormat) -> tuple[dict[str, int], list[Finding]]:
    """Counts and findings of one scene: partners, every camera file, every picture decoded, sizes, depth ranges."""
    pictures, cameras = files_of(scene, "Images", SUFFIXES), files_of(scene, "Cams", (".txt",))
    depths = files_of(scene, "Depths", form.depth_suffixes)
    findings = []

    def note(kind, path: Path, text: str) -> None:
        findings.append(Finding(kind, path.relative_to(root).as_posix(), text))

    for name in cameras.keys() | pictures.keys() | depths.keys():
        if name not in pictures:
            note("missing", sub_folder(scene, "Images") / f"{name}.png", f"view {name} has no picture")
        if name not in cameras:
            note("missing", sub_folder(scene, "Cams") / f"{name}.txt", f"view {name} has no camera file")
        if name not in depths:
            path = sub_folder(scene, "Depths") / f"{name}{form.depth_suffixes[0]}"
            note("missing", path, f"view {name} has no depth")
    read = {}
    for name, path in cameras.items():
        _try(lambda path=path, name=name: read.update({name: read_camera(path)}), path, note)
    sizes = {}
    for name, path in pictures.items():
        fault = picture_fault(path)
        if fault:
            note(fault[0], path, fault[1])
        else:
            sizes[name] = picture_size(path)
    if sizes:
        common = max(set(sizes.values()), key=list(sizes.values()).count)
        for name in (n for n, size in sizes.items() if size != common):
            note("size", pictures[name], f"{_text(sizes[name])} pixels, most are {_text(common)}")
        if common != form.size:
            note("note", scene, f"pictures of {_text(common)} pixels, published are {_text(form.size)}")
    for name, path in depths.items():
        _try(lambda path=path, name=name: _check_depth(path, form.depth_scale, sizes.get(name), read.get(name), note),
             path, note)
    findings += duplicate_findings([*pictures.values(), *depths.values()], root)
    return {"views": len(cameras.keys() & pictures.keys()), "depths": len(depths)}, findings


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _try(read: Callable[[], None], path: Path, note: Callable) -> None:
    """Run a reader; what it refuses becomes a finding."""
    try:
        read()
    except InputError as error:
        note("unreadable", path, error.what + ("" if error.line is None else f" (line {error.line})"))


def _check_depth(path: Path, scale: float, size, camera, note: Callable) -> None:
    values = read_depth(path, scale)
    if size is not None and values.shape != (size[1], size[0]):
        note("size", path, f"{values.shape[1]} x {values.shape[0]} pixels, the picture {_text(size)}")
    known = values[np.isfinite(values)]
    if not known.size:
        note("value", path, "no pixel has a depth")
    elif camera is not None and not (camera.near_far[0] * 0.5 <= np.median(known) <= camera.near_far[1] * 2):
        note("value", path, f"depths lie about {np.median(known):.4g}, its camera file says "
             f"{camera.near_far[0]:g} to {camera.near_far[1]:g}")
