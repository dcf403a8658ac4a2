"""Whole optimisations of one scene, made here: a textured ground with a raised block."""

from __future__ import annotations

import time

import numpy as np
import torch
from gpu_checks.bench import Bench, LeftOut

from rsnb.geometry.poses import invert, look_at
from rsnb.scenes import PosedImages

SCENE_SECONDS = 60.0  # promise


def ground_and_block(size: int, count: int = 21) -> PosedImages:
    """View "000" looks down from the middle, the others from a circle around it; with true z depth."""
    eyes = [(0.0, 0.0, 6.0), *((0.6 * np.cos(a), 0.6 * np.sin(a), 6.1) for a in np.linspace(0, 6, count - 1))]
    poses = np.stack([look_at(eye, (0.1, -0.05, 0.5), (0.02 * k - 0.2, 1, 0)) for k, eye in enumerate(eyes)])
    K = np.array([[1.1 * size, 0, size / 2 - 1.5], [0, 1.15 * size, size / 2 + 1.0], [0, 0, 1]])
    shots = [_shot(K, pose, size) for pose in poses]
    return PosedImages(np.stack([s[0] for s in shots]), poses, "pinhole", tuple(f"{k:03d}" for k in range(count)),
                       np.broadcast_to(K, (count, 3, 3)).copy(), z_depth=np.stack([s[1] for s in shots]),
                       near_far=np.tile([4.0, 7.5], (count, 1)))


def _shot(K: np.ndarray, pose: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    back = invert(pose)
    rows, columns = np.mgrid[:size, :size] + 0.5
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(K).T @ back[:3, :3].T
    ground, top = -back[2, 3] / rays[..., 2], (1.5 - back[2, 3]) / rays[..., 2]
    roof = back[:3, 3] + rays * top[..., None]
    block = (np.abs(roof[..., 0]) < 0.9) & (np.abs(roof[..., 1]) < 0.7)
    z = np.where(block, top, ground)
    x, y = np.moveaxis((back[:3, 3] + rays * z[..., None])[..., :2], -1, 0)
    waves = [0.5 + 0.2 * np.sin(3.4 * x + 2 * c) * np.cos(2.9 * y - c) + 0.15 * np.sin(1.9 * x - 2.3 * y + c)
             + 0.1 * np.sin(23 * x + c) * np.sin(19 * y) for c in range(3)]
    return np.stack([np.where(block, 0.9 - 0.6 * w, w) for w in waves]).astype(np.float32), z.astype(np.float32)


def split(views: PosedImages) -> tuple[list[str], list[str]]:
    """Odd names to learn from, even ones to test; 000 is the reference."""
    return list(views.names[1::2]), list(views.names[2::2])


def test_psnr(result, views: PosedImages, names: list[str]) -> float:
    """Mean over the test views, on pixels whose ray meets at least half of the planes."""
    found = []
    for name in names:
        seen, k = result.view(views, name), views.names.index(name)
        wrong = (np.asarray(seen.rgb.cpu()) - views.images[k]) ** 2
        mask = np.asarray(seen.mask.cpu())
        found.append(-10 * np.log10(max(float(wrong[:, mask].mean()), 1e-10)))
    return float(np.mean(found))


def full_scene(bench: Bench) -> dict:
    """Seconds and test PSNR of an explicit optimisation."""
    from rsnb.mpi import ExplicitOptions, optimise_explicit

    views = ground_and_block(bench.size)
    train, test = split(views)
    each = 5
    options = ExplicitOptions(planes=bench.planes, steps=(bench.view_steps // each,), views_per_step=each)
    if not bench.dry:
        torch.cuda.reset_peak_memory_stats()  # of this scene, not of the checks before
    begin = time.perf_counter()
    result = optimise_explicit(views, "000", train, options, device=bench.device)
    if not bench.dry:
        torch.cuda.synchronize()
    spent = time.perf_counter() - begin
    row = {"view_steps": bench.view_steps, "seconds": spent, "test_psnr_db": test_psnr(result, views, test)}
    if not bench.dry:
        row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        bench.promise(f"explicit scene, {bench.view_steps:,} view-steps: {spent:.1f} s, at most {SCENE_SECONDS:g}",
                      spent <= SCENE_SECONDS)
    return row


def published_decoder(bench: Bench) -> dict:
    """What the published recipe reaches on the same scene in its time, and what 5,000 steps would take."""
    try:
        from rsnb.mpi.decoder_loss import DecoderLossOptions, Switches
        from rsnb.mpi.per_scene import DecoderOptions, optimise_decoder
    except ImportError as error:
        raise LeftOut(f"the published recipe is not there ({error})") from None
    from rsnb.errors import InputError

    views = ground_and_block(max(bench.size, 128))
    train, test = split(views)

    def run(weights):
        loss = DecoderLossOptions(weights=weights, switches=Switches.all_published())
        options = DecoderOptions(planes=bench.planes, steps=2 if bench.dry else 5000, seconds=bench.decoder_seconds,
                                 loss=loss, check_every=1 if bench.dry else 20, save_epochs=0,
                                 bottleneck_norm="group" if views.images.shape[-1] < 256 else "batch")
        return optimise_decoder(views, "000", train, options, device=bench.device)

    terms = "L1, SSIM, LPIPS"
    begin = time.perf_counter()
    try:
        if bench.dry:
            raise InputError("toy size")
        result = run((2.0, 1.0, 1.0))
    except InputError as error:  # the trunk of LPIPS is a file that may not be at hand
        terms, begin = f"L1, SSIM (no LPIPS: {str(error)[:120]})", time.perf_counter()
        result = run((2.0, 1.0, 0.0))
    spent, steps = time.perf_counter() - begin, result.mpi.history[-1]["step"]
    return {"steps": steps, "seconds": spent, "seconds_for_5000_steps": spent / steps * 5000, "loss": terms,
            "test_psnr_db": test_psnr(result.mpi, views, test)}
