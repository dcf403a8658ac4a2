"""A training step of the density model as published: how much memory it takes, and how long."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gpu_checks.bench import Bench

from rsnb.density.critics import CriticsOptions
from rsnb.density.model import ModelOptions, SatDensity
from rsnb.density.training import train_pairs
from rsnb.density.training_options import TrainingOptions
from rsnb.density.volume import TileFrame
from rsnb.scenes import TilePanoramaPairs
from rsnb.training import LoopOptions

BATCH, MOST_BYTES = 4, 12e9  # promise
# VGG19's `features`: "M" halves, a number is the width of a convolution, which a ReLU follows
_VGG19 = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M")


def density_step(bench: Bench) -> dict:
    """Three steps of the published model: tile of 256 pixels, panorama 128 x 512, 100 samples, batch 4, three critics,
    all losses; the first makes the optimisers' moments. VGG19 has random weights, which changes no memory.
    """
    times = []

    def now() -> float:
        if not bench.dry:
            torch.cuda.synchronize()  # the loss was looked at before the backward pass: the device may still work
        return time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        model, pairs, options = published(bench.dry, Path(folder) / "vgg19.pth")
        model = model.to(bench.device)
        if not bench.dry:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        times.append(now())
        history = train_pairs(model, pairs, options, LoopOptions(1, description=""), lambda *_: times.append(now()))
    found = {"batch": options.batch, "terms": {name: values[-1] for name, values in history.terms.items()},
             "parameters": sum(p.numel() for p in model.parameters()),
             "step_seconds": [b - a for a, b in zip(times[:-1], times[1:], strict=True)]}
    finite = all(math.isfinite(value) for values in history.terms.values() for value in values)
    bench.promise(f"density, {len(history.terms)} terms of a published step are finite", finite)
    if bench.dry:
        return found
    taken = torch.cuda.max_memory_allocated()
    bench.promise(f"density, published training step, batch {options.batch}: {taken / 1e9:.2f} GB, at most "
                  f"{MOST_BYTES / 1e9:g}", taken <= MOST_BYTES)
    return found | {"bytes": taken, "reserved_bytes": torch.cuda.max_memory_reserved()}


def published(toy: bool, vgg19: Path) -> tuple[SatDensity, TilePanoramaPairs, TrainingOptions]:
    """The published model on the CPU, random pairs for it, and options of three steps; `toy` has the same parts, small.

    Args:
        toy: a matter of seconds on a CPU.
        vgg19: where weights for the perceptual term are written.
    """
    frame = TileFrame(30.0, 8.0)
    torch.manual_seed(0)
    model = ModelOptions.of_size("full", frame, 100)
    if toy:
        small = ModelOptions.of_size("tiny", frame, 8)
        model = replace(model, density=replace(model.density, width=4, slices=4, blocks=1, depth=2),
                        refine=replace(model.refine, width=4, blocks=1, depth=2, style_width=16),
                        illumination=replace(small.illumination, style_width=16),
                        render=replace(model.render, samples=8))
    write_vgg19(vgg19)
    critics = CriticsOptions(same_views=False, assume_sphere=True)
    if toy:
        critics = replace(critics, width=4, crop_px=32)
    batch = 2 if toy else BATCH
    options = TrainingOptions.published(steps=3, batch=batch, critics=critics, trunk="vgg19", trunk_file=str(vgg19))
    return SatDensity(model), random_pairs(batch, *((32, 32) if toy else (256, 128))), options


def random_pairs(count: int, tile: int, height: int) -> TilePanoramaPairs:
    """Pairs of grain, the upper half of each panorama (height x 4 height pixels, a whole sphere) sky."""
    draw, width = np.random.default_rng(0), 4 * height
    sky = np.arange(height)[:, None].repeat(width, axis=1) < height // 2
    return TilePanoramaPairs(draw.random((count, 3, tile, tile), np.float32),
                             draw.random((count, 3, height, width), np.float32), tuple(str(i) for i in range(count)),
                             np.zeros(count), math.pi, np.repeat(sky[None], count, axis=0), tile_extent_m=30.0,
                             camera_height_m=2.0)


def write_vgg19(path: Path) -> None:
    """A state dict under torchvision's names, with random weights."""
    state, number, inward = {}, 0, 3
    for width in _VGG19:
        if width != "M":
            state[f"features.{number}.weight"] = torch.randn(width, inward, 3, 3) * math.sqrt(2 / (9 * inward))
            state[f"features.{number}.bias"] = torch.zeros(width)
            inward, number = width, number + 1
        number += 1
    torch.save(state, path)
