"""Several views of one volume against each other: flicker along a path, depths that agree, geometry without style.

No truth is needed. A pixel of one view is carried into another along the depth that was rendered for it; depths are
compared by their inverse, which is nearly linear between pixels on planes and 0 in the sky.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rsnb.density.bootstrap import PerTile
from rsnb.density.volume import DensityVolume
from rsnb.errors import InputError
from rsnb.geometry.cameras import Camera, PanoramaCamera, as_tensor, project_points, world_rays

SAME = 0.05  # relative difference of distances up to which two views see one surface
FAR_M = 1e9  # where a ray into the sky ends
NO_SKY = 1e-6  # inverse distance, 1 / m, below which a view shows sky


@dataclass(frozen=True)
class Flicker:
    """Change between the successive frames of a path.

    Attributes:
        beyond_motion: [T - 1] mean |change| of a surface from frame to frame, grey level 0..1: each pixel against the
            place in the frame before where the same surface was, over the pixels that had one.
        plain: [T - 1] mean |change| at the same pixel of the picture, motion included.
        counted: [T - 1] share of the pixels that were compared; the others were hidden or outside. 0 of frames that
            share no surface, whose `beyond_motion` is 0 too.
    """

    beyond_motion: np.ndarray
    plain: np.ndarray
    counted: np.ndarray

    @property
    def mean(self) -> float | None:
        """Of all steps, each weighing as many pixels as were compared; None where no step shares a surface."""
        shared = float(np.sum(self.counted))
        return float(np.sum(self.beyond_motion * self.counted)) / shared if shared else None


def flicker(frames, depth, camera: Camera, world_to_cam) -> Flicker:
    """What changes along a path although it should not: surfaces keep their colour when the camera moves.

    Bilinear interpolation of the frame before also counts as change, so give the refined pictures and the rendered
    colours and compare: what the former have in excess was invented anew for each frame. A place that is seen twice
    from one pose has 0.

    Args:
        frames: [T, 3, H, W] 0..1, T >= 2.
        depth: [T, H, W] distance along the ray, metres; infinity in the sky (`Rendered.depth()`).
        camera: of every frame.
        world_to_cam: [T, 4, 4] tile metres.

    Raises:
        InputError: fewer than two frames, shapes that do not fit, or numbers that are not finite.
    """
    frames, depth, poses = (as_tensor(x).detach().to("cpu", torch.float64) for x in (frames, depth, world_to_cam))
    size = (camera.height, camera.width)
    wanted = ((len(frames), 3, *size), (len(frames), *size), (len(frames), 4, 4))
    if len(frames) < 2 or (frames.shape, depth.shape, poses.shape) != wanted:
        raise InputError(f"frames {tuple(frames.shape)}, depth {tuple(depth.shape)} and poses {tuple(poses.shape)}",
                         where="flicker", mend="Give [T, 3, H, W], [T, H, W] and [T, 4, 4] with T of at least 2")
    if not torch.isfinite(frames).all():
        raise InputError("a frame holds numbers that are not finite", where="flicker")
    beyond, plain, counted = [], [], []
    for before, now in zip(range(len(frames) - 1), range(1, len(frames)), strict=True):
        pixels, ratio = _carried(depth[now], poses[now], depth[before], poses[before], camera)
        same = (ratio - 1).abs() <= SAME
        change = (frames[now] - _sample(frames[before], pixels, camera)).abs().mean(dim=0)
        beyond.append(float(change[same].mean()) if same.any() else 0.0)
        plain.append(float((frames[now] - frames[before]).abs().mean()))
        counted.append(float(same.double().mean()))
    return Flicker(np.array(beyond), np.array(plain), np.array(counted))


def reprojection_scores(depth_a, depth_b, pose_a, pose_b, camera: Camera) -> dict[str, PerTile]:
    """Do two views of one volume see the same surfaces? Both ways: surfaces of A in B, and of B in A.

    Args:
        depth_a, depth_b: [N, H, W] distance along the ray, metres; infinity in the sky.
        pose_a, pose_b: [N, 4, 4] world to camera, tile metres.
        camera: of all views.

    Returns:
        Shares of the surface pixels that fall into the other picture: "reprojection/agree" (seen there within 5 % of
        its distance), "/hidden" (something nearer is in front, which is no contradiction) and "/conflict" (the other
        view looks through the surface); they sum to 1. "reprojection/inside" is the share that falls into it at all.

    Raises:
        InputError: shapes that do not fit.
    """
    depth_a, depth_b, pose_a, pose_b = (as_tensor(x).detach().to("cpu", torch.float64)
                                        for x in (depth_a, depth_b, pose_a, pose_b))
    n, size = len(depth_a), (camera.height, camera.width)
    if {depth_a.shape, depth_b.shape} != {(n, *size)} or {pose_a.shape, pose_b.shape} != {(n, 4, 4)}:
        raise InputError(f"depths {tuple(depth_a.shape)}, {tuple(depth_b.shape)} and poses {tuple(pose_a.shape)}, "
                         f"{tuple(pose_b.shape)}", where="reprojection_scores", mend="Give [N, H, W] and [N, 4, 4]")
    sums = np.zeros((n, 5))
    for i in range(n):
        for first, second in (((depth_a[i], pose_a[i]), (depth_b[i], pose_b[i])),
                              ((depth_b[i], pose_b[i]), (depth_a[i], pose_a[i]))):
            ratio = _carried(*first, *second, camera)[1][torch.isfinite(first[0])]
            seen = ratio[~torch.isnan(ratio)]
            agree = ((seen - 1).abs() <= SAME).sum()
            sums[i] += [agree, (seen > 1 + SAME).sum(), (seen < 1 - SAME).sum(), len(seen), len(ratio)]
    names = {"agree": (0, 3), "hidden": (1, 3), "conflict": (2, 3), "inside": (3, 4)}
    return {f"reprojection/{name}": PerTile(sums[:, pair]) for name, pair in names.items()}


def style_invariance(first: DensityVolume, second: DensityVolume) -> float:
    """Largest |difference| of two volumes of one tile under two skies, 1 / m; it must be exactly 0.

    Raises:
        InputError: volumes of different shape or frame, or densities that are not finite.
    """
    if first.sigma.shape != second.sigma.shape or first.frame != second.frame:
        raise InputError(f"volumes {tuple(first.sigma.shape)} and {tuple(second.sigma.shape)}",
                         where="style_invariance", mend="Compare volumes of one tile")
    difference = (first.sigma.detach() - second.sigma.detach()).abs().max()
    if not torch.isfinite(difference):
        raise InputError("densities are not finite", where="style_invariance")
    return float(difference)


def _carried(depth: Tensor, pose: Tensor, other_depth: Tensor, other_pose: Tensor,
             camera: Camera) -> tuple[Tensor, Tensor]:
    """Where the surfaces of one view lie in another.

    Returns:
        pixels [H, W, 2] there, and [H, W] distance there over the distance that is seen there: 1 = the same surface,
        more = hidden, less = seen through, NaN = outside. Sky that is sky in both has 1.
    """
    sky = torch.isinf(depth)
    origins, directions = world_rays(camera, pose)
    points = origins + directions * torch.where(sky, FAR_M, depth)[..., None]
    pixels, distance = project_points(camera, other_pose, points)
    inverse = _sample(torch.where(torch.isinf(other_depth), 0.0, 1 / other_depth)[None], pixels, camera)[0]
    ratio = distance * inverse
    both = torch.where(inverse < NO_SKY, 1.0, torch.inf)
    return pixels, torch.where(sky & ~torch.isnan(inverse), both, ratio)


def _sample(image: Tensor, pixels: Tensor, camera: Camera) -> Tensor:
    """Bilinear values [C, H, W] of an image [C, H, W] at pixels [H, W, 2]; NaN outside.

    A panorama goes on over its left and right edge; elsewhere the border is held for half a pixel.
    """
    height, width = image.shape[-2:]
    seen = torch.isfinite(pixels).all(dim=-1) & (pixels[..., 1] >= 0) & (pixels[..., 1] <= height)
    if not isinstance(camera, PanoramaCamera):
        seen &= (pixels[..., 0] >= 0) & (pixels[..., 0] <= width)
    place = torch.where(seen[..., None], pixels, 0.5) - 0.5
    corner = place.floor()
    (right, down), corner = (place - corner).unbind(-1), corner.long()
    columns, rows = ([corner[..., axis] + step for step in (0, 1)] for axis in (0, 1))
    wrap = isinstance(camera, PanoramaCamera)
    columns = [c % width if wrap else c.clamp(0, width - 1) for c in columns]
    rows = [r.clamp(0, height - 1) for r in rows]
    upper, lower = (image[:, r, columns[0]] * (1 - right) + image[:, r, columns[1]] * right for r in rows)
    return torch.where(seen, upper * (1 - down) + lower * down, torch.nan)
