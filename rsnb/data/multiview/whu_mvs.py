"""WHU MVS as ImMPI re-organised it: nadir blocks of 20 aerial views with depth, for training across scenes.

Liu, Ji: A Novel Recurrent Encoder-Decoder Structure for Large-Scale Multi-view Stereo Reconstruction from An Open
Aerial Dataset, CVPR 2020; scenes and splits of Wu, Zou, Shi, IEEE TGRS 60 (2022). 88 scenes `scene_000` to `scene_087`
(62 train, 8 val, 18 test), views `000` to `019` of 768 x 384 pixels, a block of 4 rows and 5 columns:

    train.txt val.txt test.txt  one scene id a line (any name that holds the word)
    scene_000/Images/000.png    RGB
    scene_000/Cams/000.txt      see `camera_text`; blank separated
    scene_000/Depths/000.png    16-bit z depth times 64, in metres; 0 = unknown
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rsnb.data.audit import Audit, Finding, count_findings
from rsnb.data.multiview.scene_folder import (
    SceneFormat,
    audit_scene,
    data_root,
    find_scene,
    list_scenes,
    read_scene,
    sub_folder,
)
from rsnb.data.multiview.views import PosedViews
from rsnb.data.published_counts import published_counts
from rsnb.errors import InputError
from rsnb.files import require_file

DEPTH_SCALE = 1 / 64
ROWS, COLUMNS = 4, 5
PARTS = ("train", "val", "test")
_FORMAT = SceneFormat(depth_suffixes=(".png",), depth_scale=DEPTH_SCALE, size=(768, 384))


def read_whu_mvs(root: str | Path, scene: str | int | None = None) -> PosedViews:
    """Read a scene; pixels stay on the disk.

    Args:
        root: of the data set, or a scene's folder.
        scene: "scene_003", "003" or 3; None where the root is a scene or has only one.

    Returns:
        Views with depth paths and near_far; the split "reference" names the views that samples of 19 neighbours have in
        the middle.

    Raises:
        InputError: no such scene, or a camera file that is wrong.
    """
    views = read_scene(find_scene(root, scene), "WHU MVS", _FORMAT)
    references = tuple(reference for reference, _ in whu_samples(views.names, 19))
    return replace(views, splits={"reference": references})


def whu_mvs_scenes(root: str | Path, part: str | None = None) -> tuple[str, ...]:
    """Names of the scenes below the root; of one part ("train", "val", "test") as its list file says.

    Raises:
        InputError: no list of that part, or a line that names no scene of the folder.
    """
    root = data_root(root)
    scenes = tuple(list_scenes(root))
    if part is None:
        return scenes
    lists = whu_mvs_lists(root)
    if part not in lists:
        raise InputError(f"there is no list of scenes for {part}", where=root,
                         mend=f"Put {part}.txt there, one scene id a line" if part in PARTS
                         else f"Choose one of: {', '.join(PARTS)}")
    absent = [name for name in lists[part] if name not in scenes]
    if absent:
        raise InputError(f"the {part} list names {absent[0]}, which is not there", where=root,
                         mend=f"Fetch it, or remove it from the list ({len(absent)} in all)")
    return lists[part]


def whu_mvs_lists(root: str | Path) -> dict[str, tuple[str, ...]]:
    """{"train": scene names ...} from the list files that lie at the root or in a folder of lists below it.

    Raises:
        InputError: a line that is no scene id.
    """
    root = data_root(root)
    found = {}
    for path in sorted([*root.glob("*.txt"), *root.glob("*list*/*.txt")]):
        part = next((p for p in PARTS if re.search(rf"(^|[^a-z]){p}", path.stem.lower())), None)
        if part is None or part in found:
            continue
        names = []
        lines = require_file(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
        for line, text in enumerate(lines, start=1):
            entry = text.strip().strip("/\\,")
            if not entry:
                continue
            number = re.fullmatch(r"(?:.*[/\\])?(?:scene_?)?(\d+)", entry)
            if number is None:
                raise InputError(f"{entry!r} is no scene id", where=path, line=line,
                                 mend="Write one id a line, such as 003 or scene_003")
            names.append(f"scene_{int(number[1]):03d}")
        found[part] = tuple(names)
    return found


def whu_samples(names: tuple[str, ...], neighbours: int = 19) -> list[tuple[str, tuple[str, ...]]]:
    """The samples of a block: [(reference, its neighbours)], by view id.

    Args:
        names: views of the scene; samples with a view that is not there are left out.
        neighbours: 19: references 007 and 012, each with all other views; 4: references 006, 007, 008, 011, 012, 013,
            each with the views left, right, up and down in the block.

    Raises:
        InputError: another number of neighbours (the original then gave no samples at all, silently).
    """
    if neighbours not in (4, 19):
        raise InputError(f"{neighbours} neighbours", where="whu_samples", mend="Choose 4 or 19")
    block = [f"{i:03d}" for i in range(ROWS * COLUMNS)]
    if neighbours == 19:
        samples = [(block[i], tuple(name for name in block if name != block[i])) for i in (7, 12)]
    else:
        samples = [(block[i], tuple(block[i + step] for step in (-1, 1, -COLUMNS, COLUMNS)))
                   for i in (6, 7, 8, 11, 12, 13)]
    return [(reference, beside) for reference, beside in samples if {reference, *beside} <= set(names)]


def audit(root: str | Path) -> Audit:
    """Look a data set through: partners, every file read, sizes, duplicates, lists, counts of the manifest.

    The root may also be one scene's folder.
    """
    root = data_root(root)
    single = sub_folder(root, "Cams").is_dir()
    scenes = {root.name: root} if single else list_scenes(root)
    counts = {"scenes": len(scenes), "views": 0, "depths": 0}
    findings = [] if scenes else [Finding("missing", ".", "no folder here has Images and Cams")]
    for folder in scenes.values():
        found, more = audit_scene(folder, root, _FORMAT)
        findings += more
        counts = {what: number + found.get(what, 0) for what, number in counts.items()}
    if not single:
        findings += _audit_lists(root, set(scenes))
    expected = published_counts("whu_mvs")
    return Audit("whu_mvs", root, counts, expected, (*findings, *count_findings(counts, expected)))


def _audit_lists(root: Path, scenes: set[str]) -> list[Finding]:
    try:
        lists = whu_mvs_lists(root)
    except InputError as error:
        return [Finding("unreadable", Path(str(error.where)).name, error.what)]
    findings = [Finding("note", f"{part}.txt", "there is no such list") for part in PARTS if part not in lists]
    for part, names in lists.items():
        findings += [Finding("missing", name, f"the {part} list names it") for name in names if name not in scenes]
        findings += [Finding("duplicate", name, f"it stands in the {part} list {names.count(name)} times")
                     for name in sorted(set(names)) if names.count(name) > 1]
    twice = [name for name in sorted(scenes) if sum(name in names for names in lists.values()) > 1]
    findings += [Finding("duplicate", name, "it stands in two lists") for name in twice]
    listed = {name for names in lists.values() for name in names}
    if lists:
        findings += [Finding("unmatched", name, "no list names it") for name in sorted(scenes - listed)]
    return findings
