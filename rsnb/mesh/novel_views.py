"""How good views between known ones are: scores on left-out pictures, and what errors in the known poses cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre
from rsnb.mesh.image_based import ImageBasedOptions, ImageBasedRenderer, NovelView
from rsnb.mesh.scene import RayScene
from rsnb.mesh.source_views import source_camera
from rsnb.mesh.surface_field import SurfaceSamples
from rsnb.metrics import lpips_distance, psnr, ssim
from rsnb.scenes import PosedImages

# metres and degrees: exact, survey, careful hand work, nine picked pairs (median), few pairs, the provider's own pose
POSE_ERRORS = ((0.0, 0.0), (0.05, 0.1), (0.2, 0.3), (0.22, 0.52), (0.5, 1.0), (1.9, 2.0))
# dB at these errors, nearest-pixel lookup, another procedural city: docs/architecture.md, "Numbers to compare with"
SHEET_PSNR = (24.8, 24.5, 22.4, 21.7, 19.9, 17.0)


@dataclass(frozen=True)
class NovelViewScores:
    """Scores of several methods on N left-out pictures.

    Attributes:
        psnr, ssim: method -> [N]; over the pixels that count (not sky).
        lpips: method -> [N], over whole pictures, or None where it was not asked for.
        distance_m: [N] from each left-out camera to the nearest source, or None.
    """

    psnr: dict[str, np.ndarray]
    ssim: dict[str, np.ndarray]
    lpips: dict[str, np.ndarray] | None = None
    distance_m: np.ndarray | None = None

    def gain_db(self, method: str, over: str = "mesh") -> float:
        """Mean PSNR of one method above another's, dB."""
        return float(np.mean(self.psnr[method] - self.psnr[over]))

    def worst(self, method: str, count: int = 5) -> np.ndarray:
        """Indices of the pictures with the lowest PSNR, worst first."""
        return np.argsort(self.psnr[method], kind="stable")[:count]

    def rows(self, over: str = "mesh") -> list[dict[str, float | str]]:
        """One row a method for a table: means, the gain over one of them and the worst picture's PSNR."""
        rows = []
        for name in self.psnr:
            row = {"method": name, "psnr": float(np.mean(self.psnr[name])), "ssim": float(np.mean(self.ssim[name])),
                   "gain_db": self.gain_db(name, over), "psnr_min": float(np.min(self.psnr[name]))}
            if self.lpips is not None:
                row["lpips"] = float(np.mean(self.lpips[name]))
            rows.append(row)
        return rows


def score_novel_views(predictions: dict[str, np.ndarray], truth: PosedImages, mask: np.ndarray,
                      sources: PosedImages | None = None, lpips_net: str | None = "alex") -> NovelViewScores:
    """Score renders of left-out pictures.

    Args:
        predictions: method -> [N, 3, H, W] in 0..1.
        truth: the left-out pictures.
        mask: [N, H, W] True where pixels count; leave out the sky, which no mesh knows.
        sources: the pictures that methods had; for the distances, and to make sure that no target is among them.
        lpips_net: "alex", "vgg" or None to skip it.

    Raises:
        InputError: a target is also a source (same camera), or shapes differ.
    """
    distance = None
    if sources is not None:
        distance = distance_to_nearest(truth.world_to_cam, sources.world_to_cam)
        if distance.min() < 1e-3:
            raise InputError(f"target {truth.names[int(distance.argmin())]} stands where a source stands, so it is not "
                             "left out", where="score_novel_views", mend="Remove it from the sources")
    for name, images in predictions.items():
        if images.shape != truth.images.shape:
            raise InputError(f"{name} has shape {images.shape}, the left-out pictures {truth.images.shape}",
                             where="score_novel_views")
    each = {"per_image": True}
    lpips = None
    if lpips_net is not None:
        lpips = {name: lpips_distance(images, truth.images, lpips_net, **each) for name, images in predictions.items()}
    return NovelViewScores(
        {name: psnr(images, truth.images, mask, **each) for name, images in predictions.items()},
        {name: ssim(images, truth.images, mask, **each) for name, images in predictions.items()},
        lpips, distance)


def distance_to_nearest(world_to_cam: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[N] metres from each camera of [N, 4, 4] to the nearest of [M, 4, 4]."""
    away = camera_centre(world_to_cam)[:, None] - camera_centre(others)[None]
    return np.linalg.norm(away, axis=-1).min(axis=1)


def recoloured_mesh(samples: SurfaceSamples, views: Sequence[NovelView]) -> np.ndarray:
    """The mesh alone with one gain and bias a channel, fitted to the source pictures; [N, 3, H, W].

    What is left for the other methods once the colour cast is gone. Sky stays as it is.
    """
    mesh, seen = samples.mesh_rgb.double().numpy(), samples.rgb.double().numpy()
    gain, bias = np.array([np.polyfit(mesh[:, c], seen[:, c], 1) for c in range(3)], np.float32).T[:, :, None, None]
    return np.stack([np.where(np.isfinite(view.depth), np.clip(view.mesh_rgb * gain + bias, 0, 1), view.mesh_rgb)
                     for view in views])


def predict_views(render_one, targets: PosedImages, progress: bool = False) -> list:
    """What `render_one(camera, world_to_cam)` gives for each target camera, in order."""
    index = range(len(targets))
    if progress:
        from tqdm.auto import tqdm

        index = tqdm(index, desc="novel views", unit="view")
    return [render_one(source_camera(targets, i), targets.world_to_cam[i]) for i in index]


def perturbed(sources: PosedImages, metres: float, degrees: float, seed: int = 0) -> PosedImages:
    """The same pictures with every camera moved by exactly `metres` and turned by exactly `degrees`, each its own way.

    The directions depend on the seed alone, so a larger error is the same error scaled.
    """
    rng = np.random.default_rng(seed)
    shift, axis = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, len(sources), 3)))
    poses = sources.world_to_cam.copy()
    for pose, move, turn in zip(poses, shift * metres, axis * np.radians(degrees), strict=True):
        centre = camera_centre(pose) + move
        pose[:3, :3] = cv2.Rodrigues(turn)[0] @ pose[:3, :3]
        pose[:3, 3] = -pose[:3, :3] @ centre
    return replace(sources, world_to_cam=poses)


@dataclass(frozen=True)
class PoseErrorCurve:
    """Quality of image-based rendering against errors in the source poses.

    Attributes:
        metres, degrees: [E] errors of position and rotation.
        psnr: [E] mean over the targets, dB.
        mesh_psnr: dB of the mesh alone, which needs no pictures; below it, pictures do harm.
    """

    metres: np.ndarray
    degrees: np.ndarray
    psnr: np.ndarray
    mesh_psnr: float


def pose_error_curve(scene: RayScene, sources: PosedImages, targets: PosedImages, mask: np.ndarray,
                     errors: Sequence[tuple[float, float]] = POSE_ERRORS, options: ImageBasedOptions | None = None,
                     seed: int = 0, progress: bool = False) -> PoseErrorCurve:
    """Render the targets from sources whose poses are wrong by each of `errors` (metres, degrees).

    Args:
        scene: the mesh; its pose and the targets' are right.
        targets: left-out pictures; mask: [N, H, W] pixels that count.
        seed: of the directions of the errors.
    """
    scores, mesh_score = [], 0.0
    for metres, degrees in errors:
        renderer = ImageBasedRenderer(scene, perturbed(sources, metres, degrees, seed), options)
        views = predict_views(renderer.render, targets, progress)
        scores.append(psnr(np.stack([v.rgb for v in views]), targets.images, mask))
        mesh_score = psnr(np.stack([v.mesh_rgb for v in views]), targets.images, mask)
    metres, degrees = np.array(errors, float).T
    return PoseErrorCurve(metres, degrees, np.array(scores), float(mesh_score))
