"""Novel views on the city: mesh alone, image-based rendering and the surface field on left-out street views.

    python benchmarks/novel_views.py [--targets 24] [--sheets FOLDER] [--no-lpips] [--no-poses]

Street views are panoramas of the true city (sun, shadows) every 16 m along two crossing streets; left-out targets stand
midway between them, 1 m beside the line, those at junctions first. Methods are given (a) the true geometry with its
textures blurred and recoloured, (b) the photogrammetry-like twin. The promise: image-based rendering at least 6 dB and
the field at least 5 dB above the mesh alone for (a), 4 and 3.5 dB for (b).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from rsnb.city import build_district
from rsnb.city.twin import bake_twin
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.geometry.poses import pose_from_heading
from rsnb.mesh import RayScene, RenderOptions, Sun, render
from rsnb.mesh.image_based import ImageBasedRenderer
from rsnb.mesh.novel_views import pose_error_curve, predict_views, recoloured_mesh, score_novel_views
from rsnb.mesh.surface_field import SurfaceField, surface_samples
from rsnb.scenes import PosedImages, TexturedMesh

PROMISED_DB = {"exact": {"image-based": 6.0, "surface field": 5.0}, "twin": {"image-based": 4.0, "surface field": 3.5}}
STREET_VIEW = RenderOptions(supersample=3, sun=Sun(np.radians(150), np.radians(38)), shadows=True)
CAMERA = PanoramaCamera(384, 192)
CAST = np.array([1.10, 0.97, 0.80])


def degraded(mesh: TexturedMesh, blur_px: float = 16.0) -> TexturedMesh:
    """The mesh with every texture blurred and everything recoloured."""
    def worse(material):
        if material.texture is None:
            return replace(material, rgb=tuple(np.clip(np.array(material.rgb) * CAST * 0.9 + 0.05, 0, 1)))
        soft = ndimage.gaussian_filter(material.texture.astype(np.float32), (blur_px, blur_px, 0), mode="wrap")
        return replace(material, texture=np.clip(soft * CAST * 0.9 + 12, 0, 255).astype(np.uint8))

    return replace(mesh, materials=tuple(worse(material) for material in mesh.materials))


def street_views(district, n_targets: int):
    """Sources along two crossing streets, targets midway between them, and the targets' pixels that are not sky."""
    sources, between = district.street_path(16.0), district.street_path(16.0, start_m=8.0, lateral_m=1.0)
    streets = crossing_streets(sources)
    sources = sources.subset(np.isin(sources.street, streets))
    between = between.subset(np.isin(between.street, streets))
    junction = np.flatnonzero(between.is_junction)[:n_targets]
    rest = np.flatnonzero(~between.is_junction)
    spread = rest[np.round(np.linspace(0, len(rest) - 1, n_targets - len(junction))).astype(int)]
    between = between.subset(np.sort(np.concatenate([junction, spread])))
    print(f"{len(sources)} sources, {len(between)} targets, {int(between.is_junction.sum())} of them at junctions")
    return (*pictures(district.scene, sources, "source")[:1], *pictures(district.scene, between, "target"))


def crossing_streets(stations) -> tuple[int, int]:
    """The longest street, and the longest that runs across it."""
    numbers, counts = np.unique(stations.street, return_counts=True)
    heading = np.array([stations.heading[stations.street == n][0] for n in numbers])
    first = int(counts.argmax())
    across = np.abs(np.sin(heading - heading[first])) > 0.7
    return int(numbers[first]), int(numbers[np.where(across, counts, 0).argmax()])


def pictures(scene, stations, name: str):
    poses = pose_from_heading(stations.position, stations.heading)
    views = [render(scene, CAMERA, pose, STREET_VIEW) for pose in poses]
    names = tuple(f"{name} {k}, street {s}, {a:.0f} m" for k, (s, a) in enumerate(
        zip(stations.street, stations.along_m, strict=True)))
    images = PosedImages(np.stack([v.rgb for v in views]), poses, "panorama", names)
    return images, np.stack([v.prim >= 0 for v in views])


def timed(label: str, function):
    start = time.process_time()
    result = function()
    print(f"  {label}: {time.process_time() - start:.1f} cpu s")
    return result


def score(label: str, mesh: TexturedMesh, sources, targets, mask, arguments) -> bool:
    """Render and score one mesh; True where the promises hold."""
    print(f"\n{label}: {len(mesh.faces)} faces")
    scene = RayScene(mesh)
    renderer = ImageBasedRenderer(scene, sources)
    views = timed("image-based, all targets with preparation", lambda: predict_views(renderer.render, targets))
    field = timed("field, training", lambda: SurfaceField.train_on(scene, sources))
    learned = timed("field, all targets", lambda: predict_views(
        lambda camera, pose: field.render(scene, camera, pose), targets))
    recoloured = recoloured_mesh(surface_samples(field.views), views)
    predictions = {"mesh": np.stack([v.mesh_rgb for v in views]), "mesh recoloured": recoloured,
                   "image-based": np.stack([v.rgb for v in views]), "surface field": np.stack([v.rgb for v in learned])}
    scores = score_novel_views(predictions, targets, mask, sources, "alex" if arguments.lpips else None)
    kept = True
    for row in scores.rows():
        promise = PROMISED_DB[label].get(row["method"])
        holds = promise is None or row["gain_db"] >= promise
        verdict = "" if promise is None else f"promised {promise:+.1f}: {'ok' if holds else 'MISSED'}"
        kept &= holds
        lpips = f"LPIPS {row['lpips']:.3f}  " if "lpips" in row else ""
        print(f"  {row['method']:15s} PSNR {row['psnr']:5.2f} dB  SSIM {row['ssim']:.3f}  {lpips}"
              f"gain {row['gain_db']:+5.2f}  worst {row['psnr_min']:5.2f}  {verdict}")
    print("  worst image-based: " + "; ".join(targets.names[i] for i in scores.worst("image-based")))
    print(f"  distance to the nearest source {scores.distance_m.min():.1f} to {scores.distance_m.max():.1f} m")
    if arguments.sheets:
        save_sheet(arguments.sheets / f"{label}.png", targets, predictions, scores.worst("image-based", len(targets)))
    return kept


def save_sheet(path: Path, targets, predictions, order) -> None:
    """Rows of truth, mesh, image-based and field: the two worst, one in the middle, the best."""
    import cv2

    rows = []
    for i in (order[0], order[1], order[len(order) // 2], order[-1]):
        rows.append(np.concatenate([targets.images[i], *(images[i] for images in predictions.values())], axis=2))
    picture = np.concatenate(rows, axis=1).transpose(1, 2, 0)[..., ::-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.round(picture * 255).astype(np.uint8))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=24)
    parser.add_argument("--sheets", type=Path, default=None)
    parser.add_argument("--no-lpips", dest="lpips", action="store_false")
    parser.add_argument("--no-poses", dest="poses", action="store_false")
    arguments = parser.parse_args()
    true, twin = build_district(detail="full"), build_district(detail="twin")
    sources, targets, mask = timed("street views", lambda: street_views(true, arguments.targets))
    twin_mesh = timed("twin's texture", lambda: bake_twin(twin.mesh, true.scene))
    exact = degraded(true.mesh)
    kept = score("exact", exact, sources, targets, mask, arguments)
    kept &= score("twin", twin_mesh, sources, targets, mask, arguments)
    if arguments.poses:
        few = targets.subset(np.arange(0, len(targets), 3))
        for label, mesh in (("exact", exact), ("twin", twin_mesh)):
            curve = pose_error_curve(RayScene(mesh), sources, few, mask[::3])
            print(f"\nimage-based rendering against errors of the source poses, {label} (mesh alone "
                  f"{curve.mesh_psnr:.2f} dB)")
            for metres, degrees, value in zip(curve.metres, curve.degrees, curve.psnr, strict=True):
                print(f"  {metres:4.2f} m {degrees:4.2f} deg  {value:5.2f} dB")
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
