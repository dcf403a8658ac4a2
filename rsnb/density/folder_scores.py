"""Two folders of pictures against each other, matched by name: what any program wrote, scored by the same functions.

Files belong together if their names without suffix are equal, letter case included. What has no partner is listed,
never silently dropped, and a mean is only over pairs that could be scored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rsnb.density.bootstrap import Interval, PerTile, table, write_rows
from rsnb.density.image_scores import METRICS
from rsnb.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


@dataclass(frozen=True)
class FolderScores:
    """One row of scores a pair of pictures.

    Attributes:
        names: the stems that both folders hold, sorted.
        scores: {metric: [N] float64}; nan where a score could not be computed, inf where pictures are identical.
        only_pred, only_truth: names of the files without partner.
        notes: why a score is nan, one a case, and what was resized.
    """

    names: tuple[str, ...]
    scores: dict[str, np.ndarray]
    only_pred: tuple[str, ...]
    only_truth: tuple[str, ...]
    notes: tuple[str, ...]

    def mean(self) -> dict[str, float]:
        """{metric: mean over the pairs that have a score}; nan where none has."""
        return {name: score.pooled for name, score in self._columns().items()}

    def interval(self, **options) -> dict[str, Interval]:
        """{metric: mean and bootstrap interval over the pairs that have a score}; options as `bootstrap.interval`."""
        return table(self._columns(), **options)

    def counted(self) -> dict[str, int]:
        """{metric: pairs that have a score}."""
        return {name: int((~np.isnan(values)).sum()) for name, values in self.scores.items()}

    def write_csv(self, path: str | Path) -> Path:
        """A row a pair and one with the means; an empty cell where there is no score."""
        rows = [{"name": name} | {metric: values[i] for metric, values in self.scores.items()}
                for i, name in enumerate(self.names)]
        return write_rows(path, ["name", *self.scores], [*rows, {"name": "mean"} | self.mean()])

    def _columns(self) -> dict[str, PerTile]:
        return {name: PerTile.of_values(values) for name, values in self.scores.items()}


def score_folders(pred: str | Path, truth: str | Path, metrics=("psnr", "ssim", "rmse", "sd", "lpips_alex"),
                  resize: Literal["never", "to truth"] = "never") -> FolderScores:
    """Score every picture of one folder against the one of the same name in another.

    Args:
        pred: folder of what is judged.
        truth: folder of what it should be.
        metrics: names of `image_scores.METRICS`: psnr (dB), ssim, rmse (grey levels of 255), sd and sd_shi (sharpness
            differences of Sat2Density and of Shi et al., dB), lpips_alex, lpips_squeeze, lpips_vgg.
        resize: what to do with a pair of different sizes: "never" = an error; "to truth" = bicubic, noted.

    Raises:
        InputError: no such folder, an unknown metric, no common name, two files of one stem in a folder, a file that is
            no picture, sizes that differ under "never"; a trunk of LPIPS that cannot be had.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or resize not in ("never", "to truth"):
        raise InputError(f"metrics {unknown} and resize {resize!r}", where="score_folders",
                         mend=f'Use of {", ".join(METRICS)}; resize "never" or "to truth"')
    files = _by_stem(pred), _by_stem(truth)
    names = tuple(sorted(files[0].keys() & files[1].keys()))
    if not names:
        raise InputError(f"no picture has the name of one in {truth}", where=pred,
                         mend=f"It holds {_some(files[0])}, the other {_some(files[1])}; rename one side")
    scores, notes = {name: np.full(len(names), math.nan) for name in metrics}, []
    for i, name in enumerate(names):
        a, b = _pair(files[0][name], files[1][name], resize, notes)
        for metric in metrics:
            why = METRICS[metric].lacks(*a.shape[-2:])
            if why is None:
                scores[metric][i] = METRICS[metric].compute(a, b)
            else:
                notes.append(f"{name}: no {metric}: {why}")
    alone = [tuple(sorted(one[stem].name for stem in one.keys() - set(names))) for one in files]
    return FolderScores(names, scores, *alone, tuple(notes))


def _by_stem(folder: str | Path) -> dict[str, Path]:
    """{stem: file} of the pictures of a folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder", where=folder, mend="Name a folder with pictures")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(f"{path.name} and {found[path.stem].name} have the same name before the suffix",
                             where=folder, mend="Move one of them away")
        found[path.stem] = path
    if not found:
        raise InputError("the folder holds no pictures", where=folder, mend=f"Known suffixes: {', '.join(SUFFIXES)}")
    return found


def _pair(pred: Path, truth: Path, resize: str, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures [3, H, W] float32 in 0..1 of one size."""
    from PIL import Image

    a, b = _opened(pred), _opened(truth)
    if a.size != b.size:
        if resize == "never":
            raise InputError(f"the picture has {a.size[0]} x {a.size[1]} pixels, {truth} {b.size[0]} x {b.size[1]}",
                             where=pred, mend='Bring them to one size, or ask for resize="to truth"')
        notes.append(f"{pred.name}: resized from {a.size[0]} x {a.size[1]} to {b.size[0]} x {b.size[1]}")
        a = a.resize(b.size, Image.Resampling.BICUBIC)
    return tuple(np.asarray(x, np.float32).transpose(2, 0, 1) / np.float32(255.0) for x in (a, b))


def _opened(path: Path):
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode in ("F", "I", "I;16"):
                raise InputError(f"the picture has samples of kind {picture.mode}, not 8 bits a channel", where=path,
                                 mend="Convert it to 8 bits")
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"this is no picture that can be read ({error})", where=path,
                         mend="Write it again, or move it away") from None


def _some(files: dict[str, Path]) -> str:
    names = [path.name for path in files.values()]
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
