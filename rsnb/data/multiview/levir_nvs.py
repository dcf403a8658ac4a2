"""LEVIR-NVS: aerial scenes rendered from Google Earth, 21 views on a circle each; notebook 03's data set.

Wu, Zou, Shi: Remote Sensing Novel View Synthesis With Implicit Multiplane Representations, IEEE TGRS 60 (2022). 16
scenes `scene_000` to `scene_015`, views `000` to `020` of 512 x 512 pixels:

    view_split.txt         count, then that many ids; first the train views, then the test views
    scene_000/Images/000.png    RGB
    scene_000/Cams/000.txt      see `camera_text`; comma separated
    scene_000/Depths/000.tiff   float z depth in the scene's unit
    scene_000/Track/001.txt     100 poses of a camera path, same grammar, the line of depths may be missing

View 000 is the reference (the network's input), the odd ids train, the even ones from 002 test. No licence is stated;
it is handed out on Google Drive without checksums. The scenes' unit is not the metre: depths lie between 50 and 135.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from rsnb.data.audit import Audit, Finding, count_findings
from rsnb.data.multiview.camera_text import read_camera
from rsnb.data.multiview.scene_folder import (
    SceneFormat,
    audit_scene,
    data_root,
    files_of,
    find_scene,
    list_scenes,
    read_scene,
    sub_folder,
)
from rsnb.data.multiview.views import PosedViews
from rsnb.data.published_counts import published_counts
from rsnb.errors import InputError
from rsnb.files import require_file

REFERENCE = 0
PUBLISHED = range(21)  # ids of the data set: one of these may be absent from a part of it, another is a mistake
FEW_SHOT = (1, 8, 15)  # train ids of the three-view protocol of later papers (TriDF, DIBR-GS); the other 17 test
_FORMAT = SceneFormat(depth_suffixes=(".tiff", ".tif"), depth_scale=1.0, size=(512, 512))


def levir_nvs_scenes(root: str | Path) -> tuple[str, ...]:
    """Names of the scenes below the root."""
    return tuple(list_scenes(data_root(root)))


def read_levir_nvs(root: str | Path, scene: str | int | None = None) -> PosedViews:
    """Read a scene; pixels stay on the disk.

    Args:
        root: of the data set, or a scene's folder.
        scene: "scene_003", "003" or 3; None where the root is a scene or has only one.

    Returns:
        Views with depth paths, near_far, track, and the splits "reference", "train", "test" (from `view_split.txt`,
        else by the rule), "few_shot_train" and "few_shot_test".

    Raises:
        InputError: no such scene; a camera, split or track file that is wrong; a split that names a view which is
            neither there nor one of the published ones.
    """
    folder = find_scene(root, scene)
    views = read_scene(folder, "LEVIR-NVS", _FORMAT)
    splits, notes = _splits(views.names, _split_file(folder))
    track, track_K = read_track(folder)
    return replace(views, splits=splits, notes=notes, track=track, track_K=track_K)


def read_track(folder: str | Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Poses [M, 4, 4] and K [M, 3, 3] of a scene's Track folder in the order of the file numbers; None without one."""
    files = files_of(Path(folder), "Track", (".txt",))
    if not files:
        return None, None
    cameras = [read_camera(path, need_depth=False) for path in files.values()]
    return np.stack([c.world_to_cam for c in cameras]), np.stack([c.K for c in cameras])


def read_view_split(path: str | Path) -> tuple[tuple[int, ...], ...]:
    """The lists of view ids of a `view_split.txt`: first train, second test; a count comes before each list.

    Blanks or commas separate ids; a list may go over several lines; what follows `#` or `//` is passed over.

    Raises:
        InputError: a count that is not the number of ids that follow, an id twice, or something that is no id.
    """
    path = require_file(path, "view split")
    numbers: list[tuple[int, int]] = []  # line, id
    for line, text in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        for cell in text.split("#")[0].split("//")[0].replace(",", " ").split():
            stem = cell.lower().removesuffix(".png").removesuffix(".txt")
            if not stem.isdecimal():
                raise InputError(f"{cell!r} is no view id", where=path, line=line,
                                 mend="The file has pairs of lines: a count, then that many ids")
            numbers.append((line, int(stem)))
    lists = []
    while numbers:
        line, count = numbers.pop(0)
        ids = [number for _, number in numbers[:count]]
        # the next count begins a line of its own: a list that runs into it is too short, one that stops early too long
        following = numbers[count:]
        if len(ids) < count or (following and following[0][0] == numbers[count - 1][0] and count > 0):
            raise InputError(f"the count says {count} ids, but another number follow", where=path, line=line,
                             mend="Correct the count, or complete the list")
        twice = next((i for i in ids if ids.count(i) > 1), None)
        if twice is not None:  # often the count of the next list, taken for an id
            raise InputError(f"the list of {count} ids holds {twice} twice", where=path, line=line,
                             mend="Correct the count, or remove one of the two")
        lists.append(tuple(ids))
        numbers = following
    return tuple(lists)


def _line_of(path: Path, view: int) -> int | None:
    """The line of a split file that names a view."""
    lines = enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1)
    return next((number for number, text in lines if re.search(rf"(?<!\d)0*{view}(?!\d)", text)), None)


def _split_file(scene: Path) -> Path | None:
    """`view_split.txt` of the root or the scene, whichever is nearer."""
    return next((path for folder in (scene, scene.parent) if (path := folder / "view_split.txt").is_file()), None)


def _splits(names: tuple[str, ...], path: Path | None) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The splits by name, and what is odd about them. Views that are not there are left out of every split."""
    by_id = {int(name): name for name in names if name.isdecimal()}
    rule = {"train": [i for i in by_id if i % 2 == 1], "test": [i for i in by_id if i % 2 == 0 and i != REFERENCE]}
    chosen, notes = dict(rule), []
    lists = read_view_split(path) if path is not None else ()
    if len(lists) >= 2:
        for part, ids in zip(("train", "test"), lists, strict=False):
            absent = sorted(set(ids) - set(by_id))
            unknown = [i for i in absent if i not in PUBLISHED]
            if unknown:
                raise InputError(f"the {part} list names view {unknown[0]:03d}, which is not there", where=path,
                                 line=_line_of(path, unknown[0]),
                                 mend="Take it out of the list and correct the count, or remove the file: the odd-even "
                                      "rule then splits the views")
            if absent:
                notes.append(f"view_split.txt names views that are not there for {part}: {absent}")
            if REFERENCE in ids:
                notes.append(f"view_split.txt lists the reference view 000 for {part}; it is in neither here")
            chosen[part] = [i for i in ids if i in by_id and i != REFERENCE]
            if sorted(chosen[part]) != sorted(rule[part]):
                notes.append(f"the {part} views of view_split.txt, {sorted(chosen[part])}, are not those of the "
                             f"published odd-even rule, {sorted(rule[part])}; the file's are used")
        both = sorted(set(chosen["train"]) & set(chosen["test"]))
        if both:
            raise InputError(f"views {both} are both for training and for testing", where=path,
                             mend="Take them out of one of the two lists")
    elif path is not None:
        notes.append(f"view_split.txt holds {len(lists)} list(s), two are needed; the odd-even rule is used")
    chosen["reference"] = [i for i in by_id if i == REFERENCE]
    chosen["few_shot_train"] = [i for i in by_id if i in FEW_SHOT]
    chosen["few_shot_test"] = [i for i in by_id if i not in (REFERENCE, *FEW_SHOT)]
    return {part: tuple(by_id[i] for i in ids) for part, ids in chosen.items()}, tuple(notes)


def audit(root: str | Path) -> Audit:
    """Look a data set through: partners, every file read, sizes, duplicates, splits and tracks, counts of the manifest.

    The root may also be one scene's folder.
    """
    root = data_root(root)
    single = sub_folder(root, "Cams").is_dir()
    scenes = {root.name: root} if single else list_scenes(root)
    counts = {"scenes": len(scenes), "views": 0, "depths": 0, "track poses": 0}
    findings = [] if scenes else [Finding("missing", ".", "no folder here has Images and Cams")]
    for folder in scenes.values():
        found, more = audit_scene(folder, root, _FORMAT)
        findings += more + _audit_extras(folder, root)
        found["track poses"] = len(files_of(folder, "Track", (".txt",)))
        counts = {what: number + found.get(what, 0) for what, number in counts.items()}
    if scenes and _split_file(next(iter(scenes.values()))) is None:
        findings.append(Finding("note", "view_split.txt", "it is not there; the odd-even rule splits the views"))
    expected = published_counts("levir_nvs")
    return Audit("levir_nvs", root, counts, expected, (*findings, *count_findings(counts, expected)))


def _audit_extras(folder: Path, root: Path) -> list[Finding]:
    """Split and track of one scene."""
    findings = []
    views = tuple(files_of(folder, "Cams", (".txt",)))
    try:
        findings += [Finding("note", folder.relative_to(root).as_posix(), note)
                     for note in _splits(views, _split_file(folder))[1]]
    except InputError as error:
        findings.append(Finding("unreadable", "view_split.txt", error.what))
    track = files_of(folder, "Track", (".txt",))
    if not track:
        path = (folder / "Track").relative_to(root).as_posix()
        findings.append(Finding("note", path, "there is no track"))
    for path in track.values():
        try:
            read_camera(path, need_depth=False)
        except InputError as error:
            findings.append(Finding("unreadable", path.relative_to(root).as_posix(), error.what))
    return findings
