"""Notebook 04 on a few pairs of the default city, at `tiny` scale: what its tests share."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from in_process import Cells

import rsnb.city
import rsnb.density
import rsnb.viewers
from rsnb import runs

CELLS = Cells("04_density_learning")
TIMED = ("losses.png", "model.pt", "model.pt.sha256")  # hold seconds, or a name that is drawn
FEW = {"train": 6, "test": 3}  # of the city's pairs
QUICK = FEW | {"ablations": "", "oracle_steps": 0}
SMALL = {"tile_px": 48, "panorama_size": [32, 64]}  # where nothing is compared with what is true of 96 x 96 cells
# cells by what stands in them; what comes before one is run once for all tests that agree in the parameters read there
PAIRS, MODEL, OTHERS, BARS = "source, unseen", "ModelOptions.of_size", "others = {}", "bars = {"
PICTURES, SKIES, WAY, OWN = "nets = {", "patterns = ", "write_path_csv(", "masks = density.segment_sky"


def metrics_of(out_dir) -> dict:
    metrics = json.loads((out_dir / "metrics.json").read_text())["metrics"]
    return {k: v for k, v in metrics.items() if not k.startswith("seconds")}


def run_cells(out_dir, *arguments, **options) -> dict:
    """As `Cells.run`, without what tells seconds."""
    left = {name: digest for name, digest in CELLS.run(out_dir, *arguments, **options).items() if name not in TIMED}
    if "metrics.json" in left:
        left["metrics.json"] = json.dumps(metrics_of(out_dir))
    return left


def reported(out_dir, changes, **options) -> dict:
    """The numbers that are reported by some cell."""
    run_cells(out_dir, QUICK | changes, **options)
    runs.current().finish()
    return metrics_of(out_dir)


Fit = namedtuple("Fit", "weights model pairs options loop history")


def recorded(monkeypatch) -> list[Fit]:
    """The trainings from here on."""
    fits, train = [], rsnb.density.train_pairs

    def record(model, pairs, options, loop=None):
        history = train(model, pairs, options, loop)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        fits.append(Fit(weights, model, pairs, options, loop, history))
        return history

    monkeypatch.setattr(rsnb.density, "train_pairs", record)
    return fits


def trained(out_dir, changes, after=MODEL) -> list[Fit]:
    """The trainings of ours, from small pictures."""
    with pytest.MonkeyPatch.context() as patch:
        fits = recorded(patch)
        run_cells(out_dir, QUICK | SMALL | changes, until=OTHERS, after=after)
    return fits


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@contextmanager
def default_pairs(out_dir: Path) -> Iterator[tuple[Path, rsnb.city.PairsOptions]]:
    """Folder and options of the pairs that are asked for by default; from then on all wishes get this folder."""
    asked, ensure = [], rsnb.city.ensure_pairs

    def record(root, options):
        asked.append((ensure(root, options), options))
        return asked[0][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rsnb.city, "ensure_pairs", record)
        run_cells(out_dir, until=PAIRS)
        patch.setattr(rsnb.city, "ensure_pairs", lambda *_: asked[0][0])
        patch.setattr(rsnb.viewers, "show_volume", lambda *_: None)  # megabytes on the screen, and no file
        patch.setattr(rsnb.density, "time_stages", partial(rsnb.density.time_stages, min_seconds=0.001))
        yield asked[0]
