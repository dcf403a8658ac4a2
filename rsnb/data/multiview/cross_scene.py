"""What a training across scenes learns from: references with their neighbours, of WHU MVS or of LEVIR-NVS scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rsnb.data.multiview.levir_nvs import levir_nvs_scenes, read_levir_nvs
from rsnb.data.multiview.recognise import levir_nvs_here
from rsnb.data.multiview.whu_mvs import read_whu_mvs, whu_mvs_scenes, whu_samples
from rsnb.errors import InputError
from rsnb.scenes import PosedImages

Sample = tuple[str, str, tuple[str, ...], Callable[[], PosedImages]]


def cross_scene_samples(root: str | Path, part: str | None = None, neighbours: int = 19, *,
                        scenes: Sequence[str] | None = None, max_width: int | None = None) -> list[Sample]:
    """The samples of a data set or of a part of it; pixels stay on the disk until `load` is called.

    WHU MVS gives two samples a scene of 19 neighbours, or six of 4. LEVIR-NVS gives one a scene, the reference and its
    train views, whatever `neighbours` says; test views are never read.

    Args:
        root: of the data set.
        part: "train", "val" or "test" as the lists of WHU MVS say; None takes all scenes. LEVIR-NVS has no parts.
        neighbours: 19 or 4.
        scenes: take only these of them, by name; all if None.
        max_width: wider pictures are averaged down to this width.

    Returns:
        [(scene, reference, its neighbours, load)]; the samples of a scene share one `load`, which reads the views that
        one of them needs.

    Raises:
        InputError: no such list, a scene that is not there, another number of neighbours, or no sample at all.
    """
    levir = levir_nvs_here(Path(root)) is not None
    if levir and part is not None:
        raise InputError(f"LEVIR-NVS has no list of scenes for {part}", where=root,
                         mend="Leave `part` out and choose by `scenes`")
    names = levir_nvs_scenes(root) if levir else whu_mvs_scenes(root, part)
    absent = [name for name in scenes or () if name not in names]
    if absent:
        raise InputError(f"there is no scene {absent[0]!r}", where=root,
                         mend=f"Choose among {', '.join(names[:4])} ...")
    samples = []
    for name in names if scenes is None else scenes:
        if levir:
            views = read_levir_nvs(root, name)
            pairs = [(reference, views.splits["train"]) for reference in views.splits["reference"]]
        else:
            views = read_whu_mvs(root, name)
            pairs = whu_samples(views.names, neighbours)
        pairs = [(reference, beside) for reference, beside in pairs if beside]
        needed = {view for reference, beside in pairs for view in (reference, *beside)}
        load = partial(views.load, tuple(view for view in views.names if view in needed), max_width)
        samples += [(name, reference, tuple(beside), load) for reference, beside in pairs]
    if not samples:
        raise InputError("no scene has a reference with its neighbours", where=root,
                         mend="Check that the views are named 000, 001 and so on, and that none is missing")
    return samples
