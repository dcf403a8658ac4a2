"""What rsnb finds in pairs of satellite tile and street panorama of your own, before and after a short training.

    python benchmarks/real_pairs.py ROOT [--out DIR] [--format auto] [--steps 300] [--recipe ours] [--tile-extent 57]

Reads any known format (CVACT, CVUSA, Sat2Density's demonstration cases), and looks: what the audit finds; whether the
panoramas' middle row can be the horizon; how high the camera stood, in tile pixels, and what that makes of a tile, in
metres; whether the headings are right; how well the sky is found without a mask; how skies differ. With --steps, a
model is trained on these very pairs and shown on them, before and after. That is overfitting, and says one thing only:
that pictures, masks, headings and scale fit together so well that a volume can explain them.

Writes report.json, report.md and pictures into DIR; nothing there is deleted.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Resampling

from rsnb.data import PairIndex, audit_dataset, read_pairs
from rsnb.data.crossview.pair_pictures import open_picture
from rsnb.density import (
    CalibrationOptions,
    CameraHeight,
    HeadingOptions,
    LossWeights,
    ModelOptions,
    SatDensity,
    Sphere,
    TileFrame,
    TrainingOptions,
    calibrate_camera_height,
    check_headings,
    eyes,
    flat_panorama,
    height_map,
    segment_sky,
    sky_distance,
    sky_histogram,
    sky_iou,
    sky_light,
    train_pairs,
)
from rsnb.errors import InputError
from rsnb.files import write_text
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.metrics import psnr
from rsnb.products import write_png
from rsnb.scenes import TilePanoramaPairs
from rsnb.training import LoopOptions
from rsnb.viewers.colours import depth_colours, map_colours

AUDIT_NAMES = {"Sat2Density cases": "demo_cases", "CVUSA": "cvusa", "CVACT": "cvact"}
LOOK_COLUMNS, TRAIN_COLUMNS = 512, 256  # of the panoramas; their rows make pixels as high as wide
MOST_TILE_PX, TRAIN_TILE_PX = 512, 128
MULTIPLE = 8  # rows that a network of three halvings can take
MIDDLES = (0.0, 2.0, 4.0, 6.0, 8.0)  # degrees, tried where the panoramas are bands
GAP = 4


def main(arguments: list[str] | None = None) -> int:
    given = parsed(arguments)
    if given.root is None:  # `make bench` runs every script without arguments
        print("no pairs are named, so nothing was looked at: python benchmarks/real_pairs.py ROOT --out DIR")
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        index = read_pairs(given.root, given.format)
        report = {"set": index.name, "pairs": len(index), "audit": audited(index, given.root),
                  "left out": {why: list(ids) for why, ids in index.drops.items()}, "notes": list(index.notes)}
        index = index.subset(np.flatnonzero(index.present)[:given.most])
        pairs = index.sized(tile_px(index), sphere_size(index, LOOK_COLUMNS), sky=masked(index).any(),
                            find_sky=segment_sky).load()
        middle = math.radians(given.middle)
        height = calibrate_camera_height(pairs, CalibrationOptions(middle=middle))
        extent = given.tile_extent or pairs.tile_extent_m or height.tile_extent_m(given.camera_height)
        report["camera"] = about_camera(height, middles(pairs), middle, extent)
        report["headings"] = headings(pairs, height.pixels, middle)
        found = segment_sky(pairs.panoramas, pairs.vertical_fov).numpy()
        report["sky"] = about_sky(index, pairs, found, given.sky_label)
        write_png(given.out / "pairs.png", sheet_of_pairs(pairs, height.pixels, middle, found))
        if given.steps:
            report["training"] = trained(index, given, TileFrame(extent, given.ceiling), height.metres(extent))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    write_text(given.out / "report.json", json.dumps(report, indent=1) + "\n")
    write_text(given.out / "report.md", as_markdown(report))
    print(as_markdown(report))
    return 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, nargs="?", help="folder of the pairs")
    parser.add_argument("--out", type=Path, default=Path("runs/real_pairs"), help="folder for report and pictures")
    parser.add_argument("--format", default="auto", help="auto, cvact, cvusa or demo_cases")
    parser.add_argument("--most", type=int, default=24, help="look at the first so many pairs")
    parser.add_argument("--tile-extent", type=float, help="side of a tile, metres; else from the camera's height")
    parser.add_argument("--camera-height", type=float, default=2.75, help="metres above the ground")
    parser.add_argument("--middle", type=float, default=0.0,
                        help="elevation of the panoramas' middle row, degrees (CVUSA: about 4)")
    parser.add_argument("--sky-label", type=int, help="class of the label pictures that means sky, above the horizon")
    parser.add_argument("--steps", type=int, default=0, help="train so many steps on these pairs")
    parser.add_argument("--recipe", choices=("ours", "published"), default="ours",
                        help="published: its losses with AlexNet's features and without critics")
    parser.add_argument("--ceiling", type=float, default=16.0, help="of the volume, metres")
    parser.add_argument("--size", default="small", help="of the networks")
    parser.add_argument("--batch", type=int, default=3)
    return parser.parse_args(arguments)


def sphere_size(index: PairIndex, columns: int) -> tuple[int, int]:
    """(rows, columns) of panoramas whose pixels are nearly as high as wide."""
    rows = columns * index.vertical_fov / (2 * math.pi)
    return max(round(rows / MULTIPLE), 1) * MULTIPLE, columns


def audited(index: PairIndex, root: Path) -> dict:
    audit = audit_dataset(AUDIT_NAMES[index.name], root)
    return {"ok": audit.ok, "counts": dict(audit.counts),
            "findings": [f"{f.kind}: {f.path}: {f.text}" for f in audit.findings]}


def tile_px(index: PairIndex) -> int:
    """As the first tile is on disk, at most `MOST_TILE_PX`."""
    return min(open_picture(index.tile_paths[0]).width, MOST_TILE_PX)


def masked(index: PairIndex) -> np.ndarray:
    """[N] bool, pairs with a mask of the sky."""
    return np.array([path is not None for path in index.sky_paths or [None] * len(index)], bool)


def middles(pairs: TilePanoramaPairs) -> dict[str, list[float]]:
    """{elevation of the middle row: camera height in tile pixels, correlation} of bands. The two can hardly be told
    apart: a horizon that lies lower and a lower camera make nearly the same picture."""
    if pairs.vertical_fov > math.pi - 1e-6:
        return {}
    tried = {m: calibrate_camera_height(pairs, CalibrationOptions(steps=21, draws=1, middle=math.radians(m)))
             for m in MIDDLES}
    return {f"{m:+.0f}": [c.pixels, c.correlation] for m, c in tried.items()}


def about_camera(height: CameraHeight, tried: dict, middle: float, extent_m: float) -> dict:
    return {"pixels": height.pixels, "of": height.tile_px, "interval": height.interval, "at an edge": height.at_edge,
            "correlation": height.correlation, "at 2 m / 30 m": float(np.interp(
                2 / 30 * height.tile_px, height.heights, height.curves.mean(axis=0))),
            "per pair": dict(zip(height.ids, height.per_pair().tolist(), strict=True)),
            "duplicates": list(height.duplicates), "middle rows tried": tried,
            "middle row, degrees": math.degrees(middle), "tile, metres": extent_m,
            "camera, metres": height.metres(extent_m)}


def headings(pairs: TilePanoramaPairs, camera_px: float, middle: float) -> list[dict]:
    checks = check_headings(pairs, camera_px, HeadingOptions(middle=middle))
    return [{"id": c.id, "verdict": c.verdict, "shift, degrees": c.shift_deg, "score": c.score,
             "second over first": c.ambiguity} for c in checks]


def about_sky(index: PairIndex, pairs: TilePanoramaPairs, found: np.ndarray, label: int | None) -> dict:
    """Shares of sky, how well the segmenter does where a mask or a class tells, and how the skies differ."""
    sky, masks = found if pairs.sky is None else pairs.sky, masked(index)
    how = "given" if masks.all() else f"given of {masks.sum()}, found of {(~masks).sum()}" if masks.any() else "found"
    about = {"masks": how, "share": sky.mean(axis=(1, 2)).tolist()}
    if pairs.sky is not None:
        about["IoU of found and given"] = [sky_iou(a, b) for a, b in zip(found[masks], pairs.sky[masks], strict=True)]
    elif label is not None and index.label_paths is not None:
        about["IoU of found and class"] = [sky_iou(a, b) for a, b in labelled(index, found, label)]
    histogram = sky_histogram(torch.as_tensor(pairs.panoramas), torch.as_tensor(sky))
    apart = np.array([[float(sky_distance(a[None], b[None])) for b in histogram] for a in histogram])
    other = apart + np.where(np.eye(len(apart), dtype=bool), np.nan, 0.0)
    counts = sky_histogram(torch.as_tensor(pairs.panoramas), torch.as_tensor(sky), "published")
    about |= {"empty histograms": int((histogram.sum(dim=1) == 0).sum()),
              "distances of skies": [float(np.nanmin(other)), float(np.nanmax(other))] if len(apart) > 1 else None,
              "published counts": [float(counts.sum(dim=1).min()), float(counts.sum(dim=1).max())]}
    return about


def labelled(index: PairIndex, found: np.ndarray, label: int):
    """(found, class is `label`) above the middle row of each panorama with a class picture; below it the class of sky
    is that of everything else in the sets that are known."""
    rows, columns = found.shape[1:]
    for mask, path in zip(found, index.label_paths, strict=True):
        if path is not None:
            classes = np.asarray(open_picture(path).resize((columns, rows), Resampling.NEAREST))
            yield mask[:rows // 2], classes[:rows // 2] == label


def sheet_of_pairs(pairs: TilePanoramaPairs, camera_px: float, middle: float, found: np.ndarray) -> np.ndarray:
    """A row a pair: tile, panorama, the ground that a flat tile would show, the sky that was found in red, and where
    there is a mask, what the two do not share in yellow."""
    lines = []
    for k in range(len(pairs)):
        rows, columns = pairs.panoramas.shape[-2:]
        sphere = Sphere(rows, columns, pairs.vertical_fov, float(pairs.heading[k]), middle)
        ground, seen = flat_panorama(pairs.tiles[k], sphere, camera_px)
        ground = np.where(seen.numpy(), ground.numpy(), 0.35 * pairs.panoramas[k] + 0.55)
        sky = painted(pairs.panoramas[k], found[k], (1.0, 0.1, 0.1))
        if pairs.sky is not None:
            sky = painted(sky, found[k] ^ pairs.sky[k], (1.0, 1.0, 0.0), 0.9)
        lines.append([resized(pairs.tiles[k], rows, rows), pairs.panoramas[k], ground, sky])
    return sheet(lines)


def trained(index: PairIndex, given: argparse.Namespace, frame: TileFrame, camera_m: float) -> dict:
    """A training on the pairs themselves, and what became of them."""
    index = replace(index, tile_extent_m=frame.extent_m, camera_height_m=camera_m)
    source = index.sized(TRAIN_TILE_PX, sphere_size(index, TRAIN_COLUMNS), find_sky=segment_sky)
    pairs = with_horizon_in_the_middle(source.load(), math.radians(given.middle))
    torch.manual_seed(0)
    options = ModelOptions.of_size(given.size, frame, samples=48)
    profile = "falling" if given.recipe == "ours" else "free"
    model = SatDensity(replace(options, density=replace(options.density, profile=profile)))
    before = seen_by(model, pairs)
    began = time.perf_counter()
    history = train_pairs(model, pairs, recipe(given), LoopOptions(given.steps, description="training"))
    seconds = time.perf_counter() - began
    after = seen_by(model, pairs)
    name = f"training_{given.recipe}.png"
    write_png(given.out / name, sheet_of_training(pairs, before, after, frame))
    mean = np.broadcast_to(pairs.panoramas.mean(axis=0), pairs.panoramas.shape)
    return {"recipe": given.recipe, "steps": given.steps, "seconds": seconds, "picture": name, "overfit": True,
            "frame, metres": [frame.extent_m, frame.ceiling_m], "camera, metres": camera_m,
            "loss, first and last": [float(history.terms["loss"][0]), float(np.mean(history.terms["loss"][-10:]))],
            "PSNR before": scores(before["picture"], pairs), "PSNR after": scores(after["picture"], pairs),
            "PSNR of the mean panorama": scores(mean, pairs),
            "opacity IoU before": opacity_ious(before, pairs), "opacity IoU after": opacity_ious(after, pairs),
            "heights after, metres": [[float(np.percentile(h, q)) for q in (50, 95)] for h in after["height"]]}


def with_horizon_in_the_middle(pairs: TilePanoramaPairs, middle: float) -> TilePanoramaPairs:
    """Without the rows that bands have more of above the horizon than below it, or below than above."""
    rows = pairs.panoramas.shape[-2]
    extra = 2 * round(middle / pairs.vertical_fov * rows)
    trim = (rows - abs(extra)) % MULTIPLE // 2
    kept = slice(max(extra, 0) + trim, rows + min(extra, 0) - trim)
    left = len(range(rows)[kept])
    return replace(pairs, panoramas=pairs.panoramas[:, :, kept], sky=pairs.sky[:, kept],
                   vertical_fov=pairs.vertical_fov * left / rows)


def recipe(given: argparse.Namespace) -> TrainingOptions:
    if given.recipe == "ours":
        weights = LossWeights.ours(gravity=0.0, solidity=0.0)
        return TrainingOptions(steps=given.steps, batch=given.batch, rate=4e-3, weights=weights, emptiness=0.3,
                               picture_after=given.steps // 3)
    weights = LossWeights(gan=0.0, feature_matching=0.0)
    # the published rate of 5e-5 is for 50,000 steps of 16 pairs
    return TrainingOptions.published(steps=given.steps, batch=given.batch, rate=1e-3, weights=weights, critics=None,
                                     trunk="alex", seed=0)


def seen_by(model: SatDensity, pairs: TilePanoramaPairs) -> dict[str, np.ndarray]:
    """Pictures under each pair's own sky, renderings, opacity, depth and heights."""
    camera = PanoramaCamera(pairs.panoramas.shape[-1], pairs.panoramas.shape[-2], pairs.vertical_fov)
    light, parts = sky_light(model, pairs, "own"), []
    with torch.no_grad():
        for k in range(len(pairs)):
            volume = model.volume(torch.as_tensor(pairs.tiles[k:k + 1]))
            view = model.view(volume, camera, eyes(pairs)[k:k + 1], pairs.heading[k:k + 1],
                              None if light is None else light[k:k + 1], generator=torch.Generator().manual_seed(0))
            rendered = view.rendered
            parts.append({"picture": rendered.rgb if view.rgb is None else view.rgb, "rendered": rendered.rgb,
                          "opacity": rendered.opacity, "depth": rendered.depth(), "height": height_map(volume)})
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


def scores(pictures: np.ndarray, pairs: TilePanoramaPairs) -> list[float]:
    return [float(psnr(a, b)) for a, b in zip(pictures, pairs.panoramas, strict=True)]


def opacity_ious(views: dict[str, np.ndarray], pairs: TilePanoramaPairs) -> list[float]:
    """Of what is no sky."""
    return [sky_iou(opacity > 0.5, ~sky) for opacity, sky in zip(views["opacity"], pairs.sky, strict=True)]


def sheet_of_training(pairs: TilePanoramaPairs, before: dict, after: dict, frame: TileFrame) -> np.ndarray:
    """Two lines a pair: tile, true panorama, picture before, picture after; heights (0 to the ceiling), the volume's
    own colours, opacity and depth (2 m to the tile's corner) after."""
    lines = []
    for k in range(len(pairs)):
        rows = pairs.panoramas.shape[-2]
        height = map_colours(after["height"][k], 0.0, frame.ceiling_m, "viridis")
        opacity = np.repeat(after["opacity"][k][None], 3, axis=0)
        depth = after["depth"][k]
        depth = depth_colours(np.where(after["opacity"][k] > 0.5, depth, np.inf), 2.0, frame.half_m * math.sqrt(2))
        lines.append([resized(pairs.tiles[k], rows, rows), pairs.panoramas[k], before["picture"][k],
                      after["picture"][k]])
        lines.append([resized(height, rows, rows), after["rendered"][k], opacity, depth])
    return sheet(lines)


def painted(picture: np.ndarray, where: np.ndarray, colour: tuple[float, ...], share: float = 0.45) -> np.ndarray:
    return np.where(where, (1 - share) * picture + share * np.array(colour)[:, None, None], picture)


def resized(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    tensor = torch.as_tensor(np.asarray(picture, np.float32))[None]
    return torch.nn.functional.interpolate(tensor, (rows, columns), mode="area")[0].numpy()


def sheet(lines: list[list[np.ndarray]]) -> np.ndarray:
    """Lines of pictures [3, H, W] of one height on white."""
    rows = []
    for line in lines:
        gap = np.ones((3, line[0].shape[1], GAP), np.float32)
        row = np.concatenate([part for picture in line for part in (picture, gap)][:-1], axis=2)
        rows += [row, np.ones((3, GAP, row.shape[2]), np.float32)]
    return np.concatenate(rows[:-1], axis=1).astype(np.float32)


def as_markdown(report: dict) -> str:
    """What the numbers say, one line a check."""
    camera, sky, checks = report["camera"], report["sky"], report["headings"]
    low, high = camera["interval"]
    verdicts = ", ".join(f"{c['id']} {c['verdict']} ({c['shift, degrees']:+.1f}, {c['second over first']:.2f})"
                         for c in checks)
    iou = next((f"{name}: mean {np.mean(v):.3f}, least {np.min(v):.3f}" for name, v in sky.items()
                if name.startswith("IoU") and v), "no mask to compare with")
    left = "; ".join(f"{why}: {', '.join(ids)}" for why, ids in report["left out"].items()) or "nothing"
    rows = [
        ("pairs", f"{report['pairs']} ({report['set']}); left out: {left}"),
        ("audit", "; ".join([str(report["audit"]["counts"]), *report["audit"]["findings"][:6]])),
        ("camera height", f"{camera['pixels']:.2f} px of {camera['of']} ({low:.2f} to {high:.2f}), correlation "
                          f"{camera['correlation']:.3f}, at 2 m / 30 m {camera['at 2 m / 30 m']:.3f}"
                          + (", AT THE EDGE of what was tried" if camera["at an edge"] else "")),
        ("middle row", f"{camera['middle row, degrees']:+.0f} degrees; " + (", ".join(
            f"{m}: {px:.2f} px ({c:.3f})" for m, (px, c) in camera["middle rows tried"].items()) or "a whole sphere")),
        ("scale used", f"tile {camera['tile, metres']:.1f} m, camera {camera['camera, metres']:.2f} m"),
        ("headings", f"{verdicts} (shift in degrees, second peak over first)"),
        ("sky", f"masks {sky['masks']}, share {min(sky['share']):.2f} to {max(sky['share']):.2f}; {iou}"),
        ("sky histograms", f"empty {sky['empty histograms']}, distances {rounded(sky['distances of skies'])}, "
                           f"published counts {rounded(sky['published counts'], 0)}"),
    ]
    if training := report.get("training"):
        def middle(name):
            return f"{np.mean(training[name]):.2f} ({np.min(training[name]):.2f})"

        rows.append((f"{training['steps']} steps, {training['recipe']}, seen again (overfit)",
                     f"{training['seconds']:.0f} s; PSNR {middle('PSNR before')} -> {middle('PSNR after')} dB, mean "
                     f"panorama {middle('PSNR of the mean panorama')}; opacity IoU {middle('opacity IoU before')} -> "
                     f"{middle('opacity IoU after')}; mean (least)"))
    return "\n".join(["| what | found |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""])


def rounded(values, digits: int = 3) -> str:
    return "none" if values is None else " to ".join(f"{value:.{digits}f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
