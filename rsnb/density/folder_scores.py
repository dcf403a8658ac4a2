"""Two folders of pictures against each other, matched by name: what any program wrote, scored by the same functions.

Files belong together if their names without suffix are equal, letter case included. What has no partner is listed,
never silently dropped, and a mean is only over pairs that could be scored.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rsnb.errors import InputError
from rsnb.files import write_text
from rsnb.metrics.image import psnr, rmse, sharpness_difference, ssim
from rsnb.metrics.perceptual import lpips_distance

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
METRICS = {
    "psnr": psnr,
    "ssim": ssim,
    "rmse": lambda a, b: rmse(a, b, scale=255.0),
    "sd": sharpness_difference,
    "lpips_alex": lambda a, b: lpips_distance(a, b, "alex"),
    "lpips_vgg": lambda a, b: lpips_distance(a, b, "vgg"),
}


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
        return {name: float(values[~np.isnan(values)].mean()) if (~np.isnan(values)).any() else math.nan
                for name, values in self.scores.items()}

    def interval(self, draws: int = 1000, confidence: float = 0.95, seed: int = 0) -> dict[str, tuple[float, float]]:
        """{metric: bounds of the mean} by bootstrap over the pairs; nan with fewer than two finite scores."""
        bounds, tail = {}, (1 - confidence) / 2
        for name, values in self.scores.items():
            finite = values[np.isfinite(values)]
            if len(finite) < 2:
                bounds[name] = (math.nan, math.nan)
                continue
            means = np.random.default_rng(seed).choice(finite, (draws, len(finite))).mean(axis=1)
            low, high = np.quantile(means, [tail, 1 - tail])
            bounds[name] = (float(low), float(high))
        return bounds

    def counted(self) -> dict[str, int]:
        """{metric: pairs that have a score}."""
        return {name: int((~np.isnan(values)).sum()) for name, values in self.scores.items()}

    def write_csv(self, path: str | Path) -> Path:
        """A row a pair and one with the means; an empty cell where there is no score."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", *self.scores])
        rows = [(name, [values[i] for values in self.scores.values()]) for i, name in enumerate(self.names)]
        for name, values in [*rows, ("mean", list(self.mean().values()))]:
            writer.writerow([name, *["" if math.isnan(v) else f"{v:.6f}" for v in values]])
        return write_text(path, text.getvalue())


def score_folders(pred: str | Path, truth: str | Path, metrics=("psnr", "ssim", "rmse", "sd", "lpips_alex"),
                  resize: Literal["never", "to truth"] = "never") -> FolderScores:
    """Score every picture of one folder against the one of the same name in another.

    Args:
        pred: folder of what is judged.
        truth: folder of what it should be.
        metrics: names of `METRICS`: psnr (dB), ssim, rmse (grey levels of 255), sd (sharpness difference, dB),
            lpips_alex, lpips_vgg.
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
            try:
                scores[metric][i] = METRICS[metric](a, b)
            except InputError as error:
                if "smaller than" not in error.what and "too small" not in error.what and "interior" not in error.what:
                    raise
                notes.append(f"{name}: no {metric}: {error.what}")
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
